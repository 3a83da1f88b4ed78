"""Nothing is missing unnoticed from the JSON beside a model; test_ensemble opens one without our code."""

import json

import pytest

from src.networks.saved_model import load_saved_model


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"class_names": None}, "lacks class_names"),
        ({"image_size": None}, "lacks image_size"),
        ({"interpolation": None}, "lacks interpolation"),
        ({"preprocessing": None}, "lacks preprocessing"),
        ({"class_names": ["cat"]}, r"class_names is \['cat'\]; wanted are two texts"),
        ({"image_size": "24"}, "image_size is '24'"),
        ({"image_size": True}, "image_size is True"),
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
