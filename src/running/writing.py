"""Files that are replaced atomically: a kill leaves the old one or the new one, never half of one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path, name: str = "") -> Iterator[Path]:
    """Yields a path to write to, which replaces the file when the block ends; an error leaves the old file.

    Args:
        path: the file; its folder must exist.
        name: of the unfinished file beside it, if a library requires a certain extension, or if the next
            process is to overwrite what a killed one left. "": the file's own name plus this process's id
            and `.partial`.
    """
    partial = path.with_name(name or f"{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
