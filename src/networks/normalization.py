"""Statistics of batch normalization, measured before a validation instead of remembered from training."""

import keras
import numpy as np

from src.generators import PictureBatches


def settle_normalization(network: keras.Model, batches: PictureBatches, number: int = 100) -> None:
    """Replaces the moving statistics of every batch normalization by their mean over training pictures.

    While it trains, a network follows the last few batches, of transformed pictures and of weights that
    still moved. Evaluation asks about pictures as they are (Y. Wu and J. Johnson, "Rethinking Batch in
    BatchNorm", 2021: precise statistics).

    Args:
        network: a trained network; nothing but the statistics changes.
        batches: of the training part, not augmented.
        number: of batches, at most, drawn across the whole part.
    """
    layers = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in layers]
    chosen = np.random.default_rng(0).permutation(len(batches))[:number]
    for seen, index in enumerate(chosen):
        for layer in layers:
            layer.momentum = seen / (seen + 1)  # so that all batches count the same
        network(batches[int(index)][0], training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


class SettledNormalization(keras.callbacks.Callback):
    """Settles the statistics before each validation of a training, so that scores are the weights' own.

    Remembered ones make a short training look worse than it is, and by chance: it is scored at a moment when
    the weights still move, and, where pictures grow, on pictures of another size than the statistics'.
    """

    def __init__(self, batches: PictureBatches):
        """Keeps the batches; an eighth of them is looked at, 4 to 16, as each epoch pays for it."""
        super().__init__()
        self.batches, self.number = batches, min(16, max(4, len(batches) // 8))

    def on_test_begin(self, logs=None):
        """Settles; Keras begins a validation here."""
        settle_normalization(self.model, self.batches, self.number)
