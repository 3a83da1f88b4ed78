"""Predictions aligned with their pictures, and what follows from them: metrics, intervals, mistakes.

A table of predictions has one row per picture: `image_name`, `code` (the true class, 0 or 1), `probability`
(of class 1), `predicted` (0 or 1) and `correct`. Only `predict_table` needs a model.
"""

import keras
import numpy as np
import pandas as pd
from scipy import stats
from sklearn import metrics

THRESHOLD = 0.5  # a probability above it means class 1: strictly above, as in Keras's binary accuracy
ROUNDING = 1e-3  # in probability: two compiled programs of one network may differ by it on an accelerator
FEW_GROUPS = 5  # groups with the rarer outcome: fewer do not show how similar pictures of one group are


class NotFinite(ValueError):
    """Raised when a network has diverged: some of its predictions are not finite."""


def predict_table(model: keras.Model, batches: keras.utils.PyDataset) -> pd.DataFrame:
    """Returns one row per picture: image_name, code, probability of class 1, predicted code, correct.

    Args:
        model: a network with one sigmoid output.
        batches: every picture once, not augmented, in the order of its `image_names` and `codes`.

    Raises:
        ValueError: predictions and labels could belong to different pictures, the batches are augmented or
            incomplete, or (`NotFinite`) a prediction is not finite.
    """
    names, codes = list(batches.image_names), np.asarray(batches.codes)
    if batches.shuffle:
        raise ValueError(
            "shuffle=True: predictions would meet the labels of other pictures; use shuffle=False"
        )
    if batches.augmentation is not None:
        raise ValueError(
            "augmentation is on: a measurement needs the pictures as they are; use augmentation=None"
        )
    if batches.epoch_fraction != 1:
        raise ValueError(
            f"epoch_fraction={batches.epoch_fraction}: a part is no measurement; use epoch_fraction=1"
        )
    if len(names) != len(codes) or len(set(names)) != len(names):
        raise ValueError(
            f"{len(names)} image_names ({len(set(names))} different) for {len(codes)} codes: "
            "give each picture once"
        )
    probability = np.asarray(model.predict(batches, verbose=0), dtype=np.float64)
    if probability.size != len(names):
        raise ValueError(
            f"predictions of shape {probability.shape} for {len(names)} pictures: "
            "serve every picture once, to a model with one output"
        )
    if not np.isfinite(probability).all():
        raise NotFinite(
            f"{(~np.isfinite(probability)).sum()} predictions are not finite: train the model again"
        )
    table = pd.DataFrame({"image_name": names, "code": codes.astype(int), "probability": probability.ravel()})
    return decide(table)


def decide(predictions: pd.DataFrame, threshold: float = THRESHOLD) -> pd.DataFrame:
    """Returns the predictions at a threshold, with `predicted` and `correct` computed (or recomputed)."""
    predicted = (predictions["probability"] > threshold).astype(int)
    return predictions.assign(predicted=predicted, correct=predicted == predictions["code"])


