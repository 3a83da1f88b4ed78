"""Where memory runs out, a training goes on at half its batches, also after a kill."""

from types import SimpleNamespace

import pytest

from src.searches.checkpoints import CHECKPOINT, delete_checkpoint
from src.searches.halving import within_memory


def trainer(tried: list[int], *ends: BaseException | None):
    """Returns a training that notes its divisor, and ends each time as told."""
    waiting = list(ends)

    def train(training) -> str:
        tried.append(training.batch_divisor)
        if error := waiting.pop(0):
            raise error
        return "trained"

    return train


def test_a_kill_after_the_halving_goes_on_at_half_the_batches(tmp_path):
    training, tried, place = SimpleNamespace(batch_divisor=1), [], tmp_path / "trial_1"
    train = trainer(tried, MemoryError(), KeyboardInterrupt(), None, None)
    with pytest.raises(KeyboardInterrupt):
        within_memory(training, train, place)
    (place / CHECKPOINT).touch()
    assert within_memory(training, train, place) == "trained" and tried == [1, 2, 2]
    delete_checkpoint(place)
    assert within_memory(training, train, place) == "trained" and tried[-1] == 1, (
        "the next one is another one"
    )


def test_other_errors_and_a_second_lack_of_memory_are_passed_on(tmp_path):
    training, tried = SimpleNamespace(batch_divisor=1), []
    with pytest.raises(ValueError):
        within_memory(training, trainer(tried, ValueError()), tmp_path)
    with pytest.raises(MemoryError):
        within_memory(training, trainer(tried, MemoryError(), MemoryError()))
    assert tried == [1, 1, 2]
