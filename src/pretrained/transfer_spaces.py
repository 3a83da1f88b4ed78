"""Search spaces of transfer learning: the head on a backbone, and how both are fine-tuned together."""

import keras
import keras_tuner
from keras import layers, regularizers

from src.networks.ensemble import without_optimizer
from src.networks.probability import log_loss, unsaturated
from src.pretrained.backbones import build_backbone, unfreeze
from src.spaces import Space, as_settled

WARMUP = 0.1  # fraction of the steps during which the learning rate rises


def build_head(features: int, units: int = 0, dropout: float = 0.2, l2: float = 1e-3) -> keras.Model:
    """Returns an uncompiled network from a backbone's features to a probability.

    Args:
        features: number of features.
        units: of the hidden layer; 0 means none, which makes it a logistic regression.
        dropout: fraction dropped before the last layer.
        l2: weight of the L2 penalty on the kernels.
    """
    penalty = regularizers.L2(l2)
    given = keras.Input((features,), name="features")
    # Backbones differ in the scale of their features; normalizing each picture alone needs no statistics.
    x = layers.LayerNormalization(center=False, scale=False, name="normalize")(given)
    if units:
        x = layers.Dense(units, activation="relu", kernel_regularizer=penalty, name="hidden")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    last = layers.Dense(
        1, activation="sigmoid", kernel_regularizer=penalty, dtype="float32", name="probability"
    )
    return keras.Model(given, unsaturated(last)(x), name="head")


def attach_head(backbone: keras.Model, head: keras.Model) -> keras.Model:
    """Returns one network from pictures to a probability; it shares the weights of its parts."""
    return keras.Model(backbone.inputs[0], head(backbone.outputs[0]), name="transfer")


def compile_network(network: keras.Model, learning_rate: float, steps: int) -> keras.Model:
    """Returns the network compiled with Adam, whose learning rate warms up and then follows a cosine decay.

    Args:
        network: with one sigmoid output.
        learning_rate: at its peak.
        steps: number of batches of the whole training.
    """
    rising = round(WARMUP * steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        learning_rate / 25, steps - rising, alpha=1e-3, warmup_target=learning_rate, warmup_steps=rising
    )
    network.compile(keras.optimizers.Adam(schedule), "binary_crossentropy", metrics=["accuracy", log_loss])
    return network


def head_space(hp: keras_tuner.HyperParameters, features: int, steps: int) -> keras.Model:
    """Returns a compiled head; the first trial uses the defaults."""
    head = build_head(
        features,
        units=hp.Choice("units", [0, 64, 128, 256]),
        dropout=hp.Float("dropout", 0.0, 0.4, step=0.1, default=0.2),
        l2=hp.Float("l2", 1e-5, 3e-2, sampling="log", default=1e-3),
    )
    rate = hp.Float("learning_rate", 1e-4, 2e-2, sampling="log", default=5e-3)
    return compile_network(head, rate, steps)


def fine_tuning_space(
    hp: keras_tuner.HyperParameters, image_size: int, backbone: str, head: dict, start: str, steps: int
) -> keras.Model:
    """Returns the compiled network: it starts from the frozen one's weights, its last blocks trainable.

    Args:
        hp: unfrozen_blocks and learning_rate are drawn from it.
        image_size: side of the pictures, in pixels.
        backbone: its name.
        head: arguments for `build_head`.
        start: file with the frozen network's weights.
        steps: number of batches of the whole training.
    """
    network = attach_head(build_backbone(backbone, image_size), build_head(**head))
    without_optimizer(network).load_weights(start)
    unfreeze(network, backbone, hp.Int("unfrozen_blocks", 1, 9, step=2, default=5))
    rate = hp.Float("learning_rate", 1e-5, 1e-3, sampling="log", default=1e-4)
    return compile_network(network, rate, steps)


def fine_tuning_batches(hp: keras_tuner.HyperParameters) -> dict:
    """Returns the choices for the batches of a fine-tuning trial."""
    strengths = [0.25, 0.5, 0.75, 1.0]
    return {"augmentation_strength": hp.Choice("augmentation_strength", strengths, default=0.75)}


HEAD = Space(head_space, as_settled, ("features", "steps"))
FINE_TUNING = Space(fine_tuning_space, fine_tuning_batches, ("backbone", "head", "start", "steps"))
