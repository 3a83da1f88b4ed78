"""A training that is slower than planned: its learning rate comes down all the same, in its minutes."""

import logging
import re
import time

import keras
import numpy as np
import pytest
from search_in_process import serve

from src.images.augmentation import Augmentation
from src.images.growth import relative_costs
from src.searches.callbacks import Deadline, EpochProgress, HistoryFile
from src.searches.checkpoints import Checkpoint
from src.searches.pace import KeepPace
from src.spaces import Space, as_settled, fixed
from src.training import PictureTraining

pytestmark = pytest.mark.long

EPOCHS, MOST, STEPS = 24, 40, 2  # 16 pictures, 8 a batch
SIZES = [4] * 8 + [8] * 16
LINE = r"epoch (\d+) of (\d+): .*\((\d+) s\)"


class Killed(Exception):
    """Stands for whatever ends a process."""


class Watch(keras.callbacks.Callback):
    """Lets the time pass that an epoch of the plan is said to take, and notes what it is of."""

    def __init__(self, clock, seconds, killed_in=None):
        super().__init__()
        self.clock, self.seconds, self.killed_in = clock, seconds, killed_in
        self.sizes, self.steps = [], []

    def on_epoch_begin(self, epoch, logs=None):
        """Ends the process, or begins."""
        if epoch == self.killed_in:
            raise Killed
        self.sizes.append(self.batches.picture_size)
        assert self.sizes[-1] == SIZES[epoch + self.pace.skipped]
        self.clock[0] += self.seconds(epoch + self.pace.skipped)

    def on_epoch_end(self, epoch, logs=None):
        """Notes where the learning rate's schedule is."""
        self.steps.append(int(self.model.optimizer.iterations) / STEPS)


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def build(hp, image_size=None) -> keras.Model:
    layers = [keras.Input((None, None, 3)), keras.layers.GlobalAveragePooling2D()]
    model = keras.Sequential([*layers, keras.layers.Dense(1, "sigmoid")])
    schedule = keras.optimizers.schedules.CosineDecay(0.1, EPOCHS * STEPS)
    model.compile(keras.optimizers.Adam(schedule), "binary_crossentropy", metrics=["accuracy"])
    return model


def train(clock, folder, seconds, minutes, killed_in=None, is_over=False):
    """Returns what was seen, and the callback, of a training whose plan takes 1,170 s at its own pace."""
    keras.utils.set_random_seed(1)
    training = PictureTraining(Space(build, as_settled, ()), {}, serve, EPOCHS, validation_freq=3)
    batches = serve("train", training=True)
    batches.picture_sizes, batches.augmentation = SIZES, Augmentation()
    training.training_batches = lambda choices: batches
    watch = Watch(clock, seconds, killed_in)
    watch.batches = batches
    deadline = Deadline(clock[0] + 60 * minutes)
    deadline.is_over = is_over
    progress = EpochProgress("training", EPOCHS)
    pace = KeepPace(deadline, [cost(epoch) for epoch in range(EPOCHS)], MOST, progress)
    history = HistoryFile(folder / "history.csv")
    checkpoint = Checkpoint(folder / "checkpoint.npz", history, {})
    watch.pace = pace
    callbacks = [progress, history, deadline, pace, watch, checkpoint]
    try:
        watch.history = training.fit(fixed({}), training.build(fixed({})), EPOCHS, callbacks)
    except Killed:
        watch.history = None
    return watch, pace


def cost(epoch):
    return 60 * relative_costs(SIZES)[epoch]


def rates(folder):
    return np.genfromtxt(folder / "history.csv", delimiter=",", names=True)["learning_rate"]


