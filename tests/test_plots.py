"""What is read off a figure is what its table says; a test's name says what is broken if it fails."""

from itertools import pairwise

import matplotlib

matplotlib.use("Agg")

import keras_tuner
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text
from PIL import Image

from src import plots
from src.figures import (
    data_plots,
    final_plots,
    mistake_plots,
    scales,
    search_plots,
    study_plots,
    submission_plots,
)
from src.plots import label, shorten, title
from src.searches.importance import measure_importances

pytestmark = pytest.mark.usefixtures("draw_and_close")


def texts(labels):
    return [label.get_text() for label in labels]


def shown(ax):
    """Returns every text inside the axes."""
    return [text.get_text() for text in ax.texts]


def legend(ax):
    return texts(ax.get_legend().get_texts())


MATRIX = pd.DataFrame([[1234, 66], [200, 500]], index=["cat", "dog"], columns=["cat", "dog"])


def test_the_confusion_matrix_is_turned_upside_down_or_mirrored():
    ax = plots.plot_confusion_matrix(MATRIX)
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("true label", "predicted label")
    assert texts(ax.get_yticklabels()) == ["cat", "dog"] and texts(ax.get_xticklabels()) == ["cat", "dog"]
    ax.figure.canvas.draw()
    found = {}
    for text in ax.texts:  # by where it is seen on the screen, not by where it should be
        x, y = ax.transData.transform(text.get_position())
        column = min(ax.get_xticklabels(), key=lambda label: abs(label.get_window_extent().x0 - x))
        row = min(ax.get_yticklabels(), key=lambda label: abs(label.get_window_extent().y0 - y))
        found[row.get_text(), column.get_text()] = text.get_text()
    assert found == {
        ("cat", "cat"): "1,234\n94.9%",  # of 1300 cats
        ("cat", "dog"): "66\n5.1%",
        ("dog", "cat"): "200\n28.6%",  # of 700 dogs
        ("dog", "dog"): "500\n71.4%",
    }
    assert "86.70% of 2,000" in ax.get_title()  # (1234 + 500) / 2000
    # The second row is lower on the screen than the first.
    assert ax.transData.transform((0, 0.5))[1] > ax.transData.transform((0, 1.5))[1]


def test_class_names_that_are_shortened_to_the_same_are_told_apart_by_their_code():
    names = ["leafhealthyspecimen", "leafinfectedspecimen"]
    ax = plots.plot_confusion_matrix(pd.DataFrame(MATRIX.to_numpy(), names, names))
    assert texts(ax.get_yticklabels()) == ["0: leaf…specimen", "1: leaf…specimen"]


def test_a_class_without_pictures_breaks_the_confusion_matrix():
    ax = plots.plot_confusion_matrix(MATRIX.mul([1, 0], axis=0))
    assert shown(ax)[2:] == ["0\n0.0%", "0\n0.0%"]


def test_given_axes_are_not_drawn_on():
    figure, axes = plt.subplots()
    assert plots.plot_confusion_matrix(MATRIX, ax=axes) is axes
    assert plt.get_fignums() == [figure.number]


def test_a_bar_of_the_class_balance_has_another_number_than_its_table():
    balance = pd.DataFrame({"cat": [1500, 20], "dog": [1490, 30]}, index=["train", "test"])
    ax = data_plots.plot_class_balance(balance)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("split", "files")
    assert texts(ax.get_xticklabels()) == ["train", "test"] and legend(ax) == ["cat", "dog"]
    for bars, name in zip(ax.containers, ["cat", "dog"], strict=True):
        assert [bar.get_height() for bar in bars] == list(balance[name])
    assert shown(ax) == ["1,500", "20", "1,490", "30"]
    assert "3,040" in ax.get_title()


def test_a_class_whose_name_begins_with_an_underscore_is_in_the_legend():
    balance = pd.DataFrame({"_cat": [15, 20], "dog": [14, 30]}, index=["train", "test"])
    assert legend(data_plots.plot_class_balance(balance)) == ["_cat", "dog"]


