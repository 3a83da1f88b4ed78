"""Runs the trials of an Optuna search one by one, from drawing hyperparameters to recording the outcome."""

import math
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import keras
import keras_tuner
import optuna
from optuna.trial import TrialState

from src.images.cache import StalePictures
from src.networks.ensemble import save_weights
from src.running.devices import release
from src.running.resources import check_space, full_disk, is_full, is_out_of_memory, training_bytes
from src.searches.callbacks import Deadline
from src.searches.checkpoints import delete_checkpoint
from src.searches.claims import FILES, INTERRUPTED, PLACE, REASON, VALUES, Claims, heartbeat
from src.searches.halving import HALVED, LACK, halve, is_halved, note_lack
from src.searches.objectives import lower_is_better
from src.searches.samplers import PRUNERS, ReportEpochs, make_sampler
from src.searches.search_folder import read_files, read_record, reason_of, recording
from src.searches.suggestions import SuggestedHyperParameters, name_in_study
from src.searches.trials import ENDED, TrialRecord, drop_weights
from src.training import PictureTraining


@dataclass
class Attempts:
    """Trains the trials that `Claims` hands out; built by `make_study` from its own arguments."""

    training: PictureTraining
    folder: Path
    claims: Claims
    hyperparameters: keras_tuner.HyperParameters
    objective: str
    epochs: int
    seed: int
    sampler: str
    pruner: str
    keep_models: int
    leaves_files: bool  # in the storage as well, for machines that do not share the folder

    def folder_of(self, place: int) -> Path:
        """Returns the folder of the trial at this place (0-based)."""
        return self.folder / f"trial_{place:04d}"

    def best(self, values: Iterable[float]) -> float:
        """Returns the best of the objective values, ignoring NaN; NaN if there are none."""
        finite = [float(value) for value in values if not math.isnan(value)]
        return (min if lower_is_better(self.objective) else max)(finite, default=math.nan)

    def clear(self, records: list[TrialRecord]) -> None:
        """Deletes the checkpoints of the trials that have ended, and all weights but those of the best."""
        for record in records:
            if record.status in ENDED:
                delete_checkpoint(record.folder)
        drop_weights(records, self.objective, self.keep_models)

    def run(self, trial: optuna.Trial, deadline: Deadline) -> None:
        """Trains a trial and tells the study how it ended; an interrupted trial is resumed later.

        Raises:
            OSError: the disk is full or the pixel cache is gone, neither of which is the trial's fault.
            StalePictures: notebook 01 has been run again in the meantime.
        """
        place = trial.user_attrs[PLACE]
        defaults = {name_in_study(entry): entry.default for entry in self.hyperparameters.space}
        sampler = make_sampler(self.sampler, self.seed, place, defaults)
        self.claims.study.sampler = sampler
        hp, score, folder = SuggestedHyperParameters(trial), None, self.folder_of(place)
        halved = is_halved(folder)
        training = halve(self.training) if halved else self.training
        try:
            with heartbeat(self.claims.storage, trial):
                state, score, attributes = self._train(trial, hp, deadline, training)
        except (optuna.exceptions.UpdateFinishedTrialError, optuna.exceptions.StorageInternalError):
            raise  # not the trial's fault: it can be taken again, or already has been
        except Exception as error:
            if isinstance(error, OSError | StalePictures):  # like a full disk, not the trial's fault
                self.interrupt(trial, reason_of(error))
                if is_full(error):
                    raise full_disk(self.folder) from error
                raise
            # If memory ran out, the retry is a new attempt: the study would keep this one's scores.
            lacks = is_out_of_memory(error) and not halved
            why = {INTERRUPTED: LACK} if lacks else {REASON: reason_of(error)}
            state, attributes = TrialState.FAIL, {VALUES: hp.values, **why}
        except BaseException as error:  # Ctrl-C, or the end of the notebook
            self.interrupt(trial, f"stopped by {type(error).__name__}")
            raise
        if attributes.get(INTERRUPTED) == LACK:
            note_lack(folder)
        self.end(trial, state, score, attributes)

    def _train(
        self,
        trial: optuna.Trial,
        hp: SuggestedHyperParameters,
        deadline: Deadline,
        training: PictureTraining,
    ) -> tuple[TrialState, float | None, dict]:
        policy = keras.config.dtype_policy()
        keras.backend.clear_session()  # resets the dtype policy too, hence the two lines around it
        keras.config.set_dtype_policy(policy)
        keras.utils.set_random_seed(self.seed + trial.user_attrs[PLACE])
        model = training.build(hp)
        try:
            return self._fit(trial, hp, deadline, training, model)
        finally:
            release(model)

    def _fit(
        self,
        trial: optuna.Trial,
        hp: SuggestedHyperParameters,
        deadline: Deadline,
        training: PictureTraining,
        model: keras.Model,
    ) -> tuple[TrialState, float | None, dict]:
        place, policy = trial.user_attrs[PLACE], keras.config.dtype_policy()
        trial.set_user_attr(VALUES, hp.values)
        self.hyperparameters.merge(hp, overwrite=False)
        folder, title = self.folder_of(place), f"trial {place + 1} of {self.claims.max_trials}"
        note = HALVED if training.batch_divisor > 1 else ""
        check_space(folder, training_bytes(model.count_params()), f"the training of {title}")
        identity = {"values": hp.values, "note": note, "precision": policy.name}
        with recording(folder, title, self.epochs, deadline, identity, note) as watching:
            reporter = ReportEpochs(trial, self.objective, self.epochs, watching[-1].history)
            # Report before checkpointing: an epoch does not count as done until it has been reported.
            callbacks = [*watching[:-1], reporter, watching[-1]]
            history = training.fit(hp, model, epochs=self.epochs, callbacks=callbacks)
        values = history.history[self.objective]
        if reporter.pruned_at:
            value = f"{self.objective} {self.best(values):.4f} so far"
            reason = f"after epoch {reporter.pruned_at}, {value}: {PRUNERS[self.pruner]}"
            return TrialState.PRUNED, None, {REASON: reason}
        if stopped_at := read_record(folder)["stopped_at"]:
            reason = f"stopped by max_minutes after epoch {stopped_at}"
            return TrialState.FAIL, None, {INTERRUPTED: reason}
        if math.isnan(score := self.best(values)):
            raise ValueError(f"{self.objective} was not a number")
        if self.keep_models:
            save_weights(model, folder / "model.weights.h5")
        return TrialState.COMPLETE, score, {REASON: note} if note else {}

    def interrupt(self, trial: optuna.Trial, reason: str) -> None:
        """Tells the study that a trial is to be taken again, if it can still be told."""
        with suppress(Exception):  # the disk may be full, or another process may have taken it over
            self.end(trial, TrialState.FAIL, None, {INTERRUPTED: reason})

    def end(self, trial: optuna.Trial, state: TrialState, score: float | None, attributes: dict) -> None:
        """Tells the study how a trial ended."""
        if self.leaves_files and INTERRUPTED not in attributes:
            attributes = {**attributes, FILES: read_files(self.folder_of(trial.user_attrs[PLACE]))}
        # Attributes first: after a kill in between, the trial is taken again and nothing is lost.
        for name, value in attributes.items():
            trial.set_user_attr(name, value)
        self.claims.study.tell(trial, score, state, skip_if_finished=True)
