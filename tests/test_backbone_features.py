"""Features: both views of each picture, computed once, nothing lost by a kill, nothing mixed up."""

import logging
import shutil
import time
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest

from src.images.preprocessing import preprocess
from src.pretrained import backbone_features
from src.pretrained.backbone_features import compute_features, features_key, serve_features

pytestmark = pytest.mark.long

FILES, SIZE = 30, 8


def build(bias: float = 0.0) -> keras.Model:
    """Returns a network that gives the mean colour of a picture's left half, so that a mirror shows."""
    given = keras.Input((SIZE, SIZE, 3))
    left = keras.layers.Cropping2D(((0, 0), (0, SIZE // 2)))(given)
    shifted = keras.layers.Dense(3, kernel_initializer="identity", bias_initializer=_constant(bias))(left)
    return keras.Model(given, keras.layers.GlobalAveragePooling2D()(shifted), name="left")


def _constant(value: float):
    return keras.initializers.Constant(value)


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (FILES, SIZE, SIZE, 3), dtype="uint8")


@pytest.fixture
def pictures() -> pd.DataFrame:
    """Rows 3 to 26 of the cache, in turn of both classes; the last 6 are for validation."""
    rows = np.arange(3, 27)
    parts = np.where(rows < 21, "train", "validation")
    names = [f"{row:02d}.jpg" for row in rows]
    return pd.DataFrame({"image_name": names, "code": rows % 2, "split": parts}, index=rows)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(backbone_features, "CHUNK", 5)
    monkeypatch.setattr(backbone_features, "BATCH", 2)


def halves(pixels: np.ndarray, pictures: pd.DataFrame) -> np.ndarray:
    """Returns what the network has to give, by hand: means of left halves; of right ones for the mirror."""
    ours = preprocess(pixels[pictures.index])
    return np.stack([ours[:, :, : SIZE // 2].mean((1, 2)), ours[:, :, SIZE // 2 :].mean((1, 2))])


def test_they_are_the_networks_of_each_picture_and_of_its_mirror_image(tmp_path, pixels, pictures):
    features = compute_features(build(), pixels, pictures, tmp_path, "cache.npy")
    np.testing.assert_allclose(features.values, halves(pixels, pictures), atol=1e-3)
    assert features.values.dtype == np.float32


def test_a_second_call_computes_nothing(tmp_path, pixels, pictures, monkeypatch):
    started = time.monotonic()
    first = compute_features(build(), pixels, pictures, tmp_path, "cache.npy")
    assert first.seconds <= time.monotonic() - started
    monkeypatch.setattr(backbone_features, "_compute_chunk", lambda *parts: pytest.fail("computed again"))
    again = compute_features(build(), pixels, pictures, tmp_path, "cache.npy")
    np.testing.assert_array_equal(first.values, again.values)
    assert again.seconds == first.seconds > 0


def counting(monkeypatch, stop_at: int | None = None) -> list[str]:
    """Returns the list that the names of computed chunks go to; at one of them it breaks off."""
    computed, real = [], backbone_features._compute_chunk

    def compute(backbone, pixels, rows, path):
        if len(computed) == stop_at:
            raise KeyboardInterrupt
        computed.append(path.stem)
        return real(backbone, pixels, rows, path)

    monkeypatch.setattr(backbone_features, "_compute_chunk", compute)
    return computed


def test_a_killed_computation_goes_on_where_it_was(tmp_path, pixels, pictures, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    with monkeypatch.context() as patched:
        counting(patched, stop_at=3)
        with pytest.raises(KeyboardInterrupt):
            compute_features(build(), pixels, pictures, tmp_path, "cache.npy")
    assert "there already" not in caplog.text
    computed = counting(monkeypatch)
    features = compute_features(build(), pixels, pictures, tmp_path, "cache.npy")
    assert computed == ["00003", "00004"]  # 24 pictures are five chunks
    assert "features of 15 of 24 pictures are there already" in caplog.text
    np.testing.assert_allclose(features.values, halves(pixels, pictures), atol=1e-3)


def test_a_headless_run_tells_how_long_it_will_take(tmp_path, pixels, pictures, monkeypatch, caplog):
    clock = [100.0]

    def compute(backbone, pixels, rows, path):
        clock[0] += 60
        return np.zeros((2, len(rows), 3), "float32"), 60.0

    monkeypatch.setenv("HEADLESS", "1")
    monkeypatch.setattr(backbone_features, "_compute_chunk", compute)
    monkeypatch.setattr(backbone_features, "LINES", 2)
    monkeypatch.setattr(backbone_features.time, "monotonic", lambda: clock[0])
    caplog.set_level(logging.INFO)
    compute_features(build(), pixels, pictures, tmp_path, "cache.npy")
    # 15 of 24 in three minutes: 9 will take 1.8
    assert [message.split(", ")[0::2] for message in caplog.messages] == [
        ["features of 15 of 24 pictures", "about 1.8 min left"],
        ["features of 24 of 24 pictures", "about 0.0 min left"],
    ]


def test_too_little_room_is_told_before_anything_is_computed(tmp_path, pixels, pictures, monkeypatch):
    """24 pictures in two views of three features, four bytes each."""
    computed, free = counting(monkeypatch), [24 * 2 * 3 * 4 - 1]
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=free[0]))
    with pytest.raises(OSError, match="the features of the pictures takes about 0 MB"):
        compute_features(build(), pixels, pictures, tmp_path, "cache.npy")
    assert not computed
    free[0] += 1
    compute_features(build(), pixels, pictures, tmp_path, "cache.npy")
    free[0] = 0  # what is there needs no room
    compute_features(build(), pixels, pictures, tmp_path, "cache.npy")
    assert len(computed) == 5


def test_a_damaged_chunk_is_named_and_computed_again(tmp_path, pixels, pictures, monkeypatch, caplog):
    compute_features(build(), pixels, pictures, tmp_path, "cache.npy")
    chunk = next(tmp_path.rglob("00001.npz"))
    chunk.write_bytes(chunk.read_bytes()[:200])
    computed = counting(monkeypatch)
    with caplog.at_level(logging.WARNING):
        features = compute_features(build(), pixels, pictures, tmp_path, "cache.npy")
    assert computed == ["00001"] and str(chunk) in caplog.text
    np.testing.assert_allclose(features.values, halves(pixels, pictures), atol=1e-3)


def test_other_weights_pictures_or_pixels_have_features_of_their_own():
    rows = np.arange(6)
    keys = {features_key(build(), rows, "a"), features_key(build(1.0), rows, "a")}
    keys |= {features_key(build(), rows[1:], "a"), features_key(build(), rows, "b")}
    assert len(keys) == 4 and features_key(build(), rows, "a") in keys


def test_training_is_served_both_views_and_validation_one_in_order(tmp_path, pixels, pictures):
    features = compute_features(build(), pixels, pictures, tmp_path, "cache.npy")
    training = serve_features(features, "train", training=True, seed=1, batch_size=10)
    served = [training[index] for index in range(len(training))]
    given, codes = (np.concatenate(part) for part in zip(*served, strict=True))
    assert len(given) == 2 * 18 and training.shuffle
    both = halves(pixels, pictures)[:, :18]
    for view in both:
        for number, expected in enumerate(view):
            place = np.abs(given - expected).max(axis=1).argmin()
            np.testing.assert_allclose(given[place], expected, atol=1e-3)
            assert codes[place] == pictures["code"].iloc[number]
    for mirrored in (False, True):
        validation = serve_features(features, "validation", mirrored=mirrored)
        np.testing.assert_allclose(validation[0][0], halves(pixels, pictures)[int(mirrored)][18:], atol=1e-3)
        assert validation.image_names == pictures["image_name"].tolist()[18:]


def test_pictures_that_may_not_be_flipped_are_served_as_they_are(tmp_path, pixels, pictures):
    features = compute_features(build(), pixels, pictures, tmp_path, "cache.npy")._replace(may_flip=False)
    training = serve_features(features, "train", training=True, seed=1, batch_size=10)
    served = np.concatenate([training[index][0] for index in range(len(training))])
    expected = halves(pixels, pictures)[0, :18]
    assert len(served) == 18
    np.testing.assert_allclose(np.sort(served, axis=0), np.sort(expected, axis=0), atol=1e-3)
