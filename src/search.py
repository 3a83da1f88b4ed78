"""One interface to both search engines: Optuna, and KerasTuner's own tuners."""

from pathlib import Path

from src.running.parameters import check_isolation
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
    """Returns a search that resumes the one in `folder` if that is the same; no trial is run yet.

    Args:
        tuner: optuna, or one of KerasTuner's (random, hyperband, bayesian, grid).
        training: what a trial trains, for its `epochs`.
        folder: of all searches of a run.
        identity: what else defines the search (data, pictures, settings).
        objective: name of a metric, such as val_accuracy.
        max_trials: total number of trials.
        seed: of the proposals and of each trial's training.
        sampler: Optuna: tpe or random.
        pruner: Optuna: median, hyperband or none.
        storage: Optuna: address of a database server without password, or empty.
        keep_models: number of best trials whose trained weights are kept.

    Raises:
        ValueError: an unknown choice or a number out of range.
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
    """Runs the missing trials; with `minutes`, stops at the end of the first epoch after that time.

    Args:
        search: from `make_search`.
        minutes: see above; 0 means no limit.
        isolate_trials: Optuna: run each trial in its own process, so that a hang or crash becomes a row.
        trial_timeout_minutes: with `isolate_trials`: a trial that completes no epoch in that time is ended.
        deterministic: for isolated trials, like `precision`; for both see `start_run`.

    Raises:
        ValueError: KerasTuner's trials cannot be isolated, or a timeout is set for trials that are not.
        RuntimeError: all of the first trials failed, or another process runs the same KerasTuner search.
        OSError: the disk is full.
        KeyboardInterrupt: a new one, without the hundreds of lines of where the training was.
    """
    check_isolation(isinstance(search, StudySearch), isolate_trials, trial_timeout_minutes)
    try:
        if isolate_trials:
            search.run_for(minutes, IsolatedTrials(search, trial_timeout_minutes, deterministic, precision))
        else:
            search.run_for(minutes)
        return
    except KeyboardInterrupt:
        pass  # IPython would keep it, with all that was open in the frames of its traceback
    raise KeyboardInterrupt("the search was stopped; run again, it resumes")
