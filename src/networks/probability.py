"""The last layer's probability, which goes on learning however sure it is, and what it is worth."""

from functools import partial

import keras
from keras import ops

FURTHEST = 15.0  # logit: float32 still tells its probability, 1 - 3e-7, from 1


def unsaturated(layer: keras.layers.Dense) -> keras.layers.Dense:
    """Returns the layer, whose cross-entropy has a gradient also where its probability is sure and wrong.

    Keras computes the cross-entropy from the logits on TensorFlow, from the probability on JAX and PyTorch.
    Beyond a logit of 17 float32 rounds that to 1, where nothing is left to follow: a network that has become
    sure of one class stays so. There the probability ends at `FURTHEST`, and the gradient passes as if it did
    not. As in `normalization.fused` it is this object alone that is changed, not its class.

    Args:
        layer: one sigmoid unit with a bias, in float32.
    """
    if keras.backend.backend() != "tensorflow":
        layer.call = partial(_give_probability, layer)
    return layer


@keras.saving.register_keras_serializable(package="tuned_image_classifier")
def log_loss(codes, probabilities):
    """Returns each picture's cross-entropy: without smoothing and penalties, in which trials differ."""
    return keras.losses.binary_crossentropy(ops.reshape(codes, (-1, 1)), probabilities)


def _give_probability(layer, inputs, training=None):
    """Does what `Dense.call` does."""
    logits = ops.matmul(inputs, layer.kernel) + layer.bias
    kept = ops.clip(logits, -FURTHEST, FURTHEST)
    return ops.sigmoid(ops.stop_gradient(kept) + (logits - ops.stop_gradient(logits)))
