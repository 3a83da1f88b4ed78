"""Which hyperparameters mattered, for either engine's search: the table of trials, judged by Optuna."""

import warnings

import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator

from src.suggestions import distribution_of
from src.trials import lower_is_better

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
    completed = trials[(trials["status"] == "completed") & trials["score"].notna()]
    entries = {entry.name: distribution_of(entry) for entry in space if entry.name in completed}
    varied = {name: kind for name, kind in entries.items() if kind and len(set(completed[name].dropna())) > 1}
    if len(completed) < FEWEST or completed["score"].nunique() < 2 or not varied:
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
