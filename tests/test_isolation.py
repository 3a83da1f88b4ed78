"""A trial in a process of its own: crash, hang and the system's killer are rows; memory comes back."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import h5py
import optuna
import psutil
import pytest
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState
from search_in_process import run_search, tables

from src.search import run_search as run_any_search
from src.searches import isolation
from src.searches.callbacks import Deadline
from src.searches.claims import PROCESS, machine
from src.searches.isolation import FULL_DISK, NO_FAULT, IsolatedTrials, cause, end
from src.searches.search_folder import MOST_DEATHS

pytestmark = pytest.mark.long

TESTS = Path(__file__).resolve().parent
QUIET = {"deterministic": "no", "precision": "float32"}


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("crash", "its process was ended by SIGSEGV"),
        pytest.param(
            "hang", "no epoch was over in 0.3 minutes: its process was ended", marks=pytest.mark.slow
        ),
        pytest.param("system", "its process was ended by SIGKILL, as the system", marks=pytest.mark.slow),
        pytest.param("memory", "memory ran out; trained at half the batch size", marks=pytest.mark.slow),
    ],
)
def test_what_ends_a_trials_process_is_a_row_and_the_search_goes_on(trouble, reason, tmp_path, monkeypatch):
    monkeypatch.setenv("TROUBLE", trouble)
    settings = {"seed": 10, "sampler": "random"}
    search = run_search(tmp_path, "optuna", max_trials=1, **settings)  # here, which takes less time
    isolate = {"timeout_minutes": 0.3 if trouble == "hang" else 0, **QUIET}
    left = search.folder / "trial_0001" / "checkpoint.npz"
    left.parent.mkdir()
    left.touch()
    trials = tables(run_search(tmp_path, "optuna", max_trials=3, isolate=isolate, **settings))[0]
    assert not left.exists(), "it takes as much of the disk as the network"
    big = trials["units"] > 8
    assert big.tolist() == [False, True, False], "the seed draws one with trouble between two without"
    assert set(trials[big]["status"]) == {"completed" if trouble == "memory" else "failed"}
    assert trials[big]["reason"].str.startswith(reason).all()
    assert set(trials[~big]["status"]) == {"completed"} and set(trials[~big]["reason"]) == {""}


@pytest.mark.slow
def test_an_isolated_search_gives_the_table_of_one_in_this_process(tmp_path):
    apart = tables(run_search(tmp_path / "apart", "optuna", max_trials=3, isolate=QUIET))[0]
    together = tables(run_search(tmp_path / "together", "optuna", max_trials=3))[0]
    same = ["trial", "units", "rate", "status"]
    assert apart[same].equals(together[same])


def test_a_full_disk_ends_the_search_and_costs_no_trial(tmp_path, monkeypatch):
    monkeypatch.setenv("TROUBLE", "disk")
    monkeypatch.setenv("DISK_FREED", str(tmp_path / "freed"))
    settings = {"seed": 1, "sampler": "random"}
    run_search(tmp_path / "run", "optuna", max_trials=1, **settings)  # in this process: without trouble
    settings |= {"max_trials": 2, "isolate": QUIET}
    with pytest.raises(OSError, match="the disk of .* is full; free some space"):
        run_search(tmp_path / "run", "optuna", **settings)
    (tmp_path / "freed").touch()
    trials = tables(run_search(tmp_path / "run", "optuna", **settings))[0]
    assert trials["status"].tolist() == ["completed"] * 2 and trials["units"].max() > 8


def cut_off() -> None:
    """Raises what Optuna does if its server goes away."""
    cut = sqlalchemy.exc.OperationalError("SELECT", {}, OSError(), connection_invalidated=True)
    raise StorageInternalError("in the commit") from cut


def test_a_trials_process_stops_at_the_moment_at_which_its_search_does_and_outlasts_cuts(monkeypatch):
    moments = []

    def train(deadline):
        moments.append(deadline.moment)
        if len(moments) == 1:
            cut_off()

    search = SimpleNamespace(train_one=train)
    monkeypatch.setattr(isolation, "end_with_parent", lambda: None)
    monkeypatch.setattr(isolation, "settle", lambda *settings: time.sleep(0.05))
    monkeypatch.setattr(isolation, "make_study", lambda seed: search)
    moment = Deadline.after(1).moment
    isolation.train_one({"seed": 1}, moment, "no", "float32", None)
    assert moments == [moment] * 2  # however long the process took to begin


def test_pictures_that_another_split_has_end_the_search_and_its_trials_process(tmp_path, monkeypatch):
    monkeypatch.setenv("TROUBLE", "stale")
    isolate = {"timeout_minutes": 0.5, **QUIET}
    with pytest.raises(OSError, match="StalePictures: notebook 01 has run again"):
        run_search(tmp_path, "optuna", seed=1, max_trials=2, isolate=isolate, sampler="random")


@pytest.mark.slow
def test_a_search_in_which_nothing_works_ends_after_the_first_trials(tmp_path, monkeypatch):
    monkeypatch.setattr("src.searches.trials.FIRST_FAILURES", 2)
    monkeypatch.setenv("TROUBLE", "no such trouble")
    monkeypatch.setenv("KILL_AFTER_EPOCHS", "1")
    with pytest.raises(RuntimeError, match="each of the first 2 trials failed.*SIGKILL"):
        run_search(tmp_path, "optuna", max_trials=9, isolate=QUIET)


@pytest.mark.slow
def test_a_trials_process_ends_with_the_one_that_started_it(tmp_path):
    environment = {**os.environ, "SLEEP": "60", "PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}"}
    code = "import sys; from pathlib import Path; from search_in_process import run_search\n"
    code += "if __name__ == '__main__': run_search(Path(sys.argv[1]), 'optuna', isolate={})"
    script = tmp_path / "search.py"
    script.write_text(code)
    parent = psutil.Popen([sys.executable, script, tmp_path / "run"], env=environment)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("run/*/trial_*")) and time.monotonic() < deadline:
        time.sleep(0.2)
    children = parent.children(recursive=True)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert children and psutil.wait_procs(children, timeout=20)[1] == []


def test_a_stopped_search_says_that_it_resumes_and_lets_go_of_the_file_that_it_was_writing(tmp_path):
    """KerasTuner writes weights in place, and HDF5 opens no file twice; a notebook keeps the last error."""

    def stop(minutes):
        file = h5py.File(tmp_path / "checkpoint.weights.h5", "w")
        raise KeyboardInterrupt(f"somewhere in Keras, writing {file}")

    with pytest.raises(KeyboardInterrupt, match="run again, it resumes") as caught:
        run_any_search(SimpleNamespace(run_for=stop))
    h5py.File(tmp_path / "checkpoint.weights.h5", "w").close()
    assert caught.value.__context__ is None


def test_only_optunas_trials_can_be_isolated_and_only_isolated_ones_timed_out(tmp_path):
    with pytest.raises(ValueError, match="isolate_trials is on.*choose tuner = 'optuna'"):
        run_any_search(object(), isolate_trials=True)
    with pytest.raises(ValueError, match="trial_timeout_minutes needs isolate_trials"):
        run_any_search(object(), trial_timeout_minutes=5)


def test_an_exit_code_is_told_in_words():
    assert cause(-11) == "its process was ended by SIGSEGV"
    assert cause(-9) == "its process was ended by SIGKILL, as the system does when memory runs out"
    assert cause(3) == "its process ended with code 3"


@pytest.mark.slow
def test_forty_isolated_trials_leave_the_memory_as_it_was(tmp_path):
    """The search's own process may grow by at most 200 MB between its third trial and its fortieth."""
    memory, process = [], psutil.Process()

    def train(self, deadline, one=IsolatedTrials.__call__):
        memory.append(process.memory_info().rss / 2**20)
        return one(self, deadline)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(IsolatedTrials, "__call__", train)
        run_search(tmp_path, "optuna", max_trials=40, isolate=QUIET, sampler="random", pruner="none")
    assert len(memory) >= 40 and max(memory[3:]) - memory[3] < 200


