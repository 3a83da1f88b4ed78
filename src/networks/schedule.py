"""The learning rate over a training: it rises, stays at its peak, and comes down to nothing."""

import keras
from keras import ops

START = 1 / 25  # of the peak


@keras.saving.register_keras_serializable(package="tuned_image_classifier")
class Trapezoid(keras.optimizers.schedules.LearningRateSchedule):
    """A line up, a plateau, a line down to 0, by the optimizer's step.

    It is higher on average than a cosine of the same peak, and the plateau can be of any length (A. Hägele et
    al., "Scaling laws and compute-optimal training beyond fixed training durations", NeurIPS 2024).
    """

    def __init__(self, peak: float, steps: int, warmup: float, cooldown: float):
        """Keeps the parts.

        Args:
            peak: the highest rate.
            steps: of the whole training.
            warmup: fraction of the steps in which the rate rises, from a 25th of its peak.
            cooldown: fraction of the steps, the last ones, in which it falls.

        Raises:
            ValueError: a negative fraction, or two that are more than 1 together.
        """
        if min(warmup, cooldown) < 0 or warmup + cooldown > 1 + 1e-9:
            raise ValueError(f"warmup {warmup} and cooldown {cooldown}: give fractions, together at most 1")
        self.peak, self.steps, self.warmup, self.cooldown = peak, steps, warmup, cooldown

    def __call__(self, step):
        """Returns the rate at a step, from 0."""
        done = ops.cast(step, "float32") / self.steps
        rising = START + (1 - START) * done / max(self.warmup, 1e-9)
        falling = (1 - done) / max(self.cooldown, 1e-9)
        return self.peak * ops.clip(ops.minimum(rising, falling), 0.0, 1.0)

    def get_config(self) -> dict:
        """Returns the arguments."""
        return {"peak": self.peak, "steps": self.steps, "warmup": self.warmup, "cooldown": self.cooldown}
