"""The last layer learns on where it is sure and wrong, and gives Keras's own probabilities otherwise."""

import keras
import numpy as np
import pytest
from keras import ops

from src.networks.probability import FURTHEST, unsaturated


@pytest.fixture(autouse=True)
def _backend_without_logits(monkeypatch):
    if keras.backend.backend() == "tensorflow":
        monkeypatch.setattr(keras.backend, "backend", lambda: "jax")


def crossentropy_of_probabilities(wanted, probability):
    """Returns what Keras computes on JAX and PyTorch, on any backend."""
    kept = ops.clip(probability, 1e-7, 1 - 1e-7)
    return -ops.mean(wanted * ops.log(kept) + (1 - wanted) * ops.log(1 - kept))


def make_network(prepare, weight: float) -> keras.Model:
    layer = prepare(keras.layers.Dense(1, activation="sigmoid"))
    network = keras.Sequential([keras.Input((1,)), layer])
    layer.set_weights([np.full((1, 1), weight), np.zeros(1)])
    network.compile(keras.optimizers.SGD(1.0), crossentropy_of_probabilities)
    return network


@pytest.mark.parametrize("weight", [40.0, -40.0, 3e8])
def test_a_network_that_is_sure_and_wrong_learns_nothing_by_itself_and_with_it_what_logits_teach(weight):
    wanted = np.array([[float(weight < 0)]])
    found = {}
    for prepare in (lambda layer: layer, unsaturated):
        network = make_network(prepare, weight)
        network.train_on_batch(np.ones((1, 1)), wanted)
        found[prepare] = network.get_weights()[1].item()  # the bias began at 0
    alone, helped = found.values()
    assert alone == 0, "float32 would have to tell this probability from 1"
    assert helped == pytest.approx(np.sign(-weight), abs=1e-5)  # of the logit: probability - wanted


def test_less_sure_probabilities_and_their_steps_are_kerass_own():
    inputs = np.linspace(-FURTHEST, FURTHEST, 25)[1:-1, None]
    wanted = (np.arange(23) % 2)[:, None]
    results = []
    for prepare in (lambda layer: layer, unsaturated):
        network = make_network(prepare, 1.0)
        before = network.predict(inputs, verbose=0)
        network.train_on_batch(inputs, wanted)
        results.append([before, *network.get_weights()])
    for theirs, ours in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_the_layer_is_saved_as_kerass_own(tmp_path):
    network = make_network(unsaturated, 2.0)
    network.compile("sgd", "binary_crossentropy")
    network.save(tmp_path / "network.keras")
    layer = keras.models.load_model(tmp_path / "network.keras").layers[-1]
    assert type(layer) is keras.layers.Dense
    assert "call" not in vars(layer)
    assert "call" in vars(network.layers[-1])
