"""What each parameter may be, by range or list of words, so that anything else is refused before a run.

Most modules that act on these words have lists of their own; a test compares them.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from src.images.augmentation import FRACTIONS


class Limit(NamedTuple):
    """The range that a number must be in."""

    allows: Callable[[float], bool]  # False for NaN, which fails every comparison
    words: str


COUNT = Limit(lambda value: 1 <= value < 2**31, "1 or more")
FRACTION = Limit(lambda value: 0 <= value < 1, "a fraction, 0 or more and below 1")
NOT_NEGATIVE = Limit(lambda value: 0 <= value < math.inf, "0 or more, and finite")
COUNTS = ["batch_size", "max_trials", "epochs", "finalists", "final_seeds", "final_epochs"]
COUNTS += ["final_validation_freq", "head_trials", "head_epochs"]
COUNTS += ["fine_tuning_trials", "fine_tuning_trial_epochs", "fine_tuning_epochs"]
AMOUNTS = ["drop_extreme_aspect", "rotation_range", "shear_range", "mistakes", "explained", "clip"]
AMOUNTS += ["false_positive_cost", "false_negative_cost", "patience", "final_patience"]
MINUTES = ["max_minutes", "final_minutes", "fine_tuning_minutes", "trial_timeout_minutes"]
LIMITS = {
    **dict.fromkeys(COUNTS, COUNT),
    **dict.fromkeys([*FRACTIONS, "color_jitter", "weight_averaging"], FRACTION),
    "image_size": Limit(lambda value: 8 <= value <= 4_096, "8 to 4096 pixels"),
    "first_image_size": Limit(lambda value: value == 0 or 8 <= value <= 4_096, "0, or 8 to 4096 pixels"),
    "backbone_image_size": Limit(lambda value: value == 0 or 32 <= value <= 4_096, "0, or 32 to 4096 pixels"),
    "epoch_fraction": Limit(lambda value: 0 < value <= 1, "more than 0 and at most 1"),
    "learning_rate": Limit(lambda value: 0 < value < math.inf, "more than 0, and finite"),
    **dict.fromkeys([*AMOUNTS, *MINUTES], NOT_NEGATIVE),
    "seed": Limit(lambda value: 0 <= value < 2**31, "0 to 2147483647"),
    "workers": Limit(lambda value: 0 <= value <= 256, "0 to 256 threads"),
}
HINTS = {
    float: "a number such as 0.001, 1.0e-3 or 1.0e+6, for YAML takes 1e-3 and 1e6 for texts",
    str: "a text, in quotes where YAML takes it for something else",
    bool: "true or false",
    int: "a whole number",
    dict: "a mapping",
}
SWITCHES = {
    "keep_test_folder",
    "leave_out_duplicates",
    "horizontal_flip",
    "isolate_trials",
    "mirrored_views",
    "temperature_scaling",
}
PATTERNS = {"class_pattern", "group_pattern"}
WORDS = {
    "interpolation": ["area", "bilinear", "nearest"],
    "precision": ["auto", "float32", "mixed_bfloat16", "mixed_float16"],
    "deterministic": ["auto", "yes", "no"],
    "fill_mode": ["nearest", "reflect", "constant"],
    "space": ["published", "described", "modern"],
    "tuner": ["optuna", "random", "hyperband", "bayesian", "grid"],
    "sampler": ["tpe", "random"],
    "pruner": ["median", "hyperband", "none"],
    "objective": ["val_accuracy", "val_loss", "val_log_loss"],
    "average": ["none", "seeds", "finalists"],
    "backbone": ["ResNet50", "MobileNetV2", "EfficientNetV2B0", "ConvNeXtTiny"],
    "edition": ["probabilities", "labels"],
}
