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
    """Returns one row per training: trial, seed, first_score, epochs, and its validation metrics.

    Each training leaves a folder with its history, its weights and its validation predictions; an existing
    training with the same settings is not repeated. Columns: trial, seed, first_score (from the search),
    val_accuracy, val_loss and val_log_loss (of the weights that are kept), val_accuracy_unaveraged (from the
    last validation during training, which need not follow the last epoch, with weights not yet averaged),
    epochs, planned_epochs, seconds, folder. A training whose loss or predictions become NaN or infinite has
    no row; `attrs["seconds"]` is how long all of them took, those included.

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
        KeyboardInterrupt: a new one, see `run_search`.
    """
    if "weight_averaging" in training.space.settings:
        check_averaging(training.settings.get("weight_averaging", 0), training.patience)
    identity = {**identity, "epochs": training.epochs, "patience": training.patience}
    identity["validation_freq"] = training.validation_freq
    identity["minutes"] = minutes / (len(seeds) * len(candidates))  # per training; 0: no limit
    folder, rows, failures = search_folder(folder, identity), [], []
    expected, pace, lost = 0.0, 1.0, 0.0  # seconds at the search's pace; slowdown; seconds lost to failures
    waiting = [(candidate, seed) for seed in seeds for candidate in candidates]
    with hold(folder):
        for number, (candidate, seed) in enumerate(waiting):
            spent = (lost + sum(row["seconds"] for row in rows)) / 60
            share = max(minutes - spent, 0) / (len(waiting) - number) if minutes else math.inf
            place = folder / f"trial_{candidate['trial']}-seed_{seed}"
            try:
                rows.append(train_finalist(training, candidate, seed, place, share, pace))
            except FailedTrialError as error:  # the others may succeed
                logger.warning("%s failed and is left out: %s", place.name, error)
                failures.append(f"{place.name}: {error}")
                lost += read_json(place / "result.json")["seconds"]
                continue
            except KeyboardInterrupt:
                raise KeyboardInterrupt("the training was stopped; run again, it resumes") from None
            expected += expected_seconds(training, candidate, rows[-1]["epochs"])
            pace = sum(row["seconds"] for row in rows) / max(expected, 1e-3)
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
    result = read_json(place / "result.json") if (place / "result.json").exists() else {}
    if result.get("hyperparameters") == values:
        delete_checkpoint(place)  # a kill may have left it
        if "failure" in result:
            raise FailedTrialError(f"{result['failure']}; delete {place} to retrain it")
        logger.info("%s is trained already; delete %s to retrain it", place.name, place)
        return {**result["row"], "first_score": candidate["score"]}  # another search may have its values
    epochs = planned_epochs(training, candidate, minutes, pace)
    plan = {"hyperparameters": values, "epochs": epochs, "minutes": None if math.isinf(minutes) else minutes}
    if (place / "plan.json").exists() and read_json(place / "plan.json")["hyperparameters"] == values:
        plan = read_json(place / "plan.json")
    else:
        delete_checkpoint(place)  # from another training, whose minutes would count as this one's
        for name in ("result.json", "history.csv"):  # they would be taken for the new training's
            (place / name).unlink(missing_ok=True)
    write_json(place / "plan.json", plan)
    started = time.monotonic()
    try:
        row = within_memory(training, partial(_train, candidate, seed, place, plan, started), place)
    except FailedTrialError as error:
        earlier = read_history(place).get("seconds", [])  # including an interrupted process's
        failure = {"failure": str(error), "seconds": max([time.monotonic() - started, *earlier])}
        write_json(place / "result.json", {"hyperparameters": values, **failure})
        delete_checkpoint(place)
        raise
    except Exception as error:
        if is_full(error):
            raise full_disk(place) from error
        raise
    write_json(place / "result.json", {"hyperparameters": values, "row": row})
    delete_checkpoint(place)
    return row


def _train(
    candidate: dict, seed: int, place: Path, plan: dict, started: float, training: PictureTraining
) -> dict:
    training, most = copy.copy(training), training.epochs
    training.epochs, training.seed = plan["epochs"], seed
    keras.utils.set_random_seed(seed)
    model = training.build(hp := fixed(plan["hyperparameters"]))
    try:
        check_space(place, training_bytes(model.count_params()), f"the training of {place.name}")
        history = HistoryFile(place / "history.csv")
        checkpoint = Checkpoint(place / CHECKPOINT, history, {**plan, "divisor": training.batch_divisor})
        deadline = Deadline.after(0)
        if plan["minutes"] is not None:
            spent = read_history(place)["seconds"].max() / 60 if checkpoint.path.exists() else 0.0
            deadline = Deadline.after(max(plan["minutes"] - spent, 1 / 60))
            deadline.is_over = 0 < plan["minutes"] <= spent  # it stopped the training before the kill
        progress = EpochProgress(place.name.replace("_", " "), training.epochs)
        watching = [progress, history, deadline, StopAtNaN()]
        if plan["minutes"] and "steps" in training.space.settings:  # its learning rate decays with its epochs
            expected = seconds_of_epochs(training, candidate, training.epochs)
            watching.append(KeepPace(deadline, expected, most, progress))
        last = training.fit(hp, model, training.epochs, [*watching, checkpoint]).history
        if training.space.settles_normalization:
            settle_normalization(model, training.untransformed())
        save_weights(model, place / "model.weights.h5")
        validation = training.serve("validation").once()  # whole, even if epochs are shortened
        try:
            predictions = predict_table(model, validation)
            with_mirror = predict_table(average_networks([model], mirrored=True), validation)
        except NotFinite as error:  # of a finite loss: the last step diverged, or 16 bits overflowed
            raise FailedTrialError(str(error)) from error
        predictions["probability_with_mirror"] = with_mirror["probability"]
        write_table(predictions, place / "validation.csv")
        return {
            "trial": candidate["trial"],
            "seed": seed,
            "first_score": candidate["score"],
            "val_accuracy": float(predictions["correct"].mean()),
            "val_accuracy_unaveraged": last["val_accuracy"][-1],
            "val_loss": model.evaluate(validation, verbose=0, return_dict=True)["loss"],
            "val_log_loss": cross_entropy(predictions),
            "epochs": len(last["loss"]),
            "planned_epochs": training.epochs,
            "seconds": round(history.earlier + time.monotonic() - started, 1),
            "folder": f"{place.parent.name}/{place.name}",
        }
    finally:
        release(model)


def load_network(
    training: PictureTraining, candidates: list[dict], row: pd.Series, folder: Path
) -> keras.Model:
    """Returns a finalist's network with its trained weights."""
    values = next(candidate for candidate in candidates if candidate["trial"] == row["trial"])
    network = without_optimizer(training.build(fixed(values["hyperparameters"])))
    network.load_weights(folder / row["folder"] / "model.weights.h5")
    return network
