"""The two files that travel: opened without code of ours, and nothing missing from the JSON unnoticed."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from src.networks.saved_model import load_saved_model

pytestmark = pytest.mark.long


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


def test_the_model_opens_in_safe_mode_where_there_is_no_code_of_ours(model_file, tmp_path):
    code = textwrap.dedent("""
        import sys, keras, numpy
        try:
            import src
        except ImportError:
            model = keras.models.load_model(sys.argv[1], safe_mode=True)
            print(model.predict(numpy.zeros((2, 24, 24, 3), "float32"), verbose=0).shape)
    """)
    command = [sys.executable, "-P", "-c", code, str(model_file)]
    bare = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, env=bare, capture_output=True, text=True)
    assert done.stdout.endswith("(2, 1)\n"), done.stderr
