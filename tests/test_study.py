"""An Optuna search that can be killed, shared and pruned, and still gives the trials that it should."""

import dataclasses
import logging
import math
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
import traceback
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote, quote_plus

import keras
import keras_tuner
import optuna
import pandas as pd
import psutil
import pytest
import sqlalchemy
from pretended_search import Training, accuracy_of, search
from search_in_process import run_search, tables

from src.images.cache import StalePictures
from src.running import made_by
from src.searches import claims, storage
from src.searches.attempts import Attempts
from src.searches.callbacks import HistoryFile
from src.searches.claims import (
    AGAIN,
    FILES,
    INTERRUPTED,
    PLACE,
    PROCESS,
    SURPLUS,
    VALUES,
    is_interrupted,
    machine,
    places,
)
from src.searches.halving import HALVED
from src.searches.samplers import ReportEpochs, make_pruner, make_sampler
from src.searches.search_folder import fetch_files, read_files, search_folder
from src.searches.storage import outlast_cuts, storage_url
from src.searches.suggestions import SuggestedHyperParameters, explore_space
from src.searches.trials import best_trial
from src.study import make_study

pytestmark = pytest.mark.long

TESTS = Path(__file__).resolve().parent
TIMES = ["seconds", "started"]
TRIALS, EPOCHS = 12, 6


