"""The notebooks as files: clean, short, alike where they should be; and the profiles that set them."""

import ast
import inspect
import re
import subprocess
import sys
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest

from src.model import build_cnn
from src.pipeline import MORE, NOTEBOOKS, STEPS, check_parameters, notebook_parameters, read_profile
from src.runs import read_json, write_json

ALL = ["00_run_all", *STEPS, *MORE]
PROFILES = sorted(path.stem for path in (NOTEBOOKS / "profiles").glob("*.yaml"))


def cells(name: str, kind: str = "code") -> list:
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def setup_cell(name: str) -> str:
    return next(cell.source for cell in cells(name) if "glob" in cell.source)


def address() -> str:
    """Returns where the setup cells fetch the repository from."""
    return re.search(r'git clone -q --depth 1 "(https://[^"]+)" project$', setup_cell(ALL[0]), flags=re.M)[1]


def plain_python(source: str) -> str:
    """Returns the source with shell lines made harmless, so that it can be parsed."""
    return re.sub(r"^(\s*)[!%].*$", r"\1pass", source, flags=re.M)


def test_every_notebook_in_the_folder_is_known_here():
    assert sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")) == ALL


@pytest.mark.parametrize("name", ALL)
def test_a_notebook_is_valid_and_has_one_parameters_cell(name):
    nbformat.validate(nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4))
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in cells(name)) == 1


@pytest.mark.parametrize("name", ALL)
def test_a_notebook_is_committed_without_outputs(name):
    assert not any(cell.outputs or cell.execution_count for cell in cells(name))


@pytest.mark.parametrize("name", ALL)
def test_cells_are_short_and_define_nothing(name):
    for cell in cells(name):
        assert len(cell.source.splitlines()) <= 15, cell.source
        defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.For, ast.While)
        nodes = ast.walk(ast.parse(plain_python(cell.source)))
        assert not [node for node in nodes if isinstance(node, defined)], cell.source


@pytest.mark.parametrize("name", ALL)
def test_no_cell_makes_a_name_from_its_own_old_value_so_that_a_cell_may_be_run_twice(name):
    for cell in cells(name):
        own: set[str] = set()
        lines = ast.parse(plain_python(cell.source)).body
        for line in (line for line in lines if isinstance(line, ast.Assign)):
            written = {node.id for node in line.targets if isinstance(node, ast.Name)}
            read = {node.id for node in ast.walk(line.value) if isinstance(node, ast.Name)}
            assert not written & read - own, cell.source
            own |= written


def test_the_evaluation_reads_nothing_of_a_search_or_training_that_may_be_later_than_the_model():
    source = "".join(cell.source for cell in cells("05_evaluation"))
    assert not re.search(r"trials\.csv|history\.csv|best_hyperparameters\.json|finalists\.csv", source)


def test_a_kill_leaves_no_model_beside_the_space_and_minutes_of_an_earlier_one(tmp_path):
    """The last lines of the cell that saves the model, as far as a kill while it does so lets them come."""

    def save_model(model, path, about):
        raise KeyboardInterrupt

    (tmp_path / "training.json").write_text('{"space": "published", "minutes": 9}')
    source = next(cell.source for cell in cells("04_training") if "save_model(" in cell.source)
    names = {"run_folder": tmp_path, "save_model": save_model, "model": None, "about": {}}
    with pytest.raises(KeyboardInterrupt):
        exec(source[source.index("}\n") + 2 :], names)
    assert not (tmp_path / "training.json").exists(), "notebook 05 would tell of it"


