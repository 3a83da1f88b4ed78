"""Several processes that search together: their GPUs or cores, their lines, their restarts, their speed."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from src import workers
from src.workers import Worker, main, worker_environment

TESTS = Path(__file__).resolve().parent
SLEEPY = """
import sys, time
from pathlib import Path
from pretended_search import Training, search
search(Path(sys.argv[1]), Training(lambda values, epoch: time.sleep(0.5)), max_trials=1, pruner="none")
print("ready", flush=True)
sys.stdin.readline()
search(Path(sys.argv[1]), Training(lambda values, epoch: time.sleep(0.5)), max_trials=13, pruner="none")
"""


def test_each_process_gets_its_gpu_or_its_share_of_the_cores(monkeypatch):
    monkeypatch.setattr(workers, "count_gpus", lambda: 2)
    seen = [worker_environment(number, 3)["CUDA_VISIBLE_DEVICES"] for number in range(3)]
    assert seen == ["0", "1", "0"]
    monkeypatch.setattr(workers, "count_gpus", lambda: 0)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert worker_environment(1, 3)["OMP_NUM_THREADS"] == "2"


def wait(worker: Worker) -> None:
    deadline = time.monotonic() + 30
    while not worker.is_over():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_process_that_dies_is_started_again_and_its_lines_have_its_name(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(workers, "PAUSE", 0.1)
    code = f"import pathlib, sys; mark = pathlib.Path({str(tmp_path / 'mark')!r})\n"
    code += "print('again' if mark.exists() else 'first'); first = not mark.exists(); mark.touch()\n"
    code += "sys.exit(3 if first else 0)"
    worker = Worker([sys.executable, "-c", code], "host-1", {})
    wait(worker)
    time.sleep(0.2)
    printed = capsys.readouterr().out
    assert (
        "host-1: first" in printed and "host-1: ended with code 3" in printed and "host-1: again" in printed
    )
    assert (worker.restarts, worker.process.returncode) == (1, 0)


def test_one_that_always_dies_is_given_up(monkeypatch):
    monkeypatch.setattr(workers, "PAUSE", 0.0)
    monkeypatch.setattr(workers, "RESTARTS", 2)
    worker = Worker([sys.executable, "-c", "raise SystemExit(5)"], "host-1", {})
    wait(worker)
    assert (worker.restarts, worker.process.returncode) == (2, 5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--number", "0"], "--number is 0"), (["--set", "max_trails=3"], "no notebook has a parameter")],
)
def test_bad_settings_are_named_before_anything_starts(arguments, words, tmp_path, capsys):
    assert main([str(tmp_path / "run"), *arguments]) == 1
    assert words in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_are_nearly_twice_as_fast_where_trials_only_wait(tmp_path):
    """12 trials of 6 epochs of half a second, in one process and in two."""

    def seconds(name: str, processes: int) -> float:
        environment = {**workers.os.environ, "PYTHONPATH": f"{TESTS.parent}:{TESTS}", "TQDM_DISABLE": "1"}
        command = [sys.executable, "-c", SLEEPY, tmp_path / name]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
        started = [subprocess.Popen(command, **pipes) for _ in range(processes)]
        for process in started:
            assert process.stdout.readline() == "ready\n"
        clock = time.monotonic()
        for process in started:
            process.stdin.write("\n")
            process.stdin.flush()
        assert [process.wait() for process in started] == [0] * processes
        return time.monotonic() - clock

    alone, together = seconds("alone", 1), seconds("together", 2)
    assert alone / together >= 1.8, (alone, together)
