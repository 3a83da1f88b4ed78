"""Results side by side: the same pictures only, the exact test, and what a network costs."""

from math import comb
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from src import config
from src.evaluation import accuracy_interval
from src.features import COLUMNS
from src.generators import PictureBatches
from src.results.comparison import collect_results, describe_published, mcnemar, measure_cost, note_result
from src.runs import save_model, write_table

COST = {"training_minutes": 1.5, "parameters": 10, "megabytes": 0.1, "pictures_per_second": 99, "loss": 0.3}


def table(correct: list[bool], first: int = 0) -> pd.DataFrame:
    """Predictions of pictures named by number; even ones are of code 0."""
    numbers = np.arange(first, first + len(correct))
    codes = numbers % 2
    predicted = np.where(correct, codes, 1 - codes)
    names = [f"{number}.jpg" for number in numbers]
    columns = {"image_name": names, "code": codes, "probability": predicted * 0.8 + 0.1}
    return pd.DataFrame({**columns, "predicted": predicted, "correct": correct})


def note(
    run: Path,
    title: str,
    predictions: pd.DataFrame,
    hashes: str = "h",
    classes: tuple[str, str] = ("cat", "dog"),
) -> None:
    """Notes a result in a run whose test part are the pictures predicted, with contents that begin so."""
    features = predictions[["image_name", "code"]].assign(
        split="test", status="used", height=8, width=8, bytes=9
    )
    features["category"] = features["code"].map(dict(enumerate(classes)))
    if "group" in predictions:
        features["group"] = predictions["group"]
    features["content_hash"] = hashes + features["image_name"]
    columns = list(dict.fromkeys([*COLUMNS, "split", *features]))
    write_table(features.reindex(columns=columns), run / "features.csv")
    note_result(run, title, title, predictions, COST)


def test_mcnemar_is_the_sign_test_on_the_pictures_that_only_one_got_right():
    first = table([True] * 9 + [False] * 1 + [True] * 20 + [False] * 5)
    second = table([False] * 9 + [True] * 1 + [True] * 20 + [False] * 5)
    # 10 pictures differ, 9 to 1; both tails of 10 fair coins
    by_hand = 2 * (comb(10, 0) + comb(10, 1)) / 2**10
    assert mcnemar(first, second) == pytest.approx(by_hand)
    assert mcnemar(second, first) == pytest.approx(by_hand)


def test_mcnemar_goes_by_name_not_by_order():
    first, second = table([True, True, False, True]), table([True, True, False, True])
    assert mcnemar(first, second.iloc[::-1]) == 1.0  # by order, two pictures would differ


def test_mcnemar_of_grouped_pictures_gives_each_groups_difference_one_sign():
    first, second = table([True] * 60 + [False] * 10), table([False] * 60 + [True] * 10)
    assert mcnemar(first, second) < 1e-8
    groups = np.repeat(
        np.arange(7), 10
    )  # six groups to one: signs as uneven as 50 of 70 have 2 * (1 + 7) ways
    assert mcnemar(first.assign(group=groups), second) == pytest.approx(2 * (1 + 7) / 2**7)
    alone = np.arange(70).astype(str)  # many ways, of which some are drawn
    uneven = [True] * 28 + [False] * 42
    near = table(uneven[:14] + [True] * 20 + uneven[-36:])
    exact = mcnemar(near, table([not right for right in near["correct"]]))
    drawn = mcnemar(near.assign(group=alone), table([not right for right in near["correct"]]))
    assert drawn == pytest.approx(exact, abs=0.02)


