"""Kills `make run` by SIGKILL at random moments until it has ended, and looks at what came out.

    python tests/kill_run.py [--kills 25] [--seed 1] [--least 1] [--most 25] [--signal KILL]

The sample profile runs twice in a folder of its own below the system's temporary one: once undisturbed, then
killed again and again, with its kernel and all its processes, each time after a random number of seconds; the
next start goes on. After as many kills as were asked for it runs to its end.
Exit code 1 where the split, the number of trials or the table of trials differ, or the accuracy leaves the
undisturbed run's 95 % interval.
"""

import argparse
import collections
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.runs import read_json

PROJECT = Path(__file__).resolve().parents[1]
RUN = "sample-sample"


def start(root: Path) -> psutil.Popen:
    """Returns the started `make run` of the sample profile, with all that it writes below a folder."""
    places = {"OUTPUT_ROOT": str(root / "output"), "DATA_ROOT": str(root / "data")}
    command = ["make", "run", f"PYTHON={sys.executable}", "INSTALLED="]
    log = (root / "log.txt").open("a")
    return psutil.Popen(command, cwd=PROJECT, env={**os.environ, **places}, stdout=log, stderr=log)


def kill(run: psutil.Popen, number: int) -> str:
    """Returns in which notebook a run was, after sending all its processes a signal."""
    processes = [run, *run.children(recursive=True)]
    where = "between two notebooks"
    for process in processes:
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        where = next((word for word in words if word[:3] in ("01_", "02_", "03_", "04_", "05_")), where)
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.Error:
            continue
    psutil.wait_procs(processes, timeout=20)
    return where


def disturb(root: Path, kills: int, least: float, most: float, number: int) -> collections.Counter:
    """Returns how often a run was killed in each notebook; it has ended then."""
    places: collections.Counter = collections.Counter()
    while True:
        run = start(root)
        patience = random.uniform(least, most) if places.total() < kills else None
        try:
            code = run.wait(timeout=patience)
        except (subprocess.TimeoutExpired, psutil.TimeoutExpired):
            places[kill(run, number)] += 1
            sys.stdout.write(f"kill {places.total()}: {dict(places)}\n")
            sys.stdout.flush()
            continue
        if code:
            sys.exit(f"the run ended with code {code}: see {root / 'log.txt'}")
        return places


def faults(whole: Path, killed: Path) -> list[str]:
    """Returns a sentence for each thing that the killed run has other than the undisturbed one."""
    found = []
    if (whole / "features.csv").read_bytes() != (killed / "features.csv").read_bytes():
        found.append("the split differs")
    trials = [pd.read_csv(run / "trials.csv").drop(columns=["seconds", "started"]) for run in (whole, killed)]
    if not trials[0].equals(trials[1]):
        found.append(f"the tables of trials differ:\n{trials[0]}\n{trials[1]}")
    wanted, measured = (read_json(run / "metrics.json") for run in (whole, killed))
    if not wanted["low"] <= measured["accuracy"] <= wanted["high"]:
        found.append(f"the accuracy is {measured['accuracy']}, outside the undisturbed run's interval")
    openings = len(pd.read_csv(killed / "test_openings.csv"))
    if openings != 1:
        found.append(f"the test set was opened {openings} times")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--least", type=float, default=1.0, help="seconds until a kill, at least")
    parser.add_argument("--most", type=float, default=25.0, help="seconds until a kill, at most")
    parser.add_argument("--signal", choices=["KILL", "TERM", "INT"], default="KILL")
    parser.add_argument("--whole", type=Path, help="an undisturbed run's folder, instead of making one")
    chosen = parser.parse_args(arguments)
    random.seed(chosen.seed)
    root = Path(tempfile.mkdtemp(prefix="kill_run_"))
    whole = chosen.whole
    if whole is None:
        (root / "whole").mkdir()
        disturb(root / "whole", 0, 0, 0, signal.SIGKILL)
        whole = root / "whole" / "output" / RUN
    (root / "killed").mkdir()
    started = time.monotonic()
    number = getattr(signal, f"SIG{chosen.signal}")
    places = disturb(root / "killed", chosen.kills, chosen.least, chosen.most, number)
    killed = root / "killed" / "output" / RUN
    found = faults(whole, killed)
    accuracies = [read_json(run / "metrics.json")["accuracy"] for run in (whole, killed)]
    sys.stdout.write(
        f"{places.total()} times SIG{chosen.signal} in {(time.monotonic() - started) / 60:.1f} minutes: "
        f"{dict(sorted(places.items()))}\n"
        f"accuracy undisturbed {accuracies[0]:.4f}, killed {accuracies[1]:.4f}\n"
        + ("\n".join(found) or "split and table of trials are the same; the test set was opened once")
        + "\n"
    )
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
