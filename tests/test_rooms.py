"""The rooms of src: imports run one way, and none is too long to read in one sitting."""

import ast
import graphlib
import re
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[1] / "src"
ROOMS = sorted(room for room in SRC.rglob("*.py") if room.stem != "__init__")


def name_of(room: Path) -> str:
    return ".".join(room.relative_to(SRC.parent).with_suffix("").parts)


def imports(room: Path) -> set[str]:
    """Returns the rooms that one imports, whole (`from src.images import cache`) or in part."""
    nodes = [node for node in ast.walk(ast.parse(room.read_text())) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in nodes if (node.module or "").split(".")[0] == "src"]
    named = {node.module for node in ours} | {
        f"{node.module}.{name.name}" for node in ours for name in node.names
    }
    return named & {name_of(room) for room in ROOMS}


def test_there_is_no_circle_of_imports():
    arrows = {name_of(room): imports(room) for room in ROOMS}
    assert sum(map(len, arrows.values())) > len(ROOMS)  # the arrows were read at all
    assert set(graphlib.TopologicalSorter(arrows).static_order()) == arrows.keys()


@pytest.mark.parametrize("name", ["evaluation", "plots", "config"])
def test_these_rooms_need_nothing_of_ours(name):
    assert imports(SRC / f"{name}.py") == set()


@pytest.mark.parametrize("room", ROOMS, ids=name_of)
def test_a_room_has_at_most_200_lines(room):
    assert len(room.read_text().splitlines()) <= 200


def test_the_map_in_the_readme_names_every_room_beside_its_folder():
    readme = (SRC.parent / "README.md").read_text()
    drawn = readme[readme.index("\nsrc/ ") : readme.index("\ndata/ ")]
    lines, folder = {}, ""
    for line in drawn.splitlines()[2:]:
        if found := re.match(r"  (\w+)/ ", line):  # a folder's rooms follow it, further to the right
            folder = found[1]
        elif re.match(r"  \w", line):
            folder = ""
        lines[folder] = lines.get(folder, "") + line
    missing = [
        name_of(room)
        for room in ROOMS
        if not re.search(rf"\b{room.stem}\b", lines.get("" if room.parent == SRC else room.parent.name, ""))
    ]
    assert missing == []
