"""A KerasTuner search that is recorded, resumable and ends on time, whichever KerasTuner tuner runs it."""

import logging
import math
from pathlib import Path

import keras
import keras_tuner
import numpy as np

from src.images.cache import StalePictures
from src.running.devices import release
from src.running.locks import hold
from src.running.resources import full_disk, is_full
from src.searches.callbacks import Deadline
from src.searches.checkpoints import delete_checkpoint
from src.searches.halving import HALVED, within_memory
from src.searches.search_folder import (
    IN_VAIN,
    MOST_DEATHS,
    counting_deaths,
    read_history,
    read_record,
    reason_of,
    recording,
)
from src.searches.trials import TrialRecord, drop_weights, give_up, log_trial
from src.searches.tuner_state import drop_optimizer, keep_state, restore_grid, restore_state
from src.training import PictureTraining

logger = logging.getLogger(__name__)

NEVER = 10**9  # failed trials in a row after which KerasTuner gives up a search; its default is 3


class CutByDeadline(keras_tuner.errors.FatalError):
    """Raised from a trial that `max_minutes` cut short, so that KerasTuner keeps it to run it again."""


class NoFaultOfTheTrial(keras_tuner.errors.FatalError, OSError):
    """Raised from a trial if the disk is full or the pictures are gone, so that KerasTuner runs it again."""


