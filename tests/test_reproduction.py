"""What made a run is written down, and the same run once more is compared with it."""

import os
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pandas as pd
import pytest

from src import reproduction
from src.reproduction import changed_since, compare_runs, reproduce
from src.running import locks, made_by
from src.running.made_by import (
    code_version,
    note_notebook,
    notebook_name,
    notebook_settings,
    package_versions,
    unsuitable_packages,
)
from src.runs import read_json, write_json, write_table


def make_run(folder, accuracy=0.9, seconds=1.0, name="cat.0.jpg"):
    times = {"seconds": [seconds], "validation_seconds": [seconds], "started": [seconds]}
    write_table(pd.DataFrame({"trial": [1], "score": [accuracy], **times}), folder / "trials.csv")
    write_table(pd.DataFrame({"image_name": [name], "split": ["train"]}), folder / "features.csv")
    write_json(folder / "metrics.json", {"accuracy": accuracy, "n": 10})
    return folder


def test_seconds_may_differ_and_nothing_else(tmp_path):
    first = make_run(tmp_path / "first")
    same = compare_runs(first, make_run(tmp_path / "same", seconds=9.0))
    assert same["same"].all()
    assert same["file"].tolist() == ["features.csv", "trials.csv", "metrics.json"], (
        "what neither has is no row"
    )
    other = compare_runs(first, make_run(tmp_path / "other", accuracy=0.8, name="cat.1.jpg")).set_index(
        "file"
    )
    assert other.index[~other["same"]].tolist() == ["features.csv", "trials.csv", "metrics.json"]
    assert other.loc["trials.csv", "difference"] == "score in row 1: 0.9 and 0.8"
    (tmp_path / "other" / "trials.csv").unlink()
    for pair in ((first, tmp_path / "other"), (tmp_path / "other", first)):
        missing = compare_runs(*pair).set_index("file")
        assert missing.loc["trials.csv", "difference"] == "it is in one of the runs only"
    write_table(
        pd.DataFrame({"image_name": ["a", "b"], "split": "train"}), tmp_path / "other" / "features.csv"
    )
    longer = compare_runs(first, tmp_path / "other").set_index("file")
    assert longer.loc["features.csv", "difference"] == "1 and 2 rows, 2 and 2 columns"


@pytest.mark.parametrize(
    "name", ["history.csv", "finalists.csv", "training_history.csv", "averaging.csv", "predictions.csv"]
)
def test_every_table_of_a_run_is_compared_as_it_is_written(name, tmp_path):
    """Two words that pandas takes for a missing value, and two texts that it takes for one number."""
    for values in (("nan", "None"), ("0.1", "0.10")):
        runs = [make_run(tmp_path / str(number)) for number in range(2)]
        for run, value in zip(runs, values, strict=True):
            (run / name).write_text(f"column\n{value}\n")
        compared = compare_runs(*runs).set_index("file")
        assert compared.index[~compared["same"]].tolist() == [name]
        assert compared.loc[name, "difference"] == f"column in row 1: {values[0]} and {values[1]}"


def test_a_notebook_notes_what_made_it(tmp_path, monkeypatch):
    write_json(tmp_path / "data.json", {"fingerprint": "abc"})
    monkeypatch.setenv("RUN_COMMAND", "python -m src.pipeline")
    monkeypatch.setattr(made_by, "notebook_settings", lambda: {"seed": 7})
    for step in ("01_data", "03_tuning"):
        monkeypatch.setenv("NOTEBOOK_RUN", f"/somewhere/{step}.ipynb")
        note_notebook(tmp_path, {"device": "CPU"})
    monkeypatch.setenv("NOTEBOOK_RUN", "/somewhere/04_training.ipynb")
    note_notebook(tmp_path, {"device": "GPU"})
    kept = read_json(tmp_path / "made_by.json")
    assert list(kept) == ["01_data", "03_tuning", "04_training"]
    assert kept["01_data"]["data_fingerprint"] == ""  # that of the pictures which it is about to replace
    assert kept["03_tuning"]["device"] == "CPU" and kept["03_tuning"]["data_fingerprint"] == "abc"
    assert kept["03_tuning"]["packages"]["keras"] == package_versions()["keras"]
    assert (kept["03_tuning"]["command"], kept["03_tuning"]["parameters"]) == (
        "python -m src.pipeline",
        {"seed": 7},
    )
    assert kept["03_tuning"]["packages"].keys() >= {"numpy", "optuna", "pandas", "scikit-learn", "papermill"}
    assert changed_since(kept["03_tuning"]) == []
    kept["03_tuning"]["packages"]["keras"] = "0.1"
    assert changed_since(kept["03_tuning"]) == [f"keras was 0.1 and is {package_versions()['keras']}"]


