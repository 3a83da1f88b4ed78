"""The start of a notebook: its run folder, its seeds, its log, and on what it runs."""

import logging
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import keras

from src.config import find_paths

logger = logging.getLogger(__name__)


def start_run(name: str, seed: int, deterministic: str = "auto") -> Path:
    """Returns the run's folder, made where it is missing, after seeding Python, NumPy and Keras.

    Also turns on the log in the notebook and says once which versions and which device are at work.

    Args:
        name: the folder's name below the output folder.
        seed: of everything random in this notebook.
        deterministic: `yes`, `no`, or `auto`: yes on a CPU, no on an accelerator, where it costs speed.

    Raises:
        ValueError: a name that leaves the output folder, or another word for `deterministic`.
    """
    if name in ("", "..") or Path(name).name != name:
        raise ValueError(f"run is {name!r}; give the plain name of a folder, such as gpu-auto")
    if deterministic not in ("auto", "yes", "no"):
        raise ValueError(f"deterministic is {deterministic!r}; choose auto, yes or no")
    logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO, force=True)
    for talkative in ("matplotlib", "PIL", "absl", "h5py"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
    keras.utils.set_random_seed(seed)
    accelerator = has_accelerator()
    wanted = deterministic == "yes" or (deterministic == "auto" and not accelerator)
    if wanted and keras.backend.backend() == "tensorflow":
        import tensorflow  # the one switch that Keras has no neutral name for

        tensorflow.config.experimental.enable_op_determinism()
    folder = find_paths().output / name
    folder.mkdir(parents=True, exist_ok=True)
    packages = ", ".join(f"{package} {version(package)}" for package in ("keras", keras.backend.backend()))
    device = "accelerator" if accelerator else f"CPU with {os.cpu_count()} cores"
    logger.info(
        "Python %s, %s, %s%s", platform.python_version(), packages, device, ", deterministic" * wanted
    )
    return folder


def has_accelerator() -> bool:
    """Returns whether Keras's backend sees a GPU or a TPU."""
    if keras.backend.backend() == "torch":  # Keras lists no devices for it
        import torch

        return torch.cuda.is_available() or torch.backends.mps.is_available()
    return any(not device.lower().startswith("cpu") for device in keras.distribution.list_devices())
