"""Predictions, labels and figures are of the same pictures; a test's name says what is broken if it fails."""

import keras
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.stats import binomtest

from src import evaluation
from src.datasets.splitting import class_balance
from src.results import curves, opening, operating_point, slices

N = 37  # not a multiple of the batch size: the last batch is a short one


class Batches(keras.utils.PyDataset):
    """Feature vectors in place of pictures, with what `predict_table` looks at."""

    def __init__(self, features, codes, batch_size=8):
        super().__init__()
        self.features, self.codes, self.batch_size = features, codes, batch_size
        self.image_names = [f"picture {i}.jpg" for i in range(len(codes))]
        self.shuffle, self.augmentation, self.epoch_fraction = False, None, 1.0

    def __len__(self):
        return -(-len(self.features) // self.batch_size)

    def __getitem__(self, index):
        part = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return self.features[part], self.codes[part].astype("float32")


@pytest.fixture
def batches():
    random = np.random.default_rng(3)
    codes = random.integers(0, 2, N)
    return Batches((codes[:, None] + random.normal(0, 0.7, (N, 3))).astype("float32"), codes)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(5)
    layers = [
        keras.Input((3,)),
        keras.layers.Dense(4, activation="relu", kernel_regularizer=keras.regularizers.L2(0.1)),
        keras.layers.Dense(1, activation="sigmoid", kernel_regularizer=keras.regularizers.L2(0.01)),
    ]
    model = keras.Sequential(layers)
    model.compile(loss="binary_crossentropy", metrics=["accuracy"])
    return model


def make_predictions(codes, probabilities):
    codes, probabilities = np.asarray(codes), np.asarray(probabilities, dtype=float)
    predicted = (probabilities > 0.5).astype(int)
    names = [f"{i:05d}.jpg" for i in range(len(codes))]
    columns = {
        "code": codes,
        "probability": probabilities,
        "predicted": predicted,
        "correct": predicted == codes,
    }
    return pd.DataFrame({"image_name": names, **columns})


def test_a_prediction_belongs_to_another_picture(model, batches):
    table = evaluation.predict_table(model, batches)
    assert list(table) == ["image_name", "code", "probability", "predicted", "correct"]
    assert list(table["image_name"]) == batches.image_names
    assert list(table["code"]) == list(batches.codes)
    for i in (0, 8, N - 1):  # one alone: the network's answer to that very picture
        alone = keras.ops.convert_to_numpy(model(batches.features[i : i + 1]))[0, 0]
        assert table["probability"][i] == pytest.approx(alone, abs=1e-6)
    assert (table["correct"] == ((table["probability"] > 0.5) == (table["code"] == 1))).all()


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("shuffle", True, "shuffle=False"),
        ("augmentation", object(), "augmentation"),
        ("epoch_fraction", 1 / 16, "epoch_fraction"),
        ("image_names", [f"{i}" for i in range(N - 1)], "each picture once"),
        ("image_names", ["the same"] * N, "each picture once"),
    ],
)
def test_a_source_that_can_not_be_aligned_is_accepted(model, batches, attribute, value, message):
    setattr(batches, attribute, value)
    with pytest.raises(ValueError, match=message):
        evaluation.predict_table(model, batches)


def test_a_source_that_serves_too_few_pictures_is_accepted(model, batches):
    batches.features = batches.features[:-8]
    with pytest.raises(ValueError, match="serve every picture once"):
        evaluation.predict_table(model, batches)


def test_a_network_that_has_become_nan_is_measured(batches):
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(1, kernel_initializer=keras.initializers.Constant(np.nan))]
    )
    with pytest.raises(ValueError, match="not finite"):
        evaluation.predict_table(model, batches)


def test_the_trace_of_the_confusion_matrix_is_not_the_accuracy_of_keras(model, batches):
    predictions = evaluation.predict_table(model, batches)
    accuracy = model.evaluate(batches, verbose=0, return_dict=True)["accuracy"]
    matrix = evaluation.confusion(predictions, ["cat", "dog"])
    assert np.trace(matrix) / matrix.to_numpy().sum() == pytest.approx(accuracy, abs=1e-6)
    evaluation.check_against_keras(predictions, accuracy)


