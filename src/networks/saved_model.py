"""A saved network and the JSON beside it: all that is needed to predict with it.

Like everything that `src.predict` imports, it needs only Keras with its backend, OpenCV and NumPy.
"""

import json
from pathlib import Path
from typing import NamedTuple

import keras

from src.images.preprocessing import PREPROCESSING, check_squares
from src.running.devices import without_xla
from src.running.messages import one_line, quote

AGAIN = "copy both files once more, or run the notebook that saved them again"


class SavedModel(NamedTuple):
    """A network, and what its input pictures must be like."""

    network: keras.Model
    class_names: list[str]  # of code 0, of code 1
    image_size: int  # side of the squares, in pixels
    interpolation: str


def load_saved_model(model_file: Path) -> SavedModel:
    """Returns a saved network with the facts from the JSON file of the same name beside it.

    Raises:
        FileNotFoundError: one of the two files is missing.
        ValueError: the network cannot be opened or is not a binary classifier, or the JSON is damaged, lacks
            something, or requires a preprocessing that `src.images.preprocessing` does not provide.
    """
    if not model_file.is_file():
        raise FileNotFoundError(f"{model_file} is missing; give the .keras file that notebook 04 or 06 saved")
    facts_file = model_file.with_suffix(".json")
    try:
        facts = json.loads(facts_file.read_text(encoding="utf-8"))
        class_names, image_size, interpolation = _read_facts(facts)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{facts_file} is missing; it says what {model_file.name} expects, and belongs beside it; {AGAIN}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{facts_file}: {one_line(error, 300)}; {AGAIN}") from error
    network = open_network(model_file, image_size)
    return SavedModel(network, class_names, image_size, interpolation)


def _read_facts(facts: dict) -> tuple[list[str], int, str]:
    """Returns class names, picture size and interpolation."""
    if not isinstance(facts, dict):
        raise ValueError("it holds no names and values")
    for name in ("class_names", "image_size", "interpolation", "preprocessing"):
        if name not in facts:
            raise ValueError(f"it lacks {name}")
    names, image_size, preprocessing = facts["class_names"], facts["image_size"], facts["preprocessing"]
    if not isinstance(names, list) or len(names) != 2 or not all(isinstance(name, str) for name in names):
        raise ValueError(f"class_names is {quote(names)}; wanted are two texts")
    if type(image_size) is not int or image_size > 4_096:
        raise ValueError(f"image_size is {quote(image_size)}; wanted is a whole number of pixels")
    if preprocessing != PREPROCESSING:
        raise ValueError(f"preprocessing is {quote(preprocessing)}; known is only {PREPROCESSING!r}")
    check_squares(image_size, str(facts["interpolation"]))
    return names, image_size, facts["interpolation"]


def open_network(
    model_file: Path, image_size: int, compiled: bool = False, notebook: str = "04"
) -> keras.Model:
    """Returns a saved network with a single output; code that the file may contain is not run.

    Args:
        model_file: the saved `.keras` model.
        image_size: side of the pictures it will be given, in pixels.
        compiled: whether it will also be evaluated, not only used to predict.
        notebook: number of the notebook that saves it.

    Raises:
        ValueError: it is not a complete Keras model, needs code to open, or has other inputs or outputs.
    """
    again = f"run notebook {notebook} again"
    try:
        model = keras.models.load_model(model_file, compile=compiled, safe_mode=True)
    except Exception as error:  # Keras raises many kinds of error
        raise ValueError(f"{model_file} is no model to be opened: {one_line(error, 300)}; {again}") from error
    taken, given = getattr(model, "input_shape", None), getattr(model, "output_shape", None)
    if taken not in [(None, side, side, 3) for side in (image_size, None)] or given != (None, 1):
        raise ValueError(
            f"{model_file} makes {given} of {taken}; wanted is one probability (None, 1) of pictures "
            f"(None, {image_size}, {image_size}, 3); {again}"
        )
    return without_xla(model)