class RecordedSearch:
    """Mixin for a KerasTuner tuner: seeds and records each trial, and limits disk usage and time."""

    def prepare(self, seed: int, epochs: int, keep_models: int) -> None:
        """Stores the settings of the search; called once, before `search`."""
        self.seed_of_search, self.epochs, self.keep_models = seed, epochs, keep_models
        self.deadline = Deadline(math.inf)
        self._networks: list[keras.Model] = []  # of the trial, one per execution
        self.oracle.max_consecutive_failed_trials = NEVER

    @property
    def space(self) -> list:
        """The entries of the search space, without those that Hyperband adds for its own use."""
        return [entry for entry in self.oracle.get_space().space if not entry.name.startswith("tuner/")]

    def run_for(self, minutes: float = 0) -> None:
        """Runs the remaining trials; with `minutes`, stops after the first epoch past the limit."""
        self.deadline, self.policy = Deadline.after(minutes), keras.config.dtype_policy()
        asked = self.oracle.max_trials
        try:
            with hold(Path(self.project_dir)):
                self._read_state()
                done = len(self.oracle.end_order)
                logger.info("search: %d trials done, %s asked for", done, asked or "a bracket or grid")
                if done:  # a kill may have come before
                    self._drop_checkpoints(self.oracle.end_order[-1])
                if not asked or done < asked:  # one may be left from when more were asked for
                    self.search(epochs=self.epochs, verbose=0)
        except CutByDeadline as cut:
            self._report(cut.args[0])
        except OSError as error:
            if is_full(error):
                raise full_disk(Path(self.project_dir)) from error
            raise
        finally:
            self.oracle.max_trials = asked
        done = len(self.oracle.end_order)
        if self.deadline.passed and (not asked or done < asked):
            logger.info("the search stopped after %g minutes with %d trials done", minutes, done)
        elif asked and done < asked:
            logger.info("the search is over after %d trials: it found no values that it had not tried", done)

    def _read_state(self) -> None:
        restore_state(Path(self.project_dir))
        if Path(self._get_tuner_fname()).exists():
            # Another process may have continued the search since this object was made.
            self.oracle.trials.clear()
            self.reload()  # in any order of the trials, on which `bayesian` depends in its last digits
            self.oracle.trials = dict(sorted(self.oracle.trials.items(), key=lambda item: int(item[0])))
        else:
            # KerasTuner first writes its state after the first trial; an earlier kill would lose it.
            self.save()
        keep_state(Path(self.project_dir))
        if isinstance(self.oracle, keras_tuner.oracles.GridSearchOracle):
            restore_grid(self.oracle)

    def pre_create_trial(self) -> None:
        """Seeds each proposal of `bayesian`, whose random state KerasTuner does not save."""
        self.oracle._random_state = np.random.RandomState(self.oracle.seed + len(self.oracle.trials))

    def run_trial(self, trial, *args, **kwargs):
        """Returns the trial's histories; trials are seeded, so a resumed search gives the same scores."""

        def train(training: PictureTraining) -> list:
            self.hypermodel = training  # at half the batch size if memory ran out
            return self._train(trial, *args, **kwargs)

        training = self.hypermodel
        try:
            keep_state(Path(self.project_dir))
            with counting_deaths(Path(self.get_trial_dir(trial.trial_id))) as deaths:
                if deaths >= MOST_DEATHS:
                    raise keras_tuner.errors.FailedTrialError(IN_VAIN)
                return within_memory(training, train)
        except Exception as error:
            if is_full(error) or isinstance(error, OSError | StalePictures):
                raise NoFaultOfTheTrial(str(error)) from error
            raise
        finally:
            self.hypermodel = training

    def _train(self, trial, *args, **kwargs) -> list:
        keras.utils.set_random_seed(self.seed_of_search + int(trial.trial_id))
        folder = Path(self.get_trial_dir(trial.trial_id))
        epochs = trial.hyperparameters.values.get("tuner/epochs", kwargs.get("epochs"))
        title = f"trial {int(trial.trial_id) + 1}" + (
            f" of {self.oracle.max_trials}" * bool(self.oracle.max_trials)
        )
        note = HALVED if self.hypermodel.batch_divisor > 1 else ""
        try:
            with recording(folder, title, epochs, self.deadline, note=note) as watching:
                histories = super().run_trial(trial, *args, callbacks=watching, **kwargs)
        finally:
            while self._networks:
                release(self._networks.pop())
        if read_record(folder)["stopped_at"]:
            raise CutByDeadline(trial.trial_id)
        return histories

    def _build_hypermodel(self, hp) -> keras.Model:
        keras.config.set_dtype_policy(self.policy)  # KerasTuner has just reset it by clearing the session
        self._networks.append(super()._build_hypermodel(hp))
        return self._networks[-1]

    def on_trial_end(self, trial) -> None:
        """Saves the state, logs the progress, and ends the search if its time is up."""
        super().on_trial_end(trial)
        keep_state(Path(self.project_dir))
        self._report(trial.trial_id)
        self._drop_checkpoints(trial.trial_id)
        give_up(self.records())
        if self.deadline.passed:
            self.oracle.max_trials = len(self.oracle.trials)  # so the oracle proposes no further trial

    def records(self) -> list[TrialRecord]:
        """Returns the trials in the order in which they started."""
        trials = self.oracle.trials.values()
        return [self._record(trial) for trial in sorted(trials, key=lambda trial: int(trial.trial_id))]

    def _record(self, trial) -> TrialRecord:
        folder, objective = Path(self.get_trial_dir(trial.trial_id)), self.oracle.objective
        kept, score, reason = read_record(folder), math.nan, ""
        status = {"COMPLETED": "completed", "RUNNING": "interrupted"}.get(trial.status, "failed")
        if status == "completed":
            score, reason = trial.score, kept.get("note", "")
        elif status == "failed":  # even if the deadline passed in the same epoch
            reason = reason_of(trial.message or "")
        else:
            if len(history := read_history(folder)):
                score = history.groupby("execution")[objective.name].agg(objective.direction).mean()
            at = kept.get("stopped_at")
            reason = (
                f"stopped by max_minutes after epoch {at}" if at else "stopped by Ctrl-C, an error or a kill"
            )
        values = {k: v for k, v in trial.hyperparameters.values.items() if not k.startswith("tuner/")}
        return TrialRecord(int(trial.trial_id) + 1, values, status, score, reason, folder)

    def _report(self, trial_id: str) -> None:
        records = self.records()
        trial = next(trial for trial in records if trial.number == int(trial_id) + 1)
        asked, left = self.oracle.max_trials or 0, self.deadline.seconds_left()
        log_trial(trial, records, self.oracle.objective.name, asked, left)

    def _drop_checkpoints(self, ended: str) -> None:
        # 292 MB per trial at the published size, two thirds of it optimizer state; Hyperband continues
        # earlier trials, so it keeps all of them.
        if isinstance(self, keras_tuner.Hyperband):
            return
        folder = Path(self.get_trial_dir(ended))
        delete_checkpoint(folder)
        drop_weights(self.records(), self.oracle.objective.name, self.keep_models)
        for file in folder.glob("*.weights.h5"):
            drop_optimizer(file)