def test_a_network_that_answers_exactly_one_half_is_counted_otherwise_than_by_keras(batches):
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(1, "sigmoid", kernel_initializer="zeros")]
    )
    model.compile(loss="binary_crossentropy", metrics=["accuracy"])
    predictions = evaluation.predict_table(model, batches)
    assert (predictions["probability"] == 0.5).all()
    accuracy = model.evaluate(batches, verbose=0)[1]
    assert predictions["correct"].mean() == pytest.approx(accuracy, abs=1e-6)


def test_a_picture_at_the_threshold_that_an_accelerator_rounds_otherwise_ends_a_run():
    predictions = make_predictions([1] * 10, [0.9] * 8 + [0.5004, 0.1])
    evaluation.check_against_keras(predictions, 0.8)  # nine here, the one at 0.5004 on the other side there
    for wrong in (0.7, 1.1):
        with pytest.raises(ValueError, match="9 / 10"):
            evaluation.check_against_keras(predictions, wrong)


@pytest.mark.parametrize("wrong", [0.76, 0.74, float("nan")])
def test_an_accuracy_one_picture_off_passes_the_check(wrong):
    predictions = make_predictions([1] * 100, [0.9] * 75 + [0.1] * 25)
    evaluation.check_against_keras(predictions, np.float32(0.75) + np.float32(1e-6))
    with pytest.raises(ValueError, match="75 / 100"):
        evaluation.check_against_keras(predictions, wrong)


def test_the_loss_is_not_the_sum_of_cross_entropy_and_penalties(model, batches):
    predictions = evaluation.predict_table(model, batches)
    figures = opening.losses(model, batches, predictions)
    kernels = [keras.ops.convert_to_numpy(layer.kernel) for layer in model.layers]
    penalty = 0.1 * (kernels[0] ** 2).sum() + 0.01 * (kernels[1] ** 2).sum()
    assert figures["penalty"] == pytest.approx(penalty, rel=1e-5)
    p = predictions["probability"].where(predictions["code"] == 1, 1 - predictions["probability"])
    assert figures["cross_entropy"] == pytest.approx(-np.log(p).mean(), rel=1e-5)
    assert figures["loss"] == pytest.approx(figures["cross_entropy"] + figures["penalty"], rel=1e-5)
    assert figures["accuracy"] == pytest.approx(predictions["correct"].mean(), abs=1e-6)


@pytest.mark.parametrize(("correct", "n"), [(3742, 5000), (0, 10), (10, 10), (1, 1)])
def test_the_interval_is_not_wilsons(correct, n):
    low, high = evaluation.accuracy_interval(correct, n)
    assert (low, high) == pytest.approx(binomtest(correct, n).proportion_ci(method="wilson"), abs=1e-9)
    assert 0 <= low <= correct / n <= high <= 1


@pytest.mark.parametrize(("correct", "n"), [(0, 0), (5, 4), (-1, 4)])
def test_an_interval_is_given_for_what_is_no_share(correct, n):
    with pytest.raises(ValueError, match="no share"):
        evaluation.accuracy_interval(correct, n)


def test_pictures_of_one_group_count_as_if_they_told_of_different_ones():
    groups = pd.Series(np.repeat(np.arange(50), 10))
    alike = pd.Series(np.repeat(np.arange(50) < 40, 10))  # a group is right or wrong as a whole
    t = stats.t.ppf(0.975, 499) / stats.t.ppf(0.975, 49)
    assert evaluation.effective_number(alike, groups) == pytest.approx(49 * t**2)  # 50, of a sample
    assert evaluation.effective_number(~alike, groups) == evaluation.effective_number(alike, groups)
    mixed = pd.Series(np.random.default_rng(0).permutation(alike))
    assert 300 < evaluation.effective_number(mixed, groups) <= 500
    spread = pd.Series(np.tile(np.arange(10) < 8, 50))  # each group has as many wrong ones as any other
    assert evaluation.effective_number(spread, groups) == 500
    halves = pd.Series(np.tile([True, False], 250))
    assert evaluation.effective_number(halves, groups) == 500  # groups that do not differ at all
    for outcome in (True, False):  # nothing is known of how alike a group's pictures are
        assert evaluation.effective_number(pd.Series([outcome] * 500), groups) == 50
    few = pd.Series(np.arange(500) % 120 != 0)  # one mistake in each of five groups
    assert few[::10].sum() == 45 and evaluation.effective_number(few, groups) > 400
    few[0] = True  # in each of four
    assert evaluation.effective_number(few, groups) == 50
    assert evaluation.effective_number(mixed, pd.Series([0] * 500)) == 1
    unequal = pd.Series([0] * 100 + [1] * 100 + [*range(2, 12)])  # two large groups and ten of one picture
    assert evaluation.effective_number(pd.Series([True] * 210), unequal) == pytest.approx(210**2 / 20_010)


