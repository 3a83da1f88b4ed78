"""Tells make whether a run's settings or pictures have changed since last time, without reading pictures."""

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from src.config import find_paths
from src.running.locks import hold
from src.running.messages import one_line, refuse_passwords
from src.running.resources import check_writable
from src.running.writing import replacing


def stamp(data: str) -> str:
    """Returns 16 hex digits that stand for the names, sizes and modification times of all files in `data`.

    Args:
        data: the parameter of that name. `auto` covers all places where it may find pictures; a word that
            stands for a download has no files yet.
    """
    paths = find_paths()
    given = Path(os.path.expanduser(data)).resolve()  # the notebook knows DATA=~/pets, though not every shell
    places = [paths.input, paths.data / "raw"] if data == "auto" else [given]
    digest = hashlib.sha256()
    for file in (file for place in places for file in _list_files(place)):
        information = file.stat() if file.exists() else file.lstat()  # a link may lead nowhere
        digest.update(repr((str(file), information.st_size, information.st_mtime_ns)).encode())
    return digest.hexdigest()[:16]


def _list_files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
    for folder, folders, files in os.walk(place):
        folders.sort()
        yield from (Path(folder) / file for file in sorted(files))


def refresh(file: Path, data: str, settings: str) -> None:
    """Rewrites a run's `parameters.txt` if its content would change, so that all its notebooks run again.

    It also does so if the pictures they read, or their cache, have been deleted since, as by `make clean`.

    Args:
        file: in the run's folder.
        data: the parameter of that name.
        settings: all of them, as text.

    Raises:
        OSError: the folder is not writable.
        ValueError: a setting contains a password.
        RuntimeError: another process is working on the run, and its results would count as made with these
            settings; or it is a complete run of other data.
    """
    refuse_passwords([settings])
    says = f"{settings}\n{stamp(data)}\n"
    said = file.read_text(encoding="utf-8") if file.exists() else says
    if file.exists() and said == says and not _is_cleared(file.parent):
        return
    was = said.partition("\n")[0]
    if f" {data} " not in f"{was} " and (file.parent / "05_evaluation.ipynb").exists():
        raise RuntimeError(
            f"{file.parent} holds a whole run of other pictures ({was}): give RUN=name for these, or delete "
            f"{file} to have them take its place"
        )
    check_writable(file.parent)
    with hold(file.parent, wait=0):
        with replacing(file, f"{file.stem}.partial") as partial:
            partial.write_text(says, encoding="utf-8")


def check_settings(run: Path, settings: str) -> None:
    """Raises RuntimeError if another command has since changed the settings in a run's `parameters.txt`.

    Call it while holding the run: another command may have come between writing that file and this notebook.
    """
    says = (run / "parameters.txt").read_text(encoding="utf-8").rsplit("\n", 2)[0]  # settings may take lines
    if says != settings:
        raise RuntimeError(f"another command has given {run} other settings ({says}); run yours again")


def _is_cleared(run: Path) -> bool:
    """Returns whether the pictures that a run reads, or its pixel cache, have been deleted."""
    places = {"data.json": ("folder", Path()), "input.json": ("cache", find_paths().data / "cache")}
    for file, (name, above) in places.items():
        with suppress(OSError, ValueError, LookupError, TypeError):  # not there yet, or damaged: 02 says so
            if not (above / json.loads((run / file).read_text(encoding="utf-8"))[name]).exists():
                return True
    return False


def main(arguments: list[str]) -> int:
    """Returns the exit code; the arguments are those of `refresh`."""
    try:
        refresh(Path(arguments[0]), *arguments[1:])
    except KeyboardInterrupt:
        return 130
    except (OSError, ValueError, RuntimeError) as error:  # ValueError: a name that is not UTF-8
        sys.stderr.write(f"{one_line(error)}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
