"""Paths on a laptop, on Kaggle and on Colab, and the facts of the published experiment.

Nothing here writes to the disk; `find_paths` only looks whether it is on Kaggle.
"""

import os
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parents[1]  # the repository

# Folder names that denote a part of a data set, not a class.
TEST_NAMES = {"test", "testing", "test1", "test2", "test_set", "testing_set"}
PART_NAMES = {"train", "training", "val", "valid", "validation", "dev", "eval", "evaluation", "holdout"}
PART_NAMES |= {"train_set", "training_set", "val_set", "validation_set"} | TEST_NAMES

# ---- The published experiment on Kaggle's Dogs vs. Cats -------------------------------------
PUBLISHED_IMAGE_SIZE = 180
PUBLISHED_SPLIT_SEED = 42
PUBLISHED_HELD_BACK = 0.4  # validation and test together, halved afterwards
PUBLISHED_BEST = {
    "conv_1_filter": 96,
    "conv_1_kernel": 5,
    "conv_2_filter": 128,
    "conv_2_kernel": 3,
    "conv_3_filter": 128,
    "conv_3_kernel": 5,
    "dense_1_units": 384,
}
PUBLISHED_PARAMETERS = 24_319_489
PUBLISHED_TEST_LOSS = 1.085  # Keras's figure: cross-entropy plus the L2 penalties
PUBLISHED_TEST_ACCURACY = 0.7484
PUBLISHED_TEST_PICTURES = 5_000

# ---- Facts of the Dogs vs. Cats pictures -----------------------------------------------------
# Wrong labels that have been discussed in public, by their names on Kaggle.
KNOWN_WRONG_LABELS = (
    "cat.1450",
    "cat.4338",
    "dog.1043",
    "dog.5604",
    "dog.8736",
    "dog.9517",
    "dog.10237",
    "dog.10747",
)


class Paths(NamedTuple):
    """The three directories that a run uses."""

    input: Path  # data sets provided by the host, read-only
    data: Path  # raw data, unpacked data, pixel caches
    output: Path  # one folder per run


def find_paths() -> Paths:
    """Returns the paths on this machine; environment variables override them.

    On Kaggle the data go to the scratch disk, because everything under `working` is saved as
    the notebook's output: tables and models belong there, 25,000 unpacked pictures do not.

    Environment: `KAGGLE_ROOT` (default `/kaggle`), `DATA_ROOT`, `OUTPUT_ROOT`; relative paths are resolved
    against the project folder, wherever a notebook runs.
    """

    def place(variable: str, default: Path) -> Path:
        given = os.environ.get(variable)
        return PROJECT / Path(given).expanduser() if given else default

    kaggle = place("KAGGLE_ROOT", Path("/kaggle"))
    data, output = PROJECT / "data", PROJECT / "tuning_output"
    if (kaggle / "working").is_dir():
        data, output = kaggle / "temp" / "data", kaggle / "working" / "tuning_output"
    return Paths(kaggle / "input", place("DATA_ROOT", data), place("OUTPUT_ROOT", output))


def is_headless() -> bool:
    """Returns whether nobody is watching: progress bars are then off, and each epoch logs a line instead.

    Environment: `HEADLESS`, which `src.pipeline` sets for the notebooks it runs.
    """
    return os.environ.get("HEADLESS", "") == "1"
