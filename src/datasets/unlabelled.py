"""Finds unlabelled pictures: Kaggle's test1, or any folder or zip."""

import logging
from collections import defaultdict
from pathlib import Path, PurePosixPath

from src.config import TEST_NAMES, Paths
from src.data import find_path, find_source
from src.datasets import archives
from src.datasets.contents import is_zip, list_names
from src.datasets.layouts import read_prefix
from src.datasets.patterns import find_class
from src.images.files import is_picture
from src.sample import draw_unlabelled

logger = logging.getLogger(__name__)


def find_unlabelled(pictures: str, data: str, paths: Paths, class_pattern: str = "") -> Path:
    """Returns the folder of the unlabelled pictures that the parameter `pictures` names; a zip is unpacked.

    Args:
        pictures: the path of a folder or zip, all of whose pictures are used; or `auto`: the folder or zip
            named test1 (or test, testing, test2) in the data set or beside it, whose pictures have no label.
        data: the data set; see `find_data`, also for `class_pattern`.
        paths: where to look, and where to put drawn or unpacked pictures.

    Raises:
        FileNotFoundError: the path does not exist.
        ValueError: `auto` finds none or more than one, or the path is neither a folder nor a zip.
    """
    unpacked = paths.data / "unpacked"
    if pictures != "auto":
        found = _unpack(find_path(pictures, ["auto"]), unpacked)
    elif source := find_source(data, paths, class_pattern)[0]:
        found = _unpack(_choose(source, unpacked, class_pattern), unpacked)
    else:
        found = draw_unlabelled(paths.data / "sample_test1")
    logger.info("unlabelled pictures in %s (pictures = '%s')", found, pictures)
    return found


def _choose(source: Path, unpacked: Path, class_pattern: str) -> Path:
    """Returns the one folder or zip of unlabelled pictures in a data set or, failing that, beside it."""
    names, is_folder = list_names(source), source.is_dir()
    found = _find(source, names, class_pattern) if is_folder else []
    if not found:  # perhaps inside a zip, as a rule the one already unpacked to find the data set
        zips = [source / name for name in names if is_zip(name)] if is_folder else [source]
        holding = [path for path in zips if _find(path, list_names(path), class_pattern)]
        folders = [_unpack(path, unpacked) for path in holding]
        found = [path for folder in folders for path in _find(folder, list_names(folder), class_pattern)]
    if not found:
        found = _find(source.parent, _list_near(source.parent), class_pattern)
    if not found:
        raise ValueError(
            f"no unlabelled pictures: neither in {source} nor beside it is a folder or zip named test1; "
            "give the path of one as `pictures`"
        )
    if len(found) > 1:
        names = ", ".join(map(str, found))
        raise ValueError(f"unlabelled pictures in more than one place: {names}; give one as `pictures`")
    return found[0]


def _find(top: Path, names: list[str], class_pattern: str) -> list[Path]:
    """Returns the folders and zips of unlabelled pictures among the names of files below a folder or zip."""
    files = [PurePosixPath(name) for name in names]
    labels = defaultdict(set)
    for file in files:
        if is_picture(file.name) and file.parent.name.lower() in TEST_NAMES:
            label = find_class(class_pattern, str(file)) if class_pattern else read_prefix(file.name)
            labels[file.parent].add(label or "")
    folders = [folder for folder, found in labels.items() if found == {""}]
    unpacked = {above for folder in folders for above in (folder, *folder.parents)}
    zips = [file for file in files if is_zip(file.name) and file.stem.lower() in TEST_NAMES]
    packed = [file for file in zips if file.with_suffix("") not in unpacked]
    return sorted(top / path for path in [*folders, *packed])


def _list_near(folder: Path) -> list[str]:
    """Returns the files in a folder and in those of its subfolders that are named like a test part."""
    tops = [path for path in folder.iterdir() if path.is_dir() and path.name.lower() in TEST_NAMES]
    near = [path for top in (folder, *tops) for path in top.iterdir() if path.is_file()]
    return [path.relative_to(folder).as_posix() for path in near]


def _unpack(source: Path, unpacked: Path) -> Path:
    if source.is_dir():
        return source
    if not source.is_file() or not is_zip(source.name):
        raise ValueError(f"{source} is neither a folder nor a .zip; give one of them as `pictures`")
    return archives.unpack_below(unpacked, source)
