"""The operating point: above which probability a picture is called class 1, for what mistakes cost."""

import numpy as np
import pandas as pd

from src.evaluation import THRESHOLD, decide, interval_of


def cost_table(
    predictions: pd.DataFrame, false_positive_cost: float = 1.0, false_negative_cost: float = 1.0
) -> pd.DataFrame:
    """Returns one row a threshold at which something changes: threshold, false positives and negatives, cost.

    The thresholds are 0, 1, the usual 0.5, and the middle between each two neighbouring probabilities;
    `mean_cost` is a picture's, and the same from `holds_from` on to the next row's.

    Args:
        predictions: code and probability of class 1.
        false_positive_cost: of a picture of class 0 that is called class 1.
        false_negative_cost: of a picture of class 1 that is called class 0.

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
    # side="right": a probability at the threshold is not above it
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
    """Returns the threshold of the lowest mean cost; of several, the one nearest to 0.5.

    Args:
        costs: of `cost_table`, on validation predictions: on the test part it would be chosen to please.
    """
    lowest = costs[np.isclose(costs["mean_cost"], costs["mean_cost"].min(), rtol=1e-9, atol=0)]
    return float(lowest.loc[(lowest["threshold"] - THRESHOLD).abs().idxmin(), "threshold"])


def compare_thresholds(
    predictions: pd.DataFrame,
    thresholds: dict[str, float],
    false_positive_cost: float = 1.0,
    false_negative_cost: float = 1.0,
) -> pd.DataFrame:
    """Returns one row a threshold, by its name: accuracy with its 95 % interval, both mistakes, mean cost.

    Args:
        predictions: code and probability of class 1, mostly of the test part.
        thresholds: by the words that name them.
        false_positive_cost: as of `cost_table`; false_negative_cost likewise.
    """
    rows = {}
    for name, threshold in thresholds.items():
        decided = decide(predictions, threshold)
        positives = int(((decided["predicted"] == 1) & ~decided["correct"]).sum())
        negatives = int(((decided["predicted"] == 0) & ~decided["correct"]).sum())
        n, right = len(decided), int(decided["correct"].sum())
        low, high = interval_of(decided)
        rows[name] = {
            "threshold": threshold,
            "n": n,
            "accuracy": right / n,
            "low": low,
            "high": high,
            "false_positives": positives,
            "false_negatives": negatives,
            "mean_cost": (false_positive_cost * positives + false_negative_cost * negatives) / n,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("threshold of")
