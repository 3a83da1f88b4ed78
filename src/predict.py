"""Classifies a folder of pictures with a saved network: `python -m src.predict MODEL FOLDER` prints a CSV.

The pictures are processed exactly as for training: decoded by `images.pictures` and resized by
`images.preprocessing`.
"""

import argparse
import csv
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from src.images.files import PICTURES, is_hidden, is_picture, list_files, natural_order, refuse_file
from src.images.pictures import decode_picture
from src.images.preprocessing import preprocess, resize_square
from src.networks.saved_model import SavedModel, load_saved_model
from src.running.messages import one_line

logger = logging.getLogger(__name__)

BATCH_SIZE = 64  # pictures in memory at a time
UNKNOWN = 0.5  # the probability of a picture that cannot be read
SECONDS = 5.0  # between two progress messages


class Prediction(NamedTuple):
    """A network's prediction for one file."""

    image_name: str
    probability: float  # of code 1
    reason: str  # why the file cannot be read, or ""


def list_pictures(folder: Path) -> list[tuple[str, Path]]:
    """Returns name and path of the pictures below a folder in natural order: 2.jpg before 10.jpg.

    Pictures are recognized by their extension. Other files and hidden ones are skipped, which is logged.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no pictures.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder; give the one that holds the pictures")
    files = list_files(folder)
    chosen = [(name, path) for name, path in files if is_picture(name) and not is_hidden(name)]
    if not chosen:
        known = ", ".join(sorted(PICTURES))
        raise ValueError(f"{folder} holds no pictures among {len(files):,} files; wanted are {known}")
    if others := sorted(set(files) - set(chosen)):
        names = one_line(", ".join(name for name, _ in others), 200)
        logger.info("ignored, not pictures by their names (%d): %s", len(others), names)
    return sorted(chosen, key=lambda file: natural_order(file[0]))


def predict_pictures(saved: SavedModel, files: Sequence[tuple[str, Path]]) -> Iterator[Prediction]:
    """Yields the network's prediction for each file, in order; only one batch is in memory at a time.

    Args:
        saved: from `load_saved_model`.
        files: names and paths, as from `list_pictures`.

    Raises:
        ValueError: the network returns something other than a probability.
    """
    told = time.monotonic()
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for first in range(0, len(files), BATCH_SIZE):
            part = files[first : first + BATCH_SIZE]
            squares = list(pool.map(lambda file: _read_square(file[1], saved), part))
            read = [square for square in squares if not isinstance(square, str)]
            probabilities = iter(_ask(saved, read) if read else [])
            for (name, _), square in zip(part, squares, strict=True):
                if isinstance(square, str):
                    yield Prediction(name, UNKNOWN, square)
                else:
                    yield Prediction(name, float(next(probabilities)), "")
            done = first + len(part)
            if done == len(files) or time.monotonic() > told + SECONDS:
                told = time.monotonic()
                logger.info("%s of %s pictures", f"{done:,}", f"{len(files):,}")


def _read_square(path: Path, saved: SavedModel) -> np.ndarray | str:
    """Returns the picture as the pixel cache would hold it, or the reason why it cannot be read."""
    try:
        if refusal := refuse_file(path):
            return refusal
        return resize_square(decode_picture(path.read_bytes()), saved.image_size, saved.interpolation)
    except OSError as error:
        return f"unreadable: {error.strerror}"
    except ValueError as error:
        return str(error)


def _ask(saved: SavedModel, squares: list[np.ndarray]) -> np.ndarray:
    probabilities = np.asarray(saved.network.predict_on_batch(preprocess(np.stack(squares))), "float64")
    if not ((probabilities >= 0) & (probabilities <= 1)).all():  # also catches NaN
        raise ValueError("the network gives numbers that are no probabilities; train it again")
    return probabilities.ravel()


def name_label(prediction: Prediction, class_names: list[str]) -> str:
    """Returns the name of the predicted class, or "" if the picture cannot be read."""
    return "" if prediction.reason else class_names[prediction.probability > 0.5]


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code; the CSV goes to stdout, everything else to stderr."""
    parser = argparse.ArgumentParser(prog="python -m src.predict", description=__doc__)
    parser.add_argument("model", type=Path, metavar="MODEL", help="a .keras file with its .json beside it")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of pictures; subfolders count, too")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.INFO, force=True)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # the reasons below are enough
    try:
        files = list_pictures(chosen.folder)
        saved = load_saved_model(chosen.model)
        unreadable = _print_table(saved, files)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{one_line(error)}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    for name, _, reason in unreadable:
        sys.stderr.write(f"{name} cannot be read, probability {UNKNOWN}: {reason}\n")
    return 0


def _print_table(saved: SavedModel, files: Sequence[tuple[str, Path]]) -> list[Prediction]:
    """Returns the predictions of unreadable pictures, after printing a row for every picture."""
    sys.stdout.reconfigure(encoding="utf-8")
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["image_name", "probability", "label"])
    unreadable = []
    for prediction in predict_pictures(saved, files):
        label = name_label(prediction, saved.class_names)
        table.writerow([prediction.image_name, f"{prediction.probability:.8f}", label])
        if prediction.reason:
            unreadable.append(prediction)
    sys.stdout.flush()
    return unreadable


if __name__ == "__main__":
    sys.exit(main())
