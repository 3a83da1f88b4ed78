"""Predictions on the validation part: made once per model, and read by everything that chooses on them."""

import logging
from pathlib import Path

import pandas as pd

from src.evaluation import predict_table
from src.generators import load_batches
from src.results.opening import load_classifier
from src.running.messages import one_line
from src.runs import check_same_data, file_fingerprint, write_table

logger = logging.getLogger(__name__)

COLUMNS = ["image_name", "code", "probability", "predicted", "correct"]


def validation_predictions(run: Path, model_file: Path) -> pd.DataFrame:
    """Returns a saved model's predictions on all pictures of the validation part.

    They are stored in the run's `validation_predictions.csv`, each row with the fingerprint of the model
    file, and read from there as long as the model stays the same.

    Args:
        run: the run's folder.
        model_file: the saved `.keras` model.

    Raises:
        FileNotFoundError: the model is missing.
        ValueError: the model is not ours, or is of another split.
    """
    if not model_file.is_file():
        raise FileNotFoundError(f"{model_file} is missing; run notebook 04 first")
    check_same_data(model_file, run, "input.json")
    fingerprint = file_fingerprint(model_file)
    kept = run / "validation_predictions.csv"
    table = _read(kept, fingerprint)
    if table is None:
        batches = load_batches(run, "validation").once()  # all pictures, even if epochs are shortened
        table = predict_table(load_classifier(model_file, batches.pixels.shape[1]), batches)
        write_table(table.assign(model=fingerprint), kept)
    return table


def _read(path: Path, fingerprint: str) -> pd.DataFrame | None:
    """Returns the predictions stored for this model; None if there are none or they cannot be read."""
    if not path.exists():
        return None
    try:
        table = pd.read_csv(path, dtype={"model": str})
    except ValueError as error:
        logger.warning("%s is not a table (%s); predicting again", path, one_line(error))
        return None
    if not {"model", *COLUMNS} <= set(table) or set(table["model"]) != {fingerprint}:
        return None
    return table[COLUMNS]
