"""Copies and repairs of KerasTuner's state files, because KerasTuner does not write them atomically."""

import json
import logging
import os
import shutil
from pathlib import Path

import h5py

from src.running.resources import check_space
from src.running.writing import replacing

logger = logging.getLogger(__name__)

GOOD = "last_good"  # the folder of the copies, inside the search's folder


def keep_state(project: Path) -> None:
    """Copies every intact state file that has changed since the last call."""
    for path in _state_files(project):
        copy = project / GOOD / path.relative_to(project)
        if copy.exists() and copy.stat().st_mtime_ns == path.stat().st_mtime_ns:
            continue
        if _is_whole(path):
            copy.parent.mkdir(parents=True, exist_ok=True)
            with replacing(copy) as partial:
                shutil.copy2(path, partial)


def restore_state(project: Path) -> None:
    """Restores every state file that is missing or was cut short by a kill from its last good copy.

    Raises:
        ValueError: a file is damaged or missing, and there is no good copy of it.
    """
    kept = {copy.relative_to(project / GOOD) for copy in _state_files(project / GOOD)}
    for path in sorted(kept | {path.relative_to(project) for path in _state_files(project)}):
        if _is_whole(project / path):
            continue
        what = "is not whole" if (project / path).exists() else "is missing"
        if path not in kept or not _is_whole(project / GOOD / path):
            raise ValueError(f"{project / path} {what}; delete {project} and run the search again")
        logger.warning("%s %s; its last good copy takes its place", project / path, what)
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(project / GOOD / path, project / path)


def drop_optimizer(weights: Path) -> None:
    """Removes the optimizer state from a weights file, which is replaced atomically."""
    check_space(weights.parent, weights.stat().st_size, weights.name)  # HDF5 would end the process
    with replacing(weights, f"{os.getpid()}.partial.h5") as partial:
        with h5py.File(weights) as old, h5py.File(partial, "w") as new:
            new.attrs.update(old.attrs)
            for name in old:
                if name != "optimizer":
                    old.copy(name, new)


def _state_files(project: Path) -> list[Path]:
    own = [path for path in project.glob("*.json") if path.name != "search.json"]
    return [*own, *project.glob("trial_*/trial.json")]


def _is_whole(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True
