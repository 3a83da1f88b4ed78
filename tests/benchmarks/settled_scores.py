"""How well a trial's score predicts the next training with its hyperparameters, settled and as remembered.

    python tests/benchmarks/settled_scores.py train RUN_FOLDER RESULTS.jsonl --seed 0
    python tests/benchmarks/settled_scores.py train RUN_FOLDER RESULTS.jsonl --seed 1
    python tests/benchmarks/settled_scores.py table RESULTS.jsonl

RUN_FOLDER is a run whose notebooks 01 and 02 have run. `train` draws sets of hyperparameters from the
`modern` space, the same for every seed, and trains each briefly on growing pictures, as a search does. After
every epoch the whole validation part is predicted twice: with the moving statistics that batch normalization
remembers, and with settled ones. `table` shows how much higher the settled accuracy is, and how well each of
the two correlates, over the sets, with the settled accuracy at the end of the training with the other seed.
The test part is not touched.
"""

import json
import sys
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import keras
import keras_tuner
import numpy as np
import pandas as pd
from commands import train_and_table
from search_gain import serve_some

from src.evaluation import predict_table
from src.networks.normalization import settle_normalization
from src.running.devices import fastest_precision
from src.spaces import SPACES, fixed
from src.training import PictureTraining

WIDEST = 32  # wider networks take longer and show the same


class ScoreSettled(keras.callbacks.Callback):
    """Records each epoch's validation accuracy with settled statistics, then restores the remembered ones."""

    def __init__(self, training: PictureTraining):
        """Stores the training, which serves the pictures."""
        super().__init__()
        self.training, self.accuracies, self.seconds = training, [], 0.0

    def on_epoch_end(self, epoch, logs=None):
        """Predicts the validation part again, with settled statistics."""
        remembered, started = self.model.get_weights(), time.monotonic()
        settle_normalization(self.model, self.training.untransformed(), 20)
        self.seconds += time.monotonic() - started
        validation = self.training.serve("validation")
        self.accuracies.append(float(predict_table(self.model, validation)["correct"].mean()))
        self.model.set_weights(remembered)


def train(run: Path, results: Path, seed: int, sets: int, epochs: int, pictures: int) -> None:
    """Appends one line per training run to the results."""
    space = SPACES["modern"]._replace(settles_normalization=False)
    serve = partial(serve_some, run, {"train": pictures, "validation": 10**9}, 48)
    training = PictureTraining(space, {"image_size": None}, serve, epochs, first_image_size=32)
    training.seed = seed
    entries = keras_tuner.HyperParameters()
    training.build(entries)
    for number in range(sets):
        values = {entry.name: entry.random_sample(1000 * number + i) for i, entry in enumerate(entries.space)}
        hp = fixed({**values, "width": min(values["width"], WIDEST)})
        keras.utils.set_random_seed(seed)
        model, scoring = training.build(hp), ScoreSettled(training)
        remembered = training.fit(hp, model, epochs, [scoring]).history["val_accuracy"]
        line = {"set": number, "seed": seed, "remembered": remembered, "settled": scoring.accuracies}
        with results.open("a") as file:
            file.write(json.dumps({**line, "seconds_of_settling": scoring.seconds, **hp.values}) + "\n")


def table(results: Path) -> pd.DataFrame:
    """Returns one row per epoch: the gain in settled accuracy, and the correlations of both accuracies."""
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    final = {(row["set"], row["seed"]): row["settled"][-1] for row in rows}
    seeds = sorted({row["seed"] for row in rows})[:2]
    paired = [row for row in rows if all((row["set"], seed) in final for seed in seeds)]
    other = [final[row["set"], seeds[seeds[0] == row["seed"]]] for row in paired]
    columns = {
        kind: np.array([row[kind] for row in paired]) for kind in ("remembered", "settled")
    }  # (trainings, epochs)
    return pd.DataFrame(
        {
            "gain, points": 100 * (columns["settled"] - columns["remembered"]).mean(axis=0),
            **{
                f"correlation, {kind}": [np.corrcoef(scores, other)[0, 1] for scores in accuracies.T]
                for kind, accuracies in columns.items()
            },
        },
        index=pd.RangeIndex(1, len(columns["settled"].T) + 1, name=f"epoch ({len(paired)} trainings)"),
    )


def main() -> None:
    """Trains, or prints the table."""
    parser, training, _ = train_and_table(__doc__)
    training.add_argument("--seed", type=int, required=True)
    training.add_argument("--sets", type=int, default=8, help="of hyperparameters")
    training.add_argument("--epochs", type=int, default=5)
    training.add_argument("--pictures", type=int, default=3000)
    chosen = parser.parse_args()
    if chosen.command == "table":
        sys.stdout.write(table(chosen.results).round(3).to_string() + "\n")
        return
    keras.config.set_dtype_policy(fastest_precision(accelerator=False))
    train(chosen.run, chosen.results, chosen.seed, chosen.sets, chosen.epochs, chosen.pictures)


if __name__ == "__main__":
    main()
