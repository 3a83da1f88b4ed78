"""A KerasTuner search space whose values an Optuna trial draws, so that each space is written only once."""

import logging
from collections.abc import Callable
from decimal import Decimal

import keras_tuner
import optuna
from keras_tuner.engine.hyperparameters import Boolean, Choice, Fixed, Float, Int
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

logger = logging.getLogger(__name__)


class SuggestedHyperParameters(keras_tuner.HyperParameters):
    """`HyperParameters` that ask an Optuna trial for each value when the space first uses its name."""

    def __init__(self, trial: optuna.Trial):
        """Stores the trial."""
        super().__init__()
        self.trial = trial

    def _register(self, hyperparameter, overwrite=False):
        # KerasTuner calls this once per entry, with its scopes and conditions resolved. An existing value
        # is kept; an inactive entry gets none.
        if self.is_active(hyperparameter) and hyperparameter.name not in self.values:
            self.values[hyperparameter.name] = suggest(self.trial, hyperparameter)
        return super()._register(hyperparameter, overwrite)


def suggest(trial: optuna.Trial, entry):
    """Returns the trial's value for a KerasTuner entry: one that KerasTuner itself could have drawn."""
    distribution = distribution_of(entry)
    if distribution is None:
        return entry.default
    name = name_in_study(entry)
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    draw = trial.suggest_int if isinstance(distribution, IntDistribution) else trial.suggest_float
    limits = {"step": distribution.step, "log": distribution.log}
    value = draw(name, distribution.low, distribution.high, **limits)
    # Optuna's 0.30000000000000004 may be KerasTuner's 0.3, so snap to KerasTuner's own grid.
    return min(grid(entry), key=lambda place: abs(place - value)) if entry.step else value


def name_in_study(entry) -> str:
    """Returns the name under which a study knows an entry: two branches of a space may share a plain name."""
    conditions = [f"{parent.name}: {' or '.join(map(str, parent.values))}" for parent in entry.conditions]
    return f"{entry.name} ({', '.join(conditions)})" if conditions else entry.name


def distribution_of(entry) -> BaseDistribution | None:
    """Returns Optuna's distribution for a KerasTuner entry, None for a fixed value.

    Raises:
        ValueError: an entry of a kind that Optuna cannot draw.
    """
    if isinstance(entry, Fixed):
        return None
    if isinstance(entry, Boolean):
        return CategoricalDistribution([False, True])
    if isinstance(entry, Choice):
        return CategoricalDistribution(list(entry.values))
    if not isinstance(entry, Int | Float) or entry.sampling not in ("linear", "log"):
        raise ValueError(
            f"hyperparameter {entry.name!r}: Optuna cannot draw from {entry!r}; use log or linear"
        )
    log = entry.sampling == "log"
    if log and entry.step:
        # 16, 32, 64, ...: Optuna has no geometric grid, so each value is a choice.
        return CategoricalDistribution(grid(entry))
    if isinstance(entry, Int):
        high = entry.max_value if log else grid(entry)[-1]
        return IntDistribution(entry.min_value, high, log=log, step=1 if log else entry.step)
    if entry.step:
        # As many values as KerasTuner has, which may miss the top; Decimal, so that the step divides exactly.
        low, step = Decimal(str(entry.min_value)), Decimal(str(entry.step))
        high = low + (len(grid(entry)) - 1) * step
        return FloatDistribution(float(low), float(high), step=float(step))
    return FloatDistribution(entry.min_value, entry.max_value, log=log)


def grid(entry) -> list:
    """Returns all values of a stepped entry, exactly as KerasTuner has them."""
    kind = int if isinstance(entry, Int) else float
    return [kind(value) for value in entry.values]


def explore_space(build: Callable[[keras_tuner.HyperParameters], object]) -> keras_tuner.HyperParameters:
    """Returns the space including the entries of every `conditional_scope`, at their defaults.

    Args:
        build: function of `hp`; called once, and once more for each scope that was not entered.

    Raises:
        ValueError: an entry that Optuna cannot draw.
    """
    space, known, waiting = keras_tuner.HyperParameters(), [], [[]]
    while waiting:
        hp = keras_tuner.HyperParameters()
        hp.values.update({condition.name: condition.values[0] for condition in waiting.pop(0)})
        build(hp)
        space.merge(hp, overwrite=False)
        known += hp.active_scopes
        waiting += [scope for scope in hp.inactive_scopes if scope not in known]
        known += hp.inactive_scopes
    for entry in space.space:
        distribution_of(entry)
    return space


def log_space(entries: list) -> None:
    """Logs the entries of a space in the form in which KerasTuner prints them."""
    logger.info("Search space summary\nDefault search space size: %d", len(entries))
    for entry in entries:
        config = entry.get_config()
        logger.info("%s (%s)\n%s", config.pop("name"), type(entry).__name__, config)
