"""The files of a run folder, replaced atomically, so that a kill leaves nothing half-written."""

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from src.images.preprocessing import PREPROCESSING
from src.running.writing import replacing


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Writes values to a JSON file; a kill leaves the old file or the new one, never half of one."""
    replace_text(path, _to_json(values) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Returns the values of a JSON file.

    Raises:
        FileNotFoundError: it is missing, which means that an earlier notebook has not run.
        ValueError: it is not a JSON object.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing; run the notebooks before this one, in order, on this run"
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is not readable JSON ({error}); delete it and run its notebook again"
        ) from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds no names and values; delete it and run its notebook again")
    return values


def summarize(run: Path) -> str:
    """Returns a run's closing lines: test accuracy with its interval, test loss, location of the results."""
    measures = read_json(run / "metrics.json")
    if missing := {"accuracy", "low", "high", "n", "loss", "cross_entropy"} - measures.keys():
        lacks = f"{run / 'metrics.json'} lacks {', '.join(sorted(missing))}"
        raise ValueError(f"{lacks}; delete it and run notebook 05 again")
    interval = f"[{measures['low']:.4f}, {measures['high']:.4f}]"
    among = f" in {measures['groups']} groups" if "groups" in measures else ""
    known = "larger_class" in measures  # absent from runs made before it was measured
    always = f"; always predicting the larger class: {measures['larger_class']:.4f}" if known else ""
    return "\n".join(
        [
            f"test accuracy {measures['accuracy']:.4f} {interval} n={measures['n']}{among}",
            f"test loss {measures['loss']:.4f}, of it cross-entropy {measures['cross_entropy']:.4f}{always}",
            f"confusion matrix: {run / 'figures' / 'confusion_matrix.png'}",
            f"tables and executed notebooks: {run}",
        ]
    )


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Writes a table to a CSV file atomically, without its index."""
    # With this line terminator, names that contain a lone carriage return are quoted.
    replace_text(path, table.to_csv(index=False, lineterminator="\r\n"))


def save_model(model: Any, path: Path, facts: dict[str, Any]) -> None:
    """Saves a model as `.keras`, and what its users must know as a JSON file of the same name beside it.

    If a model with the same weights and facts is already there, it is left alone: saved again, its bytes
    would differ, and it would pass for a model that has not seen the test part.

    Args:
        model: a trained Keras model.
        path: the file, ending in `.keras`; it is replaced once the new one is complete, then the JSON.
        facts: class names, picture size, data fingerprint; the preprocessing and a fingerprint of the weights
            are added.
    """
    about = {**facts, "weights_fingerprint": weights_fingerprint(model), "preprocessing": PREPROCESSING}
    if not _holds(path, about):
        _replace_model(path, about, model.save)


def weights_fingerprint(model: Any) -> str:
    """Returns 16 hex digits that identify the values of all weights of a model."""
    digest = hashlib.sha256()
    for value in model.get_weights():
        digest.update(np.asarray(value).tobytes())
    return digest.hexdigest()[:16]


def copy_model(source: Path, path: Path) -> None:
    """Copies a saved model and its JSON; a kill never leaves a model beside the JSON of another one."""
    about = read_json(source.with_suffix(".json"))
    _replace_model(path, about, lambda copied: shutil.copyfile(source, copied))


def _holds(path: Path, about: dict[str, Any]) -> bool:
    try:
        with zipfile.ZipFile(path) as model:
            is_whole = model.testzip() is None
        return is_whole and read_json(path.with_suffix(".json")) == json.loads(_to_json(about))
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def _replace_model(path: Path, about: dict[str, Any], write: Callable[[Path], object]) -> None:
    facts_file = path.with_suffix(".json")
    with replacing(path, f"{path.stem}.partial.keras") as unfinished:
        write(unfinished)
        facts_file.unlink(missing_ok=True)  # so that it never describes another model
    write_json(facts_file, about)


def refuse_other_source(run: Path, data: str) -> None:
    """Raises RuntimeError if a run is complete and of other data, because its results would be replaced."""
    if not ((run / "05_evaluation.ipynb").exists() and (run / "data.json").exists()):
        return
    was = read_json(run / "data.json")["data"]
    if os.path.realpath(was) != os.path.realpath(data):
        raise RuntimeError(
            f"{run} holds a whole run of other pictures ({was}): rename that folder or these pictures"
        )


def check_same_data(model_file: Path, run: Path, input_file: str = "") -> None:
    """Raises ValueError if a network was trained on other pictures, or another split, than the run now has.

    If notebook 01 was run again, with another seed, say, the run holds out pictures that its older networks
    were trained on. A network whose JSON does not record what it was trained on is trusted.

    Args:
        model_file: the saved network; the JSON beside it is read.
        run: the run's folder, with `data.json`.
        input_file: path below `run` to the settings of the pictures that the network is about to be given.

    Raises:
        FileNotFoundError: one of the JSON files is missing.
        ValueError: the network was trained on other pictures, or takes pictures made in another way.
    """
    made = read_json(model_file.with_suffix(".json"))
    again = "run the notebook again that saved it (04 or 06)"
    if trained := made.get("data_fingerprint"):
        now = read_json(run / "data.json")["fingerprint"]
        if trained != now:
            raise ValueError(
                f"{model_file} was trained on other pictures, or another split of them ({trained}), than "
                f"{run} has now ({now}): it may know those held back; {again}"
            )
    given = read_json(run / input_file) if input_file and (run / input_file).exists() else {}
    for name in ("image_size", "interpolation"):
        if name in given and given[name] != made.get(name, given[name]):
            raise ValueError(
                f"{model_file} takes pictures of {name} {made[name]}, and {run / input_file} makes them of "
                f"{given[name]}; run notebook 02 with that again, or {again}"
            )


def file_fingerprint(path: Path) -> str:
    """Returns the first 16 hex digits of the SHA-256 hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def replace_text(path: Path, text: str) -> None:
    """Writes a text file under a temporary name and renames it, so that no partial file is ever seen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="")


def _to_json(values: dict[str, Any]) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)
