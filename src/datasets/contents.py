"""What a folder or a zip holds, judged by file names alone."""

import os
from collections import Counter
from collections.abc import Hashable
from pathlib import Path, PurePosixPath

from src.config import PART_NAMES
from src.datasets import archives
from src.datasets.layouts import Reading, find_readings, read_prefix
from src.images.files import PICTURES, is_hidden, is_picture
from src.running.messages import one_line, quote

UNCOMPRESSED = {".bmp", ".tif", ".tiff"}
MOST_FOUND = 8  # data sets, classes or kinds of files listed in an error message
WANTED = "pictures named like cat.0.jpg and dog.0.jpg, two class folders (Cat/0.jpg, Dog/0.jpg), or a zip"
WANTED += f", of {', '.join(sorted(PICTURES))}"
SET_PATTERN = "set class_pattern to what finds the class in a path, such as 'benign|malignant'"


def list_names(source: Path) -> list[str]:
    """Returns the files of a folder or zip as sorted relative POSIX paths; hidden ones are omitted."""
    return list(_list_files(source))


def _list_files(source: Path) -> dict[str, Hashable]:
    """Returns the files of `list_names`, each with a key that equal files share: size (in a zip also CRC)."""
    if source.is_dir():
        files: dict[str, Hashable] = {name: _size_key(source, name) for name in _walk(source)}
    elif source.is_file() and is_zip(source.name):
        members = archives.read_members(source).items()
        files = {name: (info.file_size, info.CRC) for name, info in members}
    else:  # a device, a pipe, a link to nowhere
        raise ValueError(f"{source} is neither a folder nor a .zip; give a folder or a zip as `data`")
    return {name: files[name] for name in sorted(files) if not is_hidden(name)}


def _walk(source: Path) -> list[str]:
    """Returns the files below a folder; linked folders, which may lead in circles, are not followed."""

    def stop(error: OSError) -> None:  # os.walk would skip unreadable folders
        raise error

    walk = os.walk(source, onerror=stop)
    return [Path(folder, file).relative_to(source).as_posix() for folder, _, files in walk for file in files]


def _size_key(source: Path, name: str) -> int | str:
    """Returns a file's size; its own name if it has none, or if different pictures often have the same."""
    path = source / name
    is_compressed = path.suffix.lower() not in UNCOMPRESSED
    return path.stat().st_size if is_compressed and path.exists() else name  # a link may lead to nowhere


def is_zip(name: str) -> bool:
    """Returns whether a file is a zip, judging by its name."""
    return name.lower().endswith(".zip")


def survey(source: Path, class_pattern: str) -> tuple[list[Reading], list[Path]]:
    """Returns the readings of a folder or zip, and the zips in it that may themselves hold a data set.

    Zips in a zip can be looked into only once it is unpacked: one of them stands for all, and none counts
    beside a reading.
    """
    files = _list_files(source)
    readings = find_readings(files, class_pattern)
    zips = [source / name for name in files if is_zip(name)]
    if source.is_file():
        return readings, [] if readings else zips[:1]
    understood = [source / reading.folder for reading in readings]
    if class_pattern:
        understood = [(source / name).parent for name in files if is_picture(name)]
    unpacked = {path for folder in understood for path in (folder, *folder.parents)}
    # A zip that was unpacked in place counts once; Kaggle's test1.zip, which has no labels, not at all.
    return readings, [
        path for path in zips if path.with_suffix("") not in unpacked and any(survey(path, class_pattern))
    ]


def refuse_unclear(source: Path, readings: list[Reading], zips: list[Path], class_pattern: str) -> None:
    """Raises ValueError, with remedies, unless `survey` found exactly one data set of two classes."""
    found = [f"{source / reading.folder} ({_count(reading.classes)})" for reading in readings]
    found += map(str, zips)
    give = "give" if source.is_dir() else "unpack the zip and give"
    remedy = SET_PATTERN
    if class_pattern:
        remedy = f"correct class_pattern {quote(class_pattern)}: what it finds first in a path is the class"
    if not found and class_pattern:
        raise _refusal(f"nothing found in the path of any picture in {source}, but {_seen(source)}; {remedy}")
    if not found:
        raise _refusal(
            f"no labelled pictures of two classes in {source}: found {_seen(source)}; wanted {WANTED}. "
            f"Folders named {', '.join(sorted(PART_NAMES))} are parts, not classes. Otherwise {remedy}"
        )
    if len(found) > 1:
        raise _refusal(
            f"more than one data set in {source}: {_some(found, '; ')}; {give} the path of one as `data`, or "
            f"put all pictures of a class into one folder, or {remedy}"
        )
    if readings and len(readings[0].classes) != 2:
        raise _refusal(
            f"two classes are wanted, found {len(readings[0].classes)}: {found[0]}; {give} a folder that "
            f"holds two as `data`, or {remedy}"
        )
    if readings and (beside := readings[0].beside):
        raise _refusal(
            f"which folders are the classes in {source}? {found[0]} looks like them, but beside it lie "
            f"{_count(beside)}; {give} the former as `data`, or {remedy}"
        )


def _seen(source: Path) -> str:
    """Returns a one-line summary of what lies where, most frequent first: "200 '.jpg' files in test1/"."""
    kinds: Counter = Counter()
    for path in map(PurePosixPath, list_names(source)):
        prefix = read_prefix(path.name)
        kind = f"'{prefix}.…{path.suffix}'" if prefix else f"'{path.suffix or path.name}'"
        kinds[f"{kind} files in {path.parent}/"] += 1
    for folder, inner, _ in os.walk(source):
        if linked := sum(Path(folder, name).is_symlink() for name in inner):
            kinds[f"linked folders (not followed) in {Path(folder).relative_to(source)}/"] = linked
    return _some([f"{number:,} {kind}" for kind, number in kinds.most_common()], "; ") or "nothing"


def _refusal(message: str) -> ValueError:
    return ValueError(one_line(message))  # the names in it are untrusted


def _count(classes: Counter) -> str:
    return _some([f"{name} {number:,}" for name, number in sorted(classes.items())], ", ")


def _some(found: list[str], between: str) -> str:
    rest = len(found) - MOST_FOUND
    return between.join(found[:MOST_FOUND] + [f"and {rest:,} more"] * (rest > 0))
