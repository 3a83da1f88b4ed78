"""AutoKeras 3's ImageClassifier on pictures in memory, with its own defaults.

By its own rule all the minutes are the search: with validation pictures given it keeps the best model of
the search as it is. 3.0.0 fails on Keras 3.15 ("invalid value for units") and runs on 3.12, so this peer
has an environment of its own and imports nothing of `src` that needs more than Python. Some of its models
ask the network for ImageNet's weights; where there is no network these trials fail, and count as failed.
"""

from pathlib import Path

import autokeras
import keras
import numpy as np
from peer.clock import Clock
from peer.parts import load_parts
from peer.watch import Watch, best_hyperparameters, report, trial_counts


def run(clock: Clock, folder: Path, seed: int, work: Path) -> dict:
    """Returns the peer's outcome; arguments as in `published.run`."""
    keras.utils.set_random_seed(seed)
    parts = load_parts(folder)
    watch = Watch(clock)
    classifier = autokeras.ImageClassifier(directory=work, project_name="search", overwrite=True, seed=seed)
    oracle = classifier.tuner.oracle
    watch.end_search(oracle)
    classifier.fit(
        parts["train"].pictures,
        parts["train"].codes.astype("int64"),
        validation_data=(parts["validation"].pictures, parts["validation"].codes.astype("int64")),
        callbacks=[watch],
        verbose=2,
    )
    best_hyperparameters(oracle)  # says so where no trial was completed

    def is_correct() -> np.ndarray:
        predicted = classifier.predict(parts["test"].pictures, verbose=0)
        return np.asarray(predicted).ravel().astype("int64") == parts["test"].codes

    return report(watch, trial_counts(oracle, watch), is_correct)
