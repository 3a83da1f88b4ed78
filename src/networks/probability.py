"""The last layer's probability, which keeps learning however confident it is, and its log loss."""

from functools import partial

import keras
from keras import ops

SMALLEST = 1e-7  # probabilities are clipped this far from 0 and 1 before their log odds are taken
FURTHEST = 15.0  # logit: float32 can still tell its probability, 1 - 3e-7, from 1


def unsaturated(layer: keras.layers.Dense) -> keras.layers.Dense:
    """Returns the layer, whose cross-entropy keeps a gradient even if its probability is confidently wrong.

    Keras computes the cross-entropy from logits on TensorFlow, but from probabilities on JAX and PyTorch.
    Beyond a logit of 17, float32 rounds these to 1, where the gradient vanishes: a network that has become
    certain of one class stays so. On these backends the logit is clipped at `FURTHEST`, and the gradient
    passes as if it were not. As in `normalization.fused`, only this object is changed, not its class.

    Args:
        layer: one sigmoid unit with a bias, in float32.
    """
    if keras.backend.backend() != "tensorflow":
        layer.call = partial(_give_probability, layer)
    return layer


@keras.saving.register_keras_serializable(package="tuned_image_classifier")
def log_loss(codes, probabilities):
    """Returns each picture's cross-entropy, without the smoothing and penalties in which trials differ."""
    return keras.losses.binary_crossentropy(ops.reshape(codes, (-1, 1)), probabilities)


def log_odds(probability):
    """Returns the log odds of probabilities, in float32; finite even for 0 and 1."""
    kept = ops.clip(ops.cast(probability, "float32"), SMALLEST, 1 - SMALLEST)
    return ops.log(kept) - ops.log(1 - kept)


def _give_probability(layer, inputs, training=None):
    """Does what `Dense.call` does, with clipped logits; see `unsaturated`."""
    logits = ops.matmul(inputs, layer.kernel) + layer.bias
    kept = ops.clip(logits, -FURTHEST, FURTHEST)
    return ops.sigmoid(ops.stop_gradient(kept) + (logits - ops.stop_gradient(logits)))
