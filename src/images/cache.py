"""The pixel cache: every picture decoded once, uint8, memory-mapped, shared by all trials."""

import hashlib
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from src.config import is_headless
from src.features import extract_features
from src.images.files import list_files
from src.images.pictures import read_picture
from src.images.preprocessing import check_squares, resize_square
from src.running.messages import one_line
from src.running.resources import check_space

logger = logging.getLogger(__name__)


class CacheWriter:
    """A cache in the making: any thread writes any row, in any order; it is renamed when it is whole.

    The file is a NumPy array of shape (files, image_size, image_size, 3), uint8, RGB, with a row for
    every file of the features table, in the order of `image_name`. A row that is never written is
    black, and a gap in the file that takes no space.
    """

    def __init__(self, caches: Path, image_size: int, interpolation: str = "area"):
        """Opens a temporary file.

        Args:
            caches: the folder of all caches, made where it is missing.
            image_size: side of the square pictures, in pixels.
            interpolation: area, bilinear or nearest.

        Raises:
            ValueError: an unknown interpolation, or a size below 8.
        """
        check_squares(image_size, interpolation)
        caches.mkdir(parents=True, exist_ok=True)
        self.caches, self.image_size, self.interpolation = caches, image_size, interpolation
        self._partial = caches / f"{image_size}-{interpolation}.{os.getpid()}.partial"
        self._file, self._lock = self._partial.open("wb"), Lock()
        self._begin = self._write_header(0)

    def __enter__(self) -> "CacheWriter":
        """Returns itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Deletes the temporary file, unless it was finished."""
        self._file.close()
        self._partial.unlink(missing_ok=True)

    def write(self, row: int, picture: np.ndarray) -> None:
        """Writes a picture, RGB, uint8, of any size, as that row."""
        square = resize_square(picture, self.image_size, self.interpolation)
        with self._lock:
            self._file.seek(self._begin + row * square.nbytes)
            self._file.write(square)

    def finish(self, table: pd.DataFrame) -> Path:
        """Returns the file under the name that stands for what is in it: the pictures of this table."""
        path = self.caches / f"{cache_key(table, self.image_size, self.interpolation)}.npy"
        self._write_header(len(table))
        self._file.truncate(self._begin + len(table) * self.image_size**2 * 3)
        self._file.close()
        os.replace(self._partial, path)
        logger.info("pixel cache %s: %d files at %d pixels", path.name, len(table), self.image_size)
        return path

    def _write_header(self, rows: int) -> int:
        """Returns where the first row begins; NumPy leaves space for the number of rows to grow."""
        shape = (rows, self.image_size, self.image_size, 3)
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(
            self._file, {"descr": "|u1", "fortran_order": False, "shape": shape}
        )
        return self._file.tell()


def extract_and_cache(
    folder: Path, caches: Path, image_size: int, interpolation: str = "area"
) -> pd.DataFrame:
    """Returns the features of all files below a folder, and makes their cache from the same decoding.

    Arguments and errors are those of `extract_features` and of `build_cache`; what it needs of the disk is
    asked for before it begins.
    """
    _check_space(caches, len(list_files(folder)) if folder.is_dir() else 0, image_size)
    with CacheWriter(caches, image_size, interpolation) as writer:
        table = extract_features(folder, keep=writer.write)
        writer.finish(table)
    return table


def build_cache(
    folder: Path, table: pd.DataFrame, caches: Path, image_size: int, interpolation: str = "area"
) -> Path:
    """Returns the file of the cached pixels, made first where notebook 01 made none of this size.

    Args:
        folder: where the picture files are.
        table: the features table; all its labelled pictures are cached, so that another choice of
            those that are used does not need another cache.
        caches: the folder of all caches.
        image_size: side of the square pictures, in pixels.
        interpolation: area, bilinear or nearest.

    Raises:
        ValueError: an unknown interpolation, a size below 8, or a picture that changed since 01.
        OSError: the disk has less room than the cache takes.
    """
    path = caches / f"{cache_key(table, image_size, interpolation)}.npy"
    if path.exists():
        logger.info("pixel cache %s is there: %d files at %d pixels", path.name, len(table), image_size)
        return path
    ordered = table.sort_values("image_name", ignore_index=True)
    pictures = ordered[(ordered["category"] != "") & ordered["height"].notna()]["image_name"]
    _check_space(caches, len(table), image_size)
    with CacheWriter(caches, image_size, interpolation) as writer, ThreadPoolExecutor(os.cpu_count()) as pool:

        def decode(row: int) -> None:
            writer.write(row, read_picture(folder / pictures[row]))

        jobs = pool.map(decode, pictures.index)
        for _ in tqdm(jobs, "decoding pictures", len(pictures), unit=" pictures", disable=is_headless()):
            pass
        return writer.finish(table)


def _check_space(caches: Path, files: int, image_size: int) -> None:
    check_space(caches, files * image_size**2 * 3, f"the pixel cache of {files:,} files")


def cache_key(table: pd.DataFrame, image_size: int, interpolation: str) -> str:
    """Returns 16 hex digits that change whenever any cached pixel might.

    They stand for the names and contents of the files, the size and the way of resizing.
    """
    files = table.sort_values("image_name")
    text = f"2 {image_size} {interpolation}\n" + "\n".join(files["image_name"] + " " + files["content_hash"])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def cached_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of the features table that are in a part of the split, by `image_name`.

    Their index is their row in the cache.
    """
    files = table.sort_values("image_name", ignore_index=True)
    return files[files["split"].isin(["train", "validation", "test"])]


def open_cache(path: Path, files: int) -> np.ndarray:
    """Returns the cached pixels as a read-only memory map, shape (files, size, size, 3).

    Args:
        path: the cache.
        files: how many rows the features table has.

    Raises:
        FileNotFoundError: the cache is gone; notebook 02 makes it anew.
        ValueError: it is damaged, or belongs to another number of files.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; run notebook 02 again to make the pixel cache")
    try:
        pixels = np.lib.format.open_memmap(path, mode="r")  # reads no zip and no pickle, as np.load might
    except Exception as error:  # NumPy's reader of headers raises many kinds
        raise ValueError(f"{path} is no pixel cache ({one_line(error)}); delete it, run 01 and 02") from error
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != (pixels.shape[1],) * 2 + (3,):
        raise ValueError(
            f"{path} holds {pixels.dtype} of shape {pixels.shape}, no squares; delete it, run 01 and 02"
        )
    if len(pixels) != files:
        raise ValueError(f"{path} is of {len(pixels)} files, not of {files}; run notebook 02 again")
    return pixels
