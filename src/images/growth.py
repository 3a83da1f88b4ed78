"""Progressive resizing: the side of the training pictures, epoch by epoch (after J. Howard)."""

# Of an epoch's cost, whatever the pictures' size: the optimizer's steps, the smallest layers. Measured on two
# cores, an epoch of 64 x 64 took 0.58 of the time of one of 96 x 96, and one of 80 x 80 took 0.80 of it.
FIXED_COST = 0.25


def growing_sizes(first: int, last: int, epochs: int, step: int = 16) -> list[int]:
    """Returns the side of the training pictures in each epoch: from `first` to `last`, in pixels.

    They grow in steps over the first two thirds of the epochs: a small picture costs less, and the last
    third sees what the network will be asked about.

    Raises:
        ValueError: `first` is larger than `last`.
    """
    if first > last:
        raise ValueError(f"first_image_size is {first}; give at most image_size, {last}")
    sizes = [*range(first, last, step), last]
    growing = max(1, round(epochs * 2 / 3))
    return [sizes[min(len(sizes) - 1, epoch * len(sizes) // growing)] for epoch in range(epochs)]


def grown_size(image_size: int, crop_range: float) -> int:
    """Returns the side to which training crops of pictures of `image_size` grow: four of five are shrunk.

    A crop that is not shrunk is blurred by its warp. It also shows things larger than the whole picture does:
    trained on smaller pictures than it is asked about, a network sees both more alike, and an epoch costs
    less (H. Touvron et al., "Fixing the train-test resolution discrepancy", 2019). Normalization must be
    settled on the larger ones.
    """
    return image_size - 8 * round(image_size * 0.8 * crop_range / 8)


def spans(sizes: list[int], first: int, epochs: int) -> list[tuple[int, int]]:
    """Returns the first epoch and the end of each run of epochs with one picture size, from `first` on."""
    of_epoch = [sizes[min(epoch, len(sizes) - 1)] for epoch in range(epochs)]
    changes = [epoch for epoch in range(first + 1, epochs) if of_epoch[epoch] != of_epoch[epoch - 1]]
    starts = [first, *changes]
    return list(zip(starts, [*changes, epochs], strict=True))


def relative_costs(sizes: list[int]) -> list[float]:
    """Returns what an epoch of pictures of each size costs, measured in epochs of the last size."""
    return [FIXED_COST + (1 - FIXED_COST) * (size / sizes[-1]) ** 2 for size in sizes]
