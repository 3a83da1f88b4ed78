"""Every picture once an epoch, the same pictures for any number of workers, nothing favoured."""

import math

import keras
import numpy as np
import pytest
from keras.applications.resnet50 import preprocess_input

from src.generators import PictureBatches
from src.images.augmentation import Augmentation
from src.images.preprocessing import preprocess, undo_preprocess

N, SIZE = 53, 16


def make_batches(**settings) -> PictureBatches:
    pixels = np.random.default_rng(5).integers(0, 256, (N + 10, SIZE, SIZE, 3), dtype="uint8")
    rows = np.arange(5, N + 5)  # the part is not the whole cache
    arguments = {"batch_size": 8, "seed": 1, **settings}
    return PictureBatches(pixels, rows, rows % 2, [f"{row}.jpg" for row in rows], **arguments)


def served(batches: PictureBatches) -> list[int]:
    return [position for index in range(len(batches)) for position in batches.positions(index).tolist()]


def next_epoch(batches: PictureBatches) -> None:
    batches.on_epoch_begin()
    batches.on_epoch_end()


def train(batches: PictureBatches, epochs: int = 3, **settings) -> keras.callbacks.History:
    keras.utils.set_random_seed(7)
    layers = [
        keras.Input((SIZE, SIZE, 3)),
        keras.layers.Flatten(),
        keras.layers.Dense(1, activation="sigmoid"),
    ]
    model = keras.Sequential(layers)
    model.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
    return model.fit(batches, epochs=epochs, verbose=0, **settings)


def test_preprocess_is_resnet50s():
    pictures = np.random.default_rng(0).integers(0, 256, (4, 9, 9, 3)).astype("uint8")
    expected = preprocess_input(pictures.astype("float32"))
    np.testing.assert_allclose(preprocess(pictures), expected, atol=1e-4)
    np.testing.assert_array_equal(undo_preprocess(preprocess(pictures)), pictures)


@pytest.mark.parametrize("shuffle", [False, True])
def test_an_epoch_is_every_picture_once(shuffle):
    batches = make_batches(shuffle=shuffle)
    assert len(batches) == math.ceil(N / 8)
    for _ in range(3):
        assert sorted(served(batches)) == list(range(N))
        next_epoch(batches)


def test_unshuffled_batches_keep_the_tables_order():
    assert served(make_batches()) == list(range(N))


def test_each_epoch_has_an_order_of_its_own_and_the_seed_decides_it():
    batches, again, other = (
        make_batches(shuffle=True),
        make_batches(shuffle=True),
        make_batches(shuffle=True, seed=2),
    )
    first = served(batches)
    assert first == served(again) != served(other)
    next_epoch(batches)
    assert served(batches) != first


def test_short_epochs_go_on_through_the_permutation():
    """Quarter epochs of 7 batches are 1 batch of 8: 53 of them show every picture 8 times, none 7 or 9."""
    batches = make_batches(shuffle=True, epoch_fraction=0.25)
    assert len(batches) == math.ceil(N / 8) // 4 == 1
    seen = []
    for _ in range(N):
        seen += served(batches)
        next_epoch(batches)
    assert np.bincount(seen, minlength=N).tolist() == [8] * N


def test_the_published_fraction_gives_the_published_steps():
    """14,998 pictures in batches of 32 are 469 batches; // 16 makes 29 of them an epoch, 928 pictures."""
    pixels = np.zeros((1, 8, 8, 3), dtype="uint8")
    names = [str(number) for number in range(14_998)]
    rows = np.zeros(14_998, dtype=int)
    batches = PictureBatches(pixels, rows, rows, names, batch_size=32, epoch_fraction=1 / 16)
    assert len(batches) == 29
    assert len(served(batches)) == 928


def test_labels_and_pictures_stay_together():
    batches = make_batches(shuffle=True)
    for index in range(len(batches)):
        pictures, codes = batches[index]
        for picture, code in zip(undo_preprocess(pictures), codes, strict=True):
            row = next(row for row in batches.rows if np.array_equal(batches.pixels[row], picture))
            assert code == row % 2


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_keras_trains_on_each_picture_once_an_epoch(workers, monkeypatch):
    """Counted where batches are made: Keras looks at the first two once more, to learn their shape."""
    batches = make_batches(shuffle=True, workers=workers)
    asked = []
    original = PictureBatches.positions

    def positions(self, index):
        asked.append((self.epoch, index))
        return original(self, index)

    monkeypatch.setattr(PictureBatches, "positions", positions)
    train(batches, epochs=4)
    assert {epoch for epoch, _ in asked if epoch < 4} == {0, 1, 2, 3}
    assert {(epoch, index) for epoch in range(4) for index in range(len(batches))} <= set(asked)
    assert batches.epoch == 4


def test_results_do_not_depend_on_the_number_of_workers():
    histories = [
        train(make_batches(shuffle=True, augmentation=Augmentation(), workers=workers)).history["loss"]
        for workers in (1, 2, 3)
    ]
    assert histories[0] == histories[1] == histories[2]
    assert len(set(histories[0])) == 3  # and the epochs differ


def test_a_training_taken_up_at_an_epoch_sees_that_epochs_pictures():
    whole, later = make_batches(shuffle=True), make_batches(shuffle=True)
    next_epoch(whole)
    next_epoch(whole)
    later.epoch = 2
    np.testing.assert_array_equal(whole[3][0], later[3][0])


def test_augmentation_is_off_unless_asked_for():
    batches = make_batches()
    np.testing.assert_array_equal(undo_preprocess(batches[0][0]), batches.pixels[5:13])


@pytest.mark.parametrize(
    ("setting", "value"), [("batch_size", 0), ("epoch_fraction", 0.0), ("epoch_fraction", 1.5)]
)
def test_impossible_settings_are_named(setting, value):
    with pytest.raises(ValueError, match=f"{setting} is {value}"):
        make_batches(**{setting: value})


def test_training_pictures_have_their_epochs_size_and_the_last_one_stays():
    batches = make_batches(augmentation=Augmentation())
    batches.picture_sizes = [8, 12, 16]
    sizes = []
    for _ in range(5):
        sizes.append(batches[0][0].shape[1:3])
        next_epoch(batches)
    assert sizes == [(8, 8), (12, 12), (16, 16), (16, 16), (16, 16)]
