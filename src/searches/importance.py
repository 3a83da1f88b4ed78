"""Which hyperparameters mattered, judged by Optuna for either engine, and which ranges may be too narrow."""

import math

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.importance import FanovaImportanceEvaluator

from src.searches.suggestions import distribution_of

FEWEST = 4  # completed trials; below, an importance says nothing
FEWEST_VALUES = 4  # of a grid whose edges are looked at


def measure_importances(trials: pd.DataFrame, space: list) -> pd.DataFrame:
    """Returns the main effect of each hyperparameter on the objective, as a share of all, by fANOVA.

    A forest of regression trees is fitted to the completed trials, and the variance due to each
    hyperparameter alone is taken from it (F. Hutter, H. Hoos, K. Leyton-Brown, "An efficient approach for
    assessing hyperparameter importance", ICML 2014). Pruned trials are left out, because their score is of
    another epoch.

    Args:
        trials: the table of trials.
        space: KerasTuner's entries, as in `search.space`.

    Returns:
        One row per hyperparameter that was tried at two values or more, the most important first: name and
        importance. They sum to 1; one that only some trials had has NaN. There is no row if fewer than 4
        trials were completed, or all with the same score.
    """
    completed, varied = comparable(trials, space)
    shares = _explained(completed, varied) if varied else {}
    table = pd.Series({name: shares.get(name, np.nan) for name in varied if shares}, dtype="float64")
    table = table.sort_values(ascending=False, kind="stable")
    return table.rename_axis("name").reset_index(name="importance")


def importance_spread(trials: pd.DataFrame, space: list, resamples: int = 20, seed: int = 0) -> pd.DataFrame:
    """Returns how far each importance varies with the luck of which trials there are.

    Bootstrap (B. Efron, 1979): as many completed trials are drawn, with replacement, and judged again. A
    hyperparameter with a single value in a resample explains nothing there.

    Args:
        trials: the table of trials; space as in `measure_importances`.
        space: KerasTuner's entries.
        resamples: how many.
        seed: of the draws.

    Returns:
        One row per hyperparameter: name, low and high, the central 90 % of its importances. There is no row
        if `measure_importances` has none.
    """
    completed, varied = comparable(trials, space)
    random, shares = np.random.default_rng(seed), []
    for _ in range(resamples if varied else 0):
        resample = completed.sample(len(completed), replace=True, random_state=random)
        moved = {name: kind for name, kind in varied.items() if len(set(resample[name].dropna())) > 1}
        if len(set(resample["score"])) > 1 and (found := _explained(resample, moved)):
            shares.append({name: found.get(name, 0.0) for name in varied})
    if not shares:
        return pd.DataFrame(columns=["name", "low", "high"])
    ends = pd.DataFrame(shares).quantile([0.05, 0.95]).T
    return ends.set_axis(["low", "high"], axis=1).rename_axis("name").reset_index()


def _explained(trials: pd.DataFrame, varied: dict[str, BaseDistribution]) -> dict[str, float]:
    """Returns the importance of each hyperparameter that all these trials had, none if there is none."""
    everywhere = [name for name in varied if trials[name].notna().all()]
    if not everywhere:
        return {}
    study = as_study(trials, varied)
    forest = FanovaImportanceEvaluator(n_trees=16, max_depth=16, seed=0)
    return optuna.importance.get_param_importances(study, evaluator=forest, params=everywhere)


def comparable(trials: pd.DataFrame, space: list) -> tuple[pd.DataFrame, dict[str, BaseDistribution]]:
    """Returns the completed trials and the distributions of what differed in them, by name.

    None differed, where fewer than 4 trials were completed, or all to the same score.
    """
    completed = trials[(trials["status"] == "completed") & trials["score"].notna()]
    if len(completed) < FEWEST or completed["score"].nunique() < 2:
        return completed, {}
    names = dict.fromkeys(entry.name for entry in space if entry.name in completed)
    kinds = {
        name: _joined([distribution_of(entry) for entry in space if entry.name == name]) for name in names
    }
    varied = {name: kind for name, kind in kinds.items() if kind and len(set(completed[name].dropna())) > 1}
    return completed, varied


