"""Statistics of batch normalization, measured at the end of a training instead of remembered from it."""

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