def test_a_training_in_time_is_left_alone(clock, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    watch, pace = train(clock, tmp_path, cost, minutes=20.5)
    assert "than planned" not in caplog.text
    assert watch.steps == list(range(1, EPOCHS + 1)) and watch.sizes == SIZES
    assert pace.skipped == 0 and watch.history.epoch == list(range(EPOCHS))


def test_where_everything_takes_twice_as_long_every_other_epoch_is_left_out(clock, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    watch, pace = train(clock, tmp_path, lambda epoch: 2 * cost(epoch), minutes=21)
    assert caplog.text.count("slower than planned") == 1
    assert watch.steps[-1] == EPOCHS, "the learning rate has come to its end"
    assert rates(tmp_path)[-1] == pytest.approx(0, abs=1e-9)
    assert 11 <= len(watch.steps) <= 13 and len(watch.steps) + pace.skipped == EPOCHS
    assert pace.progress.epochs == len(watch.steps)
    assert np.diff(watch.steps).max() <= 4, "evenly, not all at once"
    assert watch.sizes == [4] * watch.sizes.count(4) + [8] * watch.sizes.count(8)
    assert 3 <= watch.sizes.count(4) <= 5, "small pictures are a third of the epochs that are trained, too"


@pytest.mark.parametrize("slow_from", [3, 12, 20])
def test_a_machine_that_becomes_slow_on_the_way_is_noticed(slow_from, clock, tmp_path):
    began = clock[0]
    watch, _ = train(clock, tmp_path, lambda epoch: cost(epoch) * (1 + 2 * (epoch >= slow_from)), minutes=21)
    assert watch.steps[-1] >= EPOCHS - 1 and len(watch.steps) < EPOCHS
    assert clock[0] - began <= 60 * 21 + 3 * 60, "the deadline holds, at an epoch's end"


def test_where_everything_takes_half_as_long_each_epoch_is_trained_twice_or_nearly_so(clock, tmp_path):
    began = clock[0]
    watch, pace = train(clock, tmp_path, lambda epoch: cost(epoch) / 2, minutes=21)
    assert watch.steps[-1] == EPOCHS and len(watch.steps) + pace.skipped == EPOCHS
    assert len(watch.steps) == MOST == pace.progress.epochs, "as many as are allowed"
    assert min(np.diff(watch.steps)) >= 0 and max(np.diff(watch.steps)) == 1
    assert rates(tmp_path)[-1] == pytest.approx(0, abs=1e-9)
    assert watch.history.epoch == list(range(MOST)) and len(watch.history.history["val_loss"]) >= MOST // 3
    assert watch.sizes == [4] * watch.sizes.count(4) + [8] * watch.sizes.count(8)
    assert 12 <= watch.sizes.count(4) <= 16
    clock[0] = began
    (tmp_path / "a little").mkdir()
    watch, _ = train(clock, tmp_path / "a little", lambda epoch: 0.8 * cost(epoch), minutes=21)
    assert 28 <= len(watch.steps) <= 31 and watch.steps[-1] == EPOCHS
    assert 60 * 21 * 0.9 <= clock[0] - began <= 60 * 21


def test_epochs_that_may_not_be_added_do_not_delay_those_to_be_left_out(clock, tmp_path, monkeypatch):
    """Half of the time would do, until the machine becomes five times as slow."""
    monkeypatch.setitem(globals(), "MOST", EPOCHS)
    watch, _ = train(clock, tmp_path, lambda epoch: cost(epoch) * (1 + 4 * (epoch >= 14)), minutes=39)
    assert watch.steps[:14] == list(range(1, 15)) and watch.steps[-1] == EPOCHS
    assert np.diff(watch.steps).max() <= 3, "evenly, as soon as it is slow"


def test_a_pause_is_caught_up_with(clock, tmp_path):
    watch, _ = train(clock, tmp_path, lambda epoch: cost(epoch) + 400 * (epoch == 10), minutes=21)
    assert watch.steps[-1] == EPOCHS and len(watch.steps) >= EPOCHS - 8


def test_after_a_long_pause_the_last_epoch_is_trained_all_the_same(clock, tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "SIZES", [4] * 5 + [6] + [8] * 18)
    watch, _ = train(clock, tmp_path, lambda epoch: cost(epoch) + 700 * (epoch == 3), minutes=21)
    assert len(watch.steps) < EPOCHS / 2
    assert set(watch.sizes) == {4, 8}, "a whole picture size has been skipped"
    assert rates(tmp_path)[-1] == pytest.approx(0, abs=1e-9), "of the last epoch, not of one before it"


def test_the_deadline_ends_a_training_that_has_no_time_left_for_its_plan(clock, tmp_path):
    watch, _ = train(clock, tmp_path, lambda epoch: cost(epoch) + 3600 * (epoch > 2), minutes=21)
    assert watch.steps == [1, 2, 3, 4], "the deadline has ended it"


@pytest.mark.parametrize(("factor", "killed_in"), [(0.6, 3), (0.6, 12), (0.6, 30), (2, 3), (2, 6), (2, 9)])
def test_an_interrupted_one_knows_what_it_has_added_or_left_out(
    factor, killed_in, clock, tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("HEADLESS", "1")
    caplog.set_level(logging.INFO)

    def seconds(epoch):
        return factor * cost(epoch)

    watch, _ = train(clock, tmp_path, seconds, minutes=21, killed_in=killed_in)
    used = (clock[0] - 1000) / 60
    if killed_in == 12:
        assert train(clock, tmp_path, seconds, minutes=1, is_over=True)[0].steps == []
    caplog.clear()
    again, pace = train(clock, tmp_path, seconds, minutes=21 - used)
    lines = [[int(number) for number in line] for line in re.findall(LINE, caplog.text)]
    assert lines and all(epoch <= epochs for epoch, epochs, _ in lines)
    assert lines == sorted(lines, key=lambda line: line[-1]), "seconds go on at another picture size"
    assert again.steps[0] == watch.steps[-1] + 1
    assert again.steps[-1] == EPOCHS and len(again.steps) + killed_in + pace.skipped == EPOCHS
    assert again.sizes == sorted(again.sizes) and again.sizes[-1] == 8
    assert train(clock, tmp_path, cost, minutes=1)[0].steps == [], "it is over"