def _joined(kinds: list[BaseDistribution | None]) -> BaseDistribution | None:
    """Returns a distribution that holds the values of all: each branch of a space may have its own range."""
    first, *others = kinds
    if not others:
        return first
    if any(kind is None or isinstance(kind, CategoricalDistribution) for kind in kinds):
        return None  # nothing says how the values of one branch compare with those of another
    ends = min(kind.low for kind in kinds), max(kind.high for kind in kinds)
    return FloatDistribution(*ends, log=all(kind.log for kind in kinds))


def describe_importance(importances: pd.DataFrame, spread: pd.DataFrame) -> str:
    """Returns a sentence on the hyperparameter that mattered most, and how sure that is."""
    if importances.empty:
        return "Too few trials were completed, or they were too alike, to say which hyperparameter mattered."
    table = importances.merge(spread, on="name")
    first, others = table.iloc[0], table.iloc[1:]
    rivals = int((others["high"] > first["low"]).sum())
    unsure = f"; {rivals} of the {len(others)} others may matter as much" if rivals else ""
    return (
        f"By fANOVA, {first['name']} has the largest main effect: {first['importance']:.2f} of them all, "
        f"{first['low']:.2f} to {first['high']:.2f} over resamples of the trials{unsure}."
    )


def describe_edges(best: dict, space: list) -> str:
    """Returns a sentence on the best values that lie on the edge of their range, where widening may pay.

    Args:
        best: the best hyperparameters.
        space: KerasTuner's entries, as in `search.space`.
    """
    if all(best.get(entry.name, entry.default) == entry.default for entry in _active(best, space)):
        return "The winner is the space's defaults, so the search says nothing yet about a range too narrow."
    edges = at_the_edge(best, space)
    return f"Worth widening: {'; '.join(edges)}." if edges else "No range looks too narrow."


def _active(values: dict, space: list) -> list:
    """Returns the entries that belong to the branches of the space that these values chose."""
    return [entry for entry in space if all(parent.is_active(values) for parent in entry.conditions)]


def at_the_edge(best: dict, space: list) -> list[str]:
    """Returns a clause for each best value that lies on the edge of its range; as of `describe_edges`."""
    clauses = []
    for entry in _active(best, space):
        if not hasattr(entry, "min_value") or entry.name not in best or entry.min_value == entry.max_value:
            continue
        # The last value that the grid really has: steps can lose the top of a range.
        values = list(entry.values) if entry.step else [entry.min_value, entry.max_value]
        if entry.step and len(values) < FEWEST_VALUES:  # an edge of so few is often the best by chance
            continue
        value, share = best[entry.name], 0.02
        if entry.step:
            near = {"lower": value <= values[0], "upper": value >= values[-1]}
        else:
            scale = math.log if entry.sampling == "log" else float
            place = (scale(value) - scale(values[0])) / (scale(values[-1]) - scale(values[0]))
            near = {"lower": place < share, "upper": place > 1 - share}
        near["lower"] &= values[0] != 0  # nothing is below 0
        for edge in (edge for edge, holds in near.items() if holds):
            clauses.append(
                f"{entry.name} = {value:g} is at the {edge} edge of {values[0]:g} to {values[-1]:g}"
            )
    return clauses


def as_study(trials: pd.DataFrame, distributions: dict[str, BaseDistribution]) -> optuna.Study:
    """Returns a study in memory that holds completed trials of any engine; its direction has no meaning.

    Args:
        trials: rows of the table of trials; a hyperparameter that a trial did not have is missing there.
        distributions: of the hyperparameters, by name.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study()
    for row in trials.to_dict("records"):
        had = {name: kind for name, kind in distributions.items() if pd.notna(row[name])}
        params = {name: as_drawn(row[name], kind) for name, kind in had.items()}
        study.add_trial(optuna.create_trial(value=row["score"], params=params, distributions=had))
    return study


def as_drawn(value, distribution: BaseDistribution):
    """Returns a value of the table as the distribution has it: a missing row makes whole numbers floats."""
    if isinstance(distribution, CategoricalDistribution):
        return next(choice for choice in distribution.choices if choice == value)
    if isinstance(distribution, IntDistribution):
        return int(value)
    return min(float(value), distribution.high)  # KerasTuner's 0.30000000000000004 where Optuna ends at 0.3
