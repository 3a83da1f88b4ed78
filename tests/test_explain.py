"""Grad-CAM looks where the network looks: networks whose answer is known, of every kind that is saved."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers

from src.explain import class_maps, explain_predictions, right_and_wrong
from src.generators import PictureBatches
from src.model import build_cnn
from src.networks.ensemble import average_networks
from src.networks.residual import build_residual_cnn
from src.pretrained.transfer_spaces import attach_head

pytestmark = pytest.mark.long

SIDE = 32
UPPER_RIGHT, LOWER_LEFT = (slice(0, 8), slice(24, 32)), (slice(16, 24), slice(0, 8))  # rows, columns


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """A red square at the upper right and a blue one at the lower left, then the two exchanged."""
    made = np.full((2, SIDE, SIDE, 3), -100.0, dtype="float32")
    for picture, red, blue in zip(made, (UPPER_RIGHT, LOWER_LEFT), (LOWER_LEFT, UPPER_RIGHT), strict=True):
        picture[(*red, 0)] = picture[(*blue, 2)] = 100
    return made


def red_against_blue(network: keras.Model, colours: tuple[int, int] = (0, 2)) -> keras.Model:
    """Returns the network with weights by hand: red speaks for class 1, blue for class 0.

    Its first two filters pass red and blue on, from layer to layer; all others are silent. `colours` are
    the channels of red and blue in the pictures.
    """
    channels = 0
    for layer in network.layers:
        if isinstance(layer, layers.Conv2D):
            kernel = np.zeros(layer.kernel.shape, dtype="float32")
            middle = kernel.shape[0] // 2
            kernel[middle, middle, colours, (0, 1)] = 1
            colours, channels = (0, 1), kernel.shape[-1]
            layer.set_weights([kernel] + [np.zeros(kernel.shape[-1])] * layer.use_bias)
        if isinstance(layer, layers.Dense):
            kernel = np.zeros(layer.kernel.shape, dtype="float32")
            if layer.units == 1:
                kernel[0], kernel[1] = 0.01, -0.01
            else:  # after Flatten: channels come one after another at each place
                kernel[0::channels, 0] = kernel[1::channels, 1] = 1
            layer.set_weights([kernel, np.zeros(layer.units)])
    return network


def published() -> keras.Model:
    few = {"conv_1_filter": 4, "conv_2_filter": 4, "conv_3_filter": 4, "dense_1_units": 4}
    return red_against_blue(build_cnn(SIDE, **few))


def residual(image_size: int | None = SIDE) -> keras.Model:
    return red_against_blue(build_residual_cnn(image_size, width=8, stages=2, pooling="both"))


def pretrained(pooled_inside: bool, strides: int = 1) -> keras.Model:
    """Returns a head on a nested backbone, which pools by itself or leaves that to the head."""
    picture = keras.Input((SIDE, SIDE, 3))
    inside = layers.Conv2D(4, 3, strides, padding="same", activation="relu")(picture)
    pool = layers.GlobalAveragePooling2D
    backbone = keras.Model(picture, pool()(inside) if pooled_inside else inside, name="backbone")
    taken = keras.Input((SIDE, SIDE, 3))
    features = red_against_blue(backbone)(layers.Rescaling(1 / 100)(taken))
    features = features if pooled_inside else pool()(features)
    probability = layers.Dense(1, activation="sigmoid")(layers.Dropout(0.2)(features))
    return red_against_blue(keras.Model(taken, probability))


def with_nested_head(bias: float = 0.0) -> keras.Model:
    """Returns a head on a backbone's pooled features, attached as notebook 06 does."""
    picture, given = keras.Input((SIDE, SIDE, 3)), keras.Input((4,))
    maps = layers.Conv2D(4, 3, padding="same", activation="relu")(layers.Rescaling(1 / 100)(picture))
    backbone = keras.Model(picture, layers.GlobalAveragePooling2D()(maps))
    head = keras.Model(given, layers.Dense(1, activation="sigmoid")(layers.Dropout(0.2)(given)))
    network = attach_head(red_against_blue(backbone), red_against_blue(head))
    head.layers[-1].bias.assign([bias])
    return network


