"""The test set, opened once a model: every opening is a line in the run folder."""

import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import keras
import pandas as pd

from src.evaluation import losses, predict_table
from src.generators import load_batches
from src.runs import file_fingerprint, read_json, write_json, write_table

logger = logging.getLogger(__name__)


class Opening(NamedTuple):
    """What one look at the test set gave."""

    predictions: pd.DataFrame
    keras_figures: dict[str, float]  # loss, its parts cross_entropy and penalty, accuracy
    log: pd.DataFrame  # all openings of this run's test set, oldest first


def open_test(run: Path, model_file: Path) -> Opening:
    """Returns the predictions on the test part and Keras's own figures; a second call reads the first.

    The run's `test_openings.csv` gets a row each time a model sees the test part: when, which model
    (fingerprint of its file), which notebook run. A model that has seen it is not shown it again.

    Args:
        run: the run's folder.
        model_file: the saved `.keras` model.

    Raises:
        FileNotFoundError: the model is missing.
    """
    if not model_file.exists():
        raise FileNotFoundError(f"{model_file} is missing; run notebook 04 first")
    fingerprint = file_fingerprint(model_file)
    predictions_file = run / "test" / f"{fingerprint}-predictions.csv"
    figures_file = run / "test" / f"{fingerprint}-keras.json"
    log_file = run / "test_openings.csv"
    log = pd.read_csv(log_file) if log_file.exists() else pd.DataFrame()
    if predictions_file.exists() and figures_file.exists():
        logger.info("this model has seen the test set already; its predictions are read, not made again")
    else:
        opening = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "model": fingerprint,
            "notebook_run": os.environ.get("NOTEBOOK_RUN", "by hand"),
        }
        log = pd.concat([log, pd.DataFrame([opening])], ignore_index=True)
        write_table(log, log_file)
        model = keras.models.load_model(model_file)
        batches = load_batches(run, "test")
        predictions = predict_table(model, batches)
        write_table(predictions, predictions_file)
        write_json(figures_file, losses(model, batches, predictions))
    return Opening(pd.read_csv(predictions_file), read_json(figures_file), log)
