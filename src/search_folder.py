"""One folder a search: the same search goes on in its own, another one never mixes with it."""

import hashlib
import json
import logging
from pathlib import Path

from src.runs import read_json, write_json

logger = logging.getLogger(__name__)


def search_folder(folder: Path, identity: dict) -> Path:
    """Returns the folder of the search with this identity, and says where another one lies beside it."""
    text = json.dumps(identity, sort_keys=True, default=str)
    project = folder / hashlib.sha256(text.encode()).hexdigest()[:8]
    others = [path for path in folder.glob("*/search.json") if path.parent != project]
    if others and not project.exists():
        earlier = read_json(max(others, key=lambda path: path.stat().st_mtime))
        now = json.loads(text)
        changed = [key for key in now if now[key] != earlier.get(key)]
        logger.warning(
            "this is another search than the last one here (changed: %s); it starts anew in %s, "
            "the earlier trials stay in %s and are not mixed in",
            ", ".join(changed),
            project,
            max(others, key=lambda path: path.stat().st_mtime).parent,
        )
    write_json(project / "search.json", json.loads(text))
    return project


def check_state(project: Path) -> None:
    """Raises ValueError naming the file where KerasTuner's state was cut short by a kill."""
    for path in [*project.glob("*.json"), *project.glob("trial_*/trial.json")]:
        try:
            json.loads(path.read_text())
        except ValueError as error:
            raise ValueError(
                f"{path} is not whole ({error}); delete {path.parent} and run the search again"
            ) from error
