"""One row per file below a folder: its label, its picture's size and hashes, or why it is not used."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from src.config import PART_NAMES
from src.datasets.layouts import is_in_test_folder, read_prefix
from src.datasets.patterns import find_class, name_class
from src.images.files import content_hash, is_hidden, refuse_file
from src.images.hashing import perceptual_hash
from src.images.pictures import decode_picture
from src.running.messages import quote

logger = logging.getLogger(__name__)

USED = "used"
LEFT_OUT = "left out"


def describe_file(
    name: str, path: Path, class_pattern: str = "", keep: Callable[[np.ndarray], None] | None = None
) -> dict:
    """Returns the table row of one file.

    Keys: image_name, category, status, reason, content_hash and perceptual_hash (strings, "" if there
    is nothing to say), bytes, height and width (if known). Reasons are `kind` or `kind: detail`.

    Args:
        name: as returned by `files.list_files`.
        path: where the file is.
        class_pattern: see `read_label`.
        keep: called with the decoded picture, if there is one and its label is known.
    """
    row = {"image_name": name, "category": read_label(name, class_pattern), "status": LEFT_OUT, "reason": ""}
    row |= {"content_hash": "", "perceptual_hash": ""}
    if not path.as_posix().endswith(name):
        return row | {"reason": "the name is not UTF-8: no table can hold it, rename the file"}
    if is_hidden(name):
        return row | {"reason": "hidden: it or a folder above it begins with a dot"}
    try:
        if refusal := refuse_file(path):
            return row | {"reason": refusal}
        data = path.read_bytes()
        row |= {"bytes": len(data), "content_hash": content_hash(data)}
        picture = decode_picture(data)
    except OSError as error:
        return row | {"reason": f"unreadable: {error.strerror}"}
    except ValueError as error:
        return row | {"reason": str(error)}
    row |= {"height": picture.shape[0], "width": picture.shape[1]}
    row["perceptual_hash"] = perceptual_hash(picture)
    if not row["category"]:
        folder = Path(name).parent.name
        is_part = folder.lower() in PART_NAMES and not class_pattern
        return row | {
            "reason": f"no label: {folder} names a part" if is_part else "the name carries no label"
        }
    if keep:
        keep(picture)
    return row | {"status": USED}


def read_label(name: str, class_pattern: str = "") -> str:
    """Returns the class that a path below the data folder states, in lower case, or "".

    It is the first match of the regular expression `class_pattern` in the path. Without a pattern it is the
    folder's name, unless that names a part such as `train`; for files outside any folder it is the prefix of
    names such as `cat.0.jpg`. Hidden files have no label.
    """
    if is_hidden(name):
        return ""
    if class_pattern:
        return find_class(class_pattern, name)
    *parents, file = name.split("/")
    if parents:
        return "" if parents[-1].lower() in PART_NAMES else name_class(parents[-1])
    return read_prefix(file) or ""


def warn_unlabelled(table: pd.DataFrame, class_pattern: str) -> None:
    """Logs a warning if there is a pattern that finds no class for some pictures of a features table."""
    names = table.loc[(table["category"] == "") & table["height"].notna(), "image_name"]
    if class_pattern and len(names):
        logger.warning(
            "class_pattern finds nothing in %d paths, such as %s", len(names), quote(names.iloc[0])
        )


def rows_in_test_folder(table: pd.DataFrame) -> pd.Series:
    """Returns which rows of a features table lie in the data set's own test folder."""
    rows = zip(table["image_name"], table["category"], strict=True)
    return pd.Series([is_in_test_folder(*row) for row in rows], table.index, bool)
