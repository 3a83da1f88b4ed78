"""One picture file in, RGB pixels or a reason out; judged by decoding, never by how a header looks."""

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps
from scipy.fft import dct

from src.messages import one_line

# Pillow tries no other format: some of its plugins start other programs (EPS starts Ghostscript).
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")
MAXIMUM_BYTES = 300_000_000
MAXIMUM_PIXELS = 100_000_000
MINIMUM_SIDE = 2  # a line of pixels is no photograph, and cannot be resized to one
MINIMUM_CONTRAST = 2  # standard deviation of the grey levels
END_OF_JPEG = b"\xff\xd9"
HASH_SIDE = 32  # pixels of the grey picture that is hashed
LOWEST = dct(np.eye(HASH_SIDE), axis=0)[:16]  # the 16 lowest of its frequencies along one side


def read_picture(path: Path | str) -> np.ndarray:
    """Returns the picture of a file as RGB, uint8, shape (height, width, 3).

    It looks as OpenCV's IMREAD_COLOR shows it: turned upright by EXIF, 8 bits a channel, alpha dropped.

    Raises:
        ValueError: the file is no usable picture; one line with the file and the reason.
        OSError: the file cannot be opened.
    """
    try:
        return decode_picture(Path(path).read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is left out of every data set: {error}") from error
    except OSError as error:
        reason = f"{path} cannot be read: {error.strerror}; put the file back or run notebook 01 again"
        raise type(error)(reason) from error


def decode_picture(data: bytes) -> np.ndarray:
    """Returns the picture in a file's bytes as RGB, uint8, shape (height, width, 3).

    Raises:
        ValueError: no usable picture; the message is one line, `kind` or `kind: detail`.
    """
    if not data:
        raise ValueError("zero bytes")
    buffer = io.BytesIO(data)
    image = _open_header(buffer)
    width, height = image.size
    if height * width > MAXIMUM_PIXELS:
        raise ValueError(f"too many pixels: the header declares {width} x {height}")
    if min(height, width) < MINIMUM_SIDE:
        raise ValueError(f"too small: {width} x {height} pixels")
    # OpenCV may give a cut-off JPEG back with its lower half grey, and no error. A whole one has its
    # end marker somewhere behind the start of its scan, where Pillow has stopped reading. Only files
    # that fail this quick look, and the other formats, are decoded twice.
    whole_jpeg = image.format == "JPEG" and data.rfind(END_OF_JPEG, buffer.tell()) >= 0
    if not whole_jpeg:
        _decode_by_pillow(image)
    # OpenCV has no rule for inks that were not inverted, and its older versions know no GIF.
    pixels = None if image.mode == "CMYK" or image.format == "GIF" else _decode_by_opencv(data)
    if pixels is None:
        pixels = np.array(_decode_by_pillow(image).convert("RGB"))
    return pixels


def _open_header(buffer: io.BytesIO) -> Image.Image:
    """Returns Pillow's picture with its header read and no pixel decoded."""
    try:
        return Image.open(buffer, formats=FORMATS)
    except Image.UnidentifiedImageError as error:
        raise ValueError(f"not a picture: no whole header of {', '.join(FORMATS)}") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"too many pixels: {one_line(error)}") from error
    except Exception as error:  # Pillow's plugins raise many kinds on broken headers
        raise ValueError(f"truncated or damaged: {one_line(error)}") from error


def _decode_by_pillow(image: Image.Image) -> Image.Image:
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


def perceptual_hash(picture: np.ndarray) -> str:
    """Returns a hash of how the picture looks: 64 hex digits, or "" for a picture without contrast.

    It is ImageHash's phash with 256 bits, which say for each of the 16 x 16 lowest frequencies of the
    grey picture at 32 x 32 pixels whether it is above the median; two products of matrices take a tenth
    of ImageHash's own time. Saving anew or resizing changes a few bits. A plain area has no frequencies
    to compare, so it resembles nothing.

    Args:
        picture: RGB, uint8, shape (height, width, 3).
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    if max(grey.shape) <= 16 * HASH_SIDE:
        # Averaging over areas takes as long as decoding, unless they are whole blocks of pixels. Up to
        # twice their size the way there by bilinear interpolation passes over no pixel.
        grey = cv2.resize(grey, (8 * HASH_SIDE, 8 * HASH_SIDE), interpolation=cv2.INTER_LINEAR)
    grey = cv2.resize(grey, (HASH_SIDE, HASH_SIDE), interpolation=cv2.INTER_AREA)
    if cv2.meanStdDev(grey)[1].item() < MINIMUM_CONTRAST:
        return ""
    frequencies = LOWEST @ grey @ LOWEST.T
    ordered = np.sort(frequencies, axis=None)
    median = (ordered[127] + ordered[128]) / 2  # np.median itself takes ten times as long
    return np.packbits(frequencies > median).tobytes().hex()
