"""One door to both engines: Optuna, and KerasTuner's own tuners."""

from pathlib import Path

from src.searches.isolation import IsolatedTrials
from src.searches.recorded_search import RecordedSearch
from src.study import StudySearch, make_study
from src.training import PictureTraining
from src.tuning import TUNERS, make_tuner


def make_search(
    tuner: str,
    training: PictureTraining,
    folder: Path,
    identity: dict,
    objective: str = "val_accuracy",
    max_trials: int = 20,
    seed: int = 42,
    sampler: str = "tpe",
    pruner: str = "median",
    storage: str = "",
    keep_models: int = 1,
) -> StudySearch | RecordedSearch:
    """Returns a search that goes on with the one in `folder` where it is the same; nothing has run yet.

    Args:
        tuner: optuna, or one of KerasTuner's (random, hyperband, bayesian, grid).
        training: what a trial does, for its `epochs`.
        folder: of all searches of a run.
        identity: what else makes the search what it is (data, pictures, settings).
        objective: name of a metric, such as val_accuracy.
        max_trials: trials in all.
        seed: of the proposals and of each trial's training.
        sampler: Optuna: tpe or random.
        pruner: Optuna: median, hyperband or none.
        storage: Optuna: address of a database server without password, or empty.
        keep_models: of so many of the best trials the trained weights stay.

    Raises:
        ValueError: an unknown word or a number out of range.
    """
    if tuner not in ("optuna", *TUNERS):
        raise ValueError(f"tuner {tuner!r} is unknown; choose one of optuna, {', '.join(TUNERS)}")
    asked = {"objective": objective, "max_trials": max_trials, "epochs": training.epochs, "seed": seed}
    asked["keep_models"] = keep_models
    if tuner == "optuna":
        return make_study(
            training, folder, identity, **asked, sampler=sampler, pruner=pruner, storage=storage
        )
    return make_tuner(tuner, training, folder, identity, **asked)


def run_search(
    search: StudySearch | RecordedSearch,
    minutes: float = 0.0,
    isolate_trials: bool = False,
    trial_timeout_minutes: float = 0.0,
    deterministic: str = "auto",
    precision: str = "auto",
) -> None:
    """Runs the trials that are missing; with `minutes`, ends at the first epoch after them.

    Args:
        search: of `make_search`.
        minutes: see above; 0 is no limit.
        isolate_trials: Optuna: each trial in a process of its own, so that a hang or a crash is a row.
        trial_timeout_minutes: with `isolate_trials`: a trial without a whole epoch in that time is ended.
        deterministic: of the isolated trials, as of `start_run`; precision likewise.

    Raises:
        ValueError: trials of KerasTuner cannot be isolated, and only isolated ones can be ended from outside.
        RuntimeError: each of the first trials failed, or another process runs the same search of KerasTuner.
        OSError: the disk is full.
    """
    if isolate_trials and not isinstance(search, StudySearch):
        raise ValueError(
            "isolate_trials is on, and KerasTuner's tuners cannot do that; choose tuner = 'optuna'"
        )
    if trial_timeout_minutes and not isolate_trials:
        raise ValueError("trial_timeout_minutes needs isolate_trials: a process cannot end its own hang")
    if isolate_trials:
        search.run_for(minutes, IsolatedTrials(search, trial_timeout_minutes, deterministic, precision))
    else:
        search.run_for(minutes)
