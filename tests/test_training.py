"""What ends a training, and which epoch's weights it keeps."""

import keras
import numpy as np
import pytest

from src.generators import PictureBatches
from src.images.augmentation import Augmentation
from src.images.growth import growing_sizes
from src.spaces import Space, as_settled, fixed
from src.training import PictureTraining

pytestmark = pytest.mark.long


def build(hp) -> keras.Model:
    """Returns a network that learns nothing: what its bias says is all that it says."""
    layers = [keras.Input((None, None, 3)), keras.layers.GlobalAveragePooling2D()]
    model = keras.Sequential([*layers, keras.layers.Dense(1, "sigmoid", kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(0.0), "binary_crossentropy", metrics=["accuracy"])
    return model


def serve(part: str, training: bool = False, **choices) -> PictureBatches:
    """Returns four pictures, all of code 1: the larger the bias, the better."""
    rows = np.arange(4)
    augmentation = Augmentation() if training else None
    pixels = np.zeros((4, 8, 8, 3), "uint8")
    return PictureBatches(pixels, rows, [1] * 4, [*"abcd"], augmentation=augmentation, workers=1)


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
@pytest.mark.parametrize(
    ("first_image_size", "biases"),
    [
        (0, [-1, 1, -2, -2]),  # two epochs without a better one, and no further
        (4, [9, -1, -2, -1, 1, -2, -2]),  # the first three are at half the size
    ],
)
def test_patience_keeps_the_best_epoch_at_full_size(monitor, first_image_size, biases):
    assert growing_sizes(4, 8, 9) == [4] * 3 + [8] * 6
    space, more = Space(build, as_settled, ()), {"first_image_size": first_image_size, "monitor": monitor}
    training = PictureTraining(space, {}, serve, 9, patience=2, **more)
    model = training.build(fixed({}))
    waiting = iter(biases)
    say = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: model.layers[-1].bias.assign([next(waiting)])
    )
    assert len(training.fit(fixed({}), model, 9, [say]).epoch) == len(biases)
    assert keras.ops.convert_to_numpy(model.layers[-1].bias) == [1]
