"""A search that can be killed, that records what fails, and that gives the same trials for a seed."""

import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import h5py
import keras
import keras_tuner
import numpy as np
import pandas as pd
import pytest
from search_in_process import Training, build, run_search, serve, tables

from src.running.locks import hold
from src.search import make_search
from src.searches.search_folder import IN_VAIN, MOST_DEATHS, counting_deaths, reason_of
from src.searches.trials import best_trial, finalists
from src.spaces import Space, as_settled, fixed
from src.tuning import TUNERS, make_tuner

pytestmark = pytest.mark.long

PROJECT = Path(__file__).resolve().parents[1]
VALUES = ["trial", "units", "rate", "score", "best_epoch", "epochs", "status"]


def in_a_process(folder: Path, tuner: str, max_trials: int, kill_after_epochs: int) -> int:
    environment = {**os.environ, "KILL_AFTER_EPOCHS": str(kill_after_epochs), "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, str(PROJECT / "tests" / "search_in_process.py"), str(folder), tuner]
    command.append(str(max_trials))
    return subprocess.run(command, env=environment, capture_output=True, cwd=PROJECT).returncode


def best_of(search):
    return best_trial(search.records(), "val_accuracy")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A search of four trials, as KerasTuner's tuner; tests that change its folder copy it."""
    return run_search(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def copied(finished, tmp_path) -> Path:
    shutil.copytree(Path(finished.project_dir).parent, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.parametrize("tuner", ["optuna", "random", "hyperband"])
def test_all_trials_compute_in_the_precision_that_was_settled(tuner, tmp_path, monkeypatch):
    """Keras forgets it with its session, which is cleared before each trial."""
    seen, fit = [], Training.fit

    def noting(self, hp, model, *arguments, **settings):
        seen.append(model.layers[-2].compute_dtype)  # the last one is float32 always
        return fit(self, hp, model, *arguments, **settings)

    monkeypatch.setattr(Training, "fit", noting)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        run_search(tmp_path, tuner, max_trials=2)
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")
    assert len(seen) >= 2 and set(seen) == {"bfloat16"}


def test_hyperband_goes_on_with_the_optimizer_where_the_earlier_trial_was(tmp_path, monkeypatch):
    begun, fit = [], Training.fit

    def noting(self, hp, model, *arguments, **settings):
        begun.append((hp.values.get("tuner/initial_epoch", 0), int(model.optimizer.iterations)))
        return fit(self, hp, model, *arguments, **settings)

    monkeypatch.setattr(Training, "fit", noting)
    run_search(tmp_path, "hyperband")
    assert all(steps == 0 for epoch, steps in begun if epoch == 0)
    later = [steps for epoch, steps in begun if epoch > 0]
    assert later and all(steps > 0 for steps in later), "a schedule would begin anew"


def test_a_row_for_every_trial_and_every_epoch(finished):
    table, history = tables(finished)
    assert table["trial"].tolist() == [1, 2, 3, 4]
    assert set(table["status"]) == {"completed"}
    assert table["parameters"].tolist() == [193 * units + units + 1 for units in table["units"]]  # by hand
    assert history.groupby("trial")["epoch"].apply(list).tolist() == [[1, 2, 3]] * 4
    best_of_each = history.groupby("trial")["val_accuracy"].max()
    np.testing.assert_allclose(table["score"], best_of_each, atol=1e-6)
    assert best_of(finished).score == table["score"].max()
    assert (table["seconds"] > 0).all()


def test_the_same_seed_gives_the_same_table_and_0_is_a_seed(tmp_path):
    found = {
        name: tables(run_search(tmp_path / name, seed=seed, max_trials=2))[0][VALUES]
        for name, seed in [("first", 0), ("second", 0), ("other", 1)]
    }
    pd.testing.assert_frame_equal(found["first"], found["second"])
    assert not found["first"]["rate"].equals(found["other"]["rate"])


@pytest.mark.parametrize("tuner", TUNERS)
def test_every_tuner_runs_and_its_trials_differ(tuner, tmp_path):
    table = tables(run_search(tmp_path, tuner, max_trials=3))[0]
    assert len(table) >= 3
    assert not table["status"].ne("completed").any()
    assert len(table[["units", "rate"]].drop_duplicates()) > 1  # Hyperband trains its best ones on
    assert not any(column.startswith("tuner/") for column in table)


@pytest.mark.parametrize(
    ("tuner", "max_trials", "epochs"),
    [
        ("random", 4, 1),
        pytest.param("random", 4, 5, marks=pytest.mark.slow),
        pytest.param("bayesian", 10, 23, marks=pytest.mark.slow),  # its first 6 proposals are random
        pytest.param("hyperband", 4, 4, marks=pytest.mark.slow),
    ],
)
def test_a_killed_search_goes_on_to_the_same_end(tuner, max_trials, epochs, tmp_path):
    """Killed by SIGKILL in the first trial (epoch 1 of 3) and in later ones, then started again."""
    assert in_a_process(tmp_path / "killed", tuner, max_trials, epochs) == -signal.SIGKILL
    folders = (tmp_path / "killed", tmp_path / "whole")
    killed, whole = (tables(run_search(folder, tuner, max_trials=max_trials))[0] for folder in folders)
    assert set(killed["status"]) == {"completed"}
    pd.testing.assert_frame_equal(killed[VALUES], whole[VALUES])


def test_a_finished_search_trains_nothing_more_and_more_trials_are_added_to_it(finished, copied):
    pd.testing.assert_frame_equal(tables(finished)[0], tables(run_search(copied))[0])
    last = run_search(copied, max_trials=5, minutes=1e-9).records()[-1]
    (last.folder / "record.json").unlink()  # as a kill would have left it
    fewer = tables(run_search(copied))[0]
    pd.testing.assert_frame_equal(fewer.head(4)[VALUES], tables(finished)[0][VALUES])
    assert fewer["status"].tolist()[4:] == ["interrupted"], "four are asked for, and four are there"
    assert fewer["reason"].tolist()[4:] == ["stopped by Ctrl-C, an error or a kill"]
    more = tables(run_search(copied, max_trials=5))[0]
    pd.testing.assert_frame_equal(more.head(4)[VALUES], tables(finished)[0][VALUES])
    assert more["status"].tolist()[4:] == ["completed"]


def test_another_search_is_told_apart_and_the_old_trials_stay(finished, copied, caplog):
    with caplog.at_level(logging.WARNING):
        second = run_search(copied, executions=2, max_trials=2)
    assert "changed: executions" in caplog.text
    assert Path(second.project_dir).name != Path(finished.project_dir).name
    assert len(list((copied / Path(finished.project_dir).name).glob("trial_*"))) == 4
    assert tables(second)[1]["execution"].tolist() == [0, 0, 0, 1, 1, 1] * 2


@pytest.mark.parametrize(
    "changed",
    [
        *({"name": "bayesian"}, {"objective": "val_loss"}, {"epochs": 5}, {"executions": 2}, {"seed": 6}),
        *({"patience": 4}, {"settings": {"data": "y"}}),
    ],
)
def test_what_a_trial_may_come_out_differently_by_is_another_search(changed, tmp_path):
    def folder(**asked) -> str:
        training = Training(
            Space(build, as_settled, ()), {}, serve, epochs=1, patience=asked.pop("patience", 3)
        )
        asked = {"name": "random", "settings": {"data": "x"}, **asked}
        return make_tuner(training=training, folder=tmp_path, **asked).project_name

    first = folder()
    assert folder(**changed) != first
    assert folder(max_trials=3, keep_models=2) == first


@pytest.mark.parametrize(
    ("trouble", "word"), [("big units", "no room for this model"), ("nan", "the loss was nan")]
)
def test_a_failing_trial_is_a_row_with_its_reason_and_the_search_goes_on(
    trouble, word, tmp_path, monkeypatch
):
    monkeypatch.setenv("TROUBLE", trouble)
    search = run_search(tmp_path, max_trials=6)
    table = tables(search)[0].set_index("units")
    assert len(table) == 6
    failed = table[table.index > 8]
    assert len(failed) and set(failed["status"]) == {"failed"}
    assert failed["reason"].str.contains(word).all()
    assert set(table[table.index <= 8]["status"]) == {"completed"}
    assert best_of(search).hyperparameters["units"] <= 8


def test_an_error_that_does_not_call_itself_one_is_told_as_well(tmp_path, monkeypatch):
    """OpenCV's is `cv2.error`; without any error, the objective was not a number."""

    def fit(*arguments, **settings):
        raise Exception("the picture is upside down")

    monkeypatch.setattr(Training, "fit", fit)
    table = tables(run_search(tmp_path, max_trials=1))[0]
    assert table["reason"].tolist() == ["Exception: the picture is upside down"]
    assert reason_of("") == "the objective was not a number"
    assert reason_of(MemoryError()) == "MemoryError" and len(reason_of(ValueError("x" * 999))) == 300


def test_a_trial_that_ends_its_process_each_time_is_failed_and_the_search_goes_on(tmp_path):
    first = run_search(tmp_path, minutes=1e-9).records()[0].folder
    (first / "history.csv").unlink()
    mark = first / "begun.json"
    mark.write_text(json.dumps({"deaths": MOST_DEATHS - 1}))  # as the last of them has left it
    table = tables(run_search(tmp_path))[0]
    assert table["status"].tolist() == ["failed", "completed", "completed", "completed"]
    assert IN_VAIN in table["reason"][0] and not mark.exists()


def test_deaths_are_counted_in_a_row_and_only_those_of_processes(tmp_path):
    mark = tmp_path / "begun.json"

    def begin(dies: bool) -> int:
        with counting_deaths(tmp_path) as deaths:
            left = mark.read_text()
        if dies:
            mark.write_text(left)
        return deaths

    assert [begin(True) for _ in range(3)] == [0, 1, 2]
    (tmp_path / "history.csv").touch()  # an epoch was over
    assert begin(True) == 0
    (tmp_path / "history.csv").unlink()
    assert begin(False) == 1 and begin(True) == 0, "an error, or Ctrl-C, is no death"


def test_when_all_trials_fail_the_first_reason_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("search_in_process.Training.fit", lambda *args, **kwargs: 1 / 0)
    search = run_search(tmp_path, max_trials=3)
    assert len(tables(search)[0]) == 3
    with pytest.raises(RuntimeError, match="none of the 3 trials.*division by zero"):
        best_of(search)


@pytest.mark.parametrize("tuner", ["optuna", "random"])
def test_a_search_whose_first_trials_all_fail_ends_and_says_why(tuner, tmp_path, monkeypatch):
    monkeypatch.setattr("search_in_process.Training.fit", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(RuntimeError, match="each of the first 5 trials.*division by zero; when .* delete"):
        run_search(tmp_path, tuner, max_trials=9)


@pytest.mark.parametrize(("tuner", "epochs"), [("random", 1), ("random", 3), ("optuna", 3)])
def test_a_search_that_was_stopped_goes_on_in_the_same_notebook(tuner, epochs, tmp_path):
    """The time is up at the end of the first of two trials, or within it."""
    search = run_search(tmp_path, tuner, max_trials=2, epochs=epochs, minutes=1e-9)
    assert tables(search)[0]["status"].tolist() == ["completed" if epochs == 1 else "interrupted"]
    search.run_for()
    assert tables(search)[0]["status"].tolist() == ["completed"] * 2


@pytest.mark.parametrize("tuner", ["optuna", "random"])
def test_a_search_whose_time_is_up_with_its_last_trial_is_not_to_be_continued(tuner, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        run_search(tmp_path, tuner, max_trials=1, epochs=1, minutes=1e-9)
        assert "the search stopped" not in caplog.text
        run_search(tmp_path, tuner, max_trials=3, epochs=1, minutes=1e-9)
        assert "the search stopped after 1e-09 minutes with 2 trials done" in caplog.text


@pytest.mark.parametrize("tuner", ["optuna", "random"])
@pytest.mark.parametrize("epochs", [0, 2])
def test_a_trial_that_ctrl_c_stopped_is_an_interrupted_row(tuner, epochs, tmp_path, monkeypatch):
    def fit(self, hp, model, callbacks, fit=Training.fit, **settings):
        def press(epoch, logs=None):
            if epoch == epochs:
                raise KeyboardInterrupt

        watching = [*callbacks, keras.callbacks.LambdaCallback(on_epoch_begin=press)]
        return fit(self, hp, model, callbacks=watching, **settings)

    monkeypatch.setattr(Training, "fit", fit)
    training = Training(Space(build, as_settled, ()), {}, serve, epochs=3)
    search = make_search(tuner, training, tmp_path, {}, objective="val_loss")
    with pytest.raises(KeyboardInterrupt):
        search.run_for()
    table, history = tables(search, "val_loss")
    assert table["status"].tolist() == ["interrupted"] and "stopped by" in table["reason"][0]
    best = history["val_loss"].min() if epochs else np.nan
    assert table["epochs"].tolist() == [epochs]
    assert table["score"].tolist() == pytest.approx([best], nan_ok=True)


@pytest.mark.parametrize("tuner", ["optuna", "random"])
def test_each_trial_is_trained_by_a_seed_of_its_own(tuner, tmp_path, monkeypatch):
    drawn, fit = [], Training.fit

    def noting(*arguments, **settings):
        drawn.append(random.random())
        return fit(*arguments, **settings)

    monkeypatch.setattr(Training, "fit", noting)
    run_search(tmp_path, tuner, max_trials=2, epochs=1)
    assert len(drawn) == len(set(drawn)) == 2


@pytest.mark.parametrize("tuner", ["optuna", "random"])
def test_a_trials_network_is_released_before_the_next_one_is_trained(tuner, tmp_path, monkeypatch):
    trained, fit = [], Training.fit

    def noting(self, hp, model, *arguments, **settings):
        trained.append(model)
        return fit(self, hp, model, *arguments, **settings)

    def release(model):
        assert model is trained[-1]
        released.append(model)

    released = []
    monkeypatch.setattr(Training, "fit", noting)
    for module in ("attempts", "recorded_search"):
        monkeypatch.setattr(f"src.searches.{module}.release", release)
    run_search(tmp_path, tuner, max_trials=2, epochs=1)
    assert len(released) == 2


def test_the_time_limit_holds_inside_a_trial_and_a_later_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("SLEEP", "0.4")
    stopped = tables(run_search(tmp_path / "cut", minutes=0.01))[0]  # 0.6 s: less than three epochs
    assert stopped["status"].tolist() == ["interrupted"] and stopped["score"].between(0, 1).all()
    assert stopped["reason"][0] == f"stopped by max_minutes after epoch {stopped['epochs'][0]}"
    assert stopped["epochs"][0] in (1, 2)
    monkeypatch.setenv("SLEEP", "0")
    resumed, whole = (tables(run_search(tmp_path / name, max_trials=2))[0] for name in ("cut", "whole"))
    pd.testing.assert_frame_equal(resumed[VALUES], whole[VALUES])


def test_a_grid_goes_on_where_it_was_stopped_in_a_trial_or_between_two(tmp_path):
    """KerasTuner's state does not hold its place in the grid: it would end there, or with a KeyError."""
    run_search(tmp_path / "cut", "grid", max_trials=2)
    run_search(tmp_path / "cut", "grid", minutes=1e-9)
    resumed, whole = (tables(run_search(tmp_path / name, "grid"))[0] for name in ("cut", "whole"))
    assert len(whole) == 4
    pd.testing.assert_frame_equal(resumed[VALUES], whole[VALUES])


@pytest.mark.parametrize("tuner", ["random", "grid"])
def test_a_search_that_has_tried_all_values_says_that_it_ends(tuner, tmp_path, monkeypatch, caplog):
    def build_one_of_two(hp):
        return build(fixed({"trouble": "none", "units": hp.Choice("units", [2, 4]), "rate": 0.1}))

    monkeypatch.setattr(Training, "fit", lambda *arguments, **settings: 0.5)
    training = Training(Space(build_one_of_two, as_settled, ()), {}, serve, epochs=1)
    with caplog.at_level(logging.INFO):
        for asked in (2, 3):
            make_tuner(tuner, training, tmp_path, {}, max_trials=asked, epochs=1).run_for()
            assert ("the search is over after 2 trials: it found no values" in caplog.text) == (asked == 3)
    assert "trial 2 of 2: val_accuracy 0.5000, best so far 0.5000" in caplog.text


def test_bayesian_proposes_the_same_after_a_stop_to_the_last_digit(tmp_path, monkeypatch):
    """With one hyperparameter its first 3 are random; KerasTuner does not save where the others begin."""

    def propose(name: str, max_trials: int) -> list[float]:
        space = Space(lambda hp: build(fixed({"trouble": "none", "units": 2, **rate(hp)})), as_settled, ())
        training, settings = Training(space, {}, serve, epochs=1), {"max_trials": max_trials, "epochs": 1}
        search = make_tuner("bayesian", training, tmp_path / name, {}, **settings)
        search.run_for()
        return [record.hyperparameters["rate"] for record in search.records()]

    def rate(hp) -> dict:
        return {"rate": hp.Float("rate", 1e-3, 1e-1, sampling="log")}

    monkeypatch.setattr(Training, "fit", lambda self, hp, *more, **settings: -abs(hp.get("rate") - 0.02))
    whole = propose("whole", 5)
    propose("cut", 4)
    assert propose("cut", 5) == whole


def test_a_trial_whose_loss_is_nan_when_the_time_is_up_is_failed_for_its_loss(tmp_path, monkeypatch):
    monkeypatch.setenv("TROUBLE", "nan")
    table = tables(run_search(tmp_path, seed=1, minutes=1e-9))[0]
    assert table["units"][0] > 8 and table["status"].tolist() == ["failed"]
    assert "the loss was nan in epoch 1" in table["reason"][0]


def test_only_the_best_trials_checkpoint_stays_on_the_disk(finished):
    kept = list(Path(finished.project_dir).glob("trial_*/*.weights.h5"))
    assert [file.parent.name for file in kept] == [best_of(finished).folder.name]


def test_optuna_keeps_the_weights_of_as_many_of_the_best_as_it_is_told(tmp_path):
    search = run_search(tmp_path, "optuna", max_trials=4, keep_models=2, pruner="none")
    best = finalists(search.records(), "val_accuracy", 2)
    kept = [file.parent for file in search.folder.glob("trial_*/*.weights.h5")]
    assert sorted(kept) == sorted(trial.folder for trial in best)


def test_weights_that_a_kill_left_are_cleared_when_the_search_is_taken_up_again(finished, copied):
    project, best = copied / Path(finished.project_dir).name, best_of(finished).folder.name
    last = project / f"trial_{finished.oracle.end_order[-1]}"
    other = next(folder for folder in project.glob("trial_*") if folder.name != best)
    left = [last / "9.partial.weights.h5", other / "checkpoint.weights.h5"]
    for file in left:
        file.write_bytes(b"half")
    run_search(copied)
    assert [file.parent.name for file in project.glob("trial_*/*.weights.h5")] == [best]


def test_weights_of_the_best_trial_that_a_kill_left_half_written_are_cleared(tmp_path):
    """Without the optimizer's state they are written anew, beside the whole ones."""
    best = run_search(tmp_path, max_trials=1, epochs=1).records()[0].folder
    (best / "9.partial.weights.h5").write_bytes(b"half")
    run_search(tmp_path, max_trials=1, epochs=1)
    assert [file.name for file in best.glob("*.weights.h5")] == ["checkpoint.weights.h5"]


@pytest.mark.parametrize("file", ["oracle.json", "tuner0.json", "trial_1/trial.json"])
@pytest.mark.parametrize("damage", ["cut short", "empty", "missing"])
def test_a_damaged_state_file_is_named_and_the_finished_trials_stay(file, damage, finished, copied, caplog):
    path = copied / Path(finished.project_dir).name / file
    if damage == "missing":
        path.unlink()
    else:
        path.write_text(path.read_text()[: 1 * (damage == "cut short")])
    with caplog.at_level(logging.WARNING):
        found = run_search(copied)
    words = "is missing" if damage == "missing" else "is not whole"
    assert f"{path} {words}; its last good copy takes its place" in caplog.text
    pd.testing.assert_frame_equal(tables(found)[0], tables(finished)[0])


@pytest.mark.parametrize("copy", ["missing", "cut short"])
def test_a_damaged_state_file_without_a_good_copy_is_named(copy, finished, copied):
    project = copied / Path(finished.project_dir).name
    shutil.rmtree(project / "last_good")
    if copy == "cut short":
        (project / "last_good").mkdir()
        (project / "last_good" / "oracle.json").write_text("{")
    (project / "oracle.json").write_text("")
    with pytest.raises(ValueError, match=r"oracle\.json is not whole; delete .* and run the search again"):
        run_search(copied)


@pytest.mark.parametrize("left", ["", "trial_3/trial.json"])
def test_a_trial_that_was_just_being_begun_at_a_kill_is_begun_anew(left, finished, copied, tmp_path):
    """KerasTuner writes a trial's own file first, then that there is one."""
    shutil.copytree(copied, tmp_path / "killed")
    project = tmp_path / "killed" / Path(finished.project_dir).name
    (project / "trial_4").mkdir()
    text = (project / left).read_text().replace('"trial_id": "3"', '"trial_id": "4"') if left else ""
    (project / "trial_4" / "trial.json").write_text(text.replace("COMPLETED", "RUNNING"))
    killed, whole = (tables(run_search(folder, max_trials=5))[0] for folder in (tmp_path / "killed", copied))
    pd.testing.assert_frame_equal(killed[VALUES], whole[VALUES])


@pytest.mark.parametrize("file", ["oracle.json", "tuner0.json"])
def test_a_search_that_was_just_being_begun_at_a_kill_is_begun_anew(file, finished, tmp_path):
    project = tmp_path / Path(finished.project_dir).name
    project.mkdir()
    (project / file).write_text("{")
    table = tables(run_search(tmp_path, max_trials=1))[0]
    pd.testing.assert_frame_equal(table[VALUES], tables(finished)[0][VALUES].head(1))


def test_a_kill_in_the_middle_of_the_first_trials_state_leaves_it_to_be_begun_anew(tmp_path, monkeypatch):
    def save(self, save=keras_tuner.Oracle.save):
        save(self)
        if self.start_order:
            (tmp_path / self._project_dir / "oracle.json").write_text("{")
            raise KeyboardInterrupt

    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(keras_tuner.Oracle, "save", save)
        run_search(tmp_path)
    assert tables(run_search(tmp_path, max_trials=1))[0]["status"].tolist() == ["completed"]


def test_a_kill_while_the_file_of_the_running_trial_is_written_costs_no_search(finished, tmp_path):
    (run_search(tmp_path, max_trials=1, minutes=1e-9).records()[0].folder / "trial.json").write_text("{")
    table = tables(run_search(tmp_path, max_trials=1))[0]
    pd.testing.assert_frame_equal(table[VALUES], tables(finished)[0][VALUES].head(1))


def test_a_deleted_trial_folder_is_named_and_its_score_stays(finished, copied, caplog):
    project = copied / Path(finished.project_dir).name
    shutil.rmtree(project / "trial_2")
    with caplog.at_level(logging.WARNING):
        found = run_search(copied)
    assert "trial_2/trial.json is missing" in caplog.text
    assert tables(found)[0]["score"].tolist() == tables(finished)[0]["score"].tolist()


def test_the_weights_that_stay_are_without_the_optimizers_state_and_load(finished):
    best = best_of(finished)
    file = next(best.folder.glob("*.weights.h5"))
    with h5py.File(file) as kept:
        assert "optimizer" not in kept
    network = finished.hypermodel.build(fixed(best.hyperparameters))
    network.load_weights(file)
    told = network.evaluate(serve("validation"), verbose=0, return_dict=True)
    assert told["accuracy"] == pytest.approx(best.score)


def test_where_memory_runs_out_a_trial_is_trained_at_half_its_batches(tmp_path, monkeypatch):
    monkeypatch.setenv("TROUBLE", "memory")
    table = tables(run_search(tmp_path, max_trials=6))[0].set_index("units")
    big = table[table.index > 8]
    assert len(big) and set(table["status"]) == {"completed"}
    assert set(big["reason"]) == {"memory ran out; trained at half the batch size"}
    assert set(table[table.index <= 8]["reason"]) == {""}


@pytest.mark.parametrize("tuner", ["random", "grid", "hyperband"])
def test_what_another_process_has_trained_meanwhile_is_not_trained_again(tuner, tmp_path, monkeypatch):
    """A notebook that was refused, because the search ran elsewhere, runs only its last cell again."""
    training = Training(Space(build, as_settled, ()), {}, serve, epochs=3, patience=9)
    settings = {"max_trials": 3, "epochs": 3, "seed": 3}
    waiting = make_tuner(tuner, training, tmp_path, {"space_name": "toy"}, **settings)
    trained = tables(run_search(tmp_path, tuner, **settings))[0]
    monkeypatch.setattr(Training, "fit", lambda *arguments, **more: pytest.fail("it is trained again"))
    (Path(waiting.project_dir) / "oracle.json").write_text("{")  # and it was killed in the end
    waiting.run_for()
    pd.testing.assert_frame_equal(tables(waiting)[0], trained)


def test_another_process_on_the_same_search_is_refused(finished, copied, monkeypatch):
    monkeypatch.setattr("src.searches.recorded_search.hold", partial(hold, wait=0.1))
    project = copied / Path(finished.project_dir).name
    code = "import sys, time; from pathlib import Path; from src.running.locks import hold\n"
    code += "with hold(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", code, project], cwd=PROJECT, stdout=subprocess.PIPE)
    assert other.stdout.readline() == b"held\n"
    with pytest.raises(
        RuntimeError, match=f"is being worked on by process {other.pid} on .*wait until it ends"
    ):
        run_search(copied)
    other.kill()
    other.wait()
    run_search(copied)  # a dead process holds nothing


@pytest.mark.parametrize(
    ("setting", "value"), [("max_trials", 0), ("epochs", 0), ("executions", -1), ("tuner", "best")]
)
def test_impossible_settings_are_named(setting, value, tmp_path):
    with pytest.raises(ValueError, match=f"{setting}.*{value}"):
        run_search(tmp_path, **{setting: value})


def test_state_that_cannot_be_copied_when_a_trial_begins_costs_no_trial(tmp_path, monkeypatch):
    def keep_state(project):
        if len(list(project.glob("trial_*/trial.json"))) == 2:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("src.searches.recorded_search.keep_state", keep_state)
        with pytest.raises(OSError, match="the disk of .* is full"):
            run_search(tmp_path, "random", max_trials=3)
    trials = tables(run_search(tmp_path, "random", max_trials=3))[0]
    assert trials["status"].tolist() == ["completed"] * 3


def test_a_disk_that_is_full_when_a_trial_begins_costs_none_in_the_same_notebook(tmp_path, monkeypatch):
    def save(self, save=keras_tuner.Oracle.save):
        if len(self.start_order) > 1:
            raise OSError(28, "No space left on device")
        save(self)

    training = Training(Space(build, as_settled, ()), {}, serve, epochs=1)
    search = make_search("random", training, tmp_path, {}, max_trials=2)
    with monkeypatch.context() as full, pytest.raises(OSError, match="the disk of .* is full; free some"):
        full.setattr(keras_tuner.Oracle, "save", save)
        search.run_for()
    search.run_for()
    assert [record.status for record in search.records()] == ["completed"] * 2


@pytest.mark.parametrize("tuner", ["optuna", "random"])
def test_a_disk_without_room_for_a_training_is_told_before_it_begins(tuner, tmp_path, monkeypatch):
    monkeypatch.setattr(Training, "fit", lambda *arguments, **settings: pytest.fail("it begins"))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=10_000))
    with pytest.raises(OSError, match="free some space, or move OUTPUT_ROOT"):
        run_search(tmp_path, tuner)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a file that is always full")
def test_a_disk_that_is_full_when_keras_tuner_writes_is_no_lack_of_memory(finished, tmp_path):
    """TensorFlow, which writes its files, has one error for both."""
    file = run_search(tmp_path, max_trials=1, minutes=1e-9).records()[0].folder / "build_config.json"
    file.unlink()
    file.symlink_to("/dev/full")
    with pytest.raises(OSError, match="the disk of .* is full"):
        run_search(tmp_path, max_trials=1)
    file.unlink()
    table = tables(run_search(tmp_path, max_trials=1))[0]
    pd.testing.assert_frame_equal(
        table[[*VALUES, "reason"]], tables(finished)[0][[*VALUES, "reason"]].head(1)
    )
