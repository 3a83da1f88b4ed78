"""Places the values of a hyperparameter on an axis: numbers, powers of ten, or names side by side."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

UNUSED = -0.12  # height, below all values, of trials that had no such hyperparameter
MOST_TICKS = 8  # a hyperparameter with at most this many values shows each of them


class Placed(NamedTuple):
    """A column of values as positions on an axis."""

    positions: pd.Series  # float, NaN if the trial had no such hyperparameter
    ticks: list[float]
    labels: list[str]
    discrete: bool  # several trials may share a position

    @property
    def gap(self) -> float:
        """Returns the smallest distance between two ticks, 1 if there are fewer than two."""
        return float(min(np.diff(self.ticks), default=1.0))

    def heights(self, positions: pd.Series | list[float]) -> np.ndarray:
        """Returns positions on a vertical axis: 0 the first tick, 1 the last; 0.5 if there is only one."""
        low, high = (self.ticks[0], self.ticks[-1]) if self.ticks else (0.0, 0.0)
        above = np.asarray(positions, dtype=float) - low
        return above / (high - low) if high > low else above + 0.5


def place_values(values: pd.Series, log: bool = False) -> Placed:
    """Returns positions and ticks: numbers at their value or log10, everything else at 0, 1, 2, ..."""
    known = values.dropna().infer_objects()
    if known.empty:
        return Placed(pd.Series(np.nan, values.index), [], [], True)
    if pd.api.types.is_bool_dtype(known) or not pd.api.types.is_numeric_dtype(known):
        names = sorted(known.unique(), key=str)
        positions = known.map({name: float(i) for i, name in enumerate(names)}).astype(float)
        return Placed(positions.reindex(values.index), list(range(len(names))), [str(n) for n in names], True)
    numbers = values.astype(float)
    if log:
        numbers = np.log10(numbers)
        decades = list(range(int(np.floor(numbers.min())), int(np.ceil(numbers.max())) + 1))
        return Placed(numbers, decades, [f"$10^{{{decade}}}$" for decade in decades], False)
    ticks = sorted(numbers.dropna().unique())
    crowded = min(np.diff(ticks), default=1.0) < 0.06 * (ticks[-1] - ticks[0])
    discrete = len(ticks) <= MOST_TICKS and not crowded
    if not discrete:
        ticks = list(MaxNLocator(5).tick_values(ticks[0], ticks[-1]))
    return Placed(numbers, ticks, [f"{tick:.4g}" for tick in ticks], discrete)


def shifts(length: int, width: float) -> np.ndarray:
    """Returns small random shifts (jitter), always the same, so that equal values do not hide each other."""
    return np.random.default_rng(0).uniform(-width, width, length)


def draw_scale(ax: Axes, x: float, heights: np.ndarray, labels: list[str], unused: bool) -> None:
    """Draws one vertical axis at x, with its labels at these heights (0 to 1)."""
    ax.plot([x, x], [0, 1], color="0.3", linewidth=1, zorder=4)
    if unused:
        heights, labels = [*heights, UNUSED], [*labels, "unused"]
    for height, label in zip(heights, labels, strict=True):
        box = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.8}
        ax.plot([x - 0.03, x], [height, height], color="0.3", linewidth=1, zorder=4)
        ax.text(x - 0.05, height, label, ha="right", va="center", fontsize=8.5, bbox=box, zorder=5)


def smooth(heights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns x and y of a smooth curve through the heights at 0, 1, 2, ..., horizontal at each of them."""
    x = np.linspace(0, len(heights) - 1, 24 * (len(heights) - 1) + 1)
    left = np.minimum(x.astype(int), len(heights) - 2)
    share = x - left
    share = share**2 * (3 - 2 * share)
    return x, heights[left] * (1 - share) + heights[left + 1] * share
