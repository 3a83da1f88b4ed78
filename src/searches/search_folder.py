"""One folder per search with one subfolder per trial: never mixed, and readable even after a kill."""

import hashlib
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import keras
import pandas as pd

from src.running.made_by import training_versions
from src.running.messages import one_line
from src.runs import read_json, replace_text, write_json
from src.searches.callbacks import Deadline, EpochProgress, HistoryFile, StopAtNaN
from src.searches.checkpoints import CHECKPOINT, Checkpoint

logger = logging.getLogger(__name__)

MOST_DEATHS = 5  # in a row; a network that kills its process this often is not tried again
IN_VAIN = f"its process died {MOST_DEATHS} times in a row, and it came no further"


def search_folder(folder: Path, identity: dict) -> Path:
    """Returns the folder of the search with this identity.

    Logs a warning if it is new and others exist, or if it was begun with other code or packages: what is
    trained already is kept then, since most changes alter nothing.
    """
    if isinstance(pictures := identity.get("pictures"), dict):  # the thread count changes no picture
        identity = {**identity, "pictures": {name: pictures[name] for name in pictures if name != "workers"}}
    text = json.dumps(identity, sort_keys=True, default=str)
    project = folder / hashlib.sha256(text.encode()).hexdigest()[:8]
    others = [path for path in folder.glob("*/search.json") if path.parent != project]
    now = json.loads(text)
    if others and not project.exists():
        latest = max(others, key=lambda path: path.stat().st_mtime)
        earlier = read_json(latest)
        changed = [key for key in now if now[key] != earlier.get(key)]
        logger.warning(
            "this search or training differs from the last one here (changed: %s): it starts anew in %s, "
            "earlier results stay in %s",
            ", ".join(changed),
            project,
            latest.parent,
        )
    file, versions = project / "search.json", training_versions()
    begun = read_json(file).get("versions", versions) if file.exists() else versions
    if changed := {name for name, _ in begun.items() ^ versions.items()}:
        logger.warning(
            "%s was begun with other code or packages (%s); what is trained already is kept: delete it "
            "to train all anew",
            project,
            ", ".join(sorted(changed)),
        )
    write_json(file, {**now, "versions": begun})
    return project


@contextmanager
def recording(
    folder: Path, title: str, epochs: int, deadline: Deadline, identity: dict | None = None, note: str = ""
) -> Iterator[list[keras.callbacks.Callback]]:
    """Yields the callbacks that watch a trial, and at its end records its size and how long it took.

    Args:
        folder: of the trial.
        title: of its progress display.
        epochs: maximum number of epochs.
        deadline: of the search; it also stops the trial.
        identity: what the trial trains; an interrupted attempt at the same is resumed after its last epoch.
            Without it the trial starts from scratch.
        note: remark recorded with the trial, even if it completes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "record.json").unlink(missing_ok=True)
    history = HistoryFile(folder / "history.csv")
    watching = [EpochProgress(title, epochs), history, deadline, StopAtNaN()]
    if identity is None:
        history.path.unlink(missing_ok=True)
    else:
        watching.append(Checkpoint(folder / CHECKPOINT, history, identity))
    clock, deadline.stopped_at = time.monotonic(), None
    try:
        yield watching
    finally:
        # If it was stopped after its last epoch, nothing is missing.
        stopped_at = None if deadline.stopped_at == epochs else deadline.stopped_at
        seconds = history.earlier + time.monotonic() - clock
        started = datetime.now(UTC) - timedelta(seconds=seconds)  # as if it had never been interrupted
        record = {
            "seconds": round(seconds, 1),
            "parameters": history.parameters,
            "stopped_at": stopped_at,
            "started": started.isoformat(timespec="milliseconds"),
            "note": note,
        }
        write_json(folder / "record.json", record)


@contextmanager
def counting_deaths(folder: Path) -> Iterator[int]:
    """Yields how many times in a row the process of this trial has died before completing an epoch."""
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / "begun.json"  # remains if the process dies
    has_lived = not mark.exists() or (folder / "history.csv").exists()
    deaths = 0 if has_lived else read_json(mark)["deaths"] + 1
    write_json(mark, {"deaths": deaths})
    try:
        yield deaths
    finally:
        mark.unlink(missing_ok=True)


def read_record(folder: Path) -> dict:
    """Returns the record written at the end of a trial; empty if it has not ended."""
    return read_json(folder / "record.json") if (folder / "record.json").exists() else {}


def read_history(folder: Path) -> pd.DataFrame:
    """Returns a trial's epochs, one per row; empty if it was killed before the first one ended."""
    path = folder / "history.csv"
    return pd.read_csv(path) if path.exists() else pd.DataFrame(columns=["execution", "epoch"])


def read_files(folder: Path) -> dict[str, str]:
    """Returns the text files in a trial's folder, by name, for machines without access to it."""
    files = [folder / name for name in ("history.csv", "record.json")]
    return {file.name: file.read_text(encoding="utf-8") for file in files if file.exists()}


def fetch_files(folder: Path, texts: dict[str, str]) -> None:
    """Writes the files that a trial left on another machine, replacing any partial ones left here."""
    for name, text in texts.items():
        if not (folder / name).exists() or (folder / name).read_text(encoding="utf-8") != text:
            replace_text(folder / name, text)


def reason_of(error: BaseException | str) -> str:
    """Returns one line that says what went wrong, from an error or the text of a traceback."""
    if isinstance(error, BaseException):
        return f"{type(error).__name__}: {one_line(str(error))}".removesuffix(": ")[:300]
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    last = lines[-1] if lines else "the objective was not a number"
    return next((line for line in reversed(lines) if "Error" in line), last)[:300]
