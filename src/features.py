"""The features table: one row per file: what it shows, whether it is used, and in which part of the split."""

import hashlib
import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from src.config import PUBLISHED_SPLIT_SEED, is_headless
from src.datasets.audit import describe_left_out
from src.datasets.listing import USED, describe_file, warn_unlabelled
from src.datasets.splitting import PARTS, draw_parts
from src.images.files import list_files
from src.running.messages import one_line, quote
from src.runs import write_table

# The first five are the published ones. Missing text is "", a missing number is NA.
COLUMNS = ["image_name", "category", "code", "size", "aspect_ratio", "height", "width", "bytes"]
COLUMNS += ["status", "reason", "content_hash", "perceptual_hash"]
NUMBERS = dict.fromkeys(["code", "height", "width", "bytes"], "Int64") | {"aspect_ratio": "float64"}
FILES_AT_A_TIME = 16  # per task of a thread; handing over one at a time takes as long as hashing
AGAIN = "run notebook 01 again"
Keep = Callable[[int, np.ndarray], None]  # called with a row number and its pixels
MINIMUM_PER_CLASS = 10  # fewer cannot be split into three meaningful parts


def extract_features(
    folder: Path, workers: int | None = None, keep: Keep | None = None, class_pattern: str = ""
) -> pd.DataFrame:
    """Returns the features of all files below a folder, including hidden ones, sorted by `image_name`.

    The label is the folder's name (`Cat/0.jpg`) or, failing that, the first part of the file's name
    (`cat.0.jpg`), in lower case. A file that cannot be used has status "left out" and a reason.

    Columns: image_name (path below the folder, with `/`), category ("" without a label), code (1 for
    dog, or else for the second class in alphabetical order), size (height, width), aspect_ratio
    (height / width), height and width in pixels, bytes, status, reason, content_hash, perceptual_hash.

    Args:
        folder: where the files are.
        workers: number of threads; by default one per core, at most 8.
        keep: called with the row number and the RGB pixels of each labelled picture, in any order and
            from any thread, so that the picture need not be decoded again.
        class_pattern: regular expression that finds the label elsewhere in the path; "": as above.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the usable pictures are not of exactly two classes, or too few to be split.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder; give the one that holds the pictures")
    files = list_files(folder)

    def describe(first: int) -> list[dict]:
        numbered = enumerate(files[first : first + FILES_AT_A_TIME], first)
        return [describe_file(*file, class_pattern, keep and partial(keep, row)) for row, file in numbered]

    rows = []
    with (
        warnings.catch_warnings(),
        ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1)) as pool,
        tqdm(desc="reading pictures", total=len(files), unit=" pictures", disable=is_headless()) as progress,
    ):
        # Broken EXIF data is harmless, and too many pixels are reported as a reason.
        warnings.filterwarnings("ignore", "Truncated File Read|Corrupt EXIF data", UserWarning)
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        for described in pool.map(describe, range(0, len(files), FILES_AT_A_TIME)):
            rows += described
            progress.update(len(described))
    table = pd.DataFrame(rows, columns=COLUMNS)
    warn_unlabelled(table, class_pattern)
    codes = {name: code for code, name in enumerate(_find_classes(table, str(folder)))}
    table["code"] = table["category"].map(codes)
    return _complete(table)


def split_features(
    table: pd.DataFrame,
    seed: int = PUBLISHED_SPLIT_SEED,
    group_pattern: str = "",
    keep_test_folder: bool = False,
) -> pd.DataFrame:
    """Returns the table with a column `split`: train, validation, test, or "" for rows left out.

    For how the parts are drawn see `src.datasets.splitting`; the order of the table's rows does not matter.

    Args:
        table: the features table; with a `group_pattern` it also gets a column `group`.
        seed: random state of all draws.
        group_pattern: regular expression for what must stay in one part (a patient); "": each picture alone.
        keep_test_folder: whether the data set's own folder `test` becomes the test part.

    Raises:
        ValueError: not two classes, too few pictures or groups, no test folder, or a duplicate name.
    """
    _find_classes(table, "the table")
    used = table[table["status"] == USED].sort_values("image_name")
    if not used["image_name"].is_unique:
        twice = used["image_name"][used["image_name"].duplicated()].iloc[0]
        raise ValueError(f"image_name {twice!r} comes twice in the table; names must be unique")
    parts = draw_parts(used, seed, group_pattern, keep_test_folder)
    table = table.assign(**dict.fromkeys(parts.columns.difference(["status", "reason"]), ""))
    table.loc[parts.index, parts.columns] = parts
    return table


def save_features(table: pd.DataFrame, path: Path) -> None:
    """Writes the table to a CSV file atomically."""
    write_table(table, path)


def load_features(path: Path) -> pd.DataFrame:
    """Returns the table written by `save_features`, with the same types, including columns added later.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not such a table: a column is missing, or a numeric one holds something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; run notebook 01 first")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except ValueError as error:  # pandas' EmptyDataError and ParserError are ValueErrors
        raise ValueError(f"{path} is not a features table ({one_line(error)}); {AGAIN}") from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas used the first columns as the index
        raise ValueError(f"{path} has rows with more values than columns; {AGAIN}")
    if missing := [name for name in COLUMNS if name not in table]:
        raise ValueError(f"{path} lacks the column {', '.join(missing)}; {AGAIN}")
    for name, kind in NUMBERS.items():
        try:
            table[name] = pd.to_numeric(table[name]).astype(kind)
        except (OverflowError, TypeError, ValueError) as error:
            raise ValueError(f"{path}, column {name}: {one_line(error)}; {AGAIN}") from error
    return _complete(table)


