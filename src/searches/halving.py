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
    mark = folder / MARK if folder else None
    if not (mark and mark.exists()):
        try:
            return train(training)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        # Outside of the handler: the error's traceback holds on to the memory that is missing.
        logger.warning("out of memory: once more, at half the batch size")
        gc.collect()
        if mark:
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
    halved = copy.copy(training)
    halved.batch_divisor = 2
    return train(halved)
