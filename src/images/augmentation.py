"""Random transformations: one affine map and one change of colour a picture.

Rotation, shift, shear, zoom and mirror have the same parameters and meaning, and give the same pictures,
as Keras's `ImageDataGenerator`, but by one call of `cv2.warpAffine` on uint8 instead of three of
`scipy.ndimage.affine_transform` on float32. Crop and colours are added to it.
"""

from dataclasses import dataclass, fields, replace

import cv2
import numpy as np

FRACTIONS = ["width_shift_range", "height_shift_range", "zoom_range", "crop_range"]
FRACTIONS += ["brightness", "contrast", "saturation"]
FILL_MODES = {
    "nearest": cv2.BORDER_REPLICATE,  # aaaa|abcd|dddd
    "reflect": cv2.BORDER_REFLECT,  # dcba|abcd|dcba
    "constant": cv2.BORDER_REPLICATE,  # 0000|abcd|0000, blackened afterwards
}
KERAS_DRAWS = 8  # random numbers behind one picture's transformations by ImageDataGenerator
DRAWS = 14  # with those of crop and colours
GREY = np.array([0.299, 0.587, 0.114])  # how bright red, green and blue look (ITU-R BT.601)
MIDDLE = 128.0  # the grey that contrast leaves as it is


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random transformations; the defaults are the published experiment's.

    Attributes:
        rotation_range: largest rotation either way, in degrees.
        width_shift_range: largest shift along the width, as a fraction of it, in [0, 1).
        height_shift_range: the same along the height.
        shear_range: largest shear either way, in degrees (not radians: Keras means degrees).
        zoom_range: z means that each axis is zoomed by a factor of its own from [1 - z, 1 + z].
        horizontal_flip: whether half of the pictures are mirrored.
        vertical_flip: whether half of the pictures are turned upside down.
        fill_mode: what lies outside the picture: nearest, reflect or constant (black).
        crop_range: c means that a square of 1 - c to 1 of the side, anywhere in the picture, is taken
            for the whole (random resized crop).
        brightness: largest change either way, as a fraction; contrast and saturation likewise.
    """

    rotation_range: float = 0.0
    width_shift_range: float = 0.3
    height_shift_range: float = 0.3
    shear_range: float = 0.2
    zoom_range: float = 0.2
    horizontal_flip: bool = True
    vertical_flip: bool = False
    fill_mode: str = "nearest"
    crop_range: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0

    def __post_init__(self):
        """Raises ValueError where a range has no meaning."""
        if self.fill_mode not in FILL_MODES:
            raise ValueError(
                f"fill_mode {self.fill_mode!r} is unknown; choose one of {', '.join(FILL_MODES)}"
            )
        for name in FRACTIONS:
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it is a fraction, give 0 <= value < 1")
        for name in ("rotation_range", "shear_range"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it is in degrees, give 0 or more")

    def strengthened(self, strength: float) -> "Augmentation":
        """Returns the same transformations with all ranges multiplied, fractions kept at 0.9 at most."""
        ranges = {field.name for field in fields(self) if field.type == "float" or field.type is float}
        scaled = {name: getattr(self, name) * strength for name in ranges}
        scaled.update({name: min(0.9, scaled[name]) for name in FRACTIONS})
        return replace(self, **scaled)

    def draw(self, uniform: np.ndarray, image_size: int) -> list[dict]:
        """Returns the transform parameters, one dictionary a picture; arguments as of `draw_columns`."""
        columns = self.draw_columns(uniform, image_size)
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]

    def draw_columns(self, uniform: np.ndarray, image_size: int) -> dict[str, np.ndarray]:
        """Returns the transform parameters, an array of all pictures' a key: Keras's, crop and colours.

        Args:
            uniform: random numbers in [0, 1), shape (pictures, DRAWS).
            image_size: side of the square pictures, in pixels.
        """
        spread = 2 * np.asarray(uniform) - 1  # in [-1, 1)
        return {
            "theta": spread[:, 0] * self.rotation_range,
            "tx": spread[:, 1] * self.height_shift_range * image_size,
            "ty": spread[:, 2] * self.width_shift_range * image_size,
            "shear": spread[:, 3] * self.shear_range,
            "zx": 1 + spread[:, 4] * self.zoom_range,
            "zy": 1 + spread[:, 5] * self.zoom_range,
            "flip_horizontal": (spread[:, 6] < 0) & self.horizontal_flip,
            "flip_vertical": (spread[:, 7] < 0) & self.vertical_flip,
            "crop": 1 - uniform[:, 8] * self.crop_range,
            "crop_x": uniform[:, 9],
            "crop_y": uniform[:, 10],
            "brightness": 1 + spread[:, 11] * self.brightness,
            "contrast": 1 + spread[:, 12] * self.contrast,
            "saturation": 1 + spread[:, 13] * self.saturation,
        }


def affine_matrix(transform: dict, image_size: int) -> np.ndarray:
    """Returns the 2x3 matrix that maps (x, y) of the result to (x, y) of the source.

    The order of the factors (rotation, shift, shear, zoom), the x, y order and the centre at
    size / 2 - 0.5 are those of `keras.preprocessing.image.apply_affine_transform`.

    Args:
        transform: Keras's keys theta and shear (degrees), tx and ty (pixels), zx and zy (factors),
            flip_horizontal and flip_vertical. A missing one changes nothing. Of arrays of n values it
            is n matrices, shape (2, 3, n).
        image_size: side of the square picture, in pixels.
    """
    theta = np.deg2rad(transform.get("theta", 0))
    slanted = theta + np.deg2rad(transform.get("shear", 0))
    tx, ty = transform.get("tx", 0), transform.get("ty", 0)
    zx, zy = transform.get("zx", 1), transform.get("zy", 1)
    cosine, sine = np.cos(theta), np.sin(theta)
    linear = np.array([[zx * cosine, -zy * np.sin(slanted)], [zx * sine, zy * np.cos(slanted)]])
    centre = image_size / 2 - 0.5
    offset = np.array([cosine * tx - sine * ty, sine * tx + cosine * ty]) + centre * (1 - linear.sum(axis=1))
    # Keras mirrors the finished picture, so the mirror is the first map on the way back to the source.
    for axis, flip in enumerate((transform.get("flip_horizontal"), transform.get("flip_vertical"))):
        offset += linear[:, axis] * np.where(flip, image_size - 1, 0)
        linear[:, axis] *= np.where(flip, -1, 1)
    return np.concatenate([linear, offset[:, None]], axis=1)


def source_matrix(transform: dict, image_size: int, result_size: int) -> np.ndarray:
    """Returns the 2x3 matrix from (x, y) of a result of that size to (x, y) of the source, crop included."""
    crop = transform.get("crop", 1)
    matrix = crop * affine_matrix(transform, image_size)
    corner = np.array([transform.get("crop_x", 0), transform.get("crop_y", 0)])
    matrix[:, 2] += (1 - crop) * (image_size - 1) * corner
    step = image_size / result_size  # pixels are squares: the middle of one stays the middle of its share
    matrix[:, 2] += matrix[:, :2].sum(axis=1) * (step / 2 - 0.5)
    matrix[:, :2] *= step
    return matrix


def colour_matrix(transform: dict) -> np.ndarray | None:
    """Returns the 3x4 matrix that changes RGB of 0 to 255, None where nothing changes.

    Saturation mixes the colours with their grey, brightness multiplies them, contrast moves them away
    from the middle grey. Of arrays of n values it is n matrices, shape (3, 4, n).
    """
    brightness, contrast = transform.get("brightness", 1.0), transform.get("contrast", 1.0)
    saturation = transform.get("saturation", 1.0)
    if all(np.all(factor == 1) for factor in (brightness, contrast, saturation)):
        return None
    mixing = np.multiply.outer(np.eye(3), saturation)
    mixing += np.multiply.outer(np.tile(GREY, (3, 1)), 1 - saturation)
    offset = np.multiply.outer(np.full((3, 1), MIDDLE), 1 - contrast)
    return np.concatenate([contrast * brightness * mixing, offset], axis=1)


def apply_transform(
    picture: np.ndarray, transform: dict, fill_mode: str = "nearest", out: np.ndarray | None = None
) -> np.ndarray:
    """Returns the transformed picture, uint8, as large as `out` and written to it where given."""
    out = np.empty_like(picture) if out is None else out
    matrix = source_matrix(transform, len(picture), len(out))
    return _warp(picture, matrix, colour_matrix(transform), fill_mode, out)


def apply_transforms(
    pictures: np.ndarray, rows: np.ndarray, columns: dict[str, np.ndarray], fill_mode: str, out: np.ndarray
) -> None:
    """Writes the pictures of these rows to `out`, transformed; all matrices at once cost next to nothing."""
    pictures = np.asarray(pictures)  # a picture of a memory map would be a memory map, made slowly
    matrices = source_matrix(columns, pictures.shape[1], out.shape[1]).transpose(2, 0, 1)
    colours = colour_matrix(columns)
    changes = [None] * len(rows) if colours is None else colours.transpose(2, 0, 1)
    for target, row, matrix, change in zip(out, rows, matrices, changes, strict=True):
        _warp(pictures[row], matrix, change, fill_mode, target)


def _warp(
    picture: np.ndarray, matrix: np.ndarray, colours: np.ndarray | None, fill_mode: str, out: np.ndarray
) -> np.ndarray:
    """Returns `out`, filled."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cv2.warpAffine(picture, matrix, out.shape[:2], dst=out, flags=flags, borderMode=FILL_MODES[fill_mode])
    if colours is not None:
        cv2.transform(out, colours, dst=out)
    if fill_mode == "constant":
        # OpenCV would blend the edge with black; Keras blackens just what lies outside the picture.
        x = np.arange(len(out))
        for across, down, offset in matrix:
            place = across * x + (down * x + offset)[:, None]
            out[(place < 0) | (place > len(picture) - 1)] = 0
    return out
