"""How sure the importances are: bootstrap samples of the trials, and the words about them."""

import keras_tuner
import numpy as np
import pandas as pd
import pytest

from src.figures import study_plots
from src.searches.importance import (
    describe_edges,
    describe_importance,
    importance_spread,
    measure_importances,
)


@pytest.fixture
def space() -> list:
    hp = keras_tuner.HyperParameters()
    hp.Int("filters", 32, 96, step=32)
    hp.Float("l2", 1e-5, 1e-1, sampling="log")
    hp.Choice("pooling", ["max", "average"])
    return hp.space


def trials(number: int, seed: int = 0) -> pd.DataFrame:
    """Completed trials whose score is decided by filters."""
    random = np.random.default_rng(seed)
    filters = random.choice([32, 64, 96], number)
    columns = {"filters": filters, "l2": 10 ** random.uniform(-5, -1, number)}
    columns |= {"pooling": random.choice(["max", "average"], number), "score": filters / 100}
    return pd.DataFrame(columns).assign(status="completed")


def test_the_spread_is_the_central_ninety_percent_and_the_same_again(space):
    spread = importance_spread(trials(40), space)
    pd.testing.assert_frame_equal(spread, importance_spread(trials(40), space))
    assert set(spread["name"]) == {"filters", "l2", "pooling"}
    assert ((spread["low"] >= 0) & (spread["low"] <= spread["high"]) & (spread["high"] <= 1)).all()
    by_name = spread.set_index("name")
    assert by_name.loc["filters", "low"] > by_name.loc["pooling", "high"] > 0
    assert not spread.equals(importance_spread(trials(40), space, seed=1))


def test_of_few_trials_a_choice_that_decides_comes_first_and_noise_leaves_everybody_a_rival(space):
    """Evaluators that look at the best tenth alone see one of ten trials: a choice of two is never first."""
    first, rivals = [], []
    for seed in range(4):
        table = trials(12, seed)
        decided = table.assign(score=(table["pooling"] == "max") * 0.1 + table["score"] / 1000)
        first.append(measure_importances(decided, space)["name"][0])
        noise = table.assign(score=np.random.default_rng(100 + seed).random(12))
        found = measure_importances(noise, space)
        rivals.append(describe_importance(found, importance_spread(noise, space)))
    assert first == ["pooling"] * 4
    assert all("may matter as much" in words for words in rivals)


def test_the_top_of_a_grid_that_rounding_puts_above_its_range_counts_as_drawn():
    """KerasTuner's grid to 0.35 in steps of 0.05 ends at 6 x 0.05, which is 0.30000000000000004."""
    hp = keras_tuner.HyperParameters()
    hp.Float("dropout", 0.0, 0.35, step=0.05)
    grid = list(hp.space[0].values)
    assert grid[-1] > 0.3
    table = pd.DataFrame({"dropout": grid, "score": grid, "status": "completed"})
    assert measure_importances(table, hp.space)["importance"].tolist() == [1]


@pytest.fixture
def branches() -> list:
    """A space whose two branches each have a rate, of ranges that do not meet, and one word of their own."""
    hp = keras_tuner.HyperParameters()
    hp.Choice("optimizer", ["sgd", "adam"])
    for name, low, high in (("sgd", 1e-2, 1.0), ("adam", 1e-5, 1e-3)):
        with hp.conditional_scope("optimizer", [name]):
            hp.Float("rate", low, high, sampling="log")
            hp.Choice("word", [name, "other"])
            hp.Int("fixed_or_not", 1, 9) if name == "sgd" else hp.Fixed("fixed_or_not", 5)
    return hp.space


def test_a_name_that_branches_of_a_space_share_is_one_hyperparameter(branches):
    random = np.random.default_rng(0)
    table = pd.DataFrame({"optimizer": ["sgd", "adam"] * 10, "word": ["sgd", "adam", "other", "other"] * 5})
    table["rate"] = np.where(table["optimizer"] == "sgd", 0.1, 1e-4) * random.uniform(0.2, 5, 20)
    table = table.assign(score=np.log10(table["rate"]), status="completed", fixed_or_not=[1, 5, 9, 5] * 5)
    found = measure_importances(table, branches)
    assert {*found["name"]} == {"rate", "optimizer"}, "what words of two branches share is unknown"


def test_only_the_ranges_of_the_branch_that_won_are_looked_at(branches):
    rate = {"optimizer": "adam", "rate": 0.99e-3, "word": "adam", "fixed_or_not": 5}
    assert describe_edges(rate, branches).startswith(
        "Worth widening: rate = 0.00099 is at the upper edge of 1e-05"
    )
    assert describe_edges({**rate, "rate": 1e-4}, branches) == "No range looks too narrow."
    first = {"optimizer": "sgd", "rate": 1e-2, "word": "sgd", "fixed_or_not": 1}
    assert describe_edges(first, branches).startswith("The winner is the space's defaults, so")


