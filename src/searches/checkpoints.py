"""Training that survives a kill at any moment: its state is saved after each epoch and resumed from there."""

import json
import logging
from pathlib import Path

import keras
import numpy as np

from src.running.writing import replacing
from src.searches.callbacks import HistoryFile
from src.searches.pace import KeepPace

logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.npz"  # in the folder of a training run


class Checkpoint(keras.callbacks.Callback):
    """Saves the complete state of a training run in one file, replaced after every epoch.

    The state is every variable of the network (weights, moving statistics, random generator states) and of
    its optimizer (moments, averages, the step count that drives the learning rate schedule), the history
    rows so far, the number of epochs that `KeepPace` skipped or added, and early stopping's best weights,
    best loss and patience. Of these, Keras's `BackupAndRestore` saves only the variables.

    The file is a NumPy archive, read without unpickling. The callback must come after `HistoryFile`.
    """

    def __init__(self, path: Path, history: HistoryFile, identity: dict):
        """Stores the arguments.

        Args:
            path: the file, ending in `.npz`.
            history: holds the rows of the epochs.
            identity: what defines this training run; a state saved with another identity is not resumed.
        """
        super().__init__()
        self.path, self.history = Path(path), history
        self.identity = json.dumps(identity, sort_keys=True, default=str)
        self.stopping: keras.callbacks.EarlyStopping | None = None  # set by callers that train with patience
        self.pace: KeepPace | None = None  # set by the caller: position in the plan
        self._patience: dict | None = None

    def __deepcopy__(self, memo) -> "Checkpoint":
        """Returns itself, like the other callbacks."""
        return self

    def restore(self, model: keras.Model) -> int:
        """Returns how many epochs are done, after restoring the model to the state of the last one.

        0 if there is no state; also 0, with a logged warning naming the file, if it cannot be used.
        """
        if not self.path.exists():
            return 0
        try:
            with np.load(self.path, allow_pickle=False) as kept:
                state = json.loads(str(kept["state"]))
                arrays = {
                    name: [kept[f"{name}_{i}"] for i in range(n)] for name, n in state["arrays"].items()
                }
        except Exception as error:  # a damaged archive raises errors of many kinds
            logger.warning("%s is incomplete (%s); this training starts over", self.path, error)
            return 0
        if state["identity"] != self.identity or "skipped" not in state:  # or an older format
            logger.warning("%s belongs to another training; this one starts over", self.path)
            return 0
        model.optimizer.build(model.trainable_variables)
        own = _variables(model)
        if any(_shapes(arrays[name]) != _shapes(variables) for name, variables in own.items()):
            logger.warning(
                "%s is of another network: its code, or Keras, has changed; this training starts over",
                self.path,
            )
            return 0
        for name, variables in own.items():
            for variable, value in zip(variables, arrays[name], strict=True):
                variable.assign(value)
        self.history.restore(state["rows"])
        if self.pace:
            self.pace.skipped = state["skipped"]
        self._patience = state["patience"] and {**state["patience"], "best_weights": arrays["best"]}
        logger.info("resuming after epoch %d", len(state["rows"]))
        return len(state["rows"])

    @property
    def is_over(self) -> bool:
        """Whether the restored training run had already stopped early, so nothing is left to train."""
        return bool(self._patience and self._patience["stopped_epoch"])

    def columns(self) -> dict[str, list]:
        """Returns losses and metrics so far as in Keras's `History`; epochs that lack one are left out."""
        others = ("execution", "epoch", "learning_rate", "validation_seconds", "seconds")
        names = [name for name in (self.history.rows or [{}])[0] if name not in others]
        return {name: [row[name] for row in self.history.rows if name in row] for name in names}

    def on_train_begin(self, logs=None):
        """Restores the early stopping state that Keras resets when training begins."""
        if self.stopping and self._patience:
            for name, value in self._patience.items():
                setattr(self.stopping, name, value)

    def on_epoch_end(self, epoch, logs=None):
        """Saves the state."""
        arrays = _variables(self.model)
        patience = None
        if self.stopping:
            names = ("best", "best_epoch", "wait", "stopped_epoch")
            patience = {name: _plain(getattr(self.stopping, name)) for name in names}
            arrays["best"] = self.stopping.best_weights or []
        state = {"identity": self.identity, "rows": self.history.rows, "patience": patience}
        state["skipped"] = self.pace.skipped if self.pace else 0
        state["arrays"] = {name: len(values) for name, values in arrays.items()}
        flat = {f"{name}_{i}": np.asarray(keras.ops.convert_to_numpy(value))
                for name, values in arrays.items() for i, value in enumerate(values)}  # fmt: skip
        with replacing(self.path) as partial, partial.open("wb") as file:
            np.savez(file, state=np.array(json.dumps(state)), **flat)


def delete_checkpoint(folder: Path) -> None:
    """Deletes the saved state of a finished training run, and partial states and weights that a kill left."""
    for path in [*folder.glob(f"{CHECKPOINT}*"), *folder.glob("*.partial.weights.h5")]:
        path.unlink(missing_ok=True)


def _variables(model: keras.Model) -> dict[str, list]:
    return {"model": list(model.variables), "optimizer": list(model.optimizer.variables)}


def _shapes(values: list) -> list[tuple]:
    return [tuple(value.shape) for value in values]


def _plain(value):
    return None if value is None else float(value)