def test_two_workers_that_begin_a_notebook_at_once_are_both_noted(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setenv("NOTEBOOK_RUN", "/somewhere/03_tuning-2.ipynb")
    with locks.take_turns(tmp_path / "made_by.json"):
        second = threading.Thread(target=note_notebook, args=(tmp_path, {}))
        second.start()
        while second.is_alive() and "waiting for it" not in caplog.text:
            time.sleep(0.01)
        write_json(tmp_path / "made_by.json", {"03_tuning-1": {}})
    second.join()
    assert list(read_json(tmp_path / "made_by.json")) == ["03_tuning-1", "03_tuning-2"]
    assert "waiting for it" in caplog.text


def test_a_package_that_the_requirements_refuse_is_named_and_one_that_is_missing_is_not(
    tmp_path, monkeypatch
):
    assert unsuitable_packages() == []
    monkeypatch.setattr(made_by, "PROJECT", tmp_path)
    text = "numpy>=99,<100  # a comment\n# another\n\nno-such-package>=1\npandas>=1\n"
    (tmp_path / "requirements.txt").write_text(text)
    (sentence,) = unsuitable_packages()
    assert sentence.startswith("numpy ") and 'pip install "numpy<100,>=99", then restart' in sentence
    monkeypatch.setattr(made_by, "version", lambda package: "99.5.dev1")
    assert unsuitable_packages() == [], "a host's own build"


def test_a_run_is_made_again_beside_itself_with_its_parameters(tmp_path, monkeypatch, caplog):
    run, asked = make_run(tmp_path / "mine"), []
    entry = {"parameters": {"seed": 7, "run": "mine"}, "packages": {}, "code": code_version()}
    write_json(run / "made_by.json", {"01_data": entry, "by hand": entry})

    monkeypatch.setenv("STORAGE_URL", "postgresql://server/trials")

    def pretend(step, output, parameters):
        assert "STORAGE_URL" not in os.environ, "the trials there would be taken for the repetition's"
        asked.append((step, parameters))
        make_run(output.parent)
        recorded = {**parameters, "a_newer_parameter": 1}
        write_json(output.parent / "made_by.json", {step: {**entry, "parameters": recorded}})
        output.touch()

    monkeypatch.setattr(reproduction, "run_notebook", pretend)
    assert reproduce(run)["same"].all() and reproduce(run)["same"].all()
    assert asked == [("01_data", {"seed": 7, "run": "mine-again"})], "what is there is not made once more"
    write_json(run / "made_by.json", {"01_data": {**entry, "parameters": {"seed": 8, "run": "mine"}}})
    with pytest.raises(ValueError, match="mine-again was made by other settings or other code; delete it"):
        reproduce(run)
    write_json(run / "made_by.json", {"01_data": entry})
    assert caplog.text == ""
    monkeypatch.setattr(reproduction, "code_version", lambda: "newer")
    with pytest.raises(ValueError, match="mine-again was made by other settings or other code; delete it"):
        reproduce(run)
    assert f"the code was {entry['code'] or 'unknown'} and is newer" in caplog.text


def test_a_run_by_hand_alone_says_that_there_is_nothing_to_run_again(tmp_path):
    write_json(tmp_path / "made_by.json", {"by hand": {}})
    with pytest.raises(FileNotFoundError, match="names no notebook"):
        reproduce(tmp_path)


def test_two_reproductions_of_a_run_do_not_share_a_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OUTPUT_ROOT", str(tmp_path))
    run = make_run(tmp_path / "run")
    made = {"parameters": {"seed": 1}, "packages": package_versions(), "code": code_version()}
    write_json(run / "made_by.json", {"01_data": made})
    with locks.hold(tmp_path / "run-again"):
        assert reproduction.main([str(run)]) == 1
    assert f"{tmp_path / 'run-again'} is being worked on by process" in capsys.readouterr().err


@pytest.mark.parametrize(("accuracy", "code"), [(0.9, 0), (0.8, 1)])
def test_the_command_tells_table_by_table_whether_it_is_the_same(
    accuracy, code, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("OUTPUT_ROOT", str(tmp_path))
    first, second = make_run(tmp_path / "run"), make_run(tmp_path / "run-again", accuracy)
    monkeypatch.setattr(reproduction, "reproduce", lambda run: compare_runs(run, second))
    assert reproduction.main([str(first)]) == code
    said = capsys.readouterr().out
    assert "features.csv: the same\n" in said
    assert f"trials.csv: {'score in row 1: 0.9 and 0.8' if code else 'the same'}\n" in said


def test_a_notebooks_settings_are_its_plain_values(monkeypatch, tmp_path):
    plain = {"seed": 7, "learning_rate": 0.5, "horizontal_flip": True, "data": "auto"}
    shell = SimpleNamespace(user_ns={**plain, "_i": "text", "folder": tmp_path, "src": []})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert notebook_settings() == plain
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    assert notebook_settings() == {}


def test_the_code_is_a_commit_and_whether_it_was_changed_since(monkeypatch, tmp_path):
    monkeypatch.setattr(made_by, "PROJECT", tmp_path)
    assert code_version() == ""
    (tmp_path / "file").write_text("one")
    git = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *words], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    assert len(commit) == 40 and code_version() == commit
    (tmp_path / "file").write_text("other")
    assert code_version() == f"{commit} and changes"
    monkeypatch.setenv("PATH", "")
    assert code_version() == "", "without git"


@pytest.mark.parametrize(
    ("papermill", "jupyter", "name"),
    [
        ("/run/03_tuning.ipynb", "", "03_tuning"),
        ("", "/home/04_training.ipynb", "04_training"),
        ("/run/workers/here-1.ipynb", "/home/00_run_all.ipynb", "here-1"),
        ("", "", "by hand"),
    ],
)
def test_a_notebook_is_named_by_who_runs_it(papermill, jupyter, name, monkeypatch):
    monkeypatch.setenv("NOTEBOOK_RUN", papermill)
    monkeypatch.setenv("JPY_SESSION_NAME", jupyter)
    assert notebook_name() == name
