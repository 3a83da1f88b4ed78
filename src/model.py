"""The published three-block CNN."""

import keras
from keras import layers, regularizers

from src.config import PUBLISHED_IMAGE_SIZE
from src.networks.probability import log_loss, unsaturated


def build_cnn(
    image_size: int = PUBLISHED_IMAGE_SIZE,
    conv_1_filter: int = 32,
    conv_1_kernel: int = 3,
    l2: float = 1e-5,
    conv_2_filter: int = 64,
    conv_2_kernel: int = 3,
    dropout_1: float = 0.1,
    conv_3_filter: int = 128,
    conv_3_kernel: int = 3,
    dropout_2: float = 0.2,
    dense_1_units: int = 64,
    dropout_3: float = 0.1,
    l2_1: float | None = None,
    l2_2: float | None = None,
    l2_3: float | None = None,
    l2_4: float | None = None,
    learning_rate: float = 1e-4,
    decay_steps: int = 10_000,
) -> keras.Model:
    """Returns the compiled CNN: three convolution blocks and a dense head, one sigmoid unit.

    Args:
        image_size: side of the square input pictures, in pixels; each of three pooling layers halves it.
        conv_1_filter: filters of the first convolution; conv_2_filter and conv_3_filter of the others.
        conv_1_kernel: kernel size of the first convolution; conv_2_kernel and conv_3_kernel of the others.
        l2: weight of the L2 penalty on the three convolutions and the first dense layer.
        dropout_1: dropout rate after the second block; dropout_2 after the third.
        dense_1_units: units of the first dense layer.
        dropout_3: dropout rate before the output layer.
        l2_1: penalty of the first convolution alone, instead of `l2`; l2_2 and l2_3 of the other two,
            l2_4 of the dense layer.
        learning_rate: Adam's initial learning rate; it decays by a tenth every `decay_steps` steps.
        decay_steps: see `learning_rate`.
    """

    def with_relu(own_l2: float | None, name: str) -> dict:
        penalty = regularizers.L2(l2 if own_l2 is None else own_l2)
        return {"activation": "relu", "kernel_regularizer": penalty, "name": name}

    model = keras.Sequential([keras.Input((image_size, image_size, 3))], name="published_cnn")
    for number, filters, kernel, own_l2, dropout in (
        (1, conv_1_filter, conv_1_kernel, l2_1, None),
        (2, conv_2_filter, conv_2_kernel, l2_2, dropout_1),
        (3, conv_3_filter, conv_3_kernel, l2_3, dropout_2),
    ):
        model.add(layers.Conv2D(filters, kernel, padding="same", **with_relu(own_l2, f"conv_{number}")))
        model.add(layers.BatchNormalization(name=f"norm_{number}"))
        model.add(layers.MaxPooling2D(name=f"pool_{number}"))
        if dropout is not None:
            model.add(layers.Dropout(dropout, name=f"dropout_{number - 1}"))
    model.add(layers.Flatten(name="flatten"))
    model.add(layers.Dense(dense_1_units, **with_relu(l2_4, "dense_1")))
    model.add(layers.Dropout(dropout_3, name="dropout_3"))
    # float32 even under mixed precision: in 16 bits a probability near 1 rounds to 1 and loses its gradient.
    model.add(unsaturated(layers.Dense(1, activation="sigmoid", dtype="float32", name="probability")))
    schedule = keras.optimizers.schedules.ExponentialDecay(learning_rate, decay_steps, decay_rate=0.9)
    model.compile(keras.optimizers.Adam(schedule), loss="binary_crossentropy", metrics=["accuracy", log_loss])
    return model
