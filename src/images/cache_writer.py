"""Writes a pixel cache: any thread can write any row, and no other process sees it before it is complete."""

import errno
import logging
import os
import time
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import numpy as np

from src.images.preprocessing import check_squares, resize_square
from src.running.resources import check_writable

logger = logging.getLogger(__name__)

DEAD_SECONDS = 3_600  # an unfinished cache untouched for this long was left by a killed process


class CacheWriter:
    """A cache being built: any thread writes any row, in any order; the file is renamed when complete.

    The file is a NumPy array of shape (files, image_size, image_size, 3), uint8, RGB, with one row per
    file of the features table, in the order of `image_name`. A row that is never written is black, a
    hole in the file that takes no disk space.
    """

    def __init__(self, caches: Path, image_size: int, interpolation: str):
        """Opens a temporary file.

        Args:
            caches: the folder of all caches, created if missing.
            image_size: side of the square pictures, in pixels.
            interpolation: area, bilinear or nearest.

        Raises:
            ValueError: unknown interpolation, or size below 8.
            OSError: the folder is not writable.
        """
        check_squares(image_size, interpolation)
        check_writable(caches)
        _clear_dead(caches)
        self.caches, self.image_size, self.interpolation = caches, image_size, interpolation
        self._partial = caches / f"{image_size}-{interpolation}.{uuid4().hex[:8]}.partial"
        self._file = self._partial.open("wb")
        self._begin = self._write_header(0)

    def __enter__(self) -> "CacheWriter":
        """Returns itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Closes the temporary file and deletes it unless it was finished."""
        try:
            self._file.close()  # writes the header, for which a full disk has no room
        finally:
            self._partial.unlink(missing_ok=True)

    def write(self, row: int, picture: np.ndarray) -> None:
        """Writes a picture (RGB, uint8, any size), resized, to a row."""
        square = resize_square(picture, self.image_size, self.interpolation)
        written = os.pwrite(self._file.fileno(), square, self._begin + row * square.nbytes)
        if written < square.nbytes:  # the disk was full before the end
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def finish(self, files: int, name: str) -> Path:
        """Returns the finished file, renamed to `name`, which identifies its contents, with `files` rows."""
        path = self.caches / f"{name}.npy"
        self._write_header(files)
        self._file.truncate(self._begin + files * self.image_size**2 * 3)
        self._file.close()
        os.replace(self._partial, path)
        logger.info("pixel cache %s: %d files at %d pixels", path.name, files, self.image_size)
        return path

    def _write_header(self, rows: int) -> int:
        """Returns the offset of the first row; NumPy leaves room in the header for the row count to grow."""
        shape = (rows, self.image_size, self.image_size, 3)
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(
            self._file, {"descr": "|u1", "fortran_order": False, "shape": shape}
        )
        return self._file.tell()


def _clear_dead(caches: Path) -> None:
    for partial in caches.glob("*.partial"):
        with suppress(OSError):  # it was just finished, or another process is clearing, too
            if time.time() - partial.stat().st_mtime > DEAD_SECONDS:
                partial.unlink()
