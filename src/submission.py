"""From a saved network's predictions for unlabelled pictures to the file that Kaggle accepts."""

from pathlib import Path

import pandas as pd

from src.datasets.splitting import add_groups
from src.evaluation import THRESHOLD
from src.features import load_features
from src.images.files import natural_order
from src.networks.saved_model import SavedModel
from src.predict import Prediction, predict_pictures
from src.results.calibration import Calibration
from src.runs import read_json

EDITIONS = ("probabilities", "labels")


def predictions_table(saved: SavedModel, files: list[tuple[str, Path]]) -> pd.DataFrame:
    """Returns one row per file: image_name, probability of code 1, reason (why it cannot be read, or "").

    For the arguments see `predict.predict_pictures`.
    """
    return pd.DataFrame(list(predict_pictures(saved, files)), columns=Prediction._fields)


def predict_validation(saved: SavedModel, run: Path) -> pd.DataFrame:
    """Returns one row per validation picture of a run: image_name, probability, reason, code, any group.

    Pictures are read from their files, like the unlabelled ones, so that any saved network can be used, even
    one with another picture size than the run's.

    Raises:
        ValueError: a picture can no longer be read, or the network has other classes.
    """
    facts = read_json(run / "data.json")
    if saved.class_names != facts["class_names"]:
        raise ValueError(
            f"the network knows {saved.class_names}, the run {run} is of {facts['class_names']}; "
            "give a network of this run"
        )
    table = load_features(run / "features.csv")
    pictures = table[table["split"] == "validation"].sort_values("image_name", ignore_index=True)
    folder = Path(facts["folder"])
    predictions = predictions_table(saved, [(name, folder / name) for name in pictures["image_name"]])
    if len(lost := predictions[predictions["reason"] != ""]):
        name, reason = lost.iloc[0][["image_name", "reason"]]
        raise ValueError(
            f"{folder / name} cannot be read any more ({reason}), nor can {len(lost) - 1} other validation "
            "pictures; put the data set back where it was, or run notebook 01 again"
        )
    return add_groups(predictions.assign(code=pictures["code"].astype(int)), table)


def check_edition(edition: str) -> None:
    """Raises ValueError unless the edition is `probabilities` or `labels`."""
    if edition not in EDITIONS:
        raise ValueError(f"edition is {edition!r}; choose one of {', '.join(EDITIONS)}")


def make_submission(predictions: pd.DataFrame, calibration: Calibration, edition: str) -> pd.DataFrame:
    """Returns Kaggle's columns id and label, one row per picture, in order of id.

    If all file names are distinct numbers without leading zeros, such as `test1/12.jpg`, these are the ids;
    otherwise the names without folder and extension, or the full names if two of those are the same.

    Args:
        predictions: from `predictions_table`.
        calibration: from `calibrate`; it does not change labels.
        edition: `probabilities` (of code 1, calibrated) or `labels` (0 or 1). A picture that cannot be read
            gets 0.5, or the label that most of the others get (0 in a tie).

    Raises:
        ValueError: an unknown edition.
    """
    check_edition(edition)
    label = calibration.apply(predictions["probability"]).round(9)
    if edition == "labels":
        is_read = predictions["reason"] == ""
        label = (predictions["probability"] > THRESHOLD).astype(int)
        label[~is_read] = int(label[is_read].mean() > 0.5) if is_read.any() else 0
    table = pd.DataFrame({"id": name_ids(list(predictions["image_name"])), "label": label})
    return table.sort_values("id", key=lambda ids: ids.astype(str).map(natural_order), ignore_index=True)


def name_ids(names: list[str]) -> list[int | str]:
    """Returns the ids of pictures; see `make_submission`."""
    stems = [Path(name).stem for name in names]
    if len(set(stems)) < len(stems):
        return names
    are_numbers = all(stem.isdecimal() and str(int(stem)) == stem for stem in stems)
    return [int(stem) for stem in stems] if are_numbers else stems


def least_certain(predictions: pd.DataFrame, number: int = 12) -> pd.DataFrame:
    """Returns the readable pictures whose probability is closest to 0.5, closest first."""
    read = predictions[predictions["reason"] == ""]
    order = (read["probability"] - 0.5).abs().sort_values(kind="stable").index
    return read.loc[order].head(number)


def surest(predictions: pd.DataFrame, number: int = 6) -> pd.DataFrame:
    """Returns the readable pictures most surely of each class, `number` of each: first those of code 0."""
    read = predictions[predictions["reason"] == ""].sort_values("probability", kind="stable")
    of_one = read["probability"] > THRESHOLD
    return pd.concat([read[~of_one].head(number), read[of_one].tail(number)[::-1]])
