"""Training with and without the process settings of this repository: freed memory, or oneDNN kernels.

    python tests/benchmarks/process_settings.py memory|kernels RUN_FOLDER [--batches 20] [--rounds 5]

memory: the process keeps the memory that it frees (`src/running/resources.py`), or requests it again from the
system. If both give the same result, memory is cheap on this system, or another allocator is in use.
kernels: oneDNN's (`src/__init__.py`), or TensorFlow's own for older processors.

RUN_FOLDER is a run whose notebooks 01 and 02 have run. The modern network with its defaults trains on batches
of the run's own training pictures, at the first and the last size, in processes that take turns; a ratio is
the median of the per-round ratios, printed after their minimum and maximum. The precision is the fastest one
on this device.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import pandas as pd

EPOCHS = 8  # planned for the training: its first and last epochs have the two sizes
WARMING = 6  # warm-up batches before the clock starts


def measure(run: Path, batches: int, without: str) -> list[dict]:
    """Returns one row per size: side, precision, pictures_per_second, system (share of CPU time), peak_mb."""
    if without == "kernels":
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
    from src import session
    from src.spaces import fixed
    from src.training import make_training

    if without == "memory":
        session.keep_freed_memory = bool
    session.settle(42, "auto", "auto")
    import keras

    training, hp = make_training(run, "modern", EPOCHS), fixed({})
    network, pictures = training.build(hp), training.training_batches(training.space.choose_batches(hp))
    rows = []
    for epoch in (0, EPOCHS - 1):  # the second fit continues the first, at the same size
        pictures.epoch = epoch
        side = pictures.picture_size
        fit = {"initial_epoch": epoch, "epochs": epoch + 1, "shuffle": False, "verbose": 0}
        network.fit(pictures, steps_per_epoch=WARMING, **fit)
        before, started = os.times(), time.monotonic()
        network.fit(pictures, steps_per_epoch=batches, **fit)
        seconds, after = time.monotonic() - started, os.times()
        system, user = after.system - before.system, after.user - before.user
        rows.append(
            {
                "side": side,
                "precision": keras.config.dtype_policy().name,
                "pictures_per_second": batches * pictures.batch_size / seconds,
                "system": system / (system + user),
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 10**6,
            }
        )
    return rows


def main() -> None:
    """Prints one line per picture size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("setting", choices=("memory", "kernels"))
    parser.add_argument("run", type=Path)
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--once", choices=("with", "without"), help="one process, its rows as JSON")
    chosen = parser.parse_args()
    if chosen.once:
        without = chosen.setting if chosen.once == "without" else ""
        print(json.dumps(measure(chosen.run, chosen.batches, without)))
        return
    command = [sys.executable, __file__, chosen.setting, str(chosen.run), "--batches", str(chosen.batches)]
    rounds = []
    for number in range(chosen.rounds):
        order = ("with", "without") if number % 2 else ("without", "with")
        outputs = {
            name: subprocess.run(
                [*command, "--once", name], stdout=subprocess.PIPE, text=True, check=True
            ).stdout
            for name in order
        }
        rounds.append({name: json.loads(output.splitlines()[-1]) for name, output in outputs.items()})
    for index, row in enumerate(rounds[0]["with"]):
        having, lacking = (
            pd.DataFrame([each[name][index] for each in rounds]) for name in ("with", "without")
        )
        ratios = having["pictures_per_second"] / lacking["pictures_per_second"]
        print(
            f"training, {row['side']} x {row['side']}, {row['precision']}: "
            f"{having['pictures_per_second'].median():.0f} pictures/s, "
            f"without {lacking['pictures_per_second'].median():.0f}; system's share of the processor time "
            f"{having['system'].median():.0%}, without {lacking['system'].median():.0%}; peak memory "
            f"{having['peak_mb'].median():.0f} MB, without {lacking['peak_mb'].median():.0f} MB "
            f"[{ratios.min():.1f} to {ratios.max():.1f}] {ratios.median():.1f}x"
        )


if __name__ == "__main__":
    main()
