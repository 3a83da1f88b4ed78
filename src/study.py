"""The larger search: Optuna samples and prunes in KerasTuner's space, in one or more processes."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from src.searches.attempts import Attempts
from src.searches.callbacks import Deadline
from src.searches.claims import FILES, INTERRUPTED, PLACE, REASON, VALUES, Claims, is_interrupted, places
from src.searches.objectives import lower_is_better
from src.searches.samplers import PRUNERS, SAMPLERS, make_pruner
from src.searches.search_folder import fetch_files, search_folder
from src.searches.storage import open_study, outlast_cuts, storage_url
from src.searches.suggestions import explore_space, log_space
from src.searches.trials import ENDED, TrialRecord, give_up, log_trial
from src.training import PictureTraining

logger = logging.getLogger(__name__)

WAIT = 0.5  # seconds between two checks of other processes' trials
STATUS = {TrialState.COMPLETE: "completed", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
DIED = "stopped by the end of its process"


@dataclass
class StudySearch:
    """A search run by Optuna; created by `make_study`, whose arguments are its `recipe`."""

    attempts: Attempts
    recipe: dict

    @property
    def folder(self) -> Path:
        """The search's own folder."""
        return self.attempts.folder

    @property
    def claims(self) -> Claims:
        """Which process trains which trial."""
        return self.attempts.claims

    @property
    def space(self) -> list:
        """The entries of the search space, as KerasTuner objects."""
        return self.attempts.hyperparameters.space

    def search_space_summary(self) -> None:
        """Logs the search space as KerasTuner prints it."""
        log_space(self.space)

    def run_for(self, minutes: float = 0, train: Callable[[Deadline], int | None] | None = None) -> None:
        """Runs the missing trials; with `minutes`, stops at the end of the first epoch after that time.

        Waits for trials in other processes: if one of these dies, the rest take over its trial.

        Args:
            minutes: see above; 0 means no limit.
            train: trains one trial and returns its number, or None if all are taken; by default in this
                process.

        Raises:
            RuntimeError: all of the first trials failed.
            OSError: the disk is full.
        """
        deadline = Deadline.after(minutes)
        self.attempts.clear(outlast_cuts(self.records))  # a kill may have come before
        logger.info("search: %d trials done, %d asked for", outlast_cuts(self._ended), self.claims.max_trials)
        waits = False
        while not outlast_cuts(self._is_over):
            number = outlast_cuts(partial(train or self.train_one, deadline))
            if number is None:
                if not waits:
                    logger.info("waiting for the trials that other processes train")
                waits = True
                time.sleep(WAIT)
            else:
                outlast_cuts(partial(self._report, number, deadline.seconds_left()))
            if deadline.passed and not outlast_cuts(self._is_over):
                logger.info(
                    "the search stopped after %g minutes with %d trials done",
                    minutes,
                    outlast_cuts(self._ended),
                )
                return

    def train_one(self, deadline: Deadline) -> int | None:
        """Returns the number of the trial that it trained, or None if all are taken."""
        trial = self.claims.take()
        if trial is None:
            return None
        number = trial.user_attrs[PLACE] + 1
        try:
            self.attempts.run(trial, deadline)
        except optuna.exceptions.UpdateFinishedTrialError:
            logger.warning("trial %d was silent for so long that another process took it", number)
        return number

    def records(self) -> list[TrialRecord]:
        """Returns the records of the trials, ordered by number."""
        silent = self.claims.silent_trials()
        return [self._record(trial, is_interrupted(trial, silent)) for trial in self.claims.trials()]

    def _report(self, number: int, seconds_left: float) -> None:
        records, attempts = self.records(), self.attempts
        mine = next(record for record in records if record.number == number)
        if mine.status != "running":  # by the process that took it over
            log_trial(mine, records, attempts.objective, self.claims.max_trials, seconds_left)
        attempts.clear(records)
        give_up(records)

    def _is_over(self) -> bool:
        # Beyond those there may be one left that was interrupted when more had been asked for.
        asked = places(self.claims.study.get_trials(deepcopy=False))[: self.claims.max_trials]
        left = [t for t in asked if t.state is TrialState.RUNNING or INTERRUPTED in t.user_attrs]
        return len(asked) == self.claims.max_trials and not left

    def _ended(self) -> int:
        return sum(trial.status in ENDED for trial in self.records())

    def _record(self, trial: FrozenTrial, was_cut: bool) -> TrialRecord:
        place, attributes = trial.user_attrs[PLACE], trial.user_attrs
        reason = attributes.get(INTERRUPTED, DIED) if was_cut else attributes.get(REASON, "")
        status = "interrupted" if was_cut else STATUS.get(trial.state, "running")
        score = trial.value if status == "completed" else math.nan
        if status in ("pruned", "interrupted"):
            score = self.attempts.best(trial.intermediate_values.values())
        folder = self.attempts.folder_of(place)
        fetch_files(folder, attributes.get(FILES, {}))
        return TrialRecord(place + 1, attributes.get(VALUES, {}), status, score, reason, folder)


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
    keep_models: int = 0,
) -> StudySearch:
    """Returns an Optuna search that resumes the one in `folder`, or on a server, if that is the same.

    On a server a trial also stores its history, so that machines need not share the folder; but an
    interrupted trial resumes after its last complete epoch only where its checkpoint is.

    A search is identified by its settings and its space. If they change, a new study is started beside
    the old one. Any number of processes may run the same search at the same time; each trial is
    trained once, and an interrupted one is taken up again with the same values.

    Args:
        training: what a trial trains.
        folder: of all searches of a run; holds their database, study.db.
        settings: what else defines the search (data, picture size, ...).
        objective: name of a metric, such as val_accuracy.
        max_trials: total number of trials over all processes; pruned and failed ones count.
        epochs: maximum number of epochs per trial.
        seed: of the proposals and of each trial's training; 0 is a seed like any other.
        sampler: tpe or random; the first trial uses the space's defaults.
        pruner: median, hyperband or none.
        storage: address of a database server, without password; if empty, the one in the environment
            variable STORAGE_URL is used, or else SQLite in `folder`.
        keep_models: number of best trials whose trained weights are kept, as model.weights.h5.

    Raises:
        ValueError: an unknown sampler or pruner, a number below 1, a hyperparameter that Optuna cannot
            sample, or a password in `storage`.
        ConnectionError: the storage cannot be opened.
    """
    recipe = dict(locals())
    for word, value, known in (("sampler", sampler, SAMPLERS), ("pruner", pruner, PRUNERS)):
        if value not in known:
            raise ValueError(f"{word} {value!r} is unknown; choose one of {', '.join(known)}")
    for setting, value in (("max_trials", max_trials), ("epochs", epochs)):
        if value < 1:
            raise ValueError(f"{setting} is {value}; give 1 or more")
    url = storage_url(storage, folder)
    space = explore_space(training.build)
    choices = {"objective": objective, "epochs": epochs, "seed": seed, "sampler": sampler, "pruner": pruner}
    entries = space.get_config()["space"]
    identity = {"tuner": "optuna", **choices, "patience": training.patience, "space": entries, **settings}
    project = search_folder(folder, identity)
    direction = "minimize" if lower_is_better(objective) else "maximize"
    study, opened = open_study(url, project.name, direction)
    study.pruner = make_pruner(pruner, epochs)
    claims = Claims(study, opened, max_trials)
    kept = {"keep_models": keep_models, "leaves_files": url.database != str(folder / "study.db")}
    return StudySearch(Attempts(training, project, claims, space, **kept, **choices), recipe)
