"""Files that are replaced whole or not at all: a kill leaves the old one or the new one, never a half."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path, name: str = "") -> Iterator[Path]:
    """Gives a path to write to, which takes a file's place when the block ends; an error leaves the old file.

    Args:
        path: the file; its folder is there.
        name: of the unfinished file beside it, where a library wants a certain ending, or where the next
            process is to write over what a killed one has left. "": the file's own, with this process's
            number and `.partial` behind it.
    """
    partial = path.with_name(name or f"{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
