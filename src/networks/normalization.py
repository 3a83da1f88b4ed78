"""Batch normalization: in one pass on TensorFlow, and with statistics measured before a validation."""

from functools import partial

import keras
import numpy as np

from src.generators import PictureBatches


def fused(norm: keras.layers.BatchNormalization) -> keras.layers.BatchNormalization:
    """Returns the layer, computing with TensorFlow's fused kernels what Keras 3 computes in a dozen passes.

    The results are equal up to rounding. Only this object is changed, not its class: a saved network contains
    Keras's own layer and opens without our code. The layer is unchanged on other backends, which compile it.

    Args:
        norm: for pictures, channels last, with gamma and beta.
    """
    if keras.backend.backend() == "tensorflow":
        norm.call = partial(_normalize_at_once, norm)
    return norm


def _normalize_at_once(norm: keras.layers.BatchNormalization, inputs, training=None, mask=None):
    """Does what `BatchNormalization.call` does for (batch, height, width, channels); ignores the mask."""
    import tensorflow as tf  # always installed where this backend is used

    measures = bool(training and norm.trainable)
    outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
        inputs,
        norm.gamma,
        norm.beta,
        None if measures else norm.moving_mean,
        None if measures else norm.moving_variance,
        norm.epsilon,
        is_training=measures,
    )
    if measures:
        pixels = tf.cast(tf.size(inputs) / tf.shape(inputs)[-1], variance.dtype)
        variance *= (pixels - 1) / pixels  # Keras 3 tracks the biased variance
        for moving, new in ((norm.moving_mean, mean), (norm.moving_variance, variance)):
            moving.assign(moving * norm.momentum + new * (1 - norm.momentum))
    return outputs


def settle_normalization(network: keras.Model, batches: PictureBatches, number: int = 100) -> None:
    """Replaces the moving statistics of every batch normalization by their mean over training pictures.

    During training they follow the last few batches, of augmented pictures and of weights that were still
    changing, whereas evaluation uses pictures as they are (Y. Wu and J. Johnson, "Rethinking Batch in
    BatchNorm", 2021: precise statistics).

    Args:
        network: a trained network; only its statistics change.
        batches: of the training part, not augmented.
        number: the maximum number of batches, drawn from the whole part.
    """
    layers = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in layers]
    chosen = np.random.default_rng(0).permutation(len(batches))[:number]
    seen = 0
    for index in chosen:
        pictures = batches[int(index)][0]
        for layer in layers:
            # All pictures have the same weight: the last batch may be a single one.
            layer.momentum = seen / (seen + len(pictures))
        network(pictures, training=True)
        seen += len(pictures)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


class SettledNormalization(keras.callbacks.Callback):
    """Settles the statistics before each validation during training, so that scores reflect only the weights.

    Moving statistics make a short training look worse than it is, by a random amount: it is scored while the
    weights are still changing and, if pictures grow, at another size than the statistics were measured at.
    """

    def __init__(self, batches: PictureBatches):
        """Stores the batches; only an eighth of them, 4 to 16, is used, since every epoch pays for it."""
        super().__init__()
        self.batches, self.number = batches, min(16, max(4, len(batches) // 8))

    def on_test_begin(self, logs=None):
        """Settles the statistics; Keras calls this when a validation begins."""
        settle_normalization(self.model, self.batches, self.number)
