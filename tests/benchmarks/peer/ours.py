"""This repository: notebooks 03, 04 and 05 with the profile `cpu`, nothing tuned beforehand.

Only the minutes are set, divided between search and final trainings as the profile divides its own, with the
start of a kernel and the drawing of figures inside them. Notebook 05, which opens the test part, comes after
them. The headless notebooks write a line an epoch: each is stamped with this peer's clock as it
arrives, and the first with a validation accuracy above the published one is the moment.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from peer.clock import THRESHOLD, Clock

from src.pipeline import read_profile

PROJECT = Path(__file__).resolve().parents[3]
PROFILE = "cpu"
STARTING, DRAWING = 20, 25  # seconds that a notebook takes before and after what it trains, on 2 cores
LEAST_MINUTES = 0.1
ACCURACY = re.compile(r"\bval_accuracy (\d\.\d+)")
COPIED = ["features.csv", "data.json", "input.json"]


class Run:
    """A run of its own, made from the split and the settings of another, so that no earlier search is met."""

    def __init__(self, clock: Clock, folder: Path, seed: int, work: Path):
        """Copies what notebooks 01 and 02 made."""
        self.clock, self.seed, self.folder = clock, seed, work / "run"
        self.folder.mkdir()
        for name in COPIED:
            shutil.copy(folder / name, self.folder)
        self.passed_at: float | None = None
        self.epochs = 0

    def step(self, name: str, **settings) -> None:
        """Runs one notebook.

        Raises:
            RuntimeError: it failed; with its last line.
        """
        command = [sys.executable, "-u", "-m", "src.pipeline", str(self.folder), name, "--profile", PROFILE]
        command += ["--set", f"seed={self.seed}", *(f"{key}={value}" for key, value in settings.items())]
        process = subprocess.Popen(
            command,
            cwd=PROJECT,
            env={**os.environ, "OUTPUT_ROOT": str(self.folder.parent), "KERAS_BACKEND": "tensorflow"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        line = ""
        for line in process.stdout:
            self.read_line(line)
        if process.wait():
            raise RuntimeError(f"{name}: {line.strip()}")

    def read_line(self, line: str) -> None:
        """Stamps a line of a notebook, and notes the moment if it is the first above the threshold."""
        seconds = self.clock.seconds()
        sys.stdout.write(f"{seconds:7.1f} s  {line}")
        self.epochs += ", epoch " in line
        found = ACCURACY.search(line)
        if self.passed_at is None and found and float(found[1]) > THRESHOLD:
            self.passed_at = seconds


def run(clock: Clock, folder: Path, seed: int, work: Path) -> dict:
    """Returns the peer's outcome; arguments as in `published.run`."""
    ours, profile = Run(clock, folder, seed, work), read_profile(PROFILE)
    search_share = profile["max_minutes"] / (profile["max_minutes"] + profile["final_minutes"])
    in_notebook = STARTING + DRAWING
    minutes = max(LEAST_MINUTES, (search_share * clock.limit - in_notebook) / 60)
    ours.step("03_tuning", max_minutes=round(minutes, 2))
    minutes = max(LEAST_MINUTES, (clock.limit - clock.seconds() - in_notebook) / 60)
    ours.step("04_training", final_minutes=round(minutes, 2))
    seconds = clock.seconds()
    ours.step("05_evaluation")
    measures = json.loads((ours.folder / "metrics.json").read_text())
    return {
        "seconds": seconds,
        "passed_at": ours.passed_at,
        "trials": count_trials(ours.folder / "trials.csv"),
        "epochs": ours.epochs,
        "test": {"correct": round(measures["accuracy"] * measures["n"]), "n": measures["n"]},
    }


def count_trials(path: Path) -> dict[str, int]:
    """Returns how many trials of a table came to their own end, were pruned, failed or were stopped."""
    import pandas as pd

    names = {"completed": "finished", "interrupted": "stopped", "running": "stopped"}
    return pd.read_csv(path)["status"].replace(names).value_counts().to_dict()
