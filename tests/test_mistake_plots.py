"""What is read off a figure of mistakes is what its table says."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from src.figures import mistake_plots
from src.plots import BLUE, ORANGE
from src.results.slices import MEASURES

pytestmark = pytest.mark.usefixtures("draw_and_close")


def test_each_map_lies_over_its_own_picture_below_its_title():
    pictures = [np.full((4, 4, 3), shade, dtype="uint8") for shade in (10, 20, 30)]
    maps = np.stack([np.full((4, 4), heat, dtype="float32") for heat in (0.1, 0.2, 0.3)])
    figure = mistake_plots.plot_class_maps(pictures, maps, ["a", "b", "$$.jpg"], columns=2)
    grid = figure.axes[:8]  # four rows of two
    assert [ax.get_title() for ax in grid] == ["a", "b", "", "", r"\$\$.jpg", "", "", ""]
    shown = {0: 2, 1: 3, 4: 6}  # where a picture is, and its map below
    for number, (above, below) in enumerate(shown.items()):
        plain, (under, heat) = grid[above].images[0], grid[below].images
        assert (plain.get_array() == pictures[number]).all() and (under.get_array() == pictures[number]).all()
        assert heat.get_array().max() == maps[number].max() and heat.get_clim() == (0, 1)


def test_no_pictures_are_said():
    figure = mistake_plots.plot_class_maps([], np.zeros((0, 4, 4)), [])
    assert figure.axes[0].texts[0].get_text() == "no pictures to show"


def test_a_bin_below_the_overall_accuracy_is_orange_and_named_by_its_values():
    row = {"measure": "size", "smallest": 100.0, "largest": 120_000.0, "n": 1200}
    table = pd.DataFrame(
        [
            {**row, "accuracy": 0.9, "low": 0.85, "high": 0.95},
            {**row, "smallest": 3.14159, "largest": 3.14159, "accuracy": 0.5, "low": 0.4, "high": 0.6},
        ]
    ).assign(clearly_below=[False, True])
    figure = mistake_plots.plot_slices(table, 0.8, MEASURES)
    ax = figure.axes[0]
    assert [ax.get_xlabel() for ax in figure.axes] == list(MEASURES.values())
    names = [label.get_text() for label in ax.get_xticklabels()]
    assert names == ["100\nto 120k\nn = 1,200", "3.14\nn = 1,200"]
    drawn = {to_hex(bars.lines[0].get_color()).upper(): bars.lines[0].get_xydata() for bars in ax.containers}
    assert drawn[BLUE].tolist() == [[0, 0.9]] and drawn[ORANGE].tolist() == [[1, 0.5]]
    assert "all, 80.00%" in figure.get_suptitle()


def test_a_strip_shows_each_threshold_over_its_own_matrix():
    names = ["cat", "dog"]
    matrices = {
        0.25: pd.DataFrame([[1, 2], [0, 3]], names, names),
        0.5: pd.DataFrame([[3, 0], [1, 2]], names, names),
    }
    figure = mistake_plots.plot_thresholds(matrices)
    assert [ax.get_title() for ax in figure.axes] == [
        "threshold 0.25\n66.67% right",
        "threshold 0.5\n83.33% right",
    ]
    assert [ax.texts[1].get_text() for ax in figure.axes] == ["2\n66.7%", "0\n0.0%"]


def test_the_chosen_threshold_is_marked_on_the_line_of_costs():
    costs = pd.DataFrame({"threshold": [0.0, 0.3, 0.5, 1.0], "mean_cost": [0.5, 0.1, 0.2, 0.5]})
    costs["holds_from"] = [0.0, 0.2, 0.4, 0.9]
    ax = mistake_plots.plot_costs(costs, 0.3, "dog")
    line, usual, chosen = ax.lines
    assert line.get_xydata().tolist() == [[0.0, 0.5], [0.2, 0.1], [0.4, 0.2], [0.9, 0.5], [1.0, 0.5]]
    assert (usual.get_xdata()[0], chosen.get_xdata()[0]) == (0.5, 0.3)
    assert "called dog" in ax.get_xlabel()
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["validation pictures", "usual: 0.5", "chosen: 0.3"]


def test_the_slider_draws_the_matrix_at_its_threshold(monkeypatch):
    titles = []
    monkeypatch.setattr(plt, "show", lambda: titles.append(plt.gcf().axes[0].get_title()))
    predictions = pd.DataFrame(  # at 0.25 the cat of 0.6 alone is called a dog
        {"code": [0, 0, 1, 0, 1, 1], "probability": [0.1, 0.2, 0.3, 0.6, 0.7, 0.9]},
        index=[9, 4, 7, 1, 2, 3],
    )
    widget = mistake_plots.threshold_slider(predictions, ["cat", "dog"])
    widget.children[0].value = 0.25
    widget.update()
    assert "83.33% of 6" in titles[-1]
