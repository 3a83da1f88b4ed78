"""Whether the pictures of a run are still those of last time, told without reading one: for the Makefile."""

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from src.config import find_paths


def stamp(data: str) -> str:
    """Returns 16 hex digits of the names, sizes and times of all files that `data` names.

    Args:
        data: the parameter of that name. `auto` looks at all places that it may find pictures in; a word that
            stands for a download has no files yet.
    """
    paths = find_paths()
    places = [paths.input, paths.data / "raw"] if data == "auto" else [Path(data)]
    digest = hashlib.sha256()
    for file in (file for place in places for file in _list_files(place)):
        information = file.lstat()
        digest.update(repr((str(file), information.st_size, information.st_mtime_ns)).encode())
    return digest.hexdigest()[:16]


def _list_files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
    for folder, folders, files in os.walk(place):
        folders.sort()
        yield from (Path(folder) / file for file in sorted(files))


if __name__ == "__main__":
    sys.stdout.write(stamp(sys.argv[1]) + "\n")
