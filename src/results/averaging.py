"""Which finalist wins, which networks are averaged, and what that gains: tables in, tables out."""

import math
from pathlib import Path

import pandas as pd

from src.datasets.splitting import add_groups
from src.evaluation import decide
from src.results.calibration import calibrate, log_loss
from src.searches.objectives import lower_is_better

AVERAGES = ("none", "seeds", "finalists")


def finalists_table(trainings: pd.DataFrame, objective: str = "val_accuracy") -> pd.DataFrame:
    """Returns one row per finalist, best first: first_score, and mean and range of its new accuracy.

    Finalists are ranked by the mean of the objective; if that is a loss, its mean is a column as well. If it
    is an accuracy, `difference` is the new mean minus the search's score: negative if that was optimistic.

    Args:
        trainings: from `train_finalists`; ties keep their order.
        objective: of the search.
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
    """Returns the rows of the training runs whose networks make up the final one.

    Args:
        trainings: from `train_finalists`.
        average: `none`: the winner's first seed; `seeds`: all seeds of the winner; `finalists`: those of
            all training runs that help, see `select_helpful`.
        folder: of the finalists, with their validation predictions.
        objective: of the search; its mean determines the winner.

    Raises:
        ValueError: `average` is none of these.
    """
    if average not in AVERAGES:
        raise ValueError(f"average is {average!r}; choose one of {', '.join(AVERAGES)}")
    if average == "finalists":
        return select_helpful(trainings, folder)
    winner = trainings[trainings["trial"] == finalists_table(trainings, objective)["trial"].iloc[0]]
    return winner if average == "seeds" else winner.head(1)


def select_helpful(trainings: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Returns the best training run and, added greedily, those that do not make the average worse.

    The criterion is the log loss on validation pictures, each average calibrated first (see `calibrate`),
    since label smoothing makes networks underconfident. By accuracy, one or two pictures would decide. A
    network that is left out may be at chance level, always sure of one class, and would bias every mean
    towards it (R. Caruana et al., "Ensemble selection from libraries of models", ICML 2004).
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
    """Returns the validation accuracy of each way to combine the networks, and its gain.

    Rows: the winner's networks alone (their mean accuracy), its seeds averaged, the helpful finalists
    averaged. Columns: prediction, networks, accuracy on the picture as_it_is and with_mirror_view, and their
    gains over the first row's as_it_is, in percentage points.
    """
    tables = _read_validation(trainings, folder)
    winner = choose_members(trainings, "seeds", folder, objective)["folder"].tolist()
    helpful = select_helpful(trainings, folder)["folder"].tolist()
    ways = {
        "winner, one network": [[member] for member in winner],
        "winner, all seeds averaged": [winner],
        "helpful finalists averaged": [helpful],
    }
    rows = []
    for name, groups in ways.items():
        row = {"prediction": name, "networks": len(groups[0])}
        for column, view in (("as_it_is", "probability"), ("with_mirror_view", "probability_with_mirror")):
            each = [_accuracy([tables[member] for member in group], view) for group in groups]
            row[column] = sum(each) / len(each)
        rows.append(row)
    table = pd.DataFrame(rows)
    first = table["as_it_is"].iloc[0]
    for column in ("as_it_is", "with_mirror_view"):
        table[f"{column}_gain"] = 100 * (table[column] - first)
    return table


def average_predictions(
    members: pd.DataFrame, mirrored: bool, folder: Path, features: pd.DataFrame
) -> pd.DataFrame:
    """Returns the averaged networks' predictions on validation pictures, with mirror views if `mirrored`.

    Columns: image_name, code, probability, predicted, correct, and group if the features table has it.
    """
    tables = list(_read_validation(members, folder).values())
    mean = _mean(tables, "probability_with_mirror" if mirrored else "probability")
    return add_groups(decide(tables[0][["image_name"]].join(mean)), features)


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
