"""An Optuna search whose trainings are pretended, so that hundreds of trials cost seconds.

Run as a program it does what a shell would do with several processes: it forks one for each job on its
command line, `FOLDER:PRUNER:DIE_AT_EPOCH`, so that they can be killed for real. Jobs joined by `+` run at
the same time, others one after the other.
"""

import gc
import os
import random
import signal
import sqlite3
import sys
import time
import traceback
import types
from pathlib import Path

import keras
import sqlalchemy

from src.searches.checkpoints import Checkpoint
from src.study import StudySearch, make_study


@sqlalchemy.event.listens_for(sqlalchemy.Engine, "connect")
def without_waiting_for_the_disk(connection, record):
    """A killed process loses nothing by it, only a machine whose power fails; most of a trial's time here."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")


class Network:
    """Stands for a Keras model where only the callbacks look at it."""

    stop_training = False
    variables = ()
    trainable_variables = ()
    optimizer = types.SimpleNamespace(variables=(), learning_rate=0.1, build=lambda variables: None)

    def count_params(self) -> int:
        """Returns any number."""
        return 7


class Training:
    """A training whose accuracy is a formula of its hyperparameters, its epoch and its seed.

    Attributes:
        trouble: function of the hyperparameters' values and the epoch, called before each epoch's end; a
            number that it returns is the accuracy.
    """

    patience = 3
    batch_divisor = 1

    def __init__(self, trouble=lambda values, epoch: None):
        self.trouble = trouble

    def build(self, hp) -> Network:
        """Returns a network of a space with a branch: `momentum` is there for adam alone."""
        hp.Int("units", 2, 16, step=2)
        hp.Float("rate", 1e-3, 1e-1, sampling="log")
        hp.Choice("optimizer", ["sgd", "adam"])
        with hp.conditional_scope("optimizer", ["adam"]):
            hp.Float("momentum", 0.0, 0.5, step=0.1)
        return Network()

    def fit(self, hp, model, epochs: int, callbacks: list):
        """Returns the history; the callbacks are called as Keras would."""
        watching, noise = keras.callbacks.CallbackList(callbacks, model=model), random.random()
        checkpoint = next(callback for callback in callbacks if isinstance(callback, Checkpoint))
        first = checkpoint.restore(model)
        if any(getattr(callback, "is_over", False) for callback in callbacks):
            epochs = first  # as `PictureTraining` does
        history = checkpoint.columns().get("val_accuracy", [])
        watching.on_train_begin()
        for epoch in range(first, epochs):
            watching.on_epoch_begin(epoch)
            if "EPOCH_LOG" in os.environ:
                with open(os.environ["EPOCH_LOG"], "a") as file:
                    file.write(f"{checkpoint.path.parent.name} {epoch}\n")
            accuracy = accuracy_of(hp.values, epoch + 1) + random.Random(f"{noise} {epoch}").gauss(0, 1e-3)
            changed = self.trouble(hp.values, epoch + 1)
            accuracy = accuracy if changed is None else changed
            watching.on_epoch_end(epoch, {"loss": 1 - accuracy, "val_accuracy": accuracy})
            history.append(accuracy)
            if model.stop_training:
                break
        watching.on_train_end()
        return types.SimpleNamespace(history={"val_accuracy": history})


def accuracy_of(values: dict, epoch: int) -> float:
    """Returns an accuracy that rises by epochs to a height between 0.5 and 0.9."""
    return (0.5 + 0.2 * (values["optimizer"] == "adam") + values["units"] / 80) * (1 - 0.5**epoch)


def search(folder: Path, training: Training | None = None, minutes: float = 0, **settings) -> StudySearch:
    """Returns the search after it has run: 12 trials of 6 epochs where nothing else is said."""
    settings = {"max_trials": 12, "epochs": 6, "seed": 5, **settings}
    found = make_study(training or Training(), folder, {"space_name": "pretended"}, **settings)
    found.run_for(minutes)
    return found


def run_job(job: str) -> None:
    """Runs a search that kills its process at the end of an epoch, counted over all trials; 0: never."""
    folder, pruner, die_at = job.split(":")
    epochs_left = [int(die_at)]

    def die(values, epoch):
        epochs_left[0] -= 1
        if epochs_left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(float(os.environ.get("SLEEP", "0.01")))  # so that processes that share a study take turns

    search(Path(folder), Training(die), pruner=pruner)


if __name__ == "__main__":
    gc.collect()
    gc.freeze()  # or each trial goes through all of Keras for garbage
    for jobs in sys.argv[1:]:
        children = []
        for job in jobs.split("+"):
            children.append(os.fork())
            if not children[-1]:
                try:
                    run_job(job)
                except BaseException:
                    traceback.print_exc()
                    os._exit(1)
                os._exit(0)
        ends = [os.waitpid(child, 0)[1] for child in children]
        if not all(end in (0, signal.SIGKILL) for end in ends):
            sys.exit(f"{jobs} ended with {ends}")
