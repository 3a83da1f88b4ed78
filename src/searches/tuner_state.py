"""Copies and repairs of KerasTuner's state files, because KerasTuner does not write them atomically."""

import json
import logging
import os
import shutil
from functools import cmp_to_key
from pathlib import Path

import h5py
from keras_tuner.oracles import GridSearchOracle

from src.running.resources import check_space
from src.running.writing import replacing
from src.runs import read_json

logger = logging.getLogger(__name__)

GOOD = "last_good"  # the folder of the copies, inside the search's folder


def keep_state(project: Path) -> None:
    """Copies every intact state file that has changed since the last call."""
    for path in [*_state_files(project), *_state_files(project, "trial_*/trial.json")]:
        copy = project / GOOD / path.relative_to(project)
        if copy.exists() and copy.stat().st_mtime_ns == path.stat().st_mtime_ns:
            continue
        if _is_whole(path):
            copy.parent.mkdir(parents=True, exist_ok=True)
            with replacing(copy) as partial:
                shutil.copy2(path, partial)


def restore_state(project: Path) -> None:
    """Restores every state file that is missing or was cut short by a kill from its last good copy.

    What a kill found being written for the first time is deleted, and KerasTuner begins it anew: the state of
    a search without trials, or a trial that the oracle does not know, because its own file came later.

    Raises:
        ValueError: a file is damaged or missing, and there is no good copy of it.
    """
    if not any(project.glob("trial_*")) and not (project / GOOD).exists():
        for path in _state_files(project):
            path.unlink()
    _restore(project, "*.json")
    if (project / "oracle.json").exists():
        known = read_json(project / "oracle.json")["start_order"]
        for folder in project.glob("trial_*"):
            if folder.name.removeprefix("trial_") not in known:
                shutil.rmtree(folder)
    _restore(project, "trial_*/trial.json")


def _restore(project: Path, pattern: str) -> None:
    kept = {copy.relative_to(project / GOOD) for copy in _state_files(project / GOOD, pattern)}
    for path in sorted(kept | {path.relative_to(project) for path in _state_files(project, pattern)}):
        if _is_whole(project / path):
            continue
        what = "is not whole" if (project / path).exists() else "is missing"
        if path not in kept or not _is_whole(project / GOOD / path):
            raise ValueError(f"{project / path} {what}; delete {project} and run the search again")
        logger.warning("%s %s; its last good copy takes its place", project / path, what)
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(project / GOOD / path, project / path)


def restore_grid(oracle: GridSearchOracle) -> None:
    """Gives the oracle of a resumed grid back its place in the grid, which its state does not hold.

    That is the order of the trials in the grid, and of those that ended the queue to go on from: it skips the
    ones whose next combination has begun.
    """

    def compare(one: str, other: str) -> int:
        return oracle._compare(*(oracle.trials[trial].hyperparameters.values for trial in (one, other)))

    oracle._ordered_ids = type(oracle._ordered_ids)()
    for trial in sorted(oracle.start_order, key=cmp_to_key(compare)):
        oracle._ordered_ids.insert(trial)
    oracle._populate_next = list(oracle.end_order)


def drop_optimizer(weights: Path) -> None:
    """Removes the optimizer state from a weights file, which is replaced atomically."""
    check_space(weights.parent, weights.stat().st_size, weights.name)  # HDF5 would end the process
    with replacing(weights, f"{os.getpid()}.partial.weights.h5") as partial:
        with h5py.File(weights) as old, h5py.File(partial, "w") as new:
            for name in old:
                if name != "optimizer":
                    old.copy(name, new)


def _state_files(project: Path, pattern: str = "*.json") -> list[Path]:
    return [path for path in project.glob(pattern) if path.name != "search.json"]


def _is_whole(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True
