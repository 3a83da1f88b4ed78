"""Where Keras would turn on XLA, as on a GPU, our networks do without it, and a saved one leaves it open."""

import keras
import pytest
import search_in_process
from search_in_process import serve

from src.networks.ensemble import average_networks, without_optimizer
from src.networks.saved_model import open_network
from src.pretrained.backbones import build_backbone
from src.running.devices import release, without_xla
from src.spaces import SPACES, fixed
from src.training import PictureTraining

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow", reason="other backends compile by XLA or not"
    ),
]


def test_no_program_is_compiled_for_each_shape_of_the_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.Model, "_resolve_auto_jit_compile", lambda network: True)
    batches = serve("train")
    training = PictureTraining(SPACES["modern"], {"image_size": None}, lambda *part, **how: batches, epochs=1)
    network = training.build(fixed({"width": 8, "stages": 1}))
    averaged = average_networks([network])
    averaged.save(tmp_path / "model.keras")
    opened = open_network(tmp_path / "model.keras", 8, compiled=True)
    bare, backbone = without_optimizer(network), build_backbone("MobileNetV2", 32)
    ours = (network, averaged, opened, bare, backbone)
    assert [each.jit_compile for each in ours] == [False] * 5
    assert keras.models.load_model(tmp_path / "model.keras").jit_compile  # whoever opens it has the default


def test_a_file_saved_on_a_gpu_is_not_compiled_elsewhere(tmp_path, monkeypatch):
    with monkeypatch.context() as on_a_gpu:
        on_a_gpu.setattr(keras.Model, "_resolve_auto_jit_compile", lambda network: True)
        network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(1)])
        average_networks([network]).save(tmp_path / "model.keras")
    assert not keras.models.load_model(tmp_path / "model.keras").jit_compile


def test_a_network_that_is_not_compiled_yet_can_do_without_it(monkeypatch):
    monkeypatch.setattr(keras.Model, "_resolve_auto_jit_compile", lambda network: True)
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    assert network.jit_compile and not without_xla(network).jit_compile


def test_what_a_trial_has_trained_takes_no_memory_once_it_is_over(tmp_path, monkeypatch):
    """A weak reference would not do: TensorFlow's graph of the training keeps the values for ever."""
    networks, fit = [], search_in_process.Training.fit

    def noting(self, hp, model, *arguments, **settings):
        networks.append(model)
        return fit(self, hp, model, *arguments, **settings)

    monkeypatch.setattr(search_in_process.Training, "fit", noting)
    for tuner in ("optuna", "random"):
        search = search_in_process.run_search(tmp_path / tuner, tuner, max_trials=2)
        assert [record.status for record in search.records()] == ["completed"] * 2
    assert len(networks) == 4
    for network in networks:
        moments = [variable for variable in network.optimizer.variables if variable.dtype == "float32"]
        assert len(moments) > len(network.trainable_variables)
        assert {tuple(value.value.read_value().shape) for value in [*network.variables, *moments]} == {(0,)}


def test_a_network_in_16_bits_is_released_too_and_counts_its_steps_still():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        network = SPACES["modern"].build(fixed({"width": 8}), image_size=None, steps=4)
        network.fit(*(serve("train")[0]), verbose=0)
    finally:
        keras.config.set_dtype_policy("float32")
    release(network)
    assert {tuple(value.value.read_value().shape) for value in network.trainable_variables} == {(0,)}
    assert int(network.optimizer.inner_optimizer.iterations) == 1
