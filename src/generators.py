"""Batches for Keras: shuffled and augmented for training, in the table's order for evaluation."""

import copy
import math
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import keras
import numpy as np

from src.features import check_split, load_features
from src.images.augmentation import DRAWS, KERAS_DRAWS, Augmentation
from src.images.cache import cached_rows, open_settled_cache
from src.images.preprocessing import preprocess
from src.images.warping import apply_transforms
from src.running.parameters import read_input


@lru_cache(maxsize=4)
def random_order(n: int, seed: int, number: int) -> np.ndarray:
    """Returns the order of pass `number` through n pictures; cached, because every batch asks for it."""
    return np.random.default_rng([seed, 0, number]).permutation(n)


@lru_cache(maxsize=4)
def random_numbers(n: int, seed: int, epoch: int) -> np.ndarray:
    """Returns the random numbers behind an epoch's transformations, shape (n, DRAWS)."""
    generator = np.random.default_rng([seed, 1, epoch])
    # Drawn in two blocks, so that the later transformations leave the numbers of Keras's own unchanged.
    return np.column_stack([generator.random((n, KERAS_DRAWS)), generator.random((n, DRAWS - KERAS_DRAWS))])


class PictureBatches(keras.utils.PyDataset):
    """Batches of preprocessed pictures and their codes.

    Batch `index` of epoch `epoch` depends only on (seed, epoch, index), so any number of
    workers, in any order, serves the same pictures.

    With `epoch_fraction` below 1 an epoch is that fraction of the batches, rounded down as in the
    published experiment, and the next epoch continues where this one stopped: all pictures are used
    equally often. The length is the number of batches per epoch, so `fit` needs no `steps_per_epoch`.
    """

    def __init__(
        self,
        pixels: np.ndarray,
        rows: np.ndarray,
        codes: np.ndarray,
        image_names: list[str],
        batch_size: int = 32,
        shuffle: bool = False,
        augmentation: Augmentation | None = None,
        epoch_fraction: float = 1.0,
        seed: int = 42,
        workers: int = 2,
    ):
        """Stores what the batches are made of.

        Args:
            pixels: the pixel cache, uint8, shape (all pictures, size, size, 3).
            rows: the cache rows of this part, shape (n,).
            codes: the class of each picture of this part, 0 or 1, shape (n,).
            image_names: the names of the n pictures.
            batch_size: pictures per batch, at most all of them; an epoch's last batch may be smaller.
            shuffle: whether each pass through the pictures has its own order.
            augmentation: random transformations, or None.
            epoch_fraction: in (0, 1].
            seed: of the order and the transformations.
            workers: threads that prepare batches; 1 prepares them in Keras's own thread.

        Raises:
            ValueError: no pictures, or a batch size or fraction out of range.
        """
        super().__init__(workers=workers, use_multiprocessing=False, max_queue_size=10)
        if not len(rows):
            raise ValueError("this part of the data set has no pictures; look at the split in notebook 01")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; give 1 or more")
        if not 0 < epoch_fraction <= 1:
            raise ValueError(f"epoch_fraction is {epoch_fraction}; give more than 0 and at most 1")
        self.pixels, self.rows = pixels, np.asarray(rows)
        self.codes = np.asarray(codes, dtype="float32")
        self.image_names = list(image_names)
        self.batch_size, self.shuffle = min(batch_size, len(rows)), shuffle
        self.augmentation, self.epoch_fraction, self.seed = augmentation, epoch_fraction, seed
        self.picture_sizes = [pixels.shape[1]]  # of augmented pictures, by epoch; the last one repeats
        self.epoch = 0
        self._epoch_begun = False

    def __len__(self) -> int:
        """Returns the number of batches per epoch."""
        return max(1, int(math.ceil(len(self.rows) / self.batch_size) * self.epoch_fraction))

    def positions(self, index: int) -> np.ndarray:
        """Returns the pictures of this part that are in batch `index`, as positions in `rows`."""
        n = len(self.rows)
        pictures_an_epoch = n if self.epoch_fraction == 1 else len(self) * self.batch_size
        first = index * self.batch_size
        last = min(first + self.batch_size, pictures_an_epoch)
        passes, place = np.divmod(self.epoch * pictures_an_epoch + np.arange(first, last), n)
        if not self.shuffle:
            return place
        orders = {number: random_order(n, self.seed, number) for number in np.unique(passes)}
        return np.array([orders[number][where] for number, where in zip(passes, place, strict=True)])

    def once(self) -> "PictureBatches":
        """Returns batches that serve each of these pictures once, unchanged and in order of name."""
        whole = copy.copy(self)
        whole.epoch_fraction, whole.shuffle, whole.augmentation, whole.epoch = 1.0, False, None, 0
        return whole

    @property
    def picture_size(self) -> int:
        """Returns the side of this epoch's augmented pictures, in pixels."""
        return self.picture_sizes[min(self.epoch, len(self.picture_sizes) - 1)]

    def pictures(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns batch `index` before preprocessing: uint8 RGB pictures and their positions."""
        positions = self.positions(index)
        rows = self.rows[positions]
        if self.augmentation is None:
            return self.pixels[rows], positions
        random = random_numbers(len(self.rows), self.seed, self.epoch)
        return self._transform(rows, random[positions], self.picture_size), positions

    def views(self, position: int, epochs: Iterable[int]) -> np.ndarray:
        """Returns one picture as each of these epochs transforms it, uint8 RGB, for display."""
        draws = np.array([random_numbers(len(self.rows), self.seed, epoch)[position] for epoch in epochs])
        return self._transform(np.repeat(self.rows[position], len(draws)), draws, self.pixels.shape[1])

    def _transform(self, rows: np.ndarray, draws: np.ndarray, size: int) -> np.ndarray:
        pictures = np.empty((len(rows), size, size, 3), dtype="uint8")
        transform = self.augmentation.draw(draws, self.pixels.shape[1])
        apply_transforms(self.pixels, rows, transform, self.augmentation.fill_mode, out=pictures)
        return pictures

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns batch `index`: pictures (b, size, size, 3) float32, codes (b,) float32."""
        batch, positions = self.pictures(index)
        return preprocess(batch), self.codes[positions]

    def on_epoch_begin(self) -> None:
        """Records that batches of this epoch are being served."""
        self._epoch_begun = True

    def on_epoch_end(self) -> None:
        """Moves on to the next epoch if one has begun; Keras also calls this when none has."""
        self.epoch += self._epoch_begun
        self._epoch_begun = False


def load_batches(
    run: Path,
    part: str,
    training: bool = False,
    batch_size: int | None = None,
    augmentation_strength: float = 1.0,
    seed: int | None = None,
    input_file: str = "input.json",
    settings: dict | None = None,
) -> PictureBatches:
    """Returns the batches of one part of a run's data, as configured in notebook 02.

    The run's `epoch_fraction` shortens training and validation alike, never the test; a shortened
    validation is shuffled, as the published one was: in order of name it might hold one class only.

    Args:
        run: the run's folder, with `features.csv` and `input.json`.
        part: train, validation or test.
        training: whether to shuffle and augment; otherwise each picture once, in order of name.
        batch_size: overrides the run's, if a trial chose its own.
        augmentation_strength: factor for the ranges of the run's transformations, training only.
        seed: of the order and the transformations; overrides the run's.
        input_file: contains the settings of the batches; `transfer/input.json` is notebook 06's.
        settings: those that the file contained when a training began, to be used instead.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged, or `input.json` is older than the features table.
    """
    settings = settings or read_input(run, input_file)
    table = load_features(run / "features.csv")
    check_split(table, str(run / "features.csv"))
    pictures = cached_rows(table)
    chosen = pictures[pictures["split"] == part]
    epoch_fraction = 1.0 if part == "test" else settings["epoch_fraction"]
    augmentation = settings["augmentation"].strengthened(augmentation_strength)
    return PictureBatches(
        open_settled_cache(settings, table),
        rows=chosen.index.to_numpy(),
        codes=chosen["code"].to_numpy(),
        image_names=chosen["image_name"].tolist(),
        batch_size=batch_size or settings["batch_size"],
        shuffle=training or epoch_fraction < 1,
        augmentation=augmentation if training else None,
        epoch_fraction=epoch_fraction,
        seed=settings["seed"] if seed is None else seed,
        workers=settings["workers"],
    )
