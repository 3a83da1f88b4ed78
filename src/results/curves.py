"""Tables from predictions, over all thresholds: ROC, precision and recall, and calibration."""

import numpy as np
import pandas as pd
from sklearn import metrics

from src.evaluation import independent_pictures, interval_of


def roc_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Returns false_positive_rate, true_positive_rate and threshold, from (0, 0) to (1, 1)."""
    rates = metrics.roc_curve(predictions["code"], predictions["probability"])
    return pd.DataFrame(
        dict(zip(["false_positive_rate", "true_positive_rate", "threshold"], rates, strict=True))
    )


def precision_recall_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Returns recall, precision and threshold, from all pictures predicted as class 1 down to none.

    The precision of the first row is therefore the share of class 1; the last row's threshold is NaN.
    """
    precision, recall, threshold = metrics.precision_recall_curve(
        predictions["code"], predictions["probability"]
    )
    return pd.DataFrame({"recall": recall, "precision": precision, "threshold": np.append(threshold, np.nan)})


def calibration_table(predictions: pd.DataFrame, bins: int = 10) -> pd.DataFrame:
    """Returns one row per probability bin: what the model predicted and how often class 1 was true.

    Columns: bin_low, bin_high, count, mean_probability, observed (share of class 1) and its 95 % Wilson
    interval (low, high). Bins have equal width and are closed on the left, the last one on both sides; an
    empty bin has count 0 and NaN statistics.
    """
    edges = np.linspace(0, 1, bins + 1)
    grouped = predictions.groupby(_bin_of(predictions["probability"], bins))
    table = pd.DataFrame({"bin_low": edges[:-1], "bin_high": edges[1:]})
    table["count"] = grouped.size().reindex(table.index, fill_value=0)
    table["mean_probability"] = grouped["probability"].mean().reindex(table.index)
    table["observed"] = grouped["code"].mean().reindex(table.index)
    ends = {i: interval_of(each.assign(correct=each["code"])) for i, each in grouped}
    table[["low", "high"]] = [ends.get(i, (np.nan, np.nan)) for i in table.index]
    return table


def expected_calibration_error(table: pd.DataFrame) -> float:
    """Returns the mean absolute gap between predicted and observed over the bins, weighted by their counts.

    Source: M. P. Naeini, G. F. Cooper, M. Hauskrecht, "Obtaining well calibrated probabilities using
    Bayesian binning", AAAI 2015; here for the probability of class 1.
    """
    distance = (table["observed"] - table["mean_probability"]).abs()
    return float((distance * table["count"]).sum() / table["count"].sum())


def calibration_error_by_chance(
    predictions: pd.DataFrame, bins: int = 10, draws: int = 200, seed: int = 0
) -> float:
    """Returns the mean expected calibration error if these probabilities were exactly right.

    Labels are drawn from the probabilities themselves: few pictures differ from them by luck alone. Groups
    count as the pictures that they are worth (`effective_number`).
    """
    probability = predictions["probability"].to_numpy()
    n, index = len(probability), _bin_of(probability, bins)
    labels = np.random.default_rng(seed).random((draws, n)) < probability
    gaps = [np.abs(np.bincount(index, drawn - probability)).sum() for drawn in labels]
    return float(np.mean(gaps) / n * (n / independent_pictures(predictions)) ** 0.5)


def _bin_of(probability: pd.Series | np.ndarray, bins: int) -> np.ndarray:
    """Returns the number of each probability's bin; a probability of exactly 1 belongs to the last one."""
    return np.digitize(probability, np.linspace(0, 1, bins + 1)[1:-1])
