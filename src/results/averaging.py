"""Which of the finalists wins, whose networks are averaged, and what that gains: tables in, tables out."""

from pathlib import Path

import pandas as pd

AVERAGES = ("none", "seeds", "finalists")


def finalists_table(trainings: pd.DataFrame) -> pd.DataFrame:
    """Returns one row a finalist, best mean first: first_score, mean and spread of the new scores, flattery.

    Args:
        trainings: of `train_finalists`.
    """
    scores = trainings.groupby("trial")["val_accuracy"].agg(["mean", "min", "max", "count"])
    table = scores.add_prefix("val_accuracy_").rename(columns={"val_accuracy_count": "seeds"})
    table.insert(0, "first_score", trainings.groupby("trial")["first_score"].first())
    table["difference"] = table["val_accuracy_mean"] - table["first_score"]
    return table.sort_values(["val_accuracy_mean", "first_score"], ascending=False).reset_index()


def choose_members(trainings: pd.DataFrame, average: str, folder: Path) -> pd.DataFrame:
    """Returns the rows of the trainings whose networks make up the final one.

    Args:
        trainings: of `train_finalists`.
        average: `none`: the winner's first seed; `seeds`: all the winner's; `finalists`: of all trainings
            those that help, see `select_helpful`.
        folder: of the finalists, with their validation predictions.

    Raises:
        ValueError: another word for `average`.
    """
    winner = trainings[trainings["trial"] == finalists_table(trainings)["trial"].iloc[0]]
    if average not in AVERAGES:
        raise ValueError(f"average is {average!r}; choose one of {', '.join(AVERAGES)}")
    if average == "finalists":
        return select_helpful(trainings, folder)
    return winner if average == "seeds" else winner.head(1)


def select_helpful(trainings: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Returns the best training and, in the order of their validation accuracy, those that do no harm.

    One that would make the averaged network worse on validation pictures is left out: a training can end
    at chance, sure of one class, and then pulls every mean to that side (R. Caruana et al., "Ensemble
    selection from libraries of models", ICML 2004).
    """
    tables = _read_validation(trainings, folder)
    ordered = trainings.sort_values("val_accuracy", ascending=False, kind="stable")
    members: list[str] = []
    best = 0.0
    for name in ordered["folder"]:
        accuracy = _accuracy([tables[other] for other in [*members, name]], "probability")
        if accuracy >= best:
            members, best = [*members, name], accuracy
    return trainings[trainings["folder"].isin(members)]


def averaging_gains(trainings: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Returns the validation accuracy of each way to put the networks together, and its gain in points.

    Rows: the winner's networks alone (their mean accuracy), its seeds averaged, the finalists that help;
    each with the picture as it is and with its mirror view as well. Columns: networks, as_it_is,
    with_mirror_view, and their gains over the first one, in percentage points.
    """
    tables = _read_validation(trainings, folder)
    winner = choose_members(trainings, "seeds", folder)["folder"].tolist()
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


def _read_validation(trainings: pd.DataFrame, folder: Path) -> dict[str, pd.DataFrame]:
    return {name: pd.read_csv(folder / name / "validation.csv") for name in trainings["folder"]}


def _accuracy(tables: list[pd.DataFrame], view: str) -> float:
    mean = sum(table[view] for table in tables) / len(tables)
    return float(((mean > 0.5) == (tables[0]["code"] == 1)).mean())