def test_mcnemar_of_groups_counts_those_that_differ():
    groups = np.repeat(np.arange(35), 2)
    first = table([True] * 70).assign(group=groups)
    assert mcnemar(first, table([False] * 10 + [True] * 60)) == pytest.approx(2 / 2**5)  # five of 35
    assert mcnemar(first, table([False] * 4 + [True] * 66)) == pytest.approx(2 / 2**2)
    assert mcnemar(first, table([False] * 2 + [True] * 68)) == 1.0
    assert mcnemar(first, table([True] * 70)) == 1.0
    # Right on 3, 1 and 1 more of three groups, 1 fewer of another: of 16 patterns, 4 make 4 or more of 6.
    some = table([True] * 5 + [False]).assign(group=list("aaabcd"))
    assert mcnemar(some, table([False] * 5 + [True])) == pytest.approx(2 * 4 / 2**4)
    assert mcnemar(first.assign(group=7), table([False] * 10 + [True] * 60)) == 1.0, (
        "one group proves nothing"
    )


def test_results_that_were_noted_before_there_were_groups_are_measured_with_them(tmp_path):
    weak, strong = [False] * 8 + [True] * 32, [True] * 39 + [False]
    note(tmp_path / "a", "weak", table(weak))
    note(tmp_path / "a", "strong", table(strong).assign(group=np.repeat(list("abcd"), 10)))
    results = collect_results(tmp_path / "a")
    ends = [
        accuracy_interval(share * 4, 4) for share in (32 / 40, 39 / 40)
    ]  # of four groups, two with mistakes
    assert results["low"].tolist()[1:] == pytest.approx([low for low, _ in ends])


def test_mcnemar_refuses_other_pictures():
    with pytest.raises(ValueError, match="different pictures"):
        mcnemar(table([True] * 4), table([True] * 4, first=2))


def test_the_table_holds_this_run_and_its_neighbours_on_the_same_pictures_only(tmp_path):
    weak, strong = [False] * 8 + [True] * 32, [True] * 39 + [False]
    note(tmp_path / "a", "strong", table(strong))
    note(tmp_path / "b", "weak", table(weak))
    note(tmp_path / "b", "other names", table(weak, first=1))
    note(tmp_path / "c", "other pictures", table(weak), hashes="i")
    results = collect_results(tmp_path / "a")
    assert results["result"].tolist() == ["published, its own figures", "weak", "strong"]
    assert results["run"].tolist()[1:] == ["b", "a"] and "predictions" not in results
    assert results["accuracy"].tolist() == [config.PUBLISHED_TEST_ACCURACY, 32 / 40, 39 / 40]
    assert results.loc[0, ["low", "high"]].astype(float).round(4).tolist() == [0.7362, 0.7602]
    # The first two rows have no neighbour on the same pictures above them.
    assert results["mcnemar_p"].isna().tolist() == [True, True, False]
    assert results["mcnemar_p"].iloc[2] == pytest.approx(mcnemar(table(weak), table(strong)))
    assert results["pictures_per_second"].tolist()[1:] == [99, 99]
    assert results["loss"].tolist() == [config.PUBLISHED_TEST_LOSS, 0.3, 0.3]


def test_what_is_no_run_may_lie_beside_the_runs(tmp_path):
    note(tmp_path / "a", "ours", table([True, False] * 20))
    for name, text in {"scores.json": "[1, 2]", "notes.json": "not ours"}.items():
        file = tmp_path / "another project" / "results" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert collect_results(tmp_path / "a")["run"].tolist()[1:] == ["a"]


def test_the_published_figures_stand_beside_cats_and_dogs_alone(tmp_path):
    note(tmp_path / "a", "one", table([True, False] * 20))
    assert "0.7484" in describe_published(["cats", "dogs"]) and describe_published(["benign", "ill"]) == ""
    assert describe_published(["dog", "cat"]) == describe_published(["cat", "dog"])
    assert len(collect_results(tmp_path / "a")) == 2
    note(tmp_path / "other" / "b", "one", table([True, False] * 20), classes=("benign", "ill"))
    assert collect_results(tmp_path / "other" / "b")["run"].tolist() == ["b"]


