"""Optuna's samplers and pruners by name: who proposes the next trial, and who ends one early."""

import copy
import math
import warnings

import keras
import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from src.searches.callbacks import HistoryFile
from src.searches.claims import PLACE, REASON

SAMPLERS = ("tpe", "random")
PRUNERS = {  # name: what is said of a pruned trial
    "median": "worse than the median of the completed trials",
    "hyperband": "not in the best third of its bracket",
    "none": "",
}
STARTUP = {"tpe": 10, "median": 4}  # trials before one begins to judge


def make_sampler(name: str, seed: int, place: int, defaults: dict) -> optuna.samplers.BaseSampler:
    """Returns the sampler of one trial, which proposes the same whether or not the search was interrupted.

    Args:
        name: tpe or random.
        seed: of the search.
        place: of the trial, from 0; the first one takes the space's defaults.
        defaults: a value for each hyperparameter.
    """
    # Mixed, as seed + place would give neighbouring seeds the same proposals, one trial later.
    mixed = int(np.random.SeedSequence((seed, place)).generate_state(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "random":
            sampler = optuna.samplers.RandomSampler(seed=mixed)
        else:
            # With several processes, constant_liar keeps them from proposing the same at once.
            settings = {"multivariate": True, "constant_liar": True, "n_startup_trials": STARTUP["tpe"]}
            sampler = optuna.samplers.TPESampler(seed=mixed, **settings)
        return sampler if place else optuna.samplers.PartialFixedSampler(defaults, sampler)


def make_pruner(name: str, epochs: int) -> optuna.pruners.BasePruner:
    """Returns the pruner for trials of so many epochs.

    `median` lets the first 4 trials pass and judges from two thirds of the epochs on, at the second at the
    earliest: before the learning rate has come down from its peak, a network's score says little about its
    last one (`tests/benchmarks/README.md` has the figures). `hyperband` judges from a ninth of the epochs on.
    """
    if name == "median":
        return optuna.pruners.MedianPruner(STARTUP["median"], max(2, math.ceil(epochs * 2 / 3)))
    if name == "hyperband":
        return PlacedHyperband(min_resource=max(1, epochs // 9), max_resource=epochs, reduction_factor=3)
    return optuna.pruners.NopPruner()


class PlacedHyperband(optuna.pruners.HyperbandPruner):
    """Hyperband that goes by a trial's place: its number is another one when it is taken again."""

    def _get_bracket_id(self, study: optuna.Study, trial: FrozenTrial) -> int:
        if trial.state is TrialState.FAIL and REASON not in trial.user_attrs:
            return -1  # taken again, so that it must not compete with itself
        trial = copy.copy(trial)
        trial.number = trial.user_attrs.get(PLACE, trial.number)
        return super()._get_bracket_id(study, trial)


class ReportEpochs(keras.callbacks.Callback):
    """Tells the study each epoch's objective, and stops the training where the pruner says so."""

    def __init__(self, trial: optuna.Trial, objective: str, epochs: int, history: HistoryFile):
        """Keeps the trial, what to report of it, and where the epochs of an interrupted attempt are found."""
        super().__init__()
        self.trial, self.objective, self.epochs, self.history = trial, objective, epochs, history
        self.pruned_at: int | None = None
        self.reported = 0

    def on_train_begin(self, logs=None):
        """Reports the epochs that were trained before this process went on."""
        for row in self.history.rows[self.reported :]:
            self.trial.report(float(row[self.objective]), row["epoch"])
            self.trial.should_prune()  # hyperband keeps each rung's value where it is asked, and only there
            self.reported = row["epoch"]

    @property
    def is_over(self) -> bool:
        """Whether the pruner ends the restored training where it is: before a kill it may have done so."""
        self.on_train_begin()
        if 0 < self.reported < self.epochs and self.trial.should_prune():
            self.pruned_at = self.reported
        return self.pruned_at is not None

    def on_epoch_end(self, epoch, logs=None):
        """Reports; after the last epoch there is nothing left to be saved by pruning."""
        if self.objective not in (logs or {}):
            raise ValueError(f"objective {self.objective!r} is not among {', '.join(logs or {})}")
        self.trial.report(float(logs[self.objective]), epoch + 1)
        self.reported = epoch + 1
        if epoch + 1 < self.epochs and self.trial.should_prune():
            self.pruned_at = epoch + 1
            self.model.stop_training = True
