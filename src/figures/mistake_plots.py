"""Figures of mistakes: where a network looked, what the pictures are like, what a threshold costs."""

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from src.evaluation import THRESHOLD, confusion, decide
from src.plots import BLUE, GREY, ORANGE, label, make_axes, plot_confusion_matrix, title


def plot_class_maps(
    pictures: list[np.ndarray], maps: np.ndarray, titles: list[str], columns: int = 6
) -> Figure:
    """Returns a grid of pictures, each above a copy overlaid with its class map: brighter areas counted more.

    Args:
        pictures: RGB, uint8, shape (height, width, 3).
        maps: from `explain.class_maps`, shape (n, height, width).
        titles: one per picture.
        columns: pictures per row.
    """
    columns = max(1, min(columns, len(pictures)))
    rows = max(1, -(-len(pictures) // columns))
    size = (max(4, 2.1 * columns), 4.7 * rows)
    figure, grid = plt.subplots(2 * rows, columns, figsize=size, squeeze=False, layout="constrained")
    for ax in grid.flat:
        ax.axis("off")
    if not pictures:
        grid[0, 0].text(0.5, 0.5, "no pictures to show", ha="center", va="center")
        return figure
    for number, (picture, heat, text) in enumerate(zip(pictures, maps, titles, strict=True)):
        row, column = divmod(number, columns)
        plain, covered = grid[2 * row : 2 * row + 2, column]
        plain.imshow(picture)
        plain.set_title(title(text), fontsize=9)
        covered.imshow(picture)
        drawn = covered.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=0.6)
    bar = figure.colorbar(drawn, ax=grid, location="right", shrink=0.5, aspect=30)
    bar.set_label("speaks for the predicted class")
    bar.set_ticks([0, 1], labels=["not", "most"])
    bar.solids.set_alpha(1)
    return figure


def plot_slices(slices: pd.DataFrame, accuracy: float, labels: dict[str, str]) -> Figure:
    """Returns one panel per measure: the accuracy of each bin with its interval, against the bin's values.

    Args:
        slices: from `slices.accuracy_by_slice`.
        accuracy: over all pictures, drawn as a dashed line.
        labels: x-axis labels by measure, in the order of the panels.
    """
    figure, panels = plt.subplots(2, 2, figsize=(11, 7.2), sharey=True, layout="constrained")
    for ax, (measure, what) in zip(panels.flat, labels.items(), strict=True):
        make_axes(ax)
        rows = slices[slices["measure"] == measure].reset_index(drop=True)
        below = rows["clearly_below"]
        ax.axhline(accuracy, color=GREY, linestyle="--", linewidth=1.2)
        for chosen, colour in ((~below, BLUE), (below, ORANGE)):
            part = rows[chosen]
            spread = [part["accuracy"] - part["low"], part["high"] - part["accuracy"]]
            ax.errorbar(part.index, part["accuracy"], spread, color=colour, marker="o", capsize=3, ls="none")
        names = [f"{_range(row.smallest, row.largest)}\nn = {row.n:,}" for row in rows.itertuples()]
        ax.set_xticks(rows.index, names, fontsize=9)
        ax.set_xlim(-0.5, max(len(rows), 1) - 0.5)
        ax.grid(visible=False, axis="x")
        ax.set_xlabel(what)
    for ax in panels[:, 0]:
        ax.set_ylabel("accuracy")
    figure.suptitle(
        f"Accuracy by what pictures are like (dashed: all, {accuracy:.2%}; orange: clearly below)"
    )
    return figure


def plot_thresholds(matrices: dict[float, pd.DataFrame]) -> Figure:
    """Returns confusion matrices side by side, one per threshold."""
    figure, panels = plt.subplots(
        1, len(matrices), figsize=(3.6 * len(matrices), 4), squeeze=False, layout="constrained"
    )
    for ax, (threshold, matrix) in zip(panels.flat, matrices.items(), strict=True):
        plot_confusion_matrix(matrix, ax=ax)
        ax.tick_params(labelleft=ax is panels[0, 0])
        right = np.trace(matrix.to_numpy()) / max(1, matrix.to_numpy().sum())
        ax.set_title(f"threshold {threshold:g}\n{right:.2%} right")
        ax.set_ylabel("true label" if ax is panels[0, 0] else "")
        ax.set_xlabel("predicted label")
    return figure


def plot_costs(costs: pd.DataFrame, chosen: float, positive: str = "class 1", ax: Axes | None = None) -> Axes:
    """Returns the mean cost per picture at every threshold, with the chosen one and 0.5 marked.

    Args:
        costs: from `operating_point.cost_table`, on validation pictures.
        chosen: the chosen threshold.
        positive: name of the class of code 1.
        ax: axes to draw on.
    """
    ax = make_axes(ax, 7, 4.2)
    begins, cost = [*costs["holds_from"], 1.0], [*costs["mean_cost"], costs["mean_cost"].iloc[-1]]
    ax.step(begins, cost, where="post", color=BLUE, label="validation pictures")
    ax.axvline(0.5, color=GREY, linestyle="--", label="usual: 0.5")
    ax.axvline(chosen, color=ORANGE, label=f"chosen: {chosen:.4g}")
    ax.set(
        xlabel=f"threshold: above it a picture is called {label(positive, 40)}",
        ylabel="mean cost of a picture",
    )
    ax.set(title="What mistakes cost, by threshold", xlim=(-0.01, 1.01), ylim=(0, None))
    ax.legend(frameon=False, bbox_to_anchor=(1, 1), loc="upper left")
    return ax


def threshold_slider(predictions: pd.DataFrame, class_names: list[str]) -> ipywidgets.interactive:
    """Returns an interactive slider with the confusion matrix at its threshold below it."""

    def show(threshold: float) -> None:
        plot_confusion_matrix(confusion(decide(predictions, threshold), class_names))
        plt.show()

    slider = ipywidgets.FloatSlider(THRESHOLD, min=0, max=1, step=0.01, continuous_update=False)
    return ipywidgets.interactive(show, threshold=slider)


def _range(smallest: float, largest: float) -> str:
    ends = [_short(smallest), _short(largest)]
    return ends[0] if ends[0] == ends[1] else f"{ends[0]}\nto {ends[1]}"


def _short(value: float) -> str:
    if value >= 100_000:
        return EngFormatter(places=0, sep="")(value)
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
