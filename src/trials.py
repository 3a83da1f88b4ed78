"""What a search leaves behind: the table of trials, every epoch's history, the best hyperparameters."""

import math
from pathlib import Path

import pandas as pd

from src.runs import read_json
from src.tuning import completed_trials

OUTCOME = ["score", "best_epoch", "epochs", "parameters", "seconds", "status", "reason"]


def trials_table(tuner) -> pd.DataFrame:
    """Returns one row a trial: its number from 1, its hyperparameters, and what came of it.

    Columns after the hyperparameters: score (the objective), best_epoch and epochs (from 1),
    parameters (of the model), seconds, status (completed, failed, running) and reason.
    """
    rows = []
    for trial in sorted(tuner.oracle.trials.values(), key=lambda trial: int(trial.trial_id)):
        folder = Path(tuner.get_trial_dir(trial.trial_id))
        history = read_history(folder)
        record = read_json(folder / "record.json") if (folder / "record.json").exists() else {}
        status = {"COMPLETED": "completed", "RUNNING": "running"}.get(trial.status, "failed")
        completed = status == "completed"
        rows.append(
            {
                "trial": int(trial.trial_id) + 1,
                **hyperparameters_of(trial),
                "score": trial.score if completed else math.nan,
                "best_epoch": best_epoch(history, tuner.oracle.objective) if completed else pd.NA,
                "epochs": len(history),
                "parameters": record.get("parameters", pd.NA),
                "seconds": record.get("seconds", math.nan),
                "status": status,
                "reason": reason_of(trial, status, record),
            }
        )
    return pd.DataFrame(rows)


def hyperparameters_of(trial) -> dict:
    """Returns a trial's hyperparameters without the entries that Hyperband keeps for itself."""
    values = trial.hyperparameters.values
    return {name: value for name, value in values.items() if not name.startswith("tuner/")}


def best_epoch(history: pd.DataFrame, objective) -> int:
    """Returns the epoch, counted from 1, with the best objective."""
    column = history[objective.name]
    return int(history.loc[column.idxmax() if objective.direction == "max" else column.idxmin(), "epoch"])


def reason_of(trial, status: str, record: dict) -> str:
    """Returns in one line why a trial failed or was cut short; empty where all went as asked."""
    if record.get("stopped_at"):
        return f"stopped by max_minutes after epoch {record['stopped_at']}"
    if status == "failed":
        lines = [line.strip() for line in (trial.message or "").splitlines() if line.strip()]
        return next((line for line in reversed(lines) if "Error" in line), "the objective was not a number")[
            :300
        ]
    return ""


def read_history(folder: Path) -> pd.DataFrame:
    """Returns a trial's epochs, none where it was killed before the first one ended."""
    path = folder / "history.csv"
    return pd.read_csv(path) if path.exists() else pd.DataFrame(columns=["execution", "epoch"])


def history_table(tuner) -> pd.DataFrame:
    """Returns one row an epoch of every trial: trial, execution, epoch, losses, metrics, seconds."""
    tables = []
    for trial_id in sorted(tuner.oracle.trials, key=int):
        history = read_history(Path(tuner.get_trial_dir(trial_id)))
        history.insert(0, "trial", int(trial_id) + 1)
        tables.append(history)
    return pd.concat([table for table in tables if len(table)] or tables, ignore_index=True)


def best_trial(tuner):
    """Returns KerasTuner's record of the best completed trial.

    Raises:
        RuntimeError: no trial was completed; the first reason is given.
    """
    completed = completed_trials(tuner.oracle)
    if not completed:
        reasons = [reason for reason in trials_table(tuner)["reason"] if reason]
        first = reasons[0] if reasons else "no trial has run"
        raise RuntimeError(f"none of the {len(tuner.oracle.trials)} trials was completed; the first: {first}")
    return completed[0]


def at_the_edge(best: dict, space: list) -> list[str]:
    """Returns a sentence for each best value that lies on the edge of its range, where widening may pay.

    Args:
        best: the best hyperparameters.
        space: KerasTuner's entries, as in `tuner.oracle.get_space().space`.
    """
    sentences = []
    for entry in space:
        if not hasattr(entry, "min_value") or entry.name not in best or entry.min_value == entry.max_value:
            continue
        # The last value that the grid really has: steps can lose the top of a range.
        values = list(entry.values) if entry.step else [entry.min_value, entry.max_value]
        if len(values) < 2:
            continue
        value, share = best[entry.name], 0.02
        if entry.step:
            near = {"lower": value <= values[0], "upper": value >= values[-1]}
        else:
            scale = math.log if entry.sampling == "log" else float
            place = (scale(value) - scale(values[0])) / (scale(values[-1]) - scale(values[0]))
            near = {"lower": place < share, "upper": place > 1 - share}
        for edge in (edge for edge, holds in near.items() if holds):
            sentences.append(
                f"{entry.name} = {value:g} is at the {edge} edge of {values[0]:g} to {values[-1]:g}"
            )
    return sentences