def test_the_saved_network_is_of_the_pictures_and_minutes_that_its_trainings_had(tmp_path):
    """One of the trainings failed after three minutes; notebook 02 has been run with another size since."""
    trainings, about = pd.DataFrame({"seconds": [60.0]}), {}
    trainings.attrs["seconds"] = 240.0
    write_json(tmp_path / "data.json", {"class_names": ["cat", "dog"]})
    write_json(tmp_path / "input.json", {"image_size": 32, "interpolation": "area"})
    pd.DataFrame({"seconds": [120.0]}).to_csv(tmp_path / "trials.csv")
    identity = {"data": "f", "pictures": {"image_size": 24, "interpolation": "area"}}
    names = {
        "run_folder": tmp_path,
        "identity": identity,
        "trainings": trainings,
        "best": {"space": "modern"},
    }
    names |= {"pd": pd, "read_json": read_json, "write_json": write_json, "candidates": [], "model": None}
    names |= {"members": pd.DataFrame({"folder": ["a"]}), "both_views": True, "temperature": 1.5}
    source = next(cell.source for cell in cells("04_training") if "save_model(" in cell.source)
    exec(source, {**names, "save_model": lambda model, path, facts: about.update(facts)})
    assert about["image_size"] == 24 and about["members"] == ["a"] and about["data_fingerprint"] == "f"
    assert read_json(tmp_path / "training.json") == {"space": "modern", "minutes": 6.0}


def test_a_kill_leaves_no_new_split_beside_the_facts_of_an_earlier_one(tmp_path):
    """Notebook 02 would refuse the two, and send the reader to notebook 02."""

    def save_features(table, path):
        raise KeyboardInterrupt

    (tmp_path / "data.json").write_text("{}")
    source = next(cell.source for cell in cells("01_data") if "save_features(" in cell.source)
    features = SimpleNamespace(split_features=lambda *arguments: None, save_features=save_features)
    settings = {"audited": None, "seed": 1, "group_pattern": "", "keep_test_folder": False}
    with pytest.raises(KeyboardInterrupt):
        exec(source, {"run_folder": tmp_path, "features": features, **settings})
    assert not (tmp_path / "data.json").exists()


def test_a_kill_leaves_no_submission_beside_the_facts_of_an_earlier_one(tmp_path):
    def write_table(table, path):
        raise KeyboardInterrupt

    (tmp_path / "submission.json").write_text('{"model": "model.keras"}')
    source = next(cell.source for cell in cells("07_submission") if '"submission.csv"' in cell.source)
    submission = SimpleNamespace(make_submission=lambda *arguments: None)
    names = {"run_folder": tmp_path, "submission": submission, "write_table": write_table}
    with pytest.raises(KeyboardInterrupt):
        exec(source, {**names, "predictions": None, "chosen": None, "edition": ""})
    assert not (tmp_path / "submission.json").exists()


@pytest.mark.parametrize("name", ALL)
def test_a_notebook_opens_with_its_question_and_ends_with_what_the_run_shows(name):
    prose = cells(name, "markdown")
    assert prose[0].source.startswith(f"# {name[:2]} ") and "\n\n" in prose[0].source
    assert "## What this run shows" in prose[-1].source
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    assert notebook.cells[-1].cell_type == "code", "what it shows is computed"


@pytest.mark.parametrize("name", ALL)
def test_each_parameter_has_a_comment_and_a_plain_value(name):
    source = next(cell.source for cell in cells(name) if "parameters" in cell.metadata.get("tags", []))
    assert all("  # " in line for line in source.splitlines())
    assert all(isinstance(value, str | int | float | bool) for value in notebook_parameters(name).values())


def test_the_setup_cell_is_the_same_everywhere_and_names_the_repository():
    assert len({setup_cell(name) for name in ALL}) == 1
    assert address()
    assert len([line for line in setup_cell(ALL[0]).splitlines() if line]) <= 6


@pytest.mark.parametrize("name", ALL)
def test_a_notebook_imports_src_before_keras_which_looks_at_what_src_sets(name):
    lines = [line for cell in cells(name) for line in cell.source.splitlines()]
    imports = [line.split()[1].split(".")[0] for line in lines if line.startswith(("import ", "from "))]
    assert "src" in imports and "tensorflow" not in imports
    assert "keras" not in imports[: imports.index("src")]


