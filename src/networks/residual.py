"""The residual CNN of the `modern` search space: every choice is an argument with its usual name."""

import keras
from keras import layers

from src.networks.normalization import fused
from src.networks.optimizers import ConvolutionMuon
from src.networks.probability import log_loss, unsaturated
from src.networks.schedule import Trapezoid

POOLINGS = ["average", "max", "both"]
OPTIMIZERS = ["muon", "adamw"]


def build_residual_cnn(
    image_size: int | None = None,
    steps: int = 1000,
    stem_kernel: int = 5,
    stem_stride: int = 2,
    width: int = 32,
    stages: int = 4,
    blocks: int = 1,
    kernel_size: int = 3,
    activation: str = "relu",
    pooling: str = "average",
    dropout: float = 0.2,
    label_smoothing: float = 0.1,
    optimizer: str = "muon",
    learning_rate: float = 1e-2,
    warmup: float = 0.1,
    cooldown: float = 0.5,
    weight_decay: float = 0.02,
    weight_averaging: float = 0.0,
) -> keras.Model:
    """Returns the compiled residual CNN: a stem, stages of blocks, global pooling, one sigmoid unit.

    Each stage after the first halves the resolution and doubles the filters, up to eight times `width`. A
    block is two convolutions with batch normalization beside a shortcut, which uses average pooling when it
    halves; each block starts as its shortcut alone (K. He et al., "Bag of tricks", CVPR 2019: zero gamma,
    ResNet-D).

    The learning rate rises at first, stays constant, and falls to zero over the last steps
    (`src.networks.schedule`; L. N. Smith, "Super-convergence", 2018: one cycle).

    Args:
        image_size: side of the square input pictures, in pixels; None accepts pictures of any size.
        steps: number of batches in the whole training, over which the learning rate rises and falls.
        stem_kernel: side of the first convolution's kernel; stem_stride is its stride.
        width: filters of the stem and the first stage.
        stages: number of stages, each at half the resolution of the one before.
        blocks: number of blocks in each stage.
        kernel_size: side of the blocks' kernels.
        activation: relu, silu or gelu.
        pooling: average, max, or both side by side.
        dropout: fraction dropped before the last layer.
        label_smoothing: s turns the labels 0 and 1 into s / 2 and 1 - s / 2 in the training loss.
        optimizer: muon (Muon for convolutions, AdamW for the rest) or adamw.
        learning_rate: the peak learning rate.
        warmup: fraction of the steps in which it rises.
        cooldown: fraction of the steps, at the end, in which it falls.
        weight_decay: the optimizer's; not applied to biases and normalization.
        weight_averaging: momentum of an exponential moving average of the weights, which replaces them
            when training ends; 0 for none.

    Raises:
        ValueError: unknown pooling or optimizer.
    """
    for name, value, known in (("pooling", pooling, POOLINGS), ("optimizer", optimizer, OPTIMIZERS)):
        if value not in known:
            raise ValueError(f"{name} {value!r} is unknown; choose one of {', '.join(known)}")
    pictures = keras.Input((image_size, image_size, 3), name="pictures")
    x = layers.Rescaling(1 / 64, name="normalize")(pictures)  # the batches come minus ImageNet's means
    x = _convolve(x, width, stem_kernel, stem_stride, "stem")
    x = layers.Activation(activation, name="stem_activation")(x)
    for stage in range(stages):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            name = f"stage_{stage + 1}_block_{block + 1}"
            x = _residual_block(x, width * min(2**stage, 8), kernel_size, stride, activation, name)
    pooled = []
    if pooling in ("average", "both"):
        pooled.append(layers.GlobalAveragePooling2D(name="average")(x))
    if pooling in ("max", "both"):
        pooled.append(layers.GlobalMaxPooling2D(name="max")(x))
    x = layers.Concatenate(name="pooled")(pooled) if len(pooled) > 1 else pooled[0]
    x = layers.Dropout(dropout, name="dropout")(x)
    # float32 even under mixed precision: in 16 bits, a probability near 1 has few digits.
    last = layers.Dense(1, activation="sigmoid", dtype="float32", name="probability")
    model = keras.Model(pictures, unsaturated(last)(x), name="residual_cnn")
    schedule = Trapezoid(learning_rate, steps, warmup, cooldown)
    decay = {"weight_decay": weight_decay}
    averaging = {"use_ema": weight_averaging > 0, "ema_momentum": weight_averaging or 0.99}
    if optimizer == "muon":
        stepping = ConvolutionMuon(schedule, ns_steps=5, adam_weight_decay=weight_decay, **decay, **averaging)
    else:
        stepping = keras.optimizers.AdamW(schedule, beta_2=0.99, **decay, **averaging)
    stepping.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    loss = keras.losses.BinaryCrossentropy(label_smoothing=label_smoothing)
    model.compile(stepping, loss=loss, metrics=["accuracy", log_loss])
    return model


def _convolve(x, filters: int, kernel_size: int, stride: int, name: str, gamma: str = "ones"):
    """Returns a convolution without bias, followed by batch normalization."""
    convolution = layers.Conv2D(filters, kernel_size, stride, padding="same", use_bias=False, name=name)
    # Momentum 0.9: a small data set has too few batches for Keras's 0.99 to forget its initial values.
    norm = layers.BatchNormalization(momentum=0.9, gamma_initializer=gamma, name=f"{name}_norm")
    return fused(norm)(convolution(x))


def _residual_block(x, filters: int, kernel_size: int, stride: int, activation: str, name: str):
    """Returns activation(shortcut + two convolutions); the shortcut is projected if the filters differ."""
    shortcut = x
    if stride > 1:
        shortcut = layers.AveragePooling2D(stride, padding="same", name=f"{name}_shortcut_pool")(shortcut)
    if x.shape[-1] != filters:
        shortcut = _convolve(shortcut, filters, 1, 1, f"{name}_shortcut")
    y = _convolve(x, filters, kernel_size, stride, f"{name}_conv_1")
    y = layers.Activation(activation, name=f"{name}_activation_1")(y)
    y = _convolve(y, filters, kernel_size, 1, f"{name}_conv_2", gamma="zeros")
    return layers.Activation(activation, name=f"{name}_activation_2")(
        layers.Add(name=f"{name}_add")([shortcut, y])
    )
