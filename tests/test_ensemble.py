"""Averaged networks: the mean of what they say, in one file that opens without our code."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from src.networks.ensemble import average_networks
from src.networks.residual import build_residual_cnn
from src.runs import save_model

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def networks() -> list[keras.Model]:
    keras.utils.set_random_seed(3)
    choices = ({"pooling": "average", "activation": "silu"}, {"pooling": "max"})
    made = [build_residual_cnn(16, width=8, stages=2, **choice) for choice in choices]
    random = np.random.default_rng(3)
    for network in made:  # a new block is silent: its gammas are zero
        weights = [np.abs(weight + random.normal(0, 0.1, weight.shape)) for weight in network.get_weights()]
        network.set_weights(weights)
    return made


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 60, (5, 16, 16, 3)).astype("float32")


def test_it_gives_the_mean_of_all_networks_and_views(networks, pictures):
    views = (pictures, pictures[:, :, ::-1])
    expected = np.mean([network.predict(view, verbose=0) for network in networks for view in views], axis=0)
    averaged = average_networks(networks, mirrored=True)
    assert averaged.predict(pictures, verbose=0) == pytest.approx(expected, abs=1e-6)


def test_with_the_mirrored_view_a_picture_and_its_mirror_image_are_the_same(networks, pictures):
    averaged = average_networks(networks[:1], mirrored=True)
    both = [averaged.predict(view, verbose=0) for view in (pictures, pictures[:, :, ::-1])]
    assert both[0] == pytest.approx(both[1], abs=1e-6)


def test_one_network_alone_stays_what_it_is(networks, pictures):
    alone = average_networks(networks[:1])
    assert alone.predict(pictures, verbose=0) == pytest.approx(
        networks[0].predict(pictures, verbose=0), abs=1e-6
    )


@pytest.mark.parametrize("temperature", [0.4, 2.5])
def test_the_logit_of_the_mean_is_divided_by_the_temperature(temperature, networks, pictures):
    mean = average_networks(networks, mirrored=True).predict(pictures, verbose=0).astype(float)
    unsure = np.abs(mean - 0.5) < 0.499  # the rest is about certain: float32 rounds it
    told = average_networks(networks, True, temperature).predict(pictures, verbose=0)[unsure]
    odds = (mean[unsure] / (1 - mean[unsure])) ** (1 / temperature)
    assert len(told) and told == pytest.approx(odds / (1 + odds), abs=1e-5)


@pytest.mark.parametrize("certain", [0.0, 1.0, 0.5])
def test_at_a_temperature_a_certain_network_stays_finite_and_an_undecided_one_undecided(certain):
    told = keras.Input((4, 4, 3))
    kept = keras.layers.GlobalMaxPooling2D()(told)[:, :1]  # what the picture says
    picture = np.full((1, 4, 4, 3), certain, "float32")
    for temperature in (0.05, 20.0):
        network = average_networks([keras.Model(told, kept)], temperature=temperature)
        given = network.predict(picture, verbose=0).item()
        assert np.isfinite(given) and (given - 0.5) * (certain - 0.5) >= 0
        assert (given == 0.5) == (certain == 0.5)
        assert np.isfinite(network.evaluate(picture, np.array([1 - certain]), verbose=0)[0])


ELSEWHERE = """
import importlib.util, keras, numpy
assert not importlib.util.find_spec("src")
model = keras.models.load_model("model.keras", safe_mode=True)
numpy.save("told.npy", model.predict(numpy.load("pictures.npy"), verbose=0))
"""


def test_the_saved_file_opens_in_safe_mode_where_there_is_no_code_of_ours(networks, pictures, tmp_path):
    averaged = average_networks(networks, mirrored=True, temperature=0.6)
    save_model(averaged, tmp_path / "model.keras", {})
    np.save(tmp_path / "pictures.npy", pictures)
    bare = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-P", "-c", ELSEWHERE]
    done = subprocess.run(command, cwd=tmp_path, env=bare, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "told.npy") == pytest.approx(averaged.predict(pictures, verbose=0), abs=1e-6)


def test_nothing_to_average_is_said():
    with pytest.raises(ValueError, match="no network to average"):
        average_networks([])
