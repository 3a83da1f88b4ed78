"""A training that is killed and goes on: the same numbers as without, and no whole epoch trained twice."""

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from search_in_process import run_search, serve, tables

from src.images.growth import growing_sizes
from src.networks.residual import build_residual_cnn
from src.reproduction import TIMES
from src.searches.callbacks import HistoryFile
from src.searches.checkpoints import Checkpoint
from src.spaces import Space, as_settled, fixed
from src.training import PictureTraining

pytestmark = pytest.mark.long

TESTS = Path(__file__).resolve().parent


class StopHere(Exception):
    """Stands for whatever ends a process."""


def build(hp, image_size=None, filters=4) -> keras.Model:
    """Returns a network with all that has a state: dropout, normalization, moments, schedule, average."""
    layers = [keras.Input((image_size, image_size, 3)), keras.layers.Rescaling(1 / 99)]
    layers += [keras.layers.Conv2D(filters, 3), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)]
    layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1, "sigmoid")]
    model = keras.Sequential(layers)
    schedule = keras.optimizers.schedules.CosineDecay(0.3, 40)
    optimizer = keras.optimizers.AdamW(schedule, use_ema=True, ema_momentum=0.9)
    model.compile(optimizer, "binary_crossentropy", metrics=["accuracy"], run_eagerly=True)
    return model


def serve_noise(part: str, training: bool = False, seed: int | None = None):
    """Returns batches of noise, so that the validation loss does not just fall, and of it random halves."""
    batches = serve(part, training, seed)
    batches.pixels = np.random.default_rng(1).integers(0, 256, batches.pixels.shape, "uint8")
    if part == "validation":
        batches.batch_size, batches.epoch_fraction, batches.shuffle = 4, 1 / 2, True
    return batches


def train(folder: Path, epochs: int = 8, stop_at: int | None = None, identity: str = "x", **settings):
    """Returns the history, the network and the epochs begun; `stop_at` is an epoch that never ends."""
    folder.mkdir(exist_ok=True)
    keras.utils.set_random_seed(4)
    space = Space(build, as_settled, ())
    training = PictureTraining(space, {"image_size": None}, serve_noise, epochs, **settings)
    sizes = growing_sizes(6, 8, epochs, step=2)
    training.training_batches = lambda choices: with_sizes(serve_noise("train", training=True), sizes)
    model, begun = training.build(fixed({})), []

    def begin(epoch, logs):
        if epoch == stop_at:
            raise StopHere
        begun.append(epoch)

    history = model.history_file = HistoryFile(folder / "history.csv")
    checkpoint = Checkpoint(folder / "checkpoint.npz", history, {"name": identity})
    watch = keras.callbacks.LambdaCallback(on_epoch_begin=begin)
    try:
        found = training.fit(fixed({}), model, epochs, [history, watch, checkpoint])
    except StopHere:
        found = None
    return found, model, begun


def with_sizes(batches, sizes):
    batches.picture_sizes = sizes
    from src.images.augmentation import Augmentation

    batches.augmentation = Augmentation()
    return batches


def weights(model) -> list[np.ndarray]:
    return [np.asarray(variable) for variable in [*model.variables, *model.optimizer.variables]]


@pytest.fixture(
    scope="module",
    params=[{}, {"patience": 2}, {"validation_freq": 3}],
    ids=["no patience", "patience", "seldom validated"],
)
def undisturbed(request, tmp_path_factory):
    return request.param, *train(tmp_path_factory.mktemp("whole") / "run", **request.param)


@pytest.mark.parametrize("stops", [[1], [5], [3, 6], [1, 2, 3, 4, 5, 6, 7]])
def test_a_training_stopped_anywhere_goes_on_to_the_same_end(stops, undisturbed, tmp_path):
    settings, whole, model, _ = undisturbed
    assert len(whole.epoch) == (6 if settings.get("patience") else 8)
    begun_in_all = []
    for stop in [stop for stop in stops if stop < len(whole.epoch)]:
        begun_in_all += train(tmp_path, **settings, stop_at=stop)[2]
    found, again, begun = train(tmp_path, **settings)
    assert begun_in_all + begun == whole.epoch, "each epoch once, none twice"
    assert found.history == whole.history and found.epoch == whole.epoch
    for one, other in zip(weights(again), weights(model), strict=True):
        np.testing.assert_array_equal(one, other)
    history = pd.read_csv(tmp_path / "history.csv", dtype={"val_loss": str})
    assert history["epoch"].tolist() == [epoch + 1 for epoch in whole.epoch]
    assert history["val_loss"].dropna().map(float).tolist() == whole.history["val_loss"]
    assert history["seconds"].is_monotonic_increasing


