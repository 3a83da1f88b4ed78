"""What a folder or a zip holds, by names alone."""

import os
import re
from collections import Counter
from pathlib import Path

from src.config import PART_NAMES
from src.datasets import archives
from src.datasets.layouts import Reading, describe, find_readings
from src.running.messages import one_line, quote

MOST_FOUND = 8  # data sets that a refusal names
WANTED = "pictures named like cat.0.jpg and dog.0.jpg, two class folders (Cat/0.jpg, Dog/0.jpg), or a zip"
SET_PATTERN = "set class_pattern to what finds the class in a path, such as 'benign|malignant'"


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


def survey(source: Path, class_pattern: str) -> tuple[list[Reading], list[Path]]:
    """Returns the readings of a folder or zip, and the zips in it that may hold a data set themselves."""
    names = list_names(source)
    readings = find_readings(names, class_pattern)
    zips = [source / name for name in names if is_zip(name)]
    if source.is_file():
        return readings, zips[:1] if not readings else []  # told apart when they are unpacked
    if class_pattern and readings:
        return readings, []  # its pictures lie open
    understood = [source / reading.folder for reading in readings]
    unpacked = {path for folder in understood for path in (folder, *folder.parents)}
    # A zip that was unpacked where it lies counts once; Kaggle's test1.zip, without labels, not at all.
    return readings, [
        path for path in zips if path.with_suffix("") not in unpacked and any(survey(path, class_pattern))
    ]


def refuse_unclear(source: Path, readings: list[Reading], zips: list[Path], class_pattern: str) -> None:
    """Raises ValueError, with remedies, where it is not one data set of two classes that `survey` found."""
    found = [f"{source / reading.folder} ({_count(reading.classes)})" for reading in readings]
    found += map(str, zips)
    if not found:
        seen = describe(list_names(source))
        if class_pattern:
            nothing = f"class_pattern {quote(class_pattern)} finds nothing in the path of any picture"
            raise _refusal(f"{nothing} below {source}: found {seen}; correct it")
        raise _refusal(
            f"no labelled pictures of two classes in {source}: found {seen}; wanted {WANTED}. Folders named "
            f"{', '.join(sorted(PART_NAMES))} are parts, not classes. Otherwise {SET_PATTERN}"
        )
    if len(found) > 1:
        some = "; ".join(found[:MOST_FOUND])
        more = f"; and {len(found) - MOST_FOUND} more" * (len(found) > MOST_FOUND)
        raise _refusal(
            f"more than one data set in {source}: {some}{more}; give the path of one as `data`, or put "
            f"all pictures of a class into one folder, or {SET_PATTERN}"
        )
    if readings and len(readings[0].classes) != 2:
        raise _refusal(
            f"two classes are wanted, found {len(readings[0].classes)}: {found[0]}; give a folder that holds "
            f"two as `data`, or {SET_PATTERN}"
        )
    if readings and (beside := readings[0].beside):
        raise _refusal(
            f"which folders are the classes in {source}? {found[0]} looks like them, but beside it lie "
            f"{_count(beside)}; give the former as `data`, or {SET_PATTERN}"
        )


def _refusal(message: str) -> ValueError:
    return ValueError(one_line(message))  # names in it are those of strangers


def _count(classes: Counter) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in sorted(classes.items()))
