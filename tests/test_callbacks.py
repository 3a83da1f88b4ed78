"""Progress that fits where it runs, a history that is there at every moment, a deadline that holds."""

import copy
import logging
import math
import threading
import time
from datetime import UTC, datetime
from functools import partial

import keras
import numpy as np
import pandas as pd
import pytest
from tqdm.auto import tqdm

from src.runs import write_json
from src.searches import callbacks
from src.searches.callbacks import Deadline, EpochProgress, HistoryFile, StopAtNaN
from src.searches.search_folder import read_record, recording


def train(*watching, epochs: int = 3, **settings) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    pictures, codes = np.ones((4, 3)), np.ones(4)
    model.fit(pictures, codes, epochs=epochs, callbacks=list(watching), verbose=0, **settings)
    return model


def test_headless_each_epoch_is_one_line(monkeypatch, caplog, capsys):
    monkeypatch.setenv("HEADLESS", "1")
    with caplog.at_level(logging.INFO):
        train(EpochProgress("trial 2 of 5", 3))
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(":")[0] for line in lines] == [
        f"trial 2 of 5, epoch {epoch} of 3" for epoch in (1, 2, 3)
    ]
    assert all("loss" in line for line in lines)
    assert all(0 <= int(line.rsplit("(")[1].split()[0]) < 60 for line in lines), "seconds since it began"
    assert capsys.readouterr().err == ""


def test_by_hand_it_is_a_bar_and_no_lines(monkeypatch, caplog, capsys):
    monkeypatch.delenv("HEADLESS", raising=False)
    monkeypatch.setattr(callbacks, "tqdm", partial(tqdm, mininterval=0))  # shows even epochs this quick
    progress = EpochProgress("trial 2 of 5", 4)
    plan = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: setattr(progress, "epochs", 3))
    with caplog.at_level(logging.INFO):
        train(plan, progress)
    assert not caplog.records
    shown = capsys.readouterr().err
    assert "trial 2 of 5" in shown and "loss=" in shown
    assert "3/3" in shown, "the last epoch of as many as there are now"


def test_the_history_is_on_the_disk_after_each_epoch_and_counts_executions(tmp_path):
    seen = []
    history = HistoryFile(tmp_path / "history.csv")
    read = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(len(pd.read_csv(tmp_path / "history.csv")))
    )
    for _ in range(3):
        train(copy.deepcopy(history), read)  # KerasTuner copies callbacks for each execution
    table = pd.read_csv(tmp_path / "history.csv")
    assert seen == list(range(1, 10))
    assert table["execution"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert table["epoch"].tolist() == [1, 2, 3] * 3
    assert history.parameters == 4


def test_the_history_says_how_long_a_validation_took_where_there_was_one(tmp_path):
    slow = keras.callbacks.LambdaCallback(on_test_batch_end=lambda batch, logs: time.sleep(0.1))
    validation = {"validation_data": (np.ones((4, 3)), np.ones(4)), "validation_freq": 2}
    train(HistoryFile(tmp_path / "history.csv"), slow, epochs=5, **validation)
    table = pd.read_csv(tmp_path / "history.csv").set_index("epoch")
    assert table["validation_seconds"].dropna().index.tolist() == [2, 4]
    passed = table["seconds"].diff().loc[[2, 4]]
    assert table["validation_seconds"].loc[[2, 4]].between(0.1, passed + 0.02).all()


def test_a_deadline_ends_the_training_at_the_end_of_an_epoch():
    deadline = Deadline.after(1e-9)
    train(deadline)
    assert deadline.stopped_at == 1 and deadline.passed


def test_no_minutes_are_no_deadline():
    deadline = Deadline.after(0)
    train(deadline)
    assert deadline.stopped_at is None and not deadline.passed


def test_a_loss_that_is_no_number_fails_the_trial_with_its_epoch():
    with pytest.raises(Exception, match="the loss was nan in epoch 2"):
        StopAtNaN().on_epoch_end(1, {"loss": float("nan")})
    StopAtNaN().on_epoch_end(1, {"loss": 0.5})
    stop, nan = StopAtNaN(), {"loss": float("nan")}
    stop.on_epoch_begin(1)
    with pytest.raises(Exception, match="the loss was nan in epoch 2"):
        stop.on_train_batch_end(0, nan)


def test_a_training_does_not_wait_until_the_loss_of_a_batch_is_known(monkeypatch):
    class Unfinished:
        """A loss that is still being computed."""

        finished = threading.Event()

        def __float__(self) -> float:
            self.waited = not self.finished.wait(5)
            return math.nan

    monkeypatch.setattr("keras.src.backend.IS_THREAD_SAFE", True)  # as with JAX
    callbacks, loss = keras.callbacks.CallbackList([StopAtNaN()]), Unfinished()
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(1)
    callbacks.on_train_batch_end(0, {"loss": loss})
    loss.finished.set()
    with pytest.raises(Exception, match="the loss was nan in epoch 2"):
        callbacks.on_epoch_end(1, {"loss": 0.5})
    assert not loss.waited


def test_an_interrupted_trial_has_begun_as_long_ago_as_all_its_attempts_took(tmp_path):
    with recording(tmp_path, "trial", 3, Deadline.after(0), identity={}) as watching:
        next(each for each in watching if isinstance(each, HistoryFile)).earlier = 600.0
    record = read_record(tmp_path)
    ago = datetime.now(UTC) - datetime.fromisoformat(record["started"])
    assert record["seconds"] >= 600 and abs(ago.total_seconds() - record["seconds"]) < 5


@pytest.mark.parametrize("identity", [None, {}])
def test_what_an_earlier_attempt_has_recorded_is_not_taken_for_this_ones(identity, tmp_path):
    """A kill now would leave it; the epochs stay only where they are resumed."""
    write_json(tmp_path / "record.json", {"stopped_at": 1})
    (tmp_path / "history.csv").touch()
    with recording(tmp_path, "trial", 3, Deadline.after(0), identity):
        assert read_record(tmp_path) == {}
        assert (tmp_path / "history.csv").exists() == (identity is not None)