def test_height_and_width_of_the_pictures_are_swapped():
    features = pd.DataFrame({"height": [100, 300, None], "width": [200, 150, None]})
    features["aspect_ratio"] = features["height"] / features["width"]
    ax = data_plots.plot_picture_sizes(features)
    assert "width" in ax.get_xlabel() and "height" in ax.get_ylabel()
    assert ax.collections[0].get_offsets().tolist() == [[200, 100], [150, 300]]
    assert ax.collections[0].get_array().tolist() == [-1, 1]  # log2 of 0.5 and of 2
    assert "2 pictures" in ax.get_title()


@pytest.mark.parametrize("number", [30, 200])
def test_one_panorama_does_not_squeeze_all_others_into_a_corner(number):
    features = pd.DataFrame({"height": [400.0] * number, "width": [*range(501 - number, 500), 12_000]})
    features["aspect_ratio"] = features["height"] / features["width"]
    ax = data_plots.plot_picture_sizes(features)
    assert 500 < ax.get_xlim()[1] < 2_000
    assert "; 1 larger, not shown" in ax.get_title()
    assert "larger" not in data_plots.plot_picture_sizes(features[:-1]).get_title()


def test_a_picture_stands_under_the_title_of_another():
    pictures = [np.full((4, 3, 3), i, np.uint8) for i in range(5)]
    figure = plots.plot_pictures(pictures, [f"picture {i}" for i in range(5)], columns=3)
    filled = [ax for ax in figure.axes if ax.images]
    assert len(figure.axes) == 6 and [ax.get_title() for ax in filled] == [f"picture {i}" for i in range(5)]
    assert [int(ax.images[0].get_array().max()) for ax in filled] == [0, 1, 2, 3, 4]
    assert not any(ax.axison for ax in figure.axes)


@pytest.mark.parametrize("name", ["cat/$$.jpg", "cat/a$_$c.jpg", "cat/IMG$%$2.jpg", "a$b$c.jpg"])
def test_dollars_in_the_name_of_a_file_are_no_formula(name, tmp_path):
    figure = plots.plot_pictures([np.zeros((4, 3, 3), np.uint8)], [name])
    plots.save_figure(figure, tmp_path / "figure.png")
    text, is_formula = figure.axes[0].title._preprocess_math(figure.axes[0].get_title())
    assert text == name and not is_formula


def test_no_mistakes_at_all_break_the_grid_of_pictures():
    assert shown(plots.plot_pictures([], []).axes[0]) == ["no pictures to show"]


HISTORY = pd.DataFrame({
    "epoch": [1, 2, 3, 4],
    "loss": [0.9, 0.7, 0.5, 0.3],
    "accuracy": [0.5, 0.6, 0.7, 0.8],
    "val_loss": [0.95, 0.8, 0.75, 0.9],
    "val_accuracy": [0.5, 0.61, 0.64, 0.66],
})  # fmt: skip


@pytest.mark.parametrize(("monitor", "best"), [("val_loss", 3), ("val_accuracy", 4)])
def test_the_learning_curves_mark_another_epoch_than_the_best(monitor, best):
    figure = plots.plot_learning_curves(HISTORY, monitor)
    assert [ax.get_ylabel() for ax in figure.axes] == ["loss", "accuracy"]
    for ax, metric in zip(figure.axes, ["loss", "accuracy"], strict=True):
        assert ax.get_xlabel() == "epoch" and legend(ax)[:2] == ["training", "validation"]
        training, validation = ax.lines[:2]
        assert list(training.get_ydata()) == list(HISTORY[metric])
        assert list(validation.get_ydata()) == list(HISTORY[f"val_{metric}"])
        value = HISTORY.loc[best - 1, f"val_{metric}"]
        assert legend(ax)[2] == f"best epoch: {best}, {value:g}"
        assert (ax.lines[-1].get_xdata()[0], ax.lines[-1].get_ydata()[0]) == (best, value)


