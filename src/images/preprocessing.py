"""What every network here expects of its pictures, and how to look at them again.

The pixel cache and `src.predict` both come here: a network is asked about pictures as it learned them.
"""

import cv2
import numpy as np

# Means of ImageNet's blue, green and red, as `keras.applications.resnet50.preprocess_input` uses them.
IMAGENET_MEANS = np.array([103.939, 116.779, 123.68], dtype="float32")
# What the JSON beside a saved model says of `preprocess`.
PREPROCESSING = "RGB to BGR, ImageNet means off (keras.applications.resnet50.preprocess_input)"
INTERPOLATIONS = {
    "area": cv2.INTER_AREA,
    "bilinear": cv2.INTER_LINEAR,
    "nearest": cv2.INTER_NEAREST_EXACT,  # what Keras's generators do unless told otherwise
}


def check_squares(image_size: int, interpolation: str) -> None:
    """Raises ValueError for an interpolation that is unknown, or squares of less than 8 pixels a side."""
    if interpolation not in INTERPOLATIONS:
        raise ValueError(
            f"interpolation {interpolation!r} is unknown; choose one of {', '.join(INTERPOLATIONS)}"
        )
    if image_size < 8:
        raise ValueError(f"image_size is {image_size}; three poolings need at least 8 pixels")


def resize_square(picture: np.ndarray, side: int, interpolation: str) -> np.ndarray:
    """Returns the picture squeezed or stretched to a square, uint8, shape (side, side, 3).

    Args:
        picture: uint8, shape (height, width, 3).
        side: in pixels.
        interpolation: area, bilinear or nearest.
    """
    if interpolation == "area" and min(picture.shape[:2]) < side:
        interpolation = "bilinear"  # shrinking by area averages what falls into a pixel; it cannot enlarge
    return cv2.resize(picture, (side, side), interpolation=INTERPOLATIONS[interpolation])


def preprocess(pictures: np.ndarray) -> np.ndarray:
    """Returns float32 pictures, BGR with ImageNet's means off, from RGB of 0 to 255, shape (..., 3).

    One picture after another, so that each stays in the processor's cache, and by OpenCV: NumPy takes longer
    for it than the warp does.
    """
    result = np.empty(pictures.shape, dtype="float32")
    squares, means = (-1, *pictures.shape[-3:]), (*IMAGENET_MEANS.tolist(), 0)
    for picture, target in zip(pictures.reshape(squares), result.reshape(squares), strict=True):
        turned = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        cv2.subtract(turned, means, dst=target, dtype=cv2.CV_32F)
    return result


def undo_preprocess(pictures: np.ndarray) -> np.ndarray:
    """Returns the RGB uint8 pictures that `preprocess` was given, for the eye."""
    return np.rint(pictures + IMAGENET_MEANS)[..., ::-1].clip(0, 255).astype("uint8")
