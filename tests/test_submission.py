"""From probabilities to Kaggle's file: ids in order, nothing missing, and as sure as validation allows."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src import submission
from src.networks.saved_model import SavedModel
from src.predict import Prediction
from src.results import calibration
from src.results.calibration import Calibration, calibrate, log_loss, log_loss_table
from src.runs import write_json
from src.submission import make_submission, name_ids, predict_validation

AS_IT_IS = Calibration(1.0, 0.0)


def told(*rows: tuple) -> pd.DataFrame:
    """Predictions of these names and probabilities; None is a picture that cannot be read."""
    return pd.DataFrame(
        [(name, 0.5 if value is None else value, "zero bytes" * (value is None)) for name, value in rows],
        columns=Prediction._fields,
    )


def sigmoid(logit: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logit))


def sure_too_much(n: int = 4000, factor: float = 2.5) -> pd.DataFrame:
    """Codes drawn with known chances, and a network whose logits are `factor` times the true ones."""
    random = np.random.default_rng(0)
    logit = random.normal(0, 2, n)
    codes = (random.random(n) < sigmoid(logit)).astype(int)
    return pd.DataFrame({"code": codes, "probability": sigmoid(factor * logit)})


def test_ids_are_numbers_in_order_and_labels_are_probabilities():
    table = make_submission(told(("test1/10.jpg", 0.25), ("test1/9.jpg", 0.75)), AS_IT_IS, "probabilities")
    assert table.to_csv(index=False) == "id,label\n9,0.75\n10,0.25\n"


def test_a_picture_that_cannot_be_read_has_its_row():
    rows = told(("1.jpg", 0.9), ("2.jpg", None), ("3.jpg", 0.8), ("4.jpg", 0.1))
    probabilities = make_submission(rows, Calibration(0.5, 0.01), "probabilities")
    assert probabilities["id"].tolist() == [1, 2, 3, 4] and probabilities["label"][1] == 0.5
    labels = make_submission(rows, Calibration(0.5, 0.01), "labels")
    assert labels.to_csv(index=False) == "id,label\n1,1\n2,1\n3,1\n4,0\n", "most of the others are 1"
    assert make_submission(rows[1:], AS_IT_IS, "labels")["label"].tolist() == [0, 1, 0], "a draw"
    assert make_submission(rows[1:2], AS_IT_IS, "labels")["label"].tolist() == [0], "no other"
    undecided = told(("1.jpg", 0.5), ("2.jpg", 0.6))
    assert make_submission(undecided, AS_IT_IS, "labels")["label"].tolist() == [0, 1], "as src.predict says"


def test_where_a_name_is_no_number_the_ids_are_names_in_order():
    names = ["b.jpg", "12.jpg", "cat.7.jpg", "a10.jpg", "a9.jpg", "3.jpg"]
    table = make_submission(told(*((name, 0.5) for name in names)), AS_IT_IS, "probabilities")
    assert table["id"].tolist() == ["3", "12", "a9", "a10", "b", "cat.7"]


def test_zeros_before_a_number_stay_and_all_ids_are_of_one_form():
    assert name_ids(["00001234.jpg", "12345678.jpg", "a2345678.jpg"]) == ["00001234", "12345678", "a2345678"]
    assert name_ids(["test/01.jpg", "test/10.jpg"]) == ["01", "10"] and name_ids(["0.jpg", "10.jpg"]) == [
        0,
        10,
    ]


def test_two_pictures_of_one_number_keep_their_names():
    assert name_ids(["a/1.jpg", "b/1.jpg", "b/2.jpg"]) == ["a/1.jpg", "b/1.jpg", "b/2.jpg"]
    assert name_ids(["1.jpg", "1.png"]) == ["1.jpg", "1.png"]
    assert name_ids(["1.jpg", "٣.jpg", "².jpg"]) == ["1", "٣", "²"], (
        "other scripts' digits are no numbers here"
    )


def test_an_unknown_edition_is_named():
    with pytest.raises(ValueError, match="edition is 'both'; choose one of probabilities, labels"):
        make_submission(told(("1.jpg", 0.5)), AS_IT_IS, "both")


def test_the_temperature_undoes_what_made_the_network_too_sure():
    validation = sure_too_much(factor=2.5)
    assert calibrate(validation).temperature == pytest.approx(2.5, rel=0.1)
    assert calibrate(sure_too_much(factor=0.5)).temperature == pytest.approx(0.5, rel=0.1)
    for temperature in (2.0, 3.2):  # no other one is better
        other = Calibration(temperature, 0.0)
        assert log_loss(validation, calibrate(validation)._replace(clip=0.0)) < log_loss(validation, other)


def test_few_pictures_do_not_make_a_network_surer_than_many_would():
    """It is as sure as it is right. All of the 100 are right, which the coldest temperature would praise."""
    random = np.random.default_rng(0)
    code = random.integers(0, 2, 20_100)
    logit = np.where(code, 6.0, -6.0) + np.sqrt(12) * random.normal(size=len(code))
    pictures = pd.DataFrame({"code": code, "probability": sigmoid(logit)})
    wrong = (pictures["probability"] > 0.5) != (pictures["code"] == 1)
    few = pictures[~wrong].head(100)
    others = pictures.drop(few.index)
    assert log_loss(few, Calibration(0.06, 0.0)) < log_loss(few, Calibration(0.5, 0.0))
    assert 0.5 < calibrate(few).temperature < 1
    assert log_loss(others, calibrate(few)) < 0.5 * log_loss(others, Calibration(0.06, 0.0))
    assert calibrate(others).temperature == pytest.approx(1, abs=0.03)


def test_the_temperature_is_the_likeliest_under_its_prior():
    """Of 40 alike pictures, 38 are right; by Bayes' rule, on a fine grid of logarithms of the temperature."""
    alike = pd.DataFrame({"code": [1] * 38 + [0] * 2, "probability": 0.8})
    logarithm = np.linspace(-2, 2, 4001)
    right = sigmoid(np.log(0.8 / 0.2) / np.exp(logarithm))
    posterior = 38 * np.log(right) + 2 * np.log(1 - right) - (logarithm / 0.5) ** 2 / 2
    assert calibrate(alike).temperature == pytest.approx(np.exp(logarithm[posterior.argmax()]), rel=0.005)