def test_the_learning_rate_is_a_panel_of_its_own():
    rates = [0.1, 0.3, 0.2, 0.0]
    panel = plots.plot_learning_curves(HISTORY.assign(learning_rate=rates)).axes[2]
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("epoch", "learning rate at the epoch's end")
    assert list(panel.lines[0].get_ydata()) == rates


def test_epochs_without_a_validation_leave_no_gaps_in_the_learning_curves():
    seldom = HISTORY.assign(val_loss=[0.95, np.nan, np.nan, 0.9], val_accuracy=[0.5, np.nan, np.nan, 0.66])
    training, validation = plots.plot_learning_curves(seldom).axes[0].lines[:2]
    assert list(training.get_xdata()) == [1, 2, 3, 4]
    assert validation.get_xydata().tolist() == [[1, 0.95], [4, 0.9]]


@pytest.mark.parametrize("history", [HISTORY[:1], HISTORY.assign(val_loss=np.nan)])
def test_one_epoch_or_a_lost_loss_breaks_the_learning_curves(history):
    figure = plots.plot_learning_curves(history)
    figure.canvas.draw()
    assert all(float(tick) == int(tick) for tick in figure.axes[0].get_xticks())


def test_the_roc_curve_is_turned():
    table = pd.DataFrame({"false_positive_rate": [0, 0.1, 1], "true_positive_rate": [0, 0.8, 1]})
    ax = plots.plot_roc(table, 0.85, ["cat", "dog"])
    assert ax.get_xlabel() == "false positive rate: cat taken for dog"
    assert ax.get_ylabel() == "true positive rate: dog found"
    assert ax.lines[0].get_xydata().tolist() == [[0, 0], [0.1, 0.8], [1, 1]]
    assert "0.850" in ax.get_title()


def test_precision_and_recall_are_swapped():
    table = pd.DataFrame({"recall": [1, 0.5, 0], "precision": [0.4, 0.9, 1]})
    ax = plots.plot_precision_recall(table, "dog")
    assert "recall" in ax.get_xlabel() and "precision" in ax.get_ylabel() and "dog" in ax.get_xlabel()
    assert ax.lines[0].get_xydata().tolist() == [[1, 0.4], [0.5, 0.9], [0, 1]]
    assert legend(ax) == ["model", "chance: 40.0% are dog"]


def test_a_long_name_does_not_stand_across_the_title_of_precision_and_recall():
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.8))
    table = pd.DataFrame({"recall": [1, 0.5, 0], "precision": [0.4, 0.9, 1]})
    ax = plots.plot_precision_recall(table, "pneumonia_caused_by_bacteria", ax=panels[1])
    figure.canvas.draw()
    titled, named, key = (text.get_window_extent() for text in (ax.title, ax.yaxis.label, ax.get_legend()))
    assert not named.overlaps(titled) and named.y0 > 0
    assert key.x1 < ax.get_window_extent().x1 + 1


def test_the_calibration_shows_empty_bins_or_loses_its_histogram():
    table = pd.DataFrame({"bin_low": [0, 0.5], "bin_high": [0.5, 1.0], "count": [0, 7]})
    table = table.assign(
        mean_probability=[np.nan, 0.8], observed=[np.nan, 0.7], low=[np.nan, 0.4], high=[np.nan, 0.9]
    )
    ax = plots.plot_calibration(table, (0.1, 0.05), "dog")
    assert ax.lines[1].get_xydata().tolist() == [[0.8, 0.7]]
    assert ax.collections[0].get_segments()[0][:, 1].tolist() == pytest.approx([0.4, 0.9])
    assert "dog" in ax.get_ylabel() and "0.100" in ax.get_title()
    below = ax.figure.axes[1]
    assert [(bar.get_x(), bar.get_width(), bar.get_height()) for bar in below.patches] == [
        (0, 0.5, 0),
        (0.5, 0.5, 7),
    ]
    assert below.get_xlabel() == "predicted probability of dog" and below.get_ylabel() == "pictures"