def check_split(table: pd.DataFrame, source: str) -> None:
    """Raises ValueError, naming the source, if no batches can be made from a table's split or codes."""
    if "split" not in table:
        raise ValueError(f"{source} lacks the column split; {AGAIN}")
    if unknown := sorted(set(table["split"]) - {"", *PARTS}):
        raise ValueError(f"{source}: split is {quote(unknown[0])} in some rows; {AGAIN}")
    used = table[table["split"] != ""]
    if twice := sorted(used["image_name"][used["image_name"].duplicated()]):
        raise ValueError(f"{source}: image_name {quote(twice[0])} is there twice; {AGAIN}")
    pairs = used[["code", "category"]].drop_duplicates().sort_values(["code", "category"])
    if list(pairs["code"].fillna(-1)) != [0, 1] or not all(pairs["category"]):
        found = ", ".join(f"{code} {quote(category)}" for code, category in pairs.to_numpy()[:10])
        raise ValueError(
            f"{source}: code and category of the used rows are {found or 'none'}, not one class each; {AGAIN}"
        )


def class_names(table: pd.DataFrame) -> list[str]:
    """Returns the two class names of a split table: that of code 0, then that of code 1."""
    used = table[table["split"] != ""]
    return [str(used.loc[used["code"] == code, "category"].iloc[0]) for code in (0, 1)]


def data_fingerprint(table: pd.DataFrame) -> str:
    """Returns 16 hex digits that change with any used picture, its class or its part of the split."""
    used = table[table["split"] != ""].sort_values("image_name")
    text = used[["image_name", "content_hash", "code", "split"]].to_csv(index=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _complete(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the table with its numeric types set, and with `size` and `aspect_ratio` computed."""
    table = table.astype(NUMBERS)
    sides = zip(table["height"], table["width"], strict=True)
    table["size"] = [
        None if height is pd.NA or width is pd.NA else (int(height), int(width)) for height, width in sides
    ]
    table["aspect_ratio"] = (table["height"] / table["width"]).to_numpy("float64", na_value=np.nan)
    return table


def _find_classes(table: pd.DataFrame, source: str) -> list[str]:
    """Returns the classes of the used rows, that of code 0 first; ValueError unless two can be split."""
    counts = table.loc[table["status"] == USED, "category"].value_counts().sort_index()
    found = one_line(", ".join(f"{name}: {count}" for name, count in counts.items())) or "none"
    if len(counts) != 2:
        raise ValueError(
            f"{source} holds {len(counts)} classes of usable pictures ({found}); exactly two are needed, "
            f"by folders (Cat/0.jpg), names (cat.0.jpg) or class_pattern{describe_left_out(table)}"
        )
    if counts.min() < MINIMUM_PER_CLASS:
        raise ValueError(
            f"{source} holds too few usable pictures ({found}); a class needs {MINIMUM_PER_CLASS}"
            f"{describe_left_out(table)}"
        )
    return sorted(counts.index, key=lambda name: {"dogs": 1, "dog": 2}.get(name, 0))  # else alphabetical