def test_the_temperature_divides_the_logit_and_the_clip_holds_at_both_ends():
    probability = pd.Series([0.0, 0.2, 0.5, 0.9, 1.0])
    calibrated = Calibration(2.0, 0.01).apply(probability)
    by_hand = [sigmoid(np.log(p / (1 - p)) / 2) for p in (0.2, 0.9)]
    assert calibrated.tolist() == pytest.approx([0.01, by_hand[0], 0.5, by_hand[1], 0.99])
    ends = Calibration(2.0, 0.0).apply(
        pd.Series([0.0, 1.0])
    )  # as in the saved network, whose logits are finite
    assert ends.tolist() == pytest.approx([sigmoid(np.log(1e-7) / 2), sigmoid(-np.log(1e-7) / 2)], rel=1e-3)
    assert 1 - ends[1] == pytest.approx(ends[0], rel=1e-6)


def test_one_sure_mistake_among_hundred_asks_for_a_clip_of_about_a_hundredth():
    """For 100 alike predictions of which one is wrong 0.01 is best; the temperature cannot give it.

    It has to serve many more pictures, whose probability of 0.8 is right as it is.
    """
    alike = pd.DataFrame({"code": [0] * 99 + [1], "probability": 1e-6})
    moderate = pd.DataFrame({"code": [1] * 80 + [0] * 20, "probability": 0.8})
    validation = pd.concat([alike] + [moderate] * 20, ignore_index=True)
    assert calibrate(validation).clip == pytest.approx(0.01, rel=0.15)


def test_a_validation_part_without_mistakes_allows_no_certainty():
    perfect = pd.DataFrame({"code": [0, 1] * 50, "probability": [0.1, 0.9] * 50})
    chosen = calibrate(perfect)
    assert chosen.clip == pytest.approx(1 / 102)
    assert chosen.apply(perfect["probability"]).max() == pytest.approx(101 / 102)


def test_a_given_clip_is_kept_and_an_impossible_one_named():
    for clip in (0.03, 0.49):
        assert calibrate(sure_too_much(200), clip=clip).clip == clip
    for clip in (-0.1, 0.5, float("nan")):
        with pytest.raises(ValueError, match="clip is .*; give 0 to have it chosen"):
            calibrate(sure_too_much(200), clip=clip)


def test_the_table_shows_the_gain_also_on_pictures_that_it_was_not_chosen_on():
    validation = sure_too_much(2000)
    chosen = calibrate(validation)
    table = log_loss_table(validation, chosen, 0.0).set_index("probabilities")
    clipped = validation["probability"].clip(1e-7, 1 - 1e-7)
    before = -np.where(validation["code"] == 1, np.log(clipped), np.log(1 - clipped)).mean()
    assert table.loc["as the network gives them"].tolist() == pytest.approx([before, before])
    assert table.loc["temperature and clip", "log_loss"] == pytest.approx(log_loss(validation, chosen))
    held_out = table["log_loss_held_out"]
    assert held_out["temperature"] < held_out["as the network gives them"] - 0.05
    assert table.loc["temperature", "log_loss"] <= held_out["temperature"]


@pytest.mark.parametrize("groups", [2, 6])
def test_pictures_of_a_group_are_in_one_half(groups, monkeypatch):
    halves = []

    def calibrate_half(half, clip, independent):
        halves.append(half)
        assert independent == calibration.count_independent(validation) / 2, "what both are worth, halved"
        assert clip == 0.02
        return Calibration(1.0, 0.0)

    monkeypatch.setattr(calibration, "calibrate", calibrate_half)
    validation = sure_too_much(60).assign(group=[f"patient {number % groups}" for number in range(60)])
    log_loss_table(validation, Calibration(1.0, 0.0), 0.02, seed=3)
    first, second = (set(half["group"]) for half in halves)
    assert len(first) == len(second) == groups / 2 and not first & second


