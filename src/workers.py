"""Runs one search in several processes, each with notebook 03, on this machine or on several.

The trials are shared through the storage: on one machine SQLite in the run's folder, across several a
database server whose address is in the environment variable STORAGE_URL. A process that dies is restarted;
until then its trial waits, or another process takes it over and resumes after its last complete epoch.
"""

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from src.pipeline import read_settings, run_notebook
from src.running.commands import check_place, run_command
from src.running.locks import hold
from src.running.resources import count_gpus

RESTARTS = 20  # of each process: a server that is unreachable for minutes costs several
PAUSE = 10.0  # seconds before a process is restarted


def worker_environment(number: int, workers: int) -> dict[str, str]:
    """Returns environment variables for one of several processes: its GPU, or its share of the cores.

    Args:
        number: index of the process, from 0.
        workers: number of processes on this machine.
    """
    environment = {"PYTHONUNBUFFERED": "1"}
    if "CUDA_VISIBLE_DEVICES" in os.environ:  # only these; empty or -1 means none
        named = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
        gpus = [name for name in named if name and not name.startswith("-")]
    else:
        gpus = [str(index) for index in range(count_gpus())]
    if gpus:
        return {**environment, "CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]}
    cores = str(max(1, (os.cpu_count() or 1) // workers))
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        environment[name] = os.environ.get(name, cores)
    return environment


class Worker:
    """One process, whose output lines are prefixed with its name, and which is restarted if it fails."""

    def __init__(self, command: list[str], name: str, environment: dict[str, str]):
        """Starts the process."""
        self.command, self.name = command, name
        self.environment = {**os.environ, **environment}
        self.restarts, self.again_at = 0, 0.0
        self._start()

    def _start(self) -> None:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
        self.process = subprocess.Popen(self.command, env=self.environment, **pipes)
        threading.Thread(target=self._pass_on, args=(self.process.stdout,), daemon=True).start()

    def _pass_on(self, lines: Iterable[str]) -> None:
        for line in lines:
            with suppress(OSError, ValueError):  # nobody reads them any more; unread, the process would wait
                sys.stdout.write(f"{self.name}: {line}")
                sys.stdout.flush()

    def is_over(self) -> bool:
        """Returns whether the process has ended for good; one that failed is restarted after a pause."""
        code = self.process.poll()
        if code is None:
            return False
        if code == 0 or self.restarts == RESTARTS:
            return True
        if not self.again_at:
            self.again_at = time.monotonic() + PAUSE
            self._pass_on([f"ended with code {code}; started again in {PAUSE:g} s\n"])
        if time.monotonic() >= self.again_at:
            self.restarts, self.again_at = self.restarts + 1, 0.0
            self._start()
        return False


def run_workers(arguments: list[str], run: Path, workers: int) -> int:
    """Returns the exit code of several processes that search together: 0 if all of them succeeded.

    Args:
        arguments: this module's command-line arguments for each process.
        run: the run's folder.
        workers: number of processes.
    """
    host = re.sub(r"[^A-Za-z0-9.-]", "_", platform.node())
    command = [sys.executable, "-m", "src.workers", str(run), *arguments, "--name"]
    started: list[Worker] = []
    try:
        for number in range(workers):
            name = f"{host}-{number + 1}"
            started.append(Worker([*command, name], name, worker_environment(number, workers)))
        while not all([worker.is_over() for worker in started]):
            time.sleep(0.5)
    finally:
        for worker in started:
            worker.process.terminate()
    return int(any([worker.process.wait() for worker in started]))  # a list: waits for all of them


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code of `python -m src.workers`."""
    parser = argparse.ArgumentParser(prog="python -m src.workers", description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="the run's folder, in which notebooks 01 and 02 have run")
    parser.add_argument("--number", type=int, default=1, help="processes on this machine")
    parser.add_argument("--name", help="of the one process that this call is; without it, it starts them")
    parser.add_argument("--profile", default="gpu")
    parser.add_argument("--data", default="auto")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="instead of the profile's")
    chosen = parser.parse_args(arguments)

    def work() -> int:
        values = read_settings(chosen.profile, chosen.set, chosen.data)
        check_place(chosen.run)
        if chosen.number < 1:
            raise ValueError(f"--number is {chosen.number}; give 1 or more")
        if (tuner := values.get("tuner", "optuna")) != "optuna":
            raise ValueError(f"tuner is '{tuner}', which one process runs alone: make run, or tuner=optuna")
        if chosen.name:
            place = chosen.run / "workers"
            with hold(held := place / f"{chosen.name}.{os.getpid()}"):
                output = place / f"{chosen.name}.ipynb"
                run_notebook("03_tuning", output, {**values, "run": chosen.run.name})
            shutil.rmtree(held, ignore_errors=True)  # `check_no_workers` may have deleted it
            return 0
        settings = ["--profile", chosen.profile, "--data", chosen.data]
        return run_workers([*settings, "--set", *chosen.set], chosen.run, chosen.number)

    return run_command("the search", chosen.run, work)


if __name__ == "__main__":
    sys.exit(main())
