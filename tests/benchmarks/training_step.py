"""Training step and prediction of the modern network: fused batch normalization against Keras's own.

    python tests/benchmarks/training_step.py [--sizes 64 96] [--batch-size 64] [--rounds 7]

Both have the same weights and take turns on one batch in memory; a ratio is the median of the per-round
ratios, printed after their minimum and maximum. The precision is the fastest one on this device.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import keras
import numpy as np

from src.networks.residual import build_residual_cnn
from src.running.devices import fastest_precision, has_accelerator

STEPS = 8  # per turn
WORK = {"training": "train_on_batch", "prediction": "predict_on_batch"}


def build(image_size: int, fused: bool) -> keras.Model:
    """Returns the network with its defaults, with fused batch normalization or Keras's own."""
    keras.utils.set_random_seed(0)
    network = build_residual_cnn(image_size)
    for layer in network.layers:
        if not fused:
            vars(layer).pop("call", None)
    return network


def seconds(work: Callable[[], object]) -> float:
    """Returns the mean seconds per step over one turn."""
    started = time.perf_counter()
    for _ in range(STEPS):
        work()
    return (time.perf_counter() - started) / STEPS


def main() -> None:
    """Prints one line per picture size and kind of work."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 96])
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args()
    precision = fastest_precision(has_accelerator())
    keras.config.set_dtype_policy(precision)
    random = np.random.default_rng(0)
    for size in chosen.sizes:
        pictures = random.normal(0, 60, (chosen.batch_size, size, size, 3)).astype("float32")
        codes = np.arange(chosen.batch_size, dtype="float32") % 2
        networks = [build(size, fused=True), build(size, fused=False)]
        for name, method in WORK.items():
            given = (pictures, codes) if name == "training" else (pictures,)
            works = [partial(getattr(network, method), *given) for network in networks]
            for work in works:
                seconds(work)  # compiles
            rounds = np.array([[seconds(work) for work in works] for _ in range(chosen.rounds)])
            ratios = rounds[:, 1] / rounds[:, 0]
            speed = chosen.batch_size / np.median(rounds, axis=0)
            print(
                f"{name}, {size} x {size}, {precision}: {speed[0]:.0f} pictures/s, Keras's {speed[1]:.0f} "
                f"[{ratios.min():.1f} to {ratios.max():.1f}] {np.median(ratios):.1f}x",
                flush=True,
            )


if __name__ == "__main__":
    main()
