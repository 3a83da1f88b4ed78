"""Transfer learning with the search engines: a head on a frozen backbone, then both fine-tuned together."""

import logging
import math
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from sklearn import model_selection
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from src.config import find_paths
from src.evaluation import predict_table
from src.features import load_features
from src.generators import load_batches
from src.images.cache import build_cache, cached_rows, open_settled_cache
from src.networks.ensemble import save_weights, without_optimizer
from src.pretrained.backbone_features import Features, compute_features, serve_features
from src.pretrained.transfer_spaces import FINE_TUNING, HEAD
from src.running.devices import has_accelerator
from src.running.parameters import read_input
from src.runs import read_json, write_json
from src.search import run_search
from src.searches.checkpoints import delete_checkpoint
from src.searches.search_folder import read_history, read_record
from src.searches.trials import TrialRecord
from src.spaces import fixed
from src.study import StudySearch
from src.training import PictureTraining

logger = logging.getLogger(__name__)

INPUT = "transfer/input.json"  # settings of the backbone's pictures, which are larger than `input.json`'s
OBJECTIVE = "val_log_loss"  # on validation pictures, without penalties; less noisy than accuracy
LEAST = 0.1  # minutes; 0 would mean no limit
FOLDS = 5  # of the heads that judge labels


def prepare_pictures(run: Path, image_size: int) -> dict:
    """Returns the settings of the backbone's batches, written to `transfer/input.json`; builds their cache.

    All but the picture size stays as set in notebook 02; pictures do not grow, and epochs are whole.

    Args:
        run: the run's folder, with `data.json`, `features.csv` and `input.json`.
        image_size: side of the square pictures, in pixels.
    """
    settings, folder = read_json(run / "input.json"), Path(read_json(run / "data.json")["folder"])
    read_input(run)  # raises an error if it is damaged
    table = load_features(run / "features.csv")
    cache = build_cache(folder, table, find_paths().data / "cache", image_size, settings["interpolation"])
    settings.update(image_size=image_size, first_image_size=0, epoch_fraction=1.0, cache=cache.name)
    write_json(run / INPUT, settings)
    return settings


def fine_tuning_precision(precision: str) -> str:
    """Returns the dtype policy for fine-tuning: the run's own on an accelerator, float32 on a CPU.

    On a CPU that multiplies bfloat16 in hardware, MobileNetV2 trained at 49 pictures per second in bfloat16
    and at 64 in float32 (2 busy cores, 224 x 224, the last 20 layers).
    """
    return precision if has_accelerator() else "float32"


def compute_run_features(run: Path, backbone: keras.Model) -> Features:
    """Returns the backbone's features of a run's training and validation pictures, but not its test part."""
    caches, settings = find_paths().data / "cache", read_input(run, INPUT)
    table = load_features(run / "features.csv")
    pictures = cached_rows(table)
    pixels = open_settled_cache(settings, table)
    chosen = pictures[pictures["split"] != "test"]
    features = compute_features(backbone, pixels, chosen, caches, settings["cache"])
    return features._replace(may_flip=settings["augmentation"].horizontal_flip)


def make_head_training(features: Features, epochs: int, patience: int = 5) -> PictureTraining:
    """Returns the training of a head, for `make_search`; it uses both views if pictures may be flipped."""
    settings = {"features": features.values.shape[-1]}
    serve = partial(serve_features, features)
    return PictureTraining(HEAD, settings, serve, epochs, patience, monitor=OBJECTIVE)


def make_fine_tuning(run: Path, epochs: int, backbone: str, head: dict, start: Path) -> PictureTraining:
    """Returns the training of backbone and head together; the other arguments are `fine_tuning_space`'s."""
    pictures = read_input(run, INPUT)
    settings = {"image_size": pictures["image_size"], "backbone": backbone, "head": head, "start": str(start)}
    serve = partial(load_batches, run, settings=pictures)
    # The last epoch's weights are kept, because its learning rate has decayed. An earlier epoch can have a
    # better cross-entropy, because it was less confident, but a worse accuracy.
    return PictureTraining(FINE_TUNING, settings, serve, epochs)


def load_head(training: PictureTraining, trial: TrialRecord) -> keras.Model:
    """Returns the trained head of a completed trial whose weights were kept.

    Raises:
        FileNotFoundError: it was trained on another machine, which shares the search's storage but no folder.
    """
    weights = trial.folder / "model.weights.h5"
    if not weights.exists():
        raise FileNotFoundError(
            f"{weights} is missing: copy it from the machine that trained trial {trial.number}, or run "
            "notebook 06 without STORAGE_URL"
        )
    head = without_optimizer(training.build(fixed(trial.hyperparameters)))
    head.load_weights(weights)
    return head


