"""The sample profile on JAX and on PyTorch: is their test accuracy inside the TensorFlow run's interval?

    python tests/backends.py [--only jax] [--set "NAME=VALUE ..."]

`make test-backends` calls it. Each backend has an environment of its own, `.venv-jax` and `.venv-torch`,
made where it is missing or older than requirements.txt; pip's own settings decide which builds it gets. The
runs are those of `make run`, in the folders sample-tensorflow, sample-jax and sample-torch of the output
folder: one that is there and up to date is not run again, an interrupted one goes on.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.config import find_paths
from src.runs import read_json

PROJECT = Path(__file__).resolve().parents[1]
BACKENDS = ["jax", "torch"]


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 1 where a backend did not run to the end, or ended outside the interval."""
    parser = argparse.ArgumentParser(prog="backends.py", description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=BACKENDS, help="this backend alone, beside TensorFlow")
    parser.add_argument("--set", default="", help="settings laid over the sample profile's, in all the runs")
    chosen = parser.parse_args(arguments)
    reference = run_sample("tensorflow", Path(sys.executable), chosen.set)
    verdicts = [(f"{describe('tensorflow', reference)}", True)]
    for backend in [chosen.only] if chosen.only else BACKENDS:
        try:
            python = make_environment(backend, PROJECT / f".venv-{backend}")
            verdicts.append(judge(backend, run_sample(backend, python, chosen.set), reference))
        except subprocess.CalledProcessError as error:
            verdicts.append((f"{backend}: failed with code {error.returncode}; what it said is above", False))
    sys.stdout.write("\n".join(line for line, _ in verdicts) + "\n")
    return int(not all(good for _, good in verdicts))


def make_environment(backend: str, folder: Path) -> Path:
    """Returns the Python of an environment with requirements.txt and the backend, up to date."""
    python, stamp = folder / "bin" / "python", folder / "installed"
    requirements = PROJECT / "requirements.txt"
    if not stamp.exists() or stamp.stat().st_mtime < requirements.stat().st_mtime:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        install = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*install, "-r", requirements, backend], check=True)
        stamp.touch()
    return python


def run_sample(backend: str, python: Path, settings: str) -> dict:
    """Returns the measures of the sample profile on this backend, by `make run` with this Python.

    Raises:
        CalledProcessError: a notebook failed.
    """
    name = f"sample-{backend}"
    command = ["make", "run", "PROFILE=sample", "DATA=sample", f"RUN={name}", f"SET={settings}"]
    command += [f"PYTHON={python}", "INSTALLED="]
    subprocess.run(command, cwd=PROJECT, env={**os.environ, "KERAS_BACKEND": backend}, check=True)
    return read_json(find_paths().output / name / "metrics.json")


def describe(backend: str, measures: dict) -> str:
    """Returns a backend's test accuracy in words."""
    interval = f"[{measures['low']:.4f}, {measures['high']:.4f}]"
    return f"{backend}: test accuracy {measures['accuracy']:.4f} {interval} n={measures['n']}"


def judge(backend: str, measures: dict, reference: dict) -> tuple[str, bool]:
    """Returns the verdict in words, and whether the accuracy lies inside the reference's 95 % interval."""
    inside = reference["low"] <= measures["accuracy"] <= reference["high"]
    word = "inside" if inside else "OUTSIDE"
    return f"{describe(backend, measures)}, {word} the TensorFlow run's interval", inside


if __name__ == "__main__":
    sys.exit(main())
