"""One picture file in, RGB pixels or a reason out; judged by decoding, never by how a header looks.

Wherever data are prepared Pillow judges beside OpenCV. A process that only predicts may lack it: the pixels
of a whole JPEG or PNG are the same then, see `_decode_without_pillow`.
"""

import io
import re
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from src.images.files import content_hash
from src.running.messages import one_line

try:
    from PIL import Image, ImageOps
except ImportError:
    Image = None

# Pillow tries no other format: some of its plugins start other programs (EPS starts Ghostscript).
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")
MAXIMUM_PIXELS = 100_000_000
THUMBNAIL_SIDE = 400  # pixels; a figure shows less of a picture
MINIMUM_SIDE = 2  # a line of pixels is no photograph, and cannot be resized to one
START_OF_SCAN, END_OF_JPEG = b"\xff\xda", b"\xff\xd9"
MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # the first that a scan itself cannot hold
SIGNATURES = re.compile(rb"\xff\xd8\xff|\x89PNG|GIF8|BM|RIFF....WEBP|II\*\0|MM\0\*", re.DOTALL)  # of FORMATS


def read_picture(path: Path | str, content: str = "") -> np.ndarray:
    """Returns the picture of a file as RGB, uint8, shape (height, width, 3).

    It looks as OpenCV's IMREAD_COLOR shows it: turned upright by EXIF, 8 bits a channel, alpha dropped.

    Args:
        path: the file.
        content: the `content_hash` that it had, where that matters.

    Raises:
        ValueError: no usable picture, or another one by now; one line with the file and the reason.
        OSError: the file cannot be opened.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        reason = f"{path} cannot be read: {error.strerror}; put the file back or run notebook 01 again"
        raise type(error)(reason) from error
    if content and content_hash(data) != content:
        raise ValueError(f"{path} has changed since notebook 01 read it; put the file back or run 01 again")
    try:
        return decode_picture(data)
    except ValueError as error:
        raise ValueError(f"{path} is left out of every data set: {error}") from error


def read_thumbnails(paths: Iterable[Path | str]) -> list[np.ndarray]:
    """Returns pictures to be looked at, RGB, uint8, their longer sides at most `THUMBNAIL_SIDE` pixels.

    Errors are those of `read_picture`. One photograph of full size is in memory at a time.
    """
    return [_shrink(read_picture(path)) for path in paths]


def _shrink(picture: np.ndarray) -> np.ndarray:
    factor = THUMBNAIL_SIDE / max(picture.shape)
    if factor >= 1:
        return picture
    height, width = (max(1, round(side * factor)) for side in picture.shape[:2])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def decode_picture(data: bytes) -> np.ndarray:
    """Returns the picture in a file's bytes as RGB, uint8, shape (height, width, 3).

    Raises:
        ValueError: no usable picture; the message is one line, `kind` or `kind: detail`.
    """
    if not data:
        raise ValueError("zero bytes")
    if Image is None:
        return _decode_without_pillow(data)
    buffer = io.BytesIO(data)
    image = _open_header(buffer)
    _check_size(*image.size)
    if image.format == "TIFF" and image.mode in ("F", "I"):
        # Pillow would cut them off at 0 and 255, whatever they range over; OpenCV does not read them.
        raise ValueError("floating-point or 32-bit pixels: save it anew with 8 or 16 bits a channel")
    # OpenCV may give a damaged JPEG back with its lower half grey, and no error. Only files that fail a
    # quick look, and the other formats, are decoded twice.
    if image.format != "JPEG" or not _looks_whole(data, buffer.tell(), "progressive" in image.info):
        _decode_by_pillow(image)
    # OpenCV has no rule for inks that were not inverted, and its older versions know no GIF.
    pixels = None if image.mode == "CMYK" or image.format == "GIF" else _decode_by_opencv(data)
    if pixels is None:
        pixels = np.array(_decode_by_pillow(image).convert("RGB"))
    _check_bits(pixels, image.mode.startswith("I;16") or _is_deep_png(data))
    return pixels


def _looks_whole(jpeg: bytes, scan: int, progressive: bool) -> bool:
    """Returns whether a JPEG's scan, which begins where Pillow has stopped reading, is followed by the end.

    A progressive JPEG has several scans with other markers between them; its end is somewhere behind them.
    """
    if progressive:
        return jpeg.rfind(END_OF_JPEG, scan) >= 0
    marker = MARKER.search(jpeg, scan)
    return bool(marker) and marker[0] == END_OF_JPEG


def _check_size(width: int, height: int) -> None:
    if height * width > MAXIMUM_PIXELS:
        raise ValueError(f"too many pixels: the header declares {width} x {height}")
    if min(height, width) < MINIMUM_SIDE:
        raise ValueError(f"too small: {width} x {height} pixels")


def _is_deep_png(data: bytes) -> bool:
    return data.startswith(b"\x89PNG") and data[24:25] == b"\x10"  # bits a channel, in its header


def _check_bits(pixels: np.ndarray, had_sixteen: bool) -> None:
    """Refuses what a scanner of 12 bits leaves in a file of 16: of such pixels 8 bits keep at most 4."""
    if had_sixteen and pixels.max() < 16:
        raise ValueError(
            "16-bit pixels that use 12 bits or fewer: nearly black, save it stretched to 8 bits a channel"
        )


def _decode_without_pillow(data: bytes) -> np.ndarray:
    """Returns what OpenCV alone makes of a file, RGB.

    Formats other than those of `FORMATS` and JPEGs that are cut off are refused here, too. What Pillow would
    add: its own look at files that are damaged in the middle, a limit of pixels before they are decoded
    (OpenCV's own is 2 to the 30th), and the right colours of a JPEG in inks that were not inverted.
    """
    if not SIGNATURES.match(data):
        raise ValueError(f"not a picture: no whole header of {', '.join(FORMATS)}")
    if data.startswith(b"\xff\xd8") and data.rfind(END_OF_JPEG) < _scan_begins(data):
        raise ValueError("truncated or damaged: a JPEG without its end")
    pixels = _decode_by_opencv(data)
    if pixels is None:
        raise ValueError("truncated or damaged: OpenCV cannot decode it")
    _check_size(*pixels.shape[1::-1])
    _check_bits(pixels, _is_deep_png(data))
    return pixels


def _scan_begins(jpeg: bytes) -> int:
    """Returns where the first scan of a JPEG begins, behind its headers and any thumbnail in them."""
    place = 2
    while place + 4 <= len(jpeg) and jpeg[place] == 0xFF:
        if jpeg[place : place + 2] == START_OF_SCAN:
            return place
        is_filling = jpeg[place + 1] == 0xFF
        place += 1 if is_filling else 2 + int.from_bytes(jpeg[place + 2 : place + 4])
    return len(jpeg)


def _open_header(buffer: io.BytesIO) -> "Image.Image":
    """Returns Pillow's picture with its header read and no pixel decoded."""
    try:
        return Image.open(buffer, formats=FORMATS)
    except Image.UnidentifiedImageError as error:
        raise ValueError(f"not a picture: no whole header of {', '.join(FORMATS)}") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"too many pixels: {one_line(error)}") from error
    except Exception as error:  # Pillow's plugins raise many kinds on broken headers
        raise ValueError(f"truncated or damaged: {one_line(error)}") from error


def _decode_by_pillow(image: "Image.Image") -> "Image.Image":
    """Returns the decoded picture, upright, the first frame where there are several."""
    try:
        image.load()
        return ImageOps.exif_transpose(image)
    except Exception as error:  # OSError, SyntaxError, struct.error, EOFError, IndexError, ...
        raise ValueError(f"truncated or damaged: {one_line(error)}") from error


def _decode_by_opencv(data: bytes) -> np.ndarray | None:
    """Returns the RGB pixels, or None where OpenCV cannot read them."""
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:
        return None
