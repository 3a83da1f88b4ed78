"""The network of keras.io's example "Image classification from scratch", trained until the minutes end.

Its small Xception, its flips and rotations, its batch of 128, its Adam at 3e-4, its loss on logits. It
trains 25 epochs there; here as many as fit, and the epoch of the best validation accuracy is kept. Keras's
binary accuracy takes a logit above 0.5 for class 1 there; here a logit above 0 is class 1.
Source: https://keras.io/examples/vision/image_classification_from_scratch/
"""

from pathlib import Path

import keras
import numpy as np
import tensorflow
from keras import layers
from peer.clock import Clock
from peer.parts import Part, load_parts
from peer.watch import NEVER, Watch, report

BATCH_SIZE, LEARNING_RATE, DROPOUT = 128, 3e-4, 0.25
ENTRY, BLOCKS, EXIT = 128, (256, 512, 728), 1024  # filters


def run(clock: Clock, folder: Path, seed: int, work: Path) -> dict:
    """Returns the peer's outcome; arguments as in `published.run`."""
    keras.utils.set_random_seed(seed)
    parts = load_parts(folder)
    watch, best = Watch(clock), work / "best.weights.h5"
    model = build_xception(parts["train"].pictures.shape[1])
    model.compile(
        keras.optimizers.Adam(LEARNING_RATE),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.BinaryAccuracy("accuracy", threshold=0.0)],
    )
    keep = {"monitor": "val_accuracy", "mode": "max", "save_best_only": True, "save_weights_only": True}
    model.fit(
        serve(parts["train"], seed, augment=True),
        validation_data=serve(parts["validation"], seed),
        epochs=NEVER,
        callbacks=[watch, keras.callbacks.ModelCheckpoint(best, **keep)],
        verbose=2,
    )
    model.load_weights(best)

    def is_correct() -> np.ndarray:
        logits = model.predict(serve(parts["test"], seed), verbose=0).ravel()
        return (logits > 0) == parts["test"].codes

    return report(watch, {}, is_correct)


def build_xception(size: int) -> keras.Model:
    """Returns the small Xception for pictures of 0 to 255, shape (size, size, 3); its output is a logit."""

    def convolve(inputs, kind: type[layers.Layer], filters: int, kernel: int = 3, strides: int = 1):
        outputs = kind(filters, kernel, strides=strides, padding="same")(inputs)
        return layers.BatchNormalization()(outputs)

    inputs = keras.Input((size, size, 3))
    flow = layers.Rescaling(1 / 255)(inputs)
    flow = layers.ReLU()(convolve(flow, layers.Conv2D, ENTRY, strides=2))
    for filters in BLOCKS:
        shortcut = layers.Conv2D(filters, 1, strides=2, padding="same")(flow)
        for _ in range(2):
            flow = convolve(layers.ReLU()(flow), layers.SeparableConv2D, filters)
        flow = layers.MaxPooling2D(3, strides=2, padding="same")(flow)
        flow = layers.Add()([flow, shortcut])
    flow = layers.ReLU()(convolve(flow, layers.SeparableConv2D, EXIT))
    flow = layers.Dropout(DROPOUT)(layers.GlobalAveragePooling2D()(flow))
    return keras.Model(inputs, layers.Dense(1)(flow), name="keras_io")


def serve(part: Part, seed: int, augment: bool = False) -> tensorflow.data.Dataset:
    """Returns batches of pictures and codes; shuffled and augmented where asked for."""
    flip = layers.RandomFlip("horizontal", seed=seed)
    rotate = layers.RandomRotation(0.1, seed=seed)
    batches = tensorflow.data.Dataset.from_tensor_slices((part.pictures, part.codes))
    if augment:
        batches = batches.shuffle(len(part.codes), seed=seed)
    batches = batches.batch(BATCH_SIZE)
    if augment:

        def change(pictures, codes):
            return rotate(flip(tensorflow.cast(pictures, "float32"), training=True), training=True), codes

        batches = batches.map(change, tensorflow.data.AUTOTUNE)
    return batches.prefetch(tensorflow.data.AUTOTUNE)
