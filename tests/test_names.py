"""Names of strangers in figures: no formulas, no overlap."""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from src import plots
from src.figures import data_plots, mistake_plots, submission_plots
from src.plots import label, shorten, title

NAMES = ["under_$10_{new}_$", "a$b$"]  # with two `$` matplotlib would take what is between for a formula


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
    ],
)
def test_a_label_has_short_lines(name, shown):
    assert label(name) == shown


def test_a_title_keeps_its_lines_and_each_files_end():
    shown = title("American_Bulldog/IMG_20190703_181233_holiday_edited.jpg\ncat 0.98")
    first, second = shown.split("\n")
    assert len(first) == 25 and first.startswith("American") and first.endswith("iday_edited.jpg")
    assert second == "cat 0.98" and shorten("short.jpg", 30) == "short.jpg"


def draw_everything() -> list:
    matrix = pd.DataFrame([[3, 1], [2, 4]], NAMES, NAMES)
    recall = pd.DataFrame({"recall": [1, 0.5], "precision": [0.5, 1.0]})
    row = {"bin_low": 0.0, "bin_high": 1.0, "count": 4, "mean_probability": 0.5, "observed": 0.5}
    bins = pd.DataFrame([{**row, "low": 0.2, "high": 0.8}])
    costs = pd.DataFrame({"threshold": [0, 1], "holds_from": [0, 0.5], "mean_cost": [0.5, 0.2]})
    picture = np.zeros((4, 4, 3), "uint8")
    return [
        plots.plot_confusion_matrix(matrix),
        plots.plot_precision_recall(recall, NAMES[0]),
        plots.plot_calibration(bins, 0.1, NAMES[0]),
        plots.plot_pictures([picture], [NAMES[0]]),
        data_plots.plot_class_balance(pd.DataFrame([[3, 2]], ["train"], NAMES)),
        mistake_plots.plot_thresholds({0.5: matrix, 0.7: matrix}),
        mistake_plots.plot_costs(costs, 0.5, NAMES[0]),
        mistake_plots.plot_class_maps([picture], np.zeros((1, 4, 4)), [NAMES[0]]),
        submission_plots.plot_probabilities(pd.Series([0.1, 0.9]), NAMES),
    ]


def test_a_name_with_two_dollars_is_drawn_as_it_is_written(tmp_path):
    for number, drawn in enumerate(draw_everything()):
        plots.save_figure(drawn, tmp_path / f"{number}.png")
    plt.close("all")


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
    plt.close("all")
