"""The published search: KerasTuner's tuners, made to resume, to record and to end on time."""

import logging
import math
from pathlib import Path

import keras
import keras_tuner

from src.callbacks import Deadline
from src.search_folder import check_state, one_line, read_history, read_record, recording, search_folder
from src.training import PictureTraining
from src.trials import TrialRecord, finalists, log_trial, lower_is_better

logger = logging.getLogger(__name__)

TUNERS = {
    "random": keras_tuner.RandomSearch,
    "hyperband": keras_tuner.Hyperband,
    "bayesian": keras_tuner.BayesianOptimization,
    "grid": keras_tuner.GridSearch,
}
NEVER = 10**9  # KerasTuner gives a search up after this many failed trials in a row; 3 by default


class CutByDeadline(keras_tuner.errors.FatalError):
    """Raised out of a trial that `max_minutes` cut short: KerasTuner then keeps it to be run again."""


class RecordedSearch:
    """Laid over a KerasTuner tuner: seeds each trial, records it, keeps the disk and the time."""

    def prepare(self, seed: int, epochs: int) -> None:
        """Keeps the search's settings; called once, before `search`."""
        self.seed_of_search, self.epochs = seed, epochs
        self.deadline = Deadline(math.inf)
        self.oracle.max_consecutive_failed_trials = NEVER
        if not Path(self._get_tuner_fname()).exists():
            # KerasTuner writes its state at the end of the first trial; a kill before that loses it.
            self.oracle.save()
            self.save()

    @property
    def space(self) -> list:
        """The entries of the search space, without those that Hyperband keeps for itself."""
        return [entry for entry in self.oracle.get_space().space if not entry.name.startswith("tuner/")]

    def run_for(self, minutes: float = 0) -> None:
        """Runs the trials that are missing; with `minutes`, ends at the first epoch after them."""
        self.deadline = Deadline.after(minutes)
        asked, done = self.oracle.max_trials, len(self.oracle.end_order)
        logger.info("search: %d trials done, %s asked for", done, asked or "a bracket or grid")
        try:
            self.search(epochs=self.epochs, verbose=0)
        except CutByDeadline as cut:
            self._report(cut.args[0])
        finally:
            self.oracle.max_trials = asked
        if self.deadline.passed:
            logger.info(
                "the search stopped after %g minutes with %d trials; run this notebook again to go on",
                minutes,
                len(self.oracle.end_order),
            )

    def run_trial(self, trial, *args, **kwargs):
        """Returns the trial's histories; the same trial gives the same scores, also after a resume."""
        keras.utils.set_random_seed(self.seed_of_search + int(trial.trial_id))
        folder = Path(self.get_trial_dir(trial.trial_id))
        epochs = trial.hyperparameters.values.get("tuner/epochs", kwargs.get("epochs"))
        title = f"trial {int(trial.trial_id) + 1}" + (
            f" of {self.oracle.max_trials}" * bool(self.oracle.max_trials)
        )
        with recording(folder, title, epochs, self.deadline) as watching:
            histories = super().run_trial(trial, *args, callbacks=watching, **kwargs)
        if read_record(folder)["stopped_at"]:
            raise CutByDeadline(trial.trial_id)
        return histories

    def on_trial_end(self, trial) -> None:
        """Saves the state, says how it stands, and ends the search where its time is over."""
        super().on_trial_end(trial)
        self._report(trial.trial_id)
        self._drop_checkpoints()
        if self.deadline.passed:
            self.oracle.max_trials = len(self.oracle.trials)  # the oracle then has no further trial

    def records(self) -> list[TrialRecord]:
        """Returns the trials in the order in which they began."""
        trials = self.oracle.trials.values()
        return [self._record(trial) for trial in sorted(trials, key=lambda trial: int(trial.trial_id))]

    def _record(self, trial) -> TrialRecord:
        folder, objective = Path(self.get_trial_dir(trial.trial_id)), self.oracle.objective
        stopped_at = read_record(folder).get("stopped_at")
        status = {"COMPLETED": "completed", "RUNNING": "running"}.get(trial.status, "failed")
        score, reason = (trial.score if status == "completed" else math.nan), ""
        if stopped_at:
            reason = f"stopped by max_minutes after epoch {stopped_at}"
        elif status == "failed":
            reason = one_line(trial.message or "")
        if stopped_at and status == "running":
            executions = read_history(folder).groupby("execution")[objective.name]
            status, score = "interrupted", executions.agg(objective.direction).mean()
        values = {k: v for k, v in trial.hyperparameters.values.items() if not k.startswith("tuner/")}
        return TrialRecord(int(trial.trial_id) + 1, values, status, score, reason, folder)

    def _report(self, trial_id: str) -> None:
        records = self.records()
        trial = next(trial for trial in records if trial.number == int(trial_id) + 1)
        ended, asked = len(self.oracle.end_order), self.oracle.max_trials or 0
        log_trial(trial, records, self.oracle.objective.name, asked, ended)

    def _drop_checkpoints(self) -> None:
        # 292 MB a trial at the published size; Hyperband goes on from earlier trials, so it keeps them.
        if isinstance(self, keras_tuner.Hyperband):
            return
        best = {trial.folder for trial in finalists(self.records(), self.oracle.objective.name, 1)}
        ended = {Path(self.get_trial_dir(trial_id)) for trial_id in self.oracle.end_order}
        for file in (file for folder in ended - best for file in folder.glob("*.weights.h5")):
            file.unlink()


