"""The pixel cache: right pixels, made once, never stale, never half."""

import os
import time
from pathlib import Path

import cv2
import keras
import numpy as np
import pandas as pd
import pytest

from src.features import data_fingerprint, extract_features, split_features
from src.images import cache_writer
from src.images.cache import (
    StalePictures,
    build_cache,
    cached_rows,
    extract_and_cache,
    open_cache,
    open_settled_cache,
)
from src.images.files import content_hash

NAMES = [f"cat.{number}.png" for number in (5, 3, 1, 0, 2, 4)]


@pytest.fixture
def pictures(tmp_path) -> tuple[Path, pd.DataFrame]:
    """Six PNG pictures of different sizes, one of them left out, in an order that is not the names'."""
    random = np.random.default_rng(0)
    hashes = []
    for name in NAMES:
        height, width = random.integers(20, 60, 2)
        cv2.imwrite(str(tmp_path / name), random.integers(0, 256, (height, width, 3), dtype="uint8"))
        hashes.append(content_hash((tmp_path / name).read_bytes()))
    table = pd.DataFrame({"image_name": NAMES, "content_hash": hashes})
    table = table.assign(category="cat", height=20)
    return tmp_path, table.assign(split=["train", "test", "", "validation", "train", "train"])


@pytest.fixture
def folder(tmp_path) -> Path:
    """Ten pictures of each class, and files that cannot be used before, between and behind them."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    random = np.random.default_rng(1)
    for name in [f"{category}.{number}.jpg" for category in ("cat", "dog") for number in range(10)]:
        height, width = random.integers(12, 60, 2)
        cv2.imwrite(str(folder / name), random.integers(0, 256, (height, width, 3), dtype="uint8"))
    (folder / "dog.5.jpg").rename(folder / "7.jpg")  # a picture without a label
    cv2.imwrite(str(folder / "dog.11.jpg"), np.zeros((30, 30, 3), "uint8"))
    for name in ("a.txt", "cat.3.txt", "zebra.0.jpg"):
        (folder / name).write_bytes(b"no picture")
    return folder


def test_rows_are_the_files_in_the_order_of_their_names(pictures, tmp_path):
    folder, table = pictures
    path = build_cache(folder, table, tmp_path / "cache", 16, "area")
    pixels = open_cache(path, 6)
    rows = cached_rows(table)
    assert rows["image_name"].tolist() == [f"cat.{number}.png" for number in (0, 2, 3, 4, 5)]
    assert rows.index.tolist() == [0, 2, 3, 4, 5], "cat.1.png is left out, and has its row all the same"
    assert pixels.dtype == np.uint8 and pixels.shape == (6, 16, 16, 3)
    for row, name in enumerate(sorted(NAMES)):
        picture = cv2.cvtColor(cv2.imread(str(folder / name)), cv2.COLOR_BGR2RGB)
        np.testing.assert_array_equal(
            pixels[row], cv2.resize(picture, (16, 16), interpolation=cv2.INTER_AREA)
        )
    assert isinstance(pixels, np.memmap) and not pixels.flags.writeable


def test_nearest_gives_the_pixels_that_keras_generators_give(pictures, tmp_path):
    folder, table = pictures
    pixels = open_cache(build_cache(folder, table, tmp_path / "cache", 40, "nearest"), 6)  # some are smaller
    for row, name in enumerate(sorted(NAMES)):
        theirs = keras.utils.load_img(folder / name, target_size=(40, 40), interpolation="nearest")
        np.testing.assert_array_equal(pixels[row], np.asarray(theirs))


@pytest.mark.parametrize("interpolation", ["area", "nearest"])
def test_one_decoding_gives_the_cache_that_a_second_one_would(folder, tmp_path, interpolation, monkeypatch):
    table = split_features(extract_and_cache(folder, tmp_path / "one", 24, interpolation))
    two = build_cache(folder, table, tmp_path / "two", 24, interpolation)
    assert [path.read_bytes() for path in (tmp_path / "one").iterdir()] == [two.read_bytes()]
    monkeypatch.setattr("src.images.cache.read_picture", lambda *file: pytest.fail("decoded again"))
    one = build_cache(folder, table, tmp_path / "one", 24, interpolation)
    assert one.name == two.name
    pixels = open_cache(one, len(table))
    assert pixels[:3].any(axis=(1, 2, 3)).tolist() == [False, False, True], "7.jpg, a.txt, cat.0.jpg"
    assert len(cached_rows(table)) == 20 and pixels.any(axis=(1, 2, 3)).sum() == 19, "one picture is black"


def test_features_are_the_same_with_a_cache_and_without(folder, tmp_path):
    pd.testing.assert_frame_equal(extract_and_cache(folder, tmp_path / "c", 16), extract_features(folder))


def test_a_second_call_decodes_nothing(pictures, tmp_path, monkeypatch):
    folder, table = pictures
    first = build_cache(folder, table, tmp_path / "cache", 16)
    monkeypatch.setattr("src.images.cache.read_picture", lambda *file: pytest.fail("decoded again"))
    assert build_cache(folder, table, tmp_path / "cache", 16) == first


def test_any_change_of_a_pixel_makes_another_cache(pictures, tmp_path):
    folder, table = pictures
    caches = tmp_path / "cache"
    paths = [
        build_cache(folder, table, caches, 16),
        build_cache(folder, table, caches, 24),
        build_cache(folder, table, caches, 16, "nearest"),
        build_cache(folder, table[1:], caches, 16),
    ]
    data = repaint(folder / NAMES[0])
    paths.append(
        build_cache(folder, table.assign(content_hash=[data, *table["content_hash"][1:]]), caches, 16)
    )
    assert len(set(paths)) == 5


def repaint(file: Path) -> str:
    """Returns the new content's hash."""
    cv2.imwrite(str(file), np.full((30, 30, 3), 200, "uint8"))
    return content_hash(file.read_bytes())


