"""The exported file predicts what the network predicts, or is not kept."""

from pathlib import Path

import keras
import numpy as np
import pytest

from src import export
from src.export import FORMATS, export_model, main
from src.images.preprocessing import preprocess

pytestmark = pytest.mark.long


def pretend(monkeypatch, answer) -> None:
    """Puts a stand-in for Keras's own writing, and `answer` for what runs the file."""

    def write(self, path, **options):
        Path(path).write_bytes(b"a file")

    monkeypatch.setattr(keras.Model, "export", write)
    monkeypatch.setitem(export.FORMATS, "onnx", FORMATS["onnx"]._replace(run=answer))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "needed"),
    [("onnx", ["tf2onnx", "onnxruntime"]), ("litert", ["tensorflow", "ai_edge_litert"])],
)
@pytest.mark.filterwarnings("ignore")
def test_an_exported_file_gives_the_networks_probabilities(model_file, kind, needed):
    for package in needed:
        pytest.importorskip(package)
    path, distance = export_model(model_file, kind)
    assert distance <= 1e-4
    pictures = preprocess(np.random.default_rng(5).integers(0, 256, (7, 24, 24, 3), dtype="uint8"))
    wanted = keras.models.load_model(model_file).predict(pictures, verbose=0)
    assert np.ptp(wanted) > 1e-3
    np.testing.assert_allclose(FORMATS[kind].run(path, pictures), wanted, atol=1e-4)
    assert {file.name for file in path.parent.iterdir()} == {"model.keras", "model.json", path.name}


def test_a_file_that_predicts_something_else_is_not_kept(model_file, monkeypatch):
    network = keras.models.load_model(model_file, compile=False)
    pretend(monkeypatch, lambda path, pictures: network.predict_on_batch(pictures) + 2e-4)
    with pytest.raises(ValueError, match=r"0\.0002 from the network's; it is not kept"):
        export_model(model_file, "onnx")
    pretend(monkeypatch, lambda path, pictures: network.predict_on_batch(pictures) * np.nan)
    with pytest.raises(ValueError, match="nan from the network's"):
        export_model(model_file, "onnx")
    assert {file.name for file in model_file.parent.iterdir()} == {"model.keras", "model.json"}


def test_a_file_that_predicts_nearly_the_same_is_kept_and_how_nearly_is_told(model_file, monkeypatch, capsys):
    network = keras.models.load_model(model_file, compile=False)

    def answer(path, pictures):
        assert path.suffix == ".onnx" and path.read_bytes() == b"a file"
        return network.predict_on_batch(pictures) + 5e-5

    pretend(monkeypatch, answer)
    assert main([str(model_file), "--format", "onnx"]) == 0
    assert "at most 5.0e-05 from the network's probabilities" in capsys.readouterr().out
    assert model_file.with_suffix(".onnx").read_bytes() == b"a file"


def test_a_file_that_takes_the_colours_for_others_is_not_kept(model_file, monkeypatch):
    network = keras.models.load_model(model_file, compile=False)
    bias = network.get_layer("network_1").get_layer("probability").bias
    bias.assign(bias - 4.0)  # nearly sure of one class: of white noise all files would say the same
    network.save(model_file)
    pretend(monkeypatch, lambda path, pictures: network.predict_on_batch(pictures[..., ::-1]))
    with pytest.raises(ValueError, match="from the network's; it is not kept"):
        export_model(model_file, "onnx")


def test_a_file_that_does_not_run_names_the_other_format(model_file, monkeypatch):
    def fail(path, pictures):
        raise RuntimeError("INVALID_GRAPH")

    pretend(monkeypatch, fail)
    with pytest.raises(ValueError, match="does not run, and is not kept: INVALID_GRAPH; try --format litert"):
        export_model(model_file, "onnx")


def test_without_what_runs_it_a_file_is_kept_and_said_to_be_unproven(model_file, monkeypatch, capsys):
    def missing(path, pictures):
        raise ModuleNotFoundError("No module named 'onnxruntime'")

    pretend(monkeypatch, missing)
    assert main([str(model_file), "--format", "onnx"]) == 0
    assert "not compared with the network: pip install tf2onnx onnxruntime" in capsys.readouterr().out
    assert model_file.with_suffix(".onnx").read_bytes() == b"a file"


def test_what_cannot_be_written_names_what_to_install(model_file, monkeypatch, capsys):
    def fail(self, path, **options):
        raise ImportError("No module named 'onnx'")

    monkeypatch.setattr(keras.Model, "export", fail)
    assert main([str(model_file)]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("onnx cannot be written with ")
    assert "No module named 'onnx'; pip install tf2onnx onnxruntime" in line


def test_an_unknown_format_is_named(model_file):
    with pytest.raises(ValueError, match="format is 'pickle'; choose one of onnx, litert"):
        export_model(model_file, "pickle")


def test_ctrl_c_ends_it_without_a_traceback(model_file, monkeypatch, capsys):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "export_model", stop)
    assert main([str(model_file)]) == 130
    assert capsys.readouterr().err == ""
