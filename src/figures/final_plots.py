"""Figures of the finalists and of all results: tables in, matplotlib axes out."""

import pandas as pd
from matplotlib.axes import Axes

from src.plots import BLUE, GREY, ORANGE, make_axes


def plot_finalists(
    trainings: pd.DataFrame, finalists: pd.DataFrame, objective: str, ax: Axes | None = None
) -> Axes:
    """Returns each finalist's score in the search beside its retrainings and their mean, winner first.

    Args:
        trainings: from `finalists.train_finalists`: trial, val_accuracy.
        finalists: from `averaging.finalists_table`: trial, first_score, val_accuracy_mean, winner first.
        objective: the search's; its scores are drawn only if they are validation accuracies, too.
        ax: axes to draw on.
    """
    ax = make_axes(ax, 2.4 + 1.5 * len(finalists), 4.4)
    places = {trial: place for place, trial in enumerate(finalists["trial"])}
    if objective == "val_accuracy":
        diamonds = {"marker": "D", "s": 55, "color": GREY, "label": "in the search"}
        ax.scatter(places.values(), finalists["first_score"], **diamonds)
    dots = {"color": BLUE, "alpha": 0.8, "label": "trained again"}
    ax.scatter(trainings["trial"].map(places) + 0.12, trainings["val_accuracy"], **dots)
    means = finalists["val_accuracy_mean"]
    across = [place + 0.12 for place in places.values()]
    ax.hlines(means, [x - 0.1 for x in across], [x + 0.1 for x in across], color=ORANGE, lw=2.5, label="mean")
    ax.set_xticks(range(len(places)), [f"trial {trial}" for trial in places])
    ax.set_xlim(-0.5, len(places) - 0.5)
    ax.margins(y=0.15)
    ax.grid(visible=False, axis="x")
    winner = finalists["trial"].iloc[0]
    by = "" if objective == "val_accuracy" else f" by {objective}"
    ax.set(ylabel="validation accuracy", title=f"Finalists trained again: trial {winner} won{by}")
    ax.legend(frameon=False, bbox_to_anchor=(1, 1), loc="upper left")
    return ax


def plot_results(results: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Returns each result's test accuracy with its 95 % interval, one row per result, the first at the top.

    Args:
        results: from `comparison.collect_results`.
        ax: axes to draw on.
    """
    ax = make_axes(ax, 7.5, 1.4 + 0.55 * len(results))
    places = range(len(results))
    accuracy = results["accuracy"]
    spread = [accuracy - results["low"], results["high"] - accuracy]
    ax.errorbar(accuracy, places, xerr=spread, fmt="o", color=BLUE, ecolor=GREY, elinewidth=2, capsize=4)
    for place, value in zip(places, accuracy, strict=True):
        ax.annotate(
            f"{value:.2%}", (value, place), (0, 7), textcoords="offset points", ha="center", fontsize=9
        )
    ax.set_yticks(places, (results["result"] + "\n" + results["run"]).str.replace("$", r"\$"))
    ax.set_ylim(len(results) - 0.5, -0.6)
    ax.grid(visible=False, axis="y")
    ax.set(xlabel="test accuracy, 95 % interval", title="All results so far")
    return ax
