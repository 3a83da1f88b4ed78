"""Nothing is missing unnoticed from the JSON beside a model; test_ensemble opens one without our code."""

import json

import keras
import pytest

from src.networks.saved_model import load_saved_model, open_network


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"class_names": None}, "lacks class_names"),
        ({"image_size": None}, "lacks image_size"),
        ({"interpolation": None}, "lacks interpolation"),
        ({"preprocessing": None}, "lacks preprocessing"),
        ({"class_names": ["cat"]}, r"class_names is \['cat'\]; wanted are two texts"),
        ({"class_names": ["cat", 3]}, r"class_names is \['cat', 3\]; wanted are two texts"),
        ({"class_names": "no"}, "class_names is 'no'"),
        ({"image_size": "24"}, "image_size is '24'"),
        ({"image_size": True}, "image_size is True"),
        ({"image_size": 4_097}, "image_size is 4097; wanted is a whole number of pixels"),
        ({"interpolation": "cubic"}, "interpolation 'cubic' is unknown"),
        ({"preprocessing": "none"}, "preprocessing is 'none'"),
    ],
)
def test_a_json_that_lacks_something_is_named(tmp_path, model_facts, facts, words):
    (tmp_path / "model.keras").touch()  # the JSON is read first
    kept = {name: value for name, value in {**model_facts, **facts}.items() if value is not None}
    (tmp_path / "model.json").write_text(json.dumps(kept))
    with pytest.raises(ValueError, match=rf"model\.json: .*{words}.*copy both files once more"):
        load_saved_model(tmp_path / "model.keras")


def test_a_json_of_something_else_is_named(tmp_path):
    (tmp_path / "model.keras").touch()
    (tmp_path / "model.json").write_text('["class_names"]')
    with pytest.raises(ValueError, match=r"model\.json: it holds no names and values; copy both files"):
        load_saved_model(tmp_path / "model.keras")


@pytest.mark.parametrize("side", [16, None])
def test_a_network_may_take_squares_of_its_own_size_or_of_any(side, tmp_path):
    given = keras.Input((side, side, 3))
    answer = keras.layers.Dense(1, "sigmoid")(keras.layers.GlobalAveragePooling2D()(given))
    keras.Model(given, answer).save(tmp_path / "model.keras")
    assert open_network(tmp_path / "model.keras", 16).output_shape == (None, 1)
    if side:
        with pytest.raises(ValueError, match=r"of pictures \(None, 24, 24, 3\); run notebook 04 again"):
            open_network(tmp_path / "model.keras", 24)


def test_a_network_that_was_trained_with_code_of_its_own_predicts_without_it(tmp_path, model_facts):
    def own_loss(codes, probabilities):
        return keras.ops.mean(probabilities - codes)

    given = keras.Input((24, 24, 3))
    answer = keras.layers.Dense(1, "sigmoid")(keras.layers.GlobalAveragePooling2D()(given))
    network = keras.Model(given, answer)
    network.compile(loss=own_loss)
    network.save(tmp_path / "model.keras")
    (tmp_path / "model.json").write_text(json.dumps(model_facts))
    assert load_saved_model(tmp_path / "model.keras").class_names == ["cat", "dog"]
