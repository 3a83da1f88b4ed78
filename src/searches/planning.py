"""Which candidates are trained again and for how many epochs, given their epoch times in the search."""

import logging
import math
from bisect import bisect_right

import pandas as pd

from src.searches.objectives import lower_is_better
from src.searches.pace import RESERVE
from src.searches.search_folder import read_history
from src.searches.trials import TrialRecord
from src.training import PictureTraining

logger = logging.getLogger(__name__)

# Two networks trained for this many epochs and averaged do better than one trained for twice as many; with
# fewer epochs they do no better (tests/benchmarks/README.md, "What decides about averaging").
ENOUGH = 75
LEARNING = 0.4  # error falls as epochs ** -0.4; measured from 20 to 76 epochs, see tests/benchmarks/README.md
BEYOND_TRIALS = 100_000  # added to a seed: no search has that many trials


def candidates(records: list[TrialRecord]) -> list[dict]:
    """Returns one dict per finalist: its trial, hyperparameters, score, and how long its epochs took.

    `seconds_an_epoch` covers training alone, `seconds_a_validation` the validation after it.

    Raises:
        FileNotFoundError: a trial was interrupted on another machine, and its epochs are recorded only there.
    """
    found = []
    for record in records:
        history = read_history(record.folder)
        if history.empty:
            raise FileNotFoundError(
                f"{record.folder / 'history.csv'} is missing: another machine was interrupted in trial "
                f"{record.number}; copy its folder from there, or let the search go on"
            )
        values = {"hyperparameters": record.hyperparameters, "score": record.score}
        found.append({"trial": record.number, **values, **epoch_seconds(history)})
    return found


def epoch_seconds(history: pd.DataFrame) -> dict[str, float]:
    """Returns the median seconds of an epoch and of its validation.

    Only the last third of the epochs counts: the pictures have full size, and nothing is compiled.
    """
    executions = [execution for _, execution in history.groupby("execution")]
    passed = [execution["seconds"].diff().fillna(execution["seconds"]) for execution in executions]
    late = [execution.tail(max(1, len(execution) // 3)) for execution in executions]
    validation = pd.concat(late)["validation_seconds"]
    whole = pd.concat(passed).loc[validation.index]
    return {
        "seconds_an_epoch": round(float((whole - validation).median()), 2),
        "seconds_a_validation": round(float(validation.median()), 2),
    }


def plan_finalists(
    training: PictureTraining,
    candidates: list[dict],
    finalists: int,
    seeds: int,
    minutes: float,
    objective: str = "val_accuracy",
) -> tuple[list[dict], int]:
    """Returns the candidates to be trained again, best first, and how many trainings each of them gets.

    That many are `seeds`; in limited minutes only as many as leave each training `ENOUGH` epochs, or all that
    it may have, and at least one.

    Args:
        training: what a training does; its `epochs` are the most that one gets.
        candidates: see `candidates`, best score first.
        finalists: how many are trained again, at most.
        seeds: trainings of each, at most.
        minutes: for all trainings; 0 is no limit.
        objective: what the score is.
    """
    number = min(finalists, len(candidates))
    for trainings in range(seeds, 0, -1):
        share = minutes / (number * trainings)
        chosen = rank_candidates(training, candidates, share, objective)[:number]
        epochs = [planned_epochs(training, each, share or math.inf) for each in chosen]
        if min(epochs) >= min(ENOUGH, training.epochs):
            break
    for each, planned in zip(chosen, epochs, strict=True):
        known = "trial %d: %.4f in the search; now %d training(s) of about %d epochs"
        logger.info(known, each["trial"], each["score"], trainings, planned)
    return chosen, trainings


def new_seeds(seed: int, number: int) -> list[int]:
    """Returns `number` seeds that no trial of a search used: trials count upwards from the run's seed."""
    return list(range(seed + BEYOND_TRIALS, seed + BEYOND_TRIALS + number))


def rank_candidates(
    training: PictureTraining, candidates: list[dict], minutes: float, objective: str = "val_accuracy"
) -> list[dict]:
    """Returns the candidates ordered by the error expected after this many minutes, lowest first.

    A search compares networks after equal numbers of epochs; a large network that leads there completes fewer
    epochs in the same time. The expected error is the search's, falling with the epochs as `LEARNING` says.

    Args:
        training: how candidates are trained; its `epochs` is the maximum.
        candidates: from `candidates`, best score first.
        minutes: per training run; 0 is no limit: all get the same number of epochs, and the order stays.
        objective: name of the score.
    """

    def expected_error(each: dict) -> float:
        error = each["score"] if lower_is_better(objective) else 1 - each["score"]
        return error * planned_epochs(training, each, minutes or math.inf) ** -LEARNING

    return sorted(candidates, key=expected_error)


def expected_seconds(training: PictureTraining, candidate: dict, epochs: int) -> float:
    """Returns how many seconds this many epochs take at the pace of the search."""
    return sum(seconds_of_epochs(training, candidate, epochs))


def seconds_of_epochs(training: PictureTraining, candidate: dict, epochs: int) -> list[float]:
    """Returns the seconds of each epoch, validation included; epochs on small pictures cost less."""
    validated = set(training.validated_epochs(epochs))
    return [
        cost * candidate["seconds_an_epoch"] + (epoch in validated) * candidate["seconds_a_validation"]
        for epoch, cost in enumerate(training.epoch_costs(epochs), start=1)
    ]


def planned_epochs(training: PictureTraining, candidate: dict, minutes: float, pace: float = 1.0) -> int:
    """Returns how many epochs fit into the minutes: at least 1, at most `training.epochs`.

    `pace` is the duration of an epoch now, relative to the search.
    """
    if math.isinf(minutes):
        return training.epochs
    affordable = 60 * minutes * (1 - RESERVE) / pace
    epochs = range(1, training.epochs + 1)
    return max(1, bisect_right(epochs, affordable, key=lambda n: expected_seconds(training, candidate, n)))
