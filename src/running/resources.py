"""Disk and memory: what will be written against what is free, how it looks when they run out."""

import ctypes
import errno
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

MB = 10**6
NEVER = 2**31 - 1  # bytes, the most that an option of mallopt takes
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # mallopt(3)
REMEDY = "free some space, or move OUTPUT_ROOT or DATA_ROOT to another disk"


def keep_freed_memory() -> bool:
    """Lets this process keep the memory that it frees, to be used again; returns whether it can be told so.

    The C library of Linux gives a freed tensor of some megabytes back to the system, so that each step of a
    training gets its hundreds of megabytes anew, page by page. On a virtual machine, where a page is dear,
    that was two fifths of a training's seconds. The process stays as large as it has once been. One arena,
    because what one thread frees another one could not use; threads that are there already keep theirs.
    Elsewhere (other systems, musl) nothing happens.

    Source: mallopt(3); tests/benchmarks/process_settings.py measures it.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    options = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: NEVER, M_ARENA_MAX: 1}
    return all([mallopt(option, value) for option, value in options.items()])


def check_space(folder: Path, needed: float, what: str) -> None:
    """Raises OSError with both figures where a disk has less room than something needs.

    Args:
        folder: where it will be written; it need not be there yet.
        needed: bytes.
        what: is going to be written.
    """
    free = shutil.disk_usage(_existing(folder)).free
    if needed > free:
        raise OSError(
            errno.ENOSPC,
            f"{what} takes about {needed / MB:,.0f} MB in {folder}, "
            f"where {free / MB:,.0f} MB are free; {REMEDY}",
        )


def check_writable(folder: Path) -> None:
    """Raises OSError where nothing can be written into a folder, which is made where it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        why = "it is full" if is_full(error) else error.strerror
        remedy = REMEDY if is_full(error) else "set OUTPUT_ROOT (runs) or DATA_ROOT (data) to one that can be"
        raise OSError(error.errno, f"{folder} cannot be written into ({why}); {remedy}") from error


def is_full(error: BaseException) -> bool:
    """Returns whether an error comes from a full disk, whoever raised it."""
    return any(
        getattr(cause, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        or "No space left on device" in str(cause)
        or "disk is full" in str(cause)  # SQLite's
        for cause in causes(error)
    )


def full_disk(folder: Path) -> OSError:
    """Returns the error that ends a search or a training whose disk filled up; it is gone on with later."""
    return OSError(
        errno.ENOSPC,
        f"the disk of {folder} is full; {REMEDY}, and run the same again: "
        "it goes on after the last whole epoch",
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error says that memory ran out: Python's, TensorFlow's, JAX's or PyTorch's."""
    return any(
        isinstance(cause, MemoryError)
        or type(cause).__name__ in ("ResourceExhaustedError", "OutOfMemoryError")
        or "RESOURCE_EXHAUSTED" in str(cause)
        or "out of memory" in str(cause).lower()
        for cause in causes(error)
    )


def training_bytes(parameters: int) -> int:
    """Returns the room that one training needs on the disk, in bytes, for a network of so many parameters.

    Its checkpoint holds weights, two moments of the optimizer and early stopping's best weights, 4 bytes
    each, and while it is replaced there are two of them; the weights that are kept at the end are less.
    """
    return 2 * 4 * 4 * parameters


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an error, and those that it came from, one after the other."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _existing(folder: Path) -> Path:
    folder = Path(os.path.abspath(folder))
    while not folder.exists():
        folder = folder.parent
    return folder
