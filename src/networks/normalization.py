"""Batch normalization: in one pass of TensorFlow's, and with statistics measured before a validation."""

from functools import partial

import keras
import numpy as np

from src.generators import PictureBatches


def fused(norm: keras.layers.BatchNormalization) -> keras.layers.BatchNormalization:
    """Returns the layer, computing by TensorFlow's fused kernels what Keras 3 computes in a dozen passes.

    The results are the same to rounding. It is this object alone that is changed, not its class: a saved
    network holds Keras's own layer and opens without code of ours. Other backends compile theirs.

    Args:
        norm: of pictures, channels last, with gamma and beta.
    """
    if keras.backend.backend() == "tensorflow":
        norm.call = partial(_normalize_at_once, norm)
    return norm


def _normalize_at_once(norm: keras.layers.BatchNormalization, inputs, training=None, mask=None):
    """Does what `BatchNormalization.call` does for (batch, height, width, channels); there is no mask."""
    import tensorflow as tf  # where this backend is used, it is there

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
        variance *= (pixels - 1) / pixels  # Keras 3 remembers the biased one
        for moving, new in ((norm.moving_mean, mean), (norm.moving_variance, variance)):
            moving.assign(moving * norm.momentum + new * (1 - norm.momentum))
    return outputs


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
    seen = 0
    for index in chosen:
        pictures = batches[int(index)][0]
        for layer in layers:
            # All pictures count the same: the last batch may be a single one, whose statistics are its own.
            layer.momentum = seen / (seen + len(pictures))
        network(pictures, training=True)
        seen += len(pictures)
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