def head_arguments(head: keras.Model, hyperparameters: dict) -> dict:
    """Returns the arguments of `build_head` that built this head."""
    names = ("units", "dropout", "l2")
    return {"features": head.input_shape[-1], **{name: hyperparameters[name] for name in names}}


def validate_head(head: keras.Model, features: Features) -> pd.DataFrame:
    """Returns predictions for the validation pictures, in the form that `train_finalists` saves.

    `probability` is that of the plain picture, `probability_with_mirror` the mean of both views.
    """
    plain, mirrored = (
        predict_table(head, serve_features(features, "validation", mirrored=view)) for view in (False, True)
    )
    return plain.assign(probability_with_mirror=(plain["probability"] + mirrored["probability"]) / 2)


def cross_validate(features: Features, seed: int) -> pd.DataFrame:
    """Returns predictions for training and validation pictures by heads that were not trained on them.

    They serve to judge labels, not to build a network: a logistic regression on the mean features of both
    views (of the plain picture, if it may not be flipped) takes seconds. Each of five folds, or of as many as
    possible, is held out in turn; it has its share of both classes, and a group is in one fold.

    Args:
        features: from `compute_run_features`.
        seed: of the folds.

    Returns:
        Columns image_name, code, probability of code 1.
    """
    codes, groups = features.table["code"].astype(int).to_numpy(), features.table.get("group")
    heads = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=300))
    kind = model_selection.StratifiedKFold if groups is None else model_selection.StratifiedGroupKFold
    most = np.bincount(codes).max() if groups is None else groups.nunique()  # possible folds
    views = features.values[: 1 + features.may_flip].mean(axis=0)
    folds = kind(min(FOLDS, most), shuffle=True, random_state=seed).split(views, codes, groups)
    folds = [fold for fold in folds if len(fold[1])]  # few groups, each of one class, may leave one empty
    if any(len(set(codes[known])) < 2 for known, _ in folds):  # all groups of a class are in one fold
        folds = [*model_selection.LeaveOneGroupOut().split(views, codes, groups)]
    told = model_selection.cross_val_predict(heads, views, codes, cv=folds, method="predict_proba")
    return features.table[["image_name"]].assign(code=codes, probability=told[:, 1]).reset_index(drop=True)


def cached_pictures(run: Path, features: Features, names: Iterable[str]) -> list[np.ndarray]:
    """Returns some of the backbone's pictures by name: RGB, uint8, as the network sees them."""
    pixels = open_settled_cache(read_input(run, INPUT), load_features(run / "features.csv"))
    rows = dict(zip(features.table["image_name"], features.table.index, strict=True))
    return [pixels[rows[name]] for name in names]


def save_start(frozen: keras.Model, run: Path) -> Path:
    """Returns the file with the frozen network's weights, from which fine-tuning starts."""
    path = run / "transfer" / "frozen.weights.h5"
    delete_checkpoint(path.parent)  # weights that a kill left
    save_weights(frozen, path)
    return path


def search_within(search: StudySearch, minutes: float) -> None:
    """Runs the missing trials in the minutes that earlier ones left over; 0 means no limit.

    Once the trials have had their minutes, a later run adds none, even if building networks took some of
    them: otherwise the minutes of the last training, and the plan of one already begun, would change.
    """
    records, asked_before = search.records(), search.folder / "minutes.json"  # written once they are over
    asked = {"minutes": minutes, "max_trials": search.claims.max_trials}
    left = minutes_left(minutes, pd.DataFrame({"seconds": [_seconds(record) for record in records]}))
    is_over = left <= LEAST or (asked_before.exists() and read_json(asked_before) == asked)
    if minutes and is_over and any(not math.isnan(record.score) for record in records):
        logger.info("the trials have had their %g minutes", minutes)
        return
    run_search(search, left)
    write_json(asked_before, asked)


def _seconds(trial: TrialRecord) -> float:
    """Returns how long a trial has trained; a kill leaves no record of it, but its complete epochs."""
    epochs = read_history(trial.folder).get("seconds", [0.0])
    return read_record(trial.folder).get("seconds", max(epochs))


def minutes_left(minutes: float, trials: pd.DataFrame) -> float:
    """Returns how many of the minutes are left after the trials, at least `LEAST`; 0 (no limit) stays 0."""
    return max(minutes - trials["seconds"].sum() / 60, LEAST) if minutes else 0.0
