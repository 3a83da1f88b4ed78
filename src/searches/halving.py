"""Restarts training at half the batch size when memory runs out; this survives a kill."""

import copy
import gc
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from src.running.resources import is_out_of_memory
from src.searches.checkpoints import CHECKPOINT
from src.training import PictureTraining

logger = logging.getLogger(__name__)
T = TypeVar("T")
HALVED = "memory ran out; trained at half the batch size"
LACK = "memory ran out; to be trained at half the batch size"
MARK = f"{CHECKPOINT}.halved"  # deleted together with the checkpoint when the training is over


def within_memory(
    training: PictureTraining, train: Callable[[PictureTraining], T], folder: Path | None = None
) -> T:
    """Returns the result of `train`; if memory runs out, it is retried once at half the batch size.

    Args:
        training: what to train.
        train: trains it.
        folder: of the training run. One interrupted after halving resumes at half the batch size: small
            pictures might fit at the full one, and the epochs of the larger pictures would be lost.
    """
    if not (folder and is_halved(folder)):
        try:
            return train(training)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        # Outside the handler, because the traceback keeps the needed memory alive.
        note_lack(folder)
    return train(halve(training))


def halve(training: PictureTraining) -> PictureTraining:
    """Returns a copy of the training at half the batch size."""
    halved = copy.copy(training)
    halved.batch_divisor = 2
    return halved


def is_halved(folder: Path) -> bool:
    """Returns whether memory has run out in this folder's training run."""
    return (folder / MARK).exists()


def note_lack(folder: Path | None = None) -> None:
    """Logs that memory ran out, collects garbage, and marks the folder of the training run, if given."""
    logger.warning("out of memory: retrying with half the batch size")
    gc.collect()
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARK).touch()