def test_a_picture_that_changed_since_its_features_were_read_is_named(pictures, tmp_path):
    """Its other pixels would be kept under the name of the old ones for ever."""
    folder, table = pictures
    repaint(folder / "cat.3.png")
    with pytest.raises(ValueError, match=r"cat\.3\.png has changed since notebook 01"):
        build_cache(folder, table, tmp_path / "cache", 16)
    assert list((tmp_path / "cache").iterdir()) == []


def test_batches_settled_before_notebook_01_ran_again_are_refused(pictures, tmp_path, monkeypatch):
    """As many files under other names: each picture would be served as another one."""
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    folder, table = pictures
    cache = build_cache(folder, table, tmp_path / "cache", 16)
    settings = {"cache": cache.name, "image_size": 16, "interpolation": "area"}
    assert open_settled_cache(settings, table).shape == (6, 16, 16, 3)
    renamed = table.assign(image_name=["a.png", *table["image_name"][1:]])
    with pytest.raises(ValueError, match="notebook 01 has run again since; run notebook 02 again"):
        open_settled_cache(settings, renamed)


def test_a_training_is_not_served_from_a_split_that_it_did_not_begin_with(pictures, tmp_path, monkeypatch):
    """Notebook 01 run by hand with another seed would move test pictures into training."""
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    folder, table = pictures
    table["code"] = 0
    cache = build_cache(folder, table, tmp_path / "cache", 16)
    settings = {"cache": cache.name, "image_size": 16, "interpolation": "area"}
    settings["fingerprint"] = data_fingerprint(table)
    assert open_settled_cache(settings, table).shape == (6, 16, 16, 3)
    otherwise = table.assign(split=["test", "train", "", "validation", "train", "train"])
    with pytest.raises(StalePictures, match="another split or other pictures than notebook 02 settled"):
        open_settled_cache(settings, otherwise)


