"""Understands a tree of files by its names alone: which folder holds labelled pictures of which classes.

The label of a file below the canonical folder: the name of the folder it lies in (`Cat/0.jpg` is a cat),
unless that is the name of a part (`train`); directly in the canonical folder, the part of its name
before the first dot (`cat.0.jpg`).
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import NamedTuple

from src.config import PART_NAMES

PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
FLAT_NAME = re.compile(r"([^\W\d_]+)\.\d+\.\w+")  # cat.0.jpg


BESIDE = 0.05  # of a reading's pictures: a folder beside it that holds more may be a class, too


class Reading(NamedTuple):
    """One way to understand a tree of files."""

    folder: str  # the canonical folder, relative and posix
    classes: Counter  # pictures by category
    beside: Counter  # pictures by folder, of those outside which may be a class as well


def find_readings(names: Iterable[str]) -> list[Reading]:
    """Returns every data set of two or more classes among files given by their relative posix paths.

    Class folders in several parts (`train/cats`, `validation/cats`) are one data set, the folder above
    the parts being the canonical one. Extensions decide what may be a picture: nothing is opened.
    """
    pictures = [path for path in map(PurePosixPath, names) if path.suffix.lower() in PICTURES]
    files: dict[PurePosixPath, list[str]] = defaultdict(list)
    for path in pictures:
        files[path.parent].append(path.name)
    flat = {folder for folder in files if _is_flat(files[folder])}
    tops = flat | _find_class_tops(files.keys() - flat)
    classes = {top: _count_classes(top, pictures) for top in sorted(tops)}
    return [
        Reading(str(top), counts, _count_beside(top, counts.total(), pictures))
        for top, counts in classes.items()
        if len(counts) > 1
    ]


def _is_flat(files: list[str]) -> bool:
    """Tells a mixed folder (cat.0.jpg beside dog.0.jpg) from a class's own (cat.0.jpg, cat.1.jpg)."""
    prefixes = Counter(map(read_prefix, files))
    unlabelled = prefixes.pop(None, 0)
    return len(prefixes) > 1 and prefixes.total() >= unlabelled


def _find_class_tops(folders: Iterable[PurePosixPath]) -> set[PurePosixPath]:
    """Returns the folders with two class folders in them, or the one above all their parts."""
    classes: dict[PurePosixPath, set[str]] = defaultdict(set)
    for folder in folders:
        if folder.name and folder.name.lower() not in PART_NAMES:
            classes[folder.parent].add(folder.name.lower())
    if len(classes) > 1:
        top = PurePosixPath(os.path.commonpath([f"./{parent}" for parent in classes]))
        below = [parent.relative_to(top).parts for parent in classes]
        if all(parts and _is_part(parts[0]) for parts in below):
            return {top}
    return {parent for parent, names in classes.items() if len(names) > 1}


def _is_part(name: str) -> bool:
    return not PART_NAMES.isdisjoint(re.split(r"[\W_]+", name.lower()))  # training_set is one, too


def _count_classes(top: PurePosixPath, pictures: Iterable[PurePosixPath]) -> Counter:
    classes: Counter = Counter()
    for path in pictures:
        if path.parent == top:
            classes[read_prefix(path.name)] += 1
        elif top in path.parents and path.parent.name.lower() not in PART_NAMES:
            classes[path.parent.name.lower()] += 1
    classes.pop(None, None)
    return classes


def _count_beside(top: PurePosixPath, inside: int, pictures: Iterable[PurePosixPath]) -> Counter:
    """Returns the pictures of folders such as `NORMAL`, where the classes are PNEUMONIA's own two folders."""
    beside: Counter = Counter()
    for path in pictures:
        if top in path.parents:
            continue
        above = PurePosixPath(os.path.commonpath([f"./{top}", f"./{path}"]))
        ours, theirs = top.relative_to(above).parts, path.parent.relative_to(above).parts
        if theirs and not _is_part(ours[0]) and not _is_part(theirs[0]):
            beside[str(above / theirs[0])] += 1
    return Counter({folder: number for folder, number in beside.items() if number > max(1, BESIDE * inside)})


def read_prefix(name: str) -> str | None:
    """Returns the category in a name like `cat.0.jpg`, in lower case; None where there is none."""
    match = FLAT_NAME.fullmatch(name)
    return match[1].lower() if match else None


def describe(names: Iterable[str], most: int = 8) -> str:
    """Returns what lies where, in one line, the most frequent first: "200 '.jpg' files in test1/"."""
    kinds: Counter = Counter()
    for path in map(PurePosixPath, names):
        prefix = read_prefix(path.name)
        kind = f"'{prefix}.…{path.suffix}'" if prefix else f"'{path.suffix or path.name}'"
        kinds[f"{kind} files in {path.parent}/"] += 1
    listed = [f"{number:,} {kind}" for kind, number in kinds.most_common(most)]
    return "; ".join(listed + ["…"] * (len(kinds) > most)) or "nothing"