def test_in_sixteen_bits_the_scale_of_the_loss_goes_on_as_well(tmp_path, monkeypatch):
    """As on a GPU: Keras wraps the optimizer in one that scales the loss and skips steps that overflow."""

    def build_in_sixteen_bits(hp, image_size=None) -> keras.Model:
        network = build_residual_cnn(width=8, stages=1, steps=16, weight_averaging=0.9)
        network.optimizer.initial_scale = 2.0**24  # so much that the first steps overflow
        return network

    monkeypatch.setitem(globals(), "build", build_in_sixteen_bits)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        whole, model, _ = train(tmp_path / "whole")
        train(tmp_path / "cut", stop_at=5)
        found, again, begun = train(tmp_path / "cut")
    finally:
        keras.config.set_dtype_policy(policy)
    assert begun == [5, 6, 7] and found.history == whole.history
    assert np.isfinite(whole.history["loss"]).all()
    steps = int(model.optimizer.iterations)
    assert float(model.optimizer.dynamic_scale) < 2.0**24 and 8 < steps < 16, "some steps have overflowed"
    for one, other in zip(weights(again), weights(model), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_training_is_validated_as_seldom_as_asked_and_its_history_says_when(tmp_path):
    found, *_ = train(tmp_path, validation_freq=3)
    assert len(found.history["loss"]) == 8 and len(found.history["val_loss"]) == 4
    history = pd.read_csv(tmp_path / "history.csv").set_index("epoch")
    for column in ("val_loss", "val_accuracy", "validation_seconds"):
        assert history[column].dropna().index.tolist() == [1, 3, 6, 8], "the first and the last one, too"


def test_a_training_that_is_over_is_not_trained_again(undisturbed, tmp_path):
    settings, whole, model, _ = undisturbed
    train(tmp_path, **settings)
    found, again, begun = train(tmp_path, **settings)
    assert begun == [] and found.history == whole.history
    assert again.history_file.parameters == again.count_params() > 0
    np.testing.assert_array_equal(again.get_weights()[0], model.get_weights()[0])


def test_averaged_weights_are_put_in_place_once_in_the_end(tmp_path, monkeypatch):
    """Keras would do it at the end of each picture size, and set the training back by its average."""
    seen = {"ends": [], "begins": []}
    original = keras.Model.fit

    def fit(self, *arguments, **more):
        seen["begins"].append(self.get_weights()[0].copy())
        result = original(self, *arguments, **more)
        seen["ends"].append(self.get_weights()[0].copy())
        return result

    monkeypatch.setattr(keras.Model, "fit", fit)
    _, model, _ = train(tmp_path)
    assert len(seen["begins"]) == 2
    np.testing.assert_array_equal(seen["begins"][1], seen["ends"][0])
    mean = np.asarray(model.optimizer._model_variables_moving_average[0])
    np.testing.assert_array_equal(model.get_weights()[0], mean)
    assert np.abs(seen["ends"][1] - mean).max() > 1e-4, "the last epoch's own weights are others"


def test_a_damaged_file_is_named_and_the_training_begins_anew(tmp_path, caplog):
    train(tmp_path, stop_at=3)
    path = tmp_path / "checkpoint.npz"
    path.write_bytes(path.read_bytes()[:-100])
    assert train(tmp_path, stop_at=2)[2] == [0, 1]
    assert f"{path} is incomplete" in caplog.text and "starts over" in caplog.text


def test_the_state_of_another_training_is_not_gone_on_from(tmp_path, caplog):
    train(tmp_path, stop_at=3)
    assert train(tmp_path, stop_at=2, identity="y")[2] == [0, 1]
    assert "belongs to another training" in caplog.text


def test_the_state_of_a_network_whose_code_has_changed_is_not_gone_on_from(tmp_path, monkeypatch, caplog):
    train(tmp_path, stop_at=3)
    monkeypatch.setitem(globals(), "build", partial(build, filters=5))
    assert train(tmp_path, stop_at=2)[2] == [0, 1]
    assert f"{tmp_path / 'checkpoint.npz'} is of another network" in caplog.text


def test_the_state_of_an_earlier_version_is_not_gone_on_from(tmp_path, caplog):
    """It does not say how far in its plan the training was."""
    train(tmp_path, stop_at=3)
    with np.load(tmp_path / "checkpoint.npz") as kept:
        arrays = dict(kept)
    state = json.loads(str(arrays.pop("state")))
    assert state.pop("skipped") == 0
    np.savez(tmp_path / "checkpoint.npz", state=np.array(json.dumps(state)), **arrays)
    assert train(tmp_path, stop_at=2)[2] == [0, 1]
    assert "this one starts over" in caplog.text


def test_a_full_disk_leaves_the_state_of_the_epoch_before(tmp_path, monkeypatch):
    train(tmp_path, stop_at=2)
    before = (tmp_path / "checkpoint.npz").read_bytes()

    def fill(file, **arrays):
        file.write(b"half a st")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left"):
        patched.setattr("src.searches.checkpoints.np.savez", fill)
        train(tmp_path)
    assert (tmp_path / "checkpoint.npz").read_bytes() == before
    assert [path.name for path in tmp_path.glob("*partial*")] == []
    assert train(tmp_path)[2][0] == 2


@pytest.mark.parametrize("kill_after", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_a_search_killed_inside_a_trial_trains_no_whole_epoch_twice(kill_after, tmp_path, monkeypatch):
    """SIGKILL at the end of an epoch, after its state was written; three trials of three epochs are nine."""
    log = tmp_path / "epochs.txt"
    monkeypatch.setenv("EPOCH_LOG", str(log))
    environment = {**os.environ, "KILL_AFTER_EPOCHS": str(kill_after), "PYTHONPATH": str(TESTS.parent)}
    command = [sys.executable, TESTS / "search_in_process.py", tmp_path / "killed", "optuna", "3"]
    assert subprocess.run(command, env=environment, capture_output=True).returncode == -signal.SIGKILL
    found = run_search(tmp_path / "killed", "optuna", max_trials=3)
    lines = log.read_text().splitlines()
    assert len(lines) == len(set(lines)) == 9
    log.unlink()
    whole = run_search(tmp_path / "whole", "optuna", max_trials=3)
    for one, other in zip(tables(found), tables(whole), strict=True):
        times = [name for name in TIMES if name in one]
        pd.testing.assert_frame_equal(one.drop(columns=times), other.drop(columns=times))