def test_a_network_measured_on_whole_groups_has_the_interval_of_those(tmp_path):
    correct = [True] * 15 + [False] * 5
    note(tmp_path / "a", "grouped", table(correct).assign(group=["1"] * 5 + ["01"] * 5 + ["nan"] * 10))
    row = collect_results(tmp_path / "a").iloc[1]
    low, high = accuracy_interval(15, 20)
    assert row["low"] < low and row["high"] > high
    (tmp_path / "a" / "results" / "grouped.csv").unlink()
    note(tmp_path / "a", "grouped", table(correct))
    assert collect_results(tmp_path / "a").iloc[1]["low"] == pytest.approx(low)


@pytest.mark.parametrize(
    "damage", [lambda file: file.unlink(), lambda file: file.write_text("image_name,co")]
)
def test_a_neighbours_damaged_table_is_named_with_what_to_do(damage, tmp_path):
    note(tmp_path / "a", "ours", table([True] * 6))
    note(tmp_path / "b", "cut", table([True] * 6))
    damage(tmp_path / "b" / "results" / "cut.csv")
    with pytest.raises(
        ValueError, match=r"b/results/cut\.csv is no whole table .*; delete .*b/results, and run"
    ):
        collect_results(tmp_path / "a")


def test_other_labels_for_the_same_pictures_are_another_test_set(tmp_path):
    note(tmp_path / "a", "ours", table([True] * 6))
    note(tmp_path / "b", "relabelled", table([True] * 6).assign(code=lambda rows: 1 - rows["code"]))
    assert "relabelled" not in collect_results(tmp_path / "a")["result"].tolist()


def test_results_of_an_earlier_split_of_the_same_run_are_left_out(tmp_path):
    note(tmp_path / "a", "then", table([True] * 6))
    note(tmp_path / "a", "now", table([True] * 6, first=2))
    assert collect_results(tmp_path / "a")["result"].tolist()[1:] == ["now"]


def test_a_kill_leaves_no_network_beside_the_costs_of_an_earlier_one(tmp_path, monkeypatch):
    def kill(path, values):
        raise KeyboardInterrupt

    note(tmp_path / "a", "ours", table([True] * 6))
    monkeypatch.setattr("src.results.comparison.write_json", kill)
    with pytest.raises(KeyboardInterrupt):
        note(tmp_path / "a", "ours", table([True] * 5 + [False]))
    with pytest.raises(FileNotFoundError, match="run notebook 05 first"):
        collect_results(tmp_path / "a")


def test_a_run_without_a_result_is_sent_to_notebook_05(tmp_path):
    with pytest.raises(FileNotFoundError, match="run notebook 05 first"):
        collect_results(tmp_path / "a")


def test_the_cost_of_a_network_is_counted_on_its_file(tmp_path, monkeypatch):
    layers = [keras.layers.Flatten(), keras.layers.Dense(300), keras.layers.Dense(1, activation="sigmoid")]
    network = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    save_model(network, tmp_path / "model.keras", {})
    names = [f"{number}.jpg" for number in range(520)]
    pixels = np.zeros((520, 8, 8, 3), "uint8")
    batches = PictureBatches(pixels, range(520), [0, 1] * 260, names, batch_size=8)
    clock = iter([0.0, 1.0, 10.0, 12.0, 20.0, 24.0, 30.0, 33.0])  # rounds of 1 (not counted), 2, 4, 3 s
    monkeypatch.setattr("src.results.comparison.time.perf_counter", lambda: next(clock))
    cost = measure_cost(tmp_path / "model.keras", batches, training_minutes=2.04)
    assert cost["parameters"] == (8 * 8 * 3 + 1) * 300 + 301
    assert cost["megabytes"] > 0.1 and cost["megabytes"] == round(
        (tmp_path / "model.keras").stat().st_size / 1e6, 1
    )
    assert cost["training_minutes"] == 2.0 and cost["pictures_per_second"] == 512 / 2
