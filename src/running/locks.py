"""One process at a time per folder or file: the system releases the locks of a process that has died."""

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

WAIT = 10.0  # seconds; the kernel of a killed command notices within one or two that it is orphaned
NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}  # errors from network drives without locks


@contextmanager
def hold(folder: Path, wait: float = WAIT) -> Iterator[None]:
    """Holds a folder for this process until the block ends; a process that dies releases it.

    Args:
        folder: created if missing; gets the files `lock` and `lock.holder`.
        wait: how many seconds another process has to release it.

    Raises:
        RuntimeError: another process holds it; the message says which.
    """
    folder.mkdir(parents=True, exist_ok=True)
    holder = folder / "lock.holder"
    try:
        release = _acquire(folder / "lock", wait)
    except Timeout:
        who = holder.read_text() if holder.exists() else "another process"
        raise RuntimeError(f"{folder} is being worked on by {who}; wait until it ends, or end it") from None
    try:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        holder.write_text(f"process {os.getpid()} on {platform.node()} (since {now})")
        yield
    finally:
        try:
            holder.unlink(missing_ok=True)
        finally:
            release()


def check_no_workers(run: Path) -> None:
    """Raises RuntimeError if a worker is searching in a run, whose pictures must then stay as they are.

    Each worker holds its own folder below the run's `workers`, since several of them share one run.
    """
    for lock in run.glob("workers/*/lock"):
        with hold(lock.parent, wait=0):
            pass
        shutil.rmtree(lock.parent)  # its worker is dead


@contextmanager
def take_turns(place: Path) -> Iterator[None]:
    """Lets one process at a time create a file or folder; others wait, and must then check whether it exists.

    Args:
        place: what is created; its folder gets a hidden lock file.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    file = place.with_name(f".{place.name}.lock")
    try:
        release = _acquire(file, 0)
    except Timeout:
        logger.info("%s is being made by another process: waiting for it", place)
        release = _acquire(file, -1)  # without a limit
    try:
        yield
    finally:
        release()


def fill_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Creates a folder completely or not at all, by one process at a time; a filled folder stays as it is.

    Args:
        folder: its path; until it is complete it has a hidden name. What a killed process left is removed.
        fill: called with the hidden folder, which is empty.
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
                folder.rmdir()  # it is empty; Windows cannot rename onto it
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _acquire(file: Path, seconds: float) -> Callable[[], None]:
    """Locks a file, and returns the function that unlocks it; on a disk without locks it only warns.

    Raises:
        Timeout: another process still has it after that many seconds.
    """
    settings = {"mode": 0o666}  # any user of the folder may take the lock
    try:
        # By default it falls back to a marker file, which a dead process on another machine holds forever.
        lock = FileLock(file, fallback_to_soft=False, **settings)
    except TypeError:  # from a filelock version without marker files
        lock = FileLock(file, **settings)
    try:
        lock.acquire(timeout=seconds)
        return lock.release
    except Timeout:
        raise
    except PermissionError as error:
        raise PermissionError(
            error.errno, f"{file} cannot be locked ({error.strerror}): another user's; delete it, or set "
            "OUTPUT_ROOT (runs) or DATA_ROOT (data) to a folder of your own",
        ) from error  # fmt: skip
    except (NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in NO_LOCKS:
            raise
        logger.warning(
            "%s is on a disk without file locks: make sure that only one process works there", file.parent
        )
        return lambda: None
