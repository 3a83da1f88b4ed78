"""The Makefile as the DAG of a run, with a stand-in for Python that notes what it was asked to do."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from src.pipeline import run_name
from src.running import locks
from src.running.stamp import refresh
from src.runs import write_json

PROJECT = Path(__file__).resolve().parents[1]
STEPS = ["01_data", "02_generators", "03_tuning", "04_training", "05_evaluation"]
STAND_IN = """#!/bin/sh
[ "$2" = src.running.stamp ] && exec {executable} "$@"
printf '%s¦' "$@" >> "{log}"; echo >> "{log}"
[ "$4" = "$FAIL" ] && exit 1
[ "$4" = summary ] || touch "$3/$4.ipynb"
"""

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")


@pytest.fixture
def make(tmp_path):
    """A function that runs make and returns the steps that were asked for, in order."""
    log, python = tmp_path / "log", tmp_path / "python"
    python.write_text(STAND_IN.format(log=log, executable=sys.executable))
    python.chmod(0o755)

    def run(*arguments: str, **environment: str) -> list[list[str]]:
        log.write_text("")
        command = ["make", "-C", PROJECT, *arguments, f"PYTHON={python}", "INSTALLED="]
        places = {"OUTPUT_ROOT": str(tmp_path / "output")}
        subprocess.run(command, env={**os.environ, **places, **environment}, capture_output=True)
        return [line.split("¦")[2:-1] for line in log.read_text().splitlines()]

    return run


def steps(calls: list[list[str]]) -> list[str]:
    return [call[1] for call in calls]


def test_the_notebooks_run_in_order_and_a_second_time_nothing_does(make):
    assert steps(make("run")) == [*STEPS, "summary"]
    assert steps(make("run")) == ["summary"]


def test_a_failed_run_goes_on_at_the_step_that_failed(make):
    assert steps(make("run", FAIL="03_tuning")) == STEPS[:3]
    assert steps(make("run")) == [*STEPS[2:], "summary"]


def test_other_data_or_settings_under_the_same_name_run_everything_again(make):
    assert steps(make("run", "RUN=mine")) == [*STEPS, "summary"]
    assert steps(make("run", "RUN=mine", "SET=epochs=2")) == [*STEPS, "summary"]
    assert steps(make("run", "RUN=mine", "SET=epochs=2")) == ["summary"]


@pytest.mark.parametrize("changed", ["src/training.py", "src/networks/residual.py", "src/images/growth.py"])
def test_changed_code_runs_everything_again_wherever_it_stands(make, changed):
    make("run")
    assert steps(make("run", f"--what-if={changed}")) == [*STEPS, "summary"]


def test_a_path_with_blanks_arrives_whole_and_names_the_run(make, tmp_path):
    data = tmp_path / "my pets" / "cats and dogs.zip"
    data.parent.mkdir()
    data.touch()
    call = make("run", "PROFILE=cpu", f"DATA={data}", "SET=epochs=2 seed=3")[0]
    folder = str(tmp_path / "output" / "cpu-cats_and_dogs")
    wanted = [folder, "01_data", "--profile", "cpu", "--data", str(data), "--set", "epochs=2 seed=3"]
    assert call == [*wanted, "--settings", f"cpu {data} epochs=2 seed=3"]


@pytest.mark.parametrize("name", ["猫狗", "Größe 2 (neu).zip", "a+b=c,~d%.x"])
def test_make_names_a_run_as_the_pipeline_does(name, make, tmp_path):
    (tmp_path / name).mkdir()
    call = make("run", "PROFILE=cpu", f"DATA={tmp_path / name}")[0]
    assert call[0] == str(tmp_path / "output" / run_name("cpu", name))


def test_a_relative_path_is_made_absolute_and_a_word_stays_a_word(make):
    assert make("run", "PROFILE=cpu", "DATA=tests")[0][5] == str(PROJECT / "tests")
    assert make("run", "PROFILE=gpu")[0][3:6] == ["gpu", "--data", "auto"]
    assert make("run")[0][3:6] == ["sample", "--data", "sample"]


def test_transfer_runs_its_notebook_alone_and_only_on_a_finished_run(make):
    assert make("transfer") == []
    make("run")
    call = make("transfer", "SET=backbone=MobileNetV2 weights=none")[0]
    assert call[1:] == ["06_transfer", *call[2:6], "--set", "backbone=MobileNetV2 weights=none"]
    assert steps(make("run")) == ["summary"], "its settings are no reason to run the others again"


def test_the_submission_needs_a_finished_run_and_never_trains_again(make):
    assert make("submission") == []
    make("run", "SET=epochs=2")
    assert steps(make("submission")) == ["07_submission"], "also without the run's settings"
    settings = "pictures=/a/b.zip edition=labels model=transfer.keras clip=0.01"
    again = make("submission", f"SET={settings}")
    assert steps(again) == ["07_submission"] and again[0][6:] == ["--set", settings]
    assert steps(make("run", "SET=epochs=2")) == ["summary"]


@pytest.mark.parametrize("data", ["folder", "auto", "~/raw"])  # a tilde that the shell has left as it is
def test_other_pictures_in_the_same_place_run_everything_again(data, make, tmp_path):
    place = {"DATA_ROOT": str(tmp_path), "HOME": str(tmp_path)}
    picture = tmp_path / "raw" / "Cat" / "1.jpg"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"one")
    words = ["PROFILE=cpu", f"DATA={picture.parents[1] if data == 'folder' else data}"]
    assert steps(make("run", *words, **place)) == [*STEPS, "summary"]
    assert steps(make("run", *words, **place)) == ["summary"]
    picture.with_name("2.jpg").write_bytes(b"two")
    assert steps(make("run", *words, **place)) == [*STEPS, "summary"]
    os.utime(picture, (1, 1))  # another picture of the same name and size, older than the run
    assert steps(make("run", *words, **place)) == [*STEPS, "summary"]
    assert steps(make("run", *words, **place)) == ["summary"]


def test_a_second_command_with_other_settings_leaves_a_run_at_work_alone(make, tmp_path):
    """Its settings would stand beside what the first one is making, which would then count as theirs."""
    run = tmp_path / "output" / "mine"
    make("run", "RUN=mine", FAIL="01_data")
    said = (run / "parameters.txt").read_text()
    with locks.hold(run):
        assert make("run", "RUN=mine", "SET=epochs=2") == []
    assert (run / "parameters.txt").read_text() == said
    assert steps(make("run", "RUN=mine", "SET=epochs=2")) == [*STEPS, "summary"]


@pytest.mark.parametrize("lost", ["pictures", "cache/1.npy"])
def test_a_run_whose_pictures_or_cache_were_deleted_since_runs_again(lost, make, tmp_path):
    place, run = {"DATA_ROOT": str(tmp_path)}, tmp_path / "output" / "mine"
    for folder in ("pictures", "cache/1.npy", "cache/2.npy"):
        (tmp_path / folder).mkdir(parents=True)
    make("run", "RUN=mine", **place)
    write_json(run / "data.json", {"folder": str(tmp_path / "pictures")})
    write_json(run / "input.json", {"cache": "1.npy"})
    assert steps(make("run", "RUN=mine", **place)) == ["summary"]
    (tmp_path / lost).rmdir()
    assert steps(make("run", "RUN=mine", **place)) == [*STEPS, "summary"]


def test_a_run_whose_pictures_were_deleted_before_notebook_02_has_read_them_begins_again(make, tmp_path):
    """By `make clean`, say: notebook 02 would ask for them each time."""
    run = tmp_path / "output" / "mine"
    (tmp_path / "pictures").mkdir()
    make("run", "RUN=mine", FAIL="02_generators")
    write_json(run / "data.json", {"folder": str(tmp_path / "pictures")})
    assert steps(make("run", "RUN=mine", FAIL="02_generators")) == ["02_generators"]
    (tmp_path / "pictures").rmdir()
    assert steps(make("run", "RUN=mine")) == [*STEPS, "summary"]


def test_a_whole_run_is_not_replaced_by_one_of_other_pictures_of_the_same_name(make, tmp_path):
    first, second = (tmp_path / name / "pets" for name in ("a", "b"))
    for data in (first, second):
        data.mkdir(parents=True)
    assert steps(make("run", f"DATA={first}")) == [*STEPS, "summary"]
    assert make("run", f"DATA={second}") == []
    with pytest.raises(RuntimeError, match=f"holds a whole run of other pictures .*{first} .*give RUN=name"):
        refresh(tmp_path / "output" / "sample-pets" / "parameters.txt", str(second), f"sample {second} ")
    assert steps(make("run", f"DATA={first}", "SET=epochs=2")) == [*STEPS, "summary"]
    assert steps(make("run", f"DATA={second}", "RUN=others")) == [*STEPS, "summary"]
    (tmp_path / "output" / "sample-pets" / "parameters.txt").unlink()
    assert steps(make("run", f"DATA={second}")) == [*STEPS, "summary"]


def test_what_a_link_leads_to_is_looked_at(make, tmp_path):
    zipped, link = tmp_path / "a.zip", tmp_path / "link.zip"
    zipped.write_bytes(b"one")
    link.symlink_to(zipped)
    assert steps(make("run", f"DATA={link}")) == [*STEPS, "summary"]
    assert steps(make("run", f"DATA={link}")) == ["summary"]
    zipped.write_bytes(b"another")
    assert steps(make("run", f"DATA={link}")) == [*STEPS, "summary"]
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "cat.0.jpg").symlink_to(zipped)
    (tmp_path / "links" / "cat.1.jpg").symlink_to(tmp_path / "nowhere")
    assert steps(make("run", f"DATA={tmp_path / 'links'}")) == [*STEPS, "summary"]
    zipped.write_bytes(b"yet another")
    assert steps(make("run", f"DATA={tmp_path / 'links'}")) == [*STEPS, "summary"]


@pytest.mark.parametrize(
    "setting", [r"group_pattern='(farm|person) [0-9]+\.jpg$' seed=7", "group_pattern=a|b;c $(d) `e` \\w*"]
)
def test_settings_arrive_as_they_were_typed_and_places_with_a_tilde_too(setting, make, tmp_path):
    call = make("run", "RUN=mine", f"SET={setting}", OUTPUT_ROOT="~/out", HOME=str(tmp_path))[0]
    assert call[0] == str(tmp_path / "out" / "mine")
    assert call[6:] == ["--set", setting, "--settings", f"sample sample {setting}"]


def test_a_dollar_in_the_name_of_the_data_stays(make, tmp_path):
    (tmp_path / "my $pets").mkdir()
    call = make("run", f"DATA={tmp_path / 'my $pets'}")[0]
    assert call[5] == str(tmp_path / "my $pets") and call[0].endswith("/sample-my__pets")


@pytest.mark.parametrize("words", [["RUN=a b"], ["DATA=a'b"]])
def test_a_name_that_make_cannot_hold_is_refused_in_one_line(words, tmp_path):
    places = {**os.environ, "OUTPUT_ROOT": str(tmp_path)}
    told = subprocess.run(["make", "-C", PROJECT, "run", *words], env=places, capture_output=True, text=True)
    assert told.returncode and re.search(r"must be without (blanks|apostrophes): ", told.stderr)
    assert not list(tmp_path.iterdir())


def test_help_names_every_target():
    printed = subprocess.run(["make", "-C", PROJECT, "help"], capture_output=True, text=True).stdout
    targets = ["help", "install", "run", "transfer", "submission", "test", "test-fast", "test-slow"]
    targets += ["lab", "clean"]
    for target in targets:
        assert f"\n{target} -- " in "\n" + printed


def test_make_that_is_told_to_end_tells_the_program_which_it_runs(tmp_path):
    """A shell between the two would end alone, and the notebook would go on in the background."""
    python, started, told = (tmp_path / name for name in ("python", "started", "told"))
    trap = f'trap "touch {told}; exit 130" TERM; touch {started}; while :; do sleep 0.1; done'
    python.write_text(f'#!/bin/sh\n[ "$2" = src.running.stamp ] && exec {sys.executable} "$@"\n{trap}\n')
    python.chmod(0o755)
    environment = {**os.environ, "OUTPUT_ROOT": str(tmp_path / "output")}
    command = ["make", "-C", PROJECT, "run", "SET=epochs=2 seed=3", f"PYTHON={python}", "INSTALLED="]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as run:
        until(started.exists)
        run.terminate()
        run.wait()
    until(told.exists)


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)
