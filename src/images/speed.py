"""Pictures per second: our batches against Keras's ImageDataGenerator, taking turns in one run."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from src.generators import PictureBatches
from src.images.cache import cached_rows
from src.images.preprocessing import preprocess


def published_generator(
    folder: str | Path, table: pd.DataFrame, image_size: int, batch_size: int, augmentation: dict, seed: int
) -> Iterator:
    """Returns the published training generator: ImageDataGenerator reading the same files.

    Args:
        folder: where the pictures are.
        table: the features table with its split; only the training part is read.
        image_size: side of the squares, in pixels.
        batch_size: pictures per batch.
        augmentation: ImageDataGenerator's own arguments.
        seed: for its order and transformations.
    """
    # Keras keeps it for legacy code only and may drop it: nothing but this comparison uses it.
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    training = cached_rows(table).query("split == 'train'")
    generator = ImageDataGenerator(**augmentation, preprocessing_function=preprocess)
    return generator.flow_from_dataframe(
        training,
        str(folder),
        x_col="image_name",
        y_col="category",
        target_size=(image_size, image_size),
        batch_size=batch_size,
        class_mode="binary",
        validate_filenames=False,  # notebook 01 has decoded every one of them
        seed=seed,
    )


def count_pictures(source: Iterator | PictureBatches, seconds: float) -> float:
    """Returns pictures per second, measured over at least `seconds`; our batches use all their workers."""
    pictures, started = 0, time.perf_counter()
    if isinstance(source, PictureBatches):
        with ThreadPoolExecutor(max(1, source.workers)) as pool:
            while time.perf_counter() - started < seconds:
                pictures += sum(len(codes) for _, codes in pool.map(source.__getitem__, range(len(source))))
    else:
        while time.perf_counter() - started < seconds:
            pictures += len(next(source)[1])
    return pictures / (time.perf_counter() - started)


def compare_speed(
    sources: dict[str, Iterator | PictureBatches],
    rounds: int = 3,
    seconds: float = 2.0,
    measure: Callable[[Iterator | PictureBatches, float], float] = count_pictures,
) -> pd.DataFrame:
    """Returns one row per source: its median pictures per second, their range, the ratio to the first source.

    The sources take turns, so that a busy moment of the machine affects all of them.
    """
    speeds = pd.DataFrame(
        [{name: measure(source, seconds) for name, source in sources.items()} for _ in range(rounds)]
    )
    median = speeds.median()
    table = pd.DataFrame({"pictures_per_second": median, "low": speeds.min(), "high": speeds.max()})
    table["ratio"] = median / median.iloc[0]
    return table.rename_axis("method").reset_index()
