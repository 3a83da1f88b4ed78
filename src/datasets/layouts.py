"""Understands a tree of files by its names alone: which folder holds labelled pictures of which classes.

The label of a file below the canonical folder: the name of the folder it lies in (`Cat/0.jpg` is a cat),
unless that is the name of a part (`train`); directly in the canonical folder, the part of its name
before the first dot (`cat.0.jpg`). A `class_pattern` finds it anywhere in the path instead.
"""

import itertools
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import NamedTuple

from src.config import PART_NAMES, TEST_NAMES
from src.datasets.patterns import compile_pattern, find_text

PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
FLAT_NAME = re.compile(r"([^\W\d_]+)\.\d+\.\w+")  # cat.0.jpg
# A folder beside a reading may be a class, too, if it holds more than this share of the reading's pictures,
# or enough to be split: a rare class can be smaller than that.
BESIDE, ENOUGH = 0.05, 10

Files = dict[PurePosixPath, list[str]]  # names of pictures by folder


class Reading(NamedTuple):
    """One way to understand a tree of files."""

    folder: str  # the canonical folder, relative and posix
    classes: Counter  # pictures by category
    beside: Counter  # of the only reading: pictures by folder, of those outside which may be a class as well


def find_readings(names: Iterable[str], class_pattern: str = "") -> list[Reading]:
    """Returns every data set of two or more classes among files given by their relative posix paths.

    Class folders in several parts (`train/cats`, `validation/cats`) are one data set, the folder above
    the parts being the canonical one. A data set that lies within its like, name for name, is there once.
    Extensions decide what may be a picture: nothing is opened.

    Args:
        names: of the files.
        class_pattern: regular expression that finds a picture's class in its path: then all of them are one
            data set, of however many classes. "": folders and names are understood as said above.
    """
    pictures = [name for name in names if is_picture(name)]
    if class_pattern:
        expression = compile_pattern(class_pattern, "class_pattern", "the data")
        counts = Counter(find_text(expression, name).lower() for name in pictures)
        counts.pop("", None)
        return [Reading(".", counts, Counter())] if counts else []
    files: Files = defaultdict(list)
    for path in map(PurePosixPath, pictures):
        files[path.parent].append(path.name)
    flat = {folder for folder in files if _is_flat(files[folder])}
    tops = flat | _find_class_tops(files.keys() - flat)
    for top, inner in itertools.permutations(sorted(tops), 2):
        if top in tops and top in inner.parents and (outside := _find_copied(top, inner, files)):
            tops.remove(top)
            for folder in outside:
                del files[folder]
    readings = [Reading(str(top), _count_classes(top, files), Counter()) for top in sorted(tops)]
    readings = [reading for reading in readings if len(reading.classes) > 1]
    if len(readings) == 1:
        folder, classes, _ = readings[0]
        return [Reading(folder, classes, _count_beside(PurePosixPath(folder), classes.total(), files))]
    return readings


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


def _find_copied(top: PurePosixPath, inner: PurePosixPath, files: Files) -> list[PurePosixPath]:
    """Returns the folders below `top` if all their files lie in the folder `inner` again, name for name.

    So some of Kaggle's data sets are packed: `chest_xray/train` and `chest_xray/chest_xray/train`.
    """
    below = {folder for folder in files if _is_below(folder, top)}
    copies = {folder for folder in below if _is_below(folder, inner)}
    outside = sorted(below - copies)
    first = {folder.relative_to(top): sorted(files[folder]) for folder in outside}
    second = {folder.relative_to(inner): sorted(files[folder]) for folder in copies}
    return outside if first == second else []


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
    folders = PurePosixPath(name).parts[:-1]
    if folders and folders[-1].lower() not in PART_NAMES:
        folders = folders[:-1]  # the class, though it may be called `test_positive`
    parts = [folder for folder in folders if _is_part(folder)]
    return bool(parts) and not TEST_NAMES.isdisjoint(_words(parts[-1]))


def _is_below(folder: PurePosixPath, top: PurePosixPath) -> bool:
    return folder == top or top in folder.parents


def _count_classes(top: PurePosixPath, files: Files) -> Counter:
    classes: Counter = Counter()
    for folder, names in files.items():
        if folder == top:
            classes.update(map(read_prefix, names))
        elif top in folder.parents and folder.name.lower() not in PART_NAMES:
            classes[folder.name.lower()] += len(names)
    classes.pop(None, None)
    return classes


def _count_beside(top: PurePosixPath, inside: int, files: Files) -> Counter:
    """Returns the pictures of folders such as `NORMAL`, where the classes are PNEUMONIA's own two folders."""
    beside: Counter = Counter()
    for folder, names in files.items():
        if _is_below(folder, top):
            continue
        above = PurePosixPath(os.path.commonpath([f"./{top}", f"./{folder}"]))
        ours, theirs = top.relative_to(above).parts, folder.relative_to(above).parts
        if theirs and not _is_part(ours[0]) and not _is_part(theirs[0]):
            beside[str(above / theirs[0])] += len(names)
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
