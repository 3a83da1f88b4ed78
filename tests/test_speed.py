"""The comparison of speeds: in turns, medians, ratios to the first; and what `make bench` compares."""

import json
import subprocess
import sys
import time
from pathlib import Path

import cv2
import keras
import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent / "benchmarks"))

import input_growth
import input_peers
import input_speed

from src.features import COLUMNS, extract_features, split_features
from src.generators import PictureBatches
from src.images.augmentation import Augmentation
from src.images.cache import build_cache, cached_rows, extract_and_cache, open_cache
from src.images.preprocessing import preprocess, undo_preprocess
from src.images.speed import compare_speed, count_pictures, published_generator
from src.runs import read_json
from src.sample import draw_sample

pytestmark = pytest.mark.long

SIZE = 24


@pytest.fixture(autouse=True)
def short_rests(monkeypatch):
    """No speed is asserted here, so that a turn need not wait for idle threads."""
    monkeypatch.setattr(input_speed, "REST", 0.01)
    monkeypatch.setattr(input_speed, "LONGEST_REST", 0.02)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> tuple[Path, pd.DataFrame, Path]:
    """Forty drawn pictures, their table with its split, their cache."""
    root = tmp_path_factory.mktemp("speed")
    folder = draw_sample(root / "pictures", number=40, traps=False)
    table = split_features(extract_and_cache(folder, root / "cache", SIZE))
    return folder, table, next((root / "cache").iterdir())


def test_sources_take_turns_and_medians_are_compared():
    turns, speeds = [], {"theirs": iter([100, 300, 200]), "ours": iter([4000, 1000, 2000])}

    def measure(source: str, seconds: float) -> float:
        turns.append(source)
        return next(speeds[source])

    table = compare_speed({"A": "theirs", "B": "ours"}, rounds=3, measure=measure)
    assert turns == ["theirs", "ours"] * 3
    assert table["method"].tolist() == ["A", "B"]
    assert table["pictures_per_second"].tolist() == [200, 2000]
    assert table["ratio"].tolist() == [1, 10]
    assert (table["low"].tolist(), table["high"].tolist()) == ([100, 1000], [300, 4000])


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_pictures_are_counted_not_batches(workers, monkeypatch):
    """By a clock that stands at 5 when it starts and when it is first looked at, at 6 then, and at 7."""
    ticks = iter([5, 5, 6, 7] * 2)
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    pixels = np.zeros((20, 8, 8, 3), dtype="uint8")
    names = [str(number) for number in range(20)]
    ours = PictureBatches(pixels, np.arange(20), np.zeros(20), names, batch_size=8, workers=workers)
    assert count_pictures(ours, 1) == 20 / 2
    assert count_pictures(iter([(None, np.zeros(8))]), 1) == 8 / 2


def test_the_published_loop_says_of_each_file_what_the_features_say(drawn):
    folder, _, _ = drawn
    theirs = input_peers.published_loop(folder).sort_values("image_name", ignore_index=True)
    ours = extract_features(folder)[COLUMNS[:5]]
    assert theirs.to_numpy().tolist() == ours.to_numpy().tolist()


def test_the_published_decoding_gives_the_pixels_of_the_cache(drawn, tmp_path):
    folder, table, _ = drawn
    names = input_peers.list_names(folder)
    theirs = input_peers.decode_again(folder, names, SIZE, "nearest")
    ours = open_cache(build_cache(folder, table, tmp_path, SIZE, "nearest"), len(table))
    np.testing.assert_array_equal(theirs[np.argsort(names)], ours)


def test_keras_serves_the_training_pictures_preprocessed_and_with_their_codes(drawn, tmp_path):
    folder, table, _ = drawn
    pixels = open_cache(build_cache(folder, table, tmp_path, SIZE, "nearest"), len(table))
    training = cached_rows(table).query("split == 'train'")
    squares = preprocess(pixels[training.index])
    wanted = {square.tobytes(): code for square, code in zip(squares, training["code"], strict=True)}
    pictures, codes = next(published_generator(folder, table, SIZE, 24, {}, 1))
    assert {picture.tobytes(): code for picture, code in zip(pictures, codes, strict=True)} == wanted


@pytest.mark.parametrize("in_memory", [False, True])
def test_tfdata_serves_the_training_pictures_preprocessed_and_with_their_codes(drawn, in_memory):
    folder, table, _ = drawn
    still = Augmentation(
        width_shift_range=0, height_shift_range=0, shear_range=0, zoom_range=0, horizontal_flip=False
    )
    source = input_peers.tfdata_batches(folder, table, SIZE, 24, still, 1, in_memory)
    pictures, codes = (np.asarray(part) for part in next(source))
    training = cached_rows(table).query("split == 'train'")
    assert pictures.shape == (24, SIZE, SIZE, 3) and len(training) == 24
    wanted = {name: cv2.imread(str(folder / name))[..., ::-1] for name in training["image_name"]}
    squares = {name: cv2.resize(picture, (SIZE, SIZE)) for name, picture in wanted.items()}
    for picture, code in zip(undo_preprocess(pictures), codes, strict=True):
        distances = {
            name: np.abs(picture.astype(int) - square.astype(int)).mean() for name, square in squares.items()
        }
        nearest = min(distances, key=distances.get)
        assert distances[nearest] < 2 and code == nearest.startswith("dog"), "flip and zoom are off"
        squares.pop(nearest)
    assert not squares, "every picture came once"


