"""The published search: KerasTuner's tuners, made to resume, to record and to end on time."""

import logging
import math
import time
from pathlib import Path

import keras
import keras_tuner

from src.callbacks import Deadline, EpochProgress, HistoryFile, StopAtNaN
from src.runs import read_json, write_json
from src.search_folder import check_state, search_folder
from src.training import PictureTraining

logger = logging.getLogger(__name__)

TUNERS = {
    "random": keras_tuner.RandomSearch,
    "hyperband": keras_tuner.Hyperband,
    "bayesian": keras_tuner.BayesianOptimization,
    "grid": keras_tuner.GridSearch,
}
NEVER = 10**9  # KerasTuner gives a search up after this many failed trials in a row; 3 by default


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

    def run_for(self, minutes: float = 0) -> None:
        """Runs the trials that are missing; with `minutes`, ends at the first epoch after them."""
        self.deadline = Deadline.after(minutes)
        asked, done = self.oracle.max_trials, len(self.oracle.end_order)
        self.minutes_a_trial: list[float] = []
        logger.info("search: %d trials done, %s asked for", done, asked or "a bracket or grid")
        try:
            self.search(epochs=self.epochs, verbose=0)
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
        history = HistoryFile(folder / "history.csv")
        watching = [EpochProgress(title, epochs), history, self.deadline, StopAtNaN()]
        self.deadline.stopped_at = None
        started = time.monotonic()
        try:
            return super().run_trial(trial, *args, callbacks=watching, **kwargs)
        finally:
            record = {
                "seconds": round(time.monotonic() - started, 1),
                "parameters": history.parameters,
                "stopped_at": self.deadline.stopped_at,
            }
            write_json(folder / "record.json", record)

    def on_trial_end(self, trial) -> None:
        """Saves the state, says how it stands, and ends the search where its time is over."""
        super().on_trial_end(trial)
        folder = Path(self.get_trial_dir(trial.trial_id))
        self.minutes_a_trial.append(read_json(folder / "record.json")["seconds"] / 60)
        self._report(self.oracle.get_trial(trial.trial_id))
        self._drop_checkpoints()
        if self.deadline.passed:
            self.oracle.max_trials = len(self.oracle.trials)  # the oracle then has no further trial

    def _report(self, trial) -> None:
        completed = completed_trials(self.oracle)
        best = completed[0].score if completed else math.nan
        mean_minutes = sum(self.minutes_a_trial) / len(self.minutes_a_trial)
        asked = self.oracle.max_trials
        left = f", about {(asked - len(self.oracle.end_order)) * mean_minutes:.1f} min left" if asked else ""
        result = f"{self.oracle.objective.name} {trial.score:.4f}" if trial in completed else "failed"
        logger.info(
            "trial %d of %s: %s, best so far %.4f, %.1f min%s",
            int(trial.trial_id) + 1,
            asked or "the search",
            result,
            best,
            self.minutes_a_trial[-1],
            left,
        )

    def _drop_checkpoints(self) -> None:
        # 292 MB a trial at the published size; Hyperband goes on from earlier trials, so it keeps them.
        if isinstance(self, keras_tuner.Hyperband):
            return
        best = {trial.trial_id for trial in completed_trials(self.oracle)[:1]}
        for trial_id in set(self.oracle.end_order) - best:
            for file in Path(self.get_trial_dir(trial_id)).glob("*.weights.h5"):
                file.unlink()


def completed_trials(oracle) -> list:
    """Returns the completed trials, best first (KerasTuner's own list is padded with failed ones)."""
    completed = [trial for trial in oracle.trials.values() if trial.status == "COMPLETED"]
    return sorted(completed, key=lambda trial: trial.score, reverse=oracle.objective.direction == "max")


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
        objective=objective,
        executions_per_trial=executions,
        seed=seed or 2**31 - 1,  # KerasTuner takes 0 for "no seed"
        directory=project.parent,
        project_name=project.name,
        overwrite=False,
        **limits,
    )
    tuner.prepare(seed, epochs)
    return tuner
