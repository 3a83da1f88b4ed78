"""The doors through which files of strangers come in, and a watch at each of them.

A reader takes what was given and the one folder that it may write to, and returns something short to compare.
`watched` ends a reader that hangs, writes elsewhere, starts a program or unpickles; `fault_of` says what is
wrong with a refusal.
"""

import functools
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from src import data, features, pipeline, runs
from src.config import Paths
from src.datasets import archives
from src.generators import load_batches
from src.images.pictures import read_picture
from src.results import opening

WRITING = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC
# Audit events (Python's table of them) of which each argument named here is a path that changes.
CHANGES = {"os.mkdir": [0], "os.remove": [0], "os.rmdir": [0], "os.rename": [0, 1], "os.symlink": [1]}
CHANGES |= {"os.link": [1], "os.truncate": [0], "os.chmod": [0], "os.utime": [0], "shutil.rmtree": [0]}
FORBIDDEN = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "pickle.find_class"}
FORBIDDEN |= {"socket.connect", "marshal.load"}
LONGEST_MESSAGE = 3_000

allowed_now: list[str] = []  # the folder that may be written to while a reader is watched


class BrokenRuleError(BaseException):
    """A reader did what it must not; no `except Exception` of the code under test can hide it."""


def look(event: str, arguments: tuple) -> None:
    """The audit hook: Python calls it before each open, rename, start of a program, ..."""
    if not allowed_now:
        return
    if event in FORBIDDEN:
        raise BrokenRuleError(f"{event} {arguments!r:.200}")
    if event == "open":
        changed = [arguments[0]] if (arguments[2] or 0) & WRITING else []
    else:
        # With a dir_fd, the last argument, the name is relative to a folder that was judged when opened.
        inside = event in ("os.remove", "os.rmdir", "os.mkdir") and arguments[-1] not in (-1, None)
        changed = [] if inside else [arguments[place] for place in CHANGES.get(event, [])]
    for path in changed:
        if not isinstance(path, int) and not is_allowed(os.fsdecode(path)):
            raise BrokenRuleError(f"{event} {arguments!r:.200}")


def is_allowed(path: str) -> bool:
    if path == os.devnull or "__pycache__" in path:  # Python keeps what it has compiled of an import
        return True
    return Path(os.path.realpath(path)).is_relative_to(allowed_now[0])


sys.addaudithook(look)


@contextmanager
def watched(allowed: Path, seconds: float = 10.0) -> Iterator[None]:
    """Raises BrokenRuleError where more than `seconds` pass, or something outside `allowed` is changed."""

    def stop(*_: object) -> None:
        raise BrokenRuleError(f"no end after {seconds} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    allowed_now[:] = [os.path.realpath(allowed)]
    try:
        with patch.dict(os.environ, HEADLESS="1", TMPDIR=str(allowed)), patch("tempfile.tempdir", None):
            yield
    finally:
        allowed_now.clear()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def fault_of(error: Exception, name: str) -> str:
    """Returns what is wrong with a refusal, "" where it is one line that names the file and a remedy."""
    text = str(error)
    if not isinstance(error, ValueError | OSError):
        return f"an error of an unnamed kind, {type(error).__name__}: {text[:300]}"
    if len(text.splitlines()) != 1 or len(text) > LONGEST_MESSAGE:
        return f"not one line: {text[:300]!r}"
    if name not in text:
        return f"{name} is not named: {text[:300]}"
    # By the house's style the remedy follows the fault: "...; run notebook 01 again".
    return "" if "; " in text or "left out of every data set" in text else f"no remedy: {text[:300]}"


def read_archive(given: Path, allowed: Path) -> list[str]:
    folder = archives.unpack(given, allowed / "unpacked" / "z")
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def read_data(given: Path, allowed: Path) -> str:
    paths = Paths(allowed / "input", allowed / "data", allowed / "output")
    return data.find_data(str(given), paths).name.rpartition("-")[0]  # without the fingerprint


def read_one_picture(given: Path, allowed: Path) -> tuple:
    picture = read_picture(given)
    return (*picture.shape, picture.dtype.name)


def read_pictures(given: Path, allowed: Path) -> dict[str, int]:
    table = features.split_features(features.extract_features(given))
    return table["split"].value_counts().to_dict()


def read_run(given: Path, allowed: Path) -> tuple:
    """Of a run's folder with its cache below it: shape of the first training batch, number of batches."""
    with patch.dict(os.environ, DATA_ROOT=str(given)):
        batches = load_batches(given, "train", training=True)
        return batches[0][0].shape, len(batches)


def read_table(given: Path, allowed: Path) -> list[str]:
    table = features.load_features(given)
    features.check_split(table, str(given))
    return features.class_names(table)


@functools.cache
def parameters_of(name: str) -> dict[str, object]:
    """Returns a real notebook's parameters, also while the profiles are looked for elsewhere."""
    notebooks = Path(pipeline.__file__).parents[1] / "notebooks"
    with patch.object(pipeline, "NOTEBOOKS", notebooks):
        return real_parameters(name)


real_parameters = pipeline.notebook_parameters


def read_profile(given: Path, allowed: Path) -> dict[str, object]:
    """Of a file in a folder `profiles`."""
    with (
        patch.object(pipeline, "NOTEBOOKS", given.parents[1]),
        patch.object(pipeline, "notebook_parameters", parameters_of),
    ):
        return without_data(pipeline.read_settings(given.stem, []))


def read_settings(given: Path, allowed: Path) -> dict[str, object]:
    """Of a file with one `name=value` a line, laid over the profile that has nothing of its own."""
    text = given.read_bytes().decode("utf-8", "surrogateescape")  # as Python reads a command line
    with patch.object(pipeline, "notebook_parameters", parameters_of):
        return without_data(pipeline.read_settings("gpu", text.splitlines()))


def without_data(values: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if (name, value) != ("data", "auto")}


def read_json(given: Path, allowed: Path) -> dict:
    return runs.read_json(given)


def read_model(given: Path, allowed: Path) -> int:
    """Of a run's folder with its model: how many pictures it was measured on."""
    with patch.dict(os.environ, DATA_ROOT=str(given)):
        return len(opening.open_test(given, given / "model.keras").predictions)


READERS = {
    "archive": read_archive,
    "data": read_data,
    "picture": read_one_picture,
    "pictures": read_pictures,
    "run": read_run,
    "table": read_table,
    "profile": read_profile,
    "settings": read_settings,
    "json": read_json,
    "model": read_model,
}