def test_a_notebook_opened_alone_fetches_the_repository(tmp_path):
    """The setup cell, in an empty folder, with the repository's address put for a clone on the disk."""
    source = setup_cell(ALL[0]).replace(address(), str(tmp_path / "origin"))
    source = source.replace("pip install", "true")
    subprocess.run(["git", "init", "-q", tmp_path / "origin"], check=True)
    for file in ("src/config.py", "src/drawn/poses.py", "notebooks/01_data.ipynb"):
        (tmp_path / "origin" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "origin" / file).write_text("HERE = True\n")
    commit = ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "all"]
    for command in (["add", "-A"], commit):
        subprocess.run(["git", "-C", tmp_path / "origin", *command], check=True)
    (tmp_path / "alone").mkdir()
    script = tmp_path / "alone" / "cell.ipy"
    script.write_text(source + "\nfrom src.config import HERE\nprint(HERE, os.getcwd())\n")
    for _ in range(2):  # a second time it is there already
        command = [sys.executable, "-m", "IPython", "--no-banner", script]
        done = subprocess.run(command, cwd=tmp_path / "alone", capture_output=True, text=True)
        assert f"True {(tmp_path / 'alone' / 'project' / 'notebooks').resolve()}" in done.stdout, done.stderr


@pytest.mark.parametrize("place", ["me", "me/fork-main", "datasets/me/fork", "datasets/me/fork/fork-main"])
def test_an_attached_repository_is_found_and_nothing_is_fetched(place, tmp_path):
    attached = tmp_path / "input" / place
    for folder in ("src/drawn", "notebooks"):
        (attached / folder).mkdir(parents=True)
    (tmp_path / "input" / "another" / "src").mkdir(parents=True)  # of somebody else's code
    source = setup_cell(ALL[0]).replace("/kaggle/input", str(tmp_path / "input"))
    (tmp_path / "cell.ipy").write_text(
        source.replace("pip install", "true") + "\nprint(os.getcwd(), sys.path[0])\n"
    )
    (tmp_path / "working").mkdir()
    command = [sys.executable, "-m", "IPython", "--no-banner", tmp_path / "cell.ipy"]
    done = subprocess.run(command, cwd=tmp_path / "working", capture_output=True, text=True)
    assert f"{(attached / 'notebooks').resolve()} {attached.resolve()}" in done.stdout, done.stderr
    assert list((tmp_path / "working").iterdir()) == []


@pytest.mark.parametrize("profile", PROFILES)
def test_every_key_of_a_profile_is_a_notebooks_parameter_of_the_same_type(profile):
    check_parameters(read_profile(profile), profile)


def test_parameters_of_the_same_name_have_the_same_default():
    seen: dict[str, object] = {}
    for name in [*STEPS, *MORE]:
        for key, value in notebook_parameters(name).items():
            assert seen.setdefault(key, value) == value, key


def test_the_published_profile_and_the_defaults_are_the_experiment_as_it_was():
    values = {key: value for name in STEPS for key, value in notebook_parameters(name).items()}
    values.update(read_profile("published"))
    expected = {
        **{"image_size": 180, "batch_size": 32, "width_shift_range": 0.3, "height_shift_range": 0.3},
        **{"shear_range": 0.2, "zoom_range": 0.2, "fill_mode": "nearest", "horizontal_flip": True},
        **{"rotation_range": 0.0, "epoch_fraction": 1 / 16, "interpolation": "nearest", "space": "published"},
        **{"tuner": "random", "objective": "val_accuracy", "max_trials": 20, "epochs": 35},
        **{"patience": 5, "learning_rate": 1e-4, "drop_extreme_aspect": 3, "first_image_size": 0},
        **{"crop_range": 0.0, "color_jitter": 0.0, "finalists": 1, "final_seeds": 1, "average": "none"},
        **{"mirrored_views": False, "weight_averaging": 0.0, "precision": "float32"},
        **{"leave_out_duplicates": False, "seed": 42, "max_minutes": 0.0},
    }
    assert {key: values[key] for key in expected} == expected
    assert inspect.signature(build_cnn).parameters["decay_steps"].default == 10_000
