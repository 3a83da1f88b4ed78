"""The published network layer by layer."""

import math

import pytest

from src.config import PUBLISHED_BEST, PUBLISHED_PARAMETERS
from src.model import build_cnn


@pytest.fixture(scope="module")
def published_best():
    return build_cnn(**PUBLISHED_BEST)


def test_the_published_best_model_has_its_parameters(published_best):
    trainable = sum(math.prod(weight.shape) for weight in published_best.trainable_weights)
    assert published_best.count_params() == PUBLISHED_PARAMETERS
    means_and_variances = 2 * (96 + 128 + 128)  # of each channel that is normalized
    assert trainable == PUBLISHED_PARAMETERS - means_and_variances


def test_the_published_best_model_has_the_published_layers(published_best):
    """Parameters by hand: kernel^2 * channels in * filters + filters; 4 a channel for normalisation."""
    expected = [
        ("Conv2D", (None, 180, 180, 96), 5 * 5 * 3 * 96 + 96),
        ("BatchNormalization", (None, 180, 180, 96), 4 * 96),
        ("MaxPooling2D", (None, 90, 90, 96), 0),
        ("Conv2D", (None, 90, 90, 128), 3 * 3 * 96 * 128 + 128),
        ("BatchNormalization", (None, 90, 90, 128), 4 * 128),
        ("MaxPooling2D", (None, 45, 45, 128), 0),
        ("Dropout", (None, 45, 45, 128), 0),
        ("Conv2D", (None, 45, 45, 128), 5 * 5 * 128 * 128 + 128),
        ("BatchNormalization", (None, 45, 45, 128), 4 * 128),
        ("MaxPooling2D", (None, 22, 22, 128), 0),
        ("Dropout", (None, 22, 22, 128), 0),
        ("Flatten", (None, 22 * 22 * 128), 0),
        ("Dense", (None, 384), 22 * 22 * 128 * 384 + 384),
        ("Dropout", (None, 384), 0),
        ("Dense", (None, 1), 384 + 1),
    ]
    layers = [
        (type(layer).__name__, layer.output.shape, layer.count_params()) for layer in published_best.layers
    ]
    assert layers == expected


def test_penalties_reach_the_layers_they_are_named_after():
    model = build_cnn(16, l2=1e-5, l2_1=0.1, l2_2=0.2, l2_4=0.4)
    layers = ["conv_1", "conv_2", "conv_3", "dense_1"]
    penalties = [float(model.get_layer(name).kernel_regularizer.l2) for name in layers]
    assert penalties == pytest.approx([0.1, 0.2, 1e-5, 0.4])
    assert model.get_layer("probability").kernel_regularizer is None


def test_the_learning_rate_falls_by_a_tenth_in_decay_steps():
    schedule = build_cnn(16, learning_rate=1e-3, decay_steps=50).optimizer._learning_rate
    assert [float(schedule(step)) for step in (0, 50, 100)] == pytest.approx([1e-3, 9e-4, 8.1e-4])
