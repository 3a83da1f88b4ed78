"""The drawn sample: whole or absent, the same for the same seed, and told apart by shape alone."""

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from src import sample
from src.sample import TRAPS, draw_picture, draw_sample, draw_unlabelled, unlabelled_animals

pytestmark = pytest.mark.long

MEASURES = ["blue", "green", "red", "contrast", "height", "width", "aspect_ratio"]


def read_all(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def with_traps(tmp_path_factory):
    return draw_sample(tmp_path_factory.mktemp("sample") / "drawn", number=8)


@pytest.fixture(scope="module")
def pictures():
    """600 pictures in memory, cats and dogs in turn."""
    return [draw_picture(42, k % 2 == 1, k // 2) for k in range(600)]


@pytest.fixture(scope="module")
def measured(pictures):
    rows = [[*p.mean((0, 1)), p.std(), *p.shape[:2], p.shape[0] / p.shape[1]] for p in pictures]
    return pd.DataFrame(rows, columns=MEASURES)


def pixel_accuracy(pictures, gray):
    """Test accuracy of a logistic regression on 32x32 pixels: first 60 % train, the rest test."""
    small = [cv2.resize(picture, (32, 32), interpolation=cv2.INTER_AREA) for picture in pictures]
    if gray:
        small = [cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) for picture in small]
    pixels = np.stack([picture.ravel() for picture in small]).astype(np.float32)
    is_dog, cut = np.arange(len(pixels)) % 2, len(pixels) * 6 // 10
    # The penalty is strong because pixels are more than pictures; a weak one only fits the noise.
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=300))
    return model.fit(pixels[:cut], is_dog[:cut]).score(pixels[cut:], is_dog[cut:])


def test_the_sample_is_named_as_kaggle_names_it_and_holds_both_classes_alike(tmp_path):
    folder = draw_sample(tmp_path / "deep" / "drawn", number=10, traps=False)
    expected = {f"{animal}.{k}.jpg" for animal in ("cat", "dog") for k in range(5)}
    assert {path.name for path in folder.iterdir()} == expected
    for path in folder.iterdir():
        with Image.open(path) as image:
            assert image.format == "JPEG"
            assert min(image.size) >= 90
            assert max(image.size) <= 260


def test_the_same_seed_gives_the_same_bytes_however_many_are_drawn(tmp_path):
    few = read_all(draw_sample(tmp_path / "few", number=6, traps=False))
    many = read_all(draw_sample(tmp_path / "many", number=12, traps=False))
    other = read_all(draw_sample(tmp_path / "other", number=6, seed=43, traps=False))
    assert few.items() <= many.items()
    assert few.keys() == other.keys()
    assert not set(few.values()) & set(other.values())
    assert len(set(many.values())) == 12


def test_a_whole_sample_is_left_as_it_is(with_traps):
    before = {path: path.stat().st_mtime_ns for path in with_traps.iterdir()}
    assert draw_sample(with_traps, number=8) == with_traps
    assert {path: path.stat().st_mtime_ns for path in with_traps.iterdir()} == before


@pytest.mark.parametrize("wanted", [{"number": 10}, {"number": 8, "seed": 1}, {"number": 8, "traps": False}])
def test_another_sample_in_the_folder_is_refused_not_returned(with_traps, wanted):
    with pytest.raises(ValueError, match="holds other files than this sample"):
        draw_sample(with_traps, **wanted)


@pytest.mark.parametrize("number", [0, 3, 25_001])
def test_a_number_that_makes_no_sample_is_refused(tmp_path, number):
    with pytest.raises(ValueError, match=f"number is {number}"):
        draw_sample(tmp_path / "drawn", number=number)


def test_a_killed_drawing_leaves_no_sample_and_restarts_cleanly(tmp_path, monkeypatch):
    def fail(folder, seed):
        (folder / "half written.jpg").write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sample, "add_traps", fail)
        with pytest.raises(KeyboardInterrupt):
            draw_sample(tmp_path / "drawn", number=4)
    assert not (tmp_path / "drawn").exists()
    (tmp_path / "drawn").mkdir()  # an empty folder is no obstacle
    assert len(read_all(draw_sample(tmp_path / "drawn", number=4))) == 4 + len(TRAPS)
    assert {path.name for path in tmp_path.iterdir()} <= {"drawn", ".drawn.lock"}, "nothing half"


