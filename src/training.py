"""One training, as a search asks for it and as the finalists get it: a network, its batches, its stopping."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import keras
import keras_tuner

from src.generators import PictureBatches, load_batches
from src.runs import read_json
from src.spaces import SPACES, Space


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
    ):
        """Keeps the parts.

        Args:
            space: what may be chosen.
            settings: arguments of the network that are the same for all trials; those that the space
                does not take are left out.
            serve: function of the part, `training` and a space's batch choices that returns batches.
            epochs: of the whole training, over which a learning rate's cycle runs.
            patience: epochs without a better validation loss before training stops, with the best
                epoch's weights; 0 trains all epochs and keeps the last one's.
            first_image_size: side of the first epoch's training pictures, in pixels; they grow to the
                run's own size (progressive resizing). 0 keeps one size.
        """
        super().__init__()
        self.space, self.settings, self.serve = space, settings, serve
        self.epochs, self.patience, self.first_image_size = epochs, patience, first_image_size
        self.seed: int | None = None  # of the pictures' order and transformations; None: the run's

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Returns the compiled network for the values that `hp` holds or draws."""
        choices = self.space.choose_batches(hp)
        known = {**self.settings, "steps": self.epochs * len(self.training_batches(choices))}
        names = ("image_size", *self.space.settings)
        return self.space.build(hp, **{name: known[name] for name in names if name in known})

    def training_batches(self, choices: dict) -> PictureBatches:
        """Returns the training part's batches with a space's choices for them."""
        batches = self.serve("train", training=True, seed=self.seed, **choices)
        if self.first_image_size:
            size = batches.pixels.shape[1]
            batches.picture_sizes = growing_sizes(self.first_image_size, size, self.epochs)
        return batches

    def fit(
        self, hp, model, epochs: int, callbacks: list, initial_epoch: int = 0, verbose: int = 0
    ) -> keras.callbacks.History:
        """Returns the history of a training whose batches begin at `initial_epoch`.

        Keras settles the shape of the batches when it begins to fit, so each size of the pictures is a
        `fit` of its own. Patience counts from the first epoch of the full size.
        """
        choices = self.space.choose_batches(hp)
        training, validation = self.training_batches(choices), self.serve("validation")
        history = keras.callbacks.History()
        history.epoch = []
        for first, last in spans(training.picture_sizes, initial_epoch, epochs):
            training.epoch = validation.epoch = first
            watching = list(callbacks)
            if self.patience and last == epochs:
                stopping = keras.callbacks.EarlyStopping(
                    monitor="val_loss", patience=self.patience, restore_best_weights=True
                )
                watching.append(stopping)
            part = model.fit(
                training,
                validation_data=validation,
                initial_epoch=first,
                epochs=last,
                callbacks=watching,
                verbose=verbose,
            )
            history.epoch += part.epoch
            for name, values in part.history.items():
                history.history[name] = history.history.get(name, []) + values
            if model.stop_training:
                break
        return history


def make_training(run: Path, space: str, epochs: int, patience: int = 0, **settings) -> PictureTraining:
    """Returns what a training of this run does, with its pictures as notebook 02 settled them.

    Args:
        run: the run's folder, with `features.csv` and `input.json`.
        space: name of a search space.
        epochs: of a whole training; patience as in `PictureTraining`.
        settings: what the space's network takes beside its hyperparameters, such as `learning_rate`.

    Raises:
        ValueError: an unknown space.
    """
    if space not in SPACES:
        raise ValueError(f"space {space!r} is unknown; choose one of {', '.join(SPACES)}")
    pictures = read_json(run / "input.json")
    first = pictures["first_image_size"]
    return PictureTraining(
        SPACES[space],
        {"image_size": None if first else pictures["image_size"], **settings},
        partial(load_batches, run),
        epochs,
        patience,
        first,
    )


def fixed(values: dict) -> keras_tuner.HyperParameters:
    """Returns hyperparameters that a space will find already chosen, such as a search's best."""
    hp = keras_tuner.HyperParameters()
    hp.values = dict(values)
    return hp


def spans(sizes: list[int], first: int, epochs: int) -> list[tuple[int, int]]:
    """Returns the first epoch and the end of each run of epochs with one picture size, from `first` on."""
    of_epoch = [sizes[min(epoch, len(sizes) - 1)] for epoch in range(epochs)]
    changes = [epoch for epoch in range(first + 1, epochs) if of_epoch[epoch] != of_epoch[epoch - 1]]
    starts = [first, *changes]
    return list(zip(starts, [*changes, epochs], strict=True))


def growing_sizes(first: int, last: int, epochs: int, step: int = 16) -> list[int]:
    """Returns the side of the training pictures in each epoch: from `first` to `last`, in pixels.

    They grow in steps over the first two thirds of the epochs (J. Howard's progressive resizing): a small
    picture costs less, and the last third sees what the network will be asked about.

    Raises:
        ValueError: `first` is larger than `last`.
    """
    if first > last:
        raise ValueError(f"first_image_size is {first}; give at most image_size, {last}")
    sizes = [*range(first, last, step), last]
    growing = max(1, round(epochs * 2 / 3))
    return [sizes[min(len(sizes) - 1, epoch * len(sizes) // growing)] for epoch in range(epochs)]
