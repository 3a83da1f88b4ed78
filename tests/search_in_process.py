"""A tiny search, run by the tests in a process of its own, so that it can be killed for real."""

import os
import signal
import sys
import time
from pathlib import Path

import keras
import numpy as np

from src.generators import PictureBatches
from src.training import PictureTraining
from src.tuning import make_tuner


def make_batches() -> tuple[PictureBatches, PictureBatches]:
    """Returns 16 training and 8 validation squares, bright ones of code 1."""
    random = np.random.default_rng(0)
    codes = np.arange(24) % 2
    pixels = (random.integers(0, 160, (24, 8, 8, 3)) + 60 * codes[:, None, None, None]).astype("uint8")
    names = [f"{number}.jpg" for number in range(24)]
    parts = (np.arange(16), np.arange(16, 24))
    return tuple(
        PictureBatches(pixels, rows, codes[rows], names, batch_size=8, shuffle=len(rows) == 16, workers=1)
        for rows in parts
    )


def build(hp) -> keras.Model:
    """Returns a model of a space of three; `trouble` makes it fail in the way it names."""
    trouble = hp.Fixed("trouble", os.environ.get("TROUBLE", "none"))
    units = hp.Int("units", 2, 16, step=2)
    rate = hp.Float("rate", 1e-3, 1e-1, sampling="log")
    if trouble == "big units" and units > 8:
        raise MemoryError("no room for this model")
    layers = [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Rescaling(1 / 128)]
    layers += [keras.layers.Dense(units, "relu"), keras.layers.Dense(1, "sigmoid")]
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


class Training(PictureTraining):
    """Slow enough for a deadline where SLEEP is set, and killed where asked for."""

    def fit(self, hp, model, callbacks, **settings):
        """Returns the history."""
        pause = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: time.sleep(float(os.environ.get("SLEEP", "0")))
        )
        return super().fit(hp, model, callbacks=[*callbacks, pause, Killer()], **settings)


def run_search(
    folder: Path, tuner: str = "random", seed: int = 3, max_trials: int = 4, minutes: float = 0, **more
):
    """Returns the tuner after its search."""
    settings = {"max_trials": max_trials, "epochs": 3, "seed": seed, **more}
    search = make_tuner(
        tuner, Training(build, make_batches, patience=9), folder, {"space_name": "toy"}, **settings
    )
    search.run_for(minutes)
    return search


if __name__ == "__main__":
    run_search(Path(sys.argv[1]), sys.argv[2], max_trials=int(sys.argv[3]))