@pytest.fixture
def idle(tmp_path, monkeypatch):
    """A search with one trial of two, whose next process ends at once."""
    search = run_search(tmp_path, "optuna", max_trials=1)
    search.claims.max_trials = 2
    # A call without sense, and without a search in its recipe the process imports no Keras.
    monkeypatch.setattr("src.searches.isolation.train_one", subprocess.run)
    search.recipe = {}
    return search


@pytest.mark.parametrize(("hangs", "why"), [(False, "with code 1"), (True, "no epoch was over in 2 minutes")])
def test_a_process_without_a_trial_is_no_row_but_an_error(hangs, why, idle, monkeypatch):
    if hangs:
        monkeypatch.setattr(IsolatedTrials, "_watch", lambda self, process: True)
    with pytest.raises(RuntimeError, match=f"ended before it had a trial.*{why}"):
        idle.run_for(0, IsolatedTrials(idle, 2.0, **QUIET))
    assert [record.status for record in idle.records()] == ["completed"]


def test_ctrl_c_interrupts_an_isolated_trial_and_is_no_death_of_its_process(idle, monkeypatch):
    def press(self, process):
        with monkeypatch.context() as in_it:
            in_it.setattr(os, "getpid", lambda: process.pid)
            self.search.claims.take()
        raise KeyboardInterrupt

    monkeypatch.setattr(IsolatedTrials, "_watch", press)
    for _ in range(MOST_DEATHS + 1):
        with pytest.raises(KeyboardInterrupt):
            idle.run_for(0, IsolatedTrials(idle, **QUIET))
        last = idle.records()[-1]
        assert (last.number, last.status, last.reason) == (2, "interrupted", "stopped by KeyboardInterrupt")


