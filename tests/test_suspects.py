"""Suspected labels follow the published rule, worked out by hand on a small table."""

import sys

import pandas as pd
import pytest

from src.config import KNOWN_WRONG_LABELS
from src.results.suspects import describe_suspected, find_known, kaggle_name, suspected_labels

NAMES = ["cat", "dog"]


@pytest.fixture
def predictions() -> pd.DataFrame:
    """Twelve pictures: five good ones and one odd one or two of each class.

    The thresholds, each class's mean probability of its own pictures:
    cat (0.9 x 5 + 0.1) / 6 = 0.7667; dog (0.9 x 4 + 0.6 + 0.15) / 6 = 0.725.
    """
    cats = [0.1] * 5 + [0.9]  # of dog; the last passes dog's threshold: suspected
    dogs = [0.9] * 4 + [0.4, 0.15]  # 0.6 is cat's there, below 0.7667: wrong, but not suspected; then 0.85
    table = pd.DataFrame({"code": [0] * 6 + [1] * 6, "probability": cats + dogs})
    return table.assign(image_name=[f"{number}.jpg" for number in range(12)])


def test_without_cleanlab_no_label_is_judged_and_a_line_says_so(predictions, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "cleanlab.filter", None)
    found = suspected_labels(predictions, NAMES)
    assert found.empty and list(found) == ["rank", "image_name", "label", "suggested", "probability"]
    assert "no label is judged: cleanlab is not installed" in caplog.text
    assert describe_suspected(found) == "No label was judged: cleanlab is not installed."


def test_suspected_labels_are_told_of_how_many(predictions):
    assert (
        describe_suspected(suspected_labels(predictions, NAMES)) == "Of 12 held-out labels 2 are suspected."
    )


def test_only_pictures_past_the_other_class_threshold_are_suspected(predictions):
    found = suspected_labels(predictions, NAMES)
    assert found["image_name"].tolist() == ["5.jpg", "11.jpg"]
    assert found["rank"].tolist() == [1, 2]
    assert found["label"].tolist() == ["cat", "dog"] and found["suggested"].tolist() == ["dog", "cat"]
    assert found["probability"].tolist() == pytest.approx([0.9, 0.85])


def test_the_order_of_the_table_does_not_matter(predictions):
    mixed = predictions.sample(frac=1, random_state=3)
    pd.testing.assert_frame_equal(suspected_labels(mixed, NAMES), suspected_labels(predictions, NAMES))


def test_labels_that_all_hold_give_an_empty_table(predictions):
    good = predictions.assign(probability=predictions["code"] * 0.8 + 0.1)
    found = suspected_labels(good, NAMES)
    assert found.empty and list(found) == ["rank", "image_name", "label", "suggested", "probability"]


def test_a_picture_with_two_predictions_or_one_class_alone_is_refused(predictions):
    with pytest.raises(ValueError, match=r"3\.jpg has two predictions"):
        suspected_labels(pd.concat([predictions, predictions.iloc[[3]]]), NAMES)
    with pytest.raises(ValueError, match=r"of code \[1\]"):
        suspected_labels(predictions[predictions["code"] == 1], NAMES)


@pytest.mark.parametrize(
    "name", ["Dog/8736.jpg", "PetImages/Dog/8736.jpg", "train/dog.8736.jpg", "dog.8736.jpg"]
)
def test_a_picture_has_one_name_in_every_layout(name):
    assert kaggle_name(name) == "dog.8736"


def test_known_labels_say_where_they_are_and_whether_they_were_found():
    features = pd.DataFrame(
        {
            "image_name": ["Cat/1450.jpg", "Cat/4338.jpg", "Cat/8736.jpg", "Dog/8736.jpg", "Dog/5604.jpg"],
            "split": ["train", "validation", "test", "", "test"],
            "reason": ["", "", "", "both labels", ""],
        }
    )
    suspected = pd.DataFrame({"image_name": ["Cat/8736.jpg", "Dog/5604.jpg"], "rank": [1, 2]})
    # Of their own labels' probabilities the four that were judged got 0.9, 0.1, 0.25 and 0.25.
    judged = pd.DataFrame({"image_name": ["Cat/4338.jpg", "Cat/8736.jpg", "Dog/5604.jpg", "Cat/2.jpg"]})
    judged = judged.assign(code=[0, 0, 1, 0], probability=[0.1, 0.9, 0.25, 0.75])
    found = find_known(features, judged, suspected, KNOWN_WRONG_LABELS)
    assert found["name"].tolist() == ["cat.1450", "cat.4338", "dog.8736", "dog.5604"]
    assert found["part"].tolist() == ["train", "validation", "left out: both labels", "test"]
    assert found["rank"].fillna(0).tolist() == [0, 0, 0, 2]
    assert found["place"].fillna(0).tolist() == [0, 4, 0, 2] and set(found["judged"]) == {4}
    assert find_known(features.head(0), judged, suspected, KNOWN_WRONG_LABELS).empty
