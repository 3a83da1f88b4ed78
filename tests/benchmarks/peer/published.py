"""The published recipe as published: files read by ImageDataGenerator, 1/16 epochs, random search.

The search has 70 % of the minutes, or ends after the published 20 trials; the best hyperparameters are
then trained again as a trial is, which the published patience may end early. Batches, augmentation,
learning rate, epochs and patience are the published ones; the pictures are 64 x 64 instead of 180 x 180.
Its own validation looks at 1/16 of the validation part: the whole of it is looked at beside the clock.
"""

from functools import partial
from pathlib import Path

import keras
import keras_tuner
import numpy as np
import pandas as pd
from peer.clock import SEARCH_SHARE, Clock
from peer.parts import Part, load_parts, read_json
from peer.watch import Watch, best_hyperparameters, report, trial_counts

from src.spaces import published

BATCH_SIZE, FRACTION, TRIALS, EPOCHS, PATIENCE = 32, 16, 20, 35, 5
AUGMENTATION = {"width_shift_range": 0.3, "height_shift_range": 0.3, "shear_range": 0.2, "zoom_range": 0.2}
AUGMENTATION.update(horizontal_flip=True, fill_mode="nearest")


def run(clock: Clock, folder: Path, seed: int, work: Path) -> dict:
    """Returns the peer's outcome.

    Args:
        clock: started with the peer.
        folder: of the run whose pictures and split are used.
        seed: of everything random.
        work: a folder for what the search writes.
    """
    keras.utils.set_random_seed(seed)
    parts = load_parts(folder)
    size = parts["train"].pictures.shape[1]
    read = partial(read_files, Path(read_json(folder / "data.json")["folder"]), size=size, seed=seed)
    watch = Watch(clock, lambda model: float(is_correct(model, read(parts["validation"])).mean()))
    training, validation = read(parts["train"], AUGMENTATION), read(parts["validation"], shuffle=True)
    stopping = keras.callbacks.EarlyStopping(patience=PATIENCE, restore_best_weights=True)
    recipe = {
        "x": training,
        "steps_per_epoch": max(1, len(training) // FRACTION),
        "validation_data": validation,
        "validation_steps": max(1, len(validation) // FRACTION),
        "epochs": EPOCHS,
        "callbacks": [watch, stopping],
        "verbose": 2,
    }
    search = keras_tuner.RandomSearch(
        partial(published, image_size=size),
        objective="val_accuracy",
        max_trials=TRIALS,
        seed=seed,
        directory=work,
        project_name="search",
    )
    watch.end_search(search.oracle, SEARCH_SHARE)
    search.search(**recipe)
    trials = trial_counts(search.oracle, watch)
    watch.end_training()
    model = search.hypermodel.build(best_hyperparameters(search.oracle))
    model.fit(**recipe)
    return report(watch, trials, lambda: is_correct(model, read(parts["test"])))


def read_files(
    pictures: Path,
    part: Part,
    augmentation: dict | None = None,
    shuffle: bool = False,
    *,
    size: int,
    seed: int,
):
    """Returns the published generator on a part: the files themselves, read again each time.

    Args:
        pictures: the folder of the files.
        part: which of them.
        augmentation: ImageDataGenerator's arguments; with them the order is random as well.
        shuffle: whether the order is random all the same.
        size: side of the squares, in pixels.
        seed: of the order and the transformations.
    """
    from keras.src.legacy.preprocessing.image import ImageDataGenerator  # kept by Keras for old code only

    preprocess = keras.applications.resnet50.preprocess_input
    generator = ImageDataGenerator(**(augmentation or {}), preprocessing_function=preprocess)
    return generator.flow_from_dataframe(
        pd.DataFrame({"image_name": part.image_names, "code": part.codes}),
        str(pictures),
        x_col="image_name",
        y_col="code",
        target_size=(size, size),
        batch_size=BATCH_SIZE,
        class_mode="raw",
        shuffle=bool(augmentation) or shuffle,
        validate_filenames=False,  # notebook 01 has decoded every one of them
        seed=seed,
    )


def is_correct(model: keras.Model, files) -> np.ndarray:
    """Returns a truth value a picture of a generator that does not shuffle."""
    return (model.predict(files, verbose=0).ravel() > 0.5) == files.labels
