"""Several processes that search together: their GPUs or cores, their lines, their restarts, their speed."""

import collections
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from pretended_search import Training, search

from src import workers
from src.running.locks import check_no_workers
from src.searches.trials import trials_table
from src.workers import Worker, main, worker_environment

pytestmark = pytest.mark.long

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
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(workers, "count_gpus", lambda: 2)
    seen = [worker_environment(number, 3)["CUDA_VISIBLE_DEVICES"] for number in range(3)]
    assert seen == ["0", "1", "0"]
    assert worker_environment(0, 3)["PYTHONUNBUFFERED"], "lines would come late"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-5")
    seen = [worker_environment(number, 3)["CUDA_VISIBLE_DEVICES"] for number in range(3)]
    assert seen == ["2", "GPU-5", "2"]
    for none in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", none)
        assert "CUDA_VISIBLE_DEVICES" not in worker_environment(0, 3)  # as it is: none
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(workers, "count_gpus", lambda: 0)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert worker_environment(1, 3)["OMP_NUM_THREADS"] == "2"
    assert worker_environment(1, 9)["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert worker_environment(1, 3)["OMP_NUM_THREADS"] == "5", "as the user has set it"


def wait(worker: Worker) -> None:
    deadline = time.monotonic() + 30
    while not worker.is_over():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_process_that_dies_is_started_again_and_its_lines_have_its_name(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(workers, "PAUSE", 0.1)
    code = f"import pathlib, sys; mark = pathlib.Path({str(tmp_path / 'mark')!r})\n"
    code += "first = not mark.exists(); mark.touch(); import os\n"
    code += "print('first' if first else os.environ['STORAGE_URL'] + os.environ['OWN'], file=sys.stderr)\n"
    code += "sys.exit(3 if first else 0)"
    monkeypatch.setenv("STORAGE_URL", "aga")
    worker = Worker([sys.executable, "-c", code], "host-1", {"OWN": "in"})
    wait(worker)
    printed, deadline = "", time.monotonic() + 30
    while "host-1: again" not in printed:  # a thread passes the lines on
        assert time.monotonic() < deadline, printed
        time.sleep(0.02)
        printed += capsys.readouterr().out
    assert "host-1: first" in printed and "host-1: ended with code 3" in printed
    assert (worker.restarts, worker.process.returncode) == (1, 0)


def leave(reader: str, monkeypatch) -> None:
    """Makes every write to stdout fail from now on if the reader is `gone`."""

    def write(text):
        raise BrokenPipeError

    if reader == "gone":
        monkeypatch.setattr(sys.stdout, "write", write)


@pytest.mark.parametrize("reader", ["gone", "there"])
def test_lines_that_nobody_reads_or_nobody_can_do_not_hold_a_process_up(reader, monkeypatch, capsys):
    leave(reader, monkeypatch)
    code = r"import sys; sys.stdout.buffer.write(b'\xff\n' * 200_000)"  # more than a pipe takes
    worker = Worker([sys.executable, "-c", code], "host-1", {})
    wait(worker)
    assert worker.process.returncode == 0


def test_a_process_that_cannot_be_started_leaves_none_behind(tmp_path, monkeypatch):
    started = []

    class Second(Worker):
        def __init__(self, command, name, environment):
            if started:
                raise BlockingIOError(11, "Resource temporarily unavailable")
            super().__init__([sys.executable, "-c", "import time; time.sleep(60)"], name, environment)
            started.append(self)

    monkeypatch.setattr(workers, "Worker", Second)
    with pytest.raises(BlockingIOError):
        workers.run_workers([], tmp_path, 2)
    assert started[0].process.wait(timeout=20) != 0


@pytest.mark.parametrize("reader", ["gone", "there"])
def test_one_that_always_dies_is_given_up(reader, monkeypatch, capsys):
    leave(reader, monkeypatch)
    monkeypatch.setattr(workers, "PAUSE", 0.0)
    monkeypatch.setattr(workers, "RESTARTS", 2)
    worker = Worker([sys.executable, "-c", "raise SystemExit(5)"], "host-1", {})
    wait(worker)
    assert (worker.restarts, worker.process.returncode) == (2, 5)
    assert capsys.readouterr().out.count("ended with code 5; started again") == 2 * (reader == "there")


def test_a_process_that_dies_is_not_started_again_at_once(monkeypatch):
    worker = Worker([sys.executable, "-c", "raise SystemExit(5)"], "host-1", {})
    worker.process.wait()
    assert not worker.is_over() and not worker.is_over() and worker.restarts == 0
    later = time.monotonic() + workers.PAUSE
    monkeypatch.setattr(workers, "time", SimpleNamespace(monotonic=lambda: later))
    assert not worker.is_over() and worker.restarts == 1
    worker.process.wait()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--number", "0"], "--number is 0"),
        (["--set", "max_trails=3"], "no notebook has a parameter"),
        (["--profile", "published"], "tuner is 'random', which one process runs alone"),
    ],
)
def test_bad_settings_are_named_before_anything_starts(arguments, words, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OUTPUT_ROOT", str(tmp_path))
    assert main([str(tmp_path / "run"), *arguments]) == 1
    assert words in capsys.readouterr().err
    assert main([str(tmp_path / "elsewhere" / "run"), "--profile", "sample"]) == 1
    assert f"is not in {tmp_path}" in capsys.readouterr().err


@pytest.mark.parametrize(("codes", "wanted"), [([0, 0], 0), ([0, 3], 1)])
def test_each_process_searches_with_what_the_command_was_given(codes, wanted, tmp_path, monkeypatch):
    started, searched, left = [], [], []

    class Noted:
        def __init__(self, command, name, environment):
            started.append(command)
            code, self.looks = codes[len(started) - 1], 3 * len(started)
            self.process = SimpleNamespace(terminate=lambda: left.append(self.looks), wait=lambda: code)

        def is_over(self) -> bool:
            self.looks -= self.looks > 0
            return not self.looks

    monkeypatch.setenv("OUTPUT_ROOT", str(tmp_path))
    monkeypatch.setattr(workers, "Worker", Noted)
    asked = ["--profile", "sample", "--data", "x.zip", "--set", "seed=7 max_trials=9", "pruner=none"]
    monkeypatch.setattr(workers.time, "sleep", lambda seconds: None)
    assert main([str(tmp_path / "run"), "--number", "2", *asked]) == wanted
    assert left == [0, 0], "until the last one is over, none is ended"
    monkeypatch.setattr(workers, "run_notebook", lambda *notebook: searched.append(notebook))
    for command in started:
        assert command[:3] == [sys.executable, "-m", "src.workers"] and main(command[3:]) == 0
    assert len({output for _, output, _ in searched}) == 2, "each has a notebook of its own"
    for name, _, values in searched:
        told = [values[word] for word in ("run", "data", "seed", "max_trials", "pruner", "space")]
        assert name == "03_tuning" and told == [
            "run",
            "x.zip",
            7,
            9,
            "none",
            "described",
        ]  # as in the profile


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


ELSEWHERE = """
import sys, time
from pathlib import Path
import src.searches.claims, src.searches.storage
src.searches.storage.BEAT = src.searches.claims.BEAT = 1
src.searches.storage.SILENCE = 6
from pretended_search import Training, search
search(Path(sys.argv[1]), Training(lambda values, epoch: time.sleep(0.3)), max_trials=6, pruner="none")
"""


@pytest.mark.slow
def test_a_machine_that_is_switched_off_leaves_its_trial_to_another_one(tmp_path, monkeypatch):
    """Two machines of their own names and process numbers; one is killed whole, with all its processes."""
    apart = ["unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]
    if subprocess.run([*apart, "hostname here"], capture_output=True).returncode:
        pytest.skip("only root can pretend another machine")
    monkeypatch.setenv("PYTHONPATH", f"{TESTS.parent}{os.pathsep}{TESTS}")
    log = tmp_path / "epochs.txt"
    monkeypatch.setenv("EPOCH_LOG", str(log))
    script = tmp_path / "worker.py"
    script.write_text(ELSEWHERE)
    machines = [
        subprocess.Popen([*apart, f"hostname {name}; exec {sys.executable} {script} {tmp_path / 'run'}"])
        for name in ("first", "second")
    ]
    deadline = time.monotonic() + 120
    while not log.exists() or len(log.read_text().splitlines()) < 8:
        assert time.monotonic() < deadline, "the workers stand still"
        time.sleep(0.05)
    machines[0].kill()
    assert machines[1].wait(timeout=240) == 0
    found = search(tmp_path / "run", Training(), max_trials=6, pruner="none")
    trials = trials_table(found.records(), "val_accuracy")
    assert (trials["status"] == "completed").all() and (trials["epochs"] == 6).all() and len(trials) == 6
    counts = collections.Counter(log.read_text().splitlines())
    assert len(counts) == 6 * 6 and sum(counts.values()) <= 6 * 6 + 1, (
        "only the epoch of the kill comes twice"
    )


def test_a_worker_holds_a_folder_of_its_own_while_it_searches(tmp_path, monkeypatch):
    def search(name, output, values):
        with pytest.raises(RuntimeError, match=f"is being worked on by process {os.getpid()}"):
            check_no_workers(tmp_path)
        output.touch()

    monkeypatch.setenv("OUTPUT_ROOT", str(tmp_path.parent))
    monkeypatch.setattr(workers, "run_notebook", search)
    assert workers.main([str(tmp_path), "--name", "here.local-1", "--profile", "sample"]) == 0
    assert [path.name for path in (tmp_path / "workers").iterdir()] == ["here.local-1.ipynb"]
    check_no_workers(tmp_path)
