"""Backbones: each sees what its own preprocessing gives, batch normalization stays, bad weights are named."""

import importlib
import socket
import urllib.error
from functools import cache
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from src.datasets import downloads
from src.images.preprocessing import preprocess
from src.pretrained import backbones
from src.pretrained.backbones import (
    BACKBONES,
    block_starts,
    build_backbone,
    from_ours,
    inner_network,
    unfreeze,
)
from src.runs import weights_fingerprint

pytestmark = pytest.mark.long

SHARED = Path(__file__).resolve().parents[2] / "shared"
WEIGHTS = SHARED / "weights" / "mobilenet_v2_imagenet_notop.weights.h5"
MODULES = {"ResNet50": "resnet50", "MobileNetV2": "mobilenet_v2"}
MODULES |= {"EfficientNetV2B0": "efficientnet_v2", "ConvNeXtTiny": "convnext"}
FILES = {  # as Keras names them
    "ResNet50": "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "MobileNetV2": "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
    "EfficientNetV2B0": "efficientnetv2-b0_notop.h5",
    "ConvNeXtTiny": "convnext_tiny_notop.h5",
}


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in BACKBONES if name != "MobileNetV2"]
REAL = ["MobileNetV2", *SLOW]  # the others are larger: seconds each


@cache
def build(name: str) -> keras.Model:
    keras.utils.set_random_seed(3)
    return build_backbone(name, 32)


def pictures(n: int = 2) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (n, 32, 32, 3), dtype="uint8")


@pytest.mark.parametrize("name", BACKBONES)
def test_its_first_layers_are_its_own_preprocessing(name):
    """Pixel by pixel, where a network that gives what it is given stands for the backbone."""
    theirs = importlib.import_module(f"keras.applications.{MODULES[name]}")
    given = keras.Input((32, 32, 3))
    first_layers = keras.Model(given, keras.layers.Identity()(from_ours(given, BACKBONES[name].pixels)))
    rgb = pictures()
    expected = theirs.preprocess_input(rgb.astype("float32"))
    np.testing.assert_allclose(first_layers(preprocess(rgb)), expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("name", REAL)
def test_a_backbone_sees_what_its_own_preprocessing_would_show_it(name):
    theirs = importlib.import_module(f"keras.applications.{MODULES[name]}")
    network, rgb = build(name), pictures()
    inner = inner_network(network)

    def pooled(given):
        return np.asarray(inner(theirs.preprocess_input(given.astype("float32")))).mean((1, 2))

    expected, turned = pooled(rgb), pooled(rgb[..., ::-1])
    given = np.asarray(network(preprocess(rgb)))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(given / scale, expected / scale, atol=1e-3)
    assert np.abs(turned - expected).max() > 0.01 * scale, "the order of the colours makes no difference here"


@pytest.mark.parametrize("name", REAL)
def test_a_backbone_is_made_of_keras_alone(name):
    layers = build(name)._flatten_layers()
    assert {type(layer).__module__.split(".")[0] for layer in layers} == {"keras"}


def test_the_saved_file_opens_in_safe_mode_and_gives_the_same(tmp_path):
    network = build("MobileNetV2")
    network.save(tmp_path / "network.keras")
    opened = keras.models.load_model(tmp_path / "network.keras", safe_mode=True)
    given = preprocess(pictures())
    np.testing.assert_allclose(opened(given), network(given), rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("MobileNetV2", 17 - 1),
        pytest.param("ResNet50", 3 + 4 + 6 + 3, marks=pytest.mark.slow),
        pytest.param("ConvNeXtTiny", 3 + 3 + 9 + 3, marks=pytest.mark.slow),
        pytest.param("EfficientNetV2B0", 1 + 2 + 2 + 3 + 5 + 8, marks=pytest.mark.slow),
    ],
)
def test_the_blocks_are_those_of_the_paper(name, blocks):
    """MobileNetV2's first of 17 has a name of its own; it lies before all that one would unfreeze."""
    starts = block_starts(inner_network(build(name)), name)
    assert len(starts) == blocks
    assert list(starts.values()) == sorted(starts.values())


@pytest.mark.parametrize("name", REAL)
def test_the_last_blocks_are_unfrozen_and_no_batch_normalization(name):
    network = build(name)
    inner = inner_network(network)
    starts = list(block_starts(inner, name).values())
    unfreeze(network, name, 2)
    for index, layer in enumerate(inner.layers):
        is_normalization = isinstance(layer, keras.layers.BatchNormalization)
        assert layer.trainable == (index >= starts[-2] and not is_normalization), layer.name
    unfreeze(network, name, 0)
    assert not network.trainable_variables


def test_more_blocks_than_there_are_unfreeze_them_all():
    network = build("MobileNetV2")
    unfreeze(network, "MobileNetV2", 99)
    assert inner_network(network).get_layer("block_1_expand").trainable
    unfreeze(network, "MobileNetV2", 0)


def test_fine_tuning_moves_the_last_block_and_no_statistics():
    keras.utils.set_random_seed(3)
    network = build_backbone("MobileNetV2", 32)
    unfreeze(network, "MobileNetV2", 1)
    inner = inner_network(network)
    before = {variable.path: np.array(variable) for variable in inner.variables}
    network.compile(keras.optimizers.SGD(1e3), "mean_squared_error", run_eagerly=True)
    network.train_on_batch(preprocess(pictures()), np.ones((2, 1280)))
    moved = {
        path.split("/")[0] for path, value in before.items() if not np.array_equal(value, _now(inner, path))
    }
    assert moved == {"Conv_1", "block_16_expand", "block_16_depthwise", "block_16_project"}