def make_tuner(
    name: str,
    training: PictureTraining,
    folder: Path,
    settings: dict,
    objective: str = "val_accuracy",
    max_trials: int = 20,
    epochs: int = 35,
    executions: int = 1,
    seed: int = 42,
):
    """Returns a KerasTuner tuner that goes on with the search in `folder` where it is the same one.

    A search is known by its settings and its space. Where they changed, another folder below
    `folder` is used: the earlier trials stay as they are and are not mixed in.

    Args:
        name: random, hyperband, bayesian or grid.
        training: what a trial does.
        folder: of all searches of a run.
        settings: what else makes the search what it is (data, picture size, batch size, ...).
        objective: name of a metric, such as val_accuracy.
        max_trials: trials in all; Hyperband has its brackets instead, a grid may end earlier.
        epochs: largest number of epochs of a trial.
        executions: trainings a trial, whose scores are averaged.
        seed: of the proposals and of each trial's training; 0 is a seed like any other.

    Raises:
        ValueError: an unknown tuner, a number below 1, or a state file that is not whole.
    """
    if name not in TUNERS:
        raise ValueError(f"tuner {name!r} is unknown; choose one of {', '.join(TUNERS)}")
    for setting, value in (("max_trials", max_trials), ("epochs", epochs), ("executions", executions)):
        if value < 1:
            raise ValueError(f"{setting} is {value}; give 1 or more")
    space = keras_tuner.HyperParameters()
    training.build(space)
    identity = {
        **{"tuner": name, "objective": objective, "epochs": epochs, "executions": executions, "seed": seed},
        **{"patience": training.patience, "space": space.get_config()["space"], **settings},
    }
    project = search_folder(folder, identity)
    check_state(project)

    class Search(RecordedSearch, TUNERS[name]):
        """The chosen tuner, recorded."""

    limits = {"max_epochs": epochs} if name == "hyperband" else {"max_trials": max_trials}
    tuner = Search(
        training,
        objective=keras_tuner.Objective(objective, "min" if lower_is_better(objective) else "max"),
        executions_per_trial=executions,
        seed=seed or 2**31 - 1,  # KerasTuner takes 0 for "no seed"
        directory=project.parent,
        project_name=project.name,
        overwrite=False,
        **limits,
    )
    tuner.prepare(seed, epochs)
    return tuner
