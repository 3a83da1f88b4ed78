"""Results side by side: one table of every network, from any run, measured on the same test pictures."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binomtest, permutation_test

from src import config
from src.datasets.splitting import add_groups
from src.evaluation import accuracy_interval, measure
from src.features import class_names, data_fingerprint, load_features
from src.generators import PictureBatches
from src.networks.saved_model import open_network
from src.running.messages import one_line
from src.runs import read_json, write_json, write_table

COLUMNS = ["result", "run", "n", "accuracy", "low", "high", "mcnemar_p", "cross_entropy", "loss"]
COST = ["training_minutes", "parameters", "megabytes", "pictures_per_second"]
TITLES = {  # of the search spaces; a pretrained backbone goes by its own name
    "published": "published recipe",
    "described": "published, without its mistakes",
    "modern": "from scratch",
}


def measure_cost(model_file: Path, batches: PictureBatches, training_minutes: float) -> dict[str, float]:
    """Returns what a network costs: training_minutes, parameters, megabytes, pictures_per_second.

    Speed is that of prediction on at most 512 decoded pictures (one batch, if that is larger), the best of
    three rounds: a busy machine makes a network slower, never faster.

    Args:
        model_file: the saved network; its size on disk is reported in millions of bytes.
        batches: pictures of its size that no choice depends on any more, such as the validation part.
        training_minutes: of search and training together.
    """
    model = open_network(model_file, batches.pixels.shape[1])
    some = [batches[index][0] for index in range(min(len(batches), max(1, 512 // batches.batch_size)))]
    pictures = np.concatenate(some)
    seconds = []
    for _ in range(4):  # the first one compiles
        started = time.perf_counter()
        model.predict(pictures, batch_size=64, verbose=0)
        seconds.append(time.perf_counter() - started)
    return {
        "training_minutes": round(training_minutes, 1),
        "parameters": model.count_params(),
        "megabytes": round(model_file.stat().st_size / 1e6, 1),
        "pictures_per_second": round(len(pictures) / min(seconds[1:])),
    }


def note_result(run: Path, name: str, title: str, predictions: pd.DataFrame, facts: dict[str, float]) -> None:
    """Writes a result for `collect_results` to find: `results/<name>.json`, with its predictions as `.csv`.

    Args:
        run: the run's folder, with `features.csv`.
        name: of the network's file, without suffix.
        title: what the table calls it.
        predictions: on the test part.
        facts: from `measure_cost`, and as `loss` Keras's loss (including L2 penalties, as in the original).
    """
    folder = run / "results"
    test_part = _test_part(load_features(run / "features.csv"))
    (folder / f"{name}.json").unlink(missing_ok=True)  # an earlier network's facts are not this one's
    write_table(predictions, folder / f"{name}.csv")
    write_json(folder / f"{name}.json", {"result": title, "test_part": test_part, **facts})


def collect_results(run: Path) -> pd.DataFrame:
    """Returns one row per network, least accurate first, for cats and dogs after the published experiment's.

    Includes every network of this run and of the runs beside it that was measured on the current test
    pictures of this run (same names, contents and classes). `mcnemar_p` compares a row with the one above.

    Args:
        run: the run's folder, whose `results` hold at least one network.

    Returns:
        Columns: result, run, n, accuracy, its 95 % interval low and high, mcnemar_p, cross_entropy, loss
        (with penalties), training_minutes, parameters, megabytes, pictures_per_second; unknown values
        are NaN.

    Raises:
        FileNotFoundError: this run has no result yet.
    """
    if not any((run / "results").glob("*.json")):
        raise FileNotFoundError(f"{run / 'results'} holds no result; run notebook 05 first")
    features = load_features(run / "features.csv")
    test_part = _test_part(features)
    runs = [file.parent for file in sorted(run.parent.glob("*/features.csv"))]  # other folders may be there
    found = []
    for file in [file for each in runs for file in sorted(each.glob("results/*.json"))]:
        facts = read_json(file)  # written after the table of the same name
        if facts.get("test_part") == test_part:
            measured = _measure_table(file.with_suffix(".csv"), features)
            found.append({**measured, **facts, "run": file.parents[1].name})
    found.sort(key=lambda row: (row["accuracy"], row["run"], row["result"]))
    for below, above in zip(found[1:], found[:-1], strict=True):
        below["mcnemar_p"] = mcnemar(above["predictions"], below["predictions"])
    first = [_published()] if _are_cats_and_dogs(class_names(features)) else []
    return pd.DataFrame([*first, *found], columns=[*COLUMNS, *COST])


def describe_published(names: list[str]) -> str:
    """Returns a sentence on the published experiment's accuracy; "" for classes other than cats and dogs."""
    if not _are_cats_and_dogs(names):
        return ""
    return f"The published experiment reached {config.PUBLISHED_TEST_ACCURACY} on other pictures. "


