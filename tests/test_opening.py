"""The test part is opened once a model, and every opening leaves a line."""

import keras
import numpy as np
import pandas as pd
import pytest

from src.features import COLUMNS, load_features, save_features
from src.generators import PictureBatches
from src.results import opening
from src.results.opening import open_test
from src.runs import save_model, write_json, write_table


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run with a model; its test part is 40 bright and dark squares that are served from memory."""
    codes = np.arange(40) % 2
    pixels = np.repeat((codes * 200).astype("uint8"), 8 * 8 * 3).reshape(40, 8, 8, 3)
    names = [f"{number}.jpg" for number in range(40)]
    batches = PictureBatches(pixels, np.arange(40), codes, names, batch_size=16)
    monkeypatch.setattr(opening, "load_batches", lambda run, part, input_file: {"test": batches}[part])
    save_new_model(tmp_path, seed=1)
    features = pd.DataFrame({"image_name": names, "code": codes, "split": "test"})
    write_table(features.reindex(columns=[*COLUMNS, "split"]), tmp_path / "features.csv")
    return tmp_path


def save_new_model(run, seed: int) -> None:
    keras.utils.set_random_seed(seed)
    penalty = keras.regularizers.L2(0.5)
    layers = [keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    layers += [keras.layers.Dense(1, "sigmoid", kernel_regularizer=penalty)]
    model = keras.Sequential(layers)
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    save_model(model, run / "model.keras", {})


def test_a_second_call_reads_the_first_ones_predictions(run, monkeypatch):
    first = open_test(run, run / "model.keras")
    monkeypatch.setattr(opening, "predict_table", lambda *parts: pytest.fail("the test set was opened twice"))
    second = open_test(run, run / "model.keras")
    pd.testing.assert_frame_equal(first.predictions, second.predictions)
    assert first.keras_figures == second.keras_figures
    assert len(second.log) == 1


@pytest.mark.parametrize("cut", ["predict_table", "losses"])
def test_a_look_that_is_cut_off_is_a_line_of_the_log_and_the_next_one_another(cut, run, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(opening, cut, lambda *parts: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            open_test(run, run / "model.keras")
    assert len(pd.read_csv(run / "test_openings.csv")) == 1
    again = open_test(run, run / "model.keras")
    assert len(again.log) == 2 and again.keras_figures


def test_another_model_is_another_line_of_the_log(run, monkeypatch):
    monkeypatch.delenv("NOTEBOOK_RUN", raising=False)
    open_test(run, run / "model.keras")
    save_new_model(run, seed=2)
    monkeypatch.setenv("NOTEBOOK_RUN", "05.ipynb")
    log = open_test(run, run / "model.keras").log
    assert log["model"].nunique() == len(log) == 2
    assert list(log) == ["time", "model", "notebook_run"]
    assert log["notebook_run"].tolist() == ["by hand", "05.ipynb"]
    (run / "test_openings.csv").write_text("")
    with pytest.raises(ValueError, match=r"test_openings\.csv is no table .*; put it right, or delete it"):
        open_test(run, run / "model.keras")


@pytest.mark.parametrize("fingerprint", ["0012345678901234", "123456789012e456"])
def test_a_models_fingerprint_that_looks_like_a_number_stays_as_it_is(run, fingerprint, monkeypatch):
    monkeypatch.setattr(opening, "file_fingerprint", lambda path: fingerprint)
    open_test(run, run / "model.keras")
    assert open_test(run, run / "model.keras").log["model"].tolist() == [fingerprint]


def test_the_loss_is_the_cross_entropy_plus_the_penalties(run):
    predictions, figures, _ = open_test(run, run / "model.keras")
    probability = predictions["probability"].clip(1e-7, 1 - 1e-7)
    by_hand = -np.where(predictions["code"] == 1, np.log(probability), np.log(1 - probability)).mean()
    kernel = keras.models.load_model(run / "model.keras").layers[-1].kernel
    assert figures["cross_entropy"] == pytest.approx(by_hand, abs=1e-6)
    assert figures["penalty"] == pytest.approx(0.5 * float((np.asarray(kernel) ** 2).sum()), rel=1e-5)
    assert figures["loss"] == pytest.approx(figures["cross_entropy"] + figures["penalty"], rel=1e-4)


def test_the_predictions_know_the_groups_that_the_split_was_drawn_by(run):
    assert "group" not in open_test(run, run / "model.keras").predictions
    features = load_features(run / "features.csv")
    features = features.assign(group=features["image_name"].str.replace(".jpg", ""))
    save_features(features[::-1], run / "features.csv")
    predictions = open_test(run, run / "model.keras").predictions
    assert (predictions["group"] + ".jpg" == predictions["image_name"]).all()


@pytest.mark.parametrize(("input_file", "notebook"), [("input.json", "04"), ("transfer/input.json", "06")])
def test_a_network_that_cannot_be_opened_names_the_notebook_that_saved_it(run, input_file, notebook):
    (run / "model.keras").write_text("no network")
    with pytest.raises(ValueError, match=f"no model to be opened: .*; run notebook {notebook} again"):
        open_test(run, run / "model.keras", input_file)


def test_damaged_predictions_that_are_deleted_as_told_are_made_again(run):
    first = open_test(run, run / "model.keras").predictions
    path = next((run / "test").glob("*-predictions.csv"))
    path.write_text("")
    with pytest.raises(ValueError, match=r"predictions\.csv is no table .*; put it right, or delete it"):
        open_test(run, run / "model.keras")
    path.unlink()
    again = open_test(run, run / "model.keras")
    pd.testing.assert_frame_equal(again.predictions, first)
    assert len(again.log) == 2


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model\.keras is missing; run notebook 04"):
        open_test(tmp_path, tmp_path / "model.keras")


@pytest.mark.parametrize("metrics", [None, ["mse"]])
def test_a_model_that_cannot_be_measured_is_not_shown_the_test_part(run, metrics):
    layers = [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(1, "sigmoid")]
    model = keras.Sequential(layers)
    if metrics:
        model.compile("adam", "binary_crossentropy", metrics=metrics)
    save_model(model, run / "model.keras", {})
    with pytest.raises(ValueError, match=r"model\.keras was not compiled with the metric accuracy; run note"):
        open_test(run, run / "model.keras")
    assert not (run / "test_openings.csv").exists()


def test_a_model_of_an_earlier_split_neither_opens_the_test_part_nor_is_read(run):
    for file, name in (("data.json", "fingerprint"), ("model.json", "data_fingerprint")):
        write_json(run / file, {name: "first split"})
    open_test(run, run / "model.keras")
    write_json(run / "data.json", {"fingerprint": "second split"})
    with pytest.raises(ValueError, match="another split"):
        open_test(run, run / "model.keras")
    assert len(pd.read_csv(run / "test_openings.csv")) == 1


@pytest.mark.parametrize("input_file", ["input.json", "transfer/input.json"])
def test_a_model_of_another_picture_size_does_not_open_the_test_part(run, input_file):
    """A network that takes any size would predict, and worse."""
    write_json(run / "model.json", {"image_size": 8})
    write_json(run / input_file, {"image_size": 16})
    with pytest.raises(ValueError, match="takes pictures of image_size 8"):
        open_test(run, run / "model.keras", input_file)
    assert not (run / "test_openings.csv").exists()
