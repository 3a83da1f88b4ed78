"""Statistics measured at the end: the mean over the batches, and nothing else changes."""

import keras
import numpy as np
import pytest

from src.generators import PictureBatches
from src.networks.normalization import settle_normalization


def test_the_statistics_are_the_mean_over_all_batches_and_nothing_else_changes():
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (12, 8, 8, 3)).astype("uint8")
    rows = np.arange(12)
    batches = PictureBatches(pixels, rows, rows % 2, [str(row) for row in rows], batch_size=4, workers=1)
    norm = keras.layers.BatchNormalization(momentum=0.9)
    layers = [keras.Input((8, 8, 3)), norm, keras.layers.Flatten(), keras.layers.Dense(1)]
    network = keras.Sequential(layers)
    kept = [keras.ops.convert_to_numpy(weight) for weight in network.trainable_weights]
    settle_normalization(network, batches)
    served = [batches[index][0] for index in range(3)]
    mean = np.mean([batch.mean(axis=(0, 1, 2)) for batch in served], axis=0)
    variance = np.mean([batch.var(axis=(0, 1, 2)) for batch in served], axis=0)
    assert keras.ops.convert_to_numpy(norm.moving_mean) == pytest.approx(mean, rel=1e-3)
    assert keras.ops.convert_to_numpy(norm.moving_variance) == pytest.approx(variance, rel=1e-3)
    assert norm.momentum == 0.9
    for before, weight in zip(kept, network.trainable_weights, strict=True):
        np.testing.assert_array_equal(before, keras.ops.convert_to_numpy(weight))
