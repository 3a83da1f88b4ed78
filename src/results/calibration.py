"""Calibrates a network's probabilities with a single temperature and a clip at both ends."""

import logging
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

from src.evaluation import cross_entropy, decide, independent_pictures

logger = logging.getLogger(__name__)

COLDEST, HOTTEST = 0.05, 20.0  # bounds of the temperatures that are tried
PRIOR = 0.5  # a priori, two of three temperatures lie between 0.6 and 1.65
LARGEST_CLIP = 0.1


class Calibration(NamedTuple):
    """What is done to a network's probabilities before they are submitted."""

    temperature: float  # the logit is divided by it; above 1 if the network is overconfident
    clip: float  # probabilities stay this far from 0 and 1

    def apply(self, probability: pd.Series) -> pd.Series:
        """Returns the sigmoid of the logit divided by the temperature, clipped; 0.5 stays 0.5."""
        odds_against = 1 / probability.clip(1e-7, 1 - 1e-7) - 1
        calibrated = 1 / (1 + odds_against ** (1 / self.temperature))
        return calibrated.clip(self.clip, 1 - self.clip)


def check_clip(clip: float) -> None:
    """Raises ValueError unless 0 <= clip < 0.5."""
    if not 0 <= clip < 0.5:
        raise ValueError(f"clip is {clip}; give 0 to have it chosen, or less than 0.5, such as 0.005")


def calibrate(validation: pd.DataFrame, clip: float = 0.0, independent: float = 0.0) -> Calibration:
    """Returns the temperature with the lowest log loss on validation pictures, and a clip.

    A small sample counts for less than a large one: the logarithm of the temperature has a normal prior with
    mean 0 and standard deviation `PRIOR`. Without it, 100 pictures without a single mistake would call for
    the lowest temperature, and the next mistake would be very costly.

    Source of the temperature: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural
    networks", ICML 2017.

    Args:
        validation: columns code and probability, and group if the split has groups.
        clip: used as given; 0 chooses the one with the lowest log loss after the temperature. With n
            independent pictures it is at least 1 / (n + 2), Laplace's rule of succession: n right answers
            support no greater certainty about the next one.
        independent: how many independent pictures these are worth; 0 for `count_independent`.

    Raises:
        ValueError: see `check_clip`.
    """
    check_clip(clip)
    number = independent or count_independent(validation)

    def cost(logarithm: float) -> float:
        loss = log_loss(validation, Calibration(float(np.exp(logarithm)), 0.0))
        return loss + (logarithm / PRIOR) ** 2 / (2 * number)

    lowest = minimize_scalar(cost, bounds=np.log([COLDEST, HOTTEST]), method="bounded")
    temperature = float(np.exp(lowest.x))
    if clip == 0:
        least = min(1 / (number + 2), LARGEST_CLIP)
        tried = np.geomspace(least, LARGEST_CLIP, 60)
        clip = float(min(tried, key=lambda each: log_loss(validation, Calibration(temperature, each))))
    return Calibration(temperature, clip)


def log_loss(predictions: pd.DataFrame, calibration: Calibration) -> float:
    """Returns the mean log loss, in nats, of predictions (columns code and probability) once calibrated."""
    return cross_entropy(predictions.assign(probability=calibration.apply(predictions["probability"])))


def log_loss_table(
    validation: pd.DataFrame, calibration: Calibration, clip: float, seed: int = 0
) -> pd.DataFrame:
    """Returns the log loss on validation pictures before and after calibration.

    Column log_loss is on the pictures that temperature and clip were chosen on; for log_loss_held_out, each
    half is calibrated with what was chosen on the other half. Pictures of one group are in the same half.

    Args:
        validation: columns code and probability, and group if the split has groups.
        calibration: from `calibrate`.
        clip: as given to `calibrate`.
        seed: of the random halves.
    """
    groups, group_of = np.unique(validation.get("group", np.arange(len(validation))), return_inverse=True)
    if len(groups) < 2:
        logger.warning(
            "all validation pictures belong to one group: held-out figures come from that same group"
        )
        groups = group_of = np.arange(len(validation))
    second = (np.random.default_rng(seed).permutation(len(groups)) % 2 == 1)[group_of]
    halves = [validation[~second], validation[second]]
    worth = count_independent(validation) / 2  # of each half
    others = [calibrate(half, clip, worth) for half in reversed(halves)]  # for each half, fitted on the other
    steps = {
        "as the network gives them": {"temperature": 1.0, "clip": 0.0},
        "temperature": {"clip": 0.0},
        "temperature and clip": {},
    }
    rows = []
    for name, without in steps.items():
        held_out = [
            len(half) * log_loss(half, other._replace(**without))
            for half, other in zip(halves, others, strict=True)
        ]
        rows.append(
            [name, log_loss(validation, calibration._replace(**without)), sum(held_out) / len(validation)]
        )
    return pd.DataFrame(rows, columns=["probabilities", "log_loss", "log_loss_held_out"])


def count_independent(validation: pd.DataFrame) -> float:
    """Returns `independent_pictures` of these; all, if a single group leaves none to compare."""
    if "group" in validation and validation["group"].nunique() < 2:
        return float(len(validation))
    return float(independent_pictures(decide(validation)))
