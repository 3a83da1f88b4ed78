"""Comparison with what a user would pick instead: five peers, one per call, one JSON file per result.

    python tests/benchmarks/peers.py run PEER RUN_FOLDER [--minutes 20] [--seed 42] [--results FOLDER]
    python tests/benchmarks/peers.py table [FOLDER]

PEER is published, kerastuner, autokeras, keras_io or ours; tests/benchmarks/README.md says how to set up the
environment of each. RUN_FOLDER is a run whose notebooks 01 and 02 have run at 64 x 64: all peers get its
pictures and its split. The minutes cover search and final training, counted from the start of the peer's
process, imports included; the test part is predicted once, after they are over.
"""

import argparse
import importlib
import json
import math
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
import traceback
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from peer.clock import Clock
from peer.parts import read_json

PROJECT = Path(__file__).resolve().parents[2]
PEERS = ["published", "kerastuner", "autokeras", "keras_io", "ours"]
TITLES = {
    "published": "the published recipe",
    "kerastuner": "KerasTuner, whole epochs",
    "autokeras": "AutoKeras",
    "keras_io": "keras.io's example",
    "ours": "this repository",
}
LIBRARIES = ["tensorflow", "keras", "keras-tuner", "autokeras", "optuna"]
SAME = ["minutes", "cores", "image_size", "data_fingerprint"]  # must be equal for results of one table
SECONDS = ["seconds", "seconds_set_aside", "seconds_over", "wall_seconds", "passed_at"]
RESULTS = PROJECT / "tuning_output" / "peer_results"
PASSED = "validation above 74.84 % after"


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 1 if the peer failed, in which case its result says why."""
    parser = argparse.ArgumentParser(prog="peers.py", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "work"):  # `run` starts `work` as a separate process, which may die
        command = commands.add_parser(name)
        command.add_argument("peer", choices=PEERS)
        command.add_argument("run_folder", type=Path)
        command.add_argument("--minutes", type=float, default=20)
        command.add_argument("--seed", type=int, default=42)
        command.add_argument("--cores", type=int, default=2, help="Linux: the peer is held to them")
        command.add_argument("--results", type=Path, default=RESULTS)
    commands.add_parser("table").add_argument("results", type=Path, nargs="?", default=RESULTS)
    chosen = parser.parse_args(arguments)
    if chosen.command == "table":
        sys.stdout.write(make_table(read_results(chosen.results)) + "\n")
        return 0
    if chosen.command == "work":
        return work(chosen.peer, chosen.run_folder, chosen.minutes, chosen.seed, place_of(chosen))
    command = [sys.executable, __file__, "work", *(arguments or sys.argv[1:])[1:]]
    facts = {
        "peer": chosen.peer,
        "seed": chosen.seed,
        "minutes": chosen.minutes,
        "cores": hold_to(chosen.cores),
        **data_facts(chosen.run_folder),
        "versions": versions(),
        "processor": processor(),
        "commit": commit(),
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_before": round(os.getloadavg()[0], 2),
    }
    result = collect(command, place_of(chosen), facts)
    sys.stderr.write(f"{chosen.peer}: {result.get('error') or result['test']}\n")
    return int("error" in result)


def place_of(chosen: argparse.Namespace) -> Path:
    """Returns the path of the result without suffix, shared by `.json`, `.log` and the folder `.work`."""
    return chosen.results.resolve() / f"{chosen.peer}-{chosen.seed}"


def work(peer: str, run_folder: Path, minutes: float, seed: int, place: Path) -> int:
    """Returns the exit code after running a peer in this process; its outcome goes into its work folder."""
    clock = Clock(minutes)
    folder = place.with_suffix(".work")
    try:
        outcome = importlib.import_module(f"peer.{peer}").run(clock, run_folder.resolve(), seed, folder)
    except Exception as error:
        traceback.print_exc()
        outcome = {"error": one_line(error), "seconds": clock.seconds()}
    (folder / "outcome.json").write_text(json.dumps(outcome))
    return int("error" in outcome)


def one_line(error: Exception) -> str:
    """Returns an error as one line: of a longer text, the first line and the last, which names the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no reason given"]
    text = lines[0] if len(lines) == 1 else f"{lines[0][:150]} ... {lines[-1]}"
    return f"{type(error).__name__}: {text}"[:400]


