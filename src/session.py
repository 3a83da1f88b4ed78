"""The start of a notebook: its run folder, its seeds, its log, and what it runs on."""

import logging
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras

from src.config import find_paths
from src.running.devices import fastest_precision, has_accelerator, idle_gpus
from src.running.made_by import note_notebook, notebook_settings, unsuitable_packages
from src.running.parameters import check_cell, check_value
from src.running.resources import check_writable, keep_freed_memory
from src.runs import read_json

logger = logging.getLogger(__name__)


def start_run(name: str, seed: int, deterministic: str = "auto", precision: str | None = None) -> Path:
    """Returns the run's folder, created if missing, after seeding Python, NumPy and Keras.

    Also turns on logging in the notebook, and logs the versions and the device in use.

    Args:
        name: the folder's name below the output folder.
        seed: of everything random in this notebook.
        deterministic: `yes`, `no`, or `auto`: yes on a CPU, no on an accelerator, where it costs speed.
        precision: Keras dtype policy of networks built from here on, or `auto`: see `fastest_precision`.
            None, where none are built: float32.

    Raises:
        ValueError: a name that leaves the output folder, an unknown choice for one of the last two, or an
            invalid value in the notebook's parameters cell (`check_cell`).
    """
    check_cell(notebook_settings())
    if name in ("", "..") or Path(name).name != name:
        raise ValueError(f"run is {name!r}; give the plain name of a folder, such as gpu-auto")
    check_value("deterministic", deterministic, str, "start_run")  # it may come from data.json
    check_value("precision", precision or "float32", str, "start_run")
    folder = find_paths().output / name
    check_writable(folder)
    settle(seed, deterministic, precision or "float32")
    accelerator, backend = has_accelerator(), keras.backend.backend()
    facts = {
        "device": "accelerator" if accelerator else f"CPU with {os.cpu_count()} cores",
        "precision": keras.config.dtype_policy().name,
        "deterministic": is_deterministic(deterministic),
    }
    note_notebook(folder, facts)
    versions = f"keras {keras.__version__}, {backend} {sys.modules[backend].__version__}"
    says = [f"Python {platform.python_version()}", versions, facts["device"]]
    says += [facts["precision"]] * bool(precision) + ["deterministic"] * facts["deterministic"]
    logger.info("%s", ", ".join(says))
    for sentence in filter(None, [idle_gpus(accelerator), *unsuitable_packages()]):
        logger.warning("%s", sentence)
    return folder


def read_computing(name: str) -> dict[str, str]:
    """Returns how a run's networks compute, as set in notebook 01: `deterministic` and `precision`."""
    settings = read_json(find_paths().output / name / "data.json")
    return {word: settings.get(word, "auto") for word in ("deterministic", "precision")}


def settle(seed: int, deterministic: str, precision: str) -> None:
    """Turns on logging, seeds Python, NumPy and Keras, and sets how Keras computes; see `start_run`."""
    keep_freed_memory()
    logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO, force=True)
    logging.getLogger("tensorflow").propagate = False  # it writes its lines itself
    for talkative in ("matplotlib", "PIL", "absl", "h5py", "filelock"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
    keras.utils.set_random_seed(seed)
    if is_deterministic(deterministic) and keras.backend.backend() == "tensorflow":
        import tensorflow  # Keras has no backend-neutral switch for this

        tensorflow.config.experimental.enable_op_determinism()
    policy = fastest_precision(has_accelerator()) if precision == "auto" else precision
    keras.config.set_dtype_policy(policy)


@contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Builds networks in this dtype policy until the block ends, even by an interrupt; then as before."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def is_deterministic(word: str) -> bool:
    """Returns whether the same seed should give bit-identical results."""
    return word == "yes" or (word == "auto" and not has_accelerator())
