"""Disk and memory: whether there is enough for what will be written, and how to tell that it ran out."""

import ctypes
import errno
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

MB = 10**6
NEVER = 2**31 - 1  # bytes, the largest value that mallopt takes
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # mallopt(3)
# JAX's and cuBLAS's word for it, and what TensorFlow says of a batch for which a GPU has no room.
NO_MEMORY = ("RESOURCE_EXHAUSTED", "_ALLOC_FAILED", "Dst tensor is not initialized")
REMEDY = "free some space, or move OUTPUT_ROOT or DATA_ROOT to another disk"


def keep_freed_memory() -> bool:
    """Makes this process keep freed memory for reuse; returns whether the C library accepted that.

    On Linux, glibc returns a freed tensor of some megabytes to the system, so each training step has to get
    its hundreds of megabytes anew, page by page. On a virtual machine, where page faults are expensive, that
    took two fifths of a training's time. The process never shrinks again. There is one arena, because threads
    could not reuse what others freed in theirs; threads that already exist keep their own. Elsewhere (other
    systems, musl) nothing happens.

    Source: mallopt(3); tests/benchmarks/process_settings.py measures it.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    options = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: NEVER, M_ARENA_MAX: 1}
    return all([mallopt(option, value) for option, value in options.items()])


def check_space(folder: Path, needed: float, what: str) -> None:
    """Raises OSError, with both figures, if a disk has less free space than something needs.

    Args:
        folder: where it will be written; need not exist yet.
        needed: bytes.
        what: what will be written.
    """
    free = shutil.disk_usage(_existing(folder)).free
    if needed > free:
        raise OSError(
            errno.ENOSPC,
            f"{what} takes about {needed / MB:,.0f} MB in {folder}, "
            f"where {free / MB:,.0f} MB are free; {REMEDY}",
        )


def check_writable(folder: Path) -> None:
    """Raises OSError if a folder, which is created if missing, is not writable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        why = "it is full" if is_full(error) else error.strerror
        remedy = REMEDY if is_full(error) else "set OUTPUT_ROOT (runs) or DATA_ROOT (data) to one that can be"
        raise OSError(error.errno, f"{folder} cannot be written into ({why}); {remedy}") from error


def is_full(error: BaseException) -> bool:
    """Returns whether an error was caused by a full disk, whoever raised it."""
    return any(
        getattr(cause, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        or "No space left on device" in str(cause)
        or "disk is full" in str(cause)  # SQLite's
        for cause in causes(error)
    )


def full_disk(folder: Path) -> OSError:
    """Returns the error that ends a search or training whose disk is full; it can be resumed later."""
    return OSError(
        errno.ENOSPC,
        f"the disk of {folder} is full; {REMEDY}, and run the same again: "
        "it goes on after the last whole epoch",
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error (Python's, TensorFlow's, JAX's or PyTorch's) means that memory ran out.

    TensorFlow raises the same error for a full disk, which only its text tells apart.
    """
    return not is_full(error) and any(
        isinstance(cause, MemoryError)
        or type(cause).__name__ in ("ResourceExhaustedError", "OutOfMemoryError")
        or "out of memory" in str(cause).lower()
        or any(text in str(cause) for text in NO_MEMORY)
        for cause in causes(error)
    )


def training_bytes(parameters: int) -> int:
    """Returns the disk space that training a network with this many parameters needs, in bytes.

    The checkpoint holds the weights, two optimizer moments and early stopping's best weights, 4 bytes per
    parameter each, and exists twice while it is being replaced; the weights kept at the end take less.
    """
    return 2 * 4 * 4 * parameters


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an error, then its causes, one after the other; one that is its own cause comes once."""
    seen = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__


def _existing(folder: Path) -> Path:
    folder = Path(os.path.abspath(folder))
    while not folder.exists():
        folder = folder.parent
    return folder


def count_gpus() -> int:
    """Returns how many NVIDIA GPUs this machine lists."""
    if not shutil.which("nvidia-smi"):
        return 0
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout
    return sum(line.startswith("GPU ") for line in listed.splitlines())
