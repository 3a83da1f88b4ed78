"""Finds the labelled pictures: whatever form a data set comes in, one canonical folder comes out."""

import logging
import os
from pathlib import Path

from src.config import Paths
from src.datasets import archives, downloads
from src.datasets.contents import SET_PATTERN, is_zip, list_names, refuse_unclear, survey
from src.datasets.patterns import compile_pattern
from src.images.files import is_picture
from src.running.messages import one_line, quote
from src.sample import draw_sample

logger = logging.getLogger(__name__)

COMPETITION = "dogs-vs-cats"
DEEPEST_NESTING = 3  # zips in zips
FEWEST_PICTURES = 20  # of a data set: a folder with fewer may hold, say, a notebook's figures


def find_data(data: str, paths: Paths, class_pattern: str = "") -> Path:
    """Returns the canonical folder of the data set that the parameter `data` names.

    Args:
        data: `auto` (Kaggle's input if present, else `raw` if filled, else the sample), `sample`,
            `filtered`, `petimages`, `kaggle`, or the path of a folder or a zip.
        paths: where to look, and where to put what is downloaded, drawn or unpacked.
        class_pattern: regular expression that finds the class in a path; "": see `src.datasets.layouts`.

    Raises:
        FileNotFoundError: there is no such path.
        ValueError: no labelled pictures there, not exactly two classes, more than one data set, or an
            invalid regular expression as `class_pattern`.
        OSError: a download failed, or `paths.data` cannot be written.
    """
    source, why = find_source(data, paths, class_pattern)
    found = _locate(source or draw_sample(paths.data / "sample"), paths.data / "unpacked", class_pattern)
    logger.info("pictures in %s (%s)", found, why)
    return found


def find_source(data: str, paths: Paths, class_pattern: str = "") -> tuple[Path | None, str]:
    """Returns the folder or zip that the parameter `data` names (None for the sample), and why it was chosen.

    For arguments and errors see `find_data`.
    """
    if class_pattern:
        compile_pattern(class_pattern, "class_pattern", "the data")  # before anything is downloaded
    why = f"data = '{data}'"
    if data == "auto":
        return _choose(paths, class_pattern)
    if data == "sample":
        return None, why
    if data in downloads.SOURCES:
        return downloads.download(data, paths.data / "raw"), why
    if data == "kaggle":
        return downloads.download_kaggle(), why
    return find_path(data, ["auto", "sample", *downloads.SOURCES, "kaggle"]), why


def find_path(text: str, words: list[str]) -> Path:
    """Returns the absolute path given by a parameter.

    Args:
        text: the parameter.
        words: the values allowed instead of a path, for the error message.

    Raises:
        FileNotFoundError: there is no such path.
    """
    path = Path(os.path.expanduser(text)).absolute()
    if not text.strip() or not os.path.exists(path):  # also False for text that cannot be a path
        where = f"{quote(text, 300)} (from {quote(os.getcwd(), 300)})"
        raise FileNotFoundError(f"no folder or zip at {where}; give a path or one of {', '.join(words)}")
    return path


def _choose(paths: Paths, class_pattern: str) -> tuple[Path | None, str]:
    """Returns the source that `auto` stands for here (None for the sample), and why it was chosen."""
    for folder in (paths.input / COMPETITION, paths.input / "competitions" / COMPETITION):
        if _is_filled(folder):
            return folder, "Kaggle's competition is among the input"
    others = [
        folder
        for pattern in ("*", "competitions/*", "datasets/*/*")
        for folder in sorted(paths.input.glob(pattern))
        if folder.name not in ("competitions", "datasets") and _is_understood(folder, class_pattern)
    ]
    if len(others) > 1:
        names = ", ".join(map(str, others))
        raise ValueError(f"more than one data set among the input: {names}; give the path of one as `data`")
    if others:
        return others[0], "the only data set understood among the input"
    raw = paths.data / "raw"
    if _is_filled(raw):
        return raw, f"nothing in {paths.input}, {raw} is filled"
    # If something is attached, falling back to drawn pictures would be misleading.
    if attached := [str(folder) for folder in sorted(paths.input.glob("*")) if _may_hold_data(folder)]:
        raise ValueError(
            f"{', '.join(attached)}: not understood as one data set of two classes; give the path of the "
            f"folder or zip that is one as `data`, or 'sample' for drawn pictures, or {SET_PATTERN}"
        )
    return None, f"nothing in {paths.input} nor in {raw}: the drawn sample"


def _may_hold_data(folder: Path) -> bool:
    """Returns whether a folder has so many pictures, or a zip, that somebody may want to train on them."""
    try:
        names = list_names(folder)
    except (OSError, ValueError):
        return False
    return sum(map(is_picture, names)) >= FEWEST_PICTURES or any(map(is_zip, names))


def _is_filled(folder: Path) -> bool:
    return folder.is_dir() and any(not path.name.startswith((".", "README")) for path in folder.iterdir())


def _is_understood(source: Path, class_pattern: str) -> bool:
    try:
        readings, zips = survey(source, class_pattern)
        plain = all(len(reading.classes) == 2 and not reading.beside for reading in readings)
        return len(readings) + len(zips) == 1 and plain
    except (OSError, ValueError) as error:
        logger.info("input ignored: %s", error)
        return False


def _locate(source: Path, unpacked: Path, class_pattern: str) -> Path:
    """Returns the canonical folder in `source`, a folder or a zip; zips are unpacked below `unpacked`."""
    opened: list[Path] = []  # zips, outermost first
    while True:
        readings, zips = survey(source, class_pattern)
        refuse_unclear(source, readings, zips, class_pattern)
        if source.is_dir() and readings:
            if readings[0].copies:
                logger.info("%d pictures lie in %s twice: one of each counts", readings[0].copies, source)
            return source / readings[0].folder
        if len(opened) == DEEPEST_NESTING:
            what = f"zips in zips, more than {DEEPEST_NESTING} deep, in {opened[0]}; unpack them by hand"
            raise ValueError(one_line(what))
        opened.append(source if source.is_file() else zips[0])
        source = archives.unpack_below(unpacked, opened[-1])
