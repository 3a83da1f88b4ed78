"""What produced a run: parameters, versions, device, data and code of each notebook, in made_by.json."""

import hashlib
import os
import platform
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from src.config import PROJECT
from src.running.locks import take_turns
from src.runs import read_json, write_json

PACKAGES = ["keras", "tensorflow", "tensorflow-cpu", "tensorflow-tpu", "jax", "torch", "keras-tuner"]
PACKAGES += ["optuna", "numpy", "pandas", "opencv-python-headless", "opencv-python", "pillow"]
PACKAGES += ["scikit-learn", "papermill"]
# In src: what decides how a network is trained.
TRAINING_CODE = ["spaces.py", "model.py", "training.py", "generators.py"]
TRAINING_CODE += ["networks/*.py", "images/*.py", "pretrained/*.py"]


def note_notebook(run: Path, facts: dict[str, Any]) -> None:
    """Records what produces this notebook in the run's `made_by.json`, replacing its earlier entry.

    Args:
        run: the run's folder.
        facts: what the caller knows, such as device and precision.
    """
    path = run / "made_by.json"
    name, data = notebook_name(), run / "data.json"  # notebook 01 will write another one
    known = read_json(data) if data.exists() and not name.startswith("01") else {}
    entry = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": os.environ.get("RUN_COMMAND", "by hand"),
        "parameters": notebook_settings(),
        "data_fingerprint": known.get("fingerprint", ""),
        "code": code_version(),
        "python": platform.python_version(),
        "packages": package_versions(),
        **facts,
    }
    with take_turns(path):  # several workers begin notebook 03 at once
        write_json(path, {**(read_json(path) if path.exists() else {}), name: entry})


def notebook_name() -> str:
    """Returns the name of the notebook that this kernel runs, as far as it can be determined."""
    return Path(os.environ.get("NOTEBOOK_RUN") or os.environ.get("JPY_SESSION_NAME") or "by hand").stem


def notebook_settings() -> dict[str, Any]:
    """Returns the notebook's parameters: the plain values in its namespace, when it has just started."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return {
        name: value
        for name, value in (shell.user_ns if shell else {}).items()
        if not name.startswith("_") and type(value) in (bool, int, float, str)
    }


def package_versions() -> dict[str, str]:
    """Returns the versions of the installed packages that a result may depend on."""
    found = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def training_versions() -> dict[str, str]:
    """Returns what a trained network depends on besides its settings: packages' versions, hashes of files."""
    files = [file for pattern in TRAINING_CODE for file in sorted((PROJECT / "src").glob(pattern))]
    hashes = {str(f.relative_to(PROJECT)): hashlib.sha256(f.read_bytes()).hexdigest()[:8] for f in files}
    return {**package_versions(), **hashes}


def unsuitable_packages() -> list[str]:
    """Returns a sentence for each installed package whose version `requirements.txt` does not allow.

    A hosted runtime brings its own versions; packages that it lacks are not checked here.
    """
    sentences, file = [], PROJECT / "requirements.txt"
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        if wanted := line.partition("#")[0].strip():
            requirement = Requirement(wanted)
            with suppress(PackageNotFoundError):
                if not requirement.specifier.contains(found := version(requirement.name), prereleases=True):
                    remedy = f'pip install "{requirement}", then restart the kernel'
                    sentences.append(f"{requirement.name} {found} may not do: {remedy}")
    return sentences


def code_version() -> str:
    """Returns the commit of this code, followed by "and changes" if it was modified; "" without git."""

    def ask(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=PROJECT, capture_output=True, text=True).stdout.strip()

    try:
        commit = ask("rev-parse", "HEAD")
        return f"{commit} and changes" if commit and ask("status", "--porcelain") else commit
    except OSError:
        return ""
