"""Accuracy by picture size at prediction, for a network that was trained on crops of another size.

    python tests/benchmarks/asked_size.py RUN_FOLDER --last 96 --epochs 74 [--sizes 96 112 128 144]

RUN_FOLDER is a run whose notebooks 01 and 02 have run with `image_size` equal to the largest of the sizes.
The modern network with its defaults is trained on pictures that grow from 64 to `--last` pixels; then it
predicts the whole validation part at each size, with its normalization settled on training pictures of that
size. The test part is not touched.
"""

import argparse
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import cv2
import keras
import numpy as np

from src.evaluation import predict_table
from src.generators import PictureBatches, load_batches
from src.images.growth import growing_sizes, spans
from src.networks.ensemble import average_networks
from src.networks.normalization import settle_normalization
from src.running.devices import fastest_precision, has_accelerator
from src.spaces import SPACES, fixed

FIRST = 64  # side of the first epoch's pictures, in pixels


def train(run: Path, last: int, epochs: int, seed: int) -> keras.Model:
    """Returns the trained network with the defaults of the space."""
    keras.utils.set_random_seed(seed)
    space, hp = SPACES["modern"], fixed({})
    batches = load_batches(run, "train", training=True, seed=seed, **space.choose_batches(hp))
    batches.picture_sizes = growing_sizes(FIRST, last, epochs)
    network = space.build(hp, image_size=None, steps=epochs * len(batches))
    for first, end in spans(batches.picture_sizes, 0, epochs):
        batches.epoch = first
        fitting = network.fit(batches, initial_epoch=first, epochs=end, verbose=0, shuffle=False)
        size, accuracy = batches.picture_sizes[first], fitting.history["accuracy"][-1]
        print(f"after epoch {end}, {size} pixels: accuracy {accuracy:.4f} in training", flush=True)
    return network


def resized(batches: PictureBatches, size: int) -> PictureBatches:
    """Returns the batches with their pictures shrunk to that side and held in memory."""
    if size == batches.pixels.shape[1]:
        return batches
    sides = (size, size)
    squares = [cv2.resize(batches.pixels[row], sides, interpolation=cv2.INTER_AREA) for row in batches.rows]
    batches.pixels, batches.rows = np.stack(squares), np.arange(len(squares))
    return batches


def main() -> None:
    """Prints one line per size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--last", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=74)
    parser.add_argument("--sizes", type=int, nargs="+", default=[96, 112, 128, 144])
    parser.add_argument("--seed", type=int, default=42)
    chosen = parser.parse_args()
    keras.config.set_dtype_policy(fastest_precision(has_accelerator()))
    started = time.monotonic()
    network = train(chosen.run, chosen.last, chosen.epochs, chosen.seed)
    print(f"trained in {(time.monotonic() - started) / 60:.1f} minutes", flush=True)
    for size in chosen.sizes:
        training = resized(load_batches(chosen.run, "train"), size)
        training.shuffle = True  # ordered by name, a batch would hold a single class
        settle_normalization(network, training)
        validation = resized(load_batches(chosen.run, "validation"), size)
        plain = predict_table(network, validation)["correct"]
        mirrored = predict_table(average_networks([network], mirrored=True), validation)["correct"]
        print(
            f"asked at {size}: {plain.mean():.4f}, with mirrored view {mirrored.mean():.4f}, n={len(plain)}"
        )


if __name__ == "__main__":
    main()