def in_processes(*jobs: str) -> None:
    path = os.pathsep.join([str(TESTS.parent), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)
    environment = {**os.environ, "PYTHONPATH": path, "TQDM_DISABLE": "1"}
    subprocess.run([sys.executable, TESTS / "pretended_search.py", *jobs], env=environment, check=True)


def table_of(found) -> pd.DataFrame:
    return tables(found)[0].drop(columns=TIMES)


def optuna_trials(found) -> list[optuna.trial.FrozenTrial]:
    return found.claims.study.get_trials()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A search of 12 trials that nothing disturbed."""
    return search(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory):
    """Folders of searches that processes were killed in, or shared; they are started from one program."""
    folder = tmp_path_factory.mktemp("disturbed")
    # Killed in the first trial (epochs 1 and 5 of 6) and later, then finished.
    killed = [f"{folder}/killed:median:{epoch}" for epoch in (1, 5, 13, 17, 0)]
    # Two at the same time; then three, one of which dies.
    shared = [f"{folder}/shared:median:0+{folder}/shared:median:0"]
    died = [f"{folder}/died:none:0+{folder}/died:none:8+{folder}/died:none:0", f"{folder}/died:none:0"]
    in_processes(*killed, *shared, *died)
    return folder


def test_both_engines_leave_the_same_columns(tmp_path):
    by_keras_tuner = tables(run_search(tmp_path / "a", max_trials=1))
    by_optuna = tables(run_search(tmp_path / "b", "optuna", max_trials=2))
    for one, other in zip(by_keras_tuner, by_optuna, strict=True):
        assert one.columns.tolist() == other.columns.tolist()
        assert one.dtypes.equals(other.dtypes)
    trials, history = by_optuna
    assert trials["status"].tolist() == ["completed"] * 2
    assert trials["parameters"].tolist() == [193 * units + units + 1 for units in trials["units"]]  # by hand
    best_of_each = history.groupby("trial")["val_accuracy"].max()
    assert trials["score"].tolist() == pytest.approx(best_of_each.tolist())


def test_every_trial_is_a_row_and_the_best_is_a_completed_one(whole):
    trials, history = tables(whole)
    assert trials["trial"].tolist() == list(range(1, TRIALS + 1))
    assert set(trials["status"]) == {"completed", "pruned"}
    for trial in trials.itertuples():
        epochs = history[history["trial"] == trial.trial]["val_accuracy"]
        assert (trial.epochs, trial.score) == (len(epochs), pytest.approx(epochs.max()))
        assert trial.epochs == EPOCHS if trial.status == "completed" else trial.epochs < EPOCHS
    assert not list(whole.folder.glob("trial_*/checkpoint.npz*")), "it is for a trial that goes on"
    completed = trials[trials["status"] == "completed"]
    best = best_trial(whole.records(), "val_accuracy")
    assert (best.score, best.status) == (completed["score"].max(), "completed")


def test_a_trial_is_pruned_where_it_is_below_the_median_and_only_there(whole):
    trials, history = tables(whole)
    values = history.pivot_table(index="trial", columns="epoch", values="val_accuracy")
    status = trials.set_index("trial")["status"]
    for trial in trials.itertuples():
        earlier = [number for number in range(1, trial.trial) if status[number] == "completed"]
        best_so_far, medians = values.loc[trial.trial].cummax(), values.loc[earlier].median()
        # Two thirds of the 6 epochs pass, and nothing is saved after the last; NaN compares as False.
        judged = range(4, EPOCHS) if len(earlier) >= 4 else []
        below = [epoch for epoch in judged if best_so_far[epoch] < medians[epoch]]
        assert (trial.status == "pruned") == bool(below)
        if below:
            reached = f"val_accuracy {best_so_far[below[0]]:.4f} so far"
            words = f"after epoch {below[0]}, {reached}: worse than the median"
            assert trial.reason.startswith(words)


def test_the_first_trial_is_the_defaults_and_a_branch_not_taken_has_no_value(whole):
    trials = tables(whole)[0]
    assert trials.loc[0, ["units", "rate", "optimizer"]].tolist() == [2, 1e-3, "sgd"]
    assert set(trials["optimizer"]) == {"sgd", "adam"}
    assert (trials["momentum"].notna() == (trials["optimizer"] == "adam")).all()


def test_the_same_seed_gives_the_same_table_and_0_is_a_seed(tmp_path):
    found = {
        name: table_of(search(tmp_path / name, seed=seed, max_trials=3))
        for name, seed in [("first", 0), ("second", 0), ("other", 1)]
    }
    pd.testing.assert_frame_equal(found["first"], found["second"])
    assert not set(found["first"]["rate"][1:]) & set(found["other"]["rate"][1:])


def test_a_killed_search_goes_on_to_the_same_end(whole, disturbed):
    found = search(disturbed / "killed")
    pd.testing.assert_frame_equal(table_of(found), table_of(whole))
    assert sum(AGAIN in trial.user_attrs for trial in optuna_trials(found)) == 4  # one for each kill
    states = [trial.state for trial in optuna_trials(found)]
    assert states.count(optuna.trial.TrialState.FAIL) == 4
    assert optuna.trial.TrialState.RUNNING not in states


@pytest.mark.parametrize("name", ["shared", "died"])
def test_processes_that_share_a_study_train_each_trial_once(name, disturbed):
    found = search(disturbed / name, pruner="median" if name == "shared" else "none")
    assert [trial.number for trial in found.records()] == list(range(1, TRIALS + 1))
    assert {trial.status for trial in found.records()} <= {"completed", "pruned"}
    assert sorted(path.name for path in found.folder.glob("trial_*")) == [
        f"trial_{place:04d}" for place in range(TRIALS)
    ]
    trained = [trial for trial in optuna_trials(found) if trial.intermediate_values]
    processes = {trial.user_attrs[PROCESS][1] for trial in trained}
    assert len(processes) >= 2
    killed = [trial for trial in trained if trial.state is optuna.trial.TrialState.FAIL]
    assert (len(trained), len(killed)) == ((12, 0) if name == "shared" else (13, 1))
    again = [trial for trial in trained if AGAIN in trial.user_attrs]
    assert [trial.params for trial in again] == [trial.params for trial in killed]


@pytest.mark.slow
@pytest.mark.parametrize("pruner", ["median", "hyperband", "none"])
def test_a_search_killed_again_and_again_goes_on_to_the_same_end(pruner, tmp_path):
    in_processes(*[f"{tmp_path}/killed:{pruner}:{epoch}" for epoch in (2, 3, 5, 7, 11, 13, 4, 1, 0)])
    found, undisturbed = (search(tmp_path / name, pruner=pruner) for name in ("killed", "whole"))
    pd.testing.assert_frame_equal(table_of(found), table_of(undisturbed))


@pytest.mark.slow
def test_a_killed_search_of_real_networks_goes_on_to_the_same_end(tmp_path):
    environment = {**os.environ, "KILL_AFTER_EPOCHS": "4", "PYTHONPATH": str(TESTS.parent)}
    command = [sys.executable, TESTS / "search_in_process.py", tmp_path / "killed", "optuna", "3"]
    assert subprocess.run(command, env=environment, capture_output=True).returncode < 0
    found, undisturbed = (run_search(tmp_path / name, "optuna", max_trials=3) for name in ("killed", "whole"))
    pd.testing.assert_frame_equal(table_of(found), table_of(undisturbed))


def test_the_time_limit_holds_inside_a_trial_and_later_runs_go_on_to_the_same_end(whole, tmp_path, caplog):
    blink = 1e-9  # minutes: over before the first epoch is
    with caplog.at_level(logging.INFO):
        cut = search(tmp_path, minutes=blink)
    trials = tables(cut)[0]
    assert trials[["status", "reason"]].values.tolist() == [
        ["interrupted", "stopped by max_minutes after epoch 1"]
    ]
    assert "trial 1 of 12: interrupted (stopped by max_minutes after epoch 1)" in caplog.text
    assert "stopped after 1e-09 minutes with 0 trials done" in caplog.text
    best = best_trial(cut.records(), "val_accuracy")  # better than nothing, and said so
    assert best.score == pytest.approx(accuracy_of(best.hyperparameters, 1), abs=0.01)
    assert "no trial was completed: trial 1 is taken" in caplog.text
    assert search(tmp_path, minutes=blink, max_trials=1).records()[0].status == "interrupted"
    search(tmp_path, max_trials=5)
    assert [trial.status for trial in search(tmp_path, minutes=blink).records()][5:] == ["interrupted"]
    pd.testing.assert_frame_equal(table_of(search(tmp_path)), table_of(whole))


def cut_off(engine: sqlalchemy.Engine, share: float, invalidated: bool) -> list[str]:
    """Returns the statements, more as it goes, in whose middle the server goes away: a share of all."""
    cut, chance = [], random.Random(0)

    @sqlalchemy.event.listens_for(engine, "before_cursor_execute")
    def go_away(connection, cursor, statement, parameters, context, executemany):
        if chance.random() < share:
            cut.append(statement.split()[0])
            raise sqlalchemy.exc.OperationalError(
                statement, parameters, OSError("closed"), connection_invalidated=invalidated
            )

    return cut


def test_a_server_that_goes_away_in_the_middle_of_anything_costs_nothing(whole, tmp_path, caplog):
    found = search(tmp_path, max_trials=1)
    cut = cut_off(found.claims.storage.engine, 0.01, invalidated=True)
    found.claims.max_trials = 12
    found.run_for()
    assert {"SELECT", "INSERT"} <= set(cut) and len(cut) > 10
    assert "the connection to the storage was lost; retrying" in caplog.text
    pd.testing.assert_frame_equal(table_of(search(tmp_path)), table_of(whole))


def test_a_server_that_goes_away_while_optuna_reads_the_trials_is_asked_again():
    """Optuna meets the error by reading once more in the lost transaction, which gives another error."""
    tried = []

    def read_trials() -> str:
        tried.append(True)
        if len(tried) > 1:
            return "trials"
        try:
            raise sqlalchemy.exc.OperationalError("SELECT", {}, OSError(), connection_invalidated=True)
        except sqlalchemy.exc.OperationalError:
            raise sqlalchemy.exc.PendingRollbackError("Can't reconnect")  # noqa: B904 (as Optuna does)

    def act() -> str:
        try:
            return read_trials()
        except sqlalchemy.exc.SQLAlchemyError as error:
            raise optuna.exceptions.StorageInternalError("in the commit") from error

    assert outlast_cuts(act) == "trials"


def test_a_storage_that_is_broken_in_another_way_ends_the_search(tmp_path):
    found = search(tmp_path, max_trials=1)
    cut_off(found.claims.storage.engine, 0.01, invalidated=False)
    found.claims.max_trials = 12
    with pytest.raises(optuna.exceptions.StorageInternalError):
        found.run_for()


def test_ctrl_c_interrupts_a_trial_and_a_later_run_goes_on_to_the_same_end(whole, tmp_path):
    def press(values, epoch):
        if epoch == 3 and values["optimizer"] == "adam":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, Training(press))
    pd.testing.assert_frame_equal(table_of(search(tmp_path)), table_of(whole))


def test_a_failing_trial_is_a_row_with_its_reason_and_the_search_goes_on(tmp_path, caplog):
    def trouble(values, epoch):
        if values["units"] > 12:
            raise MemoryError("no room for\nthis model")
        return math.nan if values["units"] > 8 and epoch == 2 else None

    with caplog.at_level(logging.INFO):
        found = search(tmp_path, Training(trouble), max_trials=20, sampler="random", pruner="none")
    trials = tables(found)[0]
    big, middle = trials["units"] > 12, trials["units"].between(10, 12)
    assert big.any() and middle.any() and len(trials) == 20
    assert set(trials[big]["reason"]) == {"MemoryError: no room for this model"}
    assert set(trials[middle]["reason"]) == {"FailedTrialError: the loss was nan in epoch 2"}
    assert set(trials[big | middle]["status"]) == {"failed"} and trials[big | middle]["score"].isna().all()
    assert set(trials[~(big | middle)]["status"]) == {"completed"}
    assert "failed (MemoryError: no room for this model)" in caplog.text


@pytest.mark.parametrize("unlike", ["", "precision", "values"])
def test_a_checkpoint_is_resumed_by_the_training_that_left_it_alone(unlike, tmp_path, caplog):
    """Of other values it is, say, if the database was deleted, or is another one."""
    folder = search(tmp_path, minutes=1e-9, max_trials=1).folder
    if unlike == "values":
        shutil.move(folder / "trial_0000", folder / "trial_0001")
    keras.config.set_dtype_policy("mixed_bfloat16" if unlike == "precision" else "float32")
    try:
        search(tmp_path, max_trials=2)
    finally:
        keras.config.set_dtype_policy("float32")
    assert ("belongs to another training; this one starts over" in caplog.text) == bool(unlike)


def test_a_trial_whose_network_cannot_be_built_is_a_row_with_the_values_drawn_for_it(tmp_path):
    class Impossible(Training):
        def build(self, hp):
            if super().build(hp) and self.is_searching:
                raise ValueError("no such network")

    (training := Impossible()).is_searching = False
    found = make_study(training, tmp_path, {}, max_trials=1)
    training.is_searching = True
    found.run_for()
    record = found.records()[0]
    assert (record.status, record.reason) == ("failed", "ValueError: no such network")
    assert record.hyperparameters["units"] == 2


def test_a_score_that_is_no_number_is_a_failure_in_all_epochs_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("src.searches.callbacks.StopAtNaN.on_epoch_end", lambda *epoch, **logs: None)
    scores = [[math.nan] * 6, [math.nan, 0.5, math.nan, 0.7, 0.6, math.nan]]

    def score(values, epoch):
        return scores[values["rate"] != 1e-3][epoch - 1]

    found = search(tmp_path, Training(score), max_trials=4, pruner="none", sampler="random")
    failed, *others = found.records()
    assert (failed.status, failed.reason) == ("failed", "ValueError: val_accuracy was not a number")
    assert {(trial.status, trial.score) for trial in others} == {("completed", 0.7)}
    assert math.isnan(found.attempts.best([])) and math.isnan(found.attempts.best([math.nan]))
    assert dataclasses.replace(found.attempts, objective="val_loss").best([math.nan, 0.5, 0.7]) == 0.5


def test_when_all_trials_fail_the_first_reason_is_told(tmp_path):
    found = search(tmp_path, Training(lambda values, epoch: 1 / 0), max_trials=2)
    with pytest.raises(RuntimeError, match="none of the 2 trials.*division by zero"):
        best_trial(found.records(), "val_accuracy")


def test_an_unknown_objective_names_those_there_are(tmp_path):
    found = search(tmp_path, max_trials=1, objective="val_f1")
    assert found.records()[0].reason == "ValueError: objective 'val_f1' is not among loss, val_accuracy"


@pytest.mark.parametrize(
    ("objective", "worse", "epochs"),
    [("val_accuracy", 0.1, 16), ("val_loss", 0.9, 6), ("val_log_loss", 0.9, 8)],
)
def test_a_trial_is_pruned_for_less_accuracy_or_more_loss_from_two_thirds_on(
    objective, worse, epochs, tmp_path
):
    claims = make_study(Training(), tmp_path, {}, objective, epochs=epochs).claims
    for score in (0.5, 0.5, 0.5, 0.5, worse, 1 - worse):
        trial, pruned = claims.take(), []
        for epoch in range(1, epochs + 1):
            trial.report(score, epoch)
            pruned += [epoch] if trial.should_prune() else []
        claims.study.tell(trial, score)
        assert pruned == [
            epoch for epoch in range(1, epochs + 1) if score == worse and 3 * epoch >= 2 * epochs
        ]


def test_a_trial_that_is_taken_again_stays_in_its_hyperband_bracket():
    pruner, study = make_pruner("hyperband", 18), optuna.create_study()
    pruner.prune(study, frozen(0))  # Optuna makes the brackets when it is first asked
    brackets = [
        [pruner._get_bracket_id(study, frozen(place + later, **{PLACE: place})) for place in range(20)]
        for later in (0, 7)
    ]
    assert brackets[0] == brackets[1] and set(brackets[0]) == {0, 1, 2}


def test_more_trials_are_added_to_a_finished_search(tmp_path, whole):
    assert len(search(tmp_path, max_trials=3).records()) == 3
    pd.testing.assert_frame_equal(table_of(search(tmp_path)), table_of(whole))
    assert len(search(tmp_path, max_trials=3).records()) == TRIALS  # nothing is trained, nothing is lost


@pytest.mark.parametrize(("lives", "status"), [(True, "running"), (False, "interrupted")])
def test_a_trial_beyond_those_asked_for_is_not_waited_for(lives, status, tmp_path, monkeypatch):
    """It runs elsewhere, or its process died while more had been asked for: the table says which."""
    found = search(tmp_path, max_trials=2)
    found.claims.max_trials = 3
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(os, "getpid", os.getppid)
        found.claims.take().report(0.6, 1)
    monkeypatch.setattr("src.study.time.sleep", lambda seconds: pytest.fail("waits"))
    monkeypatch.setattr(claims, "is_alive", lambda *process: lives)
    *_, last = search(tmp_path, max_trials=2).records()
    assert (last.number, last.status) == (3, status)
    assert lives or (last.score, last.reason) == (0.6, "stopped by the end of its process")


def test_a_trial_that_another_process_has_just_begun_is_waited_for_beside_one_too_many(tmp_path, monkeypatch):
    """For a moment it has no place: the third trial, asked for at the time, is not in its stead."""
    found = search(tmp_path, max_trials=1)
    found.claims.max_trials = 3
    attributes = {PROCESS: [machine(), os.getppid(), "begun"]}
    begun = optuna.create_trial(state=optuna.trial.TrialState.RUNNING, user_attrs=attributes)
    found.claims.study.add_trial(begun)

    def wait(seconds):
        raise TimeoutError

    monkeypatch.setattr("src.study.time.sleep", wait)
    for asked in (3, 2):
        with pytest.raises(TimeoutError):
            search(tmp_path, max_trials=asked)


def test_the_time_limit_holds_where_trials_beyond_those_asked_for_have_ended(tmp_path, monkeypatch, caplog):
    """The second trial runs elsewhere; the third, asked for at the time, has ended meanwhile."""
    found, waits = search(tmp_path, max_trials=1), []
    found.claims.max_trials = 3
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(os, "getpid", os.getppid)
        found.claims.take()

    def wait(seconds):
        waits.append(seconds)
        if len(waits) > 1:
            raise TimeoutError

    monkeypatch.setattr("src.study.time.sleep", wait)
    with pytest.raises(TimeoutError), caplog.at_level(logging.INFO):
        found.run_for()
    assert caplog.messages.count("waiting for the trials that other processes train") == 1
    assert [record.status for record in found.records()] == ["completed", "running", "completed"]
    waits.clear()
    search(tmp_path, max_trials=2, minutes=1e-9)
    assert len(waits) == 1


def test_another_search_begins_beside_the_old_one_in_the_same_database(tmp_path, caplog):
    first = search(tmp_path, max_trials=1)
    with caplog.at_level(logging.WARNING):
        second = search(tmp_path, max_trials=2, sampler="random")
    assert "changed: sampler" in caplog.text
    names = optuna.get_all_study_names(f"sqlite:///{tmp_path / 'study.db'}")
    assert sorted(names) == sorted([first.folder.name, second.folder.name])
    assert len(first.records()) == 1


@pytest.mark.parametrize("pruner", ["hyperband", "none"])
def test_the_other_pruners(pruner, tmp_path):
    trials = tables(search(tmp_path, max_trials=8, pruner=pruner, sampler="random", epochs=18))[0]
    pruned = trials[trials["status"] == "pruned"]
    assert len(pruned) if pruner == "hyperband" else pruned.empty
    # Hyperband's rungs for 18 epochs are 2, 6 and 18; after the last one nothing is left to prune.
    assert set(pruned["epochs"]) == ({2, 6} if pruner == "hyperband" else set())
    assert pruned["reason"].str.contains("best third").all()


@pytest.mark.parametrize(
    ("setting", "value"), [("max_trials", 0), ("epochs", 0), ("sampler", "best"), ("pruner", "garden")]
)
def test_impossible_settings_are_named(setting, value, tmp_path):
    with pytest.raises(ValueError, match=f"{setting}.*{value}"):
        search(tmp_path, **{setting: value})


def test_the_space_is_written_as_keras_tuner_prints_it(whole, caplog, capsys, tmp_path):
    with caplog.at_level(logging.INFO):
        whole.search_space_summary()
    tuner = keras_tuner.RandomSearch(Training().build, "val_accuracy", max_trials=1, directory=tmp_path)
    tuner.search_space_summary()
    printed = capsys.readouterr().out.splitlines()
    written = "\n".join(record.getMessage() for record in caplog.records).splitlines()
    assert sorted(written) == sorted(printed[-len(written) :]) and len(written) == 2 + 2 * 4


# The space


def entries(hp) -> dict:
    found = {
        "lost_top": hp.Float("lost_top", 0.2, 0.3, step=0.1),
        "fifths": hp.Float("fifths", 0.0, 0.5, step=0.1),
        "whole": hp.Float("whole", 0.1, 0.4, step=0.1),
        "sevenths": hp.Int("sevenths", 3, 25, step=7),
        "doubling": hp.Int("doubling", 16, 256, step=2, sampling="log"),
        "tenfold": hp.Float("tenfold", 1e-4, 1.0, step=10, sampling="log"),
        "any_int": hp.Int("any_int", 1, 100, sampling="log"),
        "any_float": hp.Float("any_float", 1e-5, 1e-1, sampling="log"),
        "number": hp.Choice("number", [0.0, 0.05, 0.1]),
        "word": hp.Choice("word", ["max", "average"]),
        "yes": hp.Boolean("yes"),
        "fixed": hp.Fixed("fixed", 7),
    }
    with hp.conditional_scope("word", ["average"]):
        found["inside"] = hp.Int("inside", 1, 3)
        with hp.conditional_scope("inside", [2, 3]):
            with hp.name_scope("deep"):
                found["deep/inside"] = hp.Choice("inside", ["a", "b"])
    return found


@pytest.fixture(scope="module")
def drawn():
    """The values of 60 trials, beside what KerasTuner holds of them."""
    study, found = optuna.create_study(), []
    for place in range(60):
        study.sampler = make_sampler("random", 0, place + 1, {})
        hp = SuggestedHyperParameters(study.ask())
        found.append((entries(hp), hp.values, entries(hp)))
    return found


def test_values_are_those_of_keras_tuners_own_grid(drawn):
    space = {entry.name: entry for entry in explore_space(entries).space}
    for name in ("lost_top", "fifths", "whole", "sevenths", "doubling", "tenfold", "number", "word", "yes"):
        grid = list(space[name].values)
        assert {values[name] for values, *_ in drawn} == set(grid), name  # to the last bit, and all of them
    assert {values["lost_top"] for values, *_ in drawn} == {0.2}  # as KerasTuner itself loses the top
    assert all(type(values["doubling"]) is int for values, *_ in drawn)
    assert {values["fixed"] for values, *_ in drawn} == {7}
    assert all(1 <= values["any_int"] <= 100 and 1e-5 <= values["any_float"] <= 1e-1 for values, *_ in drawn)
    assert min(values["any_float"] for values, *_ in drawn) < 1e-4  # a log scale


def test_a_range_of_whole_numbers_without_steps_is_drawn_whole():
    """KerasTuner lists ten samples of it where a grid is asked for; the default is none of them."""
    study = optuna.create_study(sampler=make_sampler("random", 0, 0, {"units": 100}))
    hp = SuggestedHyperParameters(study.ask())
    assert hp.Int("units", 16, 512, sampling="log", default=100) == 100


def test_a_scope_not_entered_has_no_value_and_a_second_look_finds_the_same(drawn):
    for values, kept, second in drawn:
        assert values == second
        assert (values["inside"] is not None) == (values["word"] == "average") == ("inside" in kept)
        assert (values["deep/inside"] is not None) == (values["inside"] in (2, 3)) == ("deep/inside" in kept)
    assert {values["deep/inside"] for values, *_ in drawn} == {None, "a", "b"}


def test_every_scope_is_explored_and_the_defaults_are_kept():
    space = explore_space(entries)
    assert [entry.name for entry in space.space][-2:] == ["inside", "deep/inside"]
    assert len(space.space) == 14
    assert space.values["word"] == "max" and "inside" not in space.values


def test_a_range_that_optuna_cannot_draw_is_named():
    with pytest.raises(ValueError, match="'odd'.*reverse_log"):
        explore_space(lambda hp: hp.Float("odd", 1, 10, sampling="reverse_log"))


def test_machines_that_share_a_storage_and_no_folder_have_the_same_tables(tmp_path):
    storage = f"sqlite:///{tmp_path / 'server.db'}"
    first = search(tmp_path / "first", storage=storage, max_trials=6)
    second = search(tmp_path / "second", storage=storage, max_trials=6)
    for ours, theirs in zip(tables(first), tables(second), strict=True):
        pd.testing.assert_frame_equal(ours, theirs)
    alone = search(tmp_path / "alone", max_trials=1)
    assert FILES not in optuna_trials(alone)[0].user_attrs, "where the folder is shared they lie there"


# Claims


PARENT = psutil.Process(os.getppid()).create_time()


def frozen(number, state="RUNNING", process=1, host=None, started=(), **attributes):
    attributes[PROCESS] = [host or machine(), process, str(number), *started]
    trial = optuna.create_trial(
        state=optuna.trial.TrialState[state],
        value=1.0 if state == "COMPLETE" else None,
        user_attrs=attributes,
    )
    trial.number, trial._trial_id = number, number + 100
    return trial


def test_places_follow_the_order_of_creation_whatever_came_in_between():
    trials = [
        frozen(0),
        frozen(1, "FAIL", **{SURPLUS: True}),
        frozen(2, "FAIL"),
        frozen(4, "FAIL", **{AGAIN: 2}),
        frozen(5, **{AGAIN: 2}),  # came second
        frozen(6, **{AGAIN: 4}),
        frozen(7),
        optuna.create_trial(value=1.0),  # not ours
    ]
    assert [trial.number for trial in places(trials)] == [0, 6, 7]


@pytest.mark.parametrize(
    ("trial", "wanted"),
    [
        (frozen(0, process=os.getppid()), False),  # lives
        (frozen(0, process=os.getppid(), started=[PARENT]), False),
        (frozen(0, process=os.getppid(), started=[PARENT + 3]), False),  # the clock was put right
        (frozen(0, process=os.getppid(), started=[PARENT - 900]), True),  # its number is another one's now
        (frozen(0, process=os.getppid(), started=[PARENT + 900]), True),
        (frozen(0, process=2**22 + 1), True),  # beyond the largest process number
        (frozen(0, process=os.getpid()), True),  # between two trials
        (frozen(0, host="another"), False),
        (frozen(1, host="another"), True),  # silent
        (frozen(0, host="another", started=(1.0, time.time() - 999)), True),  # died before it had a place
        (frozen(0, host="another", started=(1.0, time.time() + 3600)), False),  # is about to have one
        (frozen(0, host="another", started=(1.0, time.time() - 999), **{PLACE: 0}), False),
        (frozen(1, process=os.getppid()), False),  # silent, as after a night's sleep, but it lives
        (frozen(0, "FAIL", **{INTERRUPTED: "by the deadline"}), True),
        (frozen(0, "FAIL"), False),
        (frozen(0, "COMPLETE"), False),
    ],
)
def test_only_a_trial_that_nobody_trains_is_taken_again(trial, wanted):
    assert is_interrupted(trial, silent=[101]) is wanted


def test_a_process_that_has_ended_is_dead_though_nobody_has_asked_how_it_ended():
    child = subprocess.Popen([sys.executable, "-c", ""])
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert not claims.is_alive(child.pid)
    child.wait()


def test_heartbeats_outlast_an_outage_and_end_with_the_training(monkeypatch):
    """They tell the other machines that a trial is being trained."""
    beats, third = [], threading.Event()

    def record_heartbeat(trial_id):
        beats.append(trial_id)
        if len(beats) == 1:
            raise optuna.exceptions.StorageInternalError
        if len(beats) == 3:
            third.set()

    monkeypatch.setattr(claims, "BEAT", 0.01)
    of_storage, of_trial = SimpleNamespace(record_heartbeat=record_heartbeat), SimpleNamespace(_trial_id=7)
    with claims.heartbeat(of_storage, of_trial):
        assert third.wait(10) and set(beats) == {7}
    count = len(beats)
    time.sleep(0.05)
    assert len(beats) == count


def test_two_processes_that_take_the_same_interrupted_trial_do_not_both_get_it(tmp_path):
    found = search(tmp_path, max_trials=1, minutes=1e-9)
    cut = optuna_trials(found)[0]
    first, second = found.claims._add(cut), found.claims._add(cut)  # both saw it interrupted
    assert first.user_attrs[PLACE] == 0 and first.user_attrs[VALUES] == cut.user_attrs[VALUES]
    assert first.params == cut.params, "or it would be drawn anew, from what the others have found meanwhile"
    with found.claims.storage.engine.connect() as database:
        heartbeats = database.exec_driver_sql("SELECT trial_id FROM trial_heartbeats").scalars().all()
    assert first._trial_id in heartbeats, "or another machine would wait for ever if it died at once"
    surplus = optuna_trials(found)[2]
    assert second is None and surplus.user_attrs[SURPLUS]
    assert surplus.state is optuna.trial.TrialState.FAIL, "or the sampler would count it as running"


def test_a_trial_that_kills_its_process_each_time_becomes_a_failed_row(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "is_alive", lambda *process: False)
    found = search(tmp_path, max_trials=1, minutes=1e-9)
    study = found.claims.study
    for number in range(claims.MOST_DEATHS):
        attributes = {PROCESS: [machine(), 1, str(number)], AGAIN: number, PLACE: 0}
        study.add_trial(optuna.create_trial(state=optuna.trial.TrialState.RUNNING, user_attrs=attributes))
    left = found.folder / "trial_0000" / "checkpoint.npz"
    assert left.exists()
    found = search(tmp_path, max_trials=2)
    assert [trial.status for trial in found.records()] == ["failed", "completed"]
    assert found.records()[0].reason == "its process died 5 times in a row, and it came no further"
    assert not left.exists()


def test_attempts_in_a_row_that_came_no_further_count_as_deaths():
    """A resumed attempt reports earlier epochs again: to die in the third epoch each time is no progress."""
    attempts = [frozen(0)] + [frozen(number, **{AGAIN: number - 1}) for number in range(1, 6)]
    for trial, epochs in zip(attempts, (2, 2, 2, 3, 3, 3), strict=True):
        trial.intermediate_values = {epoch + 1: 0.5 for epoch in range(epochs)}
    assert [claims.deaths(attempts[: n + 1], attempts[n]) for n in range(6)] == [0, 1, 2, 0, 1, 2]
    for trial, epochs in zip(attempts, (0, 1, 0, 2, 0, 3), strict=True):  # every other one dies in start-up
        trial.intermediate_values = {epoch + 1: 0.5 for epoch in range(epochs)}
    assert [claims.deaths(attempts[: n + 1], attempts[n]) for n in range(6)] == [1, 0, 1, 0, 1, 0]


def test_a_training_that_the_pruner_had_ended_before_a_kill_is_over(tmp_path):
    history = HistoryFile(tmp_path / "history.csv")
    history.rows = [{"epoch": 1, "val_accuracy": 0.5}, {"epoch": 2, "val_accuracy": 0.4}]
    told = {}
    trial = SimpleNamespace(report=lambda value, step: told.update({step: value}), should_prune=lambda: True)
    reporter = ReportEpochs(trial, "val_accuracy", 3, history)
    assert reporter.is_over and reporter.pruned_at == 2 and told == {1: 0.5, 2: 0.4}
    assert not ReportEpochs(trial, "val_accuracy", 2, history).is_over, "its last epoch was done"
    trial.should_prune = lambda: False
    assert not ReportEpochs(trial, "val_accuracy", 3, history).is_over


def test_hyperband_ends_a_restored_training_where_it_had_ended_it_before_a_kill(tmp_path):
    """Asked twice at the same rung, it would let the trial go on: the second answer is about the next one."""
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    for accuracy, is_over in ((0.9, False), (0.1, True)):
        history = HistoryFile(tmp_path / "history.csv")
        history.rows = [{"epoch": 1, "val_accuracy": accuracy}]
        assert ReportEpochs(study.ask(), "val_accuracy", 9, history).is_over is is_over


def test_hyperband_does_not_let_an_attempt_that_a_kill_left_half_ended_compete_with_the_next(tmp_path):
    """The best third of 5 is one trial, that of 6 are two: the fifth would be among them."""

    class Killed(BaseException):
        pass

    def die(*arguments, **settings):
        raise Killed

    given = iter([0.9, 0.95, 0.8, 0.7, 0.6, 0.85])  # only the first trial has a second epoch
    settings = {"epochs": 2, "pruner": "hyperband", "max_trials": 4}
    found = search(tmp_path, Training(lambda values, epoch: next(given)), **settings)
    found.claims.max_trials = 5
    found.claims.study.tell = die  # why it was pruned is noted already
    with pytest.raises(Killed):
        found.run_for()
    statuses = [trial.status for trial in search(tmp_path, **{**settings, "max_trials": 5}).records()]
    assert statuses == ["completed", "pruned", "pruned", "pruned", "pruned"]


def test_a_resumed_trial_leaves_hyperband_the_values_that_it_had_at_each_rung(tmp_path):
    values, rungs = [0.5, 0.55, 0.62, 0.7, 0.78], []
    history = HistoryFile(tmp_path / "history.csv")
    for restored in (0, len(values)):
        pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
        trial = optuna.create_study(direction="maximize", pruner=pruner).ask()
        history.rows = [
            {"epoch": n, "val_accuracy": value} for n, value in enumerate(values[:restored], start=1)
        ]
        reporter = ReportEpochs(trial, "val_accuracy", 9, history)
        reporter.on_train_begin()
        for epoch in range(restored, len(values)):
            reporter.on_epoch_end(epoch, {"val_accuracy": values[epoch]})
        rungs.append({k: v for k, v in trial.study.trials[0].system_attrs.items() if "rung" in k})
    assert len(rungs[0]) == 2 and rungs[0] == rungs[1]


def test_a_new_search_is_compared_with_the_last_one_and_an_earlier_one_is_no_surprise(tmp_path, caplog):
    steps = [{"seed": 1, "space": "a"}, {"seed": 2, "space": "a"}, {"seed": 2, "space": "b"}]
    for moment, identity in enumerate([*steps, steps[0]]):
        file = search_folder(tmp_path, identity) / "search.json"
        os.utime(file, (moment, moment))
    assert re.findall(r"changed: ([^)]*)", caplog.text) == ["seed", "space"]


def test_a_search_that_goes_on_with_other_code_or_packages_says_which(tmp_path, monkeypatch, caplog):
    """It is kept: the change may be a comment. But its trials are not all made the same way."""
    network = tmp_path / "src" / "networks" / "residual.py"
    network.parent.mkdir(parents=True)
    network.write_text("")
    monkeypatch.setattr(made_by, "PROJECT", tmp_path)
    for text in ("", "stem_stride = 1", "stem_stride = 1"):
        network.write_text(text)
        folder = search_folder(tmp_path / "search", {"seed": 1})
    monkeypatch.setattr(made_by, "package_versions", lambda: {"keras": "2.0"})
    network.write_text("")
    assert search_folder(tmp_path / "search", {"seed": 1}) == folder
    names = re.findall(rf"{folder} was begun with other code or packages \((.*?)\)", caplog.text)
    assert names[:2] == ["src/networks/residual.py"] * 2
    assert len(names) == 3 and "keras" in names[2] and "residual" not in names[2]


@pytest.mark.parametrize(
    "changed",
    [
        *({"objective": "val_loss"}, {"epochs": 5}, {"seed": 6}, {"sampler": "random"}, {"pruner": "none"}),
        *({"patience": 4}, {"settings": {"data": "y"}}, {"build": lambda self, hp: hp.Int("units", 2, 18)}),
    ],
)
def test_what_a_trial_may_come_out_differently_by_is_another_search(changed, tmp_path):
    def folder(**asked) -> Path:
        class Changed(Training):
            patience = asked.pop("patience", 3)
            build = asked.pop("build", Training.build)

        return make_study(Changed(), tmp_path, asked.pop("settings", {"data": "x"}), **asked).folder

    first = folder(epochs=6, seed=5)
    assert folder(**{"epochs": 6, "seed": 5, **changed}) != first
    assert folder(epochs=6, seed=5, max_trials=3, keep_models=1) == first


def test_more_threads_are_the_same_search(tmp_path):
    folders = {
        search_folder(tmp_path, {"seed": seed, "pictures": {"batch_size": 32, "workers": workers}})
        for seed, workers in ((1, 2), (1, 4), (2, 4))
    }
    assert len(folders) == 2


def test_a_search_killed_between_a_pruning_and_its_row_prunes_again(whole, tmp_path, monkeypatch):
    """Killed when the checkpoint of the pruned epoch is written and the study does not know of it yet."""
    original = Attempts.end

    def die(self, trial, state, *arguments):
        if state is optuna.trial.TrialState.PRUNED:
            raise SystemExit
        original(self, trial, state, *arguments)

    with monkeypatch.context() as killed, pytest.raises(SystemExit):
        killed.setattr(Attempts, "end", die)
        search(tmp_path)
    monkeypatch.setattr(claims, "is_alive", lambda *process: False)
    for ours, theirs in zip(tables(search(tmp_path)), tables(whole), strict=True):
        unlike = {"seconds", "started", "validation_seconds"} & set(ours)
        pd.testing.assert_frame_equal(ours.drop(columns=unlike), theirs.drop(columns=unlike))


@pytest.mark.parametrize("epoch_of_lack", [1, 4])
def test_after_a_lack_of_memory_the_study_knows_the_halved_training_alone(epoch_of_lack, tmp_path):
    """The first attempt is far better until its end: scores of its epochs would mislead the pruner."""

    lacked = []

    def trouble(values, epoch):
        if not lacked and epoch == epoch_of_lack:
            lacked.append(epoch)
            raise MemoryError("no room")
        return 0.4 + epoch / 100 if lacked else 0.95

    training = Training(trouble)
    record = search(tmp_path, training, max_trials=1, pruner="none").records()[0]
    assert (record.status, record.score, record.reason) == ("completed", 0.46, HALVED)
    study = search(tmp_path, training, max_trials=1, pruner="none").claims.trials()[0]
    assert study.intermediate_values == {epoch: 0.4 + epoch / 100 for epoch in range(1, 7)}


@pytest.mark.parametrize("name", ["checkpoint.npz", "9.partial.weights.h5", "model.weights.h5"])
def test_what_a_kill_has_left_of_a_trial_that_is_over_is_cleared(name, tmp_path):
    found = search(tmp_path, max_trials=2)
    left = found.records()[0].folder / name
    left.write_bytes(b"whole")
    search(tmp_path, max_trials=2)
    assert not left.exists()


def test_what_a_trial_left_elsewhere_replaces_what_was_begun_here(tmp_path):
    (tmp_path / "history.csv").write_text("epoch\n1\n")
    fetch_files(tmp_path, {"history.csv": "epoch\n1\n2\n", "record.json": "{}"})
    assert read_files(tmp_path) == {"history.csv": "epoch\n1\n2\n", "record.json": "{}"}


def steal(folder: Path) -> None:
    """Ends the only trial of a search, as the process does that takes it over."""
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{folder / 'study.db'}")
    study.tell(0, state=optuna.trial.TrialState.FAIL)


def test_a_trial_that_another_process_took_over_ends_quietly(tmp_path, caplog):
    def take_over(values, epoch):
        if epoch == 2:
            steal(tmp_path)

    with caplog.at_level(logging.WARNING):
        search(tmp_path, Training(take_over), max_trials=1)
    assert "trial 1 was silent for so long that another process took it" in caplog.text


def test_a_trial_that_another_process_trains_now_has_no_line_of_its_end(tmp_path, monkeypatch, caplog):
    def take_over(values, epoch):
        if epoch == 2:
            claim = make_study(Training(), tmp_path, {"space_name": "pretended"}, epochs=6, seed=5).claims
            with monkeypatch.context() as elsewhere:
                elsewhere.setattr(os, "getpid", os.getppid)
                claim._add(claim.trials()[0])

    def wait(seconds):
        raise TimeoutError

    monkeypatch.setattr("src.study.time.sleep", wait)
    with caplog.at_level(logging.INFO), pytest.raises(TimeoutError):
        search(tmp_path, Training(take_over), max_trials=1)
    assert "another process took it" in caplog.text and "trial 1 of 1: running" not in caplog.text


def test_ctrl_c_ends_the_search_even_in_a_trial_that_another_process_took_over(tmp_path):
    def take_over(values, epoch):
        steal(tmp_path)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, Training(take_over), max_trials=2)


def test_a_trial_that_another_process_took_over_after_its_last_epoch_ends_quietly(tmp_path):
    class Late(Training):
        def fit(self, *arguments, **settings):
            history = super().fit(*arguments, **settings)
            steal(tmp_path)
            return history

    assert [record.status for record in search(tmp_path, Late(), max_trials=1).records()] == ["failed"]


def test_branches_of_a_space_may_share_a_name_and_each_has_its_own_range(tmp_path):
    """Optuna alone refuses another list of words under a name that it knows."""

    class Branching(Training):
        def build(self, hp):
            for name, low, high in (("sgd", 1e-2, 1.0), ("adam", 1e-4, 1e-3)):
                if hp.Choice("optimizer", ["adam", "sgd"]) == name:
                    with hp.conditional_scope("optimizer", [name]):
                        hp.Float("speed", low, high, sampling="log")
                        hp.Choice("word", [f"{name} a", f"{name} b", f"{name} c"], default=f"{name} b")
            return super().build(hp)

    found = search(tmp_path, Branching(), max_trials=16, epochs=1).records()
    assert [trial.status for trial in found] == ["completed"] * 16
    values = [trial.hyperparameters for trial in found]
    assert all(value["word"].startswith(value["optimizer"]) for value in values)
    assert {value["optimizer"]: value["speed"] < 2e-3 for value in values} == {"adam": True, "sgd": False}
    assert (values[0]["speed"], values[0]["word"]) == (1e-4, "adam b"), "the first trial has the defaults"


def test_a_hyperparameter_that_only_some_networks_ask_for_is_in_the_space_once_one_has(tmp_path):
    """Without `conditional_scope`, nobody knows of it before."""

    class Branching(Training):
        def build(self, hp):
            if hp.Choice("kind", ["flat", "deep"]) == "deep":
                hp.Int("depth", 1, 9)
            return super().build(hp)

    found = search(tmp_path, Branching(), max_trials=6, epochs=1, sampler="random")
    assert {trial.hyperparameters["kind"] for trial in found.records()} == {"flat", "deep"}
    assert "depth" in [entry.name for entry in found.space]


# The storage

SECRET = "s3cr{t@word"
ADDRESS = "postgresql://me:s3cr{t%40word@127.0.0.1:1/db"


@pytest.mark.parametrize(
    "address",
    [
        ADDRESS,
        f"postgresql://host/db?user=me&password={SECRET}",
        f"postgresql://host/db?sslkey=x&sslpassword={SECRET}",
        "postgresql://me:p@host:nonsense/s3cr{t@word",
    ],
)
def test_a_password_is_refused_where_it_would_be_written_down_and_not_repeated(address, tmp_path):
    with pytest.raises(ValueError, match="STORAGE_URL|no address") as caught:
        search(tmp_path, storage=address)
    assert "s3cr" not in "".join(traceback.format_exception(caught.value))


def test_the_password_of_a_server_that_is_not_there_is_written_nowhere(tmp_path, monkeypatch, caplog, capfd):
    monkeypatch.setenv("STORAGE_URL", ADDRESS)
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(ConnectionError, match="me:\\*\\*\\*@127.0.0.1") as caught,
    ):
        search(tmp_path)
    written = [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    written += [caplog.text, *capfd.readouterr(), *traceback.format_exception(caught.value)]
    assert not any("s3cr" in text for text in written)


@pytest.mark.parametrize("written", [str, quote, quote_plus])
def test_an_error_that_repeats_the_password_is_told_without_it(written, tmp_path, monkeypatch):
    def refuse(*arguments, **settings):
        raise ValueError(f"password={written('s3cr t@word')}")

    monkeypatch.setenv("STORAGE_URL", f"postgresql://me:{quote('s3cr t@word')}@host/db")
    monkeypatch.setattr(storage, "RDBStorage", refuse)
    monkeypatch.setattr("src.searches.storage.time.sleep", lambda seconds: None)
    with pytest.raises(ConnectionError, match=r"host/db: ValueError: password=\*\*\*$"):
        search(tmp_path)


@pytest.mark.parametrize(("returns", "waits"), [(5.0, 5.0), (math.inf, 600.0)])
def test_a_server_that_is_away_is_waited_for_but_not_for_ever(returns, waits, monkeypatch, caplog):
    class Refused(Exception):
        pass

    def connect(host):
        if clock[0] < returns:
            raise Refused
        return host

    def wait(seconds):
        clock[0] += seconds

    clock = [0.0]
    monkeypatch.setattr(storage, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=wait))
    dialect = SimpleNamespace(loaded_dbapi=SimpleNamespace(OperationalError=Refused), connect=connect)
    with nullcontext() if math.isfinite(returns) else pytest.raises(Refused):
        assert storage.connect_patiently(dialect, None, ["host"], {}) == "host"
    assert waits <= clock[0] <= waits + 2
    assert caplog.messages == ["the storage does not answer; waiting up to 10 minutes"]


def test_a_missing_driver_is_told_at_once_with_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.setattr("src.searches.storage.time.sleep", lambda seconds: pytest.fail("tries again"))
    with pytest.raises(ConnectionError, match=r"pip install 'psycopg\[binary\]'"):
        search(tmp_path, storage="postgresql://me@host/db")


def test_a_storage_that_another_process_is_creating_is_opened_a_moment_later(tmp_path, monkeypatch):
    tried, original = [], storage.RDBStorage

    def open_disturbed(*arguments, **settings):
        tried.append(arguments)
        if len(tried) < 3:
            raise sqlalchemy.exc.OperationalError("CREATE TABLE", {}, OSError("table exists"))
        return original(*arguments, **settings)

    monkeypatch.setattr(storage, "RDBStorage", open_disturbed)
    monkeypatch.setattr("src.searches.storage.time.sleep", lambda seconds: None)
    assert len(search(tmp_path, max_trials=1).records()) == 1 and len(tried) == 3


def test_addresses(tmp_path, monkeypatch):
    monkeypatch.delenv("STORAGE_URL", raising=False)
    assert storage_url("", tmp_path).database == str(tmp_path / "study.db")
    assert storage_url("postgresql://me@host/db", tmp_path).drivername == "postgresql+psycopg"
    monkeypatch.setenv("STORAGE_URL", ADDRESS)
    assert storage_url("", tmp_path).password == SECRET and SECRET not in str(storage_url("", tmp_path))
    assert storage_url("sqlite:///other.db", tmp_path).database == "other.db"


def test_a_folder_with_signs_that_mean_something_in_addresses(tmp_path):
    folder = tmp_path / "50% {new}#&"
    assert len(search(folder, max_trials=1).records()) == 1
    assert (folder / "study.db").exists()


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_dashboard_opens_the_database_of_the_run_or_says_that_there_is_none(tmp_path):
    command = ["make", "-C", TESTS.parent, "dashboard", "RUN=mine", "INSTALLED="]
    environment = {**os.environ, "OUTPUT_ROOT": str(tmp_path)}
    missing = subprocess.run(command, env=environment, capture_output=True, text=True)
    database = tmp_path / "mine" / "search" / "study.db"
    assert missing.returncode and f"{database} is missing" in missing.stdout
    assert "optuna-dashboard" not in missing.stdout
    database.parent.mkdir(parents=True)
    database.touch()
    found = subprocess.run([*command, "-n"], env=environment, capture_output=True, text=True)
    assert f".venv/bin/optuna-dashboard 'sqlite:///{database}'" in found.stdout


@pytest.mark.parametrize("tuner", ["optuna", "random"])
def test_what_is_no_fault_of_a_trial_costs_none_however_often_it_happens(tuner, tmp_path, monkeypatch):
    """A full disk, then pictures that notebook 01 has split otherwise: more often than a trial may die."""
    monkeypatch.setenv("TROUBLE", "disk")
    monkeypatch.setenv("DISK_FREED", str(tmp_path / "freed"))
    settings = {"seed": 1, "max_trials": 2}
    for _ in range(claims.MOST_DEATHS + 1):
        with pytest.raises(OSError, match="the disk of .* is full; free some space"):
            run_search(tmp_path / "run", tuner, **settings)
    with monkeypatch.context() as patched:
        patched.setattr("search_in_process.Training.fit", raise_stale)
        with pytest.raises((OSError, StalePictures), match="notebook 01 has run again"):
            run_search(tmp_path / "run", tuner, **settings)
    (tmp_path / "freed").touch()
    trials = tables(run_search(tmp_path / "run", tuner, **settings))[0]
    assert trials["status"].tolist() == ["completed"] * 2


def raise_stale(*arguments, **more):
    raise StalePictures("notebook 01 has run again")