def _are_cats_and_dogs(names: list[str]) -> bool:
    return {name.removesuffix("s") for name in names} == {"cat", "dog"}  # either may be the positive class


def mcnemar(first: pd.DataFrame, second: pd.DataFrame) -> float:
    """Returns McNemar's p-value for two networks' mistakes under equal accuracy: two-sided, exact.

    Only pictures that exactly one of the two got right count (Q. McNemar, "Note on the sampling error of the
    difference between correlated proportions or percentages", Psychometrika 12, 1947, 153-157). Pictures of
    one group (column `group`) are not independent: with groups, it is a sign-flip permutation test on the
    groups' differences, over all sign patterns, or over 9,999 random ones if more than 13 groups differ.

    Args:
        first: predictions of one network; columns `image_name` and `correct`, and `group` if there is one.
        second: of the other network, on the same pictures in any order.

    Raises:
        ValueError: the two tables are of different pictures.
    """
    right, other = (table.set_index("image_name")["correct"] for table in (first, second))
    if set(right.index) != set(other.index):
        raise ValueError("the two tables are of different pictures; compare networks on the same ones")
    other = other.reindex(right.index)
    if "group" in first:
        differences = right.astype(int) - other.astype(int)
        sums = differences.groupby(first["group"].to_numpy()).sum()
        sums = sums[sums != 0]  # the others have no sign
        drawn = {"permutation_type": "samples", "batch": 500, "rng": 0}
        return float(permutation_test((sums,), np.sum, **drawn).pvalue) if len(sums) > 1 else 1.0
    only_first, only_second = int((right & ~other).sum()), int((~right & other).sum())
    apart = only_first + only_second
    return float(binomtest(only_first, apart).pvalue) if apart else 1.0


def _measure_table(file: Path, features: pd.DataFrame) -> dict:
    """Returns the metrics of the predictions in a file, and the predictions with the run's current groups."""
    try:
        predictions = add_groups(pd.read_csv(file), features)
        return {**measure(predictions), "predictions": predictions}
    except (OSError, ValueError, KeyError) as error:
        remedy = f"delete {file.parent}, and run its notebooks 05 and 06 again if it is to be compared"
        raise ValueError(
            f"{file} is no whole table of predictions ({one_line(error, 200)}); {remedy}"
        ) from error


def _test_part(features: pd.DataFrame) -> str:
    """Returns a fingerprint of a run's test part: names, contents and classes of its pictures."""
    return data_fingerprint(features[features["split"] == "test"])


def _published() -> dict:
    n, accuracy = config.PUBLISHED_TEST_PICTURES, config.PUBLISHED_TEST_ACCURACY
    low, high = accuracy_interval(round(accuracy * n), n)
    row = {"result": "published, its own figures", "n": n, "accuracy": accuracy, "low": low, "high": high}
    known = {"loss": config.PUBLISHED_TEST_LOSS, "parameters": config.PUBLISHED_PARAMETERS}
    return {**row, "run": "(other pictures)", **known}
