"""One training, as a search asks for it and as the finalists get it: a network, its batches, its stopping."""

import logging
from collections.abc import Callable, Iterable
from functools import cached_property, partial
from pathlib import Path

import keras
import keras_tuner

from src.generators import PictureBatches, load_batches
from src.images.growth import growing_sizes, grown_size, relative_costs, spans
from src.networks.building import build_metrics
from src.networks.normalization import SettledNormalization
from src.running.parameters import read_input
from src.searches.checkpoints import Checkpoint
from src.searches.objectives import lower_is_better
from src.searches.pace import KeepPace
from src.spaces import SPACES, Space

logger = logging.getLogger(__name__)


class PictureTraining(keras_tuner.HyperModel):
    """One training: a network of the space, fresh batches, early stopping where it is wanted."""

    def __init__(
        self,
        space: Space,
        settings: dict,
        serve: Callable[..., PictureBatches],
        epochs: int,
        patience: int = 0,
        first_image_size: int = 0,
        monitor: str = "val_loss",
        validation_freq: int = 1,
    ):
        """Keeps the parts.

        Args:
            space: what may be chosen.
            settings: arguments of the network that are the same for all trials; those that the space
                does not take are left out.
            serve: function of the part, `training` and a space's batch choices that returns batches.
            epochs: of the whole training, over which a learning rate's cycle runs.
            patience: epochs without a better `monitor` before training stops, with the best
                epoch's weights; 0 trains all epochs and keeps the last one's.
            first_image_size: side of the first epoch's training pictures, in pixels; they grow to
                `last_image_size` (progressive resizing). 0 keeps one size, the run's own.
            monitor: what patience looks at: the validation loss, or a metric without its penalties.
            validation_freq: epochs from one validation to the next; patience looks at every epoch.
        """
        super().__init__()
        # KerasTuner has tied `build` to this very object: a copy with epochs of its own would be built with a
        # learning rate that falls over the epochs of this one.
        del self.build, self._build
        self.space, self.settings, self.serve = space, settings, serve
        self.epochs, self.patience, self.first_image_size = epochs, patience, first_image_size
        self.monitor, self.validation_freq = monitor, 1 if patience else validation_freq
        self.seed: int | None = None  # of the pictures' order and transformations; None: the run's
        self.batch_divisor = 1  # 2 once memory has run out

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Returns the compiled network for the values that `hp` holds or draws."""
        choices = self.space.choose_batches(hp)
        known = {**self.settings, "steps": self.epochs * len(self.training_batches(choices))}
        names = ("image_size", *self.space.settings)
        model = self.space.build(hp, **{name: known[name] for name in names if name in known})
        if "tuner/trial_id" in hp.values:  # Hyperband goes on with that trial, its optimizer's state included
            model.optimizer.build(model.trainable_variables)
        return model

    def training_batches(self, choices: dict) -> PictureBatches:
        """Returns the training part's batches with a space's choices for them."""
        batches = self.serve("train", training=True, seed=self.seed, **choices)
        batches.batch_size = max(1, batches.batch_size // self.batch_divisor)
        if self.first_image_size:
            batches.picture_sizes = growing_sizes(self.first_image_size, self.last_image_size, self.epochs)
        return batches

    def untransformed(self) -> PictureBatches:
        """Returns the training pictures as they are, shuffled: by name, a batch would be of one class."""
        batches = self.serve("train")
        batches.shuffle = True
        return batches

    @cached_property
    def last_image_size(self) -> int:
        """Returns the side of the training pictures once they have grown, in pixels."""
        batches = self.serve("train", training=True)
        side = batches.pixels.shape[1]
        return max(grown_size(side, batches.augmentation.crop_range), min(self.first_image_size, side))

    def epoch_costs(self, epochs: int) -> list[float]:
        """Returns what each epoch of a training of so many costs, measured in epochs of grown pictures."""
        if not self.first_image_size:
            return [1.0] * epochs
        return relative_costs(growing_sizes(self.first_image_size, self.last_image_size, epochs))

    def validated_epochs(self, epochs: int, most: int = 0) -> list[int]:
        """Returns after which epochs, from 1, a training of so many is validated: the first and last, too.

        `most` is how many it may become.
        """
        return sorted({1, *range(self.validation_freq, max(epochs, most) + 1, self.validation_freq), epochs})

    def fit(
        self, hp, model, epochs: int, callbacks: list, initial_epoch: int = 0, verbose: int = 0
    ) -> keras.callbacks.History:
        """Returns the history of a training whose batches begin at `initial_epoch`.

        Keras settles the shape of the batches when it begins to fit, so each size of the pictures is a
        `fit` of its own. Patience counts from the first epoch of the full size. With a `Checkpoint` among
        the callbacks an interrupted training goes on after its last whole epoch, to the same end. A
        `KeepPace` moves on and back in the plan, of which `epochs` are; those of the history are trained.
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
                epochs = initial_epoch + pace.skipped  # early stopping, a pruner or the deadline had
            _extend(history, range(initial_epoch), checkpoint.columns())
        build_metrics(model, validation)
        finish = model.optimizer.finalize_variable_values  # puts averaged weights in place: once, at the end
        model.optimizer.finalize_variable_values = lambda variables: None
        sizes, epoch = training.picture_sizes, initial_epoch
        for first, last in spans(sizes, initial_epoch + pace.skipped, epochs):
            is_over = last <= epoch + pace.skipped  # all its epochs are trained, or left out
            if is_over and last < epochs:
                continue
            pace.part_end, training.picture_sizes = last, [sizes[min(first, len(sizes) - 1)]]
            validated = self.validated_epochs(epochs - pace.skipped, pace.most)
            training.epoch, validation.epoch = epoch, sum(each <= epoch for each in validated)
            watching = list(callbacks)
            if self.patience and last == epochs:
                stopping = keras.callbacks.EarlyStopping(
                    monitor=self.monitor,
                    mode="min" if lower_is_better(self.monitor) else "max",
                    patience=self.patience,
                    restore_best_weights=True,
                )
                watching.insert(0, stopping)
                if checkpoint:
                    checkpoint.stopping = stopping
            part = model.fit(
                training,
                validation_data=validation,
                validation_freq=validated,
                initial_epoch=epoch,
                epochs=epoch if is_over else max(last - pace.skipped, pace.most),
                callbacks=watching,
                shuffle=False,  # of the batches: their pictures are shuffled, and a resumed epoch is the same
                verbose=verbose,
            )
            _extend(history, part.epoch, part.history)
            epoch += len(part.epoch)
            if model.stop_training and not pace.ends_part:
                break
        model.optimizer.finalize_variable_values = finish
        finish(model.trainable_variables)
        return history


