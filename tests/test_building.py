"""The first pass through the pictures is whole on every backend: KERAS_BACKEND=jax and torch run it, too."""

import keras
import numpy as np
import pytest

from src.generators import PictureBatches
from src.networks.building import build_metrics, check_output

pytestmark = pytest.mark.long


@pytest.fixture
def batches() -> PictureBatches:
    """Returns 20 batches of 4 squares, each square as bright as its number."""
    pixels = np.broadcast_to(np.arange(80, dtype="uint8")[:, None, None, None], (80, 8, 8, 3)).copy()
    rows = np.arange(80)
    return PictureBatches(pixels, rows, rows % 2, [f"{row}" for row in rows], batch_size=4, workers=2)


@pytest.fixture
def network() -> keras.Model:
    """Returns a network that gives the sum of a picture's mean colours."""
    layers = [keras.Input((8, 8, 3)), keras.layers.GlobalAveragePooling2D()]
    network = keras.Sequential([*layers, keras.layers.Dense(1, kernel_initializer="ones")])
    network.compile("sgd", "mse", metrics=[keras.metrics.MeanSquaredError(name="error")])
    return network


def test_the_first_evaluation_sees_every_picture_once(batches, network):
    build_metrics(network, batches)
    error = network.evaluate(batches, verbose=0, return_dict=True)["error"]
    pictures = np.concatenate([batches[index][0] for index in range(20)])
    sums = pictures.mean(axis=(1, 2)).sum(axis=1)
    assert error == pytest.approx(np.mean((sums - batches.codes) ** 2), rel=1e-4)


def test_two_epochs_of_a_training_are_two_passes(batches, network):
    build_metrics(network, batches)
    network.fit(batches, epochs=2, shuffle=False, verbose=0)
    assert batches.epoch == 2


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (keras.layers.Dense(2, "softmax"), r"outputs of shape \(None, 2\); give \(None, 1\)"),
        (keras.layers.Reshape((8, 24)), r"outputs of shape \(None, 8, 24\)"),
        (keras.layers.Dense(1, "sigmoid", dtype="mixed_bfloat16"), "probability in bfloat16"),
    ],
)
def test_a_network_without_one_float32_probability_is_refused_before_it_is_trained(last, said):
    layers = [keras.Input((8, 8, 3))] if isinstance(last, keras.layers.Reshape) else [keras.Input((8,))]
    with pytest.raises(ValueError, match=said):
        check_output(keras.Sequential([*layers, last]))


def test_a_network_of_its_own_class_is_refused():
    """Notebook 05 could neither open it without its code nor look into it."""

    class Network(keras.Model):
        """Has no layers yet."""

    with pytest.raises(ValueError, match="outputs of shape None; give"):
        check_output(Network())
