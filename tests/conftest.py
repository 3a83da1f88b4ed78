"""Fixtures that several test files ask for by name."""

import gc
from pathlib import Path

import src  # noqa: F401 - before Keras, as in the notebooks  # isort: skip
import keras
import pytest

from src.images.preprocessing import PREPROCESSING
from src.networks.ensemble import average_networks
from src.networks.residual import build_residual_cnn
from src.runs import save_model


@pytest.fixture(scope="module", autouse=True)
def quick_collections():
    """Leaves what is there before a file's tests, all of Keras, out of the garbage collections.

    Both engines make one before each trial: half of a tiny trial's time.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture
def draw_and_close():
    """Draws every figure that a test has made, and closes it."""
    import matplotlib.pyplot as plt

    yield
    for number in plt.get_fignums():  # text and layout must not raise either
        plt.figure(number).draw_without_rendering()
    plt.close("all")


@pytest.fixture
def model_facts() -> dict:
    """What the JSON beside `model_file` says."""
    facts = {"class_names": ["cat", "dog"], "image_size": 24, "interpolation": "area"}
    return {**facts, "preprocessing": PREPROCESSING}


@pytest.fixture
def model_file(tmp_path, model_facts) -> Path:
    """Two networks of any size, averaged with mirrored views, at a temperature, as notebook 04 saves them."""
    keras.utils.set_random_seed(1)
    networks = [build_residual_cnn(width=8, stages=2, activation="silu") for _ in range(2)]
    save_model(
        average_networks(networks, mirrored=True, temperature=0.7), tmp_path / "model.keras", model_facts
    )
    return tmp_path / "model.keras"
