"""What mistake 1 of the published experiment cost: an epoch of 1/16 against a whole one.

The published best hyperparameters, batch 16, 64 x 64, the same split, three training runs one after the
other. Validation uses the same fraction as training, as in the original, and the weights with the lowest
validation loss are kept. The first run stops as the published one did: after 35 epochs, or after 5 without a
better loss. The other two train for the same number of minutes, so that only the fraction differs. Each
network then predicts the test part once.

    python tests/benchmarks/epoch_ablation.py RUN_FOLDER [MINUTES] > result.json

RUN_FOLDER is a run whose notebooks 01 and 02 have run (any profile); its split is used.
"""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import keras

from src.config import PUBLISHED_BEST, find_paths
from src.evaluation import measure, predict_table
from src.features import load_features
from src.generators import PictureBatches
from src.images.augmentation import Augmentation
from src.images.cache import build_cache, cached_rows, open_cache
from src.model import build_cnn
from src.runs import read_json
from src.searches.callbacks import Deadline

IMAGE_SIZE, BATCH_SIZE, SEED = 64, 16, 42
NEVER = 10**6
TRAININGS = [  # name, fraction of an epoch, maximum number of epochs, patience
    ("1/16 epochs, stopped as published", 1 / 16, 35, 5),
    ("1/16 epochs, all the minutes", 1 / 16, NEVER, NEVER),
    ("whole epochs, all the minutes", 1.0, NEVER, NEVER),
]


def main(run: Path, minutes: float) -> None:
    """Prints one JSON object: a list of three results."""
    table = load_features(run / "features.csv")
    pictures = cached_rows(table)
    folder = Path(read_json(run / "data.json")["folder"])
    pixels = open_cache(build_cache(folder, table, find_paths().data / "cache", IMAGE_SIZE), len(pictures))

    def batches(part: str, epoch_fraction: float, training: bool = False) -> PictureBatches:
        chosen = pictures[pictures["split"] == part]
        return PictureBatches(
            pixels,
            chosen.index.to_numpy(),
            chosen["code"].to_numpy(),
            chosen["image_name"].tolist(),
            batch_size=BATCH_SIZE,
            shuffle=training or epoch_fraction < 1,
            augmentation=Augmentation() if training else None,
            epoch_fraction=epoch_fraction,
            seed=SEED,
        )

    results = []
    for name, epoch_fraction, epochs, patience in TRAININGS:
        keras.utils.set_random_seed(SEED)
        model = build_cnn(IMAGE_SIZE, **PUBLISHED_BEST)
        deadline = Deadline.after(minutes)
        stopping = keras.callbacks.EarlyStopping("val_loss", patience=patience, restore_best_weights=True)
        history = model.fit(
            batches("train", epoch_fraction, training=True),
            validation_data=batches("validation", epoch_fraction),
            epochs=epochs,
            callbacks=[stopping, deadline],
            verbose=0,
        ).history
        spent = minutes - (deadline.moment - time.monotonic()) / 60
        measures = measure(predict_table(model, batches("test", 1.0)))
        results.append(
            {
                "name": name,
                "steps_per_epoch": len(batches("train", epoch_fraction)),
                "epochs": len(history["loss"]),
                "minutes": round(spent, 1),
                **{key: measures[key] for key in ("n", "accuracy", "low", "high", "cross_entropy")},
            }
        )
        sys.stderr.write(json.dumps(results[-1]) + "\n")
    sys.stdout.write(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 10.0)
