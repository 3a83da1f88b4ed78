"""Figures of training and evaluation, and what all figures share: tables in, matplotlib axes out."""

import os
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mpl_toolkits.axes_grid1 import make_axes_locatable

# Okabe and Ito's palette: distinguishable with every common kind of colour blindness.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#9A9A9A"
LONGEST_LINE = 25  # characters above a picture in a grid
# For letters that matplotlib's own font lacks: class names come from the user.
FALLBACK_FONTS = ["Noto Sans CJK JP", "Noto Sans CJK SC", "Arial Unicode MS", "Microsoft YaHei"]
plt.rcParams["font.family"] = ["DejaVu Sans", *sorted({*FALLBACK_FONTS} & {*font_manager.get_font_names()})]
FONTS = [font_manager.get_font(font_manager.findfont(name)) for name in plt.rcParams["font.family"]]
LETTERS = {ord("\n")}.union(*(font.get_charmap() for font in FONTS))


def make_axes(ax: Axes | None, width: float = 6.4, height: float = 4.8) -> Axes:
    """Returns `ax`, or new axes (size in inches), with a light grid and without top and right spines."""
    ax = plt.subplots(figsize=(width, height), layout="constrained")[1] if ax is None else ax
    ax.grid(color="0.92")
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def save_figure(drawn: Axes | Figure, path: Path) -> None:
    """Writes the figure that `drawn` is, or belongs to, to `path` atomically; creates its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        drawn.figure.savefig(partial, dpi=150, bbox_inches="tight")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def label(name: object, width: int = 24) -> str:
    """Returns a class name for an axis or a legend, wrapped at `width` characters, with `$` escaped.

    Lines break after a space, a hyphen or an underscore; a word longer than a line is shortened.
    """
    lines = [""]
    for word in re.findall(r"[^\s_-]+[\s_-]*|[\s_-]+", _spelled(str(name))):
        if lines[-1] and len(lines[-1] + word.rstrip()) > width:
            lines.append("")
        lines[-1] += word
    return "\n".join(shorten(line.rstrip(), width) for line in lines).replace("$", r"\$")


def title(text: str) -> str:
    """Returns a picture's title, each line shortened in the middle so that it fits above the picture."""
    return "\n".join(shorten(line, LONGEST_LINE) for line in _spelled(text).split("\n")).replace("$", r"\$")


def _spelled(text: str) -> str:
    """Returns a text with letters that no font has as Unicode numbers, or else two names could look alike."""
    return "".join(letter if ord(letter) in LETTERS else f"U+{ord(letter):04X}" for letter in text)


def shorten(text: str, width: int) -> str:
    """Returns a text of at most `width` characters; its end, where file names mostly differ, is favoured."""
    end = 2 * (width - 1) // 3
    return text if len(text) <= width else f"{text[: width - 1 - end]}…{text[-end:]}"