def test_the_interval_of_grouped_pictures_is_that_of_as_many_independent_ones():
    predictions = make_predictions([0, 1] * 50, [0.1, 0.9] * 40 + [0.9, 0.1] * 10)
    measures = evaluation.measure(predictions.assign(group=np.repeat(list("abcdefghij"), 10)))
    plain = evaluation.measure(predictions)
    assert measures["accuracy"] == plain["accuracy"] == 0.8
    assert (measures["n"], measures["groups"]) == (100, 10)
    assert "groups" not in plain
    number = measures["effective_n"]
    assert number == 10  # the mistakes are in two of the groups
    assert (measures["low"], measures["high"]) == evaluation.accuracy_interval(0.8 * number, number)
    assert measures["high"] - measures["low"] > 2 * (plain["high"] - plain["low"])


def test_a_measure_differs_from_a_count_by_hand():
    # code 1: found 0.9 and 0.6, missed 0.3 and 0.2; code 0: mistaken 0.7, right 0.25 to 0.05
    predictions = make_predictions([1] * 4 + [0] * 5, [0.9, 0.6, 0.3, 0.2, 0.7, 0.25, 0.15, 0.1, 0.05])
    measures = evaluation.measure(predictions)
    assert measures["n"] == 9
    assert measures["accuracy"] == pytest.approx(6 / 9)
    assert measures["precision"] == pytest.approx(2 / 3)
    assert measures["recall"] == pytest.approx(2 / 4)
    assert measures["f1"] == pytest.approx(2 * 2 / (3 + 4))
    assert measures["balanced_accuracy"] == pytest.approx((2 / 4 + 4 / 5) / 2)
    # Pairs of a 1 and a 0, the 1 ranked higher: 0.9 beats all, 0.6 and 0.3 all but 0.7, 0.2 three.
    assert measures["roc_auc"] == pytest.approx((5 + 4 + 4 + 3) / 20)
    right = np.array([0.9, 0.6, 0.3, 0.2, 0.3, 0.75, 0.85, 0.9, 0.95])  # the probability of the true class
    assert measures["log_loss"] == pytest.approx(-np.log(right).mean())
    assert measures["cross_entropy"] == pytest.approx(-np.log(right).mean())
    assert measures["brier"] == pytest.approx(((1 - right) ** 2).mean())
    assert (measures["low"], measures["high"]) == evaluation.accuracy_interval(6, 9)
    assert measures["larger_class"] == 5 / 9


def test_a_class_that_is_never_predicted_has_a_precision():
    measures = evaluation.measure(make_predictions([1, 0], [0.2, 0.1]))
    assert measures["precision"] == measures["recall"] == measures["f1"] == 0


def test_a_probability_of_zero_costs_more_than_keras_lets_it():
    predictions = make_predictions([1, 0], [0.0, 0.0])
    assert evaluation.cross_entropy(predictions) == pytest.approx(-np.log(1e-7) / 2, rel=1e-6)


