"""Several processes on one search, through a real database server that is restarted under them."""

import collections
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import server
from pretended_search import Training, search
from search_in_process import tables

TESTS = Path(__file__).resolve().parent
TRIALS, EPOCHS = 20, 6

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not server.is_installed(), reason="PostgreSQL is not installed"),
]

WORKER = f"""
import sys, time
from pathlib import Path
from pretended_search import Training, search
search(Path(sys.argv[1]), Training(lambda values, epoch: time.sleep(0.1)), max_trials={TRIALS}, pruner="none")
"""


@pytest.fixture
def database(monkeypatch):
    pytest.importorskip(
        "psycopg", reason="the driver of PostgreSQL is not installed: pip install 'psycopg[binary]'"
    )
    with TemporaryDirectory() as folder:
        found = server.Server(Path(folder))
        found.start()
        monkeypatch.setenv("STORAGE_URL", found.url)
        yield found
        found.stop()


def start_worker(folder: Path) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}", "TQDM_DISABLE": "1"}
    return subprocess.Popen([sys.executable, "-c", WORKER, folder], env=environment)


def begun(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def wait_for(log: Path, epochs: int) -> None:
    deadline = time.monotonic() + 300
    while len(begun(log)) < epochs:
        assert time.monotonic() < deadline, "the workers stand still"
        time.sleep(0.05)


def test_three_workers_one_killed_the_server_restarted_a_fourth_added(database, tmp_path, monkeypatch):
    log = tmp_path / "epochs.txt"
    monkeypatch.setenv("EPOCH_LOG", str(log))
    workers = [start_worker(tmp_path / "run") for _ in range(3)]
    wait_for(log, 15)
    workers[0].send_signal(signal.SIGKILL)
    wait_for(log, 30)
    database.stop()
    time.sleep(3)
    database.start()
    workers.append(start_worker(tmp_path / "run"))
    codes = [worker.wait(timeout=300) for worker in workers]
    assert codes == [-signal.SIGKILL, 0, 0, 0]
    found = search(tmp_path / "run", Training(), max_trials=TRIALS, pruner="none")
    trials, history = tables(found)
    assert trials["trial"].tolist() == list(range(1, TRIALS + 1))
    assert (trials["status"] == "completed").all() and (trials["epochs"] == EPOCHS).all()
    assert len(history) == TRIALS * EPOCHS
    # An epoch is begun twice only where a process was killed in it, or lost its connection.
    counts = collections.Counter(begun(log))
    assert len(counts) == TRIALS * EPOCHS and sum(counts.values()) <= TRIALS * EPOCHS + 4
    written = [path for path in tmp_path.rglob("*") if path.is_file() and "server" not in path.parts]
    assert not any(b"s3cret" in path.read_bytes() for path in written), "the password is written nowhere"
