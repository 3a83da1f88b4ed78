"""The test set, opened once per model: every opening is logged in the run folder."""

import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import keras
import pandas as pd

from src.datasets.splitting import add_groups
from src.evaluation import cross_entropy, predict_table
from src.features import load_features
from src.generators import load_batches
from src.networks.building import build_metrics
from src.networks.saved_model import open_network
from src.running.messages import one_line
from src.runs import check_same_data, file_fingerprint, read_json, write_json, write_table

logger = logging.getLogger(__name__)


class Opening(NamedTuple):
    """Result of opening the test set."""

    predictions: pd.DataFrame
    keras_figures: dict[str, float]  # loss, its parts cross_entropy and penalty, accuracy
    log: pd.DataFrame  # all openings of this run's test set, oldest first


def open_test(run: Path, model_file: Path, input_file: str = "input.json") -> Opening:
    """Returns the predictions on the test part and Keras's own metrics; a second call reads the stored ones.

    The run's `test_openings.csv` gets a row each time a model sees the test part: when, which model
    (fingerprint of its file), which notebook run. A model whose predictions and figures are stored is not
    evaluated on it again.

    Args:
        run: the run's folder.
        model_file: the saved `.keras` model.
        input_file: in the run's folder; describes the model's pictures, see `load_batches`.

    Raises:
        FileNotFoundError: the model is missing.
        ValueError: the model is not ours or is of another split (it is then not shown the test part), or a
            table is damaged.
    """
    notebook = "04" if input_file == "input.json" else "06"  # the one that saves the model
    if not model_file.is_file():
        raise FileNotFoundError(f"{model_file} is missing; run notebook {notebook} first")
    check_same_data(model_file, run, input_file)
    fingerprint = file_fingerprint(model_file)
    predictions_file = run / "test" / f"{fingerprint}-predictions.csv"
    figures_file = run / "test" / f"{fingerprint}-keras.json"
    log_file = run / "test_openings.csv"
    log = _read_table(log_file) if log_file.exists() else pd.DataFrame()
    if predictions_file.exists() and figures_file.exists():
        logger.info("this model has seen the test set already; its predictions are read, not made again")
    else:
        batches = load_batches(run, "test", input_file=input_file)
        model = load_classifier(model_file, batches.pixels.shape[1], notebook)
        opening = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "model": fingerprint,
            "notebook_run": os.environ.get("NOTEBOOK_RUN", "by hand"),
        }
        log = pd.concat([log, pd.DataFrame([opening])], ignore_index=True)
        write_table(log, log_file)
        predictions = predict_table(model, batches)
        write_table(predictions, predictions_file)
        build_metrics(model, batches)
        write_json(figures_file, losses(model, batches, predictions))
    predictions = add_groups(_read_table(predictions_file), load_features(run / "features.csv"))
    return Opening(predictions, read_json(figures_file), log)


def losses(model: keras.Model, batches: keras.utils.PyDataset, predictions: pd.DataFrame) -> dict[str, float]:
    """Returns Keras's loss, its two parts (cross_entropy, and penalty: the L2 terms) and Keras's accuracy.

    `loss` and `accuracy` come from `model.evaluate`, `cross_entropy` from the predictions. The loss equals
    the sum of its parts to float32 precision, except that Keras may not clip probabilities of exactly 0 or 1.
    """
    evaluated = model.evaluate(batches, verbose=0, return_dict=True)
    return {
        "loss": float(evaluated["loss"]),
        "cross_entropy": cross_entropy(predictions),
        "penalty": sum(float(keras.ops.convert_to_numpy(penalty)) for penalty in model.losses),
        "accuracy": float(evaluated["accuracy"]),
    }


def load_classifier(model_file: Path, image_size: int, notebook: str = "04") -> keras.Model:
    """Returns a saved network, compiled so that it can be evaluated.

    Raises:
        ValueError: see `open_network`; also if it was compiled without the metric accuracy.
    """
    model = open_network(model_file, image_size, compiled=True, notebook=notebook)
    if "accuracy" not in ((model.get_compile_config() or {}).get("metrics") or []):
        raise ValueError(
            f"{model_file} was not compiled with the metric accuracy; run notebook {notebook} again"
        )
    return model


def _read_table(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, dtype={"model": str})  # a fingerprint may look like a number
    except ValueError as error:
        raise ValueError(
            f"{path} is no table ({one_line(error)}); put it right, or delete it and run this notebook again"
        ) from error
