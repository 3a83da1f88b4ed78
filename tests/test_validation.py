"""Validation predictions are made once a model, of every picture, whatever the run's epochs are."""

import keras
import numpy as np
import pandas as pd
import pytest

from src.generators import PictureBatches
from src.results import validation
from src.results.validation import validation_predictions
from src.runs import file_fingerprint, save_model, write_json


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run with a model, whose validation part is served as the published profile does: 1/4, shuffled."""
    codes = np.arange(40) % 2
    pixels = np.repeat((codes * 200).astype("uint8"), 8 * 8 * 3).reshape(40, 8, 8, 3)
    names = [f"{number}.jpg" for number in range(40)]

    def serve(run, part):
        assert part == "validation"
        return PictureBatches(
            pixels, np.arange(40), codes, names, batch_size=4, shuffle=True, epoch_fraction=0.25
        )

    monkeypatch.setattr(validation, "load_batches", serve)
    save_new_model(tmp_path, seed=1)
    return tmp_path


def save_new_model(run, seed: int) -> None:
    keras.utils.set_random_seed(seed)
    layers = [keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    model = keras.Sequential([*layers, keras.layers.Dense(1, "sigmoid")])
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    save_model(model, run / "model.keras", {})


@pytest.mark.parametrize("fingerprint", ["89abcdef01234567", "0012345678901234"])  # a number, it seems
def test_every_picture_is_predicted_once_and_a_second_call_reads(run, fingerprint, monkeypatch):
    monkeypatch.setattr(validation, "file_fingerprint", lambda path: fingerprint)
    first = validation_predictions(run, run / "model.keras")
    assert first["image_name"].tolist() == [f"{number}.jpg" for number in range(40)]
    monkeypatch.setattr(validation, "predict_table", lambda *parts: pytest.fail("predicted again"))
    second = validation_predictions(run, run / "model.keras")
    pd.testing.assert_frame_equal(first, second)


def test_another_model_or_a_damaged_table_is_predicted_anew(run):
    first = validation_predictions(run, run / "model.keras")
    save_new_model(run, seed=2)
    second = validation_predictions(run, run / "model.keras")
    assert not np.allclose(first["probability"], second["probability"])
    only_names = f"image_name,model\n1.jpg,{file_fingerprint(run / 'model.keras')}\n"
    for damage in ("", "image_name,code\n1.jpg,1\n", only_names, '"'):
        (run / "validation_predictions.csv").write_text(damage)
        pd.testing.assert_frame_equal(validation_predictions(run, run / "model.keras"), second)


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model\.keras is missing; run notebook 04"):
        validation_predictions(tmp_path, tmp_path / "model.keras")


def test_a_model_of_an_earlier_split_is_refused(run):
    for file, name in (("data.json", "fingerprint"), ("model.json", "data_fingerprint")):
        write_json(run / file, {name: file})
    with pytest.raises(ValueError, match="another split"):
        validation_predictions(run, run / "model.keras")


def test_a_model_of_another_picture_size_is_refused(run):
    """A network that takes any size would predict, and worse."""
    write_json(run / "model.json", {"image_size": 8})
    write_json(run / "input.json", {"image_size": 16})
    with pytest.raises(ValueError, match="takes pictures of image_size 8"):
        validation_predictions(run, run / "model.keras")
