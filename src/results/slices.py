"""Where accuracy drops: predictions by class, and sliced by properties of the pictures."""

import cv2
import pandas as pd
from sklearn import metrics

from src.evaluation import interval_of
from src.generators import PictureBatches

ENOUGH = 20  # pictures that a bin needs for its interval to be meaningful
BY_CHANCE = 1 / 50  # share of bins that are clearly below by luck alone: one in forty to seventy (simulated)
MEASURES = {
    "size": "width × height of the file, pixels",
    "aspect": "aspect ratio: height / width",
    "brightness": "brightness: mean grey level, 0 to 255",
    "sharpness": "sharpness: variance of the Laplacian",
}


def measure_classes(predictions: pd.DataFrame, class_names: list[str]) -> pd.DataFrame:
    """Returns one row per class: pictures, how often it was predicted, precision, recall and F1 of it."""
    precision, recall, f1, pictures = metrics.precision_recall_fscore_support(
        predictions["code"], predictions["predicted"], labels=[0, 1], zero_division=0
    )
    columns = {
        "pictures": pictures,
        "predicted": [int((predictions["predicted"] == code).sum()) for code in (0, 1)],
        "precision": precision,
        "recall": recall,
        "f1": f1,
    }
    return pd.DataFrame(columns, pd.Index(class_names, name="class"))


def measure_pictures(batches: PictureBatches, features: pd.DataFrame) -> pd.DataFrame:
    """Returns one row per picture of a part of the data: image_name, size, aspect, brightness, sharpness.

    Size and aspect ratio are those of the file; brightness (mean grey level) and sharpness (variance of the
    Laplacian, J. L. Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000) are
    measured on the cached pixels, which the network sees.

    Args:
        batches: the part, from `load_batches`.
        features: the features table.
    """
    rows = []
    for name, row in zip(batches.image_names, batches.rows, strict=True):
        grey = cv2.cvtColor(batches.pixels[row], cv2.COLOR_RGB2GRAY)
        sharpness = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_64F))[1].item() ** 2
        rows.append({"image_name": name, "brightness": float(grey.mean()), "sharpness": sharpness})
    files = features[["image_name", "height", "width", "aspect_ratio"]]
    table = pd.DataFrame(rows).merge(files, on="image_name", validate="one_to_one")
    table["size"] = table["height"].astype(float) * table["width"].astype(float)
    table["aspect"] = table["aspect_ratio"].astype(float)
    return table[["image_name", *MEASURES]]


def accuracy_by_slice(predictions: pd.DataFrame, measures: pd.DataFrame, bins: int = 5) -> pd.DataFrame:
    """Returns the accuracy in each bin of each measure; bins hold roughly equal numbers of pictures.

    Columns: measure, smallest and largest value in the bin, n, accuracy, its 95 % Wilson interval (low,
    high), and clearly_below: whether the whole interval is below the accuracy over all pictures (never for
    bins of fewer than `ENOUGH`). Equal values stay together, so a measure can have fewer bins: a single one
    if all pictures have the same value.

    Args:
        predictions: from `evaluation.predict_table`.
        measures: from `measure_pictures`.
        bins: number of bins per measure.
    """
    table = predictions.merge(measures, on="image_name", validate="one_to_one")
    overall = predictions["correct"].mean()
    rows = []
    for measure in MEASURES:
        rank = table[measure].rank() - 0.5  # ties share the mean rank
        for _, chosen in table.groupby((rank / len(table) * bins).astype(int)):
            low, high = interval_of(chosen)
            row = {"measure": measure, "smallest": chosen[measure].min(), "largest": chosen[measure].max()}
            row |= {"n": len(chosen), "accuracy": chosen["correct"].mean(), "low": low, "high": high}
            rows.append(row)
    slices = pd.DataFrame(rows)
    return slices.assign(clearly_below=(slices["high"] < overall) & (slices["n"] >= ENOUGH))


def describe_worst(slices: pd.DataFrame, accuracy: float) -> str:
    """Returns a sentence on the worst bin that is clearly below the overall accuracy, or on there being none.

    Only bins that can be are counted: of `ENOUGH` pictures or more, but not of all pictures.

    Args:
        slices: from `accuracy_by_slice`.
        accuracy: over all pictures.
    """
    of_measure = slices.groupby("measure")["n"].transform("sum")
    judged = slices[(slices["n"] >= ENOUGH) & (slices["n"] < of_measure)]
    if judged.empty:
        return "There are too few pictures to tell where accuracy falls."
    below = judged[judged["clearly_below"]]
    bins = f"{len(judged)} bins of {ENOUGH} pictures or more"
    if below.empty:
        return f"In none of {bins} does the accuracy fall clearly below the overall {accuracy:.4f}."
    worst = below.loc[below["accuracy"].idxmin()]
    others = f", the worst of {len(below)} such bins" if len(below) > 1 else ", the only such bin"
    lucky = max(1, round(10 * (1 - (1 - BY_CHANCE) ** len(judged))))
    caveat = f" By chance alone, about {lucky} in 10 runs show one." if len(below) == 1 else ""
    return (
        f"Accuracy falls clearly below the overall {accuracy:.4f} where {worst['measure']} is "
        f"{_short(worst['smallest'])} to {_short(worst['largest'])}: {worst['accuracy']:.4f} "
        f"[{worst['low']:.4f}, {worst['high']:.4f}], n = {worst['n']:,}{others} among the {bins}.{caveat}"
    )


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
