"""The bigger search: Optuna draws and prunes, in KerasTuner's space, over one or many processes."""

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import keras
import keras_tuner
import optuna
from optuna.trial import FrozenTrial, TrialState

from src.callbacks import Deadline
from src.claims import INTERRUPTED, PLACE, REASON, VALUES, Claims, heartbeat
from src.samplers import PRUNERS, SAMPLERS, ReportEpochs, make_pruner, make_sampler
from src.search_folder import one_line, read_record, recording, search_folder
from src.storage import open_study, storage_url
from src.suggestions import SuggestedHyperParameters, explore_space, log_space
from src.training import PictureTraining
from src.trials import TrialRecord, log_trial, lower_is_better

logger = logging.getLogger(__name__)

STATUS = {TrialState.COMPLETE: "completed", TrialState.PRUNED: "pruned", TrialState.RUNNING: "running"}


@dataclass
class StudySearch:
    """A search that Optuna runs; made by `make_study`, whose arguments these are."""

    training: PictureTraining
    folder: Path
    claims: Claims
    hyperparameters: keras_tuner.HyperParameters
    objective: str
    epochs: int
    seed: int
    sampler: str
    pruner: str

    @property
    def space(self) -> list:
        """The entries of the search space, as KerasTuner has them."""
        return self.hyperparameters.space

    def search_space_summary(self) -> None:
        """Writes the space as KerasTuner prints it."""
        log_space(self.space)

    def run_for(self, minutes: float = 0) -> None:
        """Runs the trials that are missing; with `minutes`, ends at the first epoch after them."""
        deadline, asked = Deadline.after(minutes), self.claims.max_trials
        logger.info("search: %d trials done, %d asked for", self._ended(), asked)
        while (trial := self.claims.take()) is not None:
            number = trial.user_attrs[PLACE] + 1
            try:
                self._run_trial(trial, deadline)
            except optuna.exceptions.UpdateFinishedTrialError:
                logger.warning("trial %d was silent for so long that another process took it", number)
            records = self.records()
            mine = next(record for record in records if record.number == number)
            log_trial(mine, records, self.objective, asked, self._ended())
            if deadline.passed and self._ended() < asked:
                logger.info(
                    "the search stopped after %g minutes with %d trials; run this notebook again to go on",
                    minutes,
                    self._ended(),
                )
                return
        if running := sum(record.status == "running" for record in self.records()):
            logger.info("%d trials are still being trained by other processes", running)

    def records(self) -> list[TrialRecord]:
        """Returns the trials in the order of their places."""
        return [self._record(trial) for trial in self.claims.trials()]

    def _ended(self) -> int:
        return sum(trial.status in ("completed", "pruned", "failed") for trial in self.records())

    def _record(self, trial: FrozenTrial) -> TrialRecord:
        place, attributes = trial.user_attrs[PLACE], trial.user_attrs
        reason = attributes.get(REASON, attributes.get(INTERRUPTED, ""))
        status = STATUS.get(trial.state, "interrupted" if INTERRUPTED in attributes else "failed")
        score = trial.value if status == "completed" else math.nan
        if status in ("pruned", "interrupted"):
            score = self._best(trial.intermediate_values.values())
        return TrialRecord(
            place + 1, attributes.get(VALUES, {}), status, score, reason, self._folder_of(place)
        )

    def _best(self, values: Iterable[float]) -> float:
        finite = [float(value) for value in values if not math.isnan(value)]
        return (min if lower_is_better(self.objective) else max)(finite, default=math.nan)

    def _folder_of(self, place: int) -> Path:
        return self.folder / f"trial_{place:04d}"

    def _run_trial(self, trial: optuna.Trial, deadline: Deadline) -> None:
        place = trial.user_attrs[PLACE]
        self.claims.study.sampler = make_sampler(self.sampler, self.seed, place, self.hyperparameters.values)
        keras.backend.clear_session()
        keras.utils.set_random_seed(self.seed + place)
        hp, score = SuggestedHyperParameters(trial), None
        try:
            with heartbeat(self.claims.storage, trial):
                state, score, attributes = self._train(trial, hp, deadline)
        except (optuna.exceptions.UpdateFinishedTrialError, optuna.exceptions.StorageInternalError):
            raise  # not the trial's fault: it stays to be taken again, or has been
        except Exception as error:
            state, attributes = TrialState.FAIL, {VALUES: hp.values, REASON: one_line(error)}
        except BaseException as error:  # Ctrl-C, or the end of the notebook
            self._end(trial, TrialState.FAIL, None, {INTERRUPTED: f"stopped by {type(error).__name__}"})
            raise
        self._end(trial, state, score, attributes)

    def _train(self, trial: optuna.Trial, hp: SuggestedHyperParameters, deadline: Deadline) -> tuple:
        place, reporter = trial.user_attrs[PLACE], ReportEpochs(trial, self.objective, self.epochs)
        folder, title = self._folder_of(place), f"trial {place + 1} of {self.claims.max_trials}"
        with recording(folder, title, self.epochs, deadline) as watching:
            model = self.training.build(hp)
            trial.set_user_attr(VALUES, hp.values)
            self.hyperparameters.merge(hp, overwrite=False)
            callbacks = [*watching, reporter]
            history = self.training.fit(hp, model, epochs=self.epochs, callbacks=callbacks)
        values = history.history[self.objective]
        if reporter.pruned_at:
            value = f"{self.objective} {self._best(values):.4f} so far"
            reason = f"after epoch {reporter.pruned_at}, {value}: {PRUNERS[self.pruner]}"
            return TrialState.PRUNED, None, {REASON: reason}
        if stopped_at := read_record(folder)["stopped_at"]:
            reason = f"stopped by max_minutes after epoch {stopped_at}"
            return TrialState.FAIL, None, {INTERRUPTED: reason}
        if math.isnan(score := self._best(values)):
            raise ValueError(f"{self.objective} was not a number")
        return TrialState.COMPLETE, score, {}

    def _end(self, trial: optuna.Trial, state: TrialState, score: float | None, attributes: dict) -> None:
        # The attributes first: killed in between, the trial is taken again, and nothing is lost.
        for name, value in attributes.items():
            trial.set_user_attr(name, value)
        self.claims.study.tell(trial, score, state, skip_if_finished=True)