def test_tfdata_transforms_pictures_anew_each_time(drawn):
    folder, table, _ = drawn
    source = input_peers.tfdata_batches(folder, table, SIZE, 24, Augmentation(), 1)
    first, second = (np.asarray(next(source)[0]) for _ in range(2))
    assert first.shape == second.shape and np.abs(first - second).mean() > 5


def test_turns_alternate_and_the_first_of_them_is_forgotten():
    turns, values = [], iter(range(100))

    def take(name: str) -> float:
        turns.append(name)
        return next(values)

    table = input_speed.in_turns({"A": lambda: take("A"), "B": lambda: take("B")}, rounds=3)
    assert turns == ["A", "B"] * 4
    assert table.to_dict("list") == {"A": [2, 4, 6], "B": [3, 5, 7]}
    found = input_speed.ratio(pd.Series([6.0, 10.0, 90.0]), pd.Series([2.0, 5.0, 10.0]))
    assert found == {"ratio": 3, "low": 2, "high": 9}
    assert input_speed.line("b", "this against that", found) == "(b) this against that [2.0 to 9.0] 3.0x"


def test_batches_and_reading_are_compared_line_by_line(drawn, monkeypatch, tmp_path):
    monkeypatch.setattr(input_speed, "IMAGE_SIZE", SIZE)
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    folder, table, cache = drawn
    served = input_speed.compare_batches(folder, table, cache, rounds=1, seconds=0.05)
    assert [line[:4] for line in served["lines"]] == ["(a) "] * 3
    assert all(line.endswith("x") for line in served["lines"])
    read = input_speed.compare_reading(folder, rounds=1)
    assert read["pictures"] == 40 and set(read["ratios"]) == {"nearest", "area"}
    assert list(tmp_path.iterdir()) == [], "the caches that were timed are gone"


def test_every_other_epoch_repeats_one_batch_and_waiting_is_the_share_that_is_saved(drawn):
    _, table, cache = drawn
    batches = input_speed.make_batches(cache, table, Augmentation(), 8, input_speed.EveryOtherEpoch)
    real = [batches[index][0] for index in range(3)]
    batches.epoch = 1
    repeated = [batches[index][0] for index in range(3)]
    assert not np.array_equal(real[0], real[1]) and repeated[0] is repeated[1] is repeated[2]
    model = keras.Sequential([keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    found = input_speed.measure_waiting(table, cache, 2, model)
    real, kept = (np.array(found["seconds"][name]) for name in ("real", "kept"))
    assert len(real) == len(kept) == 2
    assert found["waiting"]["percent"] == pytest.approx(np.median((real - kept) / real) * 100)
    assert found["lines"][0].startswith("(c) ") and found["lines"][0].endswith(" %")


def test_growth_links_as_many_pictures_as_asked_and_serves_an_epoch_of_them(drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(input_growth, "IMAGE_SIZE", SIZE)
    found = input_growth.measure_growth(drawn[0], 60, tmp_path)
    assert len(list((tmp_path / "pictures").iterdir())) == 60
    assert (found["pictures"], found["served"]) == (60, 36), "60 % of them are the training part"
    assert found["peak_memory_mb"] >= found["memory_before_mb"] > 0


def test_the_largest_number_of_pictures_is_set_against_the_smallest(monkeypatch):
    rows = {1_500: (10.0, 400.0), 3_000: (19.0, 410.0), 12_000: (80.0, 440.0)}

    def run(command: list[str], **_) -> subprocess.CompletedProcess:
        number = int(command[-1])
        seconds, megabytes = rows[number]
        row = {"pictures": number, "seconds": seconds, "peak_memory_mb": megabytes}
        return subprocess.CompletedProcess(command, 0, stdout=f"a line of a library\n{json.dumps(row)}\n")

    monkeypatch.setattr(subprocess, "run", run)
    found = input_speed.measure_sizes(Path("folder"), tuple(rows))
    assert found["growth"] == {"pictures": 8, "seconds": 8, "peak_memory_mb": 1.1}
    assert found["lines"][-2].endswith("8.0 times as many: 8.0x") and found["lines"][-1].endswith("1.1x")


@pytest.mark.slow
def test_the_whole_comparison_runs_and_leaves_its_numbers(drawn, monkeypatch, tmp_path):
    monkeypatch.setenv("DATA_ROOT", str(tmp_path / "data"))
    settings = ["--parts", "abd", "--rounds", "1", "--seconds", "0.1", "--sizes", "40", "80"]
    results = tmp_path / "results.json"
    assert input_speed.main(["--data", str(drawn[0]), "--results", str(results), *settings]) == 0
    found = read_json(results)
    assert [row["pictures"] for row in found["d"]["sizes"]] == [40, 80]
    assert found["a"]["ratios"].keys() == {"ImageDataGenerator", "tf.data", "tf.data with .cache()"}
    assert list((tmp_path / "data").iterdir()) == []


def test_without_originals_large_pictures_are_drawn(tmp_path):
    folder = input_speed.draw_large(tmp_path / "large", 4)
    sides = [max(cv2.imread(str(path)).shape) for path in folder.iterdir()]
    assert sides == [500] * 4


def test_preprocessing_is_the_same_for_a_batch_and_for_one_picture():
    pictures = np.random.default_rng(0).integers(0, 256, (3, 9, 7, 3), dtype="uint8")
    np.testing.assert_array_equal(preprocess(pictures)[1], preprocess(pictures[1]))