def behind_preparation() -> keras.Model:
    taken = keras.Input((SIDE, SIDE, 3))
    return keras.Model(taken, residual()(layers.Rescaling(1.0)(taken)))


def with_a_sigmoid_of_its_own() -> keras.Model:
    taken = keras.Input((SIDE, SIDE, 3))
    maps = layers.Conv2D(4, 3, padding="same", activation="relu")(layers.Rescaling(1 / 100)(taken))
    score = layers.Dense(1)(layers.GlobalAveragePooling2D()(maps))
    return red_against_blue(keras.Model(taken, layers.Activation("sigmoid")(score)))


def of_16_bits() -> keras.Model:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        return residual()
    finally:
        keras.config.set_dtype_policy("float32")


KINDS = {
    "published": published,
    "residual": residual,
    "residual of any size": lambda: residual(None),
    "in 16 bits": of_16_bits,
    "two networks averaged": lambda: average_networks([published(), residual()]),
    "averaged, with mirrored views": lambda: average_networks([published(), residual()], mirrored=True),
    "one network with its mirrored view": lambda: average_networks([residual()], mirrored=True),
    "one network nested": lambda: average_networks([residual()]),
    "one network at a temperature": lambda: average_networks([residual()], temperature=0.5),
    "averaged, mirrored, at a temperature": lambda: average_networks([published(), residual()], True, 3.0),
    "backbone, then pooling": lambda: pretrained(pooled_inside=False),
    "backbone that pools": lambda: pretrained(pooled_inside=True),
    "backbone with a nested head": with_nested_head,
    "a nested head, whose probability rounds to 1": lambda: with_nested_head(bias=40.0),
    "a nested head, averaged with its mirrored view": lambda: average_networks([with_nested_head()], True),
    "a whole network behind preparation": behind_preparation,
    "a sigmoid of its own after the last layer": with_a_sigmoid_of_its_own,
}


def highest(one_map: np.ndarray) -> tuple[int, int]:
    return tuple(int(place) for place in np.unravel_index(one_map.argmax(), one_map.shape))