def test_every_trap_is_what_it_is_said_to_be(with_traps):
    files = read_all(with_traps)
    assert len(files) == 8 + len(TRAPS)
    assert TRAPS.keys() <= files.keys()
    assert files["cat.12500.jpg"] == b""
    with pytest.raises(OSError, match="truncated"), Image.open(with_traps / "dog.12500.jpg") as image:
        image.load()
    for name, kind, mode in [
        ("cat.12501.jpg", "PNG", "RGB"),
        ("dog.12501.jpg", "JPEG", "L"),
        ("cat.12502.jpg", "JPEG", "CMYK"),
    ]:
        with Image.open(with_traps / name) as image:
            assert (image.format, image.mode) == (kind, mode)
            image.load()
    assert files["dog.12502.jpg"] == files["dog.0.jpg"]
    assert files["dog.12503.jpg"] == files["cat.1.jpg"]
    assert cv2.imread(str(with_traps / "cat.12504.jpg")).shape == (33, 195, 3)
    with Image.open(with_traps / "dog.12504.jpg") as image:
        assert image.getexif()[0x0112] == 6
    assert files["12505.jpg"].startswith(b"\xff\xd8")
    assert cv2.imread(str(with_traps / "Thumbs.db")) is None


def test_the_near_duplicate_looks_like_its_original_but_has_other_bytes(with_traps):
    first, second = (cv2.imread(str(with_traps / name)) for name in ("cat.0.jpg", "cat.12503.jpg"))
    assert first.shape != second.shape
    first, second = (
        cv2.resize(picture, (16, 16), interpolation=cv2.INTER_AREA) for picture in (first, second)
    )
    assert np.abs(first.astype(float) - second).mean() < 4


def test_the_rotated_picture_is_upright_once_its_orientation_is_obeyed(with_traps):
    upright = cv2.imread(str(with_traps / "dog.12504.jpg"))  # OpenCV obeys
    drawn = draw_picture(42, True, 12504)
    assert upright.shape == drawn.shape
    assert np.abs(upright.astype(float) - drawn).mean() < 12  # JPEG's loss at quality 75


def test_the_unlabelled_pictures_are_numbered_and_none_is_in_the_labelled_sample(tmp_path):
    files = read_all(draw_unlabelled(tmp_path / "test1", number=8))
    assert files.keys() == {f"{k}.jpg" for k in range(1, 10)}
    numbers = [number for _, number in unlabelled_animals(8).values()]
    assert min(numbers) > 25_000 / 2 + len(TRAPS) and len(set(numbers)) == 8
    for name, (is_dog, number) in unlabelled_animals(8).items():
        assert files[name] == sample.encode(draw_picture(42, is_dog, number))
    assert sum(is_dog for is_dog, _ in unlabelled_animals(8).values()) == 4
    with pytest.raises(OSError, match="truncated"), Image.open(tmp_path / "test1" / "9.jpg") as image:
        image.load()


def test_other_files_in_the_place_of_the_unlabelled_ones_are_refused(tmp_path):
    draw_unlabelled(tmp_path / "test1", number=4)
    assert draw_unlabelled(tmp_path / "test1", number=4) == tmp_path / "test1"
    with pytest.raises(ValueError, match="holds other files than this sample"):
        draw_unlabelled(tmp_path / "test1", number=5)


@pytest.mark.parametrize("measure", MEASURES)
def test_no_simple_measure_differs_between_cats_and_dogs(measured, measure):
    column = measured[measure].to_numpy()
    cats, dogs = column[::2], column[1::2]
    # Two samples of 300 from one distribution differ by 0.08 standard deviations, give or take.
    assert abs(cats.mean() - dogs.mean()) / column.std() < 3 * np.sqrt(2 / 300)


@pytest.mark.parametrize("gray", [False, True])
def test_pixels_alone_do_not_tell_cats_from_dogs(pictures, gray):
    assert pixel_accuracy(pictures, gray) <= 0.65


@pytest.mark.slow
def test_pixels_of_two_thousand_pictures_do_not_tell_cats_from_dogs():
    many = [draw_picture(42, k % 2 == 1, k // 2) for k in range(2000)]
    assert pixel_accuracy(many, gray=False) <= 0.65
    assert pixel_accuracy(many, gray=True) <= 0.65
