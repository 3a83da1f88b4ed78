"""A saved model on a folder: the training pictures' way, a row for every picture, Keras and OpenCV alone."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest

from src import predict
from src.evaluation import predict_table
from src.features import save_features, split_features
from src.generators import load_batches
from src.images.augmentation import Augmentation
from src.images.cache import extract_and_cache
from src.images.files import natural_order
from src.networks.saved_model import load_saved_model
from src.predict import Prediction, list_pictures, main, predict_pictures
from src.runs import save_model, write_json

pytestmark = pytest.mark.long

PROJECT = Path(__file__).resolve().parents[1]
SIDE = 24
FACTS = {"class_names": ["cat", "dog"], "image_size": SIDE, "interpolation": "area"}

# Packages that no package of these needs cannot be imported.
ONLY = """
import re, runpy, sys
from importlib.metadata import distribution, distributions, packages_distributions

def needs(name, seen):
    name = re.sub(r"[-_.]+", "-", name).lower()
    if name in there and name not in seen:
        seen.add(name)
        for line in distribution(name).requires or []:
            if "extra ==" not in line:
                needs(re.match(r"[\\w.-]+", line)[0], seen)
    return seen

OPENCV = "opencv-python", "opencv-python-headless"
there = {re.sub(r"[-_.]+", "-", found.name).lower() for found in distributions()}
allowed = set()
for name in ("keras", "tensorflow", "tensorflow-cpu", "jax", "torch", *OPENCV, "numpy"):
    needs(name, allowed)
blocked = {
    package for package, names in packages_distributions().items()
    if not any(re.sub(r"[-_.]+", "-", name).lower() in allowed - {"pillow"} for name in names)
}  # some releases of TensorFlow bring TensorBoard, and that brings Pillow

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}: it is not installed here")