def inside(place: tuple[int, int], square: tuple[slice, slice]) -> bool:
    return all(part.start <= where < part.stop for where, part in zip(place, square, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_known_answer(kind, pictures):
    network = KINDS[kind]()
    for code, squares in ((1, (UPPER_RIGHT, LOWER_LEFT)), (0, (LOWER_LEFT, UPPER_RIGHT))):
        maps = class_maps(network, pictures, np.array([code, code]))
        assert maps.shape == (2, SIDE, SIDE) and maps.min() >= 0 and maps.max() == 1
        places = [highest(one) for one in maps]
        assert all(inside(*pair) for pair in zip(places, squares, strict=True)), (code, places)


def test_each_picture_is_asked_about_its_own_class(pictures):
    maps = class_maps(residual(), pictures, np.array([1, 0]))
    assert [inside(highest(one), UPPER_RIGHT) for one in maps] == [True, True]


def test_a_map_is_the_rule_worked_out_by_hand(pictures):
    """After mean pooling the gradient is the last layer's kernel at every place, by the number of places."""
    picture = keras.Input((SIDE, SIDE, 3))
    features = layers.Conv2D(2, 1, activation="relu")(picture)
    pooled = layers.GlobalAveragePooling2D()(features)
    network = keras.Model(picture, layers.Dense(1, activation="sigmoid")(pooled))
    kernel, bias = np.array([[0.5, 0.2, 0.1], [-0.3, 0.1, 0.7]]).T[None, None], np.array([30.0, 20.0])
    last = np.array([[1.0], [-0.4]])
    network.set_weights([kernel, bias, last, np.zeros(1)])
    pictures = pictures * np.array([1.0, 0.5])[:, None, None, None]  # each map has its own maximum
    values = np.maximum(pictures @ kernel[0, 0] + bias, 0)
    expected = np.maximum(values @ last[:, 0], 0)
    expected /= expected.max(axis=(1, 2), keepdims=True)
    assert class_maps(network, pictures, [1, 1]) == pytest.approx(expected, abs=1e-5)


def test_a_map_is_that_of_the_last_features_wherever_they_are_pooled(pictures):
    inside, outside = (pretrained(pooled_inside=where, strides=4) for where in (True, False))
    expected = class_maps(outside, pictures, [1, 0])
    assert class_maps(inside, pictures, [1, 0]) == pytest.approx(expected, abs=1e-5)


def test_a_saved_network_is_explained_as_the_one_in_memory(pictures, tmp_path):
    network = average_networks([published(), residual()], mirrored=True)
    network.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert class_maps(loaded, pictures, [1, 1]) == pytest.approx(class_maps(network, pictures, [1, 1]))


def test_a_network_that_is_sure_to_the_last_bit_still_has_a_map(pictures):
    network = residual()
    last = network.layers[-1]
    last.set_weights([last.get_weights()[0] * 1000, last.get_weights()[1] + 100])
    assert float(network.predict(pictures, verbose=0)[0, 0]) > 1 - 1e-6  # 1.0 with TensorFlow
    for each in (network, average_networks([network], temperature=2.0)):
        assert inside(highest(class_maps(each, pictures, [1, 1])[0]), UPPER_RIGHT)


def test_what_speaks_against_the_class_everywhere_gives_an_empty_map(pictures):
    blue = pictures.copy()
    blue[..., 0] = -100
    assert class_maps(residual(), blue, [1, 1]).max() == 0


def test_a_network_without_a_feature_map_is_refused(pictures):
    picture = keras.Input((4,))
    network = keras.Model(picture, layers.Dense(1, activation="sigmoid")(picture))
    with pytest.raises(ValueError, match="0 last feature maps"):
        class_maps(network, np.zeros((1, 4)), [1])


def test_a_saved_model_is_asked_about_the_pictures_that_are_named(tmp_path):
    """Squares of one colour on black in a cache; the names come in another order than the rows."""
    pixels = np.zeros((3, SIDE, SIDE, 3), dtype="uint8")
    pixels[1][(*UPPER_RIGHT, 0)] = pixels[2][(*LOWER_LEFT, 0)] = 255
    batches = PictureBatches(pixels, np.array([1, 2]), np.array([1, 1]), ["a.jpg", "b.jpg"])
    network = red_against_blue(build_residual_cnn(SIDE, width=8, stages=2), colours=(2, 0))  # BGR
    network.save(tmp_path / "model.keras")
    chosen = pd.DataFrame({"image_name": ["b.jpg", "a.jpg"], "predicted": [1, 1]})
    pictures, maps = explain_predictions(tmp_path / "model.keras", batches, chosen)
    assert (pictures == pixels[[2, 1]]).all()
    assert inside(highest(maps[0]), LOWER_LEFT) and inside(highest(maps[1]), UPPER_RIGHT)
    pictures, maps = explain_predictions(tmp_path / "model.keras", batches, chosen[:0])
    assert pictures.shape == (0, SIDE, SIDE, 3) and maps.shape == (0, SIDE, SIDE)


def test_right_ones_are_drawn_and_wrong_ones_are_the_surest():
    probability = np.array([0.9, 0.6, 0.99, 0.4, 0.8, 0.7])
    correct = np.array([True, False, False, False, True, True])
    predictions = pd.DataFrame({"probability": probability, "correct": correct, "image_name": list("abcdef")})
    predictions["predicted"] = (predictions["probability"] > 0.5).astype(int)
    chosen = right_and_wrong(predictions, 2, seed=1)
    assert chosen["correct"].tolist() == [True, True, False, False]
    assert chosen["probability"].tolist()[2:] == [0.99, 0.6]  # 0.6 and 0.4 are as sure: the first one
    assert len(right_and_wrong(predictions, 9, seed=1)) == 6


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_other_backends_give_the_same_answers(backend):
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    command = [sys.executable, "-m", "pytest", "-o", "addopts=", __file__]
    command += ["-k", "known_answer or by_hand or last_bit"]
    root = Path(__file__).resolve().parents[1]
    environment = {**os.environ, "KERAS_BACKEND": backend}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
