"""The operating point: the probability above which to predict class 1, given the cost of each mistake."""

import numpy as np
import pandas as pd

from src.evaluation import THRESHOLD, decide, interval_of


def cost_table(
    predictions: pd.DataFrame, false_positive_cost: float = 1.0, false_negative_cost: float = 1.0
) -> pd.DataFrame:
    """Returns one row per threshold: threshold, holds_from, false_positives, false_negatives, mean_cost.

    The thresholds are 0, 1, the usual 0.5, and the midpoints between neighbouring probabilities. `mean_cost`
    is per picture, and constant from `holds_from` up to that of the next row.

    Args:
        predictions: code and probability of class 1.
        false_positive_cost: of a picture of class 0 predicted as class 1.
        false_negative_cost: of a picture of class 1 predicted as class 0.

    Raises:
        ValueError: there are no predictions.
    """
    if predictions.empty:
        raise ValueError(
            "there are no predictions to choose a threshold on; give those of the validation part"
        )
    values = np.unique(predictions["probability"])
    thresholds = np.unique([0.0, *(values[1:] + values[:-1]) / 2, THRESHOLD, 1.0])
    of_class = [np.sort(predictions.loc[predictions["code"] == code, "probability"]) for code in (0, 1)]
    # side="right": a probability equal to the threshold is not above it
    false_positives = len(of_class[0]) - np.searchsorted(of_class[0], thresholds, side="right")
    false_negatives = np.searchsorted(of_class[1], thresholds, side="right")
    cost = false_positive_cost * false_positives + false_negative_cost * false_negatives
    return pd.DataFrame(
        {
            "threshold": thresholds,
            "holds_from": np.r_[0.0, values][np.searchsorted(values, thresholds, side="right")],
            "false_positives": false_positives,
            "false_negatives": false_negatives,
            "mean_cost": cost / len(predictions),
        }
    )


def choose_threshold(costs: pd.DataFrame) -> float:
    """Returns the threshold with the lowest mean cost; of several, the one closest to 0.5.

    Args:
        costs: from `cost_table` on validation predictions; chosen on the test part, it would be optimistic.
    """
    lowest = costs[np.isclose(costs["mean_cost"], costs["mean_cost"].min(), rtol=1e-9, atol=0)]
    return float(lowest.loc[(lowest["threshold"] - THRESHOLD).abs().idxmin(), "threshold"])


def compare_thresholds(
    predictions: pd.DataFrame,
    thresholds: dict[str, float],
    false_positive_cost: float = 1.0,
    false_negative_cost: float = 1.0,
) -> pd.DataFrame:
    """Returns one row per named threshold: accuracy with its 95 % interval, both error counts, mean cost.

    Args:
        predictions: code and probability of class 1, usually of the test part.
        thresholds: by name.
        false_positive_cost: see `cost_table`.
        false_negative_cost: see `cost_table`.
    """
    rows = {}
    for name, threshold in thresholds.items():
        decided = decide(predictions, threshold)
        false_positives = int((decided["predicted"] > decided["code"]).sum())
        false_negatives = int((decided["predicted"] < decided["code"]).sum())
        cost = false_positive_cost * false_positives + false_negative_cost * false_negatives
        low, high = interval_of(decided)
        rows[name] = {
            "threshold": threshold,
            "n": len(decided),
            "accuracy": decided["correct"].mean(),
            "low": low,
            "high": high,
            "false_positives": false_positives,
            "false_negatives": false_negatives,
            "mean_cost": cost / len(decided),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("threshold of")


def describe_threshold(
    predictions: pd.DataFrame,
    threshold: float,
    class_names: list[str],
    false_positive_cost: float = 1.0,
    false_negative_cost: float = 1.0,
) -> str:
    """Returns a sentence on what a threshold that was chosen on validation pictures does to the test part."""
    costs = {"false_positive_cost": false_positive_cost, "false_negative_cost": false_negative_cost}
    points = {"usual": THRESHOLD, "chosen": threshold}
    cost = compare_thresholds(predictions, points, **costs)["mean_cost"]
    first, second = class_names
    called = decide(predictions, threshold)["predicted"].unique()
    everything = f" (every test picture is called {class_names[called[0]]})" if len(called) == 1 else ""
    return (
        f"With {first} called {second} at a cost of {false_positive_cost:g}, the reverse at "
        f"{false_negative_cost:g}, the best threshold on validation pictures is {threshold:.4g}{everything}: "
        f"a test picture costs {cost['chosen']:.4f} there, {cost['usual']:.4f} at {THRESHOLD:g}."
    )
