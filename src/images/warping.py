"""Applies transformations to pictures: one affine warp and one colour change each, on uint8.

The warp gives the same pictures as Keras's `ImageDataGenerator`, with one call of `cv2.warpAffine` instead of
three of `scipy.ndimage.affine_transform` on float32.
"""

import cv2
import numpy as np

FILL_MODES = {
    "nearest": cv2.BORDER_REPLICATE,  # aaaa|abcd|dddd
    "reflect": cv2.BORDER_REFLECT,  # dcba|abcd|dcba
    "constant": cv2.BORDER_REPLICATE,  # 0000|abcd|0000, blackened afterwards
}
GREY = np.array([0.299, 0.587, 0.114])  # luma weights of red, green and blue (ITU-R BT.601)
MIDDLE = 128.0  # the grey that contrast leaves unchanged


def apply_transforms(
    pictures: np.ndarray, rows: np.ndarray, transform: dict[str, np.ndarray], fill_mode: str, out: np.ndarray
) -> None:
    """Writes the transformed pictures of these rows to `out`, shape (rows, side, side, 3), uint8."""
    pictures = np.asarray(pictures)  # each picture of a memory map would be a memory map, made slowly
    matrices = _source_matrices(transform, pictures.shape[1], out.shape[1]).transpose(2, 0, 1)
    margins = _margins(matrices, pictures.shape[1], out.shape[1])
    colours = _colour_matrices(transform)
    changes = [None] * len(rows) if colours is None else colours.transpose(2, 0, 1)
    for target, row, matrix, margin, change in zip(out, rows, matrices, margins, changes, strict=True):
        _warp(pictures[row], matrix, margin, change, fill_mode, target)


def _affine_matrices(transform: dict[str, np.ndarray], image_size: int) -> np.ndarray:
    """Returns 2x3 matrices, shape (2, 3, n), that map (x, y) in a result to (x, y) in its source.

    The order of the factors (rotation, shift, shear, zoom), the x, y order and the centre at
    size / 2 - 0.5 are those of `keras.preprocessing.image.apply_affine_transform`.

    Args:
        transform: Keras's keys theta and shear (degrees), tx and ty (pixels), zx and zy (factors),
            flip_horizontal and flip_vertical, with the values of n pictures each.
        image_size: side of the square pictures, in pixels.
    """
    theta = np.deg2rad(transform["theta"])
    slanted = theta + np.deg2rad(transform["shear"])
    tx, ty, zx, zy = (transform[name] for name in ("tx", "ty", "zx", "zy"))
    cosine, sine = np.cos(theta), np.sin(theta)
    linear = np.array([[zx * cosine, -zy * np.sin(slanted)], [zx * sine, zy * np.cos(slanted)]])
    centre = image_size / 2 - 0.5
    offset = np.array([cosine * tx - sine * ty, sine * tx + cosine * ty]) + centre * (1 - linear.sum(axis=1))
    # Keras flips the finished picture, so the flip comes first on the way back to the source.
    for axis, flip in enumerate((transform["flip_horizontal"], transform["flip_vertical"])):
        offset += linear[:, axis] * np.where(flip, image_size - 1, 0)
        linear[:, axis] *= np.where(flip, -1, 1)
    return np.concatenate([linear, offset[:, None]], axis=1)


def _source_matrices(transform: dict[str, np.ndarray], image_size: int, result_size: int) -> np.ndarray:
    """Returns matrices like `_affine_matrices`, from results of that size and with the crop included."""
    crop = transform["crop"]
    matrix = crop * _affine_matrices(transform, image_size)
    corner = np.array([transform["crop_x"], transform["crop_y"]])
    matrix[:, 2] += (1 - crop) * (image_size - 1) * corner
    step = image_size / result_size  # pixels are squares: a result's pixel centre maps to its area's centre
    matrix[:, 2] += matrix[:, :2].sum(axis=1) * (step / 2 - 0.5)
    matrix[:, :2] *= step
    return matrix


def _colour_matrices(transform: dict[str, np.ndarray]) -> np.ndarray | None:
    """Returns 3x4 matrices, shape (3, 4, n), that change RGB in 0..255, or None if nothing changes.

    Saturation blends the colours with their grey, brightness multiplies them, contrast moves them away
    from the middle grey.
    """
    brightness, contrast, saturation = (transform[name] for name in ("brightness", "contrast", "saturation"))
    if all(np.all(factor == 1) for factor in (brightness, contrast, saturation)):
        return None
    mixing = np.multiply.outer(np.eye(3), saturation)
    mixing += np.multiply.outer(np.tile(GREY, (3, 1)), 1 - saturation)
    offset = np.multiply.outer(np.full((3, 1), MIDDLE), 1 - contrast)
    return np.concatenate([contrast * brightness * mixing, offset], axis=1)


def _margins(matrices: np.ndarray, size: int, result_size: int) -> np.ndarray:
    """Returns how many pixels beyond its source a result needs: left, top, right, bottom.

    Args:
        matrices: from `_source_matrices`, shape (n, 2, 3).
        size: side of the source, in pixels.
        result_size: side of the result.
    """
    last = result_size - 1
    corners = matrices @ np.array([[0, last, 0, last], [0, 0, last, last], [1, 1, 1, 1]])
    before, behind = 1 - np.floor(corners.min(axis=-1)), np.ceil(corners.max(axis=-1)) + 2 - size
    return np.maximum(0, np.concatenate([before, behind], axis=-1)).astype(int)


def _warp(
    picture: np.ndarray,
    matrix: np.ndarray,
    margin: np.ndarray,
    colours: np.ndarray | None,
    fill_mode: str,
    out: np.ndarray,
) -> None:
    """Fills `out` with the warped picture."""
    left, top, right, bottom = margin.tolist()
    # A border added beforehand costs less than one that is looked up for every pixel.
    whole = cv2.copyMakeBorder(picture, top, bottom, left, right, FILL_MODES[fill_mode])
    moved = matrix.copy()
    moved[:, 2] += left, top
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cv2.warpAffine(whole, moved, out.shape[:2], dst=out, flags=flags, borderMode=cv2.BORDER_CONSTANT)
    if colours is not None:
        cv2.transform(out, colours, dst=out)
    if fill_mode == "constant":
        # OpenCV would blend the edge with black; Keras blackens only what lies outside the picture.
        x = np.arange(len(out))
        for across, down, offset in matrix:
            place = across * x + (down * x + offset)[:, None]
            out[(place < 0) | (place > len(picture) - 1)] = 0