def test_intervals_of_bins_and_thresholds_take_grouped_pictures_for_independent_ones():
    """40 groups of five, of which whole groups are wrong: the intervals are wider than for 200 pictures."""
    groups = np.repeat(np.arange(40), 5)
    wrong = groups % 5 == 0
    codes = groups % 2
    table = make_predictions(codes, np.where(codes == wrong, 0.25, 0.75)).assign(group=groups)
    compared = operating_point.compare_thresholds(table, {"usual": 0.5}).iloc[0]
    measures = pd.DataFrame({"image_name": table["image_name"], **dict.fromkeys(slices.MEASURES, 1.0)})
    sliced = slices.accuracy_by_slice(table, measures).iloc[0]
    for row in (compared, sliced):
        assert (row["low"], row["high"]) == evaluation.interval_of(table)
        low, high = evaluation.accuracy_interval(160, 200)
        assert row["accuracy"] == 0.8 and row["low"] < low < high < row["high"]
    quarter = curves.calibration_table(table, bins=2).iloc[0]
    low, high = evaluation.accuracy_interval(round(quarter["observed"] * quarter["count"]), quarter["count"])
    assert quarter["low"] < low < high < quarter["high"]


def test_a_threshold_that_calls_every_picture_the_same_says_so():
    """Three of four are class 1, and a missed one costs five times as much: no picture is called class 0."""
    table = make_predictions([0, 1, 1, 1], [0.6, 0.4, 0.7, 0.8])
    words = operating_point.describe_threshold(table, 0.0, ["well", "ill"], false_negative_cost=5)
    assert words == (
        "With well called ill at a cost of 1, the reverse at 5, the best threshold on validation pictures "
        "is 0 (every test picture is called ill): a test picture costs 0.2500 there, 1.5000 at 0.5."
    )
    assert "every" not in operating_point.describe_threshold(table, 0.5, ["well", "ill"])


def test_a_single_class_is_measured_as_if_it_were_two():
    with pytest.raises(ValueError, match="0 and 1"):
        evaluation.measure(make_predictions([1, 1], [0.9, 0.2]))


def test_the_confusion_matrix_is_turned_or_its_classes_are_swapped():
    # 3 cats (code 0) called dog, 1 dog (code 1) called cat, 4 cats and 2 dogs right.
    predictions = make_predictions([0] * 7 + [1] * 3, [0.9] * 3 + [0.1] * 4 + [0.1] + [0.9] * 2)
    matrix = evaluation.confusion(predictions, ["cat", "dog"])
    assert matrix.index.name == "true label" and matrix.columns.name == "predicted label"
    assert matrix.loc["cat", "dog"] == 3 and matrix.loc["dog", "cat"] == 1
    assert matrix.loc["cat", "cat"] == 4 and matrix.loc["dog", "dog"] == 2
    assert evaluation.confusion(predictions[:3], ["cat", "dog"]).shape == (2, 2)


def test_the_published_pairing_is_not_at_chance_level():
    n = 5000
    codes = np.arange(n) % 2
    right = np.arange(n) % 20 >= 2  # 90 % of each class
    predictions = make_predictions(codes, np.where(right, codes, 1 - codes) * 0.8 + 0.1)
    assert predictions["correct"].mean() == 0.9
    shuffled = evaluation.shuffled_pairing(predictions, seed=1)
    assert list(shuffled["image_name"]) == list(predictions["image_name"])
    assert sorted(shuffled["probability"]) == sorted(predictions["probability"])
    # Half of each are 1, so hits are 2 X with X hypergeometric, variance n / 16: the accuracy's
    # standard deviation is 2 sqrt(n / 16) / n = 0.5 / sqrt(n). Four of them are never left by chance.
    assert abs(shuffled["correct"].mean() - 0.5) < 4 * 0.5 / np.sqrt(n)
    assert evaluation.measure(shuffled)["roc_auc"] == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(n))


def test_the_surest_mistakes_do_not_come_first():
    predictions = make_predictions([1, 0, 1, 0, 1], [0.4, 0.95, 0.01, 0.2, 0.9])  # the last two are right
    mistakes = evaluation.confident_mistakes(predictions)
    assert list(mistakes["image_name"]) == ["00002.jpg", "00001.jpg", "00000.jpg"]
    assert list(mistakes["confidence"]) == pytest.approx([0.99, 0.95, 0.6])
    assert len(evaluation.confident_mistakes(predictions, 2)) == 2
    assert evaluation.confident_mistakes(predictions[3:]).empty


