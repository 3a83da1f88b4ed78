"""One process at a time on a folder."""

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from src.running.locks import fill_folder, hold, take_turns

PROJECT = Path(__file__).resolve().parents[1]
HOLDER = "import sys, time; from pathlib import Path; from src.running.locks import hold\n"
HOLDER += "with hold(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it has not come"
        time.sleep(0.05)


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


def test_it_is_let_go_of_even_if_the_holders_name_cannot_be_deleted(tmp_path, monkeypatch):
    def unlink(self, missing_ok=False):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="Input/output") as kept:
        with hold(tmp_path, wait=0):
            patched.setattr(Path, "unlink", unlink)
    with hold(tmp_path, wait=0):  # while the traceback is alive, as in a notebook
        assert kept


def test_it_is_let_go_of_when_the_block_ends_also_by_an_error(tmp_path):
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), hold(tmp_path / "new", wait=0):
            raise ZeroDivisionError


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_disk_without_locks_is_worked_on_with_a_warning(number, tmp_path, monkeypatch, caplog):
    def refuse(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    with hold(tmp_path):
        assert "is on a disk without file locks" in caplog.text
    fill_folder(tmp_path / "new", lambda part: None)
    assert (tmp_path / "new").is_dir()


def test_a_fault_of_the_disk_is_not_taken_for_a_disk_without_locks(tmp_path, monkeypatch):
    """Two processes would work on the folder."""

    def refuse(*arguments):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("fcntl.flock", refuse)
    for work in (lambda: hold(tmp_path), lambda: take_turns(tmp_path / "new")):
        with pytest.raises(OSError, match="Input/output error"), work():
            pytest.fail("held")


def test_a_filled_folder_stays_as_it_is_and_an_empty_one_is_filled(tmp_path):
    (tmp_path / "new").mkdir()
    fill_folder(tmp_path / "new", lambda part: (part / "whole").touch())
    fill_folder(tmp_path / "new", lambda part: pytest.fail("filled again"))
    assert names(tmp_path / "new") == {"whole"} and names(tmp_path) == {"new"}


def test_any_user_may_take_turns(tmp_path):
    fill_folder(tmp_path / "new", lambda part: None)
    assert (tmp_path / ".new.lock").stat().st_mode & 0o777 == 0o666


def test_a_lock_that_another_user_made_is_named_with_its_remedy(tmp_path, monkeypatch):
    def refuse(self, *arguments, **more):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("src.running.locks.FileLock.acquire", refuse)
    for work in (lambda: hold(tmp_path), lambda: take_turns(tmp_path / "new")):
        with pytest.raises(PermissionError, match=r"lock cannot be locked .*; delete it, or set"), work():
            pass


FILLER = """import sys, time
from pathlib import Path
from src.running.locks import fill_folder

def fill(part):
    (part / "begun").touch()
    time.sleep(float(sys.argv[2]))
    (part / sys.argv[3]).touch()

fill_folder(Path(sys.argv[1]), fill)
"""


def start_filling(folder: Path, seconds: float, name: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", FILLER, folder, str(seconds), name], cwd=PROJECT)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix != ".lock"}


def test_a_folder_that_several_processes_fill_at_once_is_filled_by_one(tmp_path):
    fillers = [start_filling(tmp_path / "new", 0.3, str(number)) for number in range(4)]
    assert [filler.wait() for filler in fillers] == [0] * 4
    assert len(names(tmp_path / "new")) == 2 and names(tmp_path) == {"new"}


def test_a_folder_whose_filling_is_killed_is_absent_and_then_filled_anew(tmp_path):
    killed = start_filling(tmp_path / "new", 60, "never")
    wait_for((tmp_path / ".new.part" / "begun").exists)
    killed.kill()
    killed.wait()
    assert not (tmp_path / "new").exists()
    (tmp_path / ".new.part" / "half").touch()
    fill_folder(tmp_path / "new", lambda part: (part / "whole").touch())
    assert names(tmp_path / "new") == {"whole"} and names(tmp_path) == {"new"}


def test_who_waits_for_another_process_says_so(tmp_path, caplog):
    caplog.set_level("INFO")
    with take_turns(tmp_path / "new"):
        waiting = threading.Thread(target=lambda: fill_folder(tmp_path / "new", lambda part: None))
        waiting.start()
        wait_for(lambda: "is being made by another process: waiting" in caplog.text)
        assert not (tmp_path / "new").exists()
    waiting.join()
    assert (tmp_path / "new").is_dir()