def test_a_speed_stands_beside_the_name_of_another_method():
    table = pd.DataFrame(
        {"method": ["old", "new"], "pictures_per_second": [250.0, 5000.0], "ratio": [1.0, 20.0]}
    )
    ax = plots.plot_speed(table)
    assert texts(ax.get_yticklabels()) == ["old", "new"] and ax.yaxis_inverted()
    assert [bar.get_width() for bar in ax.patches] == [250, 5000]
    assert shown(ax) == ["250  (1.0 ×)", "5,000  (20.0 ×)"] and ax.get_xlabel() == "pictures per second"


def test_a_saved_figure_is_no_picture(tmp_path):
    ax = plots.plot_confusion_matrix(MATRIX)
    for i, drawn in enumerate([ax, ax.figure]):
        plots.save_figure(drawn, tmp_path / "new" / "folder" / f"{i}.png")
        assert min(Image.open(tmp_path / "new" / "folder" / f"{i}.png").size) > 300


# ---- The search ---------------------------------------------------------------------------------


@pytest.fixture
def trials():
    return pd.DataFrame({
        "trial": [1, 2, 3, 4, 5],
        "filters": [32, 64, 64, 96, 32],
        "l2": [1e-5, 1e-2, 1e-1, 1e-3, 1e-4],
        "pooling": ["max", "average", "max", None, "max"],
        "score": [0.6, 0.7, np.nan, 0.65, 0.9],
        "status": ["completed", "completed", "failed", "completed", "pruned"],
    })  # fmt: skip


NAMES = ["filters", "l2", "pooling"]


def points(ax, label):
    return next(drawn for drawn in ax.collections if drawn.get_label() == label).get_offsets().tolist()


def test_a_failed_trial_is_not_seen_or_a_pruned_one_is_called_the_best(trials):
    ax = search_plots.plot_objective_by_trial(trials, "val_accuracy")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("trial", "val_accuracy")
    assert "best 0.7000 in trial 2" in ax.get_title()
    assert points(ax, "completed") == [[0, 0.6], [1, 0.7], [3, 0.65]] and points(ax, "pruned") == [[4, 0.9]]
    assert [x for x, _ in points(ax, "no score: failed")] == [2]
    assert texts(ax.get_xticklabels()) == ["1", "2", "3", "4", "5"]
    assert ax.lines[0].get_ydata().tolist() == [0.6, 0.7, 0.7, 0.7, 0.7]


def test_the_best_loss_is_the_highest(trials):
    ax = search_plots.plot_objective_by_trial(trials, "val_loss")
    assert "best 0.6000 in trial 1" in ax.get_title()
    assert set(ax.lines[0].get_ydata()) == {0.6}


def test_another_trial_than_the_best_is_coloured(trials):
    history = pd.DataFrame(
        {"trial": [1, 1, 2, 2, 4], "epoch": [1, 2, 1, 2, 1], "val_loss": [5.0, 4, 3, 2, 1]}
    )
    ax = search_plots.plot_trial_curves(history, trials, "val_loss")  # of val_accuracy, trial 2 is the best
    coloured = [line for line in ax.lines if to_hex(line.get_color()) == plots.ORANGE.lower()]
    assert [line.get_label() for line in coloured] == ["best: trial 2"]
    assert coloured[0].get_ydata().tolist() == [3, 2]
    assert len(ax.lines) == 3 and legend(ax) == ["other trials", "best: trial 2"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "val_loss")


def test_two_trainings_of_one_trial_are_drawn_as_one_line(trials):
    history = pd.DataFrame(
        {"trial": [2] * 4, "execution": [1, 1, 2, 2], "epoch": [1, 2] * 2, "loss": [4.0, 3, 5, 2]}
    )
    ax = search_plots.plot_trial_curves(history, trials, "loss")
    assert [line.get_ydata().tolist() for line in ax.lines] == [[4, 3], [5, 2]] and legend(ax) == [
        "best: trial 2"
    ]


