"""One picture file in, RGB pixels or a reason out; judged by decoding, never by the header alone.

Wherever data are prepared, Pillow checks files alongside OpenCV. A process that only predicts may lack it: an
intact JPEG or PNG gives the same pixels without Pillow, see `_decode_without_pillow`.
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
THUMBNAIL_SIDE = 400  # pixels; more than a figure shows
MINIMUM_SIDE = 2  # a line of pixels is no photograph, and cannot be resized to one
START_OF_SCAN, END_OF_JPEG = b"\xff\xda", b"\xff\xd9"
MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # one that cannot occur within a scan
SIGNATURES = re.compile(rb"\xff\xd8\xff|\x89PNG|GIF8|BM|RIFF....WEBP|II\*\0|MM\0\*", re.DOTALL)  # of FORMATS


def read_picture(path: Path | str, content: str = "") -> np.ndarray:
    """Returns the picture in a file as RGB, uint8, shape (height, width, 3).

    It follows OpenCV's IMREAD_COLOR: turned upright by EXIF, 8 bits per channel, alpha dropped.

    Args:
        path: the file.
        content: its expected `content_hash`; "" is not checked.

    Raises:
        ValueError: no usable picture, or a changed one; the message is one line with the file and the reason.
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
    """Returns pictures for display, RGB, uint8, with longer sides of at most `THUMBNAIL_SIDE` pixels.

    Errors are those of `read_picture`. Only one full-size photograph is in memory at a time.
    """
    return [_shrink(read_picture(path)) for path in paths]


def _shrink(picture: np.ndarray) -> np.ndarray:
    factor = THUMBNAIL_SIDE / max(picture.shape)
    if factor >= 1:
        return picture
    height, width = (max(1, round(side * factor)) for side in picture.shape[:2])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def decode_picture(data: bytes) -> np.ndarray:
    """Returns the picture decoded from a file's bytes as RGB, uint8, shape (height, width, 3).

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
        # Pillow would clip them to 0..255, whatever their range; OpenCV does not read them.
        raise ValueError("floating-point or 32-bit pixels: save it anew with 8 or 16 bits a channel")
    # OpenCV may return a damaged JPEG with its lower half grey and no error. Only JPEGs that fail a quick
    # check and the other formats are decoded twice.
    if image.format != "JPEG" or not _looks_whole(data, buffer.tell(), "progressive" in image.info):
        _decode_by_pillow(image)
    # OpenCV gets the colours of CMYK wrong unless it is inverted, and its older versions cannot read GIF.
    pixels = None if image.mode == "CMYK" or image.format == "GIF" else _decode_by_opencv(data)
    if pixels is None:
        pixels = np.array(_decode_by_pillow(image).convert("RGB"))
    _check_bits(pixels, image.mode.startswith("I;16") or _is_deep_png(data))
    return pixels


def _looks_whole(jpeg: bytes, scan: int, progressive: bool) -> bool:
    """Returns whether a JPEG's scan, starting where Pillow stopped reading, is followed by the end marker.

    A progressive JPEG has several scans with other markers between them; its end may come anywhere later.
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
    return data.startswith(b"\x89PNG") and data[24:25] == b"\x10"  # bits per channel, in its header


def _check_bits(pixels: np.ndarray, had_sixteen: bool) -> None:
    """Raises ValueError for a 12-bit scan saved with 16 bits: converted to 8 bits, it keeps at most 4."""
    if had_sixteen and pixels.max() < 16:
        raise ValueError(
            "16-bit pixels that use 12 bits or fewer: nearly black, save it stretched to 8 bits a channel"
        )


def _decode_without_pillow(data: bytes) -> np.ndarray:
    """Returns what OpenCV alone makes of a file, RGB.

    Formats not in `FORMATS` and truncated JPEGs are refused here, too. What Pillow would add: its own check
    for files damaged in the middle, a pixel limit before decoding (OpenCV's own is 2**30), and the right
    colours of a CMYK JPEG that is not inverted.
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
    """Returns the offset of a JPEG's first scan, after its headers and any thumbnail in them."""
    place = 2
    while place + 4 <= len(jpeg) and jpeg[place] == 0xFF:
        if jpeg[place : place + 2] == START_OF_SCAN:
            return place
        is_filling = jpeg[place + 1] == 0xFF
        place += 1 if is_filling else 2 + int.from_bytes(jpeg[place + 2 : place + 4])
    return len(jpeg)


def _open_header(buffer: io.BytesIO) -> "Image.Image":
    """Returns Pillow's image with its header read and no pixel decoded yet."""
    try:
        return Image.open(buffer, formats=FORMATS)
    except Image.UnidentifiedImageError as error:
        raise ValueError(f"not a picture: no whole header of {', '.join(FORMATS)}") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"too many pixels: {one_line(error)}") from error
    except Exception as error:  # Pillow's plugins raise many kinds of error on broken headers
        raise ValueError(f"truncated or damaged: {one_line(error)}") from error


def _decode_by_pillow(image: "Image.Image") -> "Image.Image":
    """Returns the decoded picture, upright; the first frame if there are several."""
    try:
        image.load()
        return ImageOps.exif_transpose(image)
    except Exception as error:  # OSError, SyntaxError, struct.error, EOFError, IndexError, ...
        raise ValueError(f"truncated or damaged: {one_line(error)}") from error


def _decode_by_opencv(data: bytes) -> np.ndarray | None:
    """Returns the RGB pixels, or None if OpenCV cannot read them."""
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:
        return None