def test_a_server_that_goes_away_while_a_process_is_watched_does_not_end_it(monkeypatch):
    looks, watched = [], SimpleNamespace(is_alive=lambda: len(looks) < 3, join=lambda seconds: None)

    def look(self, process):
        looks.append(process)
        if len(looks) == 1:
            cut_off()

    monkeypatch.setattr(IsolatedTrials, "_progress_of", look)
    assert not IsolatedTrials(None)._watch(watched) and len(looks) == 3


@pytest.mark.parametrize(
    ("minutes", "seconds_an_epoch", "hangs"), [(1.0, 50, False), (1.0, 70, True), (0.0, 70, False)]
)
def test_a_process_hangs_if_an_epoch_takes_longer_than_it_may(minutes, seconds_an_epoch, hangs, monkeypatch):
    clock = [0.0]

    def wait(seconds):
        clock[0] += seconds

    monkeypatch.setattr(isolation, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(IsolatedTrials, "_progress_of", lambda self, process: clock[0] // seconds_an_epoch)
    process = SimpleNamespace(is_alive=lambda: clock[0] < 300, join=wait)
    assert IsolatedTrials(None, minutes)._watch(process) is hangs


def test_no_process_is_started_while_other_processes_train_what_is_left(idle, monkeypatch):
    idle.claims.max_trials = 1
    monkeypatch.setattr(multiprocessing, "get_context", lambda how: pytest.fail("it is started"))
    assert IsolatedTrials(idle)(Deadline.after(0)) is None


def test_the_trial_of_a_process_is_the_last_that_it_has_got(idle, monkeypatch):
    """Not one of an earlier process with its id, or of one on another machine, nor one that was surplus."""
    isolated, process = IsolatedTrials(idle), SimpleNamespace(pid=os.getppid())
    isolated._before = 1
    assert isolated._trial_of(process) is None
    with monkeypatch.context() as in_it:
        in_it.setattr(os, "getpid", lambda: process.pid)
        numbers = [idle.claims.take().number for _ in range(2)]
    mark = {PROCESS: [machine(), process.pid, "surplus"]}
    idle.claims.study.add_trial(optuna.create_trial(state=TrialState.RUNNING, user_attrs=mark))
    assert numbers == [1, 2] and isolated._trial_of(process).number == 2
    monkeypatch.setattr(isolation, "machine", lambda: "another one")
    assert isolated._trial_of(process) is None
    monkeypatch.setattr(isolation, "machine", machine)
    isolated._before = 3
    assert isolated._trial_of(process) is None


def test_a_process_moves_on_when_it_gets_a_trial_and_with_each_epoch(idle, monkeypatch):
    isolated, process, seen = IsolatedTrials(idle), SimpleNamespace(pid=os.getppid()), []
    isolated._before = 1
    seen.append(isolated._progress_of(process))
    with monkeypatch.context() as in_it:
        in_it.setattr(os, "getpid", lambda: process.pid)
        idle.claims.take()
    seen.append(isolated._progress_of(process))
    history = idle.attempts.folder_of(1) / "history.csv"
    history.parent.mkdir()
    for moment in (1, 2):
        history.touch()
        os.utime(history, (moment, moment))
        seen.append(isolated._progress_of(process))
    assert len(set(seen)) == 4


@pytest.mark.parametrize("heeds", ["terminate", "kill"])
def test_a_process_that_does_not_end_when_asked_to_is_killed(heeds):
    asked, waited = [], []
    ways = {way: lambda way=way: asked.append(way) for way in ("terminate", "kill")}
    end(SimpleNamespace(is_alive=lambda: heeds not in asked, join=waited.append, **ways))
    assert asked == ["terminate", "kill"][: len(waited)] and asked[-1] == heeds


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (PermissionError(13, "Permission denied", "x.json"), NO_FAULT, "PermissionError: .*x.json"),
        (OSError(28, "No space left on device"), FULL_DISK, "No space left"),
        (StorageInternalError("database is locked"), NO_FAULT, "database is locked"),
    ],
    ids=["forbidden", "full", "storage"],
)
def test_what_keeps_a_process_from_its_trial_is_told(error, code, told, monkeypatch):
    def make_study(**recipe):
        raise error

    monkeypatch.setattr(isolation, "make_study", make_study)
    monkeypatch.setattr(isolation, "settle", lambda *settings: None)
    monkeypatch.setattr(isolation, "end_with_parent", lambda: None)
    reasons, tell = multiprocessing.Pipe(duplex=False)
    with pytest.raises(SystemExit) as caught:
        isolation.train_one({"seed": 1}, 9.0, "no", "float32", tell)
    assert caught.value.code == code and re.search(told, reasons.recv())
