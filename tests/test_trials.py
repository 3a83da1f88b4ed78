"""Tables and winners from plain records, whichever engine wrote them."""

import logging
import math
from pathlib import Path

import pandas as pd
import pytest

from src.runs import write_json
from src.searches.trials import TrialRecord, best_trial, finalists, history_table, log_trial, trials_table

OUTCOME = ["score", "best_epoch", "epochs", "parameters", "seconds", "status", "reason", "started"]


def record(number, score=math.nan, status="completed", reason="", folder=Path("nowhere"), **values):
    return TrialRecord(number, values or {"units": number}, status, score, reason, folder)


def leave(folder: Path, seconds: float, **columns) -> Path:
    """Writes what a trial leaves on the disk."""
    folder.mkdir()
    pd.DataFrame({"execution": 0, **columns}).to_csv(folder / "history.csv", index=False)
    write_json(folder / "record.json", {"parameters": 7, "seconds": seconds, "started": "2026-01-01"})
    return folder


@pytest.fixture
def records(tmp_path):
    columns = {"epoch": [1, 2, 3], "val_accuracy": [0.6, 0.8, 0.7], "val_loss": [0.5, 0.3, 0.2]}
    return [
        record(1, 0.8, folder=leave(tmp_path / "1", 60, **columns), units=4),
        record(2, 0.7, "pruned", "after epoch 1", tmp_path / "2", units=8, momentum=0.9),
        record(3, status="failed", reason="MemoryError", folder=tmp_path / "3", units=16),
        record(4, status="running", folder=tmp_path / "4", units=2),
    ]


def test_columns_are_in_order_though_a_later_trial_has_another_hyperparameter(records):
    table = trials_table(records, "val_accuracy")
    assert table.columns.tolist() == ["trial", "units", "momentum", *OUTCOME]
    assert table["trial"].tolist() == [1, 2, 3, 4]
    first, failed = table.loc[0], table.loc[2]
    assert (first["best_epoch"], first["epochs"], first["parameters"], first["seconds"]) == (2, 3, 7, 60)
    assert math.isnan(failed["score"]) and failed["epochs"] == 0 and failed["best_epoch"] is pd.NA
    assert (first["started"], failed["started"]) == ("2026-01-01", "")
    assert trials_table(records, "val_loss").loc[0, "best_epoch"] == 3  # the lowest, here


def test_a_trial_without_a_score_has_no_best_epoch_whatever_epochs_it_had(tmp_path):
    folder = leave(tmp_path / "1", 60, epoch=[1, 2], val_accuracy=[0.5, 0.5])
    failed = trials_table([record(1, status="failed", folder=folder)], "val_accuracy").loc[0]
    assert failed["epochs"] == 2 and failed["best_epoch"] is pd.NA


def test_the_epochs_of_all_trials_are_one_table_and_none_is_an_empty_one(records):
    history = history_table(records)
    assert history.columns.tolist() == ["trial", "execution", "epoch", "val_accuracy", "val_loss"]
    assert history["trial"].tolist() == [1, 1, 1] and history["epoch"].tolist() == [1, 2, 3]
    assert history_table(records[1:]).empty and history_table([]).columns[0] == "trial"
    assert trials_table([], "val_accuracy").empty


@pytest.mark.parametrize(("objective", "order"), [("val_accuracy", [3, 1, 5]), ("val_loss", [5, 1, 3])])
def test_finalists_are_completed_best_first_and_no_values_come_twice(objective, order):
    records = [
        record(1, 0.8, units=1),
        record(2, 0.95, "pruned"),
        record(3, 0.9, units=3),
        record(4, 0.1, "interrupted"),
        record(5, 0.7, units=5),
        record(6, 0.8, units=1),  # as trial 1
        record(7, 0.99, "failed"),
    ]
    assert [trial.number for trial in finalists(records, objective, 9)] == order
    assert [trial.number for trial in finalists(records, objective, 2)] == order[:2]
    assert best_trial(records, objective).number == order[0]


def test_without_a_completed_trial_the_best_interrupted_one_is_taken_and_said(caplog):
    cut = [record(1, 0.6, "interrupted", "stopped by max_minutes after epoch 2"), record(2, 0.9, "pruned")]
    cut.append(record(3, 0.5, "interrupted", "stopped by max_minutes after epoch 1"))
    with caplog.at_level(logging.WARNING):
        assert best_trial(cut, "val_accuracy").number == 1
    assert "trial 1 is taken, though it was stopped by max_minutes after epoch 2" in caplog.text
    assert best_trial(cut, "val_loss").number == 3


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([], "none of the 0 trials.*no trial has run to its end$"),
        ([record(1, 0.9, "pruned", "after epoch 2")], "none of the 1 trials.*after epoch 2"),
        ([record(1, status="interrupted"), record(2, status="failed", reason="MemoryError")], "MemoryError$"),
        (
            [record(1, status="failed", reason="NameError: x", folder=Path("run/search/ab12/trial_0000"))],
            "NameError: x; when its cause is mended, delete run/search and run again$",
        ),
    ],
)
def test_without_any_score_to_go_by_the_first_reason_is_told(records, words):
    with pytest.raises(RuntimeError, match=words):
        best_trial(records, "val_accuracy")


def test_the_line_of_a_trial_says_its_score_the_best_and_the_minutes_left(tmp_path, caplog):
    records = [
        record(1, 0.8, folder=leave(tmp_path / "1", 60, epoch=[1])),
        record(2, 0.7, folder=leave(tmp_path / "2", 180, epoch=[1])),
        record(3, 0.6, "pruned", "after epoch 1", leave(tmp_path / "3", 30, epoch=[1])),
        record(4, status="running", folder=tmp_path / "4"),  # in another process
    ]
    with caplog.at_level(logging.INFO):
        log_trial(records[0], records[:1], "val_accuracy", asked=10)
        log_trial(records[1], records[:2], "val_accuracy", asked=10)
        log_trial(records[1], records[:2], "val_accuracy", asked=10, seconds_left=90)
        log_trial(records[2], records, "val_accuracy", asked=0)
        log_trial(records[0], records, "val_accuracy", asked=2)  # more had been asked for before
    # 9 trials are left at a minute each, then 8 at (1 + 3) / 2 minutes.
    assert caplog.messages == [
        "trial 1 of 10: val_accuracy 0.8000, best so far 0.8000, 1.0 min, about 9.0 min left",
        "trial 2 of 10: val_accuracy 0.7000, best so far 0.8000, 3.0 min, about 16.0 min left",
        "trial 2 of 10: val_accuracy 0.7000, best so far 0.8000, 3.0 min, about 1.5 min left",
        "trial 3 of the search: pruned (after epoch 1), best so far 0.8000, 0.5 min",
        "trial 1 of 2: val_accuracy 0.8000, best so far 0.8000, 1.0 min, about 0.0 min left",
    ]


def test_the_line_of_a_trial_says_no_best_where_none_is_completed(tmp_path, caplog):
    cut = record(1, 0.8, "interrupted", "stopped by max_minutes", leave(tmp_path / "1", 60, epoch=[1]))
    with caplog.at_level(logging.INFO):
        log_trial(cut, [cut], "val_accuracy", asked=4, seconds_left=0)
        crashed = record(2, status="failed", reason="SIGSEGV")  # it left nothing in its folder
        log_trial(crashed, [cut], "val_accuracy", asked=4)
    assert caplog.messages == [
        "trial 1 of 4: interrupted (stopped by max_minutes), 1.0 min, about 0.0 min left",
        "trial 2 of 4: failed (SIGSEGV), about 4.0 min left",
    ]
