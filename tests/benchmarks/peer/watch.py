"""What watches a peer's trainings: the end of its minutes, and the moment its validation accuracy passed."""

from collections.abc import Callable

import keras
import keras_tuner
import numpy as np
from peer.clock import THRESHOLD, Clock

NEVER = 10**9


class Watch(keras.callbacks.Callback):
    """Stops training at the first batch after the peer's time, and notes when validation accuracy passed.

    A search ends with the training that is stopped. That training counts with the epochs it has had, but
    for one that has had none while an earlier training has: it is abandoned at once, because all there is
    left to know of it costs a pass through the validation part and would be about half an epoch.
    """

    def __init__(self, clock: Clock, whole_accuracy: Callable[[keras.Model], float] | None = None):
        """Keeps the clock.

        Args:
            clock: of the peer.
            whole_accuracy: returns a model's accuracy on the whole validation part, for a peer that itself
                looks at a part of it only; the clock stands still meanwhile.
        """
        super().__init__()
        self.clock, self.whole_accuracy = clock, whole_accuracy
        self.deadline = clock.limit
        self.oracle = None
        self.passed_at: float | None = None
        self.epochs = 0  # in all trainings together
        self.epochs_of_this = 0
        self.stopped = 0  # trainings that the time ended

    def __deepcopy__(self, memo) -> "Watch":
        """Returns itself: KerasTuner copies callbacks for each training."""
        return self

    def end_search(self, oracle: keras_tuner.Oracle, share: float = 1.0) -> None:
        """Ends this search after that share of the minutes."""
        self.oracle, self.deadline = oracle, share * self.clock.limit

    def end_training(self) -> None:
        """Ends what is trained from now on, the search being over, with the last minute."""
        self.oracle, self.deadline = None, self.clock.limit

    def on_train_begin(self, logs=None):
        """Counts this training's epochs from 0."""
        self.epochs_of_this = 0

    def on_train_batch_end(self, batch, logs=None):
        """Stops where the time is over."""
        if self.clock.seconds() < self.deadline or self.model.stop_training:
            return
        self.stopped += 1
        self.model.stop_training = True
        if self.oracle is not None:
            self.oracle.max_trials = len(self.oracle.trials)  # there is no further trial
            if self.epochs and not self.epochs_of_this:
                self.oracle.max_consecutive_failed_trials = NEVER  # this one is no failure of the peer
                raise keras_tuner.errors.FailedTrialError("the minutes are over")

    def on_epoch_end(self, epoch, logs=None):
        """Notes the moment, if validation accuracy is above the published one for the first time."""
        self.epochs += 1
        self.epochs_of_this += 1
        accuracy, moment = logs["val_accuracy"], self.clock.seconds()
        if self.whole_accuracy and self.passed_at is None and accuracy > THRESHOLD - 0.1:
            with self.clock.set_aside():
                accuracy = self.whole_accuracy(self.model)
        elif self.whole_accuracy:
            return
        if self.passed_at is None and accuracy > THRESHOLD:
            self.passed_at = moment


def trial_counts(oracle: keras_tuner.Oracle, watch: Watch) -> dict[str, int]:
    """Returns how many trials came to their own end, failed, or were stopped by the time."""
    stopped = min(watch.stopped, 1)
    ended = [trial.status == "COMPLETED" for trial in oracle.trials.values()]
    abandoned = any("the minutes are over" in (trial.message or "") for trial in oracle.trials.values())
    finished, failed = sum(ended) - (stopped and not abandoned), len(ended) - sum(ended) - abandoned
    return {"finished": finished, "failed": failed, "stopped": stopped}


def best_hyperparameters(oracle: keras_tuner.Oracle) -> keras_tuner.HyperParameters:
    """Returns those of the best completed trial.

    Raises:
        RuntimeError: none was completed.
    """
    best = oracle.get_best_trials(1)  # padded with failed trials where too few are completed
    if not best or best[0].status != "COMPLETED":
        reason = next((trial.message for trial in oracle.trials.values() if trial.message), "no reason given")
        raise RuntimeError(f"no trial was completed: {reason.strip().splitlines()[-1]}")
    return best[0].hyperparameters


def report(watch: Watch, trials: dict[str, int], correct: Callable[[], np.ndarray]) -> dict:
    """Returns a peer's outcome; the test part is predicted here, once, after the clock has been read.

    Args:
        watch: of the peer's trainings.
        trials: their numbers.
        correct: returns a truth value a test picture.
    """
    seconds = watch.clock.seconds()
    right = correct()
    return {
        "seconds": seconds,
        "seconds_set_aside": watch.clock.aside,
        "passed_at": watch.passed_at,
        "trials": trials,
        "epochs": watch.epochs,
        "test": {"correct": int(right.sum()), "n": len(right)},
    }
