"""Ranges of the random transformations, and parameters drawn from them; `src.images.warping` applies these.

Rotation, shift, shear, zoom and flip have the names and the meaning of Keras's `ImageDataGenerator`; crop
and colours are additions.
"""

from dataclasses import dataclass, fields, replace

import numpy as np

from src.images.warping import FILL_MODES

FRACTIONS = ["width_shift_range", "height_shift_range", "zoom_range", "crop_range"]
FRACTIONS += ["brightness", "contrast", "saturation"]
KERAS_DRAWS = 8  # random numbers per picture for the transformations of ImageDataGenerator
DRAWS = 14  # including those for crop and colours


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random transformations; the defaults are the published experiment's.

    Attributes:
        rotation_range: largest rotation either way, in degrees.
        width_shift_range: largest shift along the width, as a fraction of it, in [0, 1).
        height_shift_range: the same along the height.
        shear_range: largest shear either way, in degrees (not radians: Keras means degrees).
        zoom_range: z zooms each axis by its own factor from [1 - z, 1 + z].
        horizontal_flip: whether pictures are mirrored, with probability 0.5.
        vertical_flip: whether pictures are flipped upside down, with probability 0.5.
        fill_mode: how to fill what lies outside the picture: nearest, reflect or constant (black).
        crop_range: c replaces the picture by a square of 1 - c to 1 of its side, anywhere in it
            (random resized crop).
        brightness: largest change either way, as a fraction; the same for contrast and saturation.
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
        """Raises ValueError if a range or the fill mode is invalid."""
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
        """Returns the same transformations with all ranges multiplied; fractions are capped at 0.9."""
        ranges = [field.name for field in fields(self) if field.type is float]
        scaled = {name: getattr(self, name) * strength for name in ranges}
        return replace(self, **scaled | {name: min(0.9, scaled[name]) for name in FRACTIONS})

    def draw(self, uniform: np.ndarray, image_size: int) -> dict[str, np.ndarray]:
        """Returns the transform parameters, one array over all pictures per key: Keras's, crop and colours.

        Args:
            uniform: random numbers in [0, 1), shape (pictures, DRAWS).
            image_size: side of the square pictures, in pixels.
        """
        spread = 2 * uniform - 1  # in [-1, 1)
        return {
            "theta": spread[:, 0] * self.rotation_range,
            "tx": spread[:, 1] * self.width_shift_range * image_size,  # Keras swaps the two ranges
            "ty": spread[:, 2] * self.height_shift_range * image_size,
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
