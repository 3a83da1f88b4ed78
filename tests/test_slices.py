"""Accuracy by slice: measures of drawn pictures, bins counted by hand."""

import numpy as np
import pandas as pd
import pytest

from src.evaluation import accuracy_interval
from src.generators import PictureBatches
from src.results.slices import MEASURES, accuracy_by_slice, describe_worst, measure_classes, measure_pictures


def test_brightness_and_sharpness_are_of_the_pixels_and_the_rest_of_the_file():
    pixels = np.zeros((3, 8, 8, 3), dtype="uint8")
    pixels[1] = 100  # one grey: bright, without an edge
    pixels[2, ::2] = 200  # stripes: as bright, sharp
    names = ["b.jpg", "c.jpg"]
    batches = PictureBatches(pixels, np.array([1, 2]), np.array([0, 1]), names)
    files = {"image_name": ["a.jpg", "c.jpg", "b.jpg"], "height": [1, 30, 10], "width": [1, 20, 40]}
    features = pd.DataFrame(files)
    features["aspect_ratio"] = features["height"] / features["width"]
    table = measure_pictures(batches, features).set_index("image_name")
    assert table.index.tolist() == names and list(table) == list(MEASURES)
    assert table["size"].tolist() == [400, 600] and table["aspect"].tolist() == [0.25, 1.5]
    assert table["brightness"].tolist() == [100, 100]
    # The Laplacian of stripes is 2 x 200 up or down at every place, also at the mirrored edges.
    assert table["sharpness"].tolist() == [0, pytest.approx(400**2)]


@pytest.fixture
def hundred() -> tuple[pd.DataFrame, pd.DataFrame]:
    """100 pictures; of the 20 darkest all are wrong, the others right. All files are alike but for aspect."""
    names = [f"{number}.jpg" for number in range(100)]
    predictions = pd.DataFrame({"image_name": names, "correct": np.arange(100) >= 20})
    aspect = np.repeat([1.0, 2.0], 50)
    constant = {"size": 400.0, "sharpness": 7.0}
    measures = pd.DataFrame(
        {"image_name": names, "aspect": aspect, "brightness": np.arange(100.0), **constant}
    )
    return predictions, measures.sample(frac=1, random_state=0)


def test_bins_hold_equal_numbers_and_equal_values_stay_together(hundred):
    table = accuracy_by_slice(*hundred)
    assert table.groupby("measure", sort=False)["n"].apply(list).to_dict() == {
        "size": [100],
        "aspect": [50, 50],
        "brightness": [20] * 5,
        "sharpness": [100],
    }
    brightness = table[table["measure"] == "brightness"]
    assert brightness["accuracy"].tolist() == [0, 1, 1, 1, 1]
    assert brightness["smallest"].tolist() == [0, 20, 40, 60, 80]
    assert brightness["largest"].tolist() == [19, 39, 59, 79, 99]
    first = brightness.iloc[0]
    assert (first["low"], first["high"]) == accuracy_interval(0, 20)


@pytest.mark.parametrize("rare", [0.5, 2.0], ids=["at the bottom", "at the top"])
def test_a_rare_value_keeps_a_bin_of_its_own(hundred, rare):
    predictions, measures = hundred
    aspect = np.where(np.arange(100) < 10, rare, 1.0)
    table = accuracy_by_slice(predictions, measures.assign(aspect=aspect))
    assert sorted(table.loc[table["measure"] == "aspect", "n"]) == [10, 90]


def test_the_worst_bin_is_named_with_its_place_among_those_below(hundred):
    words = describe_worst(accuracy_by_slice(*hundred), 0.8)
    # 30 of the first 50 by aspect are right: 0.6, and Wilson's interval ends at 0.7239, below 0.8 too.
    assert (
        "where brightness is 0 to 19: 0.0000" in words
        and "the worst of 2 such bins among the 7 bins of 20" in words
    )
    assert "By chance" not in words


def test_a_single_bin_may_be_chance_as_often_as_there_are_bins_to_judge(hundred):
    predictions, measures = hundred
    table = accuracy_by_slice(predictions, measures.assign(aspect=1.0))
    words = describe_worst(table, 0.8)
    # 1 - (49 / 50) ** 5 = 0.096
    assert "the only such bin among the 5 bins" in words and "By chance alone, about 1 in 10 runs" in words
    table = table[table["measure"] == "brightness"]
    words = describe_worst(pd.concat([table, *[table.assign(clearly_below=False)] * 6]), 0.8)
    # 1 - (49 / 50) ** 35 = 0.507
    assert "the only such bin among the 35 bins" in words and "By chance alone, about 5 in 10 runs" in words


def test_an_interval_that_reaches_the_overall_accuracy_is_no_fall(hundred):
    predictions, measures = hundred
    spread = predictions.assign(correct=np.arange(100) % 5 > 0)
    words = describe_worst(accuracy_by_slice(spread, measures), 0.8)
    assert words == (
        "In none of 7 bins of 20 pictures or more does the accuracy fall clearly below the overall 0.8000."
    )
    few = [spread.head(50), measures[measures["image_name"].isin(spread.head(50)["image_name"])]]
    words = describe_worst(accuracy_by_slice(*few), 0.8)
    assert words == "There are too few pictures to tell where accuracy falls."


def test_a_class_that_is_never_rightly_predicted_has_no_precision_and_no_recall():
    predictions = pd.DataFrame({"code": [0, 0, 1, 1, 1, 1], "predicted": [1, 1, 1, 1, 1, 0]})
    table = measure_classes(predictions, ["ill", "well"])
    assert table.loc["ill"].tolist() == [2, 1, 0, 0, 0]
    assert table.loc["well"].tolist() == [4, 5, 3 / 5, 3 / 4, pytest.approx(2 * 3 / (4 + 5))]
    never = measure_classes(predictions.assign(predicted=1), ["ill", "well"])
    assert never.loc["ill"].tolist() == [2, 0, 0, 0, 0]
