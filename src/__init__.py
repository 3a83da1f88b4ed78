"""Feature extraction, generators, the tunable CNN, its search and its evaluation."""

import os
from importlib.util import find_spec

# Keras's own choice is TensorFlow, also where there is none: Colab's TPU runtime has JAX.
if not find_spec("tensorflow") and find_spec("jax"):
    os.environ.setdefault("KERAS_BACKEND", "jax")
# TensorFlow takes oneDNN's kernels on any processor if it is told so before it is imported, by itself on the
# newest ones only. tests/benchmarks/process_settings.py measures what that is worth.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# TensorFlow and JAX take nearly all of a GPU's memory at once, and leave none to a trial's own process
# (`isolate_trials`), to a second worker, or to the next notebook while this one is open.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
