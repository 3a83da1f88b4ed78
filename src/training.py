"""One training, of a search's trial or of a finalist: a network, its batches, and when it stops."""

from collections.abc import Callable, Iterable
from functools import cached_property, partial
from pathlib import Path

import keras
import keras_tuner

from src.generators import PictureBatches, load_batches
from src.images.growth import growing_sizes, grown_size, relative_costs, spans
from src.networks.building import build_metrics, check_output
from src.networks.normalization import SettledNormalization
from src.running.devices import without_xla
from src.running.parameters import read_input
from src.searches.checkpoints import Checkpoint
from src.searches.objectives import lower_is_better
from src.searches.pace import KeepPace
from src.spaces import SPACES, Space


class PictureTraining(keras_tuner.HyperModel):
    """One training: a network from the space, fresh batches, and optional early stopping."""

    def __init__(
        self,
        space: Space,
        settings: dict,
        serve: Callable[..., PictureBatches],
        epochs: int,
        patience: int = 0,
        first_image_size: int = 0,
        validation_freq: int = 1,
        monitor: str = "val_loss",
    ):
        """Stores the parts.

        Args:
            space: what may be chosen.
            settings: arguments of the network that are the same for all trials; those that the space
                does not take are ignored.
            serve: function of the part, `training` and a space's batch choices that returns batches.
            epochs: of the whole training, over which the learning-rate cycle runs.
            patience: epochs without a better `monitor` before training stops and the best epoch's
                weights are restored; 0 trains all epochs and keeps the last one's.
            first_image_size: side of the training pictures in the first epoch, in pixels; they grow to
                `last_image_size` (progressive resizing). 0 keeps one size, the run's own.
            validation_freq: epochs from one validation to the next; with patience, always 1.
            monitor: what patience watches: the validation loss, or a metric without its penalties.
        """
        super().__init__()
        # KerasTuner has bound `build` to this very object: a copy with its own epochs would be built with a
        # learning rate that decays over this object's epochs.
        del self.build, self._build
        self.space, self.settings, self.serve = space, settings, serve
        self.epochs, self.patience, self.first_image_size = epochs, patience, first_image_size
        self.monitor, self.validation_freq = monitor, 1 if patience else validation_freq
        self.seed: int | None = None  # of the pictures' order and transformations; None means the run's
        self.batch_divisor = 1  # 2 once memory has run out

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Returns the compiled network for the values that `hp` holds or samples."""
        choices = self.space.choose_batches(hp)
        known = {**self.settings, "steps": self.epochs * len(self.training_batches(choices))}
        names = ("image_size", *self.space.settings)
        model = self.space.build(hp, **{name: known[name] for name in names if name in known})
        check_output(model)
        if "tuner/trial_id" in hp.values:  # Hyperband resumes that trial, including the optimizer's state
            model.optimizer.build(model.trainable_variables)
        return without_xla(model)

    def training_batches(self, choices: dict) -> PictureBatches:
        """Returns the batches of the training part, with a space's choices for them."""
        batches = self.serve("train", training=True, seed=self.seed, **choices)
        batches.batch_size = max(1, batches.batch_size // self.batch_divisor)
        if self.first_image_size:
            batches.picture_sizes = growing_sizes(self.first_image_size, self.last_image_size, self.epochs)
        return batches

    def untransformed(self) -> PictureBatches:
        """Returns unaugmented training batches, shuffled: in order of name, a batch would be of one class."""
        batches = self.serve("train")
        batches.shuffle = True
        return batches

    @cached_property
    def last_image_size(self) -> int:
        """Returns the final side of the training pictures, once they have grown, in pixels."""
        batches = self.serve("train", training=True)
        side = batches.pixels.shape[1]
        return max(grown_size(side, batches.augmentation.crop_range), min(self.first_image_size, side))

    def epoch_costs(self, epochs: int) -> list[float]:
        """Returns each epoch's cost in a training of `epochs` epochs, in units of a full-size epoch."""
        if not self.first_image_size:
            return [1.0] * epochs
        return relative_costs(growing_sizes(self.first_image_size, self.last_image_size, epochs))

    def validated_epochs(self, epochs: int, most: int = 0) -> list[int]:
        """Returns the epochs, counted from 1, after which a training is validated: also the first and last.

        `epochs` is how many are planned, `most` is how many it may become.
        """
        return sorted({1, *range(self.validation_freq, max(epochs, most) + 1, self.validation_freq), epochs})

    def fit(
        self, hp, model, epochs: int, callbacks: list, initial_epoch: int = 0, verbose: int = 0
    ) -> keras.callbacks.History:
        """Returns the history of a training whose batches begin at `initial_epoch`.

        Keras fixes the shape of the batches at the start of `fit`, so each picture size gets its own call of
        `fit`. Patience counts from the first epoch at full size. With a `Checkpoint` among the callbacks, an
        interrupted training resumes after its last complete epoch and ends the same. `KeepPace` may skip or
        add epochs: `epochs` counts those of the plan, the history those that were trained.
        """
        training, validation = self.training_batches(self.space.choose_batches(hp)), self.serve("validation")
        if self.space.settles_normalization:
            callbacks = [*callbacks, SettledNormalization(self.untransformed())]
        history = keras.callbacks.History()
        history.epoch = []
        checkpoint, pace = _find(Checkpoint, callbacks), _find(KeepPace, callbacks) or KeepPace.never()
        if checkpoint:
            checkpoint.pace = pace
            initial_epoch = checkpoint.restore(model)
            if initial_epoch and any(getattr(callback, "is_over", False) for callback in callbacks):
                epochs = initial_epoch + pace.skipped  # early stopping, a pruner or the deadline ended it
            _extend(history, range(initial_epoch), checkpoint.columns())
        build_metrics(model, validation)
        # Each call of Keras's `fit` would end by averaging the weights; here that is done after the last one.
        finish = model.optimizer.finalize_variable_values
        model.optimizer.finalize_variable_values = lambda variables: None
        sizes, epoch = training.picture_sizes, initial_epoch
        # `first` and `last` count the epochs of the plan, `epoch` those that were trained.
        for first, last in spans(sizes, initial_epoch + pace.skipped, epochs):
            is_over = last <= epoch + pace.skipped  # all its epochs are trained or skipped
            pace.part_end = last
            training.epoch, training.picture_sizes = epoch, [sizes[min(first, len(sizes) - 1)]]
            validated = self.validated_epochs(epochs - pace.skipped, pace.most)
            validation.epoch = sum(each <= epoch for each in validated)
            watching = callbacks
            if self.patience and last == epochs:
                watching = [stopping := self._early_stopping(), *callbacks]
                if checkpoint:
                    checkpoint.stopping = stopping
            part = model.fit(
                training,
                validation_data=validation,
                validation_freq=validated,
                initial_epoch=epoch,
                epochs=epoch if is_over else max(last - pace.skipped, pace.most),
                callbacks=watching,
                shuffle=False,  # PictureBatches shuffles the pictures, the same way in a resumed epoch
                verbose=verbose,
            )
            _extend(history, part.epoch, part.history)
            epoch += len(part.epoch)
            if model.stop_training and not pace.ends_part:
                break
        model.optimizer.finalize_variable_values = finish
        finish(model.trainable_variables)
        return history

    def _early_stopping(self) -> keras.callbacks.EarlyStopping:
        mode = "min" if lower_is_better(self.monitor) else "max"
        return keras.callbacks.EarlyStopping(
            monitor=self.monitor, mode=mode, patience=self.patience, restore_best_weights=True
        )


def make_training(
    run: Path, space: str, epochs: int, patience: int = 0, validation_freq: int = 1, **settings
) -> PictureTraining:
    """Returns the training for this run, with its pictures as configured in notebook 02.

    Args:
        run: the run's folder, with `features.csv` and `input.json`.
        space: name of a search space.
        epochs: of a whole training; for patience and validation_freq see `PictureTraining`.
        settings: what the space's network takes besides its hyperparameters, such as `learning_rate`.

    Raises:
        ValueError: an unknown space.
    """
    if space not in SPACES:
        raise ValueError(f"space {space!r} is unknown; choose one of {', '.join(SPACES)}")
    pictures = read_input(run)
    first = pictures["first_image_size"] if SPACES[space].any_size else 0  # else pictures do not grow
    settings["image_size"] = None if first else pictures["image_size"]
    serve = partial(load_batches, run, settings=pictures)
    return PictureTraining(SPACES[space], settings, serve, epochs, patience, first, validation_freq)


def _find(kind: type, callbacks: list):
    return next((callback for callback in callbacks if isinstance(callback, kind)), None)


def _extend(history: keras.callbacks.History, epochs: Iterable[int], columns: dict[str, list]) -> None:
    history.epoch += epochs
    for name, values in columns.items():
        history.history[name] = history.history.get(name, []) + values
