"""Figures of a search as a whole: what mattered, and where the time went."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from src.figures.search_plots import say
from src.plots import BLUE, GREEN, GREY, ORANGE, make_axes

COLOURS = {"completed": BLUE, "pruned": ORANGE, "failed": "black", "interrupted": GREEN, "running": GREY}


def plot_importances(
    importances: pd.DataFrame, objective: str, spread: pd.DataFrame | None = None, ax: Axes | None = None
) -> Axes:
    """Returns one bar per hyperparameter: its main effect on the objective, as a share of all.

    Args:
        importances: from `importance.measure_importances`.
        objective: name of the score.
        spread: from `importance.importance_spread`, drawn as whiskers.
        ax: axes to draw on.
    """
    ax = make_axes(ax, 7, max(2.4, 0.9 + 0.4 * len(importances)))
    ax.set(
        xlabel="main effect on the score, as a share of all main effects (0 to 1)", ylabel="hyperparameter"
    )
    ax.set_title(f"Importance for {objective}, by fANOVA")
    if importances.empty:
        say(ax, "no importance: it needs 4 completed trials\nwith different scores and different values")
        ax.set_yticks([])
        return ax
    rows, shares = np.arange(len(importances)), importances["importance"].astype(float)
    ax.barh(rows, shares.fillna(0), height=0.6, color=BLUE, label="importance")
    words = ["only some trials had it" if np.isnan(share) else f"{share:.2f}" for share in shares]
    places = shares.fillna(0)
    if spread is not None:
        ends = spread.set_index("name").loc[importances["name"]]
        whiskers = {"color": "black", "linewidth": 1.4, "label": "central 90 % over resamples of the trials"}
        ax.hlines(rows, ends["low"], ends["high"], **whiskers)
        places = np.maximum(places, ends["high"].to_numpy())
        ax.legend(frameon=False, loc="lower right")
    for row, place, word in zip(rows, places, words, strict=True):
        beside = {"textcoords": "offset points", "xytext": (4, 0), "va": "center", "fontsize": 9}
        ax.annotate(word, (place, row), **beside)
    ax.set_yticks(rows, importances["name"])
    ax.invert_yaxis()
    ax.grid(visible=False, axis="y")
    ax.margins(x=0.12)
    return ax


def plot_timeline(trials: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Returns one bar per trial from its start to its end, coloured by status; pauses are left out.

    Bars that overlap in time are trials of parallel processes.
    """
    ax = make_axes(ax, 8, min(8, max(2.6, 1.2 + 0.2 * len(trials))))
    ax.set(xlabel="minutes of search, without pauses", ylabel="trial", title="no trial has ended")
    timed = trials[trials["seconds"].notna()] if len(trials) else trials
    if timed.empty:
        return ax
    starts, minutes = active_minutes(timed), timed["seconds"] / 60
    for status, colour in COLOURS.items():
        rows = timed.index[timed["status"] == status]
        if len(rows):
            label = f"{status}: {minutes[rows].sum():.1f} min"
            bar = {"height": 0.8, "color": colour, "label": label}
            ax.barh(timed["trial"][rows], minutes[rows], left=starts[rows], **bar)
    ax.set_ylim(timed["trial"].max() + 0.7, timed["trial"].min() - 0.7)
    ax.yaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    untimed = len(trials) - len(timed)
    missing = f"; {untimed} that {'has' if untimed == 1 else 'have'} not ended not shown" * bool(untimed)
    ax.set_title(
        f"{len(timed)} trial{'s' * (len(timed) != 1)} in {(starts + minutes).max():.1f} minutes{missing}"
    )
    ax.legend(frameon=False, bbox_to_anchor=(1, 1), loc="upper left")
    return ax


def active_minutes(trials: pd.DataFrame) -> pd.Series:
    """Returns each trial's start in minutes since the first one's, excluding time in which no trial ran."""
    starts = pd.to_datetime(trials["started"], utc=True, format="ISO8601")
    starts = (starts - starts.min()).dt.total_seconds() / 60
    placed, end, pauses = {}, 0.0, 0.0
    for row in starts.sort_values(kind="stable").index:
        pauses += max(0.0, starts[row] - end)
        end = max(end, starts[row] + trials["seconds"][row] / 60)
        placed[row] = starts[row] - pauses
    return pd.Series(placed)[trials.index]
