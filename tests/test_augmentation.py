"""Our one affine warp against Keras's own transformations, which define what is right."""

import keras
import numpy as np
import pytest
from keras.src.legacy.preprocessing.image import ImageDataGenerator

from src.images.augmentation import DRAWS, Augmentation
from src.images.warping import FILL_MODES, GREY, apply_transforms

SIZE = 180


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """A smooth picture with edges, as photographs have: blobs on a gradient."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    waves = [np.sin(9 * x + 4 * y + phase) * np.cos(7 * y - 2 * x) for phase in (0, 1, 2)]
    smooth = 127 + 90 * np.stack(waves, axis=-1)
    smooth[60:120, 40:90] = (200, 40, 90)
    return smooth.round().astype("uint8")


STILL = dict.fromkeys(["theta", "tx", "ty", "shear", "crop_x", "crop_y"], 0.0)
STILL |= dict.fromkeys(["zx", "zy", "crop", "brightness", "contrast", "saturation"], 1.0)
STILL |= {"flip_horizontal": False, "flip_vertical": False}


def our_transform(
    picture: np.ndarray, transform: dict, fill_mode: str = "nearest", size: int | None = None
) -> np.ndarray:
    size = size or len(picture)
    result = np.empty((1, size, size, 3), "uint8")
    columns = {name: np.array([value]) for name, value in {**STILL, **transform}.items()}
    apply_transforms(picture[None], np.array([0]), columns, fill_mode, out=result)
    return result[0]


def keras_transform(picture: np.ndarray, transform: dict, fill_mode: str) -> np.ndarray:
    generator = ImageDataGenerator(fill_mode=fill_mode)
    return generator.apply_transform(picture.astype("float32"), transform)


ALONE = [
    {"theta": 25.0},
    {"tx": 37.3},
    {"ty": -41.7},
    {"shear": 0.2},
    {"shear": 20.0},
    {"zx": 0.8},
    {"zy": 1.2},
    {"flip_horizontal": True},
    {"flip_vertical": True},
]
TOGETHER = {
    "theta": -14.0,
    "tx": 20.5,
    "ty": -33.25,
    "shear": 9.0,
    "zx": 0.85,
    "zy": 1.15,
    "flip_horizontal": True,
    "flip_vertical": True,
}


@pytest.mark.parametrize("fill_mode", FILL_MODES)
@pytest.mark.parametrize("transform", [*ALONE, TOGETHER], ids=lambda transform: "+".join(transform))
def test_every_parameter_moves_pixels_where_keras_moves_them(picture, transform, fill_mode):
    ours = our_transform(picture, transform, fill_mode).astype("float32")
    difference = np.abs(ours - keras_transform(picture, transform, fill_mode))
    assert difference.mean() < 0.5


def test_drawn_parameters_give_keras_pictures(picture):
    augmentation = Augmentation(rotation_range=20, vertical_flip=True)
    drawn = augmentation.draw(np.random.default_rng(3).random((12, DRAWS)), SIZE)
    for values in zip(*drawn.values(), strict=True):
        transform = dict(zip(drawn, values, strict=True))
        ours = our_transform(picture, transform).astype("float32")
        assert np.abs(ours - keras_transform(picture, transform, "nearest")).mean() < 0.5


def test_the_ranges_are_those_of_image_data_generator():
    """Over many draws each parameter fills the range that Keras draws it from, and no more."""
    ranges = {"rotation_range": 10, "width_shift_range": 0.3, "height_shift_range": 0.3}
    ranges |= {"shear_range": 0.2, "zoom_range": 0.2, "horizontal_flip": True}
    generator = ImageDataGenerator(**ranges)
    keras.utils.set_random_seed(1)
    theirs = [generator.get_random_transform((SIZE, SIZE, 3)) for _ in range(4000)]
    ours = Augmentation(**ranges).draw(np.random.default_rng(1).random((4000, DRAWS)), SIZE)
    for name in ("theta", "tx", "ty", "shear", "zx", "zy"):
        expected, drawn = np.array([transform[name] for transform in theirs]), ours[name]
        width = np.ptp(expected)
        assert abs(drawn.min() - expected.min()) < 0.01 * width, name
        assert abs(drawn.max() - expected.max()) < 0.01 * width, name
        assert abs(drawn.mean() - expected.mean()) < 0.03 * width, name
    assert 0.45 < ours["flip_horizontal"].mean() < 0.55
    assert not ours["flip_vertical"].any()


def test_each_parameter_is_drawn_for_itself():
    ranges = Augmentation(
        rotation_range=10, vertical_flip=True, crop_range=0.3, brightness=0.3, contrast=0.2, saturation=0.2
    )
    columns = ranges.draw(np.random.default_rng(2).random((4000, DRAWS)), SIZE)
    related = np.corrcoef(list(columns.values())) - np.eye(len(columns))
    assert len(columns) == DRAWS and np.abs(related).max() < 0.1


def test_a_shift_along_the_width_moves_sideways_where_keras_moves_up_and_down():
    still = dict.fromkeys(["shear_range", "zoom_range"], 0.0) | {"horizontal_flip": False}
    sideways = Augmentation(width_shift_range=0.5, height_shift_range=0.0, **still)
    column = np.zeros((40, 40, 3), "uint8")
    column[:, 20] = 255
    transform = sideways.draw(np.full((1, DRAWS), 0.75), 40)
    moved = our_transform(column, {name: values[0] for name, values in transform.items()})[..., 0]
    assert (moved == moved[0]).all() and moved[0].argmax() == 10, "the line is elsewhere, and as straight"
    theirs = ImageDataGenerator(width_shift_range=0.5).get_random_transform((40, 40, 3), seed=1)
    assert theirs["ty"] and not theirs["tx"], "Keras keeps to its words now: the comment in draw is old"
    assert (keras_transform(column.transpose(1, 0, 2), theirs, "nearest")[..., 0].argmax(0) != 20).all()


@pytest.mark.parametrize(
    ("setting", "value"),
    [("fill_mode", "mirror"), ("width_shift_range", 1.5), ("zoom_range", -0.1), ("shear_range", -3)],
)
def test_a_range_without_meaning_is_named(setting, value):
    with pytest.raises(ValueError, match=f"{setting}.*{value}"):
        Augmentation(**{setting: value})


def test_a_crop_shows_its_square_and_nothing_else(picture):
    """Half the side, from the corner (90, 0) on: the right upper quarter, twice as large."""
    transform = {"crop": 0.5, "crop_x": 1.0, "crop_y": 0.0}
    expected = keras.ops.image.resize(picture[:90, 90:].astype("float32"), (SIZE, SIZE), "bilinear")
    shown = our_transform(picture, transform).astype("float32")
    # The corners of the two grids lie half a pixel apart.
    assert np.abs(shown - keras.ops.convert_to_numpy(expected))[4:-4, 4:-4].mean() < 3


@pytest.mark.parametrize("size", [90, 60])
def test_a_smaller_result_is_the_same_picture_in_fewer_pixels(picture, size):
    small = our_transform(picture, {}, size=size)
    step = SIZE // size
    blocks = picture.reshape(size, step, size, step, 3).mean(axis=(1, 3))
    assert np.abs(small - blocks).mean() < 1.5


def test_colours_change_as_their_names_say():
    picture = np.full((8, 8, 3), (40, 120, 200), "uint8")
    grey = float(np.array([40, 120, 200]) @ GREY)
    changed = {
        "brightness": (1.2, np.array([48, 144, 240])),
        "contrast": (0.5, 64 + np.array([20, 60, 100])),
        "saturation": (0.0, np.full(3, grey)),
    }
    for name, (factor, expected) in changed.items():
        assert our_transform(picture, {name: factor})[3, 3] == pytest.approx(expected, abs=1), name


def test_what_was_added_later_leaves_keras_parameters_as_they_were():
    uniform = np.random.default_rng(0).random((5, DRAWS))
    plain, rich = Augmentation(), Augmentation(crop_range=0.4, brightness=0.3, contrast=0.2, saturation=0.2)
    one, other = plain.draw(uniform, SIZE), rich.draw(uniform, SIZE)
    for name in ("theta", "tx", "ty", "shear", "zx", "zy"):
        np.testing.assert_array_equal(one[name], other[name])
    assert all((one[name] == 1).all() for name in ("crop", "brightness", "contrast", "saturation"))


def test_strength_multiplies_every_range_and_nothing_else():
    weak = Augmentation(rotation_range=10, zoom_range=0.2, brightness=0.4, fill_mode="reflect")
    strong = weak.strengthened(1.5)
    assert (strong.rotation_range, strong.zoom_range) == pytest.approx((15, 0.3))
    assert strong.brightness == pytest.approx(0.6)
    assert (strong.fill_mode, strong.horizontal_flip) == ("reflect", True)
    assert weak.strengthened(9).width_shift_range == 0.9, "a shift of the whole width leaves nothing"
    assert weak.strengthened(0) == Augmentation(0, 0, 0, 0, 0, fill_mode="reflect")
