"""One process at a time on a folder."""

import subprocess
import sys
from pathlib import Path

import pytest

from src.running.locks import hold

PROJECT = Path(__file__).resolve().parents[1]
HOLDER = "import sys, time; from pathlib import Path; from src.running.locks import hold\n"
HOLDER += "with hold(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"


def test_a_second_process_is_refused_by_name_and_a_dead_one_holds_nothing(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], cwd=PROJECT, stdout=subprocess.PIPE)
    assert other.stdout.readline() == b"held\n"
    with pytest.raises(RuntimeError, match=f"{tmp_path} is being worked on by process {other.pid} on "):
        with hold(tmp_path, wait=0.1):
            raise AssertionError("held by two")
    other.kill()
    other.wait()
    with hold(tmp_path, wait=0.1):
        pass


def test_it_is_let_go_of_when_the_block_ends_also_by_an_error(tmp_path):
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), hold(tmp_path / "new", wait=0):
            raise ZeroDivisionError


def test_a_disk_without_locks_is_worked_on_with_a_warning(tmp_path, monkeypatch, caplog):
    def refuse(self, *args, **kwargs):
        raise NotImplementedError("no locks here")

    monkeypatch.setattr("src.running.locks.FileLock.acquire", refuse)
    with hold(tmp_path):
        assert "lies on a disk without locks" in caplog.text
