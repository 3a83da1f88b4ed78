"""Every picture once an epoch, the same pictures for any number of workers, nothing favoured."""

import math

import cv2
import keras
import numpy as np
import pandas as pd
import pytest
from keras.applications.resnet50 import preprocess_input

from src.features import save_features, split_features
from src.generators import PictureBatches, load_batches, random_numbers
from src.images.augmentation import Augmentation
from src.images.cache import extract_and_cache
from src.images.preprocessing import preprocess, resize_square, undo_preprocess
from src.images.warping import apply_transforms
from src.running.parameters import read_input
from src.runs import write_json

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


def test_a_picture_smaller_than_its_square_is_enlarged_without_blocks():
    """Averaging over areas repeats pixels where there are fewer of them than asked for."""
    small = np.random.default_rng(0).integers(0, 256, (15, 60, 3)).astype("uint8")
    linear = cv2.resize(small, (24, 24), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(resize_square(small, 24, "area"), linear)
    np.testing.assert_array_equal(resize_square(small, 24, "bilinear"), linear)
    np.testing.assert_array_equal(
        resize_square(small, 15, "area"), small.reshape(15, 15, 4, 3).mean(axis=2).round()
    )
    blocks = small.repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(
        resize_square(blocks, 15, "area")[:, 0], small.reshape(15, 15, 4, 3)[:, 0].mean(axis=1).round()
    )


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


@pytest.mark.parametrize("size", [SIZE, 8])
def test_an_augmented_picture_is_its_own_row_as_its_epochs_draw_transforms_it(size):
    batches = make_batches(shuffle=True, augmentation=Augmentation(fill_mode="reflect", crop_range=0.3))
    batches.picture_sizes = [size]
    for epoch in (0, 1):
        batches.epoch = epoch
        pictures, positions = batches.pictures(2)
        draws = random_numbers(N, batches.seed, epoch)[positions]
        for picture, position, draw in zip(pictures, positions, draws, strict=True):
            alone = np.empty((1, size, size, 3), "uint8")
            transform = batches.augmentation.draw(draw[None], SIZE)
            apply_transforms(batches.pixels, batches.rows[[position]], transform, "reflect", out=alone)
            np.testing.assert_array_equal(picture, alone[0])
        if size == SIZE:
            view = batches.views(positions[0], [epoch])[0]
            np.testing.assert_array_equal(view, pictures[0])
    assert (random_numbers(N, 1, 0) != random_numbers(N, 1, 1)).all()
    assert (random_numbers(N, 1, 0) != random_numbers(N, 2, 0)).all()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder after notebook 02: 40 pictures, each of one grey."""
    root = tmp_path_factory.mktemp("run")
    for number in range(40):
        path = root / "pictures" / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((20, 20, 3), 6 * number, "uint8"))
    table = split_features(extract_and_cache(root / "pictures", root / "cache", SIZE))
    save_features(table, root / "features.csv")
    settings = {"cache": next((root / "cache").iterdir()).name, "image_size": SIZE, "interpolation": "area"}
    settings.update(first_image_size=0, batch_size=5, epoch_fraction=1.0, seed=1, workers=1)
    write_json(root / "input.json", {**settings, "augmentation": vars(Augmentation(shear_range=0.3))})
    return root


def test_a_trainings_batches_are_shuffled_transformed_and_as_the_trial_chose(run, monkeypatch):
    monkeypatch.setenv("DATA_ROOT", str(run))
    batches = load_batches(run, "train", training=True, batch_size=3, augmentation_strength=0.5, seed=9)
    assert (batches.shuffle, batches.batch_size, batches.seed) == (True, 3, 9)
    assert batches.augmentation == Augmentation(shear_range=0.3).strengthened(0.5)
    settled = load_batches(run, "train", training=True)
    assert (settled.batch_size, settled.seed) == (5, 1)
    assert settled.augmentation == Augmentation(shear_range=0.3)


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_a_part_is_served_in_the_order_of_its_names_with_its_own_pixels_and_codes(part, run, monkeypatch):
    monkeypatch.setenv("DATA_ROOT", str(run))
    batches = load_batches(run, part)
    assert not batches.shuffle and batches.augmentation is None
    table = pd.read_csv(run / "features.csv").query("split == @part").sort_values("image_name")
    assert batches.image_names == table["image_name"].tolist()
    assert batches.codes.tolist() == table["code"].tolist()
    numbers = [int(name.split("/")[1].split(".")[0]) for name in batches.image_names]
    assert [batches.pixels[row][0, 0, 0] for row in batches.rows] == [6 * number for number in numbers]


def test_settings_of_an_earlier_moment_take_the_files_place_and_shorten_all_parts_but_the_test(
    run, monkeypatch
):
    monkeypatch.setenv("DATA_ROOT", str(run))
    earlier = {**read_input(run), "epoch_fraction": 0.5, "batch_size": 1, "workers": 3}
    parts = {part: load_batches(run, part, settings=earlier) for part in ("train", "validation", "test")}
    sizes = pd.read_csv(run / "features.csv")["split"].value_counts()
    assert len(parts["test"]) == sizes["test"] and not parts["test"].shuffle
    for part in ("train", "validation"):
        assert len(parts[part]) == sizes[part] // 2 and parts[part].shuffle
        assert parts[part].workers == 3


def test_augmentation_is_off_unless_asked_for():
    batches = make_batches()
    np.testing.assert_array_equal(undo_preprocess(batches[0][0]), batches.pixels[5:13])


@pytest.mark.parametrize(
    ("setting", "value"), [("batch_size", 0), ("epoch_fraction", 0.0), ("epoch_fraction", 1.5)]
)
def test_impossible_settings_are_named(setting, value):
    with pytest.raises(ValueError, match=f"{setting} is {value}"):
        make_batches(**{setting: value})


def test_a_part_without_pictures_is_said():
    with pytest.raises(ValueError, match="this part of the data set has no pictures"):
        PictureBatches(np.zeros((3, 8, 8, 3), "uint8"), np.arange(0), np.arange(0), [])


def test_an_end_without_a_begin_is_no_epoch():
    batches, epochs = make_batches(), []
    for step in (batches.on_epoch_end, batches.on_epoch_begin, batches.on_epoch_end, batches.on_epoch_end):
        step()
        epochs.append(batches.epoch)
    assert epochs == [0, 0, 1, 1]


def test_training_pictures_have_their_epochs_size_and_the_last_one_stays():
    batches = make_batches(augmentation=Augmentation())
    batches.picture_sizes = [8, 12, 16]
    sizes = []
    for _ in range(5):
        sizes.append(batches[0][0].shape[1:3])
        next_epoch(batches)
    assert sizes == [(8, 8), (12, 12), (16, 16), (16, 16), (16, 16)]
