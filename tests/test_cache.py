"""The pixel cache: right pixels, made once, never stale, never half."""

from pathlib import Path

import cv2
import keras
import numpy as np
import pandas as pd
import pytest

from src.cache import build_cache, cached_rows, open_cache


@pytest.fixture
def pictures(tmp_path) -> tuple[Path, pd.DataFrame]:
    """Six PNG pictures of different sizes, one of them left out, in an order that is not the names'."""
    random = np.random.default_rng(0)
    names = [f"cat.{number}.png" for number in (5, 3, 1, 0, 2, 4)]
    for name in names:
        height, width = random.integers(20, 60, 2)
        cv2.imwrite(str(tmp_path / name), random.integers(0, 256, (height, width, 3), dtype="uint8"))
    table = pd.DataFrame({"image_name": names, "content_hash": [name[4] * 8 for name in names]})
    return tmp_path, table.assign(split=["train", "test", "", "validation", "train", "train"])


def test_rows_are_the_used_pictures_in_the_order_of_their_names(pictures, tmp_path):
    folder, table = pictures
    path = build_cache(folder, table, tmp_path / "cache", 16, "area")
    pixels = open_cache(path, 5)
    names = cached_rows(table)["image_name"].tolist()
    assert names == ["cat.0.png", "cat.2.png", "cat.3.png", "cat.4.png", "cat.5.png"]
    assert pixels.dtype == np.uint8 and pixels.shape == (5, 16, 16, 3)
    for row, name in enumerate(names):
        picture = cv2.cvtColor(cv2.imread(str(folder / name)), cv2.COLOR_BGR2RGB)
        np.testing.assert_array_equal(
            pixels[row], cv2.resize(picture, (16, 16), interpolation=cv2.INTER_AREA)
        )
    assert isinstance(pixels, np.memmap) and not pixels.flags.writeable


def test_nearest_gives_the_pixels_that_keras_generators_give(pictures, tmp_path):
    folder, table = pictures
    pixels = open_cache(build_cache(folder, table, tmp_path / "cache", 24, "nearest"), 5)
    for row, name in enumerate(cached_rows(table)["image_name"]):
        theirs = keras.utils.load_img(folder / name, target_size=(24, 24), interpolation="nearest")
        np.testing.assert_array_equal(pixels[row], np.asarray(theirs))


def test_a_second_call_decodes_nothing(pictures, tmp_path, monkeypatch):
    folder, table = pictures
    first = build_cache(folder, table, tmp_path / "cache", 16)
    monkeypatch.setattr("src.cache.read_picture", lambda path: pytest.fail("decoded again"))
    assert build_cache(folder, table, tmp_path / "cache", 16) == first


def test_any_change_makes_another_cache(pictures, tmp_path):
    folder, table = pictures
    caches = tmp_path / "cache"
    changed = table.assign(content_hash=["other", *table["content_hash"][1:]])
    fewer = table.assign(split=["", *table["split"][1:]])
    paths = [
        build_cache(folder, table, caches, 16),
        build_cache(folder, table, caches, 24),
        build_cache(folder, table, caches, 16, "nearest"),
        build_cache(folder, changed, caches, 16),
        build_cache(folder, fewer, caches, 16),
    ]
    assert len(set(paths)) == 5


def test_another_split_of_the_same_pictures_shares_the_cache(pictures, tmp_path):
    folder, table = pictures
    other = table.assign(split=table["split"].replace({"test": "train", "train": "test"}))
    assert build_cache(folder, table, tmp_path / "c", 16) == build_cache(folder, other, tmp_path / "c", 16)


def test_a_picture_that_cannot_be_read_leaves_no_half_cache(pictures, tmp_path):
    folder, table = pictures
    (folder / "cat.4.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"cat\.4\.png"):
        build_cache(folder, table, tmp_path / "cache", 16)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_missing_or_foreign_cache_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="run notebook 02"):
        open_cache(tmp_path / "none.npy", 3)
    np.save(tmp_path / "other.npy", np.zeros((2, 8, 8, 3), dtype="uint8"))
    with pytest.raises(ValueError, match="holds 2 pictures, not 3"):
        open_cache(tmp_path / "other.npy", 3)


@pytest.mark.parametrize(("size", "interpolation"), [(4, "area"), (16, "cubic")])
def test_impossible_settings_are_named(size, interpolation, pictures, tmp_path):
    with pytest.raises(ValueError, match="4|cubic"):
        build_cache(*pictures, tmp_path / "cache", size, interpolation)
