"""A training that is slower than it was planned leaves out epochs, so that its learning rate comes down."""

import logging
import math
import time
from collections import deque

import keras

from src.searches.callbacks import Deadline

logger = logging.getLogger(__name__)

RECENT = 4  # epochs that say how long one takes now; few enough to notice a change near the end


class KeepPace(keras.callbacks.Callback):
    """Leaves out epochs of the plan, evenly, where the rest of it would end after the deadline.

    A learning rate that falls over all planned epochs is still high where a clock cuts them off, and weights
    trained with it are noisy. So the optimizer's step, which the learning rate's schedule counts by, is moved
    on, and training pictures grow sooner. Without a delay nothing is changed.

    Attributes:
        skipped: epochs of the plan left out so far.
        part_end: the epoch of the plan, from 0, at which the pictures' size changes or the plan ends.
        ends_part: whether it has stopped Keras because that epoch has come.
    """

    def __init__(self, deadline: Deadline, expected: list[float]):
        """Keeps the parts.

        Args:
            deadline: of the training.
            expected: how long each planned epoch takes with its validation, in seconds; what counts is how
                long one takes beside another.
        """
        super().__init__()
        self.deadline, self.expected = deadline, expected
        self.skipped, self.part_end, self.ends_part = 0, len(expected), False
        self._recent: deque[tuple[float, float]] = deque(maxlen=RECENT)  # seconds taken and expected
        self._behind = 0.0  # epochs that ought to be left out by now, beyond those that were

    @classmethod
    def never(cls) -> "KeepPace":
        """Returns one of a training that has no deadline."""
        return cls(Deadline(math.inf), [])

    def restore(self, model: keras.Model, epochs: int, steps_an_epoch: int) -> None:
        """Takes from the optimizer's step how many epochs were left out before a training was interrupted.

        Args:
            model: with the state that the training had after its last epoch.
            epochs: that it was trained for.
            steps_an_epoch: batches.
        """
        steps = int(keras.ops.convert_to_numpy(model.optimizer.iterations))
        self.skipped = max(0, min(round(steps / steps_an_epoch), len(self.expected)) - epochs)

    def on_train_begin(self, logs=None):
        """Notes that the first epoch of these pictures is yet to come: it takes longer, for compiling."""
        self.ends_part, self._is_first = False, True

    def on_epoch_begin(self, epoch, logs=None):
        """Notes the moment."""
        self._began = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        """Moves on in the plan where its rest takes longer than there is time."""
        done = epoch + 1 + self.skipped
        if not self._is_first:
            self._recent.append((time.monotonic() - self._began, self.expected[done - 1]))
        self._is_first = False
        if self.model.stop_training:  # the minutes are over, or patience is
            return
        number = min(self._count_excess(done), len(self.expected) - done - 1)  # the last is always trained
        if number > 0:
            self._leave_out(number)
        if self.skipped and done + max(0, number) >= self.part_end:
            self.ends_part = self.model.stop_training = True

    def _count_excess(self, done: int) -> int:
        """Returns how many epochs of the plan ought to be left out now, spread over all that are to come."""
        if not self._recent:
            return 0
        taken, expected = map(sum, zip(*self._recent, strict=True))
        needed = sum(self.expected[done:]) * taken / expected
        self._behind += max(0.0, needed / max(self.deadline.seconds_left(), 1e-3) - 1)
        return round(self._behind)

    def _leave_out(self, number: int) -> None:
        self.skipped, self._behind = self.skipped + number, self._behind - number
        steps = self.model.optimizer.iterations
        steps.assign(int(keras.ops.convert_to_numpy(steps)) + number * self.params["steps"])
        logger.info(
            "slower than planned: %d epochs of the plan are left out, so far %d", number, self.skipped
        )
