"""Writes a pixel cache: any thread any row, and no other process sees it before it is whole."""

import logging
import os
import time
from contextlib import suppress
from pathlib import Path
from threading import Lock
from uuid import uuid4

import numpy as np

from src.images.preprocessing import check_squares, resize_square
from src.running.resources import check_writable

logger = logging.getLogger(__name__)

DEAD_SECONDS = 3_600  # a cache in the making that nobody has written to for so long: of a killed process


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
            OSError: the folder cannot be written into.
        """
        check_squares(image_size, interpolation)
        check_writable(caches)
        _clear_dead(caches)
        self.caches, self.image_size, self.interpolation = caches, image_size, interpolation
        self._partial = caches / f"{image_size}-{interpolation}.{uuid4().hex[:8]}.partial"
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

    def finish(self, files: int, name: str) -> Path:
        """Returns the file under its name, which stands for what is in it, with a row for each file."""
        path = self.caches / f"{name}.npy"
        self._write_header(files)
        self._file.truncate(self._begin + files * self.image_size**2 * 3)
        self._file.close()
        os.replace(self._partial, path)
        logger.info("pixel cache %s: %d files at %d pixels", path.name, files, self.image_size)
        return path

    def _write_header(self, rows: int) -> int:
        """Returns where the first row begins; NumPy leaves space for the number of rows to grow."""
        shape = (rows, self.image_size, self.image_size, 3)
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(
            self._file, {"descr": "|u1", "fortran_order": False, "shape": shape}
        )
        return self._file.tell()


def _clear_dead(caches: Path) -> None:
    for partial in caches.glob("*.partial"):
        with suppress(OSError):  # it was finished, or another process clears as well
            if time.time() - partial.stat().st_mtime > DEAD_SECONDS:
                partial.unlink()
