"""One process at a time on a folder or file: the system takes a lock back from a process that has died."""

import errno
import logging
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

logger = logging.getLogger(__name__)

WAIT = 10.0  # seconds: the kernel of a killed command sees within one or two that it is alone
NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}  # what network drives without locks say


@contextmanager
def hold(folder: Path, wait: float = WAIT) -> Iterator[None]:
    """Holds a folder for this process until the block ends; who dies holds it no longer.

    Args:
        folder: made where it is missing; gets the files `lock` and `lock.holder`.
        wait: seconds for another process to let go of it.

    Raises:
        RuntimeError: another process holds it; the text says which.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock, holder = _make_lock(folder / "lock"), folder / "lock.holder"
    try:
        lock.acquire(timeout=wait)
    except Timeout:
        who = holder.read_text() if holder.exists() else "another process"
        raise RuntimeError(f"{folder} is being worked on by {who}; wait until it ends, or end it") from None
    except (NotImplementedError, OSError) as error:
        _refuse_all_but_missing_locks(error, folder / "lock")
        yield
        return
    try:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        holder.write_text(f"process {os.getpid()} on {platform.node()} (since {now})")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def check_no_workers(run: Path) -> None:
    """Raises RuntimeError where a worker searches in a run, whose pictures must then stay as they are.

    Each holds a folder of its own below the run's `workers`, for several of them share one run.
    """
    for lock in run.glob("workers/*/lock"):
        with hold(lock.parent, wait=0):
            pass
        shutil.rmtree(lock.parent)  # its worker is dead


@contextmanager
def take_turns(place: Path) -> Iterator[None]:
    """Lets one process at a time make a file or folder; the others wait, and look again whether it is there.

    Args:
        place: what is made; its folder gets a hidden lock file.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    file = place.with_name(f".{place.name}.lock")
    lock = _make_lock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.info("%s is being made by another process: waiting for it", place)
        lock.acquire()
    except (NotImplementedError, OSError) as error:
        _refuse_all_but_missing_locks(error, file)
        yield
        return
    try:
        yield
    finally:
        lock.release()


def fill_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Makes a folder whole or not at all, by one process at a time; one that is filled stays as it is.

    Args:
        folder: its name; until it is whole it has a hidden one, under which what a kill has left is cleared.
        fill: is given the hidden folder, empty.
    """
    part = folder.with_name(f".{folder.name}.part")
    with take_turns(folder):
        if folder.is_dir() and any(folder.iterdir()):  # another process was faster
            return
        shutil.rmtree(part, ignore_errors=True)
        try:
            part.mkdir()
            fill(part)
            if folder.is_dir():
                folder.rmdir()  # it is empty; Windows renames onto nothing
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _make_lock(file: Path) -> FileLock:
    """Returns a lock that any user of the folder may take."""
    try:
        # By itself it would turn to a marker file, which a dead process of another machine holds for ever.
        return FileLock(file, mode=0o666, fallback_to_soft=False)
    except TypeError:  # of a filelock that knows no marker files
        return FileLock(file, mode=0o666)


def _refuse_all_but_missing_locks(error: Exception, file: Path) -> None:
    if isinstance(error, PermissionError):
        raise PermissionError(
            error.errno, f"{file} cannot be locked ({error.strerror}): another user's; delete it, or set "
            "OUTPUT_ROOT (runs) or DATA_ROOT (data) to a folder of your own",
        ) from error  # fmt: skip
    if not isinstance(error, NotImplementedError) and error.errno not in NO_LOCKS:
        raise error
    logger.warning("%s lies on a disk without locks: see to it that one process works there", file.parent)
