"""Which of the finalists wins, whose networks are averaged, and what that gains: tables in, tables out."""

import math
from pathlib import Path

import pandas as pd

from src.evaluation import decide
from src.results.calibration import calibrate, log_loss
from src.searches.objectives import lower_is_better

AVERAGES = ("none", "seeds", "finalists")


def finalists_table(trainings: pd.DataFrame, objective: str = "val_accuracy") -> pd.DataFrame:
    """Returns one row a finalist, best first: first_score, mean and spread of its new accuracy.

    The best has the best mean of the objective; where that is a loss its mean is a column, too. `difference`
    is the new mean less the search's score, where that was an accuracy as well: below 0 it had flattered.

    Args:
        trainings: of `train_finalists`, in their order where means are equal.
        objective: the search's.
    """
    scores = trainings.groupby("trial", sort=False)["val_accuracy"].agg(["mean", "min", "max", "count"])
    table = scores.add_prefix("val_accuracy_").rename(columns={"val_accuracy_count": "seeds"})
    table.insert(0, "first_score", trainings.groupby("trial")["first_score"].first())
    if objective == "val_accuracy":
        table["difference"] = table["val_accuracy_mean"] - table["first_score"]
    else:
        table[f"{objective}_mean"] = trainings.groupby("trial")[objective].mean()
    least = lower_is_better(objective)
    return table.sort_values(f"{objective}_mean", ascending=least, kind="stable").reset_index()


def choose_members(
    trainings: pd.DataFrame, average: str, folder: Path, objective: str = "val_accuracy"
) -> pd.DataFrame:
    """Returns the rows of the trainings whose networks make up the final one.

    Args:
        trainings: of `train_finalists`.
        average: `none`: the winner's first seed; `seeds`: all the winner's; `finalists`: of all trainings
            those that help, see `select_helpful`.
        folder: of the finalists, with their validation predictions.
        objective: the search's, by whose mean the winner is told.

    Raises:
        ValueError: another word for `average`.
    """
    winner = trainings[trainings["trial"] == finalists_table(trainings, objective)["trial"].iloc[0]]
    if average not in AVERAGES:
        raise ValueError(f"average is {average!r}; choose one of {', '.join(AVERAGES)}")
    if average == "finalists":
        return select_helpful(trainings, folder)
    return winner if average == "seeds" else winner.head(1)


def select_helpful(trainings: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Returns the best training and, one after the other, those that make the average no worse.

    Better is a lower log loss on validation pictures, each average at its best temperature: label smoothing
    makes networks less sure than they are right. Accuracy would leave the choice to one picture or two. What
    is left out may have ended at chance, sure of one class, and would pull every mean to that side
    (R. Caruana et al., "Ensemble selection from libraries of models", ICML 2004).
    """
    tables = _read_validation(trainings, folder)
    members: list[str] = []
    best = math.inf
    for name in sorted(tables, key=lambda name: _log_loss([tables[name]])):
        loss = _log_loss([tables[other] for other in [*members, name]])
        if loss <= best:
            members, best = [*members, name], loss
    return trainings[trainings["folder"].isin(members)]


def averaging_gains(trainings: pd.DataFrame, folder: Path, objective: str = "val_accuracy") -> pd.DataFrame:
    """Returns the validation accuracy of each way to put the networks together, and its gain in points.

    Rows: the winner's networks alone (their mean accuracy), its seeds averaged, the finalists that help;
    each with the picture as it is and with its mirror view as well. Columns: networks, as_it_is,
    with_mirror_view, and their gains over the first one, in percentage points.
    """
    tables = _read_validation(trainings, folder)
    winner = choose_members(trainings, "seeds", folder, objective)["folder"].tolist()
    helpful = choose_members(trainings, "finalists", folder)["folder"].tolist()
    rows = []
    for name, groups in (
        ("winner, one network", [[member] for member in winner]),
        ("winner, all seeds averaged", [winner]),
        ("helpful finalists averaged", [helpful]),
    ):
        row = {"prediction": name, "networks": len(groups[0])}
        for column, view in (("as_it_is", "probability"), ("with_mirror_view", "probability_with_mirror")):
            each = [_accuracy([tables[name] for name in group], view) for group in groups]
            row[column] = sum(each) / len(each)
        rows.append(row)
    table = pd.DataFrame(rows)
    first = table["as_it_is"].iloc[0]
    for column in ("as_it_is", "with_mirror_view"):
        table[f"{column}_gain"] = 100 * (table[column] - first)
    return table


def saved_accuracy(members: pd.DataFrame, mirrored: bool, folder: Path) -> float:
    """Returns the validation accuracy of the mean of some trainings' networks, their mirror views with it."""
    tables = list(_read_validation(members, folder).values())
    return _accuracy(tables, "probability_with_mirror" if mirrored else "probability")


def _read_validation(trainings: pd.DataFrame, folder: Path) -> dict[str, pd.DataFrame]:
    return {name: pd.read_csv(folder / name / "validation.csv") for name in trainings["folder"]}


def _mean(tables: list[pd.DataFrame], view: str = "probability") -> pd.DataFrame:
    return pd.DataFrame(
        {"code": tables[0]["code"], "probability": sum(table[view] for table in tables) / len(tables)}
    )


def _accuracy(tables: list[pd.DataFrame], view: str) -> float:
    return float(decide(_mean(tables, view))["correct"].mean())


def _log_loss(tables: list[pd.DataFrame]) -> float:
    mean = _mean(tables)
    return log_loss(mean, calibrate(mean))
