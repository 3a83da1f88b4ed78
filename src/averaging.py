"""Which of the finalists wins, whose networks are averaged, and what that gains: tables in, tables out."""

from pathlib import Path

import pandas as pd


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


def choose_members(trainings: pd.DataFrame, average: str) -> pd.DataFrame:
    """Returns the rows of the trainings whose networks make up the final one.

    Args:
        trainings: of `train_finalists`.
        average: `none`: the winner's first seed; `seeds`: all the winner's; `finalists`: every training.

    Raises:
        ValueError: another word for `average`.
    """
    winner = trainings[trainings["trial"] == finalists_table(trainings)["trial"].iloc[0]]
    chosen = {"none": winner.head(1), "seeds": winner, "finalists": trainings}
    if average not in chosen:
        raise ValueError(f"average is {average!r}; choose one of {', '.join(chosen)}")
    return chosen[average]


def averaging_gains(trainings: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Returns the validation accuracy of each way to put the networks together, and its gain in points.

    Rows: the winner's networks alone (their mean accuracy), its seeds averaged, all finalists averaged;
    each with the picture as it is and with its mirror view as well. Columns: networks, as_it_is,
    with_mirror_view, and their gains over the first one, in percentage points.
    """
    tables = {name: pd.read_csv(folder / name / "validation.csv") for name in trainings["folder"]}

    def accuracy(members: list[str], view: str) -> float:
        mean = sum(tables[name][view] for name in members) / len(members)
        return float(((mean > 0.5) == (tables[members[0]]["code"] == 1)).mean())

    winner = choose_members(trainings, "seeds")["folder"].tolist()
    rows = []
    for name, groups in (
        ("winner, one network", [[member] for member in winner]),
        ("winner, all seeds averaged", [winner]),
        ("all finalists averaged", [trainings["folder"].tolist()]),
    ):
        row = {"prediction": name, "networks": len(groups[0])}
        for column, view in (("as_it_is", "probability"), ("with_mirror_view", "probability_with_mirror")):
            row[column] = sum(accuracy(group, view) for group in groups) / len(groups)
        rows.append(row)
    table = pd.DataFrame(rows)
    first = table["as_it_is"].iloc[0]
    for column in ("as_it_is", "with_mirror_view"):
        table[f"{column}_gain"] = 100 * (table[column] - first)
    return table
