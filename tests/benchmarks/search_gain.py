"""What pruning saves, and what TPE gains over random search, on real pictures.

    python tests/benchmarks/search_gain.py pruning RUN_FOLDER > pruning.json
    python tests/benchmarks/search_gain.py samplers RUN_FOLDER --minutes 20 > samplers.json

RUN_FOLDER is a run whose notebooks 01 and 02 have run; 3,000 pictures of its training part and 1,000 of its
validation part are used, at 64 x 64. The test part is not touched.

`pruning`: 20 trials without and then with the median pruner, with the same seed: the same proposals until the
first trial is pruned. `samplers`: TPE and random search in turn, as many trials as fit into the minutes,
several seeds; the first trial always uses the defaults of the space. The best score is that of a completed
trial. The searches are stored in RUN_FOLDER/search_gain, so that one that was killed can be resumed.
"""

import argparse
import json
import logging
import sys
from functools import cache, partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import cv2
import keras
import numpy as np

from src.generators import PictureBatches, load_batches
from src.running.devices import fastest_precision
from src.searches.trials import best_trial, trials_table
from src.spaces import SPACES
from src.study import make_study
from src.training import PictureTraining

MANY = 10_000  # trials, if the minutes are the limit
OBJECTIVE = "val_accuracy"


@cache
def shrunk(run: Path, part: str, pictures: int, image_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the positions of the pictures used from a part, the same for every search, and their pixels."""
    batches = load_batches(run, part)
    kept = np.sort(np.random.default_rng(0).permutation(len(batches.rows))[:pictures])
    side = (image_size, image_size)
    resized = [
        cv2.resize(batches.pixels[row], side, interpolation=cv2.INTER_AREA) for row in batches.rows[kept]
    ]
    return kept, np.stack(resized)


def serve_some(run: Path, pictures: dict, image_size: int, part: str, **choices) -> PictureBatches:
    """Returns batches of some pictures of a part, shrunk."""
    batches = load_batches(run, part, **choices)
    kept, batches.pixels = shrunk(run, part, pictures[part], image_size)
    batches.picture_sizes = [image_size]
    batches.rows, batches.codes = np.arange(len(kept)), batches.codes[kept]
    batches.image_names = [batches.image_names[place] for place in kept]
    return batches


def search(chosen: argparse.Namespace, seed: int, sampler: str, pruner: str, minutes: float = 0) -> dict:
    """Returns what a search found, and after how many minutes of training."""
    pictures = {"train": chosen.pictures, "validation": chosen.validation}
    serve = partial(serve_some, chosen.run, pictures, chosen.image_size)
    settings = {"image_size": chosen.image_size}
    training = PictureTraining(SPACES[chosen.space], settings, serve, chosen.epochs)
    found = make_study(
        training,
        chosen.run / "search_gain",
        {"pictures": pictures, **settings, "space_name": chosen.space},
        objective=OBJECTIVE,
        max_trials=MANY if minutes else chosen.trials,
        epochs=chosen.epochs,
        seed=seed,
        sampler=sampler,
        pruner=pruner,
    )
    spent = trials_table(found.records(), OBJECTIVE)
    left = minutes - (spent["seconds"].sum() / 60 if len(spent) else 0)
    if not minutes or left > 0:
        found.run_for(left if minutes else 0)
    table, best = trials_table(found.records(), OBJECTIVE), best_trial(found.records(), OBJECTIVE)
    return {
        "sampler": sampler,
        "pruner": pruner,
        "seed": seed,
        "minutes": round(float(table["seconds"].sum()) / 60, 2),
        "epochs": int(table["epochs"].sum()),
        "trials": table["status"].value_counts().to_dict(),
        "best": round(best.score, 4),
        "best_trial": best.number,
        "scores": [None if np.isnan(score) else round(score, 4) for score in table["score"]],
    }


def compare_pruning(chosen: argparse.Namespace) -> dict:
    """Returns the same search without and with the median pruner, and the share of minutes saved."""
    without, pruned = (search(chosen, chosen.seed, "tpe", pruner) for pruner in ("none", "median"))
    return {
        "without": without,
        "with": pruned,
        "minutes_saved": round(1 - pruned["minutes"] / without["minutes"], 3),
        "best_changed_by": round(pruned["best"] - without["best"], 4),
    }


def compare_samplers(chosen: argparse.Namespace) -> dict:
    """Returns the best of TPE and of random search in equal time for each seed, and the mean difference."""
    seeds = range(chosen.seed, chosen.seed + chosen.seeds)
    pairs = [
        [search(chosen, seed, sampler, chosen.pruner, chosen.minutes) for sampler in ("tpe", "random")]
        for seed in seeds
    ]
    gains = [tpe["best"] - random["best"] for tpe, random in pairs]
    return {
        "minutes_each": chosen.minutes,
        "searches": [found for pair in pairs for found in pair],
        "tpe_minus_random": [round(gain, 4) for gain in gains],
        "mean": round(float(np.mean(gains)), 4),
        "standard_error": round(float(np.std(gains, ddof=1) / len(gains) ** 0.5), 4)
        if len(gains) > 1
        else None,
    }


def main() -> None:
    """Prints one JSON object; progress is logged to standard error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("part", choices=["pruning", "samplers"])
    parser.add_argument("run", type=Path)
    parser.add_argument("--space", default="modern", choices=SPACES)
    parser.add_argument("--pictures", type=int, default=3000, help="of the training part")
    parser.add_argument("--validation", type=int, default=1000, help="pictures of the validation part")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--trials", type=int, default=20, help="pruning: of each search")
    parser.add_argument("--minutes", type=float, default=20, help="samplers: of each search")
    parser.add_argument("--seeds", type=int, default=3, help="samplers: how many")
    parser.add_argument("--pruner", default="median", help="samplers: of both")
    chosen = parser.parse_args()
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.INFO)
    keras.config.set_dtype_policy(fastest_precision(accelerator=False))
    result = {"pruning": compare_pruning, "samplers": compare_samplers}[chosen.part](chosen)
    settings = {name: str(value) for name, value in vars(chosen).items() if name != "run"}
    sys.stdout.write(json.dumps({"settings": settings, **result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
