"""The pictures that every peer is given: one split, one pixel cache. NumPy and Python's own library alone."""

import csv
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src.config import find_paths


class Part(NamedTuple):
    """One part of the split."""

    pictures: np.ndarray  # uint8 RGB, shape (n, size, size, 3), in memory
    codes: np.ndarray  # 0 or 1 a picture, shape (n,)
    image_names: list[str]


def load_parts(run: Path) -> dict[str, Part]:
    """Returns the parts train, validation and test of a run whose notebooks 01 and 02 have run.

    AutoKeras's environment has neither pandas nor the rest of what `src` needs, so the features table is
    read here by itself: its rows in the order of `image_name` are the rows of the cache.

    Raises:
        FileNotFoundError: a file of the run, or its cache, is missing.
        ValueError: the cache is of another number of files.
    """
    cache = find_paths().data / "cache" / read_json(run / "input.json")["cache"]
    for path in (run / "features.csv", cache):
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing; run notebooks 01 and 02 on this run first")
    with (run / "features.csv").open(newline="", encoding="utf-8") as file:
        files = sorted(csv.DictReader(file), key=lambda row: row["image_name"])
    pixels = np.load(cache, mmap_mode="r", allow_pickle=False)
    if len(pixels) != len(files):
        raise ValueError(f"{cache} is of {len(pixels)} files, not of {len(files)}; run notebook 02 again")
    parts = {}
    for name in ("train", "validation", "test"):
        rows = [number for number, entry in enumerate(files) if entry["split"] == name]
        codes = np.array([float(files[row]["code"]) for row in rows], dtype="float32")
        parts[name] = Part(pixels[rows], codes, [files[row]["image_name"] for row in rows])
    return parts


def read_json(path: Path) -> dict:
    """Returns the values of a JSON file of the run.

    Raises:
        FileNotFoundError: it is missing.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; run notebooks 01 and 02 on this run first")
    return json.loads(path.read_text(encoding="utf-8"))
