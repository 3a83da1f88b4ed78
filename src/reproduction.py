"""Repeats a run from what its made_by.json records, and checks whether it gives the same tables."""

import argparse
import logging
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from src.pipeline import STEPS, run_notebook
from src.running.commands import check_place, run_command
from src.running.locks import hold
from src.running.made_by import code_version, package_versions
from src.runs import read_json

logger = logging.getLogger(__name__)

TABLES = ["features.csv", "trials.csv", "history.csv", "finalists.csv", "training_history.csv"]
TABLES += ["averaging.csv", "predictions.csv", "metrics.json"]
TIMES = ["seconds", "validation_seconds", "started"]  # never the same twice


def compare_runs(first: Path, second: Path) -> pd.DataFrame:
    """Returns one row per table of either run: whether it is the same in both, and the first difference."""
    rows = []
    for name in TABLES:
        if (first / name).exists() or (second / name).exists():
            difference = _difference(_read(first / name), _read(second / name))
            rows.append((name, not difference, difference))
    return pd.DataFrame(rows, columns=["file", "same", "difference"])


def _read(path: Path) -> pd.DataFrame | None:
    """Returns a table, or JSON values as one of a single row, without times; None if there is none."""
    if not path.exists():
        return None
    if path.suffix == ".json":
        return pd.DataFrame([read_json(path)])
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return table.drop(columns=[name for name in TIMES if name in table])


def _difference(first: pd.DataFrame | None, second: pd.DataFrame | None) -> str:
    if first is None or second is None:
        return "it is in one of the runs only"
    if list(first.columns) != list(second.columns) or len(first) != len(second):
        return f"{len(first)} and {len(second)} rows, {first.shape[1]} and {second.shape[1]} columns"
    differs = (first != second) & ~(first.isna() & second.isna())
    if not differs.to_numpy().any():
        return ""
    row, column = np.argwhere(differs.to_numpy())[0]
    name = first.columns[column]
    return f"{name} in row {row + 1}: {first.iloc[row, column]} and {second.iloc[row, column]}"


def changed_since(made_by: dict) -> list[str]:
    """Returns a sentence for each package version, and for the code, if changed since the run was made."""
    now = package_versions()
    sentences = [
        f"{package} was {before} and is {now.get(package, 'not installed')}"
        for package, before in made_by["packages"].items()
        if now.get(package) != before
    ]
    if made_by["code"] != code_version():
        sentences.append(f"the code was {made_by['code'] or 'unknown'} and is {code_version() or 'unknown'}")
    return sentences


def _check_repetition(again: Path, wanted: dict[str, dict]) -> None:
    """Raises ValueError if notebooks in a folder ran with other parameters, packages or code than wanted."""
    made_by = read_json(again / "made_by.json") if (again / "made_by.json").exists() else {}
    for step in made_by.keys() & wanted.keys():
        asked, got = wanted[step], made_by[step]["parameters"]
        differs = any(asked[name] != got[name] for name in asked.keys() & got.keys())  # others: newer or gone
        if differs or changed_since(made_by[step]):
            raise ValueError(
                f"{again} was made by other settings or other code; delete it, then reproduce anew"
            )


def reproduce(run: Path) -> pd.DataFrame:
    """Returns the comparison of a run with its repetition in a folder beside it, whose name ends in `-again`.

    Raises:
        FileNotFoundError: the run does not record what made it.
        ValueError: the folder exists, but was made by other settings, packages or code.
    """
    made_by = read_json(run / "made_by.json")
    steps = [step for step in STEPS if step in made_by]
    if not steps:
        raise FileNotFoundError(
            f"{run / 'made_by.json'} names no notebook that `make run` ran; nothing to do"
        )
    for sentence in changed_since(made_by[steps[0]]):
        logger.warning("%s", sentence)
    again = run.with_name(f"{run.name}-again")
    wanted = {step: {**made_by[step]["parameters"], "run": again.name} for step in steps}
    _check_repetition(again, wanted)
    os.environ.pop("STORAGE_URL", None)  # or the original search there would count as the repetition
    with hold(again, wait=0):
        for step in steps:
            if not (again / f"{step}.ipynb").exists():
                run_notebook(step, again / f"{step}.ipynb", wanted[step])
    return compare_runs(run, again)


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code of `python -m src.reproduction`: 1 if something differs."""
    parser = argparse.ArgumentParser(prog="python -m src.reproduction", description=__doc__)
    parser.add_argument("run", type=Path, help="the run's folder")
    chosen = parser.parse_args(arguments)

    def work() -> int:
        check_place(chosen.run)
        table = reproduce(chosen.run)
        for row in table.itertuples():
            sys.stdout.write(f"{row.file}: {'the same' if row.same else row.difference}\n")
        return int(not table["same"].all())

    return run_command("the reproduction", chosen.run, work)


if __name__ == "__main__":
    sys.exit(main())
