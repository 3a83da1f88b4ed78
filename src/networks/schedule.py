"""The learning rate during training: it rises, stays at its peak, and falls to zero."""

import keras
from keras import ops

START = 1 / 25  # of the peak


@keras.saving.register_keras_serializable(package="tuned_image_classifier")
class Trapezoid(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warmup, a plateau, and linear cooldown to 0, by optimizer step.

    It is higher on average than a cosine with the same peak, and the plateau can have any length (A. Hägele
    et al., "Scaling laws and compute-optimal training beyond fixed training durations", NeurIPS 2024).
    """

    def __init__(self, peak: float, steps: int, warmup: float, cooldown: float):
        """Stores the arguments.

        Args:
            peak: the highest learning rate.
            steps: number of steps in the whole training.
            warmup: fraction of the steps in which the rate rises, from a 25th of its peak.
            cooldown: fraction of the steps, at the end, in which it falls.

        Raises:
            ValueError: a fraction is negative, or their sum is more than 1.
        """
        if min(warmup, cooldown) < 0 or warmup + cooldown > 1 + 1e-9:
            raise ValueError(f"warmup {warmup} and cooldown {cooldown}: give fractions, together at most 1")
        self.peak, self.steps, self.warmup, self.cooldown = peak, steps, warmup, cooldown

    def __call__(self, step):
        """Returns the learning rate at a step, counted from 0."""
        done = ops.cast(step, "float32") / self.steps
        rising = START + (1 - START) * done / max(self.warmup, 1e-9)
        falling = (1 - done) / max(self.cooldown, 1e-9)
        return self.peak * ops.clip(ops.minimum(rising, falling), 0.0, 1.0)

    def get_config(self) -> dict:
        """Returns the arguments, for saving."""
        return {"peak": self.peak, "steps": self.steps, "warmup": self.warmup, "cooldown": self.cooldown}
