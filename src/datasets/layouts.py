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

from src.config import PART_NAMES, TEST_NAMES

PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
FLAT_NAME = re.compile(r"([^\W\d_]+)\.\d+\.\w+")  # cat.0.jpg
# A folder beside a reading may be a class, too, if it holds more than this share of the reading's pictures,
# or enough to be split: a rare class can be smaller than that.
BESIDE, ENOUGH = 0.05, 10


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
    pictures = [PurePosixPath(name) for name in names if is_picture(name)]
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
    data_sets: dict[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
    for parent in classes:
        data_sets[_above_parts(parent)].append(parent)
    tops = set()
    for parents in data_sets.values():
        top = PurePosixPath(os.path.commonpath([f"./{parent}" for parent in parents]))
        below = [parent.relative_to(top).parts for parent in parents]
        if all(parts and _is_part(parts[0]) for parts in below):
            tops.add(top)
        else:
            tops |= {parent for parent in parents if len(classes[parent]) > 1}
    return tops


def _above_parts(folder: PurePosixPath) -> PurePosixPath:
    """Returns what lies above the first part (`train`) in a path; the path itself where there is none."""
    for above, name in zip([*folder.parents][::-1], folder.parts, strict=True):
        if _is_part(name):
            return above
    return folder


def _is_part(name: str) -> bool:
    return not PART_NAMES.isdisjoint(_words(name))


def _words(name: str) -> list[str]:
    return re.split(r"[\W_]+", name.lower())  # training_set is a part, too


def is_in_test_folder(name: str) -> bool:
    """Returns whether the innermost part (`train`, `test_set`) above a picture's class is one for testing."""
    parts = [folder for folder in PurePosixPath(name).parts[:-2] if _is_part(folder)]
    return bool(parts) and not TEST_NAMES.isdisjoint(_words(parts[-1]))


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
    least = min(ENOUGH, max(2, 1 + int(BESIDE * inside)))
    return Counter({folder: number for folder, number in beside.items() if number >= least})


def is_picture(name: str) -> bool:
    """Returns whether a file may be a picture, by its name."""
    return PurePosixPath(name).suffix.lower() in PICTURES


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
