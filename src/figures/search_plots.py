"""Figures of a search: tables of its trials and epochs in, matplotlib axes or figures out.

`trials`: one row per trial: trial, one column per hyperparameter, score (NaN if none) and status.
`history`: one row per epoch of a trial: trial, epoch, loss, accuracy, val_loss, val_accuracy.
"""

from collections.abc import Collection

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

from src.figures.scales import UNUSED, draw_scale, place_values, shifts, smooth
from src.plots import BLUE, ORANGE, make_axes
from src.searches.objectives import lower_is_better


def _finished(trials: pd.DataFrame) -> pd.DataFrame:
    """Returns the trials that have a score and were not stopped early: only these can be best."""
    return trials[trials["score"].notna() & (trials["status"] == "completed")]


def _best(trials: pd.DataFrame, objective: str):
    """Returns the row label of the best finished trial, None if no trial has finished."""
    scores = _finished(trials)["score"]
    if scores.empty:
        return None
    return scores.idxmin() if lower_is_better(objective) else scores.idxmax()


def say(ax: Axes, text: str) -> None:
    """Writes a text in the middle of axes that have nothing to show."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color="0.4")


def _count(ids: pd.Series) -> str:
    number = ids.nunique()
    return f"{number} trial{'s' * (number != 1)}"


def plot_objective_by_trial(trials: pd.DataFrame, objective: str, ax: Axes | None = None) -> Axes:
    """Returns every trial's score in trial order, with the best so far as a line.

    Trials stopped early (pruned, interrupted) are hollow; those without a score are crosses at the bottom.
    """
    ax = make_axes(ax, 8, 4.4)
    trials = trials.reset_index(drop=True)
    finished, best = _finished(trials), _best(trials, objective)
    stopped = trials[trials["score"].notna() & (trials["status"] != "completed")]
    missing = trials[trials["score"].isna()]
    if trials["score"].isna().all():
        say(ax, "no trial has finished with a score")
        ax.set_yticks([])
    winner = ": none completed"
    if best is not None:
        winner = f": best {trials['score'][best]:.4f} in trial {trials['trial'][best]}"
        so_far = finished["score"].cummin() if lower_is_better(objective) else finished["score"].cummax()
        so_far = so_far.reindex(trials.index).ffill()
        ax.step(so_far.index, so_far, where="post", color=ORANGE, label="best so far")
        ax.scatter(finished.index, finished["score"], color=BLUE, zorder=3, label="completed")
        ax.scatter(best, trials["score"][best], marker="*", s=230, color=ORANGE, ec="black", zorder=4)
    if len(stopped):
        hollow = {"facecolor": "white", "edgecolor": BLUE, "zorder": 3}
        states = " or ".join(sorted(stopped["status"].unique()))
        ax.scatter(stopped.index, stopped["score"], label=states, **hollow)
    if len(missing):
        lower_edge = {"marker": "x", "color": "black", "transform": ax.get_xaxis_transform()}
        states = " or ".join(sorted(missing["status"].unique()))
        ax.scatter(missing.index, np.full(len(missing), 0.03), label=f"no score: {states}", **lower_edge)
    labels = trials["trial"].astype(str)
    step = -(-labels.str.len().sum() // 40)  # more than 40 characters would overlap
    ax.set_xticks(trials.index[::step], labels[::step])
    ax.set(xlabel="trial", ylabel=objective, title=f"{objective} of {_count(trials['trial'])}{winner}")
    ax.legend(frameon=False, bbox_to_anchor=(1, 1), loc="upper left")
    return ax


def plot_trial_curves(
    history: pd.DataFrame,
    trials: pd.DataFrame,
    metric: str,
    objective: str = "val_accuracy",
    ax: Axes | None = None,
) -> Axes:
    """Returns `metric` by epoch: every trial in grey, the one with the best `objective` in colour."""
    ax = make_axes(ax, 7, 4.4)
    row = _best(trials, objective)
    best = None if row is None else trials["trial"][row]
    executions = [column for column in ("trial", "execution") if column in history]
    shown = set()
    for (trial, *_), epochs in history.groupby(executions, sort=False):
        label = "trials" if best is None else "other trials"
        style = {"color": "0.7", "linewidth": 1}
        if trial == best:
            label = f"best: trial {trial}"
            style = {"color": ORANGE, "linewidth": 2.5, "zorder": 3}
        ax.plot(epochs["epoch"], epochs[metric], marker=".", label=None if label in shown else label, **style)
        shown.add(label)
    if shown:
        ax.legend(frameon=False)
    else:
        say(ax, "no epoch was recorded")
    ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    ax.set(xlabel="epoch", ylabel=metric, title=f"{metric} of {_count(history['trial'])} by epoch")
    return ax


def plot_hyperparameters(
    trials: pd.DataFrame, objective: str, hyperparameters: list[str], log: Collection[str] = ()
) -> Figure:
    """Returns one panel per hyperparameter: its values (on a log axis if in `log`) against the objective."""
    columns = min(4, len(hyperparameters))
    rows = -(-len(hyperparameters) // columns)
    size = (3.1 * columns, 0.5 + 2.5 * rows)
    figure, grid = plt.subplots(rows, columns, figsize=size, sharey=True, squeeze=False, layout="constrained")
    best, scored = _best(trials, objective), trials["score"].notna()
    for panel, name in zip(grid.flat, hyperparameters, strict=False):
        ax, placed = make_axes(panel), place_values(trials[name], name in log)
        x = placed.positions + shifts(len(trials), 0.08 * placed.gap if placed.discrete else 0)
        lower_edge = {"transform": ax.get_xaxis_transform(), "clip_on": False, "zorder": 4}
        fill = np.where(trials["status"][scored] == "completed", BLUE, "white")
        dots = {"c": fill, "edgecolor": BLUE, "s": 28, "alpha": 0.75, "linewidth": 0.8}
        ax.scatter(x[scored], trials["score"][scored], **dots)
        ax.scatter(x[~scored], np.zeros((~scored).sum()), marker="x", s=24, color="black", **lower_edge)
        if best is not None:
            ax.scatter(x[best], trials["score"][best], marker="*", s=190, color=ORANGE, ec="black", zorder=5)
        if placed.ticks:
            ax.set_xticks(placed.ticks, placed.labels)
            ax.set_xlim(placed.ticks[0] - 0.3 * placed.gap, placed.ticks[-1] + 0.3 * placed.gap)
        ax.set_xlabel(name)
    for ax in grid.flat[len(hyperparameters) :]:
        ax.axis("off")
    if not scored.any():
        grid[0, 0].set_yticks([])
    figure.supylabel(objective)
    figure.suptitle(
        f"Each hyperparameter against {objective} (star: best, hollow: stopped early, cross: no score)"
    )
    return figure


def plot_parallel_coordinates(
    trials: pd.DataFrame,
    hyperparameters: list[str],
    objective: str,
    log: Collection[str] = (),
    ax: Axes | None = None,
) -> Axes:
    """Returns one line per trial across one axis per hyperparameter, coloured by the objective at its end.

    Darker is better, the best is thick, dashed means stopped early; without a score, a line is dotted and
    ends before the objective. "unused" marks trials that had no such hyperparameter.
    """
    last = len(hyperparameters)
    if ax is None:
        ax = plt.subplots(figsize=(max(6, 0.95 * last + 2), 4.8), layout="constrained")[1]
    heights = pd.DataFrame(index=trials.index)
    for i, name in enumerate(hyperparameters):
        placed = place_values(trials[name], name in log)
        heights[i] = np.where(placed.positions.isna(), UNUSED, placed.heights(placed.positions))
        heights[i] += shifts(len(trials), 0.012) if placed.discrete else 0
        draw_scale(ax, i, placed.heights(placed.ticks), placed.labels, unused=trials[name].isna().any())
    scores, best = trials["score"], _best(trials, objective)
    low, high = (scores.min(), scores.max()) if scores.notna().any() else (0.0, 1.0)
    low, high = (low - 0.01, low + 0.01) if low == high else (low, high)
    heights[last] = (scores - low) / (high - low)
    # The lightest tenth of the palette is invisible on white.
    shades = plt.get_cmap("viridis")(np.linspace(0, 0.9, 256))
    colours = ListedColormap(shades if lower_is_better(objective) else shades[::-1])
    order = scores.sort_values(ascending=not lower_is_better(objective), na_position="first").index
    for row in order:
        style = {"color": "0.6", "linestyle": ":"}
        if not np.isnan(scores[row]):
            dashes = "-" if trials["status"][row] == "completed" else "--"
            style = {"color": colours(heights[last][row]), "linestyle": dashes}
        style |= {"linewidth": 3.5, "zorder": 3} if row == best else {"linewidth": 1.3, "zorder": 2}
        ax.plot(*smooth(heights.loc[row].to_numpy()), **style)
    bar = ax.inset_axes([last, 0, 0.18, 1], transform=ax.transData)
    ax.figure.colorbar(ScalarMappable(Normalize(low, high), colours), cax=bar)
    ax.set_xticks(
        range(last + 1), [*hyperparameters, objective], rotation=30, ha="right", rotation_mode="anchor"
    )
    ax.set(
        xlim=(-0.25, last + 0.6), ylim=(-0.15 if (heights < -0.1).any(axis=None) else -0.03, 1.03), yticks=[]
    )
    ax.tick_params(axis="x", length=0)
    ax.spines[:].set_visible(False)
    legend = "dark: better, thick: best, dashed: stopped early, dotted: no score"
    ax.set_title(f"{_count(trials['trial'])}: hyperparameters and {objective} ({legend})")
    return ax
