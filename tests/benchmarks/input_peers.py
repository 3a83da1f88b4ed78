"""What a user would otherwise use to inspect and serve the files: the peers of `input_speed.py`."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from keras.applications.resnet50 import preprocess_input

from src.images.augmentation import Augmentation
from src.images.cache import cached_rows

AUTOTUNE = tf.data.AUTOTUNE


def published_loop(folder: Path) -> pd.DataFrame:
    """Returns the published features table, made as in the original: one file at a time, with OpenCV."""
    names, categories, codes, sizes, ratios = [], [], [], [], []
    for name in list_names(folder):
        picture = cv2.imread(os.path.join(folder, name))
        if picture is None:  # the published loop would have stopped here
            continue
        category = name.split(".")[0]
        names.append(name)
        categories.append(category)
        codes.append(int(category == "dog"))
        sizes.append(picture.shape[:2])
        ratios.append(picture.shape[0] / picture.shape[1])
    columns = {"image_name": names, "category": categories, "code": codes}
    return pd.DataFrame({**columns, "size": sizes, "aspect_ratio": ratios})


def list_names(folder: Path) -> list[str]:
    """Returns the files of a folder and its subfolders, in the order in which the disk lists them."""
    return [
        os.path.relpath(os.path.join(parent, name), folder)
        for parent, _, names in os.walk(folder)
        for name in names
    ]


def decode_again(folder: Path, names: list[str], image_size: int, interpolation: str) -> np.ndarray:
    """Returns all pictures in memory, read with `load_img` as ImageDataGenerator does."""
    pixels = np.empty((len(names), image_size, image_size, 3), "uint8")
    size = (image_size, image_size)
    for row, name in enumerate(names):
        pixels[row] = keras.utils.load_img(folder / name, target_size=size, interpolation=interpolation)
    return pixels


def tfdata_batches(
    folder: Path,
    table: pd.DataFrame,
    image_size: int,
    batch_size: int,
    augmentation: Augmentation,
    seed: int,
    in_memory: bool = False,
) -> Iterator:
    """Returns endless training batches from tf.data, built as in Keras's own guides.

    Files are shuffled, then read, decoded and resized (bilinear) in parallel; whole batches go through
    Keras's augmentation layers (RandomFlip, RandomTranslation, RandomShear, RandomZoom, with the same ranges
    and fill mode), also in parallel, then through the same preprocessing. tf.data itself tunes all degrees of
    parallelism and the prefetching.

    Args:
        folder: where the pictures are.
        table: the features table with its split; the training part is read.
        image_size: side of the squares, in pixels.
        batch_size: pictures per batch.
        augmentation: its flip, shifts, shear, zoom and fill mode are used.
        seed: of order and transformations.
        in_memory: whether the decoded squares are kept as uint8 (`.cache()`) after the first epoch.
    """
    training = cached_rows(table).query("split == 'train'")
    paths = [str(folder / name) for name in training["image_name"]]
    shear = math.tan(math.radians(augmentation.shear_range))
    fill = {"fill_mode": augmentation.fill_mode, "seed": seed}
    shifts = augmentation.height_shift_range, augmentation.width_shift_range
    zoom = (-augmentation.zoom_range, augmentation.zoom_range)
    layers = [
        keras.layers.RandomTranslation(*shifts, **fill),
        keras.layers.RandomShear(x_factor=shear, **fill),
        keras.layers.RandomZoom(zoom, zoom, **fill),
    ]
    if augmentation.horizontal_flip:
        layers.insert(0, keras.layers.RandomFlip("horizontal", seed=seed))
    transform = keras.Sequential(layers)

    def decode(path, code):
        picture = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        picture = tf.image.resize(picture, (image_size, image_size))
        return (tf.cast(picture, tf.uint8) if in_memory else picture), code

    def finish(pictures, codes):
        return preprocess_input(transform(tf.cast(pictures, tf.float32), training=True)), codes

    files = tf.data.Dataset.from_tensor_slices((paths, training["code"].to_numpy("float32")))
    if in_memory:
        pictures = files.map(decode, AUTOTUNE).cache().shuffle(len(paths), seed)
    else:
        pictures = files.shuffle(len(paths), seed).map(decode, AUTOTUNE)
    batches = pictures.repeat().batch(batch_size).map(finish, AUTOTUNE).prefetch(AUTOTUNE)
    return iter(batches)
