"""Figures of the data before any training: class balance and sizes; tables in, matplotlib axes out."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from src.plots import label, make_axes


def plot_class_balance(balance: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Returns a bar chart of the number of files per category (columns) in each split (rows)."""
    ax = make_axes(ax, 7, 4.2)
    colours = sns.color_palette("colorblind", balance.shape[1])
    balance.plot.bar(ax=ax, rot=0, width=0.75, color=colours)
    for bars in ax.containers:
        ax.bar_label(bars, fmt="{:,.0f}", padding=2, fontsize="small")
    ax.grid(visible=False, axis="x")
    ax.margins(y=0.12)
    ax.set(xlabel="split", ylabel="files", title=f"Class balance of {balance.to_numpy().sum():,} files")
    names = [label(name) for name in balance.columns]
    ax.legend(ax.containers, names, title="category", frameon=False, bbox_to_anchor=(1, 1), loc="upper left")
    return ax


def plot_picture_sizes(features: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Returns a scatter plot of every picture's height against its width, coloured by height / width.

    The few that are far larger than all others lie outside the axes and are counted in the title.
    """
    ax = make_axes(ax, 7, 5)
    sizes = features.dropna(subset=["height", "width", "aspect_ratio"])
    longer = sizes[["height", "width"]].max(axis=1).astype(float)
    longest = min(longer.max(), 3 * longer.quantile(0.95, "lower")) * 1.05 if len(sizes) else 1
    outside = (longer > longest).sum()
    points = ax.scatter(
        sizes["width"], sizes["height"], c=np.log2(sizes["aspect_ratio"].astype(float)), s=14, alpha=0.7,
        cmap="cividis", vmin=-2, vmax=2,
    )  # fmt: skip
    for ratio in (0.5, 1, 2):
        ax.axline((0, 0), slope=ratio, color="0.6", linewidth=0.8, linestyle="--", zorder=1)
    ax.set(xlim=(0, longest), ylim=(0, longest), xlabel="width (pixels)", ylabel="height (pixels)")
    beyond = f"; {outside} larger, not shown" if outside else ""
    ax.set(
        title=f"Sizes of {len(sizes):,} pictures{beyond}\n(dashed: aspect ratios 0.5, 1 and 2)",
        aspect="equal",
    )
    bar = ax.figure.colorbar(points, ax=ax, label="aspect ratio: height / width", extend="both")
    bar.set_ticks(range(-2, 3), labels=["0.25", "0.5", "1", "2", "4"])
    bar.solids.set_alpha(1)
    return ax
