"""A file that is being replaced is the old one or the new one, and nothing unfinished stays beside it."""

import pytest

from src.running.writing import replacing


@pytest.mark.parametrize("name", ["", "table.partial.npz"])
def test_a_file_is_the_old_one_until_the_block_ends_and_then_the_new_one(tmp_path, name):
    file = tmp_path / "table.npz"
    file.write_text("old")
    with replacing(file, name) as partial:
        partial.write_text("new")
        assert file.read_text() == "old"
        assert partial.parent == tmp_path and (not name or partial.name == name)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"table.npz": "new"}


def test_an_error_leaves_the_old_file_alone(tmp_path):
    file = tmp_path / "table.csv"
    file.write_text("old")
    with pytest.raises(OSError, match="disk full"), replacing(file) as partial:
        partial.write_text("ne")
        raise OSError("disk full")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"table.csv": "old"}
