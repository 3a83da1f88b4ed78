"""The search spaces: functions that read hyperparameters and call a network's plain builder."""

from collections.abc import Callable
from typing import NamedTuple

import keras
import keras_tuner

from src.model import build_cnn
from src.networks.residual import build_residual_cnn


def published(hp: keras_tuner.HyperParameters, **settings) -> keras.Model:
    """Returns a model from the space that the published notebook printed: 11 entries.

    Its four L2 penalties share one name and so one value; `dropout_2` can only be 0.2, because
    floating-point division makes KerasTuner lose the top of 0.2..0.3 in steps of 0.1.
    """
    return build_cnn(
        conv_1_filter=hp.Int("conv_1_filter", 32, 128, step=32),
        conv_1_kernel=hp.Choice("conv_1_kernel", [3, 5]),
        l2=hp.Float("l2", 1e-5, 1e-1, sampling="log"),
        conv_2_filter=hp.Int("conv_2_filter", 64, 128, step=64),
        conv_2_kernel=hp.Choice("conv_2_kernel", [3, 5]),
        dropout_1=hp.Float("dropout_1", 0.1, 0.4, step=0.1),
        conv_3_filter=hp.Int("conv_3_filter", 128, 512, step=128),
        conv_3_kernel=hp.Choice("conv_3_kernel", [3, 5]),
        dropout_2=hp.Float("dropout_2", 0.2, 0.3, step=0.1),
        dense_1_units=hp.Int("dense_1_units", 64, 512, step=64),
        dropout_3=hp.Float("dropout_3", 0.1, 0.2, step=0.1),
        **settings,
    )


def described(hp: keras_tuner.HyperParameters, **settings) -> keras.Model:
    """Returns a model from the space that the published text meant: 14 entries.

    Each penalty has its own name and range, and `dropout_2` has both its values.
    """
    return build_cnn(
        conv_1_filter=hp.Int("conv_1_filter", 32, 128, step=32),
        conv_1_kernel=hp.Choice("conv_1_kernel", [3, 5]),
        l2_1=hp.Float("l2_1", 1e-5, 1e-1, sampling="log"),
        conv_2_filter=hp.Int("conv_2_filter", 64, 128, step=64),
        conv_2_kernel=hp.Choice("conv_2_kernel", [3, 5]),
        l2_2=hp.Float("l2_2", 1e-3, 1e-2, sampling="log"),
        dropout_1=hp.Float("dropout_1", 0.1, 0.4, step=0.1),
        conv_3_filter=hp.Int("conv_3_filter", 128, 512, step=128),
        conv_3_kernel=hp.Choice("conv_3_kernel", [3, 5]),
        l2_3=hp.Float("l2_3", 1e-4, 1e-2, sampling="log"),
        dropout_2=hp.Choice("dropout_2", [0.2, 0.3]),
        dense_1_units=hp.Int("dense_1_units", 64, 512, step=64),
        l2_4=hp.Float("l2_4", 1e-3, 1e-2, sampling="log"),
        dropout_3=hp.Float("dropout_3", 0.1, 0.2, step=0.1),
        **settings,
    )


def modern(hp: keras_tuner.HyperParameters, **settings) -> keras.Model:
    """Returns a residual CNN; untuned, each entry has its `default`, or else its first value."""
    return build_residual_cnn(
        width=hp.Int("width", 16, 64, step=16, default=32),
        blocks=hp.Choice("blocks", [1, 2]),
        stem_kernel=hp.Choice("stem_kernel", [3, 5, 7], default=5),
        activation=hp.Choice("activation", ["relu", "silu"]),
        pooling=hp.Choice("pooling", ["average", "both"]),
        dropout=hp.Float("dropout", 0.0, 0.4, step=0.1, default=0.2),
        label_smoothing=hp.Choice("label_smoothing", [0.0, 0.05, 0.1, 0.2], default=0.1),
        learning_rate=hp.Float("learning_rate", 2e-3, 5e-2, sampling="log", default=1e-2),
        warmup=hp.Float("warmup", 0.05, 0.25, default=0.1),
        weight_decay=hp.Float("weight_decay", 2e-3, 2e-1, sampling="log", default=2e-2),
        **settings,
    )


def modern_batches(hp: keras_tuner.HyperParameters) -> dict:
    """Returns a trial's batch size and the strength of its augmentation."""
    return {
        "batch_size": hp.Choice("batch_size", [16, 32, 64, 128], default=64),
        "augmentation_strength": hp.Choice("augmentation_strength", [0.75, 1.0, 1.25, 1.5], default=1.0),
    }


def as_settled(hp: keras_tuner.HyperParameters) -> dict:
    """Returns no choices: batch size and augmentation stay as set in notebook 02."""
    return {}


def fixed(values: dict) -> keras_tuner.HyperParameters:
    """Returns hyperparameters with values already chosen, such as the best of a search."""
    hp = keras_tuner.HyperParameters()
    hp.values = dict(values)
    return hp


class Space(NamedTuple):
    """What a search may choose.

    Attributes:
        build: function of `hp` and the settings that returns a compiled network, functional or sequential,
            with the metric accuracy. It takes the pictures that `src.images.preprocessing` makes, and gives
            one probability per picture, that of code 1, in float32.
        choose_batches: function of `hp` that returns arguments for `load_batches`.
        settings: names of the settings that `build` takes besides `image_size`.
        settles_normalization: whether batch-norm statistics are recomputed before each validation.
        any_size: whether its networks take pictures of any size, so that pictures may grow in training.
    """

    build: Callable[..., keras.Model]
    choose_batches: Callable[[keras_tuner.HyperParameters], dict]
    settings: tuple[str, ...]
    settles_normalization: bool = False
    any_size: bool = False


SPACES = {
    "published": Space(published, as_settled, ("learning_rate",)),
    "described": Space(described, as_settled, ("learning_rate",)),
    "modern": Space(
        modern, modern_batches, ("steps", "cooldown", "optimizer", "weight_averaging"), True, True
    ),
}
