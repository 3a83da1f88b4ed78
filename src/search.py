"""One door to both engines: Optuna, and KerasTuner's own tuners."""

from pathlib import Path

from src.study import StudySearch, make_study
from src.training import PictureTraining
from src.tuning import TUNERS, RecordedSearch, make_tuner


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

    Raises:
        ValueError: an unknown word or a number out of range.
    """
    if tuner not in ("optuna", *TUNERS):
        raise ValueError(f"tuner {tuner!r} is unknown; choose one of optuna, {', '.join(TUNERS)}")
    asked = {"objective": objective, "max_trials": max_trials, "epochs": training.epochs, "seed": seed}
    if tuner == "optuna":
        return make_study(
            training, folder, identity, **asked, sampler=sampler, pruner=pruner, storage=storage
        )
    return make_tuner(tuner, training, folder, identity, **asked)
