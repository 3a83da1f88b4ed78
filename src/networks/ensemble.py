"""Several networks, and several views of a picture, as one network whose probability is their mean."""

import os
from pathlib import Path

import keras
from keras import layers, ops

from src.running.writing import replacing


def average_networks(networks: list[keras.Model], mirrored: bool = False) -> keras.Model:
    """Returns one network that gives the mean of the networks' probabilities, compiled for evaluation.

    What it does is in the saved file: who loads it predicts with all networks and views, and needs
    nothing of ours.

    Args:
        networks: of the same input, with one sigmoid output each.
        mirrored: whether each network also sees the mirrored picture, which counts as much.

    Raises:
        ValueError: there is no network.
    """
    if not networks:
        raise ValueError("there is no network to average; give one or more")
    pictures = keras.Input(networks[0].input_shape[1:], name="pictures")
    views = [pictures, ops.flip(pictures, axis=2)] if mirrored else [pictures]
    bare = [
        without_optimizer(network, f"network_{number}") for number, network in enumerate(networks, start=1)
    ]
    probabilities = [network(view) for network in bare for view in views]
    # The mean in float32, also where the networks compute in 16 bits.
    mean = layers.Average(dtype="float32", name="probability")
    average = mean(probabilities) if len(probabilities) > 1 else probabilities[0]
    model = keras.Model(pictures, average, name="averaged")
    # To be evaluated, never trained: SGD alone has no state that a loaded file would be warned to lack.
    model.compile("sgd", loss="binary_crossentropy", metrics=["accuracy"])
    return model


def without_optimizer(network: keras.Model, name: str | None = None) -> keras.Model:
    """Returns the same network, its weights shared, without its optimizer.

    The optimizer is two thirds of a saved file, and a user of the file has no code for ours.
    """
    return keras.Model(network.inputs[0], network.outputs[0], name=name or network.name)


def save_weights(network: keras.Model, path: Path) -> None:
    """Saves a network's weights without its optimizer's state; the file, `.weights.h5`, is replaced whole."""
    with replacing(path, f"{os.getpid()}.partial.weights.h5") as partial:
        without_optimizer(network).save_weights(partial)