def collect(command: list[str], place: Path, facts: dict) -> dict:
    """Returns the result of a peer's process, and writes it as JSON, even if the process died.

    Its output goes into a log. Its work folder is deleted, except for the tables and notebooks of a run.

    Args:
        command: starts the process, which leaves `outcome.json` in the work folder.
        place: path of the result, without suffix.
        facts: what is known about the peer beforehand.
    """
    folder = place.with_suffix(".work")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    started = time.monotonic()
    with place.with_suffix(".log").open("w") as log:
        code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT).returncode
    wall = time.monotonic() - started
    outcome = {"error": f"the process ended with code {code} and left no outcome", "seconds": wall}
    if (folder / "outcome.json").exists():
        outcome = read_json(folder / "outcome.json")
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    kilobytes = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    result = {
        **facts,
        **outcome,
        "seconds_over": max(0.0, outcome["seconds"] - 60 * facts["minutes"]),
        "wall_seconds": wall,
        "cores_used": round((usage.ru_utime + usage.ru_stime) / wall, 2),
        "peak_memory_mb": round(kilobytes / 1024),
    }
    result.update({key: round(value, 1) for key, value in result.items() if key in SECONDS and value})
    path = place.with_suffix(".json")
    path.with_suffix(".partial").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    path.with_suffix(".partial").replace(path)
    if (folder / "run").is_dir():
        for part in ("search", "finalists"):
            shutil.rmtree(folder / "run" / part, ignore_errors=True)
    else:
        shutil.rmtree(folder)
    return result


def hold_to(cores: int) -> int:
    """Returns how many cores this process and its children are now restricted to: at most `cores`.

    Without `os.sched_setaffinity` nothing is restricted, and all cores are counted.
    """
    if not hasattr(os, "sched_setaffinity"):
        return os.cpu_count() or 1
    own = sorted(os.sched_getaffinity(0))[:cores]
    os.sched_setaffinity(0, own)
    return len(own)


def data_facts(run_folder: Path) -> dict:
    """Returns what results must have in common: the pictures with their split, and their size."""
    fingerprint = read_json(run_folder / "data.json")["fingerprint"]
    return {"data_fingerprint": fingerprint, "image_size": read_json(run_folder / "input.json")["image_size"]}


def versions() -> dict[str, str]:
    """Returns the versions of Python and of those `LIBRARIES` that are installed."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """Returns the processor's name, as far as the system reports it."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def commit() -> str:
    """Returns the commit of this repository; empty if there is none or git is missing."""
    command = ["git", "-C", str(PROJECT), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        return ""


def read_results(folder: Path) -> list[dict]:
    """Returns the results in a folder.

    Raises:
        FileNotFoundError: there are none.
        ValueError: they differ in pictures, picture size, minutes or cores.
    """
    results = {path: read_json(path) for path in sorted(folder.glob("*.json"))}
    if not results:
        raise FileNotFoundError(f"{folder} holds no results; run a peer with --results {folder} first")
    for name in SAME:
        found = {str(result[name]): path.name for path, result in results.items()}
        if len(found) > 1:
            told = ", ".join(f"{value} in {path}" for value, path in found.items())
            raise ValueError(f"these results are no like for like: {name} is {told}")
    return list(results.values())


def make_table(results: list[dict]) -> str:
    """Returns the results as a Markdown table, best test accuracy first, failed ones last."""
    titles = ["peer", "test accuracy, 95 % interval", PASSED, "trials", "minutes", "memory", "cores used"]
    rows = [[*titles, "versions"], ["---"] * (len(titles) + 1)]
    for result in sorted(results, key=lambda result: -accuracy(result)):
        known = [f"{name} {number}" for name, number in result["versions"].items()]
        rows.append([f"{TITLES[result['peer']]}, seed {result['seed']}", *cells(result), ", ".join(known)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def accuracy(result: dict) -> float:
    """Returns the test accuracy; minus infinity if the peer failed."""
    return result["test"]["correct"] / result["test"]["n"] if "test" in result else -math.inf


def cells(result: dict) -> list[str]:
    """Returns a result's cells in the table, between those of the peer and the versions."""
    from scipy.stats import binomtest  # needed for the table only; a peer's environment may lack it

    used = [f"{result['seconds'] / 60:.1f}", f"{result['peak_memory_mb'] / 1024:.1f} GB"]
    used.append(f"{result['cores_used']:.1f}")
    if "error" in result:
        return [f"failed: {result['error']}", "", "", *used]
    correct, n = result["test"]["correct"], result["test"]["n"]
    low, high = binomtest(correct, n).proportion_ci(0.95, method="wilson")
    passed = "never" if result["passed_at"] is None else f"{result['passed_at']:.0f} s"
    trials = ", ".join(f"{count} {name}" for name, count in result["trials"].items() if count) or "no search"
    return [f"{correct / n:.4f} [{low:.4f}, {high:.4f}] n={n:,}", passed, trials, *used]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (FileNotFoundError, ValueError) as error:
        sys.exit(str(error))