def test_a_hyperparameter_is_drawn_at_another_value(trials):
    figure = search_plots.plot_hyperparameters(trials, "val_accuracy", NAMES, log={"l2"})
    panels = figure.axes[:3]
    assert [ax.get_xlabel() for ax in panels] == NAMES and figure.get_supylabel() == "val_accuracy"
    assert texts(panels[0].get_xticklabels()) == ["32", "64", "96"]
    assert texts(panels[1].get_xticklabels()) == [f"$10^{{{power}}}$" for power in range(-5, 0)]
    assert texts(panels[2].get_xticklabels()) == ["average", "max"]
    scored = panels[0].collections[0].get_offsets()
    assert scored[:, 1].tolist() == [0.6, 0.7, 0.65, 0.9]
    assert (
        np.abs(scored[:, 0] - [32, 64, 96, 32]).max() <= 0.08 * 32
    )  # shifted a little, so that none is hidden
    assert panels[1].collections[0].get_offsets()[:, 0].tolist() == pytest.approx([-5, -2, -3, -4])
    assert panels[1].collections[1].get_offsets()[:, 0].tolist() == pytest.approx([-1])  # the failed one
    assert panels[1].collections[2].get_offsets().tolist() == [[-2, 0.7]]  # the best


def test_a_line_of_the_parallel_coordinates_passes_through_another_value(trials):
    ax = search_plots.plot_parallel_coordinates(trials, NAMES, "val_accuracy", log={"l2"})
    assert texts(ax.get_xticklabels()) == [*NAMES, "val_accuracy"]
    assert {"32", "64", "96", "$10^{-5}$", "$10^{-1}$", "max", "average", "unused"} <= set(shown(ax))
    height = {text.get_text(): text.get_position()[1] for text in ax.texts}
    assert (height["32"], height["64"], height["96"]) == (0, 0.5, 1) and height["unused"] < 0
    lines = [line for line in ax.lines if len(line.get_xdata()) > 2]
    assert len(lines) == len(trials)
    best = max(lines, key=lambda line: line.get_linewidth())  # trial 2: 64, 1e-2, average, 0.7 of 0.6 to 0.9
    at = dict(zip(best.get_xdata(), best.get_ydata(), strict=True))
    assert [at[0], at[1], at[2], at[3]] == pytest.approx([0.5, 0.75, 0, 1 / 3], abs=0.02)
    failed = [line for line in lines if line.get_linestyle() == ":"]
    assert len(failed) == 1 and np.isnan(failed[0].get_ydata()[-1])
    unused = [line for line in lines if np.interp(2, line.get_xdata(), line.get_ydata()) < -0.1]
    assert len(unused) == 1  # trial 4 had no pooling


@pytest.mark.parametrize("objective", ["val_accuracy", "val_loss"])
def test_the_better_trials_are_not_the_darker_lines(trials, objective):
    ax = search_plots.plot_parallel_coordinates(trials, NAMES, objective, log={"l2"})
    lines = [line for line in ax.lines if len(line.get_xdata()) > 2 and line.get_linestyle() == "-"]
    ends = pd.Series({line.get_ydata()[-1]: sum(line.get_color()[:3]) for line in lines}).sort_index()
    assert ends.is_monotonic_increasing if objective == "val_loss" else ends.is_monotonic_decreasing


@pytest.mark.parametrize(
    "change",
    [
        lambda trials: trials[:1],
        lambda trials: trials[2:3],
        lambda trials: trials.assign(score=np.nan, status="failed"),
        lambda trials: trials.assign(score=np.nan, status="running"),
        lambda trials: trials.assign(score=0.5, filters=32, l2=1e-3, pooling="max"),
        lambda trials: trials.assign(filters=np.nan, pooling=None),
        lambda trials: trials.assign(trial=list("abcde"), pooling=[True, False, True, None, True]),
        lambda trials: trials[::-1],
    ],
    ids=["one", "one failed", "all failed", "all running", "one value", "no value", "text ids", "reversed"],
)
def test_an_unusual_search_breaks_a_figure(trials, change):
    trials = change(trials)
    history = pd.DataFrame({"trial": trials["trial"], "epoch": 1, "val_accuracy": trials["score"]})
    search_plots.plot_objective_by_trial(trials, "val_accuracy")
    search_plots.plot_trial_curves(history, trials, "val_accuracy")
    search_plots.plot_trial_curves(history[:0], trials, "val_accuracy")
    search_plots.plot_hyperparameters(trials, "val_accuracy", NAMES, log={"l2"})
    search_plots.plot_parallel_coordinates(trials, NAMES, "val_accuracy", log={"l2"})
    if not (trials["status"] == "completed").any():
        ax = search_plots.plot_objective_by_trial(trials, "val_accuracy")
        assert "no trial has finished with a score" in shown(ax)


