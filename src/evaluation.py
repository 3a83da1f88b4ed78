"""Predictions aligned with their pictures, and what follows from them: metrics, intervals, mistakes.

A table of predictions has a row a picture: `image_name`, `code` (the true class, 0 or 1), `probability`
(of class 1), `predicted` (0 or 1) and `correct`. All but `predict_table` need nothing else.
"""

import keras
import numpy as np
import pandas as pd
from scipy import stats
from sklearn import metrics

THRESHOLD = 0.5  # a probability above it means class 1: strictly above, as in Keras's binary accuracy
ROUNDING = 1e-3  # of a probability: what two programs of one network on an accelerator may differ by
FEW_GROUPS = 5  # with the rarer outcome: fewer do not show how alike the pictures of a group are


class NotFinite(ValueError):
    """Says that a network has gone astray: some of its predictions are no numbers."""


def predict_table(model: keras.Model, batches: keras.utils.PyDataset) -> pd.DataFrame:
    """Returns one row a picture: image_name, code, probability of class 1, predicted code, correct.

    Args:
        model: a network with one sigmoid output.
        batches: pictures in the order of its `image_names` and `codes`, each once, not augmented.

    Raises:
        ValueError: where predictions and labels could belong to different pictures.
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
    """Returns the predictions as they are at a threshold: `predicted` and `correct` made (anew)."""
    predicted = (predictions["probability"] > threshold).astype(int)
    return predictions.assign(predicted=predicted, correct=predicted == predictions["code"])


def shuffled_pairing(predictions: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Returns the predictions paired with the labels of other pictures, as the published evaluation did.

    Its test generator shuffled while the true labels came in order. For demonstration only: on balanced
    classes the accuracy falls to about 0.5, however good the model is.
    """
    order = np.random.default_rng(seed).permutation(len(predictions))
    return decide(predictions.assign(probability=predictions["probability"].to_numpy()[order]))


def accuracy_interval(correct: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Returns the lower and upper end of Wilson's score interval for a share of `correct` out of `n`.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    JASA 22 (1927), 209-212. It stays within 0 and 1, and is sound near both ends, unlike the textbook's.
    """
    if not 0 <= correct <= n or n < 1:
        raise ValueError(f"{correct} correct of {n} is no share: give 0 <= correct <= n and n >= 1")
    z, share = float(stats.norm.ppf(0.5 + confidence / 2)), float(correct / n)
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def interval_of(table: pd.DataFrame) -> tuple[float, float]:
    """Returns the 95 % interval of the share of `correct`; with a column `group`, of grouped pictures."""
    n = effective_number(table["correct"], table["group"]) if "group" in table else len(table)
    return accuracy_interval(table["correct"].mean() * n, n)


def effective_number(correct: pd.Series, groups: pd.Series) -> float:
    """Returns how many independent pictures tell as much as these, of which some are of one group.

    n / design effect * (t of n - 1 / t of groups - 1) ** 2, at most n: the number that E. L. Korn and B. I.
    Graubard put their interval on ("Confidence intervals for proportions with small expected number of
    positive counts estimated from survey data", Survey Methodology 24, 1998). Where right or wrong is in
    fewer than `FEW_GROUPS` groups, (sum of sizes) ** 2 / sum of their squares: groups, had they one size.
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
    """Returns accuracy with its 95 % interval (low, high), n, and the usual measures of a binary classifier.

    With a column `group` the interval is of `effective_number` pictures; `groups` is their number.
    `larger_class` is the accuracy of who always says the larger class, which is no achievement.
    Precision, recall and f1 are about class 1, and 0 where no picture was predicted to be of it.
    `log_loss` lets a confident mistake cost more than `cross_entropy` does; `brier` is the mean squared
    error of the probability.

    Raises:
        ValueError: where only one class is present, which leaves ROC AUC without meaning.
    """
    codes = sorted(predictions["code"].unique())
    if codes != [0, 1]:
        raise ValueError(f"{len(predictions)} pictures, all of code {codes}: measure on pictures of 0 and 1")
    code, probability, predicted = (predictions[name] for name in ("code", "probability", "predicted"))
    low, high = interval_of(predictions)
    grouped = {}
    if "group" in predictions:
        number = effective_number(predictions["correct"], predictions["group"])
        grouped = {"groups": predictions["group"].nunique(), "effective_n": number}
    return {
        "accuracy": float(predictions["correct"].mean()),
        "low": low,
        "high": high,
        "n": len(predictions),
        **grouped,
        "larger_class": float(max(code.mean(), 1 - code.mean())),
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
    """Returns nothing, if the trace of the confusion matrix over n is the accuracy of `model.evaluate`.

    Pictures within `ROUNDING` of the threshold may fall on either side of it: accelerators round `predict`
    and `evaluate` each in its own way.

    Raises:
        ValueError: where the two differ by more pictures than these.
    """
    n, correct = len(predictions), int((predictions["code"] == predictions["predicted"]).sum())
    near = int(((predictions["probability"] - THRESHOLD).abs() < ROUNDING).sum())
    if not abs(correct - n * evaluated_accuracy) < near + 0.5:
        raise ValueError(
            f"trace / n = {correct} / {n} = {correct / n:.6f}, but Keras measured {evaluated_accuracy:.6f}: "
            "predictions and labels are not of the same pictures in the same order"
        )


def confusion(predictions: pd.DataFrame, class_names: list[str]) -> pd.DataFrame:
    """Returns counts of pictures, true label down and predicted label across; class_names[0] is code 0."""
    counts = metrics.confusion_matrix(predictions["code"], predictions["predicted"], labels=[0, 1])
    true, predicted = (pd.Index(class_names, name=f"{which} label") for which in ("true", "predicted"))
    return pd.DataFrame(counts, index=true, columns=predicted)


def confident_mistakes(predictions: pd.DataFrame, number: int = 12) -> pd.DataFrame:
    """Returns the wrong predictions, surest first; `confidence` (0.5 to 1) is in the class predicted."""
    mistakes = predictions[~predictions["correct"]]
    confidence = mistakes["probability"].where(mistakes["predicted"] == 1, 1 - mistakes["probability"])
    ordered = mistakes.assign(confidence=confidence)
    return ordered.sort_values(["confidence", "image_name"], ascending=[False, True]).head(number)
