"""Files of a run are whole or absent, and a missing one says which notebook makes it."""

import json
import os
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from src import runs
from src.images.preprocessing import PREPROCESSING
from src.runs import (
    check_same_data,
    copy_model,
    file_fingerprint,
    read_json,
    save_model,
    write_json,
    write_table,
)


def test_what_is_written_is_read(tmp_path):
    values = {"a": 1, "b": [1.5, "ä"], "c": None}
    others = {"d": np.float32(0.5), "e": np.int64(3), "f": Path("g")}
    write_json(tmp_path / "new" / "file.json", {**values, **others})
    assert read_json(tmp_path / "new" / "file.json") == {**values, "d": 0.5, "e": 3, "f": "g"}


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    write_json(tmp_path / "file.json", {"old": 1})
    monkeypatch.setattr(os, "replace", lambda *names: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_json(tmp_path / "file.json", {"new": 2})
    assert json.loads((tmp_path / "file.json").read_text()) == {"old": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["file.json"]


def test_a_missing_or_broken_file_is_named_with_its_remedy(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"file\.json is missing; run the notebooks before"):
        read_json(tmp_path / "file.json")
    (tmp_path / "file.json").write_text('{"a": ')
    with pytest.raises(ValueError, match=r"file\.json is not readable JSON.*run its notebook again"):
        read_json(tmp_path / "file.json")


def test_a_table_is_a_csv_without_its_index(tmp_path):
    write_table(pd.DataFrame({"a": [1, 2]}, index=[5, 6]), tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text() == "a\n1\n2\n"


def test_a_name_with_a_lone_carriage_return_is_one_row(tmp_path):
    table = pd.DataFrame({"image_name": ["cat/a\rb.jpg", 'cat/"c",\n.jpg'], "code": [0, 1]})
    write_table(table, tmp_path / "table.csv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "table.csv"), table)


def test_a_network_that_may_know_the_pictures_held_back_is_refused(tmp_path):
    write_json(tmp_path / "data.json", {"fingerprint": "now"})
    with pytest.raises(FileNotFoundError, match=r"model\.json is missing"):
        check_same_data(tmp_path / "model.keras", tmp_path)
    write_json(tmp_path / "model.json", {})  # of a network from elsewhere
    check_same_data(tmp_path / "model.keras", tmp_path)
    write_json(tmp_path / "model.json", {"data_fingerprint": "now"})
    check_same_data(tmp_path / "model.keras", tmp_path)
    write_json(tmp_path / "model.json", {"data_fingerprint": "then"})
    with pytest.raises(ValueError, match=r"model\.keras was trained on other .*\(then\).*\(now\).*04 or 06"):
        check_same_data(tmp_path / "model.keras", tmp_path)


@pytest.mark.parametrize(("name", "then"), [("image_size", 64), ("interpolation", "area")])
def test_a_network_is_not_given_pictures_made_otherwise_than_its_own(name, then, tmp_path):
    now = {"image_size": 32, "interpolation": "nearest"}
    write_json(tmp_path / "input.json", now)
    write_json(tmp_path / "model.json", now)
    check_same_data(tmp_path / "model.keras", tmp_path, "input.json")
    write_json(tmp_path / "model.json", {**now, name: then})
    with pytest.raises(
        ValueError, match=f"takes pictures of {name} {then}, .* makes them of {now[name]}; run"
    ):
        check_same_data(tmp_path / "model.keras", tmp_path, "input.json")
    check_same_data(tmp_path / "model.keras", tmp_path)  # read from their files, they are made as it says


def test_a_saved_model_has_its_facts_beside_it_and_opens_in_safe_mode(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    save_model(model, tmp_path / "model.keras", {"class_names": ["cat", "dog"]})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.keras"]
    facts = read_json(tmp_path / "model.json")
    assert len(facts.pop("weights_fingerprint")) == 16
    assert facts == {"class_names": ["cat", "dog"], "preprocessing": PREPROCESSING}
    assert keras.models.load_model(tmp_path / "model.keras", safe_mode=True).count_params() == 5
    assert len(file_fingerprint(tmp_path / "model.keras")) == 16


def test_the_same_model_is_not_saved_as_another_one(tmp_path):
    """The date in a new file would make it a model that has not seen the test part."""
    model, path = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)]), tmp_path / "model.keras"
    save_model(model, path, {"members": ("a", 1.0)})
    first = path.read_bytes()
    save_model(model, path, {"members": ("a", 1.0)})
    assert path.read_bytes() == first
    for damaged in (first[: len(first) // 2], first.replace(b"keras_version", b"keras_vers1on"), b""):
        path.write_bytes(damaged)
        save_model(model, path, {"members": ("a", 1.0)})
        assert path.read_bytes() != damaged and keras.models.load_model(path).count_params() == 5
    save_model(model, path, {"members": ("b", 1.0)})
    assert read_json(tmp_path / "model.json")["members"] == ["b", 1.0]
    model.set_weights([weights + 1 for weights in model.get_weights()])
    save_model(model, path, {"members": ("b", 1.0)})
    for saved, kept in zip(keras.models.load_model(path).get_weights(), model.get_weights(), strict=True):
        assert (saved == kept).all()


@pytest.mark.parametrize("call", range(3))
@pytest.mark.parametrize("how", ["saved", "copied"])
def test_a_kill_never_leaves_a_model_beside_another_ones_facts(how, call, tmp_path, monkeypatch):
    """Killed before the old facts are deleted, before the file is replaced, before its facts are written."""
    old, new = (keras.Sequential([keras.Input((sides,)), keras.layers.Dense(1)]) for sides in (4, 6))
    path, other = tmp_path / "model.keras", tmp_path / "other.keras"
    save_model(old, path, {"weights": 5})
    save_model(new, other, {"weights": 7})
    steps = [(Path, "unlink"), (os, "replace"), (runs, "write_json")]

    def kill(*arguments, **words):
        raise KeyboardInterrupt

    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(*steps[call], kill)
        save_model(new, path, {"weights": 7}) if how == "saved" else copy_model(other, path)
    said = path.with_suffix(".json")
    if said.exists():
        assert read_json(said)["weights"] == keras.models.load_model(path).count_params() == 5
    save_model(new, path, {"weights": 7}) if how == "saved" else copy_model(other, path)
    assert read_json(said)["weights"] == keras.models.load_model(path).count_params() == 7
    assert len(list(tmp_path.iterdir())) == 4, "nothing unfinished stays"
