"""The whole pipeline, through real kernels: the sample profile, a killed run, an imitation of Kaggle."""

import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pandas as pd
import papermill
import psutil
import pytest

from src.pipeline import MORE, STEPS
from src.runs import read_json
from src.sample import draw_sample

pytestmark = pytest.mark.slow
PROJECT = Path(__file__).resolve().parents[1]
SMALL = ["image_size=24", "first_image_size=0", "max_trials=2", "epochs=2", "final_epochs=2"]
SMALL += ["finalists=1", "final_seeds=1"]


def step_command(run: Path, step: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "src.pipeline", str(run), step, *arguments]


@pytest.fixture
def places(tmp_path, monkeypatch) -> Path:
    """Output and data in the test's own folder, for this process and for the kernels."""
    monkeypatch.setenv("OUTPUT_ROOT", str(tmp_path / "output"))
    monkeypatch.setenv("DATA_ROOT", str(tmp_path / "data"))
    monkeypatch.setenv("KAGGLE_ROOT", str(tmp_path / "kaggle"))
    return tmp_path


def test_the_sample_profile_runs_to_an_accuracy_that_can_be_believed(places):
    run = places / "output" / "sample-sample"
    for step in STEPS:
        subprocess.run(
            step_command(run, step, "--profile", "sample", "--data", "sample"), cwd=PROJECT, check=True
        )
    summary = subprocess.run(step_command(run, "summary"), cwd=PROJECT, capture_output=True, text=True)
    measures, predictions = read_json(run / "metrics.json"), pd.read_csv(run / "predictions.csv")
    assert summary.stdout.startswith(f"test accuracy {measures['accuracy']:.4f} [")
    assert (
        measures["accuracy"] == pytest.approx(predictions["correct"].mean()) and measures["accuracy"] >= 0.9
    )
    assert (pd.read_csv(run / "trials.csv")["status"] == "completed").all()
    assert len(pd.read_csv(run / "test_openings.csv")) == 1
    figures = [path.name for path in (run / "figures").glob("*.png")]
    assert "confusion_matrix.png" in figures and len(figures) >= 15


def test_transfer_runs_on_a_finished_run_and_a_second_time_opens_no_test_part(places):
    run = places / "output" / "small"
    settings = ["--profile", "sample", "--data", "sample", "--set", *SMALL]
    for step in [*STEPS[:2], *MORE[:1], *MORE[:1]]:
        subprocess.run(step_command(run, step, *settings), cwd=PROJECT, check=True)
    for stem in ("transfer", "transfer_frozen"):
        measures, predictions = (
            read_json(run / f"{stem}_metrics.json"),
            pd.read_csv(run / f"{stem}_predictions.csv"),
        )
        assert measures["accuracy"] == pytest.approx(predictions["correct"].mean())
    assert len(pd.read_csv(run / "test_openings.csv")) <= 2


