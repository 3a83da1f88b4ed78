"""KerasTuner's random search on the published space, written as its guide does, with whole epochs.

The search has 70 % of the minutes; the best hyperparameters are then trained again until validation loss
has not become better for 5 epochs, or the minutes are over. The published 35 epochs a trial would let one
trial, or two, fill these minutes: 5 epochs a trial are what one would choose for them. Pictures come from
memory by tf.data; the published transformations are Keras's layers, without the shear of 0.2 degrees.
"""

from functools import partial
from pathlib import Path

import keras
import keras_tuner
import numpy as np
import tensorflow
from peer.clock import SEARCH_SHARE, Clock
from peer.parts import Part, load_parts
from peer.watch import Watch, best_hyperparameters, report, trial_counts

from src.spaces import published

BATCH_SIZE, EPOCHS, PATIENCE = 32, 5, 2
FINAL_EPOCHS, FINAL_PATIENCE = 1000, 5
AS_MANY_AS_FIT = 1000  # trials


def run(clock: Clock, folder: Path, seed: int, work: Path) -> dict:
    """Returns the peer's outcome; arguments as in `published.run`."""
    keras.utils.set_random_seed(seed)
    parts = load_parts(folder)
    training, validation = serve(parts["train"], seed, augment=True), serve(parts["validation"], seed)
    watch = Watch(clock)
    search = keras_tuner.RandomSearch(
        partial(published, image_size=parts["train"].pictures.shape[1]),
        objective="val_accuracy",
        max_trials=AS_MANY_AS_FIT,
        seed=seed,
        directory=work,
        project_name="search",
    )
    watch.end_search(search.oracle, SEARCH_SHARE)
    stopping = keras.callbacks.EarlyStopping(patience=PATIENCE)
    served = {"x": training, "validation_data": validation, "verbose": 2}
    search.search(**served, epochs=EPOCHS, callbacks=[watch, stopping])
    trials = trial_counts(search.oracle, watch)
    watch.end_training()
    model = search.hypermodel.build(best_hyperparameters(search.oracle))
    stopping = keras.callbacks.EarlyStopping(patience=FINAL_PATIENCE, restore_best_weights=True)
    model.fit(**served, epochs=FINAL_EPOCHS, callbacks=[watch, stopping])

    def is_correct() -> np.ndarray:
        probability = model.predict(serve(parts["test"], seed), verbose=0).ravel()
        return (probability > 0.5) == parts["test"].codes

    return report(watch, trials, is_correct)


def serve(part: Part, seed: int, augment: bool = False) -> tensorflow.data.Dataset:
    """Returns batches of preprocessed pictures; shuffled and augmented where asked for."""
    layers = [
        keras.layers.RandomFlip("horizontal", seed=seed),
        keras.layers.RandomTranslation(0.3, 0.3, fill_mode="nearest", seed=seed),
        keras.layers.RandomZoom(0.2, 0.2, fill_mode="nearest", seed=seed),
    ]

    def prepare(pictures, codes):
        pictures = tensorflow.cast(pictures, "float32")
        for layer in layers if augment else []:
            pictures = layer(pictures, training=True)
        return keras.applications.resnet50.preprocess_input(pictures), codes

    batches = tensorflow.data.Dataset.from_tensor_slices((part.pictures, part.codes))
    if augment:
        batches = batches.shuffle(len(part.codes), seed=seed)
    batches = batches.batch(BATCH_SIZE).map(prepare, tensorflow.data.AUTOTUNE)
    return batches.prefetch(tensorflow.data.AUTOTUNE)