def _now(inner: keras.Model, path: str) -> np.ndarray:
    return np.array(next(variable for variable in inner.variables if variable.path == path))


def test_weights_come_from_a_file(tmp_path):
    inner_network(build("MobileNetV2")).save_weights(tmp_path / "mine.weights.h5")
    again = build_backbone("MobileNetV2", 64, str(tmp_path / "mine.weights.h5"))  # for pictures of any size
    assert again.trainable_weights == [], "all of it is frozen"
    fingerprint = weights_fingerprint(build("MobileNetV2"))
    assert weights_fingerprint(again) == fingerprint
    kernel = inner_network(again).get_layer("Conv1").kernel
    kernel.assign(kernel + 1e-3)
    assert weights_fingerprint(again) != fingerprint


def test_a_path_may_be_relative_to_the_project(monkeypatch, tmp_path):
    (tmp_path / "mine.h5").touch()
    monkeypatch.setattr(backbones, "PROJECT", tmp_path)
    assert backbones._find_file("ResNet50", "mine.h5") == tmp_path / "mine.h5"


def test_a_missing_file_is_named_with_what_to_give(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.h5'.*ResNet50\(include_top=False\)") as caught:
        build_backbone("ResNet50", 32, str(tmp_path / "no.h5"))
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Skipping nested container")  # Keras's, before it gives up
@pytest.mark.parametrize("kind", ["another network", "text", "another suffix"])
def test_a_file_with_other_weights_is_refused_in_one_line(kind, tmp_path):
    path = tmp_path / {"another network": "other.weights.h5", "text": "a.h5", "another suffix": "a.txt"}[kind]
    path.write_text("no weights")
    if kind == "another network":
        keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save_weights(path)
    with pytest.raises(ValueError, match=r"does not hold the weights of MobileNetV2") as caught:
        build_backbone("MobileNetV2", 32, str(path))
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize("name", REAL)
def test_a_failed_download_says_which_file_to_put_where(name, monkeypatch, tmp_path):
    from keras.src.utils import file_utils

    def no_network(*arguments, **more):
        assert socket.getdefaulttimeout() == downloads.SILENCE_SECONDS, "a silent server is given up"
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(file_utils, "urlretrieve", no_network)
    monkeypatch.setattr(file_utils.config, "keras_home", lambda: str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(ConnectionError, match="no network") as caught:
        build_backbone(name, 224, "imagenet")
    words = str(caught.value)
    assert f"put {FILES[name]} into {tmp_path / 'models'}" in words and "\n" not in words
    assert socket.getdefaulttimeout() is None


def make_weights(folder: Path, file: str, whole: bool = True) -> Path:
    folder.mkdir(exist_ok=True)
    with h5py.File(folder / file, "w") as weights:
        weights["kernel"] = np.zeros(10_000)
    if not whole:
        (folder / file).write_bytes((folder / file).read_bytes()[:5_000])
    return folder / file


def test_what_a_killed_download_left_is_named_and_nothing_else(monkeypatch, tmp_path):
    """Keras knows no hash of these weights, and takes any file of their name for them."""
    from keras.src.utils import file_utils

    make_weights(tmp_path / "models", FILES["MobileNetV2"].replace("224", "128"))  # of other pictures: whole
    half = make_weights(tmp_path / "models", FILES["MobileNetV2"].replace("224", "96"), whole=False)
    monkeypatch.setattr(file_utils.config, "keras_home", lambda: str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(ValueError, match=f"{half} is not whole .*; delete it to have the weights"):
        build_backbone("MobileNetV2", 96, "imagenet")


def test_a_server_that_falls_silent_is_no_reason_to_delete_a_whole_file(monkeypatch, tmp_path):
    from keras.src.utils import file_utils

    def silent(*arguments, **more):
        raise TimeoutError("timed out")

    make_weights(tmp_path / "models", FILES["MobileNetV2"].replace("224", "128"))
    monkeypatch.setattr(file_utils, "urlretrieve", silent)
    monkeypatch.setattr(file_utils.config, "keras_home", lambda: str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(ConnectionError, match="could not be downloaded .timed out.; put the file into"):
        build_backbone("MobileNetV2", 224, "imagenet")


@pytest.mark.parametrize("name", BACKBONES)
def test_the_file_of_each_backbone_is_known_by_its_name(name, tmp_path):
    for file in FILES.values():
        make_weights(tmp_path, file, whole=file != FILES[name])
    assert backbones._find_half(name, tmp_path) == tmp_path / FILES[name]


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [("VGG16", 64, "unknown; choose one of ResNet50"), ("ResNet50", 24, "32 or more")],
)
def test_what_cannot_be_built_is_said(name, size, words):
    with pytest.raises(ValueError, match=words):
        build_backbone(name, size)


@pytest.mark.skipif(not WEIGHTS.exists(), reason="needs the shared weights")
def test_imagenets_weights_tell_pictures_apart():
    """Random ones give nearly the same for any two pictures."""
    network = build_backbone("MobileNetV2", 32, str(WEIGHTS))
    first, second = np.asarray(network(preprocess(pictures())))
    assert np.abs(first - second).max() > 0.1
