"""The pixel cache: every picture decoded once, uint8, memory-mapped, shared by all trials."""

import hashlib
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from src.config import find_paths, is_headless
from src.datasets.splitting import PARTS
from src.features import data_fingerprint, extract_features
from src.images.cache_writer import CacheWriter
from src.images.pictures import read_picture
from src.running.messages import one_line
from src.running.resources import check_space

logger = logging.getLogger(__name__)


class StalePictures(ValueError):
    """The features table has another split or other pictures than a notebook started with."""


def extract_and_cache(
    folder: Path, caches: Path, image_size: int, interpolation: str = "area", class_pattern: str = ""
) -> pd.DataFrame:
    """Returns the features of all files below a folder, and builds their pixel cache from the same decoding.

    Arguments and errors are those of `extract_features` and `build_cache`; disk space is checked first.
    """
    _check_space(caches, sum(len(files) for _, _, files in os.walk(folder)), image_size)
    with CacheWriter(caches, image_size, interpolation) as writer:
        table = extract_features(folder, keep=writer.write, class_pattern=class_pattern)
        writer.finish(len(table), cache_key(table, image_size, interpolation))
    return table


def build_cache(
    folder: Path, table: pd.DataFrame, caches: Path, image_size: int, interpolation: str = "area"
) -> Path:
    """Returns the file of the cached pixels, building it first unless notebook 01 has built it at this size.

    Args:
        folder: where the picture files are.
        table: the features table; all its labelled pictures are cached, so that a different choice of
            used pictures needs no new cache.
        caches: the folder of all caches.
        image_size: side of the square pictures, in pixels.
        interpolation: area, bilinear or nearest.

    Raises:
        ValueError: unknown interpolation, size below 8, or a picture that changed since notebook 01.
        OSError: the disk has too little space for the cache.
    """
    path = caches / f"{cache_key(table, image_size, interpolation)}.npy"
    if path.exists():
        logger.info("pixel cache %s is there: %d files at %d pixels", path.name, len(table), image_size)
        return path
    ordered = table.sort_values("image_name", ignore_index=True)
    pictures = ordered[(ordered["category"] != "") & ordered["height"].notna()]
    _check_space(caches, len(table), image_size)
    with CacheWriter(caches, image_size, interpolation) as writer, ThreadPoolExecutor(os.cpu_count()) as pool:

        def decode(row: int) -> None:
            name, content = pictures.loc[row, ["image_name", "content_hash"]]
            writer.write(row, read_picture(folder / name, content))

        jobs = pool.map(decode, pictures.index)
        for _ in tqdm(jobs, "decoding pictures", len(pictures), unit=" pictures", disable=is_headless()):
            pass
        return writer.finish(len(table), path.stem)


def _check_space(caches: Path, files: int, image_size: int) -> None:
    check_space(caches, files * image_size**2 * 3, f"the pixel cache of {files:,} files")


def cache_key(table: pd.DataFrame, image_size: int, interpolation: str) -> str:
    """Returns 16 hex digits that change whenever any cached pixel might.

    They cover the names of all files, the contents of the labelled ones (only these have pixels in the
    cache), the size and the interpolation.
    """
    files = table.sort_values("image_name")
    contents = files["content_hash"].where(files["category"] != "", "")
    text = f"2 {image_size} {interpolation}\n" + "\n".join(files["image_name"] + " " + contents)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def cached_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of the features table that belong to a part of the split, sorted by `image_name`.

    Their index is their row in the cache.
    """
    files = table.sort_values("image_name", ignore_index=True)
    return files[files["split"].isin(PARTS)]


def open_settled_cache(settings: dict, table: pd.DataFrame) -> np.ndarray:
    """Returns the cached pixels that notebook 02 or 06 settled on for a run, see `open_cache`.

    Args:
        settings: from `read_input`.
        table: the run's features table.

    Raises:
        StalePictures: notebook 01 has run again since, so the table has other pictures or another split.
    """
    known = settings.get("fingerprint")
    if known and known != data_fingerprint(table):
        raise StalePictures(
            "features.csv has another split or other pictures than notebook 02 settled: notebook 01 has run "
            "again since; run 02, then this one"
        )
    path = find_paths().data / "cache" / settings["cache"]
    if path.stem != cache_key(table, settings["image_size"], settings["interpolation"]):
        raise StalePictures(
            f"{path} is not of the pictures in features.csv: notebook 01 has run again since; run notebook "
            "02 again, and 06 where transfer is meant"
        )
    return open_cache(path, len(table))


def open_cache(path: Path, files: int) -> np.ndarray:
    """Returns the cached pixels as a read-only memory map, shape (files, size, size, 3).

    Args:
        path: the cache file.
        files: number of rows in the features table.

    Raises:
        FileNotFoundError: the cache is missing; notebook 02 rebuilds it.
        ValueError: the cache is damaged, or belongs to a different number of files.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; run notebook 02 again to make the pixel cache")
    try:
        pixels = np.lib.format.open_memmap(path, mode="r")  # unlike np.load, never reads a zip or pickle
    except Exception as error:  # NumPy's header reader raises many kinds of error
        raise ValueError(f"{path} is no pixel cache ({one_line(error)}); delete it, run 01 and 02") from error
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != (pixels.shape[1],) * 2 + (3,):
        raise ValueError(
            f"{path} holds {pixels.dtype} of shape {pixels.shape}, no squares; delete it, run 01 and 02"
        )
    if len(pixels) != files:
        raise ValueError(f"{path} is of {len(pixels)} files, not of {files}; run notebook 02 again")
    return pixels
