"""How a command ends: with an exit code, and with one line about whatever stopped it."""

import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from papermill.exceptions import PapermillExecutionError

from src.config import PROJECT, find_paths
from src.running.messages import one_line
from src.running.resources import full_disk, is_full


def run_command(name: str, run: Path, work: Callable[[], int]) -> int:
    """Returns the exit code of `work`, or after a one-line message 130 if interrupted, 1 if it failed.

    The log goes to stdout. SIGTERM ends the command in the same way as Ctrl-C.

    Args:
        name: what the message says was interrupted or stopped, such as the notebook.
        run: the run's folder, whose disk may be full.
        work: what the command does.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO)
    # For the notebooks' kernels, which record it in made_by.json.
    os.environ["RUN_COMMAND"] = shlex.join(["python", "-m", f"src.{Path(sys.argv[0]).stem}", *sys.argv[1:]])
    try:
        return work()
    except (PapermillExecutionError, KeyboardInterrupt) as error:
        # If Ctrl-C reaches the kernel first, it arrives as the error of a cell.
        if getattr(error, "ename", "KeyboardInterrupt") == "KeyboardInterrupt":
            sys.stderr.write(f"{name} was interrupted; the same command goes on where it stopped\n")
            return 130
        sys.stderr.write(f"{name} stopped: {error.ename}: {one_line(error.evalue)}\n")
    except (ValueError, OSError, RuntimeError) as error:  # RuntimeError: another process, or a dead kernel
        sys.stderr.write(f"{full_disk(run) if is_full(error) else one_line(error)}\n")
    return 1


def check_place(run: Path) -> None:
    """Raises ValueError unless the run is in the output folder, where its notebooks would write."""
    if run.resolve().parent != (output := find_paths().output.resolve()):
        raise ValueError(f"{run} is not in {output}; give a run there, or set OUTPUT_ROOT")


def run_module(module: str, *arguments: str) -> float:
    """Returns the seconds that `python -m src.<module>` took; its output goes to this process's stdout."""
    command = [sys.executable, "-m", f"src.{module}", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    started = time.monotonic()
    with subprocess.Popen(command, cwd=PROJECT, **pipes) as process:
        try:
            for line in process.stdout:
                sys.stdout.write(line)
        except BaseException:
            process.terminate()
            raise
    return time.monotonic() - started


@contextmanager
def stderr_into(path: Path) -> Iterator[None]:
    """Redirects stderr of this process and its kernel to a file: mostly TensorFlow's start-up messages."""
    saved = os.dup(2)
    try:
        with path.open("wb") as file:
            os.dup2(file.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
