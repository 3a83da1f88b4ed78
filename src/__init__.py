"""Feature extraction, generators, the tunable CNN, its search and its evaluation."""

import os
from importlib.util import find_spec

# Keras defaults to TensorFlow even where it is not installed: Colab's TPU runtime has JAX.
if not find_spec("tensorflow") and find_spec("jax"):
    os.environ.setdefault("KERAS_BACKEND", "jax")
# TensorFlow uses oneDNN's kernels on any processor if this is set before it is imported; by default only on
# the newest ones. tests/benchmarks/process_settings.py measures what that is worth.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# By default TensorFlow and JAX reserve nearly all of a GPU's memory, which leaves none for a trial's own
# process (`isolate_trials`), a second worker, or the next notebook while this one is open.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