def test_validation_pictures_of_one_group_are_halved_one_by_one(caplog):
    validation = sure_too_much(60)
    chosen = calibrate(validation)
    alone = log_loss_table(validation.assign(group="patient 1"), chosen, 0.0, seed=3)
    pd.testing.assert_frame_equal(alone, log_loss_table(validation, chosen, 0.0, seed=3))
    assert "all validation pictures belong to one group" in caplog.text


@pytest.mark.parametrize("number", [8, 12, 20])
def test_few_pictures_are_clipped_no_less_than_laplaces_rule_says(number):
    few = pd.DataFrame({"code": [0, 1] * 10, "probability": [0.01, 0.99] * 10}).head(number)
    assert calibrate(few).clip == pytest.approx(1 / (number + 2))


@pytest.fixture
def run(tmp_path, monkeypatch) -> Path:
    """A run whose pictures are told by their names: 0.jpg has probability 0.0, 7.jpg 0.7."""
    write_json(tmp_path / "data.json", {"class_names": ["cat", "dog"], "folder": str(tmp_path / "pictures")})
    table = pd.DataFrame(
        {
            "image_name": ["7.jpg", "1.jpg", "4.jpg", "9.jpg"],
            "split": ["validation", "train", "validation", ""],
            "code": pd.array([1, 0, 0, None], dtype="Int64"),
        }
    )
    monkeypatch.setattr(submission, "load_features", lambda path: table)

    def answer(saved, files):
        assert all(path == tmp_path / "pictures" / name for name, path in files)
        return [Prediction(name, int(name[0]) / 10, saved.network) for name, _ in files]

    monkeypatch.setattr(submission, "predict_pictures", answer)
    return tmp_path


def test_validation_predictions_meet_their_own_codes(run):
    validation = predict_validation(SavedModel("", ["cat", "dog"], 8, "area"), run)
    assert validation[["image_name", "probability", "code"]].to_numpy().tolist() == [
        ["4.jpg", 0.4, 0],
        ["7.jpg", 0.7, 1],
    ]


def test_a_validation_picture_that_is_gone_and_another_runs_network_are_named(run):
    with pytest.raises(ValueError, match=r"4\.jpg cannot be read any more \(gone\), nor can 1 other"):
        predict_validation(SavedModel("gone", ["cat", "dog"], 8, "area"), run)
    with pytest.raises(ValueError, match=r"the network knows \['a', 'b'\]"):
        predict_validation(SavedModel("", ["a", "b"], 8, "area"), run)


def test_the_doubtful_and_the_sure_are_readable_pictures():
    rows = told(("1.jpg", 0.9), ("2.jpg", None), ("3.jpg", 0.45), ("4.jpg", 0.1), ("5.jpg", 0.7))
    assert submission.least_certain(rows, 2)["image_name"].tolist() == ["3.jpg", "5.jpg"]
    assert submission.surest(rows, 1)["image_name"].tolist() == ["4.jpg", "1.jpg"]
    assert submission.surest(rows, 6)["image_name"].tolist() == ["4.jpg", "3.jpg", "1.jpg", "5.jpg"]
    undecided = told(("1.jpg", 0.5), ("2.jpg", 0.6))
    assert submission.surest(undecided)["image_name"].tolist() == ["1.jpg", "2.jpg"]


def test_pictures_of_few_groups_are_believed_no_more_than_as_many_pictures():
    """20 groups of 50 without a mistake say of the next group what 20 pictures say of the next one."""
    table = sure_too_much(1000)
    table["probability"] = table["code"].map({0: 0.02, 1: 0.98})
    grouped = table.assign(group=np.repeat(np.arange(20), 50))
    assert calibrate(table).clip == pytest.approx(1 / 1002, rel=0.01)
    assert calibrate(grouped).clip == pytest.approx(1 / 22, rel=0.01)
    assert calibrate(table, independent=20).clip == pytest.approx(1 / 22, rel=0.01)
    halves = table.assign(group=np.repeat(["a", "b"], 500))
    assert calibration.count_independent(halves) == 2
    assert calibrate(table).temperature < calibrate(grouped).temperature < 1
    uneven = table.assign(group=np.r_[np.zeros(900), np.arange(1, 101)])  # 1,000 ** 2 / (900 ** 2 + 100)
    assert calibrate(uneven).clip == calibration.LARGEST_CLIP, "1.2 groups say nothing"
    first = grouped["group"].isin(range(6)) & ~grouped["group"].duplicated()
    grouped.loc[first, "probability"] = grouped["code"].map({0: 0.6, 1: 0.4})  # one in each of six groups
    assert calibrate(grouped).clip < 1 / 100
