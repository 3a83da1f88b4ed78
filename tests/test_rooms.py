"""The rooms of src: imports run one way, and none is too long to read in one sitting."""

import ast
import graphlib
import re
from pathlib import Path

import pytest

ROOMS = sorted((Path(__file__).resolve().parents[1] / "src").glob("*.py"))


def imports(room: Path) -> set[str]:
    nodes = [node for node in ast.walk(ast.parse(room.read_text())) if isinstance(node, ast.ImportFrom)]
    of_src = {alias.name for node in nodes if node.module == "src" for alias in node.names}
    return of_src | {node.module[4:] for node in nodes if (node.module or "").startswith("src.")}


def test_there_is_no_circle_of_imports():
    arrows = {room.stem: imports(room) for room in ROOMS}
    assert set(graphlib.TopologicalSorter(arrows).static_order()) == {room.stem for room in ROOMS}


@pytest.mark.parametrize("name", ["evaluation", "plots", "config"])
def test_these_rooms_need_nothing_of_ours(name):
    assert imports(ROOMS[0].with_name(f"{name}.py")) == set()


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.stem)
def test_a_room_has_at_most_200_lines(room):
    assert len(room.read_text().splitlines()) <= 200


def test_the_map_in_the_readme_names_every_room():
    readme = (ROOMS[0].parents[1] / "README.md").read_text()
    drawn = readme[readme.index("\nsrc/\n") : readme.index("\ndata/ ")]
    missing = [room.stem for room in ROOMS if not re.search(rf"\b{room.stem}\b", drawn)]
    assert missing == ["__init__"]
