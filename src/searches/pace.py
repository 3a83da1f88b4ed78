"""A training that ends with its minutes: its plan is shortened or stretched as it goes slowly or quickly."""

import logging
import math
import time
from collections import deque

import keras

from src.searches.callbacks import Deadline, EpochProgress

logger = logging.getLogger(__name__)

RECENT = 4  # epochs that say how long one takes now; few enough to notice a change near the end
RESERVE = 0.05  # of the minutes, not planned for: for compiling, and for what follows the last epoch
EARLY = 0.9  # of the time that is left beside the reserve: a plan that needs less is stretched


class KeepPace(keras.callbacks.Callback):
    """Leaves out epochs of the plan, or adds some, evenly, so that its end and the deadline fall together.

    How many epochs fit is known from the search, which other work may have slowed down, or another machine
    have run. A learning rate that falls over all planned epochs is still high where a clock cuts them off,
    and weights trained with it are noisy; a plan that is too short leaves minutes unused. So the optimizer's
    step, which the learning rate's schedule counts by, is moved on or back by whole epochs; the training
    pictures grow with it. A training that is in time is not touched.

    Attributes:
        skipped: epochs of the plan left out so far; below 0, epochs added. A checkpoint keeps it.
        part_end: the epoch of the plan, from 0, at which the pictures' size changes or the plan ends.
        ends_part: whether it has stopped Keras because that epoch has come.
    """

    def __init__(self, deadline: Deadline, expected: list[float], most: int, progress: EpochProgress):
        """Keeps the parts.

        Args:
            deadline: of the training.
            expected: how long each planned epoch takes with its validation, in seconds; what counts is how
                long one takes beside another.
            most: epochs that are trained in no case more.
            progress: is told how many there will be.
        """
        super().__init__()
        self.deadline, self.expected, self.most, self.progress = deadline, expected, most, progress
        self.reserve = RESERVE * deadline.seconds_left()
        self.skipped, self.part_end, self.ends_part = 0, len(expected), False
        self._recent: deque[tuple[float, float]] = deque(maxlen=RECENT)  # seconds taken and expected
        self._behind = 0.0  # epochs that ought to be left out by now, beyond those that were
        self._told: set[str] = set()

    @classmethod
    def never(cls) -> "KeepPace":
        """Returns one that stays out of a training: it belongs to one without a deadline."""
        return cls(Deadline(math.inf), [], 0, EpochProgress("", 0))

    def on_train_begin(self, logs=None):
        """Notes that the first epoch of these pictures is yet to come: it takes longer, for compiling."""
        self.ends_part, self._is_first = False, True

    def on_epoch_begin(self, epoch, logs=None):
        """Notes the moment."""
        self._began = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        """Moves on or back in the plan where its rest takes longer or shorter than there is time."""
        done = epoch + 1 + self.skipped
        if not self._is_first:
            self._recent.append((time.monotonic() - self._began, self.expected[done - 1]))
        self._is_first = False
        if self.model.stop_training:  # the minutes are over, or patience is
            return
        rest = len(self.expected) - done
        number = self._count_excess(done) if self._recent else 0
        number = min(max(number, epoch + 1 + rest - self.most), rest - 1)  # the last one is always trained
        if number and rest:
            self._shift(number, epoch + 1 + rest - number)
        if epoch + 1 + self.skipped >= self.part_end:
            self.ends_part = self.model.stop_training = True

    def _count_excess(self, done: int) -> int:
        """Returns how many epochs are to be left out now, or added (below 0), spread over all to come."""
        taken, expected = map(sum, zip(*self._recent, strict=True))
        needed = sum(self.expected[done:]) * taken / max(expected, 1e-3)
        left = max(self.deadline.seconds_left(), 1e-3)
        share = needed / max(left - self.reserve, 1e-3)
        if needed > left:
            self._behind += needed / left - 1
        elif share < EARLY:
            self._behind += share - 1
        return round(self._behind)

    def _shift(self, number: int, total: int) -> None:
        self.skipped, self._behind, self.progress.epochs = self.skipped + number, self._behind - number, total
        steps = self.model.optimizer.iterations
        steps.assign(int(keras.ops.convert_to_numpy(steps)) + number * self.params["steps"])
        way = ("quicker", "added") if number < 0 else ("slower", "left out")
        what = "{} than planned: epochs are {}".format(*way)
        if what not in self._told:
            logger.info("%s, so that the learning rate comes down when the minutes are over", what)
            self._told.add(what)
