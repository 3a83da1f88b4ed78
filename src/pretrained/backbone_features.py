"""Features of a frozen backbone, computed once per picture and mirror image, and cached."""

import hashlib
import logging
import time
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from src.config import is_headless
from src.generators import PictureBatches
from src.images.preprocessing import preprocess
from src.running.messages import one_line
from src.running.resources import check_space
from src.running.writing import replacing
from src.runs import weights_fingerprint

logger = logging.getLogger(__name__)

CHUNK = 256  # pictures per file: a kill loses at most one chunk, about a minute of work
BATCH = 32  # pictures per prediction, each in both views
LINES = 10  # of progress, logged when running headless


class Features(NamedTuple):
    """Backbone features of the pictures.

    Attributes:
        values: float32, shape (2, pictures, d): of the pictures as they are, and of their mirror images.
        table: the pictures' rows of the features table: `image_name`, `code`, `split`.
        seconds: that computing them took, in this call or an earlier one.
        may_flip: whether a mirror image has the same class.
    """

    values: np.ndarray
    table: pd.DataFrame
    seconds: float
    may_flip: bool = True


class FeatureBatches(PictureBatches):
    """Batches of features and codes, in the order in which `PictureBatches` serves its pictures."""

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns batch `index`: features (b, d) float32, codes (b,) float32."""
        positions = self.positions(index)
        return self.pixels[self.rows[positions]], self.codes[positions]


def compute_features(
    backbone: keras.Model, pixels: np.ndarray, pictures: pd.DataFrame, caches: Path, source: str
) -> Features:
    """Returns the features of these pictures, reading those that an earlier call has computed.

    They are stored in chunks, each written atomically, so that a killed computation resumes where it was.

    Args:
        backbone: from `build_backbone`.
        pixels: the pixel cache, uint8, shape (all files, size, size, 3).
        pictures: from `cached_rows`: their index is their row in the cache.
        caches: the folder of all caches.
        source: name of the pixel cache, which identifies its contents.

    Raises:
        OSError: there is not enough free disk space for the features.
    """
    rows = pictures.index.to_numpy()
    folder = caches / f"features-{features_key(backbone, rows, source)}"
    chunks = [rows[first : first + CHUNK] for first in range(0, len(rows), CHUNK)]
    known = [_read_chunk(folder / f"{number:05d}.npz") for number in range(len(chunks))]
    missing = [number for number, chunk in enumerate(known) if chunk is None]
    needed = sum(len(chunks[number]) for number in missing)
    check_space(caches, needed * 2 * 4 * backbone.output_shape[-1], "the features of the pictures")
    folder.mkdir(parents=True, exist_ok=True)
    if needed < len(rows):
        logger.info("features of %d of %d pictures are there already", len(rows) - needed, len(rows))
    done, started = 0, time.monotonic()
    with tqdm(total=needed, desc="features", unit=" pictures", disable=is_headless()) as bar:
        for count, number in enumerate(missing, start=1):
            known[number] = _compute_chunk(backbone, pixels, chunks[number], folder / f"{number:05d}.npz")
            bar.update(len(chunks[number]))
            done += len(chunks[number])
            if bar.disable and count * LINES // len(missing) > (count - 1) * LINES // len(missing):
                speed = done / (time.monotonic() - started)
                figures = done, needed, speed, (needed - done) / speed / 60
                logger.info("features of %d of %d pictures, %.0f a second, about %.1f min left", *figures)
    values = np.concatenate([values for values, _ in known], axis=1)
    return Features(values, pictures, float(sum(seconds for _, seconds in known)))


def features_key(backbone: keras.Model, rows: np.ndarray, source: str) -> str:
    """Returns 16 hex digits that change whenever a feature might: with pixels, pictures, network, weights."""
    network = f"{backbone.name} {backbone.input_shape} {weights_fingerprint(backbone)}"
    digest = hashlib.sha256(f"1 {source} {network} {CHUNK}".encode())
    digest.update(np.ascontiguousarray(rows, dtype="int64"))
    return digest.hexdigest()[:16]


def serve_features(
    features: Features,
    part: str,
    training: bool = False,
    seed: int | None = None,
    batch_size: int = 256,
    mirrored: bool = False,
) -> FeatureBatches:
    """Returns batches of one part's features, in the form that `PictureTraining` expects.

    Args:
        features: from `compute_features`.
        part: train or validation.
        training: if true, shuffled, with both views of each picture if it may be flipped; otherwise one
            view of each, ordered by name.
        seed: of the order.
        batch_size: pictures per batch.
        mirrored: whether a single view is the mirror image.
    """
    n = len(features.table)
    values = features.values.reshape(2 * n, -1)  # row n + i is of the mirror image of picture i
    plain = np.flatnonzero((features.table["split"] == part).to_numpy())
    pictures = features.table.iloc[plain]
    rows, codes, names = plain + n * mirrored, pictures["code"].to_numpy(), pictures["image_name"].tolist()
    if training and features.may_flip:
        rows, codes, names = np.concatenate([plain, plain + n]), np.tile(codes, 2), names * 2
    seed = 42 if seed is None else seed
    return FeatureBatches(values, rows, codes, names, batch_size, shuffle=training, seed=seed, workers=1)


def _compute_chunk(
    backbone: keras.Model, pixels: np.ndarray, rows: np.ndarray, path: Path
) -> tuple[np.ndarray, float]:
    started, parts = time.monotonic(), []
    for first in range(0, len(rows), BATCH):
        batch = preprocess(pixels[rows[first : first + BATCH]])
        views = backbone.predict_on_batch(np.concatenate([batch, batch[:, :, ::-1]]))
        parts.append(np.asarray(views, dtype="float32").reshape(2, len(batch), -1))
    values, seconds = np.concatenate(parts, axis=1), time.monotonic() - started
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez(file, values=values, seconds=seconds)
    return values, seconds


def _read_chunk(path: Path) -> tuple[np.ndarray, float] | None:
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as kept:
            return kept["values"], float(kept["seconds"])
    except Exception as error:  # a damaged archive raises errors of many kinds
        logger.warning("%s is incomplete (%s); recomputing its features", path, one_line(error))
        return None
