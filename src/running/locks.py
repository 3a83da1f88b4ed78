"""One process at a time on a folder: a lock that the system takes back from a process that has died."""

import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

logger = logging.getLogger(__name__)

WAIT = 10.0  # seconds: the kernel of a killed command sees within one or two that it is alone


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
    lock, holder = FileLock(folder / "lock", timeout=wait), folder / "lock.holder"
    try:
        lock.acquire()
    except Timeout:
        who = holder.read_text() if holder.exists() else "another process"
        raise RuntimeError(f"{folder} is being worked on by {who}; wait until it ends, or end it") from None
    except NotImplementedError:  # some network drives have no locks
        logger.warning("%s lies on a disk without locks: see to it that one process works on it", folder)
        yield
        return
    try:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        holder.write_text(f"process {os.getpid()} on {platform.node()} (since {now})")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()
