"""The pixel cache: every used picture decoded once, uint8, memory-mapped, shared by all trials."""

import hashlib
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from src.config import is_headless
from src.pictures import read_picture

logger = logging.getLogger(__name__)

INTERPOLATIONS = {
    "area": cv2.INTER_AREA,
    "bilinear": cv2.INTER_LINEAR,
    "nearest": cv2.INTER_NEAREST_EXACT,  # what Keras's generators do unless told otherwise
}


def cache_key(table: pd.DataFrame, image_size: int, interpolation: str) -> str:
    """Returns 16 hex digits that change whenever any cached pixel might.

    They stand for the names and contents of the pictures, the size and the way of resizing.
    """
    text = f"1 {image_size} {interpolation}\n" + "\n".join(table["image_name"] + " " + table["content_hash"])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def build_cache(
    folder: Path, table: pd.DataFrame, caches: Path, image_size: int, interpolation: str = "area"
) -> Path:
    """Returns the file of the cached pixels of the used pictures, made first where it is missing.

    The file is a NumPy array of shape (pictures, image_size, image_size, 3), uint8, RGB, its rows in
    the order of `image_name`. It is written under a temporary name and renamed when whole.

    Args:
        folder: where the picture files are.
        table: the features table; rows whose `split` is set are cached.
        caches: the folder of all caches.
        image_size: side of the square pictures, in pixels.
        interpolation: area, bilinear or nearest.

    Raises:
        ValueError: an unknown interpolation, a size below 8, or a picture that changed since 01.
    """
    if interpolation not in INTERPOLATIONS:
        raise ValueError(
            f"interpolation {interpolation!r} is unknown; choose one of {', '.join(INTERPOLATIONS)}"
        )
    if image_size < 8:
        raise ValueError(f"image_size is {image_size}; three poolings need at least 8 pixels")
    pictures = cached_rows(table)
    path = caches / f"{cache_key(pictures, image_size, interpolation)}.npy"
    if path.exists():
        logger.info("pixel cache %s is there: %d pictures", path.name, len(pictures))
        return path
    caches.mkdir(parents=True, exist_ok=True)
    partial = caches / f"{path.stem}.{os.getpid()}.partial"
    try:
        shape = (len(pictures), image_size, image_size, 3)
        pixels = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)

        def fill(row: int, name: str) -> None:
            picture = read_picture(folder / name)
            # Shrinking by area averages what falls into a pixel; it cannot enlarge.
            mode = (
                "bilinear"
                if interpolation == "area" and min(picture.shape[:2]) < image_size
                else interpolation
            )
            cv2.resize(picture, (image_size, image_size), dst=pixels[row], interpolation=INTERPOLATIONS[mode])

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            jobs = pool.map(fill, range(len(pictures)), pictures["image_name"])
            for _ in tqdm(jobs, "decoding pictures", len(pictures), unit=" pictures", disable=is_headless()):
                pass
        pixels.flush()
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    logger.info("pixel cache %s: %d pictures, %.0f MB", path.name, len(pictures), path.stat().st_size / 1e6)
    return path


def cached_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of the features table that a cache holds, in the cache's order."""
    used = table[table["split"].isin(["train", "validation", "test"])]
    return used.sort_values("image_name").reset_index(drop=True)


def open_cache(path: Path, pictures: int) -> np.ndarray:
    """Returns the cached pixels as a read-only memory map, shape (pictures, size, size, 3).

    Raises:
        FileNotFoundError: the cache is gone; notebook 02 makes it anew.
        ValueError: the file holds another number of pictures.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; run notebook 02 again to make the pixel cache")
    pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    if len(pixels) != pictures:
        raise ValueError(f"{path} holds {len(pixels)} pictures, not {pictures}; run notebook 02 again")
    return pixels