def make_training(
    run: Path, space: str, epochs: int, patience: int = 0, validation_freq: int = 1, **settings
) -> PictureTraining:
    """Returns what a training of this run does, with its pictures as notebook 02 settled them.

    Args:
        run: the run's folder, with `features.csv` and `input.json`.
        space: name of a search space.
        epochs: of a whole training; patience and validation_freq as in `PictureTraining`.
        settings: what the space's network takes beside its hyperparameters, such as `learning_rate`.

    Raises:
        ValueError: an unknown space.
    """
    if space not in SPACES:
        raise ValueError(f"space {space!r} is unknown; choose one of {', '.join(SPACES)}")
    pictures = read_input(run)
    first = pictures["first_image_size"] if SPACES[space].any_size else 0  # others' pictures do not grow
    settings["image_size"] = None if first else pictures["image_size"]
    serve, more = partial(load_batches, run, settings=pictures), {"validation_freq": validation_freq}
    return PictureTraining(SPACES[space], settings, serve, epochs, patience, first, **more)


def _find(kind: type, callbacks: list):
    return next((callback for callback in callbacks if isinstance(callback, kind)), None)


def _extend(history: keras.callbacks.History, epochs: Iterable[int], columns: dict[str, list]) -> None:
    history.epoch += epochs
    for name, values in columns.items():
        history.history[name] = history.history.get(name, []) + values