def plot_confusion_matrix(matrix: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Returns a heatmap of counts and row percentages: true labels on y, predictions on x."""
    ax = make_axes(ax, 5, 4.8)
    labels = [label(name, 13) for name in matrix.index]  # as many characters as fit below a cell
    labels = labels if len({*labels}) > 1 else [f"{code}: {text}" for code, text in enumerate(labels)]
    matrix = matrix.set_axis(labels, axis=0).set_axis(labels, axis=1)
    shares = matrix.div(matrix.sum(axis=1).clip(lower=1), axis=0)
    text = matrix.map("{:,}".format) + "\n" + shares.map("{:.1%}".format)
    style = {"cmap": "Blues", "vmin": 0, "vmax": 1, "square": True, "linewidths": 2, "cbar": False}
    sns.heatmap(shares, annot=text, fmt="", annot_kws={"size": 15}, ax=ax, **style)
    n, correct = matrix.to_numpy().sum(), np.trace(matrix.to_numpy())
    said = f"Confusion matrix\n{correct / max(n, 1):.2%} of {n:,} pictures right"
    ax.set(xlabel="predicted label", ylabel="true label", title=said)
    ax.tick_params(labelsize=12, length=0, rotation=0)
    return ax


def plot_pictures(pictures: list[np.ndarray], titles: list[str], columns: int = 6) -> Figure:
    """Returns a grid of RGB pictures (height, width, 3), each under its title."""
    columns = max(1, min(columns, len(pictures)))
    rows = max(1, -(-len(pictures) // columns))
    size = (max(4, 2.1 * columns), 2.5 * rows)
    figure, grid = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for ax in grid.flat:
        ax.axis("off")
    for ax, picture, text in zip(grid.flat, pictures, titles, strict=False):
        ax.imshow(picture)
        ax.set_title(title(text), fontsize=9)
    if not pictures:
        grid[0, 0].text(0.5, 0.5, "no pictures to show", ha="center", va="center")
    return figure


def plot_learning_curves(history: pd.DataFrame, monitor: str = "val_loss") -> Figure:
    """Returns training and validation loss and accuracy by epoch, with the best epoch by `monitor` marked.

    If the history contains the learning rate, it gets a third panel.
    """
    epochs = history.set_index("epoch")
    rated = "learning_rate" in history
    figure, panels = plt.subplots(1, 2 + rated, figsize=(11 + 4 * rated, 4.2), layout="constrained")
    watched = epochs[monitor].dropna()
    best = None if watched.empty else watched.idxmin() if monitor.endswith("loss") else watched.idxmax()

    def draw(ax: Axes, name: str, color: str, what: str | None = None):
        curve = epochs[name].dropna()  # not every epoch is validated
        ax.plot(curve.index, curve, color=color, marker="o" if len(curve) < 40 else None, ms=3.5, label=what)

    for ax in panels:
        make_axes(ax).set_xlabel("epoch")
        ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    if rated:
        draw(panels[2], "learning_rate", BLUE)
        panels[2].set_ylim(0, 1.05 * epochs["learning_rate"].max() or None)
        panels[2].set(ylabel="learning rate at the epoch's end", title="Learning rate by epoch")
    for ax, metric in zip(panels[:2], ("loss", "accuracy"), strict=True):
        draw(ax, metric, BLUE, "training")
        draw(ax, f"val_{metric}", ORANGE, "validation")
        if best is not None:
            value = epochs[f"val_{metric}"][best]
            ax.axvline(best, color="0.5", linestyle="--", linewidth=1)
            star = {"color": ORANGE, "ms": 15, "mec": "black", "label": f"best epoch: {best}, {value:.4g}"}
            ax.plot(best, value, "*", **star)
        ax.set(ylabel=metric, title=f"{metric.capitalize()} by epoch")
        ax.legend(frameon=False)
    figure.suptitle("Learning curves" + f": best {monitor} after epoch {best}" * (best is not None))
    return figure


def plot_roc(table: pd.DataFrame, area: float, class_names: list[str], ax: Axes | None = None) -> Axes:
    """Returns the ROC curve, with its area in the title; the diagonal is chance."""
    ax, (other, positive) = make_axes(ax, 5.2, 5), [label(name, 20) for name in class_names]
    ax.plot(table["false_positive_rate"], table["true_positive_rate"], color=BLUE, linewidth=2, label="model")
    ax.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="chance")
    ax.set(xlabel=f"false positive rate: {other} taken for {positive}")
    ax.set(ylabel=f"true positive rate: {positive} found", title=f"ROC curve: area {area:.3f}")
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    ax.legend(frameon=False, loc="lower right")
    return ax


def plot_precision_recall(table: pd.DataFrame, positive: str = "class 1", ax: Axes | None = None) -> Axes:
    """Returns precision against recall for the class named `positive` (code 1); chance is its share."""
    ax, positive = make_axes(ax, 5.2, 5), label(positive, 20)
    ax.plot(table["recall"], table["precision"], color=BLUE, linewidth=2, label="model")
    share = table["precision"].iloc[0]  # its first row calls every picture positive
    ax.axhline(share, color=GREY, linestyle="--", label=f"chance: {share:.1%} are {positive}")
    ax.set(xlabel=f"recall: share of all {positive} pictures found", xlim=(-0.01, 1.01), ylim=(0, 1.02))
    ax.set(ylabel=f"precision: share right of those called {positive}")
    ax.set_title(f"Precision and recall of {positive}")
    ax.legend(frameon=False)  # placed where it covers least: a rare class's lines are at the bottom
    return ax


def plot_calibration(
    table: pd.DataFrame, errors: tuple[float, float], positive: str = "class 1", ax: Axes | None = None
) -> Axes:
    """Returns the observed share of `positive` against its predicted probability, above a histogram."""
    ax, positive = make_axes(ax, 5.6, 6), label(positive, 40)
    filled = table[table["count"] > 0]
    spread = [filled["observed"] - filled["low"], filled["high"] - filled["observed"]]
    bars = {"color": BLUE, "marker": "o", "capsize": 3, "label": "model, 95 % interval"}
    ax.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="perfectly calibrated")
    ax.errorbar(filled["mean_probability"], filled["observed"], spread, **bars)
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), ylabel=f"share of pictures that are {positive}")
    ax.set_title("Calibration: expected error {:.3f},\nby chance alone {:.3f}".format(*errors))
    ax.legend(frameon=False)
    below = make_axes(make_axes_locatable(ax).append_axes("bottom", size="28%", pad=0.12, sharex=ax))
    widths = table["bin_high"] - table["bin_low"]
    below.bar(table["bin_low"], table["count"], widths, align="edge", color=BLUE, edgecolor="white")
    below.set(xlabel=f"predicted probability of {positive}", ylabel="pictures")
    ax.tick_params(labelbottom=False)
    return ax


def plot_speed(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Returns bars of `pictures_per_second` by `method`, labelled with the `ratio` to the first method."""
    ax = make_axes(ax, 8, 1.2 + 0.55 * len(table))
    bars = ax.barh(table["method"], table["pictures_per_second"], color=[GREY, *[BLUE] * (len(table) - 1)])
    rows = zip(table["pictures_per_second"], table["ratio"], strict=True)
    ax.bar_label(bars, [f"{speed:,.0f}  ({ratio:.1f} ×)" for speed, ratio in rows], padding=4)
    ax.invert_yaxis()
    ax.margins(x=0.2)
    ax.grid(visible=False, axis="y")
    ax.set(xlabel="pictures per second", title="Speed (×: times the first method)")
    return ax
