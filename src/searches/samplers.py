"""Optuna's samplers and pruners by name: samplers propose the next trial, pruners end one early."""

import copy
import math
import warnings

import keras
import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from src.searches.callbacks import HistoryFile
from src.searches.claims import PLACE

SAMPLERS = ("tpe", "random")
PRUNERS = {  # name: the reason given for a pruned trial
    "median": "worse than the median of the completed trials",
    "hyperband": "not in the best third of its bracket",
    "none": "",
}
STARTUP = {"tpe": 10, "median": 4}  # trials before the sampler or pruner starts to use results


def make_sampler(name: str, seed: int, place: int, defaults: dict) -> optuna.samplers.BaseSampler:
    """Returns the sampler for one trial, which proposes the same values even if the search was interrupted.

    Args:
        name: tpe or random.
        seed: of the search.
        place: of the trial (0-based); the first trial uses the defaults of the space.
        defaults: a value for each hyperparameter, by its name in the study.
    """
    # Mixed, because seed + place would give neighbouring seeds the same proposals, shifted by one trial.
    mixed = int(np.random.SeedSequence((seed, place)).generate_state(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "random":
            sampler = optuna.samplers.RandomSampler(seed=mixed)
        else:
            # constant_liar keeps parallel processes from proposing the same values at the same time.
            settings = {"multivariate": True, "constant_liar": True, "n_startup_trials": STARTUP["tpe"]}
            sampler = optuna.samplers.TPESampler(seed=mixed, **settings)
        return sampler if place else optuna.samplers.PartialFixedSampler(defaults, sampler)


def make_pruner(name: str, epochs: int) -> optuna.pruners.BasePruner:
    """Returns the pruner for trials with this many epochs.

    `median` never prunes the first 4 trials and judges from two thirds of the epochs on: until the learning
    rate has come down from its peak, a score says little about the final one (`tests/benchmarks/README.md`
    has the figures). `hyperband` judges from a ninth of the epochs on.
    """
    if name == "median":
        return optuna.pruners.MedianPruner(STARTUP["median"], math.ceil(epochs * 2 / 3))
    if name == "hyperband":
        return PlacedHyperband(min_resource=max(1, epochs // 9), max_resource=epochs, reduction_factor=3)
    return optuna.pruners.NopPruner()


class PlacedHyperband(optuna.pruners.HyperbandPruner):
    """Hyperband that assigns brackets by a trial's place, since its number changes when it is taken again."""

    def _get_bracket_id(self, study: optuna.Study, trial: FrozenTrial) -> int:
        if trial.state is TrialState.FAIL:
            return -1  # it may be taken again, and must not compete with itself
        trial = copy.copy(trial)
        trial.number = trial.user_attrs.get(PLACE, trial.number)
        return super()._get_bracket_id(study, trial)


class ReportEpochs(keras.callbacks.Callback):
    """Reports each epoch's objective to the study, and stops the training if the pruner says so."""

    def __init__(self, trial: optuna.Trial, objective: str, epochs: int, history: HistoryFile):
        """Stores the trial, what to report, and the history that holds an interrupted attempt's epochs."""
        super().__init__()
        self.trial, self.objective, self.epochs, self.history = trial, objective, epochs, history
        self.pruned_at: int | None = None
        self.reported = 0

    def on_train_begin(self, logs=None):
        """Reports the epochs trained before this process resumed the trial; the last one decides."""
        for row in self.history.rows[self.reported :]:
            self.pruned_at = row["epoch"] if self._report(row[self.objective], row["epoch"]) else None

    @property
    def is_over(self) -> bool:
        """Whether the pruner ends the restored training at once, as it may have done before a kill."""
        self.on_train_begin()
        return self.pruned_at is not None

    def on_epoch_end(self, epoch, logs=None):
        """Reports the epoch."""
        if self.objective not in (logs or {}):
            raise ValueError(f"objective {self.objective!r} is not among {', '.join(logs or {})}")
        if self._report(logs[self.objective], epoch + 1):
            self.pruned_at = epoch + 1
            self.model.stop_training = True

    def _report(self, value: float, epoch: int) -> bool:
        """Returns whether the pruner ends the trial; it is not asked after the last epoch, to save nothing.

        It is asked once after each other epoch: hyperband stores a rung's value when asked there, and from
        then on answers for the next rung.
        """
        self.trial.report(float(value), epoch)
        self.reported = epoch
        return epoch < self.epochs and self.trial.should_prune()
