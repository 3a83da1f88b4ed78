"""What a search leaves behind, whichever engine ran it: tables of trials and epochs, and the best trials."""

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from src.searches.objectives import lower_is_better
from src.searches.search_folder import read_history, read_record

logger = logging.getLogger(__name__)

ENDED = ("completed", "pruned", "failed")
FIRST_FAILURES = 5  # if this many trials all fail at the start, nothing is going to work


@dataclass(frozen=True)
class TrialRecord:
    """One trial as reported by an engine; its files are in its folder.

    Attributes:
        number: from 1.
        hyperparameters: the values drawn from the space.
        status: completed, pruned, failed, interrupted (a later run resumes it) or running.
        score: the best objective, so far if the trial was not completed; NaN if there is none.
        reason: one line on why it was not completed, or a note on one that was; else empty.
        folder: holds history.csv (one row per epoch) and record.json (parameters, seconds, started).
    """

    number: int
    hyperparameters: dict
    status: str
    score: float
    reason: str
    folder: Path


def trials_table(records: list[TrialRecord], objective: str) -> pd.DataFrame:
    """Returns one row per trial: its number from 1, its hyperparameters, and its outcome.

    Columns after the hyperparameters: score (the objective), best_epoch and epochs (from 1),
    parameters (of the model), seconds, status, reason, and started (UTC).
    """
    rows = []
    for trial in records:
        history, kept = read_history(trial.folder), read_record(trial.folder)
        scored = not math.isnan(trial.score) and len(history)
        rows.append(
            {
                "trial": trial.number,
                **trial.hyperparameters,
                "score": trial.score,
                "best_epoch": best_epoch(history, objective) if scored else pd.NA,
                "epochs": len(history),
                "parameters": kept.get("parameters") or pd.NA,
                "seconds": kept.get("seconds", math.nan),
                "status": trial.status,
                "reason": trial.reason,
                "started": kept.get("started", ""),
            }
        )
    table = pd.DataFrame(rows)
    # Hyperparameters that only later trials have still go with the other hyperparameters.
    outcome = ["score", "best_epoch", "epochs", "parameters", "seconds", "status", "reason", "started"]
    return table[[*table.columns.difference(outcome, sort=False), *outcome]] if rows else table


def history_table(records: list[TrialRecord]) -> pd.DataFrame:
    """Returns one row per epoch of every trial: trial, execution, epoch, losses, metrics, seconds."""
    tables = [read_history(trial.folder).assign(trial=trial.number) for trial in records]
    tables = [table for table in tables if len(table)]
    table = pd.concat(tables or [pd.DataFrame(columns=["trial", "execution", "epoch"])], ignore_index=True)
    return table[["trial", *table.columns.drop("trial")]]


def best_epoch(history: pd.DataFrame, objective: str) -> int:
    """Returns the epoch (counted from 1) with the best objective."""
    column = history[objective]
    return int(history.loc[column.idxmin() if lower_is_better(objective) else column.idxmax(), "epoch"])


def finalists(records: list[TrialRecord], objective: str, count: int) -> list[TrialRecord]:
    """Returns at most `count` of the best completed trials, best first, without duplicate hyperparameters."""
    completed = [trial for trial in records if trial.status == "completed" and not math.isnan(trial.score)]
    chosen: list[TrialRecord] = []
    for trial in sorted(completed, key=lambda trial: trial.score, reverse=not lower_is_better(objective)):
        if trial.hyperparameters not in [other.hyperparameters for other in chosen]:
            chosen.append(trial)
    return chosen[:count]


def best_trial(records: list[TrialRecord], objective: str) -> TrialRecord:
    """Returns the best completed trial or, if there is none, the best one that was interrupted.

    Raises:
        RuntimeError: no trial has a usable score; the message gives the first reason.
    """
    if best := finalists(records, objective, 1):
        return best[0]
    cut = [trial for trial in records if trial.status == "interrupted" and not math.isnan(trial.score)]
    if cut:
        best = (min if lower_is_better(objective) else max)(cut, key=lambda trial: trial.score)
        logger.warning(
            "no trial was completed: trial %d is taken, though it was %s; give the search more minutes",
            best.number,
            best.reason,
        )
        return best
    reasons = [trial.reason for trial in records if trial.reason]
    first = reasons[0] if reasons else "no trial has run to its end"
    raise RuntimeError(
        f"none of the {len(records)} trials was completed; the first: {first}{_remedy(records)}"
    )


def give_up(records: list[TrialRecord]) -> None:
    """Raises RuntimeError, with the first reason, if at least 5 trials have ended and all of them failed."""
    ended = [trial for trial in records if trial.status in ENDED]
    if len(ended) >= FIRST_FAILURES and all(trial.status == "failed" for trial in ended):
        raise RuntimeError(
            f"each of the first {len(ended)} trials failed, so the search ends; the first: {ended[0].reason}"
            f"{_remedy(ended)}"
        )


def _remedy(records: list[TrialRecord]) -> str:
    """Returns the end of a message that all trials failed: a search never trains those again."""
    if {trial.status for trial in records} != {"failed"}:
        return ""
    return f"; when its cause is mended, delete {records[0].folder.parent.parent} and run again"


def drop_weights(records: list[TrialRecord], objective: str, keep_models: int) -> None:
    """Deletes the weights of all ended trials except the best `keep_models`."""
    best = [trial.folder for trial in finalists(records, objective, keep_models)]
    for trial in records:
        if trial.status in ENDED and trial.folder not in best:
            for file in trial.folder.glob("*.weights.h5"):
                file.unlink(missing_ok=True)


def log_trial(
    trial: TrialRecord,
    records: list[TrialRecord],
    objective: str,
    asked: int,
    seconds_left: float = math.inf,
) -> None:
    """Logs the line that ends a trial: its score, the best so far, its minutes, the minutes left.

    Args:
        trial: the trial that has just ended.
        records: of the whole search.
        objective: name of the metric.
        asked: number of trials requested, 0 if not known in advance.
        seconds_left: until the search's deadline.
    """
    best = finalists(records, objective, 1)
    seconds = [read_record(other.folder).get("seconds") for other in records]
    minutes = [value / 60 for value in seconds if value is not None]
    ended = sum(other.status in ENDED for other in records)
    left = min(max(asked - ended, 0) * sum(minutes) / max(len(minutes), 1), seconds_left / 60)
    score, took = f"{objective} {trial.score:.4f}", read_record(trial.folder).get("seconds")
    logger.info(
        "trial %d of %s: %s%s%s%s",
        trial.number,
        asked or "the search",
        score if trial.status == "completed" else f"{trial.status} ({trial.reason})",
        f", best so far {best[0].score:.4f}" if best else "",
        f", {took / 60:.1f} min" if took is not None else "",  # nobody knows of a process that crashed
        f", about {left:.1f} min left" if asked else "",
    )
