"""The search spaces, line by line."""

import inspect

import keras
import keras_tuner
import numpy as np
import pytest

from src.generators import load_batches
from src.networks.residual import build_residual_cnn
from src.pretrained.transfer_spaces import HEAD
from src.spaces import SPACES


def space_of(name: str) -> keras_tuner.HyperParameters:
    hp = keras_tuner.HyperParameters()
    if name == "head":  # of notebook 06
        HEAD.build(hp, features=4, steps=10)
        return hp
    SPACES[name].choose_batches(hp)
    SPACES[name].build(hp, image_size=16)
    return hp


def test_the_published_space_prints_as_it_was_printed(capsys, tmp_path):
    tuner = keras_tuner.RandomSearch(
        lambda hp: SPACES["published"].build(hp, image_size=16), "val_accuracy", directory=tmp_path
    )
    tuner.search_space_summary()
    printed = capsys.readouterr().out
    assert "Default search space size: 11" in printed
    lines = printed.splitlines()
    names = [line.split(" ")[0] for line in lines[2::2]]
    assert names == [
        *("conv_1_filter", "conv_1_kernel", "l2", "conv_2_filter", "conv_2_kernel", "dropout_1"),
        *("conv_3_filter", "conv_3_kernel", "dropout_2", "dense_1_units", "dropout_3"),
    ]


def test_the_published_ranges():
    entries = {entry.name: entry for entry in space_of("published").space}
    grids = {
        "conv_1_filter": [32, 64, 96, 128],
        "conv_1_kernel": [3, 5],
        "conv_2_filter": [64, 128],
        "conv_2_kernel": [3, 5],
        "dropout_1": [0.1, 0.2, 0.3, 0.4],
        "conv_3_filter": [128, 256, 384, 512],
        "conv_3_kernel": [3, 5],
        "dropout_2": [0.2],  # KerasTuner loses 0.3, and so did the published search
        "dense_1_units": list(range(64, 513, 64)),
        "dropout_3": [0.1, 0.2],
    }
    for name, values in grids.items():
        assert list(entries[name].values) == pytest.approx(values), name
    assert (entries["l2"].min_value, entries["l2"].max_value, entries["l2"].sampling) == (1e-5, 1e-1, "log")


@pytest.mark.parametrize("name", [*SPACES, "head"])
def test_a_grid_reaches_its_top(name):
    """KerasTuner loses the top of some grids to floating point: 0.1 to 0.3 in steps of 0.1 is 0.1 and 0.2."""
    steps = [entry for entry in space_of(name).space if getattr(entry, "step", None)]
    short = {entry.name for entry in steps if list(entry.values)[-1] != pytest.approx(entry.max_value)}
    assert short == ({"dropout_2"} if name == "published" else set())  # the published search lost it too


@pytest.mark.parametrize("name", [*SPACES, "head"])
def test_a_range_of_a_power_of_ten_or_more_is_drawn_by_its_logarithm(name):
    """Drawn evenly, hardly any value would be a low one."""
    ranges = [entry for entry in space_of(name).space if hasattr(entry, "sampling") and not entry.step]
    for entry in ranges:
        assert (entry.sampling == "log") == (entry.max_value >= 10 * entry.min_value), entry.name
    assert ranges


def test_the_described_space_gives_each_layer_its_own_penalty_and_dropout_2_both_values():
    entries = {entry.name: entry for entry in space_of("described").space}
    assert len(entries) == 14
    ranges = {"l2_1": (1e-5, 1e-1), "l2_2": (1e-3, 1e-2), "l2_3": (1e-4, 1e-2), "l2_4": (1e-3, 1e-2)}
    for name, limits in ranges.items():
        assert (entries[name].min_value, entries[name].max_value) == limits
    assert list(entries["dropout_2"].values) == [0.2, 0.3]


def test_the_modern_spaces_names_are_the_arguments_they_choose():
    arguments = {
        *inspect.signature(build_residual_cnn).parameters,
        *inspect.signature(load_batches).parameters,
    }
    assert {entry.name for entry in space_of("modern").space} <= arguments


def test_the_modern_spaces_defaults_are_the_networks_own():
    """The first trial is the untuned network: what the builder does when nobody chooses."""
    builder = inspect.signature(build_residual_cnn).parameters
    for name, value in space_of("modern").values.items():
        if name in builder:
            assert value == builder[name].default, name


@pytest.mark.parametrize("name", SPACES)
def test_a_space_builds_with_every_setting_it_says_it_takes(name):
    settings = {
        "learning_rate": 1e-3,
        "decay_steps": 7,
        "steps": 50,
        "cooldown": 0.4,
        "weight_averaging": 0.9,
        "optimizer": "adamw",
    }
    taken = {setting: settings[setting] for setting in SPACES[name].settings}
    model = SPACES[name].build(keras_tuner.HyperParameters(), image_size=16, **taken)
    assert model.output_shape == (None, 1)


@pytest.mark.parametrize("name", SPACES)
def test_probabilities_are_float32_under_mixed_precision(name):
    """In 16 bits a probability near 1 is 1, its gradient is lost, and the training stays at chance."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = SPACES[name].build(keras_tuner.HyperParameters(), image_size=16)
    finally:
        keras.config.set_dtype_policy("float32")
    assert "bfloat16" in {layer.compute_dtype for layer in model.layers}
    assert model.outputs[0].dtype == "float32"


@pytest.mark.parametrize("name", SPACES)
def test_every_space_can_be_searched_by_its_log_loss_without_penalties(name):
    settings = {"image_size": 16, "steps": 9, "learning_rate": 1e-3, "decay_steps": 9}
    taken = {key: value for key, value in settings.items() if key in ("image_size", *SPACES[name].settings)}
    model = SPACES[name].build(keras_tuner.HyperParameters(), **taken)
    pictures, codes = np.zeros((2, 16, 16, 3), "float32"), np.array([0.0, 1.0])
    assert "log_loss" in model.evaluate(pictures, codes, verbose=0, return_dict=True)
