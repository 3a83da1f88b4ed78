"""One training of a search, as KerasTuner asks for it."""

from collections.abc import Callable

import keras
import keras_tuner


class PictureTraining(keras_tuner.HyperModel):
    """One training of a search: a model of the space, fresh batches, early stopping."""

    def __init__(self, build: Callable, make_batches: Callable, patience: int):
        """Keeps the parts.

        Args:
            build: function of `hp` that returns a compiled model.
            make_batches: function without arguments that returns training and validation batches.
            patience: epochs without a better validation loss before a trial stops.
        """
        super().__init__()
        self.build_model, self.make_batches, self.patience = build, make_batches, patience

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Returns the compiled model."""
        return self.build_model(hp)

    def fit(
        self, hp, model, epochs: int, callbacks: list, initial_epoch: int = 0, verbose: int = 0
    ) -> keras.callbacks.History:
        """Returns the history of a training whose batches begin at `initial_epoch`."""
        training, validation = self.make_batches()
        training.epoch = validation.epoch = initial_epoch
        stopping = keras.callbacks.EarlyStopping(
            monitor="val_loss", patience=self.patience, restore_best_weights=True
        )
        return model.fit(
            training,
            validation_data=validation,
            initial_epoch=initial_epoch,
            epochs=epochs,
            callbacks=[*callbacks, stopping],
            verbose=verbose,
        )