def test_a_killed_process_leaves_nothing_for_ever(pictures, tmp_path):
    folder, table = pictures
    caches = tmp_path / "cache"
    caches.mkdir()
    dead, alive = caches / "16-area.dead.partial", caches / "16-area.alive.partial"
    for partial in (dead, alive):
        partial.write_bytes(b"half")
    long_ago = time.time() - cache_writer.DEAD_SECONDS - 1
    os.utime(dead, (long_ago, long_ago))
    path = build_cache(folder, table, caches, 16)
    assert set(caches.iterdir()) == {path, alive}


def test_another_choice_or_split_of_the_same_files_shares_the_cache(pictures, tmp_path):
    folder, table = pictures
    others = [
        table.assign(split=table["split"].replace({"test": "train", "train": "test"})),
        table.assign(split=["", *table["split"][1:]]),
        table[::-1],
    ]
    path = build_cache(folder, table, tmp_path / "c", 16)
    assert {build_cache(folder, other, tmp_path / "c", 16) for other in others} == {path}


def test_a_pattern_that_labels_other_pictures_makes_another_cache(tmp_path):
    """A picture without a label has no pixels in the cache: with one it must not be a black square."""
    names = [
        f"{film}/{kind}_{number}.png" for film in "ab" for kind in ("cat", "dog") for number in range(10)
    ]
    for brightness, name in enumerate(names, 100):
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "d" / name), np.full((20, 20, 3), brightness, "uint8"))
    found = []
    for pattern in ("a/(cat|dog)", "cat|dog"):
        table = extract_and_cache(tmp_path / "d", tmp_path / "c", 16, class_pattern=pattern)
        cache = open_cache(build_cache(tmp_path / "d", table, tmp_path / "c", 16), len(table))
        found.append((cache[:, 0, 0, 0] > 0).tolist())
    assert found == [[True] * 20 + [False] * 20, [True] * 40]


def test_a_picture_that_cannot_be_read_leaves_no_half_cache(pictures, tmp_path):
    folder, table = pictures
    (folder / "cat.4.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"cat\.4\.png"):
        build_cache(folder, table, tmp_path / "cache", 16)
    assert list((tmp_path / "cache").iterdir()) == []


def test_features_that_cannot_be_used_leave_no_half_cache(folder, tmp_path):
    for path in folder.glob("dog.*"):
        path.unlink()
    with pytest.raises(ValueError, match="1 classes"):
        extract_and_cache(folder, tmp_path / "cache", 16)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_full_disk_is_an_error_and_not_a_reason_to_leave_a_picture_out(folder, tmp_path, monkeypatch):
    def write(self, row, picture):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("src.images.cache.CacheWriter.write", write)
    with pytest.raises(OSError, match="No space left"):
        extract_and_cache(folder, tmp_path / "cache", 16)


def test_a_picture_that_is_written_in_part_is_a_full_disk(folder, tmp_path, monkeypatch):
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, place: whole(file, bytes(data)[:-1], place))
    with pytest.raises(OSError, match="No space left"):
        extract_and_cache(folder, tmp_path / "cache", 16)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_missing_or_foreign_cache_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="run notebook 02"):
        open_cache(tmp_path / "none.npy", 3)
    np.save(tmp_path / "other.npy", np.zeros((2, 8, 8, 3), dtype="uint8"))
    with pytest.raises(ValueError, match="of 2 files, not of 3"):
        open_cache(tmp_path / "other.npy", 3)


@pytest.mark.parametrize(("size", "interpolation"), [(4, "area"), (16, "cubic")])
def test_impossible_settings_are_named_before_anything_is_decoded(size, interpolation, pictures, tmp_path):
    folder, table = pictures
    for make in (build_cache, lambda folder, table, *settings: extract_and_cache(folder, *settings)):
        with pytest.raises(ValueError, match="4|cubic"):
            make(folder, table, tmp_path / "cache", size, interpolation)
    assert not (tmp_path / "cache").exists()
