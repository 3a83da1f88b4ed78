"""The operating point: costs counted by hand, ties broken towards 0.5."""

import numpy as np
import pandas as pd
import pytest

from src.evaluation import THRESHOLD, decide
from src.results.operating_point import (
    choose_threshold,
    compare_thresholds,
    cost_table,
)

#                       cat  cat  dog  cat  dog  dog
PREDICTIONS = pd.DataFrame(
    {"code": [0, 0, 1, 0, 1, 1], "probability": [0.1, 0.2, 0.3, 0.6, 0.7, 0.9]},
    index=[9, 4, 7, 1, 2, 3],
)


def by_hand(predictions: pd.DataFrame, threshold: float) -> tuple[int, int]:
    pairs = list(zip(predictions["code"], predictions["probability"] > threshold, strict=True))
    return sum(code == 0 and above for code, above in pairs), sum(
        code == 1 and not above for code, above in pairs
    )


def test_a_cost_holds_from_the_probability_where_it_changes():
    """Between two rows the true cost at any threshold is that of the row whose range it is in."""
    at_a_half = PREDICTIONS.replace({"probability": {0.6: THRESHOLD}})
    for predictions in (PREDICTIONS, at_a_half):
        costs = cost_table(predictions)
        starts = costs["holds_from"].to_numpy()
        for threshold in np.linspace(0, 1, 201):
            truth = (decide(predictions, threshold)["predicted"] != predictions["code"]).mean()
            row = np.searchsorted(starts, threshold, side="right") - 1
            assert costs["mean_cost"].iloc[row] == pytest.approx(truth), threshold


def test_each_threshold_has_the_mistakes_that_it_makes():
    random = np.random.default_rng(1)
    many = pd.DataFrame({"code": random.integers(0, 2, 50), "probability": random.random(50).round(1)})
    for predictions in (PREDICTIONS, many):
        costs = cost_table(predictions, 2.0, 3.0)
        for row in costs.itertuples():
            positives, negatives = by_hand(predictions, row.threshold)
            assert (row.false_positives, row.false_negatives) == (positives, negatives), row.threshold
            assert row.mean_cost == pytest.approx((2 * positives + 3 * negatives) / len(predictions))


@pytest.mark.parametrize(
    ("false_positive_cost", "false_negative_cost", "expected"),
    [
        (1, 1, 0.65),  # one mistake from 0.6 to 0.7 and from 0.2 to 0.3; 0.65 is nearer to 0.5 than 0.25
        (1, 10, 0.25),  # all dogs are to be found, at one false alarm
        (10, 1, 0.65),
        (1e-12, 1e-11, 0.25),  # in whatever unit
        (0, 0, 0.5),  # nothing costs anything: the usual one
        (0, 1, 0.25),  # all that find every dog cost nothing; of them the nearest to 0.5
    ],
)
def test_the_cheapest_threshold_is_chosen_and_a_tie_goes_to_the_nearest_to_a_half(
    false_positive_cost, false_negative_cost, expected
):
    costs = cost_table(PREDICTIONS, false_positive_cost, false_negative_cost)
    assert choose_threshold(costs) == pytest.approx(expected)


def test_a_half_itself_wins_where_it_is_among_the_cheapest():
    sure = pd.DataFrame({"code": [0, 1], "probability": [0.1, 0.7]})  # the middle would be 0.4
    assert choose_threshold(cost_table(sure)) == THRESHOLD


def test_the_comparison_counts_each_kind_of_mistake():
    table = compare_thresholds(PREDICTIONS, {"usual": 0.5, "chosen": 0.25, "low": 0.15}, 2.0, 4.0)
    assert table.loc["usual", ["false_positives", "false_negatives"]].tolist() == [1, 1]
    assert table.loc["chosen", ["false_positives", "false_negatives"]].tolist() == [1, 0]
    assert table["accuracy"].tolist() == pytest.approx([4 / 6, 5 / 6, 4 / 6])
    assert table["mean_cost"].tolist() == pytest.approx([(2 + 4) / 6, 2 / 6, 2 * 2 / 6])


def test_a_probability_at_the_threshold_is_not_above_it():
    assert decide(PREDICTIONS, 0.6)["predicted"].tolist() == [0, 0, 0, 0, 1, 1]


def test_no_predictions_are_refused():
    with pytest.raises(ValueError, match="no predictions to choose a threshold on"):
        cost_table(PREDICTIONS.head(0))
