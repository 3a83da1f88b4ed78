"""Where memory runs out, a training is begun once more at half its batches, and stays so after a kill."""

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
MARK = f"{CHECKPOINT}.halved"  # goes with the checkpoint, when the training is over


def within_memory(
    training: PictureTraining, train: Callable[[PictureTraining], T], folder: Path | None = None
) -> T:
    """Returns what `train` gives; where memory runs out, what it gives at half the batch size, tried once.

    Args:
        training: what is trained.
        train: trains it.
        folder: of the training. One that was interrupted after its batches were halved goes on with those:
            small pictures might fit undivided, and the epochs of the larger ones would be lost.
    """
    if not (folder and is_halved(folder)):
        try:
            return train(training)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        # Outside of the handler: the error's traceback holds on to the memory that is missing.
        note_lack(folder)
    return train(halve(training))


def halve(training: PictureTraining) -> PictureTraining:
    """Returns the same training at half the batch size."""
    halved = copy.copy(training)
    halved.batch_divisor = 2
    return halved


def is_halved(folder: Path) -> bool:
    """Returns whether memory has run out in the training of this folder."""
    return (folder / MARK).exists()


def note_lack(folder: Path | None = None) -> None:
    """Says that memory has run out, frees what is free, and marks the training's folder, where it has one."""
    logger.warning("out of memory: once more, at half the batch size")
    gc.collect()
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARK).touch()
