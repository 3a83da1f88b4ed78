"""Suspected labels: pictures whose label is doubted by a network that never saw them (confident learning).

C. G. Northcutt, L. Jiang, I. L. Chuang, "Confident learning: estimating uncertainty in dataset labels", JAIR
70 (2021), 1373-1411, as implemented by cleanlab: the threshold of a class is the mean probability that its
own pictures get for it; a picture above the threshold of the other class, and likelier there, is suspected.
"""

import logging
import re

import numpy as np
import pandas as pd

logger = logging.getLogger(__name__)


def suspected_labels(predictions: pd.DataFrame, class_names: list[str]) -> pd.DataFrame:
    """Returns the pictures whose label is suspected, most doubtful first.

    Columns: rank (from 1), image_name, label, suggested (the other class) and probability (of the suggested
    class). If cleanlab is not installed, as may happen without internet, a warning is logged and the table is
    empty. `attrs["judged"]` is how many labels were judged.

    Args:
        predictions: image_name, code and probability of class 1, of pictures that the network was not
            trained on: a network agrees with nearly every label that it was trained on.
        class_names: of code 0 and code 1.

    Raises:
        ValueError: a picture occurs twice, or a class is missing.
    """
    if twice := sorted(predictions["image_name"][predictions["image_name"].duplicated()]):
        raise ValueError(f"{twice[0]} has two predictions; give each picture once")
    codes, probability = predictions["code"].to_numpy(), predictions["probability"].to_numpy()
    if set(codes) != {0, 1}:
        raise ValueError(
            f"{len(codes)} pictures, all of code {sorted(set(codes.tolist()))}: give pictures of 0 and of 1"
        )
    of_classes = np.column_stack([1 - probability, probability])
    issues = _find_issues(codes, of_classes)
    rows = np.empty(0, int) if issues is None else issues
    found = predictions.iloc[rows]
    table = pd.DataFrame(
        {
            "rank": range(1, len(found) + 1),
            "image_name": found["image_name"].to_numpy(),
            "label": [class_names[code] for code in codes[rows]],
            "suggested": [class_names[1 - code] for code in codes[rows]],
            "probability": of_classes[rows, 1 - codes[rows]],
        }
    )
    table.attrs["judged"] = 0 if issues is None else len(predictions)
    return table


def describe_suspected(suspected: pd.DataFrame) -> str:
    """Returns a sentence on how many of how many labels are suspected, or that none was judged."""
    if not suspected.attrs["judged"]:
        return "No label was judged: cleanlab is not installed."
    return f"Of {suspected.attrs['judged']:,} held-out labels {len(suspected):,} are suspected."


def _find_issues(codes: np.ndarray, probabilities: np.ndarray) -> np.ndarray | None:
    try:
        from cleanlab.filter import find_label_issues
    except ImportError:
        logger.warning("no label is judged: cleanlab is not installed (pip install cleanlab)")
        return None
    how = {"filter_by": "confident_learning", "return_indices_ranked_by": "self_confidence"}
    # A single process: for tables of this size, cleanlab's worker processes cost more than they save.
    return find_label_issues(codes, probabilities, n_jobs=1, **how)


def find_known(
    features: pd.DataFrame, predictions: pd.DataFrame, suspected: pd.DataFrame, known: tuple[str, ...]
) -> pd.DataFrame:
    """Returns how known label errors fared, one row per known picture in the data.

    Columns: name, image_name, part (of the split, or the reason why notebook 01 left the picture out), rank
    (in `suspected_labels`; missing if the label was not suspected), place (among all judged pictures, ordered
    by the probability of their own label, lowest first; missing if the picture was not judged) and judged
    (how many were).

    Args:
        features: the split features table.
        predictions: from which `suspected` was made.
        suspected: from `suspected_labels`.
        known: Kaggle's names, such as `dog.8736`; `Dog/8736.jpg` is the same picture.
    """
    names = features["image_name"].map(kaggle_name)
    present = features.assign(name=names)[names.isin(known)]
    ranks = suspected.set_index("image_name")["rank"]
    of_label = predictions["probability"].where(predictions["code"] == 1, 1 - predictions["probability"])
    places = of_label.rank(method="min").set_axis(predictions["image_name"])
    return pd.DataFrame(
        {
            "name": present["name"],
            "image_name": present["image_name"],
            "part": present["split"].where(present["split"] != "", "left out: " + present["reason"]),
            "rank": present["image_name"].map(ranks).astype("Int64"),
            "place": present["image_name"].map(places).astype("Int64"),
            "judged": len(predictions),
        }
    ).reset_index(drop=True)


def kaggle_name(image_name: str) -> str:
    """Returns Kaggle's name of a picture, without suffix: `dog.8736` for `PetImages/Dog/8736.jpg`."""
    parts = re.split(r"[/.]", image_name.lower())
    return ".".join(parts[-3:-1])
