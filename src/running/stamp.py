"""Whether a run's settings and pictures are still those of last time, told without reading one: for make."""

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from src.config import find_paths
from src.running.locks import hold


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


def refresh(file: Path, data: str, settings: str) -> None:
    """Writes a run's `parameters.txt` anew where it says something else by now: all its notebooks run again.

    So they do where the pictures that they read were deleted since, as `make clean` deletes them.

    Args:
        file: in the run's folder.
        data: the parameter of that name.
        settings: all of them, as text.

    Raises:
        RuntimeError: another process works on the run. What it makes would count as made with these settings.
    """
    says = f"{settings}\n{stamp(data)}\n"
    if file.exists() and file.read_text(encoding="utf-8") == says and not _is_cleared(file.parent):
        return
    with hold(file.parent):
        partial = file.with_suffix(".partial")
        partial.write_text(says, encoding="utf-8")
        os.replace(partial, file)


def _is_cleared(run: Path) -> bool:
    try:
        folder = json.loads((run / "data.json").read_text(encoding="utf-8"))["folder"]
    except (OSError, ValueError, LookupError, TypeError):  # notebook 01 has not run, or says what is wrong
        return False
    return not (os.path.isdir(folder) and (find_paths().data / "cache").is_dir())


def main(arguments: list[str]) -> int:
    """Returns the exit code; the arguments are those of `refresh`."""
    try:
        refresh(Path(arguments[0]), *arguments[1:])
    except KeyboardInterrupt:
        return 130
    except (OSError, RuntimeError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
