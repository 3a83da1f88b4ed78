"""Figures of predictions on unlabelled pictures: tables in, matplotlib axes out."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from src.plots import BLUE, GREY, label, make_axes


def plot_probabilities(probability: pd.Series, class_names: list[str], ax: Axes | None = None) -> Axes:
    """Returns a histogram of the probabilities of class_names[1], with the counts on either side of 0.5.

    Args:
        probability: of the class of code 1, one value per picture.
        class_names: of code 0, of code 1.
        ax: axes to draw on.
    """
    ax = make_axes(ax, 7, 4.2)
    class_names = [label(name) for name in class_names]
    ax.hist(probability, bins=np.linspace(0, 1, 41), color=BLUE, edgecolor="white")
    ax.axvline(0.5, color=GREY, linestyle="--")
    above = int((probability > 0.5).sum())
    for name, number, across, side in (
        (class_names[0], len(probability) - above, 0.48, "right"),
        (class_names[1], above, 0.52, "left"),
    ):
        ax.text(across, 0.95, f"{name}: {number:,}", transform=ax.get_xaxis_transform(), ha=side, va="top")
    ax.grid(visible=False, axis="x")
    ax.yaxis.get_major_locator().set_params(integer=True)
    ax.set(xlabel=f"probability of {class_names[1]}", ylabel="pictures", xlim=(-0.01, 1.01))
    ax.set_title(f"What the network says of {len(probability):,} unlabelled pictures")
    return ax