def test_a_search_that_time_cut_in_its_first_trial_shows_its_score(trials):
    cut = trials[:1].assign(status="interrupted")
    ax = search_plots.plot_objective_by_trial(cut, "val_accuracy")
    assert "none completed" in ax.get_title() and "no trial has finished" not in shown(ax)
    assert len(ax.get_yticks()) and "interrupted" in legend(ax)
    history = pd.DataFrame({"trial": cut["trial"], "epoch": 1, "val_accuracy": cut["score"]})
    assert "other" not in legend(search_plots.plot_trial_curves(history, cut, "val_accuracy"))


def test_many_different_values_each_get_a_tick():
    placed = scales.place_values(pd.Series(np.linspace(0.8, 0.99, 30)))
    assert len(placed.ticks) <= 7 and not placed.discrete
    assert placed.ticks[0] <= 0.8 and placed.ticks[-1] >= 0.99
    assert placed.positions.tolist() == pytest.approx(np.linspace(0.8, 0.99, 30))


def test_the_marks_of_two_hundred_trials_touch():
    trials = pd.DataFrame({"trial": range(1, 201), "score": np.linspace(0, 1, 200), "status": "completed"})
    ax = search_plots.plot_objective_by_trial(trials, "val_accuracy")
    ax.figure.canvas.draw()
    boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


# The search as a whole: src.searches.importance and src.figures.study_plots


@pytest.fixture
def space():
    hp = keras_tuner.HyperParameters()
    hp.Int("filters", 32, 96, step=32)
    hp.Float("l2", 1e-5, 1e-1, sampling="log")
    hp.Choice("pooling", ["max", "average"])
    hp.Fixed("fixed", 1)
    return hp.space


@pytest.fixture
def many():
    """40 completed trials whose score is decided by filters; a pruned and a failed one say otherwise."""
    random = np.random.default_rng(0)
    filters = random.choice([32, 64, 96], 40)
    table = pd.DataFrame({
        "trial": range(1, 41), "filters": filters, "l2": 10 ** random.uniform(-5, -1, 40), "fixed": 1,
        "pooling": random.choice(["max", "average"], 40), "score": filters / 100, "status": "completed",
    })  # fmt: skip
    others = table.head(2).assign(trial=[41, 42], score=[9.0, np.nan], status=["pruned", "failed"])
    return pd.concat([table, others], ignore_index=True)


def test_the_one_hyperparameter_that_decides_is_not_the_most_important(many, space):
    found = measure_importances(many, space)
    assert set(found["name"]) == set(NAMES) and found["name"][0] == "filters"
    assert found["importance"].sum() == pytest.approx(1) and found["importance"][0] > 0.5


@pytest.mark.parametrize(
    "change",
    [
        lambda trials: trials[:0],
        lambda trials: trials[:3],
        lambda trials: trials.assign(status="pruned"),
        lambda trials: trials.assign(score=np.nan, status="failed"),
        lambda trials: trials.assign(score=0.5),
        lambda trials: trials.assign(filters=32, l2=1e-3, pooling="max"),
        lambda trials: trials[["trial", "score", "status"]],
    ],
    ids=["none", "three", "all pruned", "all failed", "one score", "one value", "no hyperparameters"],
)
def test_a_search_that_says_nothing_of_importance_is_drawn_as_if_it_did(many, space, change):
    found = measure_importances(change(many), space)
    assert found.empty and found.columns.tolist() == ["name", "importance"]
    assert "4 completed trials" in shown(study_plots.plot_importances(found, "val_accuracy"))[0]


