"""Batch normalization: at once as step by step; settled statistics are the mean, and nothing else changes."""

import keras
import numpy as np
import pytest

from src.generators import PictureBatches
from src.networks.normalization import SettledNormalization, fused, settle_normalization
from src.spaces import Space, as_settled, fixed
from src.training import PictureTraining


@pytest.mark.long
@pytest.mark.parametrize(
    ("policy", "digits"), [("float32", 1e-4), ("mixed_bfloat16", 2e-2), ("mixed_float16", 2e-3)]
)
@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights")
def test_fused_normalization_learns_remembers_and_predicts_as_kerass_own(policy, digits, trainable):
    """Outputs, gradients' steps, moving statistics; one picture of 1 x 2 pixels shows a biased variance."""
    random = np.random.default_rng(0)
    for shape in ((6, 5, 4, 3), (1, 1, 2, 3)):
        pictures = random.normal(3, 2, shape).astype("float32")
        wanted = random.normal(size=shape).astype("float32")
        found = []
        for prepare in (lambda norm: norm, fused):
            norm = keras.layers.BatchNormalization(momentum=0.8, dtype=policy)
            network = keras.Sequential([keras.Input(shape[1:]), prepare(norm)])
            norm.trainable = trainable
            norm.set_weights([np.full(3, value) for value in (1.5, -0.5, 2.0, 3.0)])
            network.compile(keras.optimizers.SGD(0.1), "mse")
            history = network.fit(pictures, wanted, epochs=3, batch_size=len(pictures), verbose=0).history
            seen = network.predict(pictures, verbose=0).astype("float32")
            found.append([*norm.get_weights(), np.array(history["loss"]), seen])
        for theirs, ours in zip(*found, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=digits, atol=digits)


def test_a_network_with_fused_normalization_is_saved_with_kerass_own(tmp_path):
    norm = fused(keras.layers.BatchNormalization())
    network = keras.Sequential([keras.Input((4, 4, 3)), norm])
    network.save(tmp_path / "network.keras")
    layer = keras.models.load_model(tmp_path / "network.keras").layers[0]
    assert type(layer) is keras.layers.BatchNormalization
    assert "call" not in vars(layer)
    assert ("call" in vars(norm)) == (keras.backend.backend() == "tensorflow")


@pytest.mark.parametrize("n", [12, 13])
def test_the_statistics_are_the_mean_over_all_pictures_and_nothing_else_changes(n):
    """With 13 pictures the last batch is one, a dark one: it must not count as much as four."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (n, 8, 8, 3)).astype("uint8")
    pixels[12:] //= 8
    rows = np.arange(n)
    batches = PictureBatches(pixels, rows, rows % 2, [str(row) for row in rows], batch_size=4, workers=1)
    norm = keras.layers.BatchNormalization(momentum=0.9)
    layers = [keras.Input((8, 8, 3)), norm, keras.layers.Flatten(), keras.layers.Dense(1)]
    network = keras.Sequential(layers)
    kept = [keras.ops.convert_to_numpy(weight) for weight in network.trainable_weights]
    settle_normalization(network, batches)
    served = [batches[index][0] for index in range(len(batches))]
    sizes = [len(batch) for batch in served]
    mean = np.average([batch.mean(axis=(0, 1, 2)) for batch in served], axis=0, weights=sizes)
    variance = np.average([batch.var(axis=(0, 1, 2)) for batch in served], axis=0, weights=sizes)
    assert keras.ops.convert_to_numpy(norm.moving_mean) == pytest.approx(mean, rel=1e-3)
    assert keras.ops.convert_to_numpy(norm.moving_variance) == pytest.approx(variance, rel=1e-3)
    assert norm.momentum == 0.9
    for before, weight in zip(kept, network.trainable_weights, strict=True):
        np.testing.assert_array_equal(before, keras.ops.convert_to_numpy(weight))


def test_a_validation_settles_the_statistics_on_an_eighth_of_the_batches_at_least_4_at_most_16():
    assert [SettledNormalization(range(number)).number for number in (8, 80, 400)] == [4, 10, 16]


def serve(part: str, training: bool = False, **choices) -> PictureBatches:
    """Returns 16 training or 8 validation squares, those of code 1 bright."""
    random = np.random.default_rng(0)
    codes = np.arange(24) % 2
    pixels = (random.integers(0, 200, (24, 8, 8, 3)) + 40 * codes[:, None, None, None]).astype("uint8")
    rows = {"train": np.arange(16), "validation": np.arange(16, 24)}[part]  # the test part is nobody's
    return PictureBatches(pixels, rows, codes[rows], [f"{row}" for row in rows], 8, training, workers=1)


def test_statistics_are_settled_on_batches_of_both_classes():
    """The table's order is by name, so by class; the spread between the classes is a part of the variance."""
    pixels = np.repeat(np.uint8([50, 150]), 32 * 8 * 8 * 3).reshape(64, 8, 8, 3)
    rows = np.arange(64)

    def serve_by_class(part, **choices):
        return PictureBatches(pixels, rows, rows >= 32, [f"{row:02}" for row in rows], 16, workers=1)

    norm = keras.layers.BatchNormalization()
    network = keras.Sequential([keras.Input((8, 8, 3)), norm, keras.layers.Flatten(), keras.layers.Dense(1)])
    settle_normalization(network, PictureTraining(None, {}, serve_by_class, 1).untransformed())
    variance = keras.ops.convert_to_numpy(norm.moving_variance)
    assert variance == pytest.approx(np.full(3, 50**2), rel=0.2)  # half of them 50 above, half 50 below


@pytest.mark.long
@pytest.mark.parametrize("settles", [True, False])
def test_a_space_that_settles_is_scored_by_settled_statistics_after_every_epoch(settles):
    def build(hp, image_size, steps) -> keras.Model:
        norm = keras.layers.BatchNormalization(momentum=0.999, name="norm")
        layers = [keras.Input((8, 8, 3)), norm, keras.layers.Flatten()]
        model = keras.Sequential([*layers, keras.layers.Dense(1, "sigmoid")])
        model.compile(keras.optimizers.SGD(1e-3), "binary_crossentropy", metrics=["accuracy"])
        return model

    keras.utils.set_random_seed(3)
    training = PictureTraining(Space(build, as_settled, ("steps",), settles), {"image_size": 8}, serve, 2)
    model = training.build(fixed({}))
    means = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: means.append(
            keras.ops.convert_to_numpy(model.get_layer("norm").moving_mean).copy()
        )
    )
    history = training.fit(fixed({}), model, 2, [watch]).history
    whole = serve("train")
    mean = np.mean([whole[index][0].mean(axis=(0, 1, 2)) for index in range(2)], axis=0)
    for remembered in means:
        assert np.allclose(remembered, mean, rtol=1e-3) == settles
    settle_normalization(model, training.untransformed())
    loss, _ = model.evaluate(serve("validation"), verbose=0)
    assert (loss == pytest.approx(history["val_loss"][-1], rel=1e-4)) == settles
