"""Drops copies of a file tree that is nested in itself, as some of Kaggle's data sets are."""

from collections import defaultdict
from collections.abc import Hashable
from pathlib import PurePosixPath

Files = dict[PurePosixPath, dict[str, Hashable]]  # by folder and name: a key that equal files share


def drop_copies(files: Files) -> tuple[PurePosixPath, Files]:
    """Drops folders whose files all exist again, with the same names and sizes, in one folder below.

    Of `chest_xray/train` and `chest_xray/chest_xray/train`, only the latter stays. Files directly in a folder
    are never dropped in favour of copies below it, because another folder would then name their class.

    Returns:
        The folder that contains everything that is left, and what was dropped.
    """
    base, dropped = PurePosixPath(), {}
    while copied := _find_copied(files):
        inner, others = copied
        for folder in others:
            dropped[folder] = files.pop(folder)
        if all(folder.is_relative_to(inner) for folder in files):
            base = inner
    return base, dropped


def _find_copied(files: Files) -> tuple[PurePosixPath, list[PurePosixPath]] | None:
    """Returns a folder that repeats all other files below one of its parents, and those files' folders."""
    below: dict[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
    for folder in files:
        for top in (folder, *folder.parents):
            below[top].append(folder)
    for inner, copies in below.items():
        for top in inner.parents:
            if len(below[top]) == 2 * len(copies) and top not in files:
                others = [folder for folder in below[top] if not folder.is_relative_to(inner)]
                first = {folder.relative_to(top): files[folder] for folder in others}
                if first == {folder.relative_to(inner): files[folder] for folder in copies}:
                    return inner, others
    return None
