"""Which hyperparameters mattered, judged by Optuna for either engine, and which ranges may be too narrow."""

import math
import warnings

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator

from src.searches.objectives import lower_is_better
from src.searches.suggestions import distribution_of

FEWEST = 4  # completed trials; below, an importance says nothing


def measure_importances(trials: pd.DataFrame, space: list, objective: str) -> pd.DataFrame:
    """Returns each hyperparameter's share in the differences of the objective, by two evaluators.

    PED-ANOVA asks what the best trials have in common (Watanabe et al., 2023), fANOVA what a forest of
    regression trees makes of all of them (Hutter et al., 2014); fANOVA leaves out what only some trials
    had. Both look at completed trials alone, as a pruned one's score is of another epoch.

    Args:
        trials: the table of trials.
        space: KerasTuner's entries, as in `search.space`.
        objective: name of the score.

    Returns:
        One row a hyperparameter that was tried at two values or more, the most important first: name,
        `PED-ANOVA`, `fANOVA`; each sums to 1. No row where fewer than 4 trials were completed, or all
        to the same score.
    """
    columns = ["name", "PED-ANOVA", "fANOVA"]
    completed, varied = comparable(trials, space)
    if not varied:
        return pd.DataFrame(columns=columns)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is still called experimental
        study = as_study(completed, varied, objective)
        everywhere = [name for name in varied if completed[name].notna().all()]
        by_rank = optuna.importance.get_param_importances(
            study, evaluator=PedAnovaImportanceEvaluator(), params=list(varied)
        )
        by_forest = optuna.importance.get_param_importances(
            study, evaluator=FanovaImportanceEvaluator(seed=0), params=everywhere
        )
    table = pd.DataFrame({"PED-ANOVA": by_rank, "fANOVA": by_forest}).rename_axis("name")
    order = table.mean(axis=1).sort_values(ascending=False, kind="stable").index
    return table.loc[order].reset_index()[columns]


def importance_spread(
    trials: pd.DataFrame, space: list, objective: str, resamples: int = 20, seed: int = 0
) -> pd.DataFrame:
    """Returns how far each share by PED-ANOVA moves with the luck of which trials there are.

    Bootstrap (B. Efron, 1979): as many completed trials are drawn, with replacement, and judged again; a
    hyperparameter that has one value in a resample explains nothing there. PED-ANOVA alone, as fANOVA
    grows a forest for each resample.

    Args:
        trials: the table of trials; space and objective as of `measure_importances`.
        space: KerasTuner's entries.
        objective: name of the score.
        resamples: how many.
        seed: of the draws.

    Returns:
        One row a hyperparameter: name, and low and high, between which the central 90 % of the shares
        lie. No row where `measure_importances` has none.
    """
    completed, varied = comparable(trials, space)
    random, shares = np.random.default_rng(seed), []
    for _ in range(resamples if varied else 0):
        resample = completed.sample(len(completed), replace=True, random_state=random)
        moved = {name: kind for name, kind in varied.items() if len(set(resample[name].dropna())) > 1}
        if resample["score"].nunique() < 2 or not moved:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study = as_study(resample, moved, objective)
            found = optuna.importance.get_param_importances(
                study, evaluator=PedAnovaImportanceEvaluator(), params=list(moved)
            )
        shares.append({name: found.get(name, 0.0) for name in varied})
    if not shares:
        return pd.DataFrame(columns=["name", "low", "high"])
    ends = pd.DataFrame(shares).quantile([0.05, 0.95]).T
    return ends.set_axis(["low", "high"], axis=1).rename_axis("name").reset_index()


def comparable(trials: pd.DataFrame, space: list) -> tuple[pd.DataFrame, dict[str, BaseDistribution]]:
    """Returns the completed trials and the distributions of what differed in them, by name.

    None differed, where fewer than 4 trials were completed, or all to the same score.
    """
    completed = trials[(trials["status"] == "completed") & trials["score"].notna()]
    if len(completed) < FEWEST or completed["score"].nunique() < 2:
        return completed, {}
    entries = {entry.name: distribution_of(entry) for entry in space if entry.name in completed}
    varied = {name: kind for name, kind in entries.items() if kind and len(set(completed[name].dropna())) > 1}
    return completed, varied


def describe_importance(importances: pd.DataFrame, spread: pd.DataFrame) -> str:
    """Returns a sentence on the hyperparameter that mattered most by PED-ANOVA, and how sure that is."""
    if importances.empty:
        return "Too little differed between the completed trials to say which hyperparameter mattered."
    table = importances.merge(spread, on="name").sort_values("PED-ANOVA", ascending=False, kind="stable")
    first, others = table.iloc[0], table.iloc[1:]
    rivals = int((others["high"] > first["low"]).sum())
    unsure = f"; {rivals} of the {len(others)} others may matter as much" if rivals else ""
    return (
        f"By PED-ANOVA, {first['name']} mattered most: a share of {first['PED-ANOVA']:.2f}, "
        f"{first['low']:.2f} to {first['high']:.2f} over resamples of the trials{unsure}."
    )


def describe_edges(best: dict, space: list) -> str:
    """Returns a sentence on the best values that lie on the edge of their range, where widening may pay.

    Args:
        best: the best hyperparameters.
        space: KerasTuner's entries, as in `search.space`.
    """
    if all(best.get(entry.name, entry.default) == entry.default for entry in space):
        return "The winner is the space's defaults, so the search says nothing yet about a range too narrow."
    edges = at_the_edge(best, space)
    return f"Worth widening: {'; '.join(edges)}." if edges else "No best value lies on the edge of its range."


def at_the_edge(best: dict, space: list) -> list[str]:
    """Returns a clause for each best value that lies on the edge of its range; as of `describe_edges`."""
    clauses = []
    for entry in space:
        if not hasattr(entry, "min_value") or entry.name not in best or entry.min_value == entry.max_value:
            continue
        # The last value that the grid really has: steps can lose the top of a range.
        values = list(entry.values) if entry.step else [entry.min_value, entry.max_value]
        if len(values) < 2:
            continue
        value, share = best[entry.name], 0.02
        if entry.step:
            near = {"lower": value <= values[0], "upper": value >= values[-1]}
        else:
            scale = math.log if entry.sampling == "log" else float
            place = (scale(value) - scale(values[0])) / (scale(values[-1]) - scale(values[0]))
            near = {"lower": place < share, "upper": place > 1 - share}
        for edge in (edge for edge, holds in near.items() if holds):
            clauses.append(
                f"{entry.name} = {value:g} is at the {edge} edge of {values[0]:g} to {values[-1]:g}"
            )
    return clauses


def as_study(
    trials: pd.DataFrame, distributions: dict[str, BaseDistribution], objective: str
) -> optuna.Study:
    """Returns a study in memory that holds completed trials of any engine.

    Args:
        trials: rows of the table of trials; a hyperparameter that a trial did not have is missing there.
        distributions: of the hyperparameters, by name.
        objective: name of the score.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="minimize" if lower_is_better(objective) else "maximize")
    for row in trials.to_dict("records"):
        had = {name: kind for name, kind in distributions.items() if pd.notna(row[name])}
        params = {name: as_drawn(row[name], kind) for name, kind in had.items()}
        study.add_trial(optuna.create_trial(value=row["score"], params=params, distributions=had))
    return study


def as_drawn(value, distribution: BaseDistribution):
    """Returns a value of the table as the distribution has it: a missing row makes whole numbers floats."""
    if isinstance(distribution, CategoricalDistribution):
        return next(choice for choice in distribution.choices if choice == value)
    return int(value) if isinstance(distribution, IntDistribution) else float(value)
