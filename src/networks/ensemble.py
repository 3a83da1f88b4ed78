"""Combines several networks, and several views of a picture, into one network that averages them."""

import os
from pathlib import Path

import keras
from keras import layers, ops

from src.networks.probability import log_odds
from src.running.devices import without_xla
from src.running.resources import check_space
from src.running.writing import replacing


def average_networks(
    networks: list[keras.Model], mirrored: bool = False, temperature: float = 1.0
) -> keras.Model:
    """Returns one network that averages the networks' probabilities, compiled for evaluation.

    Averaging and temperature are part of the saved file: whoever loads it predicts with all networks and
    views, and needs none of our code.

    Args:
        networks: with the same input and one sigmoid output each.
        mirrored: whether each network also sees the mirrored picture, with the same weight.
        temperature: the mean's logit is divided by it (see `src.results.calibration`); a probability of 0.5
            stays 0.5, so no picture changes its class. 1 leaves all probabilities as they are.

    Raises:
        ValueError: `networks` is empty.
    """
    if not networks:
        raise ValueError("there is no network to average; give one or more")
    pictures = keras.Input(networks[0].input_shape[1:], name="pictures")
    views = [pictures, ops.flip(pictures, axis=2)] if mirrored else [pictures]
    bare = [without_optimizer(network, f"network_{i}") for i, network in enumerate(networks, start=1)]
    probabilities = [network(view) for network in bare for view in views]
    # The mean is float32 even if the networks compute in 16 bits.
    mean = layers.Average(dtype="float32", name="probability")
    average = mean(probabilities) if len(probabilities) > 1 else probabilities[0]
    if temperature != 1:
        average = ops.sigmoid(log_odds(average) / temperature)
    model = keras.Model(pictures, average, name="averaged")
    # Only to be evaluated: SGD alone has no state, so loading the file does not warn that it is missing.
    model.compile("sgd", loss="binary_crossentropy", metrics=["accuracy"])
    # A saved file would keep whether this device compiles by XLA, but whoever loads it may have another one.
    compiled = {**model.get_compile_config(), "jit_compile": "auto"}
    model.get_compile_config = lambda: compiled
    return without_xla(model)


def without_optimizer(network: keras.Model, name: str | None = None) -> keras.Model:
    """Returns the same network, sharing its weights, without its optimizer.

    The optimizer makes up two thirds of a saved file, and who opens the file lacks the code of ours.
    """
    return without_xla(keras.Model(network.inputs[0], network.outputs[0], name=name or network.name))


def save_weights(network: keras.Model, path: Path) -> None:
    """Saves a network's weights without optimizer state; the file (`.weights.h5`) is replaced atomically.

    Raises:
        OSError: the disk has too little space; HDF5 itself would end the process.
    """
    overhead = 4_096 * (4 + len(network.variables))  # of HDF5; half of it was measured
    check_space(path.parent, 4 * network.count_params() + overhead, path.name)
    with replacing(path, f"{os.getpid()}.partial.weights.h5") as partial:
        without_optimizer(network).save_weights(partial)
