"""Callbacks that watch a training run: progress, the history file, the deadline, non-finite losses."""

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
    """Shows a progress bar, or logs one line per epoch when running headless."""

    def __init__(self, title: str, epochs: int):
        """Stores the title and the maximum number of epochs."""
        super().__init__()
        self.title, self.epochs = title, epochs
        self.bar = self.started = None

    def __deepcopy__(self, memo) -> "EpochProgress":
        """Returns itself: KerasTuner copies callbacks for each execution, and a bar cannot be copied."""
        return self

    def on_train_begin(self, logs=None):
        """Opens the bar; a training run in several parts opens it once per part."""
        self.bar = tqdm(
            total=self.epochs, desc=self.title, unit=" epochs", leave=False, disable=is_headless()
        )
        self.started = self.started or time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        """Advances the bar, or logs the line."""
        figures = {name: f"{value:.4f}" for name, value in (logs or {}).items() if name != "learning_rate"}
        self.bar.total = self.epochs  # `KeepPace` may have changed it
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
    """Keeps one row per epoch in a CSV file, replaced atomically; a second training run is execution 1.

    Attributes:
        rows: one per epoch so far: execution, epoch (from 1), losses and metrics, learning rate at the end
            of the epoch, seconds its validation took (if it had one), seconds of training up to then.
        parameters: number of parameters of the network, set once it starts to train.
        earlier: seconds of training before this process resumed it.
    """

    def __init__(self, path: Path):
        """Stores the path of the file."""
        super().__init__()
        self.path = Path(path)
        self.rows: list[dict] = []
        self.next_epoch = self.parameters = None
        self.validation: dict[str, float] = {}
        self.earlier = 0.0

    def __deepcopy__(self, memo) -> "HistoryFile":
        """Returns itself, so that one instance counts all executions of a trial."""
        return self

    def restore(self, rows: list[dict]) -> None:
        """Restores the rows of an interrupted training run that is now being resumed, in the file as well."""
        self.rows, self.earlier = rows, rows[-1]["seconds"]
        write_table(pd.DataFrame(rows), self.path)  # it may hold an epoch whose state was lost

    def on_train_begin(self, logs=None):
        """Records the parameter count, even if all epochs were trained before this process resumed."""
        self.parameters = self.model.count_params()

    def on_epoch_begin(self, epoch, logs=None):
        """Starts a new execution at any epoch that does not follow on from the previous one."""
        if epoch != self.next_epoch:
            goes_on = self.rows and self.next_epoch is None  # resumes a restored training run
            self.execution = self.rows[-1]["execution"] + (not goes_on) if self.rows else 0
            self.started = time.monotonic() - (self.earlier if goes_on else 0)
        self.next_epoch, self.validation = epoch + 1, {}

    def on_test_begin(self, logs=None):
        """Records when the epoch's validation starts."""
        self.validation_began = time.monotonic()

    def on_test_end(self, logs=None):
        """Records how long the validation took."""
        self.validation = {"validation_seconds": round(time.monotonic() - self.validation_began, 2)}

    def on_epoch_end(self, epoch, logs=None):
        """Adds the epoch's row and writes the file."""
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row = {"execution": self.execution, "epoch": epoch + 1, **(logs or {}), "learning_rate": rate}
        row = {**row, **self.validation, "seconds": round(time.monotonic() - self.started, 2)}
        self.rows.append(row)
        write_table(pd.DataFrame(self.rows), self.path)


class Deadline(keras.callbacks.Callback):
    """Stops the training at the end of the first epoch that ends after a given `time.monotonic()`."""

    def __init__(self, moment: float):
        """Stores the moment; infinity means never."""
        super().__init__()
        self.moment = moment
        self.stopped_at = None
        self.is_over = False  # True if there is nothing left to train before it even starts

    def __deepcopy__(self, memo) -> "Deadline":
        """Returns itself, so that its creator can ask where it stopped."""
        return self

    @classmethod
    def after(cls, minutes: float) -> "Deadline":
        """Returns a deadline this many minutes from now; 0 means none."""
        return cls(time.monotonic() + 60 * minutes if minutes else math.inf)

    @property
    def passed(self) -> bool:
        """Whether the moment has passed."""
        return time.monotonic() >= self.moment

    def seconds_left(self) -> float:
        """Returns the seconds until the moment, at least 0."""
        return max(0.0, self.moment - time.monotonic())

    def on_epoch_end(self, epoch, logs=None):
        """Stops the training if the moment has passed."""
        if self.passed:
            self.stopped_at = epoch + 1
            self.model.stop_training = True


class StopAtNaN(keras.callbacks.Callback):
    """Fails a trial as soon as its loss is not a finite number.

    The loss logged during an epoch is a running mean, which stays NaN once one batch makes it NaN.
    """

    # Keras turns each batch's logs into numbers, for which it waits for the accelerator. Its JAX backend does
    # so in a thread beside the training, unless a callback that does not say this wants them.
    async_safe = True

    def on_epoch_begin(self, epoch, logs=None):
        """Remembers the epoch."""
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        """Checks the loss."""
        self.on_epoch_end(self.epoch, logs)

    def on_epoch_end(self, epoch, logs=None):
        """Raises FailedTrialError, which KerasTuner records, if the loss is not finite."""
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise keras_tuner.errors.FailedTrialError(f"the loss was {loss} in epoch {epoch + 1}")
