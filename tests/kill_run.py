"""Kills `make run` by SIGKILL at random moments until it has ended, and looks at what came out.

    python tests/kill_run.py [--kills 25] [--seed 1] [--least 1] [--most 25] [--signal KILL] [--data ZIP]
        [--notebook 05_evaluation]

The sample profile runs twice in a folder of its own below the system's temporary one: once undisturbed, then
killed again and again, with its kernel and all its processes, each time after a random number of seconds (of
one notebook, if that is asked for); the next start goes on. After as many kills as were asked for it runs to
its end. Exit code 1 where the split, the number of trials or the table of trials differ, the accuracy leaves
the undisturbed run's 95 % interval, or a process outlives its signal by 20 s.
"""

import argparse
import collections
import math
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.pipeline import STEPS, run_name
from src.runs import read_json

PROJECT = Path(__file__).resolve().parents[1]
PATIENCE = 20  # seconds that a process is given to end


def start(root: Path, data: str) -> psutil.Popen:
    """Returns the started `make run` of the sample profile, with all that it writes below a folder."""
    places = {"OUTPUT_ROOT": str(root / "output"), "DATA_ROOT": str(root / "data")}
    command = ["make", "run", f"PYTHON={sys.executable}", "INSTALLED=", f"DATA={data}"]
    log = (root / "log.txt").open("a")
    settings = {"cwd": PROJECT, "env": {**os.environ, **places}, "stdout": log, "stderr": log}
    return psutil.Popen(command, preexec_fn=heed_interrupts, **settings)


def heed_interrupts() -> None:
    """Undoes what a shell does to a command in the background, which never hears of a Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def notebook_of(run: psutil.Popen) -> str:
    """Returns which notebook a run is in."""
    for process in [run, *run.children(recursive=True)]:
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if found := [word for word in words if word in STEPS]:
            return found[0]
    return "between two notebooks"


def kill(run: psutil.Popen, number: int) -> float:
    """Returns after how many seconds all of a run's processes had ended that were sent this signal."""
    processes, sent = [run, *run.children(recursive=True)], time.monotonic()
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.Error:
            continue
    if alive := psutil.wait_procs(processes, timeout=PATIENCE)[1]:
        sys.exit(
            f"{len(alive)} of {len(processes)} processes were there {PATIENCE} s after the signal: {alive}"
        )
    return time.monotonic() - sent


def disturb(root: Path, data: str, kills: int, number: int, notebook: str, wait: tuple[float, float]) -> dict:
    """Returns how often a run was killed in each notebook, and how long it took to end at most."""
    places: collections.Counter = collections.Counter()
    slowest = 0.0
    while True:
        run, moment = start(root, data), math.inf
        while (code := run.poll()) is None:
            is_there = places.total() < kills and (not notebook or notebook_of(run) == notebook)
            if is_there and math.isinf(moment):
                moment = time.monotonic() + random.uniform(*wait)
            if time.monotonic() >= moment:
                place = notebook_of(run)
                slowest = max(slowest, kill(run, number))
                places[place] += 1
                sys.stdout.write(f"kill {places.total()}: {dict(places)}\n")
                sys.stdout.flush()
                break
            time.sleep(0.05)
        else:
            if code:
                sys.exit(f"the run ended with code {code}: see {root / 'log.txt'}")
            return {"places": dict(sorted(places.items())), "slowest": slowest}


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
    parser.add_argument("--data", default="sample", help="as of make run")
    parser.add_argument("--notebook", default="", choices=["", *STEPS], help="the only one that is killed")
    parser.add_argument("--whole", type=Path, help="an undisturbed run's folder, instead of making one")
    chosen = parser.parse_args(arguments)
    random.seed(chosen.seed)
    data = os.path.abspath(chosen.data) if os.path.exists(chosen.data) else chosen.data
    root, run = Path(tempfile.mkdtemp(prefix="kill_run_")), run_name("sample", data)
    whole = chosen.whole
    if whole is None:
        (root / "whole").mkdir()
        disturb(root / "whole", data, 0, signal.SIGKILL, "", (0, 0))
        whole = root / "whole" / "output" / run
    (root / "killed").mkdir()
    started = time.monotonic()
    number, wait = getattr(signal, f"SIG{chosen.signal}"), (chosen.least, chosen.most)
    disturbed = disturb(root / "killed", data, chosen.kills, number, chosen.notebook, wait)
    killed = root / "killed" / "output" / run
    found = faults(whole, killed)
    accuracies = [read_json(run / "metrics.json")["accuracy"] for run in (whole, killed)]
    going_on = (root / "killed" / "log.txt").read_text().count("goes on where it stopped")
    sys.stdout.write(
        f"{sum(disturbed['places'].values())} times SIG{chosen.signal} in "
        f"{(time.monotonic() - started) / 60:.1f} minutes: {disturbed['places']}; all processes had ended "
        f"after {disturbed['slowest']:.1f} s at most; {going_on} times a line said how to go on\n"
        f"accuracy undisturbed {accuracies[0]:.4f}, killed {accuracies[1]:.4f}\n"
        + ("\n".join(found) or "split and table of trials are the same; the test set was opened once")
        + "\n"
    )
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
