"""A tiny search by either engine, run by the tests in a process of its own, so that it can be killed."""

import os
import signal
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from src.generators import PictureBatches
from src.images.cache import StalePictures
from src.searches.isolation import IsolatedTrials
from src.searches.trials import history_table, trials_table
from src.spaces import Space, as_settled
from src.study import make_study
from src.training import PictureTraining
from src.tuning import make_tuner


def serve(part: str, training: bool = False, seed: int | None = None) -> PictureBatches:
    """Returns 16 training or 8 validation squares, bright ones of code 1."""
    random = np.random.default_rng(0)
    codes = np.arange(24) % 2
    pixels = (random.integers(0, 160, (24, 8, 8, 3)) + 60 * codes[:, None, None, None]).astype("uint8")
    rows = {"train": np.arange(16), "validation": np.arange(16, 24)}[part]  # the test part is nobody's
    names = [f"{row}.jpg" for row in rows]
    return PictureBatches(pixels, rows, codes[rows], names, batch_size=8, shuffle=training, workers=1)


def build(hp) -> keras.Model:
    """Returns a model of a space of three; `trouble` makes it fail in the way it names."""
    trouble = hp.Fixed("trouble", os.environ.get("TROUBLE", "none"))
    units = hp.Int("units", 2, 16, step=2)
    rate = hp.Float("rate", 1e-3, 1e-1, sampling="log")
    if trouble == "big units" and units > 8:
        raise MemoryError("no room for this model")
    layers = [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Rescaling(1 / 128)]
    layers += [keras.layers.Dense(units, "relu"), keras.layers.Dense(1, "sigmoid", dtype="float32")]
    model = keras.Sequential(layers)
    if trouble == "nan" and units > 8:
        rate = float("nan")
    model.compile(keras.optimizers.Adam(rate), "binary_crossentropy", metrics=["accuracy"], run_eagerly=True)
    return model


class Killer(keras.callbacks.Callback):
    """Kills this very process after so many epochs of the search."""

    epochs_left = int(os.environ.get("KILL_AFTER_EPOCHS", "-1"))

    def on_epoch_end(self, epoch, logs=None):
        """Counts, and kills."""
        Killer.epochs_left -= 1
        if Killer.epochs_left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class EpochLog(keras.callbacks.Callback):
    """Adds a line to the file that EPOCH_LOG names for every epoch that was begun: its values and number."""

    def __init__(self, values: dict):
        super().__init__()
        self.values = values

    def on_epoch_begin(self, epoch, logs=None):
        """Writes the line."""
        if "EPOCH_LOG" in os.environ:
            with open(os.environ["EPOCH_LOG"], "a") as file:
                file.write(f"{self.values['units']} {self.values['rate']:.6g} {epoch}\n")


class Training(PictureTraining):
    """Slow enough for a deadline where SLEEP is set, killed where asked for, in the trouble it is told."""

    def fit(self, hp, model, epochs, callbacks, **settings):
        """Returns the history."""
        trouble = hp.values["trouble"] if hp.values["units"] > 8 else "none"
        if trouble == "hang":
            time.sleep(3600)
        if trouble == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if trouble == "system":
            os.kill(os.getpid(), signal.SIGKILL)
        if trouble == "disk" and not Path(os.environ["DISK_FREED"]).exists():
            raise OSError(28, "No space left on device")
        if trouble == "stale":
            raise StalePictures("notebook 01 has run again")
        if trouble == "memory" and self.batch_divisor == 1:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1 byte")
        pause = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: time.sleep(float(os.environ.get("SLEEP", "0")))
        )
        watching = [*callbacks, EpochLog(hp.values), pause, Killer()]
        return super().fit(hp, model, epochs, watching, **settings)


def run_search(
    folder: Path,
    tuner: str = "random",
    seed: int = 3,
    max_trials: int = 4,
    minutes: float = 0,
    isolate: dict | None = None,
    **more,
):
    """Returns the search after it has run: Optuna's where the tuner is "optuna", else KerasTuner's."""
    settings = {"max_trials": max_trials, "epochs": 3, "seed": seed, **more}
    training = Training(Space(build, as_settled, ()), {}, serve, epochs=3, patience=9)
    parts = (training, folder, {"space_name": "toy"})
    search = make_study(*parts, **settings) if tuner == "optuna" else make_tuner(tuner, *parts, **settings)
    if isolate is None:
        search.run_for(minutes)
    else:
        search.run_for(minutes, IsolatedTrials(search, **isolate))
    return search


def tables(search, objective: str = "val_accuracy") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns the tables of trials and of epochs, as notebook 03 makes them."""
    return trials_table(search.records(), objective), history_table(search.records())


if __name__ == "__main__":
    run_search(Path(sys.argv[1]), sys.argv[2], max_trials=int(sys.argv[3]))