def test_a_hyperparameter_of_some_trials_or_of_one_value_breaks_the_importances(many, space):
    table = many.assign(l2=1e-3, pooling=many["pooling"].where(many.index % 2 == 0))
    table["filters"] = table["filters"].astype(float)  # as a column with a missing row comes from a CSV
    found = measure_importances(table, space).set_index("name")
    assert found.index.tolist() == ["filters", "pooling"]
    assert np.isnan(found.loc["pooling", "importance"]) and found.loc["filters", "importance"] == 1
    ax = study_plots.plot_importances(found.reset_index(), "val_accuracy")
    assert "only some trials had it" in shown(ax)


def test_a_bar_of_the_importances_has_another_length_or_hyperparameter():
    table = pd.DataFrame({"name": ["l2", "pooling"], "importance": [0.75, 0.25]})
    ax = study_plots.plot_importances(table, "val_accuracy")
    assert texts(ax.get_yticklabels()) == ["l2", "pooling"]
    assert [bar.get_width() for bar in ax.containers[0]] == [0.75, 0.25]
    assert "val_accuracy, by fANOVA" in ax.get_title()
    assert "share" in ax.get_xlabel() and ax.get_ylabel() == "hyperparameter"


@pytest.fixture
def timed():
    """Two at the same time, an hour of pause, one more; the last one runs."""
    at = "2026-01-01T{}:00.000+00:00".format
    return pd.DataFrame({
        "trial": [1, 2, 3, 4], "seconds": [120.0, 60, 180, np.nan],
        "started": [at("10:00"), at("10:01"), at("11:02"), ""],
        "status": ["completed", "pruned", "completed", "running"],
    })  # fmt: skip


def test_the_timeline_shows_a_pause_or_loses_a_trial(timed):
    ax = study_plots.plot_timeline(timed)
    spans = {
        round(bar.get_y() + bar.get_height() / 2): (bar.get_x(), bar.get_width())
        for bars in ax.containers
        for bar in bars
    }
    assert spans == {1: (0, 2), 2: (1, 1), 3: (2, 3)}  # minutes: start, length
    assert legend(ax) == ["completed: 5.0 min", "pruned: 1.0 min"]
    assert ax.get_title() == "3 trials in 5.0 minutes; 1 that has not ended not shown"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("minutes of search, without pauses", "trial")


@pytest.mark.parametrize("rows", [slice(0), slice(3, 4)], ids=["no trial", "one that runs"])
def test_a_search_without_an_ended_trial_breaks_the_timeline(timed, rows):
    assert study_plots.plot_timeline(timed[rows]).get_title() == "no trial has ended"


def test_the_only_trial_has_a_whole_number_on_the_timeline(timed):
    ax = study_plots.plot_timeline(timed[:1])
    low, high = sorted(ax.get_ylim())
    assert [tick for tick in ax.get_yticks() if low < tick < high] == [1]
    assert ax.get_title().startswith("1 trial in")


def test_a_trial_that_was_stopped_early_looks_like_a_completed_one(trials):
    panel = search_plots.plot_hyperparameters(trials, "val_accuracy", ["filters"]).axes[0]
    fill = [to_hex(colour) for colour in panel.collections[0].get_facecolor()]
    assert fill == [plots.BLUE.lower()] * 3 + ["#ffffff"]  # trial 5 was pruned
    cut = trials.replace({"status": {"pruned": "interrupted"}})
    ax = search_plots.plot_objective_by_trial(cut, "val_accuracy")
    assert "interrupted" in legend(ax) and "pruned" not in legend(ax)
    lines = search_plots.plot_parallel_coordinates(trials, NAMES, "val_accuracy", log={"l2"}).lines
    assert [line.get_linestyle() for line in lines if len(line.get_xdata()) > 2].count("--") == 1


# Names of strangers in figures

