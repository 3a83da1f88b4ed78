"""The finalists: the best few hyperparameter sets, trained to the end, each with several seeds.

The best of many noisy scores is partly luck. So the choice between the best few is made on the mean of
new trainings, which also shows how much the first scores flattered.
"""

import copy
import logging
import math
import time
from functools import partial
from pathlib import Path

import keras
import pandas as pd
from keras_tuner.errors import FailedTrialError

from src.evaluation import NotFinite, cross_entropy, predict_table
from src.networks.ensemble import average_networks, save_weights, without_optimizer
from src.networks.normalization import settle_normalization
from src.running.devices import release
from src.running.locks import hold
from src.running.parameters import check_averaging
from src.running.resources import check_space, full_disk, is_full, training_bytes
from src.runs import read_json, write_json, write_table
from src.searches.callbacks import Deadline, EpochProgress, HistoryFile, StopAtNaN
from src.searches.checkpoints import CHECKPOINT, Checkpoint, delete_checkpoint
from src.searches.halving import within_memory
from src.searches.pace import KeepPace
from src.searches.planning import expected_seconds, planned_epochs, seconds_of_epochs
from src.searches.search_folder import read_history, search_folder
from src.spaces import fixed
from src.training import PictureTraining

logger = logging.getLogger(__name__)


def train_finalists(
    training: PictureTraining,
    candidates: list[dict],
    seeds: list[int],
    folder: Path,
    identity: dict,
    minutes: float = 0.0,
) -> pd.DataFrame:
    """Returns one row per training; every candidate is trained with every seed.

    Each training leaves a folder with its history, its weights and its validation predictions; an existing
    training with the same settings is not repeated. Columns: trial, seed, first_score (from the search),
    val_accuracy, val_loss and val_log_loss (of the weights that are kept), val_accuracy_unaveraged (of the
    last validation during the training, before weights are averaged), epochs, planned_epochs, seconds,
    folder. A training whose loss or predictions become NaN or infinite has no row, but its time is included
    in `attrs["seconds"]`, the time that all of them took.

    Args:
        training: what to train; its `epochs` are the maximum.
        candidates: from `src.searches.planning`: trial, hyperparameters, score, seconds.
        seeds: of the initial weights, the order of the pictures and their transformations.
        folder: of all finalists of the run.
        identity: what else defines a training (data, pictures, settings).
        minutes: for all trainings together; as many epochs are planned as fit, and the plan is adapted
            (`KeepPace`) so that the learning rate's cycle ends in time. 0 means no limit.

    Raises:
        ValueError: weight averaging is combined with patience.
        RuntimeError: every training failed.
    """
    if "weight_averaging" in training.space.settings:
        check_averaging(training.settings.get("weight_averaging", 0), training.patience)
    waiting = [(candidate, seed) for seed in seeds for candidate in candidates]
    own = {name: getattr(training, name) for name in ("epochs", "patience", "validation_freq")}
    identity = {**identity, **own, "minutes": minutes / len(waiting)}  # for each; 0: no limit
    folder, rows, failures = search_folder(folder, identity), [], []
    expected, lost = 0.0, 0.0  # seconds: of the rows, had they kept the search's pace; of failures
    with hold(folder):
        for number, (candidate, seed) in enumerate(waiting):
            seconds = sum(row["seconds"] for row in rows)
            pace = seconds / max(expected, 1e-3) if rows else 1.0
            share = max(minutes - (lost + seconds) / 60, 0) / (len(waiting) - number) if minutes else math.inf
            place = folder / f"trial_{candidate['trial']}-seed_{seed}"
            try:
                rows.append(train_finalist(training, candidate, seed, place, share, pace))
                expected += expected_seconds(training, candidate, rows[-1]["epochs"])
            except FailedTrialError as error:  # the others may succeed
                logger.warning("%s failed and is left out: %s", place.name, error)
                failures.append(f"{place.name}: {error}")
                lost += read_json(place / "result.json")["seconds"]
            except KeyboardInterrupt:
                raise KeyboardInterrupt("the training was stopped; run again, it resumes") from None
    if not rows:
        raise RuntimeError(f"each training of the finalists failed; the first: {failures[0]}")
    table = pd.DataFrame(rows)
    table.attrs["seconds"] = lost + table["seconds"].sum()
    return table