def make_study(
    training: PictureTraining,
    folder: Path,
    settings: dict,
    objective: str = "val_accuracy",
    max_trials: int = 20,
    epochs: int = 35,
    seed: int = 42,
    sampler: str = "tpe",
    pruner: str = "median",
    storage: str = "",
) -> StudySearch:
    """Returns an Optuna search that goes on with the one in `folder`, or on a server, where it is the same.

    A search is known by its settings and its space. Where they changed, another study beside the old
    one is begun. Any number of processes may run the same search at the same time; each trial is
    trained once, and an interrupted one is taken again with the same values.

    Args:
        training: what a trial does.
        folder: of all searches of a run; holds their database, study.db.
        settings: what else makes the search what it is (data, picture size, ...).
        objective: name of a metric, such as val_accuracy.
        max_trials: trials in all, over all processes; pruned and failed ones count.
        epochs: largest number of epochs of a trial.
        seed: of the proposals and of each trial's training; 0 is a seed like any other.
        sampler: tpe or random; the first trial is the space's defaults.
        pruner: median, hyperband or none.
        storage: address of a database server, without password; empty means the one in the environment
            variable STORAGE_URL, and without that SQLite in `folder`.

    Raises:
        ValueError: an unknown sampler or pruner, a number below 1, a hyperparameter that Optuna cannot
            draw, or a password in `storage`.
        ConnectionError: the storage cannot be opened.
    """
    for word, value, known in (("sampler", sampler, SAMPLERS), ("pruner", pruner, PRUNERS)):
        if value not in known:
            raise ValueError(f"{word} {value!r} is unknown; choose one of {', '.join(known)}")
    for setting, value in (("max_trials", max_trials), ("epochs", epochs)):
        if value < 1:
            raise ValueError(f"{setting} is {value}; give 1 or more")
    url = storage_url(storage, folder)
    space = explore_space(training.build)
    identity = {
        **{"tuner": "optuna", "sampler": sampler, "pruner": pruner, "objective": objective},
        **{"epochs": epochs, "seed": seed, "patience": training.patience},
        **{"space": space.get_config()["space"], **settings},
    }
    project = search_folder(folder, identity)
    direction = "minimize" if lower_is_better(objective) else "maximize"
    study, opened = open_study(url, project.name, direction)
    study.pruner = make_pruner(pruner, epochs)
    claims = Claims(study, opened, max_trials)
    return StudySearch(training, project, claims, space, objective, epochs, seed, sampler, pruner)