def test_fewer_trials_spread_further(space):
    width = {}
    for number in (6, 200):
        spread = importance_spread(trials(number), space).set_index("name")
        width[number] = spread.loc["filters", "high"] - spread.loc["filters", "low"]
    assert width[6] > width[200]


def test_a_hyperparameter_that_hardly_varies_explains_nothing_where_it_has_one_value(space):
    table = trials(12)
    table["pooling"] = ["max"] * 11 + ["average"]  # missing from about a third of the resamples
    spread = importance_spread(table, space).set_index("name")
    assert spread.loc["pooling", "low"] == 0


@pytest.mark.parametrize("change", [lambda table: table[:3], lambda table: table.assign(score=0.5)])
def test_a_search_that_says_nothing_has_no_spread_and_says_so(space, change):
    table = change(trials(12))
    spread = importance_spread(table, space)
    assert spread.empty and list(spread) == ["name", "low", "high"]
    words = describe_importance(measure_importances(table, space), spread)
    assert words.startswith("Too few trials were completed, or they were too alike,")


def test_the_sentence_counts_the_rivals_whose_whiskers_reach_the_first():
    importances = pd.DataFrame({"name": ["a", "b", "c"], "importance": [0.6, 0.3, 0.1]})
    spread = pd.DataFrame({"name": ["a", "b", "c"], "low": [0.3, 0.1, 0.0], "high": [0.8, 0.4, 0.2]})
    words = describe_importance(importances, spread)
    assert words == (
        "By fANOVA, a has the largest main effect: 0.60 of them all, 0.30 to 0.80 over resamples of the "
        "trials; 1 of the 2 others may matter as much."
    )
    apart = spread.assign(low=[0.5, 0.1, 0.0])
    assert "may matter" not in describe_importance(importances, apart)


def test_whiskers_lie_on_the_bars_of_their_own_hyperparameter():
    importances = pd.DataFrame({"name": ["l2", "pooling"], "importance": [0.75, 0.25]})
    spread = pd.DataFrame({"name": ["pooling", "l2"], "low": [0.1, 0.5], "high": [0.3, 0.9]})
    ax = study_plots.plot_importances(importances, "val_accuracy", spread)
    segments = [segment.tolist() for segment in ax.collections[0].get_segments()]
    assert segments == [[[0.5, 0], [0.9, 0]], [[0.1, 1], [0.3, 1]]]
    said = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "central 90 % over resamples of the trials" in said


@pytest.mark.parametrize(
    ("best", "said"),
    [
        ({"units": 48, "l2": 1e-3}, "Worth widening: units = 48 is at the upper edge of 0 to 48."),
        ({"units": 0, "l2": 1e-3}, "No range looks too narrow."),  # none is below 0
        (
            {"filters": 96, "l2": 1e-3},
            "No range looks too narrow.",
        ),  # two of three are edges
        ({"filters": 64, "l2": 1.1e-5}, "Worth widening: l2 = 1.1e-05 is at the lower edge of 1e-05 to 0.1."),
        ({"filters": 64, "l2": 0.09}, "Worth widening: l2 = 0.09 is at the upper edge of 1e-05 to 0.1."),
        ({"filters": 64}, "No range looks too narrow."),  # the winner had no l2
        ({"filters": 64, "l2": 1e-3}, "No range looks too narrow."),
        ({"filters": 64, "l2": 1e-3, "dropout": 0.2}, "No range looks too narrow."),
        ({"filters": 32, "l2": 1e-5, "units": 16}, "The winner is the space's defaults, so"),
        ({"l2": 1e-3, "momentum": 0.001}, "No range looks too narrow."),  # none is below 0
        ({"l2": 1e-3, "exponent": -6}, "Worth widening: exponent = -6 is at the lower edge of -6 to -1."),
    ],
)
def test_a_best_value_at_the_edge_is_said_by_the_grid_that_is_really_there(space, best, said):
    hp = keras_tuner.HyperParameters()
    hp.Float("dropout", 0.2, 0.3, step=0.1)  # one value, 0.2: the division by the step loses the other
    hp.Int("units", 0, 48, step=16, default=16)
    hp.Float("momentum", 0.0, 0.9, default=0.5)
    hp.Int("exponent", -6, -1, default=-3)
    assert describe_edges({"pooling": "max", "units": 32, **best}, [*space, *hp.space]).startswith(said)
