"""What watches a training: progress, the history file, the deadline, a loss that is no number."""

import logging
import math
import time
from pathlib import Path

import keras
import keras_tuner
import pandas as pd
from tqdm.auto import tqdm

from src.config import is_headless
from src.runs import write_table

logger = logging.getLogger(__name__)


class EpochProgress(keras.callbacks.Callback):
    """Shows a bar by hand, and one line an epoch where bars are off (headless)."""

    def __init__(self, title: str, epochs: int):
        """Keeps the title and the largest number of epochs."""
        super().__init__()
        self.title, self.epochs = title, epochs
        self.bar = self.started = None

    def __deepcopy__(self, memo) -> "EpochProgress":
        """Returns itself: KerasTuner copies callbacks for each execution, a bar cannot be copied."""
        return self

    def on_train_begin(self, logs=None):
        """Opens the bar; a training in several parts opens it several times."""
        self.bar = tqdm(
            total=self.epochs, desc=self.title, unit=" epochs", leave=False, disable=is_headless()
        )
        self.started = self.started or time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        """Moves the bar, or writes the line."""
        figures = {name: f"{value:.4f}" for name, value in (logs or {}).items() if name != "learning_rate"}
        self.bar.total = self.epochs  # they may have become more or fewer
        self.bar.set_postfix(figures, refresh=False)
        self.bar.update(epoch + 1 - self.bar.n)
        if self.bar.disable:
            seconds = time.monotonic() - self.started
            line = ", ".join(f"{name} {value}" for name, value in figures.items())
            logger.info("%s, epoch %d of %d: %s (%.0f s)", self.title, epoch + 1, self.epochs, line, seconds)

    def on_train_end(self, logs=None):
        """Closes the bar."""
        self.bar.close()


class HistoryFile(keras.callbacks.Callback):
    """Keeps a row an epoch in a CSV file, replaced whole as it happens; a second training is execution 1.

    Attributes:
        rows: of the epochs so far: execution, epoch (from 1), losses and metrics, the learning rate at
            its end, seconds of its validation where it had one, seconds of training until then.
        parameters: of the network, once it has begun to train.
        earlier: seconds of training before this process went on with it.
    """

    def __init__(self, path: Path):
        """Keeps the file's path."""
        super().__init__()
        self.path = Path(path)
        self.rows: list[dict] = []
        self.next_epoch = self.parameters = None
        self.validation: dict[str, float] = {}
        self.earlier = 0.0

    def __deepcopy__(self, memo) -> "HistoryFile":
        """Returns itself, so that it counts a trial's executions."""
        return self

    def restore(self, rows: list[dict]) -> None:
        """Takes the rows of an interrupted training, which now goes on."""
        self.rows, self.earlier = rows, rows[-1]["seconds"]

    def on_train_begin(self, logs=None):
        """Notes the network's size, also where all its epochs were trained before this process went on."""
        self.parameters = self.model.count_params()

    def on_epoch_begin(self, epoch, logs=None):
        """Counts the execution at its first epoch: one that does not follow the epoch before."""
        if epoch != self.next_epoch:
            goes_on = self.rows and self.next_epoch is None  # with a restored training
            self.execution = self.rows[-1]["execution"] + (not goes_on) if self.rows else 0
            self.started = time.monotonic() - (self.earlier if goes_on else 0)
        self.next_epoch, self.validation = epoch + 1, {}

    def on_test_begin(self, logs=None):
        """Notes when the epoch's validation begins."""
        self.validation_began = time.monotonic()

    def on_test_end(self, logs=None):
        """Notes how long it took."""
        self.validation = {"validation_seconds": round(time.monotonic() - self.validation_began, 2)}

    def on_epoch_end(self, epoch, logs=None):
        """Writes the row."""
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row = {"execution": self.execution, "epoch": epoch + 1, **(logs or {}), "learning_rate": rate}
        row = {**row, **self.validation, "seconds": round(time.monotonic() - self.started, 2)}
        self.rows.append(row)
        write_table(pd.DataFrame(self.rows), self.path)


class Deadline(keras.callbacks.Callback):
    """Stops the training at the end of the first epoch after a moment of `time.monotonic()`."""

    def __init__(self, moment: float):
        """Keeps the moment; infinity means never."""
        super().__init__()
        self.moment = moment
        self.stopped_at = None
        self.is_over = False  # whether there is nothing left to train before it begins

    def __deepcopy__(self, memo) -> "Deadline":
        """Returns itself, so that who made it can ask where it stopped."""
        return self

    @classmethod
    def after(cls, minutes: float) -> "Deadline":
        """Returns a deadline this many minutes from now; 0 means none."""
        return cls(time.monotonic() + 60 * minutes if minutes else math.inf)

    @property
    def passed(self) -> bool:
        """Whether the moment is over."""
        return time.monotonic() >= self.moment

    def seconds_left(self) -> float:
        """Returns the seconds until the moment, at least 0."""
        return max(0.0, self.moment - time.monotonic())

    def on_epoch_end(self, epoch, logs=None):
        """Stops where the moment is over."""
        if self.passed:
            self.stopped_at = epoch + 1
            self.model.stop_training = True


class StopAtNaN(keras.callbacks.Callback):
    """Fails a trial as soon as its loss is not a finite number.

    An epoch's loss so far is a mean, which stays what it is once one batch made it NaN: a look at every
    16th batch sees it too, and does not make an accelerator wait for each one.
    """

    every = 16

    def on_epoch_begin(self, epoch, logs=None):
        """Notes the epoch."""
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        """Looks now and then."""
        if batch % self.every == self.every - 1:
            self.on_epoch_end(self.epoch, logs)

    def on_epoch_end(self, epoch, logs=None):
        """Raises FailedTrialError, which KerasTuner records."""
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise keras_tuner.errors.FailedTrialError(f"the loss was {loss} in epoch {epoch + 1}")
