"""The preprocessing that every network here expects, and its inverse for display.

The pixel cache and `src.predict` both use it: a network predicts on pictures prepared as in training.
"""

import cv2
import numpy as np

# Means of ImageNet's blue, green and red, as `keras.applications.resnet50.preprocess_input` uses them.
IMAGENET_MEANS = np.array([103.939, 116.779, 123.68], dtype="float32")
# The value of `preprocessing` in the JSON beside a saved model: what `preprocess` does.
PREPROCESSING = "RGB to BGR, ImageNet means off (keras.applications.resnet50.preprocess_input)"
INTERPOLATIONS = {
    "area": cv2.INTER_AREA,
    "bilinear": cv2.INTER_LINEAR,
    "nearest": cv2.INTER_NEAREST_EXACT,  # the default of Keras's generators
}


def check_squares(image_size: int, interpolation: str) -> None:
    """Raises ValueError for an unknown interpolation, or squares with sides of less than 8 pixels."""
    if interpolation not in INTERPOLATIONS:
        raise ValueError(
            f"interpolation {interpolation!r} is unknown; choose one of {', '.join(INTERPOLATIONS)}"
        )
    if image_size < 8:
        raise ValueError(f"image_size is {image_size}; three poolings need at least 8 pixels")


def resize_square(picture: np.ndarray, side: int, interpolation: str) -> np.ndarray:
    """Returns the picture stretched to a square, whatever its shape, uint8, shape (side, side, 3).

    Args:
        picture: uint8, shape (height, width, 3).
        side: in pixels.
        interpolation: area, bilinear or nearest.
    """
    if interpolation == "area" and min(picture.shape[:2]) < side:
        interpolation = "bilinear"  # area averages what falls into a pixel; it cannot enlarge
    return cv2.resize(picture, (side, side), interpolation=INTERPOLATIONS[interpolation])


def preprocess(pictures: np.ndarray) -> np.ndarray:
    """Returns float32 pictures, BGR minus ImageNet's means, from RGB in 0..255, shape (..., 3).

    It converts one picture at a time, so that each stays in the CPU's cache, and uses OpenCV: NumPy takes
    longer for this than the warp does.
    """
    result = np.empty(pictures.shape, dtype="float32")
    squares, means = (-1, *pictures.shape[-3:]), (*IMAGENET_MEANS.tolist(), 0)
    for picture, target in zip(pictures.reshape(squares), result.reshape(squares), strict=True):
        turned = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        cv2.subtract(turned, means, dst=target, dtype=cv2.CV_32F)
    return result


def undo_preprocess(pictures: np.ndarray) -> np.ndarray:
    """Returns the RGB uint8 pictures that `preprocess` was given, for display."""
    return np.rint(pictures + IMAGENET_MEANS)[..., ::-1].clip(0, 255).astype("uint8")