def train_finalist(
    training: PictureTraining, candidate: dict, seed: int, place: Path, minutes: float, pace: float = 1.0
) -> dict:
    """Returns one row of `train_finalists`, from an existing training or a new one.

    An interrupted training resumes after its last complete epoch, with the plan it started with.
    """
    values = candidate["hyperparameters"]
    if result := _read_own(place / "result.json", values):
        delete_checkpoint(place)  # a kill may have left it
        if "failure" in result:
            raise FailedTrialError(f"{result['failure']}; delete {place} to retrain it")
        logger.info("%s is trained already; delete %s to retrain it", place.name, place)
        return {**result["row"], "first_score": candidate["score"]}  # another search may have its values
    if not (plan := _read_own(place / "plan.json", values)):
        delete_checkpoint(place)  # from another training, whose minutes would count as this one's
        for name in ("result.json", "history.csv"):  # they would be taken for the new training's
            (place / name).unlink(missing_ok=True)
        plan = {"hyperparameters": values, "epochs": planned_epochs(training, candidate, minutes, pace)}
        plan["minutes"] = None if math.isinf(minutes) else minutes
        write_json(place / "plan.json", plan)
    started = time.monotonic()
    try:
        row = within_memory(training, partial(_train, candidate, seed, place, plan, started), place)
    except (FailedTrialError, NotFinite) as error:  # NotFinite: the last step diverged, or 16 bits overflowed
        earlier = read_history(place).get("seconds", [])  # including an interrupted process's
        failure = {"failure": str(error), "seconds": max([time.monotonic() - started, *earlier])}
        write_json(place / "result.json", {"hyperparameters": values, **failure})
        delete_checkpoint(place)
        raise FailedTrialError(str(error)) from error
    except Exception as error:
        if is_full(error):
            raise full_disk(place) from error
        raise
    write_json(place / "result.json", {"hyperparameters": values, "row": row})
    delete_checkpoint(place)
    return row


def _read_own(file: Path, hyperparameters: dict) -> dict:
    """Returns the contents of a finalist's JSON file; empty if it is missing or of other hyperparameters."""
    kept = read_json(file) if file.exists() else {}
    return kept if kept.get("hyperparameters") == hyperparameters else {}


def _train(candidate: dict, seed: int, place: Path, plan: dict, started: float, training) -> dict:
    """Returns the row of one training, which leaves its weights and validation predictions in `place`."""
    planned = copy.copy(training)
    planned.epochs, planned.seed = plan["epochs"], seed
    keras.utils.set_random_seed(seed)
    values = fixed(plan["hyperparameters"])
    model, history = planned.build(values), HistoryFile(place / "history.csv")
    try:
        check_space(place, training_bytes(model.count_params()), f"the training of {place.name}")
        watching = _callbacks(training, candidate, place, plan, history)
        last = planned.fit(values, model, planned.epochs, watching).history
        if planned.space.settles_normalization:
            settle_normalization(model, planned.untransformed())
        save_weights(model, place / "model.weights.h5")
        validation = planned.serve("validation").once()  # whole, even if epochs are shortened
        predictions = predict_table(model, validation)
        with_mirror = predict_table(average_networks([model], mirrored=True), validation)
        predictions["probability_with_mirror"] = with_mirror["probability"]
        write_table(predictions, place / "validation.csv")
        val_loss = model.evaluate(validation, verbose=0, return_dict=True)["loss"]
    finally:
        release(model)
    return {
        "trial": candidate["trial"],
        "seed": seed,
        "first_score": candidate["score"],
        "val_accuracy": float(predictions["correct"].mean()),
        "val_accuracy_unaveraged": last["val_accuracy"][-1],
        "val_loss": val_loss,
        "val_log_loss": cross_entropy(predictions),
        "epochs": len(last["loss"]),
        "planned_epochs": planned.epochs,
        "seconds": round(history.earlier + time.monotonic() - started, 1),
        "folder": f"{place.parent.name}/{place.name}",
    }


def _callbacks(training, candidate: dict, place: Path, plan: dict, history: HistoryFile) -> list:
    deadline, minutes = Deadline(math.inf), plan["minutes"]
    if minutes is not None:
        spent = read_history(place)["seconds"].max() / 60 if (place / CHECKPOINT).exists() else 0.0
        deadline = Deadline.after(max(minutes - spent, 1 / 60))
        deadline.is_over = 0 < minutes <= spent  # it stopped the training before the kill
    progress = EpochProgress(place.name.replace("_", " "), plan["epochs"])
    watching = [progress, history, deadline, StopAtNaN()]
    if minutes and "steps" in training.space.settings:  # its learning rate decays with its epochs
        expected = seconds_of_epochs(training, candidate, plan["epochs"])
        watching.append(KeepPace(deadline, expected, training.epochs, progress))
    return [*watching, Checkpoint(place / CHECKPOINT, history, {**plan, "divisor": training.batch_divisor})]


def load_network(
    training: PictureTraining, candidates: list[dict], row: pd.Series, folder: Path
) -> keras.Model:
    """Returns a finalist's network with its trained weights."""
    candidate = next(each for each in candidates if each["trial"] == row["trial"])
    network = without_optimizer(training.build(fixed(candidate["hyperparameters"])))
    network.load_weights(folder / row["folder"] / "model.weights.h5")
    return network
