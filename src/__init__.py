"""Feature extraction, generators, the tunable CNN, its search and its evaluation."""

import os

# TensorFlow takes oneDNN's kernels on any processor if it is told so before it is imported, by itself on the
# newest ones only. tests/benchmarks/process_settings.py measures what that is worth.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
