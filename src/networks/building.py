"""Builds a network's metrics before its workers start, on backends where Keras would do so too late."""

import keras

from src.generators import PictureBatches


def build_metrics(network: keras.Model, batches: PictureBatches) -> None:
    """Builds a compiled network's loss and metrics by evaluating one batch.

    Otherwise Keras 3.15 on JAX and PyTorch takes the batch for this from the workers' queue and leaves the
    others there: the first pass through the pictures then serves some twice and others not at all, and counts
    as two (`PyDatasetEnqueuer.stop` keeps what it drains for the next run).
    """
    if keras.backend.backend() != "tensorflow":
        network.test_on_batch(*batches[0])
        network.reset_metrics()
