"""The start of a notebook, and where things are on each host."""

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from src.config import find_paths
from src.running import devices
from src.runs import read_json, write_json
from src.session import computing_in, read_computing, settle, start_run


@pytest.fixture(autouse=True)
def quiet_afterwards(monkeypatch, tmp_path):
    """Puts the log back as it was: start_run takes it over."""
    handlers = logging.root.handlers[:]
    monkeypatch.setenv("OUTPUT_ROOT", str(tmp_path / "output"))
    yield
    logging.root.handlers[:] = handlers


def test_a_run_has_its_folder_and_the_seed_rules_keras_and_numpy(tmp_path):
    draws = []
    for _ in range(2):
        assert start_run("cpu-train", seed=5, deterministic="no") == tmp_path / "output" / "cpu-train"
        draws.append((np.random.random(), float(keras.random.uniform(()))))  # noqa: NPY002 - the global one
    assert draws[0] == draws[1]


def test_a_notebook_that_builds_no_network_says_nothing_of_a_precision(capsys):
    start_run("x", 1, "no")
    start_run("x", 1, "no", "mixed_bfloat16")
    plain, asked = (line for line in capsys.readouterr().out.splitlines() if line.startswith("Python"))
    keras.config.set_dtype_policy("float32")
    assert "float" not in plain and asked == f"{plain}, mixed_bfloat16"


def test_the_start_is_recorded_and_what_the_machine_lacks_is_told(monkeypatch, capsys):
    monkeypatch.setenv("NOTEBOOK_RUN", "/somewhere/03_tuning.ipynb")
    monkeypatch.setattr("src.session.idle_gpus", lambda accelerator: "a GPU is idle")
    monkeypatch.setattr("src.session.unsuitable_packages", lambda: ["numpy 0.1 may not do"])
    monkeypatch.setattr("src.session.fastest_precision", lambda accelerator: "mixed_bfloat16")
    folder = start_run("x", 1, "no", "auto")
    keras.config.set_dtype_policy("float32")
    assert capsys.readouterr().out.splitlines()[-2:] == ["a GPU is idle", "numpy 0.1 may not do"]
    recorded = read_json(folder / "made_by.json")["03_tuning"]
    assert (recorded["precision"], recorded["deterministic"]) == ("mixed_bfloat16", False)
    assert recorded["device"].startswith("CPU with ")


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="other backends have no such switch")
@pytest.mark.parametrize(
    ("word", "accelerator", "same"),
    [("yes", True, True), ("auto", False, True), ("auto", True, False), ("no", False, False)],
)
def test_identical_numbers_are_asked_of_tensorflow_where_they_are_wanted(
    word, accelerator, same, monkeypatch
):
    import tensorflow

    asked = []
    monkeypatch.setattr(
        tensorflow.config.experimental, "enable_op_determinism", lambda: asked.append("asked")
    )
    monkeypatch.setattr("src.session.has_accelerator", lambda: accelerator)
    settle(1, word, "float32")
    assert asked == ["asked"] * same


def test_freed_memory_is_kept_from_the_start(monkeypatch):
    kept = []
    monkeypatch.setattr("src.session.keep_freed_memory", lambda: kept.append("kept"))
    settle(1, "no", "float32")
    assert kept == ["kept"]


def test_an_output_folder_that_cannot_be_written_is_said_with_its_remedy(monkeypatch, tmp_path):
    (tmp_path / "output").touch()
    with pytest.raises(OSError, match="output/x cannot be written into .*; set OUTPUT_ROOT"):
        start_run("x", 1, "no")


def test_later_notebooks_compute_as_notebook_01_was_told(tmp_path):
    write_json(tmp_path / "output" / "x" / "data.json", {"deterministic": "no", "folder": "y"})
    assert read_computing("x") == {"deterministic": "no", "precision": "auto"}


def test_a_cell_that_is_interrupted_leaves_the_precision_as_it_was():
    with pytest.raises(KeyboardInterrupt), computing_in("mixed_bfloat16"):
        assert keras.layers.Dense(1).compute_dtype == "bfloat16"
        raise KeyboardInterrupt
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize("name", ["", "..", "a/b", "/tmp"])
def test_a_name_that_leaves_the_output_folder_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match="plain name of a folder"):
        start_run(name, 1)
    assert not (tmp_path / "output").exists()


def test_deterministic_is_one_of_three_words():
    with pytest.raises(ValueError, match="deterministic is 'maybe'; choose one of auto, yes, no"):
        start_run("x", 1, "maybe")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [("final_epochs", 0, "give 1 or more"), ("zoom_range", 1.5, "below 1"), ("epochs", "5", "a number")],
)
def test_a_number_typed_into_the_cell_is_refused_before_anything_is_made(
    name, value, said, monkeypatch, tmp_path
):
    monkeypatch.setattr("src.session.notebook_settings", lambda: {"run": "x", name: value})
    with pytest.raises(ValueError, match=f"the parameters cell: {name} is .*{said}"):
        start_run("x", 1)
    assert not (tmp_path / "output").exists()


def test_at_home_data_and_output_lie_in_the_project(monkeypatch, tmp_path):
    monkeypatch.setenv("KAGGLE_ROOT", str(tmp_path / "none"))
    monkeypatch.delenv("OUTPUT_ROOT")
    monkeypatch.delenv("DATA_ROOT", raising=False)
    project = Path(__file__).resolve().parents[1]
    assert find_paths()[1:] == (project / "data", project / "tuning_output")


