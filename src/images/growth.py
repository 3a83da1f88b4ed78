"""Progressive resizing: the side of the training pictures, epoch by epoch (after J. Howard)."""

from itertools import pairwise

# Share of an epoch's cost that does not depend on picture size: optimizer steps, the smallest layers. On two
# cores, an epoch at 64 x 64 took 0.58 of the time of one at 96 x 96, and one at 80 x 80 took 0.80 (measured).
FIXED_COST = 0.25


def growing_sizes(first: int, last: int, epochs: int, step: int = 16) -> list[int]:
    """Returns the side of the training pictures in each epoch: from `first` to `last`, in pixels.

    They grow in steps over the first two thirds of the epochs, since small pictures cost less; the last third
    trains at the size at which the network will predict.

    Raises:
        ValueError: `first` is larger than `last`.
    """
    if first > last:
        raise ValueError(f"first_image_size is {first}; give at most image_size, {last}")
    sizes = [*range(first, last, step), last]
    growing = max(1, round(epochs * 2 / 3))
    return [sizes[min(len(sizes) - 1, epoch * len(sizes) // growing)] for epoch in range(epochs)]


def grown_size(image_size: int, crop_range: float) -> int:
    """Returns the final side of training crops of pictures of `image_size`, so that four of five are shrunk.

    A crop that is not shrunk is blurred by the warp. A crop also shows objects larger than the whole picture
    does: if a network trains at a smaller size than it predicts at, it sees both at more similar scales, and
    an epoch costs less (H. Touvron et al., "Fixing the train-test resolution discrepancy", 2019). The
    normalization statistics must then be settled at the larger size.
    """
    return image_size - 8 * round(image_size * 0.8 * crop_range / 8)


def spans(sizes: list[int], first: int, epochs: int) -> list[tuple[int, int]]:
    """Returns (first epoch, end) of each stretch of epochs with the same picture size, from `first` on."""
    of_epoch = [sizes[min(epoch, len(sizes) - 1)] for epoch in range(epochs)]
    changes = [epoch for epoch in range(first + 1, epochs) if of_epoch[epoch] != of_epoch[epoch - 1]]
    return list(pairwise([first, *changes, epochs]))


def relative_costs(sizes: list[int]) -> list[float]:
    """Returns the cost of an epoch at each size, relative to an epoch at the last size."""
    return [FIXED_COST + (1 - FIXED_COST) * (size / sizes[-1]) ** 2 for size in sizes]
