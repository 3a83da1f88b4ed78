"""What each trick of the `modern` network is worth: one changed at a time, several seeds, on real pictures.

    python tests/benchmarks/tricks.py train RUN_FOLDER RESULTS [--pictures 3000 --epochs 12 --seeds 3]
    python tests/benchmarks/tricks.py table RESULTS

RUN_FOLDER is a run whose notebooks 01 and 02 have run. Each training run is a JSON file in RESULTS, so that
the table can be collected over days; existing results are not trained again. The test part is not touched:
accuracies are on the whole validation part.
"""

import json
import math
import sys
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import keras
import numpy as np
import pandas as pd
from commands import train_and_table

from src.evaluation import predict_table
from src.generators import PictureBatches, load_batches
from src.networks.ensemble import average_networks
from src.running.devices import fastest_precision
from src.runs import read_json, write_json
from src.spaces import SPACES, fixed
from src.training import PictureTraining

# Changes to the network as it is: hyperparameters, settings of the network, settings of the training.
VARIANTS: dict[str, dict] = {
    "as it is": {},
    "AdamW instead of Muon": {"settings": {"optimizer": "adamw"}},
    "one picture size": {"first_image_size": 0},
    "no label smoothing": {"values": {"label_smoothing": 0.0}},
    "no dropout": {"values": {"dropout": 0.0}},
    "only mirrored, no other transformation": {"values": {"augmentation_strength": 0.0}},
    "transformations 1.5 times as strong": {"values": {"augmentation_strength": 1.5}},
    "no weight decay": {"values": {"weight_decay": 0.0}},
    "weights averaged (0.99)": {"settings": {"weight_averaging": 0.99}},
    "learning rate without a plateau": {"settings": {"cooldown": 0.9}},
}


def serve_some(run: Path, pictures: int, part: str, **choices) -> PictureBatches:
    """Returns a part's batches; from the training part, the same `pictures` pictures for every variant."""
    batches = load_batches(run, part, **choices)
    if part == "train" and pictures < len(batches.rows):
        kept = np.sort(np.random.default_rng(0).permutation(len(batches.rows))[:pictures])
        batches.rows, batches.codes = batches.rows[kept], batches.codes[kept]
        batches.image_names = [batches.image_names[place] for place in kept]
    return batches


def train(run: Path, name: str, seed: int, pictures: int, epochs: int) -> dict:
    """Returns the validation accuracy of one training run, plain and with mirrored views, and its seconds."""
    change = VARIANTS[name]
    settled = read_json(run / "input.json")
    first = change.get("first_image_size", settled["first_image_size"])
    settings = {"image_size": None if first else settled["image_size"], **change.get("settings", {})}
    serve = partial(serve_some, run, pictures)
    training = PictureTraining(SPACES["modern"], settings, serve, epochs, first_image_size=first)
    training.seed = seed
    keras.utils.set_random_seed(seed)
    hp = fixed(change.get("values", {}))
    model = training.build(hp)
    started = time.monotonic()
    training.fit(hp, model, epochs, [])
    seconds = time.monotonic() - started
    validation = training.serve("validation")
    accuracy = {
        column: float(predict_table(network, validation)["correct"].mean())
        for column, network in (("plain", model), ("mirrored", average_networks([model], mirrored=True)))
    }
    return {
        "variant": name,
        "seed": seed,
        "pictures": pictures,
        "epochs": epochs,
        "seconds": seconds,
        **accuracy,
    }


def table(results: Path, pictures: int, epochs: int) -> pd.DataFrame:
    """Returns one row per variant: mean accuracies, spread over the seeds, the change from `as it is`."""
    rows = pd.DataFrame([json.loads(path.read_text()) for path in sorted(results.glob("*.json"))])
    rows = rows[(rows["pictures"] == pictures) & (rows["epochs"] == epochs)]
    groups = rows.groupby("variant")
    mean = groups[["plain", "mirrored", "seconds"]].mean()
    mean["seeds"], mean["spread"] = groups.size(), groups["plain"].std()
    mean["change"] = 100 * (mean["plain"] - mean["plain"].get("as it is", math.nan))
    return mean.reindex([name for name in VARIANTS if name in mean.index])


def main() -> None:
    """Trains what is missing, or prints the table."""
    parser, training, showing = train_and_table(__doc__)
    training.add_argument("--seeds", type=int, default=3)
    training.add_argument(
        "--only", type=int, nargs="*", help="numbers of variants, for one process of several"
    )
    for command in (training, showing):
        command.add_argument("--pictures", type=int, default=3000)
        command.add_argument("--epochs", type=int, default=12)
    chosen = parser.parse_args()
    if chosen.command == "table":
        sys.stdout.write(table(chosen.results, chosen.pictures, chosen.epochs).round(4).to_string() + "\n")
        return
    keras.config.set_dtype_policy(fastest_precision(accelerator=False))
    for seed in range(chosen.seeds):
        for number, name in enumerate(VARIANTS):
            if chosen.only and number not in chosen.only:
                continue
            path = chosen.results / f"{chosen.pictures}-{chosen.epochs}-{number}-{seed}.json"
            if not path.exists():
                result = train(chosen.run, name, seed, chosen.pictures, chosen.epochs)
                write_json(path, result)
                sys.stderr.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
