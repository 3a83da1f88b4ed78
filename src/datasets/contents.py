"""What a folder or a zip holds, by names alone."""

import os
import re
from pathlib import Path

from src.datasets import archives


def list_names(source: Path) -> list[str]:
    """Returns the files of a folder or zip as sorted relative posix paths; hidden ones are left out."""
    if not source.is_dir():
        if not source.is_file() or not is_zip(source.name):  # a device, a pipe, a link to nowhere
            raise ValueError(f"{source} is neither a folder nor a .zip; give a folder or a zip as `data`")
        names = list(archives.read_members(source))
    else:

        def stop(error: OSError) -> None:  # walk would pass over what it may not read
            raise error

        # Links are not followed: they could lead anywhere, in circles too.
        names = [
            (Path(folder) / file).relative_to(source).as_posix()
            for folder, _, files in os.walk(source, onerror=stop)
            for file in files
        ]
    hidden = re.compile(r"(^|/)(\.|__MACOSX/)")
    return sorted(name for name in names if not hidden.search(name))


def is_zip(name: str) -> bool:
    """Returns whether a file is a zip, by its name."""
    return name.lower().endswith(".zip")
