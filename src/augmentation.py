"""ImageDataGenerator's random transformations, composed into one affine map a picture.

Same parameters, same meaning, same pictures as Keras's `ImageDataGenerator`, but one call of
`cv2.warpAffine` on uint8 instead of three of `scipy.ndimage.affine_transform` on float32.
"""

from dataclasses import dataclass

import cv2
import numpy as np

FILL_MODES = {
    "nearest": cv2.BORDER_REPLICATE,  # aaaa|abcd|dddd
    "reflect": cv2.BORDER_REFLECT,  # dcba|abcd|dcba
    "constant": cv2.BORDER_REPLICATE,  # 0000|abcd|0000, blackened afterwards
}
DRAWS = 8  # random numbers used for one picture


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
    """

    rotation_range: float = 0.0
    width_shift_range: float = 0.3
    height_shift_range: float = 0.3
    shear_range: float = 0.2
    zoom_range: float = 0.2
    horizontal_flip: bool = True
    vertical_flip: bool = False
    fill_mode: str = "nearest"

    def __post_init__(self):
        """Raises ValueError where a range has no meaning."""
        if self.fill_mode not in FILL_MODES:
            raise ValueError(
                f"fill_mode {self.fill_mode!r} is unknown; choose one of {', '.join(FILL_MODES)}"
            )
        for name in ("width_shift_range", "height_shift_range", "zoom_range"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it is a fraction, give 0 <= value < 1")
        for name in ("rotation_range", "shear_range"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it is in degrees, give 0 or more")

    def draw(self, uniform: np.ndarray, image_size: int) -> list[dict]:
        """Returns one dictionary of transform parameters a picture, under Keras's own keys.

        Args:
            uniform: random numbers in [0, 1), shape (pictures, DRAWS).
            image_size: side of the square pictures, in pixels.
        """
        spread = 2 * np.asarray(uniform) - 1  # in [-1, 1)
        columns = {
            "theta": spread[:, 0] * self.rotation_range,
            "tx": spread[:, 1] * self.height_shift_range * image_size,
            "ty": spread[:, 2] * self.width_shift_range * image_size,
            "shear": spread[:, 3] * self.shear_range,
            "zx": 1 + spread[:, 4] * self.zoom_range,
            "zy": 1 + spread[:, 5] * self.zoom_range,
            "flip_horizontal": (spread[:, 6] < 0) & self.horizontal_flip,
            "flip_vertical": (spread[:, 7] < 0) & self.vertical_flip,
        }
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def affine_matrix(transform: dict, image_size: int) -> np.ndarray:
    """Returns the 2x3 matrix that maps (x, y) of the result to (x, y) of the source.

    The order of the factors (rotation, shift, shear, zoom), the x, y order and the centre at
    size / 2 - 0.5 are those of `keras.preprocessing.image.apply_affine_transform`.

    Args:
        transform: Keras's keys theta and shear (degrees), tx and ty (pixels), zx and zy (factors),
            flip_horizontal and flip_vertical; a missing one changes nothing.
        image_size: side of the square picture, in pixels.
    """
    theta, shear = np.deg2rad(transform.get("theta", 0)), np.deg2rad(transform.get("shear", 0))
    tx, ty = transform.get("tx", 0), transform.get("ty", 0)
    zx, zy = transform.get("zx", 1), transform.get("zy", 1)
    cosine, sine = np.cos(theta), np.sin(theta)
    a, b = zx * np.array([cosine, sine])
    c = zy * (-cosine * np.sin(shear) - sine * np.cos(shear))
    d = zy * (-sine * np.sin(shear) + cosine * np.cos(shear))
    centre = image_size / 2 - 0.5
    linear = np.array([[a, c], [b, d]])
    shift = np.array([cosine * tx - sine * ty, sine * tx + cosine * ty])
    offset = shift + centre - linear @ [centre, centre]
    # Keras mirrors the finished picture, so the mirror is the first map on the way back to the source.
    for axis, flip in enumerate((transform.get("flip_horizontal"), transform.get("flip_vertical"))):
        if flip:
            offset = offset + linear[:, axis] * (image_size - 1)
            linear = linear * np.where(np.arange(2) == axis, -1, 1)
    return np.column_stack([linear, offset])


def apply_transform(
    picture: np.ndarray, transform: dict, fill_mode: str = "nearest", out: np.ndarray | None = None
) -> np.ndarray:
    """Returns the transformed picture, shape (size, size, 3), uint8, written to `out` where given."""
    size = picture.shape[0]
    matrix = affine_matrix(transform, size)
    result = cv2.warpAffine(
        picture,
        matrix,
        (size, size),
        dst=out,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=FILL_MODES[fill_mode],
    )
    if fill_mode == "constant":
        # OpenCV would blend the edge with black; Keras blackens just what lies outside the picture.
        x, y = np.meshgrid(np.arange(size), np.arange(size))
        source = np.einsum("ij,jyx->iyx", matrix, np.stack([x, y, np.ones_like(x)]))
        result[((source < 0) | (source > size - 1)).any(axis=0)] = 0
    return result
