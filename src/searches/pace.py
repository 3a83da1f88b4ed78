"""Makes training end when its time is up, by shortening or extending its plan as epochs run slow or fast."""

import logging
import math
import time
from collections import deque

import keras

from src.searches.callbacks import Deadline, EpochProgress

logger = logging.getLogger(__name__)

RECENT = 4  # epochs used to estimate how long one takes now; few enough to notice a change near the end
RESERVE = 0.05  # share of the minutes kept free for compiling and for what follows the last epoch
EARLY = 0.9  # share of the remaining time (less the reserve): a plan that needs less is extended


class KeepPace(keras.callbacks.Callback):
    """Skips epochs of the plan, or adds some, evenly spread, so that the plan ends with the deadline.

    How many epochs fit is estimated from the search, which may have been slowed down by other work or run on
    another machine. A learning rate that decays over all planned epochs is still high if the deadline cuts
    them off, which leaves noisy weights; a plan that is too short leaves minutes unused. So the optimizer's
    step count, which drives the learning rate schedule, is moved forward or back by whole epochs, and the
    size of the training pictures with it. Training that is on time is left alone.

    Attributes:
        skipped: epochs of the plan skipped so far; negative if epochs were added. Saved in the checkpoint.
        part_end: the epoch of the plan (0-based) at which the picture size changes or the plan ends.
        ends_part: whether it has stopped Keras because that epoch was reached.
    """

    def __init__(self, deadline: Deadline, expected: list[float], most: int, progress: EpochProgress):
        """Stores the arguments.

        Args:
            deadline: of the training run.
            expected: how long each planned epoch takes, validation included, in seconds; only the ratios
                between epochs matter.
            most: upper limit on the number of epochs trained.
            progress: updated with the new number of epochs.
        """
        super().__init__()
        self.deadline, self.expected, self.most, self.progress = deadline, expected, most, progress
        self.reserve = RESERVE * deadline.seconds_left()
        self.skipped, self.part_end, self.ends_part = 0, len(expected), False
        self._recent: deque[tuple[float, float]] = deque(maxlen=RECENT)  # seconds taken and expected
        self._behind = 0.0  # epochs that should have been skipped by now but were not
        self._told: set[str] = set()

    @classmethod
    def never(cls) -> "KeepPace":
        """Returns an instance that never intervenes, for training without a deadline."""
        return cls(Deadline(math.inf), [], 0, EpochProgress("", 0))

    def on_train_begin(self, logs=None):
        """Marks the next epoch as the first at this picture size: compiling makes it slower."""
        self.ends_part, self._is_first = False, True
        # A resumed training may have skipped or added some.
        self.progress.epochs = len(self.expected) - self.skipped

    def on_epoch_begin(self, epoch, logs=None):
        """Records when the epoch starts."""
        self._began = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        """Moves forward or back in the plan if the rest of it does not match the time left."""
        done = epoch + 1 + self.skipped
        if not self._is_first:
            self._recent.append((time.monotonic() - self._began, self.expected[done - 1]))
        self._is_first = False
        if self.model.stop_training:  # out of time or out of patience
            return
        rest = len(self.expected) - done
        number = self._count_excess(done) if self._recent else 0
        number = min(number, rest - 1)  # the last one is always trained
        if number and rest:
            self._shift(number)
        if epoch + 1 + self.skipped >= self.part_end:
            self.ends_part = self.model.stop_training = True

    def _count_excess(self, done: int) -> int:
        """Returns how many epochs to skip now, spread over all that remain; negative: to add, if allowed."""
        taken, expected = map(sum, zip(*self._recent, strict=True))
        needed = sum(self.expected[done:]) * taken / max(expected, 1e-3)
        left = max(self.deadline.seconds_left(), 1e-3)
        share = needed / max(left - self.reserve, 1e-3)
        if needed > left:
            self._behind += needed / left - 1
        elif share < EARLY:
            self._behind += share - 1
        # Those not allowed are forgotten, or a machine that became slow would have to make up for them first.
        self._behind = max(self._behind, self.progress.epochs - self.most)
        return round(self._behind)

    def _shift(self, number: int) -> None:
        self.skipped, self._behind = self.skipped + number, self._behind - number
        self.progress.epochs = len(self.expected) - self.skipped
        steps = self.model.optimizer.iterations
        steps.assign(int(keras.ops.convert_to_numpy(steps)) + number * self.params["steps"])
        way = ("faster", "added") if number < 0 else ("slower", "skipped")
        what = "{} than planned: epochs are {}".format(*way)
        if what not in self._told:
            logger.info("%s, so that the learning rate has decayed when the minutes are over", what)
            self._told.add(what)
