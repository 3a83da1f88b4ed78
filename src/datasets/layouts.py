"""Interprets a tree of files by names alone: which folder holds labelled pictures of which classes.

Below the canonical folder, a file's label is the name of the folder it lies in (`Cat/0.jpg` is a cat), unless
that names a part (`train`). Directly in the canonical folder, it is the part of the file name before the
first dot (`cat.0.jpg`). A `class_pattern` finds the label anywhere in the path instead.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

from src.config import PART_NAMES, TEST_NAMES
from src.datasets.copies import Files, drop_copies
from src.datasets.patterns import find_class, name_class
from src.images.files import is_picture

FLAT_NAME = re.compile(r"([^\W\d_]+)\.\d+\.\w+")  # cat.0.jpg
# A folder beside a reading may be a class, too, if it holds more than this share of the reading's pictures,
# or this many, enough to be split: a rare class can be smaller than that share.
BESIDE, ENOUGH = 0.05, 10


class Reading(NamedTuple):
    """One way to interpret a tree of files."""

    folder: str  # the canonical folder, a relative POSIX path
    classes: Counter  # pictures by category
    beside: Counter  # pictures by folder outside it that may be a class, too; none if there are more readings
    copies: int = 0  # pictures outside the folder that exist in it again


def find_readings(names: Mapping[str, Hashable], class_pattern: str = "") -> list[Reading]:
    """Returns every data set of two or more classes among files given by their relative POSIX paths.

    Class folders in several parts (`train/cats`, `validation/cats`) form one data set, whose canonical folder
    is the one above the parts. A tree nested in a copy of itself counts once. Extensions decide what may be a
    picture: nothing is opened.

    Args:
        names: of the files, each with a key that equal files share, such as their size.
        class_pattern: regular expression that finds a picture's class in its path; all pictures then form one
            data set, with any number of classes. "": folders and names are interpreted as described above.
    """
    files: Files = defaultdict(dict)
    for name in filter(is_picture, names):
        path = PurePosixPath(name)
        files[path.parent][path.name] = names[name]
    if class_pattern:
        return _find_by_pattern(files, class_pattern)
    _, dropped = drop_copies(files)
    flat = {folder for folder in files if _is_flat(files[folder])}
    classes = _count_classes(flat | _find_class_tops(files.keys() - flat), files)
    found = {top: counts for top, counts in sorted(classes.items()) if len(counts) > 1}
    readings = []
    for top, counts in found.items():
        beside = _count_beside(top, counts.total(), files) if len(found) == 1 else Counter()
        readings.append(Reading(str(top), counts, beside, _count_outside(top, dropped)))
    return readings


def _count_outside(top: PurePosixPath, dropped: Files) -> int:
    """Returns how many copies lie outside a folder; 0 if any lie within it, which are then read."""
    if any(folder.is_relative_to(top) for folder in dropped):
        return 0
    return sum(map(len, dropped.values()))


def _find_by_pattern(files: Files, class_pattern: str) -> list[Reading]:
    """Returns the one data set of all pictures for which a pattern finds a class, if there are any."""

    def find_classes(files: Files, base: PurePosixPath) -> list[str]:
        paths = [folder.relative_to(base) / name for folder, names in files.items() for name in names]
        return [find_class(class_pattern, str(path)) for path in paths]

    labelled: Files = defaultdict(dict)
    for folder, names in files.items():
        for name in names:
            if find_class(class_pattern, str(folder / name)):
                labelled[folder][name] = names[name]
    left = dict(labelled)
    base, dropped = drop_copies(left)
    classes = find_classes(left, base)
    # If no folder excludes the copies, or the pattern needs the path above it, copies are ordinary files.
    if base == PurePosixPath() or not all(classes):
        base, dropped = PurePosixPath(), {}
        classes = find_classes(labelled, base)
    copies = sum(map(len, dropped.values()))
    return [Reading(str(base), Counter(classes), Counter(), copies)] if classes else []


def _is_flat(files: Iterable[str]) -> bool:
    """Returns whether a folder mixes classes (cat.0.jpg, dog.0.jpg), unlike a class's own folder."""
    prefixes = Counter(map(read_prefix, files))
    unlabelled = prefixes.pop(None, 0)
    return len(prefixes) > 1 and prefixes.total() >= unlabelled


def _find_class_tops(folders: Iterable[PurePosixPath]) -> set[PurePosixPath]:
    """Returns the folders that contain two or more class folders, or the folder above all their parts."""
    classes: dict[PurePosixPath, set[str]] = defaultdict(set)
    for folder in folders:
        if folder.name and folder.name.lower() not in PART_NAMES:
            classes[folder.parent].add(name_class(folder.name))
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
    """Returns the path above the first part (`train`) in a path; the path itself if there is none."""
    for above, name in zip([*folder.parents][::-1], folder.parts, strict=True):
        if _is_part(name):
            return above
    return folder


def _is_part(name: str) -> bool:
    return not PART_NAMES.isdisjoint(_words(name))


def _words(name: str) -> list[str]:
    return re.split(r"[\W_]+", name.lower())  # training_set is a part, too


def is_in_test_folder(name: str, category: str) -> bool:
    """Returns whether the innermost part (`train`, `test_set`) above a picture is a test part.

    A folder named after the class is not a part, even if that name is `test_positive`; and a folder called
    exactly `train` or `test` takes precedence over those with such a word in their name.
    """
    folders = PurePosixPath(name).parts[:-1]
    if folders and name_class(folders[-1]) == category:
        folders = folders[:-1]
    plain = [folder for folder in folders if folder.lower() in PART_NAMES]
    parts = plain or [folder for folder in folders if _is_part(folder)]
    return bool(parts) and not TEST_NAMES.isdisjoint(_words(parts[-1]))


def _count_classes(tops: set[PurePosixPath], files: Files) -> dict[PurePosixPath, Counter]:
    """Returns the number of pictures by category below each of these folders."""
    classes: dict[PurePosixPath, Counter] = {top: Counter() for top in tops}
    for folder, names in files.items():
        if folder in classes:
            classes[folder].update(filter(None, map(read_prefix, names)))
        if folder.name.lower() not in PART_NAMES:
            for top in folder.parents:
                if top in classes:
                    classes[top][name_class(folder.name)] += len(names)
    return classes


def _count_beside(top: PurePosixPath, inside: int, files: Files) -> Counter:
    """Returns the pictures by folder of what may be a class, too, beside the canonical folder.

    For example `NORMAL`, if `bacteria` and `virus` in `PNEUMONIA` beside it were read as the two classes.
    """
    beside: Counter = Counter()
    for folder, names in files.items():
        if folder.is_relative_to(top):
            continue
        above = PurePosixPath(os.path.commonpath([f"./{top}", f"./{folder}"]))
        ours, theirs = top.relative_to(above).parts, folder.relative_to(above).parts
        if theirs and not _is_part(ours[0]) and not _is_part(theirs[0]):
            beside[str(above / theirs[0])] += len(names)
    least = min(ENOUGH, max(2, 1 + int(BESIDE * inside)))
    return Counter({folder: number for folder, number in beside.items() if number >= least})


def read_prefix(name: str) -> str | None:
    """Returns the category in a name like `cat.0.jpg`, in lower case; None if there is none."""
    match = FLAT_NAME.fullmatch(name_class(name))
    return match[1] if match else None