STRANGE = ["under_$10_{new}_$", "a$b$"]  # with two `$` matplotlib would take what is between for a formula


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("cat", "cat"),
        ("american_bulldog", "american_bulldog"),
        ("american_bulldog_and_other_dogs", "american_bulldog_and_\nother_dogs"),
        ("Great Pyrenees of the mountains", "Great Pyrenees of the\nmountains"),
        ("a" * 40, f"{'a' * 8}…{'a' * 15}"),
        ("$5", r"\$5"),
        ("", ""),
        ("\ue12a wolf", "U+E12A wolf"),  # a letter that no font has would be a box, whatever it is
    ],
)
def test_a_label_has_short_lines(name, shown):
    assert label(name) == shown


def test_a_title_spells_a_letter_that_no_font_has():
    assert title("\ue12a.jpg\nGröße") == "U+E12A.jpg\nGröße"


def test_a_title_keeps_its_lines_and_each_files_end():
    shown = title("American_Bulldog/IMG_20190703_181233_holiday_edited.jpg\ncat 0.98")
    first, second = shown.split("\n")
    assert len(first) == 25 and first.startswith("American") and first.endswith("iday_edited.jpg")
    assert second == "cat 0.98" and shorten("short.jpg", 30) == "short.jpg"


def draw_everything() -> list:
    matrix = pd.DataFrame([[3, 1], [2, 4]], STRANGE, STRANGE)
    recall = pd.DataFrame({"recall": [1, 0.5], "precision": [0.5, 1.0]})
    row = {"bin_low": 0.0, "bin_high": 1.0, "count": 4, "mean_probability": 0.5, "observed": 0.5}
    bins = pd.DataFrame([{**row, "low": 0.2, "high": 0.8}])
    costs = pd.DataFrame({"threshold": [0, 1], "holds_from": [0, 0.5], "mean_cost": [0.5, 0.2]})
    picture = np.zeros((4, 4, 3), "uint8")
    result = {"result": "from scratch", "run": "$_$", "accuracy": 0.9, "low": 0.8, "high": 0.95}
    return [
        plots.plot_confusion_matrix(matrix),
        plots.plot_precision_recall(recall, STRANGE[0]),
        plots.plot_calibration(bins, (0.1, 0.05), STRANGE[0]),
        plots.plot_pictures([picture], [STRANGE[0]]),
        data_plots.plot_class_balance(pd.DataFrame([[3, 2]], ["train"], STRANGE)),
        mistake_plots.plot_thresholds({0.5: matrix, 0.7: matrix}),
        mistake_plots.plot_costs(costs, 0.5, STRANGE[0]),
        mistake_plots.plot_class_maps([picture], np.zeros((1, 4, 4)), [STRANGE[0]]),
        submission_plots.plot_probabilities(pd.Series([0.1, 0.9]), STRANGE),
        final_plots.plot_results(pd.DataFrame([result])),
    ]


def test_a_name_with_two_dollars_is_drawn_as_it_is_written(tmp_path):
    for number, drawn in enumerate(draw_everything()):
        plots.save_figure(drawn, tmp_path / f"{number}.png")
        drawn_texts = getattr(drawn, "figure", drawn).findobj(Text)
        formulas = [text for text in drawn_texts if text._preprocess_math(text.get_text())[1]]
        assert [text.get_text() for text in formulas if "10^" not in text.get_text()] == []


def test_long_labels_of_matrices_do_not_touch():
    long = ["american_bulldog_of_the_south", "goldenretrievers_in_germany"]
    matrix = pd.DataFrame([[3, 1], [2, 4]], long, long)
    ax = plots.plot_confusion_matrix(matrix)
    ax.figure.canvas.draw()
    left, right = (text.get_window_extent() for text in ax.get_xticklabels())
    assert left.x1 < right.x0
    figure = mistake_plots.plot_thresholds(dict.fromkeys([0.1, 0.5, 0.9], matrix))
    figure.canvas.draw()
    labels = [text for ax in figure.axes for text in ax.get_xticklabels()]
    boxes = [text.get_window_extent() for text in labels]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    shown = [any(text.get_visible() for text in ax.get_yticklabels()) for ax in figure.axes]
    assert shown == [True, False, False]
