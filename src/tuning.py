"""The published search: KerasTuner's tuners, extended to resume, record and stop on time."""

from pathlib import Path

import keras_tuner

from src.running.resources import check_space, training_bytes
from src.searches.objectives import lower_is_better
from src.searches.recorded_search import RecordedSearch
from src.searches.search_folder import search_folder
from src.searches.tuner_state import restore_state
from src.training import PictureTraining

TUNERS = {
    "random": keras_tuner.RandomSearch,
    "hyperband": keras_tuner.Hyperband,
    "bayesian": keras_tuner.BayesianOptimization,
    "grid": keras_tuner.GridSearch,
}


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
    keep_models: int = 1,
):
    """Returns a KerasTuner tuner that resumes the search in `folder` if that is the same one.

    A search is identified by its settings and its space. If they change, another folder below
    `folder` is used: the earlier trials stay as they are and are not mixed in.

    Args:
        name: random, hyperband, bayesian or grid.
        training: what a trial trains.
        folder: of all searches of a run.
        settings: what else defines the search (data, picture size, batch size, ...).
        objective: name of a metric, such as val_accuracy.
        max_trials: total number of trials; Hyperband runs its brackets instead, a grid may end earlier.
        epochs: maximum number of epochs per trial.
        executions: trainings per trial, whose scores are averaged.
        seed: of the proposals and of each trial's training; 0 is a seed like any other.
        keep_models: number of best trials whose trained weights are kept.

    Raises:
        ValueError: an unknown tuner, a number below 1, or an incomplete state that cannot be restored.
    """
    if name not in TUNERS:
        raise ValueError(f"tuner {name!r} is unknown; choose one of {', '.join(TUNERS)}")
    for setting, value in (("max_trials", max_trials), ("epochs", epochs), ("executions", executions)):
        if value < 1:
            raise ValueError(f"{setting} is {value}; give 1 or more")
    space = keras_tuner.HyperParameters()
    parameters = training.build(space).count_params()
    choices = {"objective": objective, "epochs": epochs, "executions": executions, "seed": seed}
    entries = space.get_config()["space"]
    identity = {"tuner": name, **choices, "patience": training.patience, "space": entries, **settings}
    project = search_folder(folder, identity)
    restore_state(project)
    check_space(project, training_bytes(parameters), "a trial")

    class Search(RecordedSearch, TUNERS[name]):
        """The chosen tuner, with recording."""

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
    tuner.prepare(seed, epochs, keep_models)
    return tuner