def test_a_relative_place_is_the_same_wherever_a_notebook_runs_and_an_empty_one_is_none(
    monkeypatch, tmp_path
):
    project = Path(__file__).resolve().parents[1]
    monkeypatch.setenv("KAGGLE_ROOT", str(tmp_path / "none"))
    monkeypatch.setenv("OUTPUT_ROOT", "mine/runs")
    monkeypatch.setenv("DATA_ROOT", "")
    monkeypatch.chdir(tmp_path)
    assert find_paths()[1:] == (project / "data", project / "mine" / "runs")


def test_on_kaggle_only_tables_and_models_are_saved_with_the_notebook(monkeypatch, tmp_path):
    (tmp_path / "working").mkdir()
    monkeypatch.setenv("KAGGLE_ROOT", str(tmp_path))
    monkeypatch.delenv("OUTPUT_ROOT")
    monkeypatch.delenv("DATA_ROOT", raising=False)
    assert find_paths() == (
        tmp_path / "input",
        tmp_path / "temp" / "data",
        tmp_path / "working" / "tuning_output",
    )


@pytest.mark.parametrize(("asked", "told"), [(None, "1"), ("0", "0"), ("1", "1")])
def test_tensorflow_is_told_to_take_onednns_kernels_unless_the_environment_says_otherwise(asked, told):
    name = "TF_ENABLE_ONEDNN_OPTS"
    environment = {key: value for key, value in os.environ.items() if key != name}
    environment.update({} if asked is None else {name: asked})
    program = f"import os, sys, src; print(os.environ[{name!r}], 'tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == [told, "False"], done.stderr


def test_a_gpus_memory_is_left_to_other_processes_as_well():
    names = ["TF_FORCE_GPU_ALLOW_GROWTH", "XLA_PYTHON_CLIENT_PREALLOCATE"]
    text = f"import os, src; print(*map(os.environ.get, {names}))"
    for given, told in (({}, "true false"), ({names[0]: "false"}, "false false")):
        environment = {name: value for name, value in os.environ.items() if name not in names} | given
        asked = subprocess.run(
            [sys.executable, "-c", text],
            env=environment,
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
        )
        assert asked.stdout.strip() == told


@pytest.mark.parametrize(("device", "policy"), [("tpu:0", "mixed_bfloat16"), ("gpu:0", "mixed_float16")])
def test_an_accelerator_computes_in_its_own_16_bits(device, policy, monkeypatch):
    monkeypatch.setattr(devices, "_listed", lambda: ["cpu:0", device])
    assert devices.has_accelerator() and devices.fastest_precision(True) == policy


@pytest.mark.parametrize(
    ("flags", "backend", "policy"),
    [
        ("fma avx512_bf16", "tensorflow", "mixed_bfloat16"),
        ("fma amx_bf16", "tensorflow", "mixed_bfloat16"),
        ("fma avx2", "tensorflow", "float32"),
        ("fma amx_bf16", "jax", "float32"),
    ],
)
def test_a_processor_computes_in_16_bits_where_it_and_the_backend_can(flags, backend, policy, monkeypatch):
    monkeypatch.setattr(devices.Path, "exists", lambda path: True)
    monkeypatch.setattr(devices.Path, "read_text", lambda path: flags)
    monkeypatch.setattr(devices.keras.backend, "backend", lambda: backend)
    monkeypatch.setattr(devices, "_listed", lambda: ["cpu:0"])
    assert devices.fastest_precision(False) == policy and not devices.has_accelerator()


@pytest.mark.parametrize(
    ("listed", "seen", "chosen", "said"),
    [
        (2, True, None, "1 of 2 GPUs is used"),
        (1, False, None, "lists 1 GPU(s), .* sees none and computes on the CPU: install it with CUDA"),
        (1, True, None, ""),
        (0, False, None, ""),
        (2, True, "1", ""),  # who chose one knows of the other
    ],
)
def test_a_gpu_that_stays_idle_is_told(listed, seen, chosen, said, monkeypatch):
    monkeypatch.setattr(devices, "count_gpus", lambda: listed)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if chosen:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert re.match(
        said.replace("(s)", r"\(s\)") + ("" if said else "$"),
        devices.idle_gpus(seen).removeprefix("this machine "),
    )


def test_gpus_are_counted_as_nvidias_program_lists_them(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert devices.count_gpus() == 0
    listed = [
        "GPU 0: A100 (UUID: GPU-1)",
        "  MIG 1g.5gb Device 0: (UUID: MIG-1)",
        "GPU 1: A100 (UUID: GPU-2)",
    ]
    lines = "".join(f"echo '{line}'\n" for line in listed)
    (tmp_path / "nvidia-smi").write_text(f'#!/bin/sh\n[ "$1" = -L ] || exit 1\n{lines}')
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert devices.count_gpus() == 2


def test_where_there_is_no_tensorflow_keras_takes_jax():
    code = "import importlib.util as u, os; find = u.find_spec\n"
    code += "found = {'tensorflow': None, 'jax': 1}\n"
    code += "u.find_spec = lambda name: found[name] if name in found else find(name)\n"
    code += "import src; print(os.environ['KERAS_BACKEND'])"
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    project = Path(__file__).resolve().parents[1]
    for given, wanted in ({}, "jax"), ({"KERAS_BACKEND": "torch"}, "torch"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=project,
            env={**environment, **given},
            capture_output=True,
            text=True,
        )
        assert done.stdout.strip() == wanted, done.stderr