sys.meta_path.insert(0, Blocker())
assert {"pandas", "scipy", "sklearn", "PIL", "matplotlib", "keras_tuner", "optuna", "tqdm"} <= blocked
assert {"papermill", "yaml", "filelock"} <= blocked
assert not {"pandas", "scipy", "PIL"} & set(sys.modules)
sys.argv[0] = "predict"
runpy.run_module("src.predict", run_name="__main__")
"""


def draw_folder(folder: Path) -> Path:
    """Twelve pictures of each class, smaller and larger than the squares; one broken, two without labels."""
    (folder / "test1").mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(24):
        height, width = random.integers(10, 70, 2)
        coarse = random.integers(0, 256, (4, 5, 3), dtype="uint8")
        name = f"{'cat' if number % 2 else 'dog'}.{number}.{'png' if number % 3 else 'jpg'}"
        cv2.imwrite(str(folder / name), cv2.resize(coarse, (int(width), int(height))))
    (folder / "broken.jpg").write_bytes((folder / "dog.0.jpg").read_bytes()[:-30])
    (folder / "notes.txt").write_text("no picture")
    cv2.imwrite(str(folder / "test1" / "10.jpg"), coarse)
    cv2.imwrite(str(folder / "test1" / "2.jpg"), coarse)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return draw_folder(tmp_path_factory.mktemp("pictures") / "all")


@pytest.fixture(scope="module")
def model_file(tmp_path_factory) -> Path:
    """A network of the sizes None, with random weights that tell pictures apart."""
    keras.utils.set_random_seed(1)
    pictures = keras.Input((None, None, 3))
    wide = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(keras.layers.Rescaling(1 / 64)(pictures))
    answer = keras.layers.Dense(1, "sigmoid")(keras.layers.GlobalAveragePooling2D()(wide))
    path = tmp_path_factory.mktemp("model") / "model.keras"
    save_model(keras.Model(pictures, answer), path, FACTS)
    return path


def read_table(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def damaged(model_file: Path, place: Path, **facts) -> Path:
    """A copy of the model with other facts; None leaves one out."""
    copy = place / "other.keras"
    copy.write_bytes(model_file.read_bytes())
    said = json.loads(model_file.with_suffix(".json").read_text())
    kept = {name: value for name, value in {**said, **facts}.items() if value is not None}
    copy.with_suffix(".json").write_text(json.dumps(kept))
    return copy


@pytest.mark.parametrize("interpolation", ["area", "nearest"])
def test_a_picture_goes_the_way_that_the_training_pictures_went(
    folder, model_file, tmp_path, monkeypatch, interpolation
):
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    table = split_features(extract_and_cache(folder, tmp_path / "cache", SIDE, interpolation))
    save_features(table, tmp_path / "features.csv")
    cache = next((tmp_path / "cache").iterdir()).name
    settings = {"cache": cache, "image_size": SIDE, "interpolation": interpolation}
    settings.update(first_image_size=0, batch_size=5, epoch_fraction=1.0, seed=1, workers=1)
    write_json(tmp_path / "input.json", {**settings, "augmentation": Augmentation().__dict__})
    saved = load_saved_model(damaged(model_file, tmp_path, interpolation=interpolation))
    wanted = {}
    for part in ("train", "validation", "test"):
        told = predict_table(saved.network, load_batches(tmp_path, part))
        wanted.update(zip(told["image_name"], told["probability"], strict=True))
    found = {name: probability for name, probability, _ in predict_pictures(saved, list_pictures(folder))}
    assert len(wanted) == 24 and max(wanted.values()) - min(wanted.values()) > 0.05
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, abs=1e-6)


def test_a_process_with_keras_opencv_and_numpy_alone_prints_the_same_table(folder, model_file, capsys):
    assert main([str(model_file), str(folder)]) == 0
    here = capsys.readouterr()
    command = [sys.executable, "-c", ONLY, str(model_file), str(folder)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert read_table(done.stdout) == read_table(here.out)
    assert "broken.jpg cannot be read, probability 0.5: truncated or damaged" in done.stderr


def test_every_picture_is_a_row_in_the_order_of_its_number(folder, model_file, capsys):
    assert main([str(model_file), str(folder)]) == 0
    printed = capsys.readouterr()
    header, *rows = read_table(printed.out)
    assert header == ["image_name", "probability", "label"]
    cats = [f"cat.{k}.{'png' if k % 3 else 'jpg'}" for k in range(1, 24, 2)]
    dogs = [f"dog.{k}.{'png' if k % 3 else 'jpg'}" for k in range(0, 24, 2)]
    assert [row[0] for row in rows] == ["broken.jpg", *cats, *dogs, "test1/2.jpg", "test1/10.jpg"]
    assert rows[0] == ["broken.jpg", "0.50000000", ""]
    for _, probability, label in rows[1:]:
        assert label == ("dog" if float(probability) > 0.5 else "cat")
    assert "ignored, not pictures by their names (1): notes.txt" in printed.err
    assert printed.err.count("broken.jpg cannot be read, probability 0.5: truncated") == 1
    assert printed.err.count("cannot be read") == 1
    assert "\n27 of 27 pictures\n" in printed.err


def test_a_batch_at_a_time_is_in_memory(folder, model_file, monkeypatch):
    read, decode = [], predict.decode_picture

    def note(data):
        read.append(len(data))
        return decode(data)

    monkeypatch.setattr(predict, "decode_picture", note)
    monkeypatch.setattr(predict, "BATCH_SIZE", 4)
    files = list_pictures(folder)
    one_by_one = predict_pictures(load_saved_model(model_file), files)
    next(one_by_one)
    assert len(read) == 4
    assert len(list(one_by_one)) == len(files) - 1


def test_a_linked_folder_a_pipe_and_a_file_that_went_away_are_rows_too(folder, model_file, tmp_path):
    (tmp_path / "link.jpg").symlink_to(folder, target_is_directory=True)
    os.mkfifo(tmp_path / "pipe.jpg")
    files = [*list_pictures(tmp_path), ("gone.jpg", tmp_path / "gone.jpg")]
    told = [(name, probability, reason) for name, probability, reason in predict_pictures(
        load_saved_model(model_file), files
    )]  # fmt: skip
    assert told == [
        ("link.jpg", 0.5, "a linked folder: not followed"),
        ("pipe.jpg", 0.5, "not a regular file"),
        ("gone.jpg", 0.5, "unreadable: No such file or directory"),
    ]


def test_hidden_files_are_no_pictures(folder, tmp_path):
    for name in ("1.jpg", "._1.jpg", "__MACOSX/1.jpg", ".cache/2.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((folder / "dog.0.jpg").read_bytes())
    assert [name for name, _ in list_pictures(tmp_path)] == ["1.jpg"]


def test_names_are_counted_as_people_count():
    names = ["b/1.jpg", "10.jpg", "a10b2.jpg", "2.jpg", "a10b10.jpg", "a9.jpg", "02.jpg"]
    expected = ["02.jpg", "2.jpg", "10.jpg", "a9.jpg", "a10b2.jpg", "a10b10.jpg", "b/1.jpg"]
    assert sorted(names, key=natural_order) == expected


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("model", "none.keras is missing; give the .keras file that notebook 04 or 06 saved"),
        ("json", "other.json is missing; it says what other.keras expects"),
        ("text", "other.json: Expecting value"),
        ("folder", "nowhere is not a folder"),
        ("pictures", "empty holds no pictures among 1 files; wanted are .bmp"),
        ("network", "other.keras is no model to be opened"),
        ("size", "other.keras makes (None, 1) of (None, 16, 16, 3)"),
    ],
)
def test_what_is_missing_is_one_line_and_exit_code_1(folder, model_file, tmp_path, missing, words, capsys):
    model, place = damaged(model_file, tmp_path), folder
    if missing == "model":
        model = tmp_path / "none.keras"
    elif missing == "json":
        model.with_suffix(".json").unlink()
    elif missing == "text":
        model.with_suffix(".json").write_text("")
    elif missing == "folder":
        place = tmp_path / "nowhere"
    elif missing == "pictures":
        place = tmp_path / "empty"
        place.mkdir()
        (place / "notes.txt").write_text("no picture")
    elif missing == "network":
        model.write_bytes(b"no zip")
    elif missing == "size":
        fixed = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Flatten(), keras.layers.Dense(1)])
        fixed.save(model)
    assert main([str(model), str(place)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    line = printed.err.splitlines()[-1]
    assert words in line, printed.err


def test_a_network_that_gives_no_probabilities_is_refused(folder, model_file, tmp_path):
    linear = keras.Sequential([keras.Input((SIDE, SIDE, 3)), keras.layers.Flatten(), keras.layers.Dense(1)])
    path = damaged(model_file, tmp_path)
    linear.save(path)
    with pytest.raises(ValueError, match="no probabilities"):
        list(predict_pictures(load_saved_model(path), list_pictures(folder)))


def test_ctrl_c_ends_it_without_a_traceback(folder, model_file, monkeypatch, capsys):
    def stop(files):
        raise KeyboardInterrupt

    monkeypatch.setattr(predict, "load_saved_model", stop)
    assert main([str(model_file), str(folder)]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_half_a_probability_is_no_vote_for_class_1():
    assert predict.name_label(Prediction("1.jpg", 0.5, ""), ["cat", "dog"]) == "cat"
    assert predict.name_label(Prediction("1.jpg", 0.500001, ""), ["cat", "dog"]) == "dog"


def test_a_reader_that_has_seen_enough_ends_it_quietly(folder, model_file, monkeypatch, capsys):
    reader, writer = os.pipe()
    os.close(reader)  # as `head` does
    with os.fdopen(writer, "w") as stdout:  # closing it writes what is left
        monkeypatch.setattr(sys, "stdout", stdout)
        assert main([str(model_file), str(folder)]) == 1
    assert "broken" not in capsys.readouterr().err.lower()


@pytest.mark.parametrize(("bias", "label"), [(-200.0, "cat"), (200.0, "dog")])
def test_a_network_may_be_sure_to_the_last_bit(bias, label, folder, model_file, tmp_path, capsys):
    given = keras.Input((SIDE, SIDE, 3))
    last = keras.layers.Dense(1, "sigmoid", bias_initializer=keras.initializers.Constant(bias))
    path = damaged(model_file, tmp_path)
    keras.Model(given, last(keras.layers.GlobalAveragePooling2D()(given * 0.0))).save(path)
    assert main([str(path), str(folder / "test1")]) == 0
    probability = "1.00000000" if label == "dog" else "0.00000000"
    assert read_table(capsys.readouterr().out)[1:] == [
        [name, probability, label] for name in ("2.jpg", "10.jpg")
    ]


def test_names_of_any_script_are_printed_whatever_the_terminal_speaks(
    folder, model_file, tmp_path, monkeypatch
):
    (tmp_path / "кот.jpg").write_bytes((folder / "dog.0.jpg").read_bytes())
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding="ascii"))
    assert main([str(model_file), str(tmp_path)]) == 0
    assert printed.getvalue().decode("utf-8").splitlines()[1].startswith("кот.jpg,0.")
