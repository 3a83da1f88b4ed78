"""The comparison of speeds: in turns, medians, ratios to the first."""

import numpy as np
import pytest

from src.generators import PictureBatches
from src.speed import compare_speed, count_pictures


def test_sources_take_turns_and_medians_are_compared():
    turns, speeds = [], {"theirs": iter([100, 300, 200]), "ours": iter([4000, 1000, 2000])}

    def measure(source: str, seconds: float) -> float:
        turns.append(source)
        return next(speeds[source])

    table = compare_speed({"A": "theirs", "B": "ours"}, rounds=3, measure=measure)
    assert turns == ["theirs", "ours"] * 3
    assert table["method"].tolist() == ["A", "B"]
    assert table["pictures_per_second"].tolist() == [200, 2000]
    assert table["ratio"].tolist() == [1, 10]
    assert (table["low"].tolist(), table["high"].tolist()) == ([100, 1000], [300, 4000])


@pytest.mark.parametrize("workers", [1, 2])
def test_pictures_are_counted_not_batches(workers):
    pixels = np.zeros((20, 8, 8, 3), dtype="uint8")
    names = [str(number) for number in range(20)]
    ours = PictureBatches(pixels, np.arange(20), np.zeros(20), names, batch_size=8, workers=workers)
    assert count_pictures(ours, 0.02) > 20 / 0.1
    theirs = iter([(None, np.zeros(8))] * 10**6)
    assert count_pictures(theirs, 0.01) > 8 / 0.01
