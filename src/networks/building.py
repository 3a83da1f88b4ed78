"""What a network needs before it is trained: one probability, and metrics built before its workers start."""

import keras

from src.generators import PictureBatches


def check_output(network: keras.Model) -> None:
    """Raises ValueError unless a network gives one probability per picture, in float32.

    In 16 bits a probability near 1 is 1, its gradient is lost, and the training stays at chance.
    """
    shape, outputs = getattr(network, "output_shape", None), getattr(network, "outputs", None)
    if shape != (None, 1) or not outputs:
        raise ValueError(
            f"the space's network gives outputs of shape {shape}; give (None, 1), the probability of code 1: "
            "a functional or sequential network ending in keras.layers.Dense(1, 'sigmoid', dtype='float32')"
        )
    if outputs[0].dtype != "float32":
        raise ValueError(
            f"the space's network gives a probability in {outputs[0].dtype}, where one near 1 is 1; give its "
            "last layer dtype='float32'"
        )


def build_metrics(network: keras.Model, batches: PictureBatches) -> None:
    """Builds a compiled network's loss and metrics by evaluating one batch.

    Otherwise Keras 3.15 on JAX and PyTorch takes the batch for this from the workers' queue and leaves the
    others there: the first pass through the pictures then serves some twice and others not at all, and counts
    as two (`PyDatasetEnqueuer.stop` keeps what it drains for the next run).
    """
    if keras.backend.backend() != "tensorflow":
        network.test_on_batch(*batches[0])
        network.reset_metrics()
