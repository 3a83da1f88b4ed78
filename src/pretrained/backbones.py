"""Pretrained networks of keras.applications: our preprocessed pictures go in, pooled features come out."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import h5py
import keras
from keras import layers, ops

from src.config import PROJECT
from src.datasets.downloads import give_up_silence
from src.images.preprocessing import IMAGENET_MEANS
from src.running.devices import without_xla
from src.running.messages import one_line, quote

SMALLEST = 32  # pixels: keras.applications accepts no smaller pictures


class Backbone(NamedTuple):
    """A network of keras.applications.

    Attributes:
        build: its builder function.
        block: pattern that matches its layers' names; the group is the name of the layer's block.
        pixels: the pixel format it expects, see `from_ours`: caffe, tf or raw.
        image_size: side of the pictures that its weights were trained on, in pixels.
    """

    build: Callable[..., keras.Model]
    block: str
    pixels: str
    image_size: int = 224


BACKBONES = {
    "ResNet50": Backbone(keras.applications.ResNet50, r"(conv\d_block\d+)_", "caffe"),
    "MobileNetV2": Backbone(keras.applications.MobileNetV2, r"(block_\d+)_", "tf"),
    "EfficientNetV2B0": Backbone(keras.applications.EfficientNetV2B0, r"(block\d[a-z])_", "raw"),
    "ConvNeXtTiny": Backbone(keras.applications.ConvNeXtTiny, r"(stage_\d_block_\d+)_", "raw"),
}


def find_backbone(name: str) -> Backbone:
    """Returns the backbone of this name.

    Raises:
        ValueError: there is no such backbone.
    """
    if name not in BACKBONES:
        raise ValueError(f"backbone {quote(name)} is unknown; choose one of {', '.join(BACKBONES)}")
    return BACKBONES[name]


def build_backbone(name: str, image_size: int, weights: str = "none") -> keras.Model:
    """Returns a network from pictures, as returned by `preprocess`, to the backbone's pooled features (n, d).

    The backbone's own preprocessing forms its first layers, so the saved file is self-contained. The whole
    backbone is frozen; see `unfreeze`.

    Args:
        name: a key of `BACKBONES`.
        image_size: side of the square pictures, in pixels.
        weights: `imagenet` (downloaded once by Keras), the path of a weights file, or `none` (random).

    Raises:
        ValueError: an unknown name, pictures too small, or a file that does not hold this network's weights.
        FileNotFoundError: there is no such file.
        ConnectionError: the download failed.
    """
    backbone = find_backbone(name)
    if image_size < SMALLEST:
        raise ValueError(f"backbone_image_size is {image_size}; {name} takes pictures of {SMALLEST} or more")
    network = _with_weights(name, image_size, weights)
    pictures = keras.Input((image_size, image_size, 3), name="pictures")
    maps = network(from_ours(pictures, backbone.pixels))
    features = layers.GlobalAveragePooling2D(dtype="float32", name="pooled")(maps)
    model = keras.Model(pictures, features, name=f"{name}_features")
    unfreeze(model, name, 0)
    return without_xla(model)


def from_ours(pictures: keras.KerasTensor, pixels: str) -> keras.KerasTensor:
    """Returns pictures in a backbone's pixel format, from BGR with the ImageNet means subtracted.

    Args:
        pictures: a Keras tensor, (n, side, side, 3).
        pixels: `caffe`: unchanged; `tf`: RGB from -1 to 1; `raw`: RGB from 0 to 255, for a backbone that
            does the rest of its preprocessing in its first layers.
    """
    if pixels == "caffe":
        return pictures
    scale = 1 / 127.5 if pixels == "tf" else 1.0
    offset = IMAGENET_MEANS[::-1] * scale - (1.0 if pixels == "tf" else 0.0)
    rgb = ops.flip(pictures, axis=-1)
    # float32 even under mixed precision: 16 bits are too few for pixels with an offset.
    return layers.Rescaling(scale, offset.tolist(), dtype="float32", name="own_preprocessing")(rgb)


def inner_network(network: keras.Model) -> keras.Model:
    """Returns the keras.applications network inside a network based on `build_backbone`."""
    return next(layer for layer in network.layers if isinstance(layer, keras.Model))


def block_starts(network: keras.Model, name: str) -> dict[str, int]:
    """Returns the blocks of a keras.applications network in order, with the index of each first layer."""
    starts: dict[str, int] = {}
    for index, layer in enumerate(network.layers):
        if found := re.search(find_backbone(name).block, layer.name):
            starts.setdefault(found[1], index)
    return starts


def unfreeze(network: keras.Model, name: str, blocks: int) -> None:
    """Makes the last blocks of a network's backbone trainable and freezes the rest of it.

    Batch normalization is frozen everywhere, which also keeps it in inference mode: batches of a few dozen
    pictures would spoil statistics computed on a million. Calling the backbone with `training=False` would
    not be enough: in nested networks, `fit` overrides it with its own `training=True`.

    Args:
        network: based on `build_backbone`, with or without a head.
        name: of its backbone.
        blocks: how many to unfreeze; 0 freezes the whole backbone.
    """
    inner = inner_network(network)
    starts = list(block_starts(inner, name).values())
    first = starts[-min(blocks, len(starts))] if blocks else len(inner.layers)
    for index, layer in enumerate(inner.layers):
        layer.trainable = index >= first and not isinstance(layer, layers.BatchNormalization)


def _with_weights(name: str, image_size: int, weights: str) -> keras.Model:
    known = {"none": None, "imagenet": "imagenet"}
    source = known[weights] if weights in known else str(_find_file(name, weights))
    build, shape = find_backbone(name).build, (image_size, image_size, 3)
    try:
        with give_up_silence():  # in case Keras has to download them
            return build(include_top=False, weights=source, input_shape=shape)
    except Exception as error:  # downloads and Keras's readers raise many kinds of errors
        if weights == "none":
            raise
        if weights == "imagenet":
            raise _failed_download(name, error) from error
        raise ValueError(
            f"{weights} does not hold the weights of {name} ({one_line(error, 200)}); "
            f"give those of keras.applications.{name}(include_top=False)"
        ) from error


def _failed_download(name: str, error: Exception) -> Exception:
    """Returns the error that says what to do if Keras cannot download ImageNet's weights, or read them."""
    place = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "models"
    if half := _find_half(name, place):
        return ValueError(
            f"{half} is not whole ({one_line(error, 200)}); delete it to have the weights of {name} "
            "downloaded again"
        )
    file = re.search(r"https?://\S+?/([^/\s]+\.h5)", str(error))
    return ConnectionError(
        f"the ImageNet weights of {name} could not be downloaded ({one_line(error, 200)}); put "
        f"{file[1] if file else 'the file'} into {place}, or give its path: weights = PATH"
    )


def _find_half(name: str, place: Path) -> Path | None:
    """Returns a truncated weights file left by a killed download, which Keras would take for complete."""
    for file in sorted(place.glob("*.h5")):
        if re.sub("[^a-z0-9]", "", file.name.lower()).startswith(name.lower()):
            try:
                h5py.File(file).close()
            except OSError:
                return file
    return None


def _find_file(name: str, weights: str) -> Path:
    """Returns the path, also tried relative to the project, since notebooks may run in another folder."""
    places = [Path(weights).expanduser(), PROJECT / weights]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise FileNotFoundError(
            f"weights = {quote(weights, 200)}: there is no such file; give imagenet, none, or the path of "
            f"the weights of keras.applications.{name}(include_top=False)"
        )
    return found