def test_pictures_without_a_split_vanish_from_the_class_balance():
    features = pd.DataFrame(
        {
            "split": ["train", "train", "test", "", "", "validation"],
            "category": ["a", "b", "a", "", "a", "b"],
        }
    )
    balance = class_balance(features)
    assert list(balance.index) == ["train", "validation", "test", "left out"]
    assert balance.loc["train"].to_dict() == {"a": 1, "b": 1, "unlabelled": 0}
    assert balance.loc["left out"].to_dict() == {"a": 1, "b": 0, "unlabelled": 1}
    assert balance.to_numpy().sum() == len(features)
    zebras = class_balance(features.replace("b", "zebra"))
    assert list(zebras) == ["a", "zebra", "unlabelled"], "each class keeps its place, and its colour"


def test_a_curve_does_not_pass_through_its_known_points():
    predictions = make_predictions([1, 0, 1, 0], [0.9, 0.7, 0.4, 0.1])
    roc = curves.roc_table(predictions).set_index("threshold")
    assert tuple(roc.loc[0.9]) == (0, 0.5)  # one of two 1s found, no mistake
    assert tuple(roc.iloc[0]) == (0, 0) and tuple(roc.iloc[-1]) == (1, 1)
    table = curves.precision_recall_table(predictions)
    assert tuple(table.iloc[0][["recall", "precision"]]) == (1, 0.5)  # all called 1: precision is their share
    at = table.set_index("threshold").loc[0.4]
    assert (at["recall"], at["precision"]) == pytest.approx((1, 2 / 3))


def test_a_bin_of_the_calibration_loses_or_moves_a_picture():
    predictions = make_predictions([0, 1, 1, 1, 1, 1], [0.0, 0.25, 0.3, 0.47, 0.5, 1.0])
    table = curves.calibration_table(predictions, bins=4)  # edges 0, 0.25, 0.5, 0.75, 1
    assert list(table["count"]) == [1, 3, 1, 1]
    assert list(table["bin_low"]) == [0, 0.25, 0.5, 0.75]
    assert list(table["observed"]) == [0, 1, 1, 1]
    assert table["mean_probability"][1] == pytest.approx(0.34)
    assert (table["low"][1], table["high"][1]) == evaluation.accuracy_interval(3, 3)
    error = (1 * 0 + 3 * (1 - 0.34) + 1 * (1 - 0.5) + 1 * 0) / 6
    assert curves.expected_calibration_error(table) == pytest.approx(error)


def test_an_empty_bin_of_the_calibration_is_taken_for_a_measured_one():
    table = curves.calibration_table(make_predictions([0, 1], [0.1, 0.9]), bins=4)
    assert list(table["count"]) == [1, 0, 0, 1]
    assert table.loc[1:2, ["mean_probability", "observed", "low", "high"]].isna().all(axis=None)
    assert curves.expected_calibration_error(table) == pytest.approx(0.1)


def test_the_calibration_error_that_luck_alone_makes_is_not_that_of_probabilities_that_are_right():
    """n pictures at 0.25: the share found is off by sqrt(2 / pi * 0.25 * 0.75 / n) on average."""
    for n in (400, 10_000):
        predictions = make_predictions(np.arange(n) % 2, np.full(n, 0.25))
        wanted = np.sqrt(2 / np.pi * 0.25 * 0.75 / n)
        assert curves.calibration_error_by_chance(predictions, draws=2000) == pytest.approx(wanted, rel=0.1)
    grouped = make_predictions(np.arange(400) // 10 % 2, np.full(400, 0.25)).assign(
        group=np.arange(400) // 10
    )
    as_many = evaluation.effective_number(grouped["correct"], grouped["group"])
    wanted = np.sqrt(2 / np.pi * 0.25 * 0.75 / as_many)
    assert as_many < 41
    assert curves.calibration_error_by_chance(grouped, draws=2000) == pytest.approx(wanted, rel=0.1)
    right = make_predictions([0, 1, 1], [0.0, 1.0, 1.0])  # nothing is left to luck
    assert curves.calibration_error_by_chance(right) == 0