def test_a_search_killed_with_its_kernel_goes_on_and_ends_with_the_asked_trials(places):
    """SIGKILL for the command and its kernel, in the middle of the search; then the same command again."""
    run = places / "output" / "small"
    settings = ["--data", "sample", "--set", *SMALL, "max_trials=3"]
    for step in STEPS[:2]:
        subprocess.run(step_command(run, step, *settings), cwd=PROJECT, check=True)
    before = (run / "features.csv").read_bytes()
    killed = psutil.Popen(step_command(run, "03_tuning", *settings), cwd=PROJECT)
    finished = "search/*/trial_*/record.json"
    deadline = time.monotonic() + 120
    while not list(run.glob(finished)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert list(run.glob(finished)), "a trial has ended"
    for process in [killed, *killed.children(recursive=True)]:  # the kernel is a child in its own session
        process.kill()
    killed.wait()
    assert not (run / "03_tuning.ipynb").exists()
    for step in STEPS[2:]:
        subprocess.run(step_command(run, step, *settings), cwd=PROJECT, check=True)
    trials = pd.read_csv(run / "trials.csv")
    assert trials["trial"].tolist() == [1, 2, 3] and (trials["status"] == "completed").all()
    assert (run / "features.csv").read_bytes() == before


SPACE = '''

def mine(hp: keras_tuner.HyperParameters, **settings) -> keras.Model:
    """Returns a small network of a space whose two branches have a rate each."""
    layers = [keras.Input((settings["image_size"],) * 2 + (3,)), keras.layers.Rescaling(1 / 128)]
    for place in range(hp.Int("depth", 1, 2)):
        layers.append(keras.layers.Conv2D(hp.Int(f"filters_{place}", 4, 8), 3, strides=2, activation="relu"))
    layers += [keras.layers.Flatten(), keras.layers.Dense(1, "sigmoid", dtype="float32")]
    optimizer = hp.Choice("optimizer", ["SGD", "Adam"])
    for name, low, high in (("SGD", 1e-3, 1e-1), ("Adam", 1e-4, 1e-2)):
        if optimizer == name:
            with hp.conditional_scope("optimizer", [name]):
                rate = hp.Float("rate", low, high, sampling="log")
    model = keras.Sequential(layers)
    model.compile(getattr(keras.optimizers, optimizer)(rate), "binary_crossentropy", metrics=["accuracy"])
    return model


SPACES["mine"] = Space(mine, as_settled, ())
'''


def test_a_space_of_ones_own_runs_to_a_measured_network(places):
    """In a copy of the project, as a fork is, changed as the README says."""
    fork, run = places / "fork", places / "output" / "small"
    for folder in ("src", "notebooks"):
        shutil.copytree(PROJECT / folder, fork / folder)
    with (fork / "src" / "spaces.py").open("a") as file:
        file.write(SPACE)
    allowed = fork / "src" / "running" / "allowed.py"
    allowed.write_text(
        allowed.read_text().replace('"described", "modern"]', '"described", "modern", "mine"]')
    )
    settings = ["--profile", "sample", "--data", "sample", "--set", *SMALL, "space=mine", "max_trials=5"]
    for step in STEPS:
        subprocess.run(step_command(run, step, *settings), cwd=fork, check=True)
    trials = pd.read_csv(run / "trials.csv")
    assert set(trials["optimizer"]) == {"SGD", "Adam"} and (trials["status"] == "completed").all()
    assert read_json(run / "results" / "model.json")["result"] == "mine"


def test_one_session_on_kaggle_reads_its_zips_and_writes_to_working_alone(places):
    """`00_run_all`, with the roots moved to an imitation of Kaggle's: zips in a read-only input."""
    source = places / "kaggle" / "input" / "dogs-vs-cats"
    source.mkdir(parents=True)
    (places / "kaggle" / "working").mkdir()
    drawn = draw_sample(places / "drawn", number=120, traps=False)
    with (
        zipfile.ZipFile(source / "train.zip", "w") as train,
        zipfile.ZipFile(source / "test1.zip", "w") as test,
    ):
        for number, picture in enumerate(sorted(drawn.iterdir())):
            train.write(picture, f"train/{picture.name}")
            test.write(picture, f"test1/{number}.jpg")
    before = {path: path.stat().st_mtime_ns for path in source.iterdir()}
    source.chmod(0o555)
    for variable in ("OUTPUT_ROOT", "DATA_ROOT"):
        os.environ.pop(variable)  # the fixture puts them back: here Kaggle's own places count
    try:
        papermill.execute_notebook(
            str(PROJECT / "notebooks" / "00_run_all.ipynb"),
            str(places / "kaggle" / "working" / "executed.ipynb"),
            {"settings": " ".join(SMALL), "submission": True},
            kernel_name="python3",
            cwd=str(PROJECT / "notebooks"),
            progress_bar=False,
        )
    finally:
        source.chmod(0o755)
    run = places / "kaggle" / "working" / "tuning_output" / "gpu-auto"
    assert read_json(run / "metrics.json")["n"] == 24
    assert (run / "model.keras").exists() and (run / "05_evaluation.ipynb").exists()
    submission = pd.read_csv(run / "submission.csv")
    assert list(submission) == ["id", "label"] and submission["id"].tolist() == list(range(120))
    assert {path: path.stat().st_mtime_ns for path in source.iterdir()} == before
    assert {path.name for path in (places / "kaggle" / "working").iterdir()} == {
        "executed.ipynb",
        "tuning_output",
    }
    shutil.rmtree(places / "kaggle" / "temp")  # Kaggle's scratch: nothing of the run needs it afterwards