def shuffled_pairing(predictions: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Returns the predictions paired with the labels of other pictures, as the published evaluation did.

    Its test generator shuffled, but the true labels were in order. For demonstration only: on balanced
    classes the accuracy falls to about 0.5, however good the model is.
    """
    order = np.random.default_rng(seed).permutation(len(predictions))
    return decide(predictions.assign(probability=predictions["probability"].to_numpy()[order]))


def accuracy_interval(correct: float, n: float) -> tuple[float, float]:
    """Returns the ends of Wilson's 95 % score interval for a proportion of `correct` out of `n`.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    JASA 22 (1927), 209-212. Unlike the textbook interval, it stays within 0 and 1 and is sound near both.
    """
    if not 0 <= correct <= n or n < 1:
        raise ValueError(f"{correct} correct of {n} is no share: give 0 <= correct <= n and n >= 1")
    z, share = float(stats.norm.ppf(0.975)), float(correct / n)
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def interval_of(table: pd.DataFrame) -> tuple[float, float]:
    """Returns the 95 % interval of the share of `correct`, adjusted for groups if a column `group` exists."""
    n = independent_pictures(table)
    return accuracy_interval(table["correct"].mean() * n, n)


def independent_pictures(table: pd.DataFrame) -> float:
    """Returns `effective_number` of the pictures in a table; all of them without a column `group`."""
    return effective_number(table["correct"], table["group"]) if "group" in table else len(table)


def effective_number(correct: pd.Series, groups: pd.Series) -> float:
    """Returns how many independent pictures would be as informative as these, which come in groups.

    n / design effect * (t of n - 1 / t of groups - 1) ** 2, at most n: the effective sample size that E. L.
    Korn and B. I. Graubard use ("Confidence intervals for proportions with small expected number of positive
    counts estimated from survey data", Survey Methodology 24, 1998). If fewer than `FEW_GROUPS` groups have
    the rarer outcome: (sum of sizes) ** 2 / sum of squared sizes, the number of groups if sizes are equal.
    """
    n, number = len(correct), groups.nunique()
    rarer = correct == (correct.mean() < 0.5)
    if groups[rarer].nunique() < FEW_GROUPS:
        return float(n**2 / (groups.value_counts() ** 2).sum())
    apart = correct - correct.mean()
    between = (apart.groupby(groups.to_numpy()).sum() ** 2).sum() * number / (number - 1)
    ratio = stats.t.ppf(0.975, n - 1) / stats.t.ppf(0.975, number - 1)
    return float(np.clip(ratio**2 * n * (apart**2).sum() / max(between, 1e-9), 1, n))


def measure(predictions: pd.DataFrame) -> dict[str, float]:
    """Returns accuracy with its 95 % interval (low, high), n, and the usual metrics of a binary classifier.

    With a column `group`, the interval uses `effective_n` pictures (`effective_number`), and `groups` is the
    number of groups. `larger_class` is the accuracy of always predicting the larger class, the baseline;
    `balanced_accuracy` is the mean of both classes' recall.
    Precision, recall and f1 refer to class 1, and are 0 if no picture was predicted to be of it.
    `log_loss` penalizes a confident mistake more than `cross_entropy`, which is clipped; `brier` is the mean
    squared error of the probability.

    Raises:
        ValueError: only one class is present, for which ROC AUC is undefined.
    """
    codes = sorted(predictions["code"].unique())
    if codes != [0, 1]:
        raise ValueError(f"{len(predictions)} pictures, all of code {codes}: measure on pictures of 0 and 1")
    code, probability, predicted = (predictions[name] for name in ("code", "probability", "predicted"))
    low, high = interval_of(predictions)
    grouped = {}
    if "group" in predictions:
        number = predictions["group"].nunique()
        grouped = {"groups": number, "effective_n": independent_pictures(predictions)}
    return {
        "accuracy": float(predictions["correct"].mean()),
        "low": low,
        "high": high,
        "n": len(predictions),
        **grouped,
        "larger_class": float(max(code.mean(), 1 - code.mean())),
        "balanced_accuracy": float(metrics.balanced_accuracy_score(code, predicted)),
        "precision": float(metrics.precision_score(code, predicted, zero_division=0)),
        "recall": float(metrics.recall_score(code, predicted)),
        "f1": float(metrics.f1_score(code, predicted, zero_division=0)),
        "roc_auc": float(metrics.roc_auc_score(code, probability)),
        "log_loss": float(metrics.log_loss(code, probability)),
        "brier": float(metrics.brier_score_loss(code, probability)),
        "cross_entropy": cross_entropy(predictions),
    }


def cross_entropy(predictions: pd.DataFrame) -> float:
    """Returns the mean binary cross-entropy in nats, probabilities clipped at 1e-7 as in Keras's loss."""
    probability = predictions["probability"].clip(1e-7, 1 - 1e-7)
    return float(metrics.log_loss(predictions["code"], probability, labels=[0, 1]))


def check_against_keras(predictions: pd.DataFrame, evaluated_accuracy: float) -> None:
    """Checks that the trace of the confusion matrix, divided by n, is the accuracy from `model.evaluate`.

    Pictures within `ROUNDING` of the threshold may fall on either side of it: on an accelerator, `predict`
    and `evaluate` may round differently.

    Raises:
        ValueError: the two differ by more pictures than that.
    """
    n, correct = len(predictions), int((predictions["code"] == predictions["predicted"]).sum())
    near = int(((predictions["probability"] - THRESHOLD).abs() < ROUNDING).sum())
    if not abs(correct - n * evaluated_accuracy) < near + 0.5:
        raise ValueError(
            f"trace / n = {correct} / {n} = {correct / n:.6f}, but Keras measured {evaluated_accuracy:.6f}: "
            "predictions and labels are not of the same pictures in the same order"
        )


def confusion(predictions: pd.DataFrame, class_names: list[str]) -> pd.DataFrame:
    """Returns picture counts, true labels as rows, predicted labels as columns; class_names[0] is code 0."""
    counts = metrics.confusion_matrix(predictions["code"], predictions["predicted"], labels=[0, 1])
    true, predicted = (pd.Index(class_names, name=f"{which} label") for which in ("true", "predicted"))
    return pd.DataFrame(counts, index=true, columns=predicted)


def confident_mistakes(predictions: pd.DataFrame, number: int = 12) -> pd.DataFrame:
    """Returns wrong predictions, most confident first; `confidence` (0.5 to 1) is in the predicted class."""
    mistakes = predictions[~predictions["correct"]]
    confidence = mistakes["probability"].where(mistakes["predicted"] == 1, 1 - mistakes["probability"])
    ordered = mistakes.assign(confidence=confidence)
    return ordered.sort_values(["confidence", "image_name"], ascending=[False, True]).head(number)
