"""A tree of files within which it lies once more, as some of Kaggle's data sets are packed."""

from collections import defaultdict
from collections.abc import Hashable
from pathlib import PurePosixPath

Files = dict[PurePosixPath, dict[str, Hashable]]  # by folder: names of pictures, and what equal files share


def drop_copies(files: Files) -> tuple[PurePosixPath, Files]:
    """Drops the folders whose files all lie once more, of the same name and size, in one folder below.

    `chest_xray/train` and `chest_xray/chest_xray/train` become the latter. What lies directly in a folder is
    never dropped for what lies below it, for then another folder would name its class.

    Returns:
        The folder that all the rest lies in, and what was dropped.
    """
    base, dropped = PurePosixPath(), {}
    while copied := _find_copied(files):
        inner, others = copied
        for folder in others:
            dropped[folder] = files.pop(folder)
        if all(is_below(folder, inner) for folder in files):
            base = inner
    return base, dropped


def _find_copied(files: Files) -> tuple[PurePosixPath, list[PurePosixPath]] | None:
    """Returns a folder, and all others below one above it, whose files lie once more in the former."""
    below: dict[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
    for folder in files:
        for top in (folder, *folder.parents):
            below[top].append(folder)
    for inner, copies in below.items():
        for top in inner.parents:
            if len(below[top]) == 2 * len(copies) and top not in files:
                others = [folder for folder in below[top] if not is_below(folder, inner)]
                first = {folder.relative_to(top): files[folder] for folder in others}
                if first == {folder.relative_to(inner): files[folder] for folder in copies}:
                    return inner, others
    return None


def is_below(folder: PurePosixPath, top: PurePosixPath) -> bool:
    """Returns whether a folder is `top` or lies in it."""
    return folder == top or top in folder.parents
