"""The command behind `make`: bad settings are named, a failed step leaves no whole notebook."""

import logging
import math
import os
import signal
import sys

import nbformat
import pytest
from papermill.exceptions import PapermillExecutionError

from src import pipeline, reproduction, workers
from src.images.preprocessing import INTERPOLATIONS
from src.images.warping import FILL_MODES
from src.pipeline import (
    STEPS,
    check_parameters,
    main,
    read_profile,
    read_settings,
    run_name,
    run_notebook,
    summarize,
)
from src.pretrained.backbones import BACKBONES
from src.results.averaging import AVERAGES
from src.running.allowed import LIMITS, PATTERNS, SWITCHES, WORDS
from src.running.commands import run_command, run_module, stderr_into
from src.running.locks import hold
from src.running.parameters import check_cell
from src.running.stamp import refresh
from src.runs import write_json
from src.searches.samplers import PRUNERS, SAMPLERS
from src.spaces import SPACES
from src.submission import EDITIONS
from src.tuning import TUNERS


@pytest.fixture
def one_notebook(tmp_path, monkeypatch):
    """A notebook of one parameter, whose body the test writes."""

    def write(body: str) -> None:
        notebook = nbformat.v4.new_notebook()
        notebook.cells = [nbformat.v4.new_code_cell("x = 1"), nbformat.v4.new_code_cell(body)]
        notebook.cells[0].metadata["tags"] = ["parameters"]
        notebook.metadata["kernelspec"] = {
            "name": "python3",
            "display_name": "Python 3",
            "language": "python",
        }
        nbformat.write(notebook, tmp_path / "one.ipynb")

    monkeypatch.setattr(pipeline, "NOTEBOOKS", tmp_path)
    return write


def test_an_unknown_profile_lists_those_there_are():
    with pytest.raises(FileNotFoundError, match="no profile 'fast'; choose gpu, corrected, cpu, "):
        read_profile("fast")


@pytest.mark.parametrize("text", ["- a list", "just words", "a: [b", ""])
def test_a_profile_that_is_no_mapping_is_named(text, tmp_path, monkeypatch):
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "odd.yaml").write_text(text)
    monkeypatch.setattr(pipeline, "NOTEBOOKS", tmp_path)
    with pytest.raises(ValueError, match=r"odd\.yaml"):
        read_profile("odd")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"max_trails": 3}, "no notebook has a parameter 'max_trails'"),
        ({"epochs": "many"}, "epochs is 'many'; it has to be int"),
        ({"epochs": 2.5}, "epochs is 2.5; it has to be int"),
        ({"horizontal_flip": 1}, "horizontal_flip is 1; it has to be bool"),
        ({"group_pattern": "person("}, r"group_pattern 'person\(' is no regular expression: "),
    ],
)
def test_a_wrong_parameter_is_named_before_anything_runs(values, words):
    with pytest.raises(ValueError, match=words):
        check_parameters(values, "test")


def test_a_whole_number_does_for_a_float():
    check_parameters({"max_minutes": 3}, "test")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("/a/train.zip", "cpu-train"),
        ("/a b/my cats.zip", "cpu-my_cats"),
        ("sample", "cpu-sample"),
        ("/x/PetImages", "cpu-PetImages"),
        ("/x/猫狗 (Größe 2).zip", "cpu-猫狗__Größe_2_"),
    ],
)
def test_a_run_is_named_after_its_profile_and_data(data, name):
    assert run_name("cpu", data) == name


def test_a_path_in_the_settings_holds_in_the_notebooks_folder_too(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    assert read_settings("sample", ["pictures=mine"])["pictures"] == str(tmp_path / "mine")
    assert read_settings("sample", ["pictures=auto"])["pictures"] == "auto"
    assert "pictures" not in read_settings("sample", [])


def test_settings_are_parted_by_blanks_and_held_together_by_quotes():
    values = read_settings(
        "sample", [r"group_pattern='farm (\d+)|[a-z]$' seed=7 deterministic=yes", "epochs=2"]
    )
    assert values["group_pattern"] == r"farm (\d+)|[a-z]$"
    assert (values["seed"], values["epochs"]) == (7, 2)
    assert values["deterministic"] == "yes", "a text, where YAML has a truth"
    assert read_settings("sample", ["group_pattern=07"])["group_pattern"] == "07"
    with pytest.raises(ValueError, match="setting 'group_pattern' has no value; write group_pattern=value"):
        read_settings("sample", ["keep_test_folder=true group_pattern"])
    with pytest.raises(ValueError, match=r"No closing quotation; give quotes in pairs"):
        read_settings("sample", ["group_pattern='a"])


@pytest.mark.parametrize("setting", ["data=/my/pets", "run=mine"])
def test_data_and_run_are_no_settings(setting):
    with pytest.raises(ValueError, match="is none; give DATA=path or RUN=name to make"):
        read_settings("cpu", [setting])


def test_a_profile_cannot_name_the_run(monkeypatch):
    monkeypatch.setattr(pipeline, "read_profile", lambda profile: {"run": "mine"})
    with pytest.raises(ValueError, match="run is none; give DATA=path or RUN=name to make"):
        read_settings("cpu", [])


def test_a_profile_may_name_its_data_and_who_calls_may_name_others():
    assert read_settings("sample", [])["data"] == "sample"
    assert read_settings("sample", [], "/my/pets")["data"] == "/my/pets"
    assert read_settings("cpu", [])["data"] == "auto"


@pytest.mark.parametrize(
    ("wanted", "more"),
    [
        ({}, []),
        ({"submission": True}, ["07_submission"]),
        ({"transfer": True, "submission": True}, ["06_transfer", "07_submission"]),
    ],
)
def test_one_session_runs_the_later_notebooks_where_they_are_asked_for(wanted, more, tmp_path, monkeypatch):
    ran = []
    monkeypatch.setenv("OUTPUT_ROOT", str(tmp_path))
    monkeypatch.setattr(pipeline, "run_notebook", lambda step, output, values: ran.append((step, values)))
    pipeline.run_all("sample", "sample", "edition=labels", **wanted)
    assert [step for step, _ in ran] == [*pipeline.STEPS, *more]
    assert all(values["edition"] == "labels" and values["run"] == "sample-sample" for _, values in ran)


def test_one_session_does_not_replace_a_whole_run_of_other_pictures_of_the_same_name(tmp_path, monkeypatch):
    """`/kaggle/input/one/train.zip` and `/kaggle/input/other/train.zip`, say."""
    places = [tmp_path / name / "pets" for name in ("one", "other")]
    for place in places:
        place.mkdir(parents=True)

    def note(step, output, values):
        output.parent.mkdir(parents=True, exist_ok=True)
        write_json(output.parent / "data.json", {"data": values["data"]})
        (output.parent / f"{step}.ipynb").touch()

    monkeypatch.setenv("OUTPUT_ROOT", str(tmp_path / "output"))
    monkeypatch.setattr(pipeline, "run_notebook", note)
    folder = pipeline.run_all("sample", str(places[0]))
    assert pipeline.run_all("sample", str(places[0])) == folder
    with pytest.raises(RuntimeError, match=rf"sample-pets holds a whole run of other .*{places[0]}.*rename"):
        pipeline.run_all("sample", str(places[1]))
    (folder / "05_evaluation.ipynb").unlink()  # an unfinished one holds no results
    assert pipeline.run_all("sample", str(places[1])) == folder


@pytest.mark.long
def test_a_whole_notebook_appears_under_its_name_with_its_parameter(one_notebook, tmp_path):
    one_notebook("import os; print(x, os.environ['HEADLESS'], os.environ['NOTEBOOK_RUN'], os.getcwd())")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "one.failed.ipynb").touch()  # the time before
    run_notebook("one", tmp_path / "run" / "one.ipynb", {"x": 7, "unknown": 8})
    executed = nbformat.read(tmp_path / "run" / "one.ipynb", as_version=4)
    told = f"7 1 {tmp_path / 'run' / 'one.ipynb'} {tmp_path.resolve()}\n"
    assert executed.cells[-1].outputs[0].text == told
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"one.ipynb", "one.stderr.txt"}


@pytest.mark.long
@pytest.mark.parametrize("body", ["raise ValueError('no')", "import os; os.kill(os.getpid(), 9)"])
def test_a_failed_or_killed_notebook_is_never_taken_for_a_whole_one(body, one_notebook, tmp_path):
    one_notebook(body)
    with pytest.raises((PapermillExecutionError, RuntimeError)):
        run_notebook("one", tmp_path / "run" / "one.ipynb", {})
    assert not (tmp_path / "run" / "one.ipynb").exists()
    assert (tmp_path / "run" / "one.failed.ipynb").exists() == body.startswith("raise"), "to be looked at"


def test_the_summary_is_one_line_for_the_accuracy(tmp_path, capsys):
    figures = {"accuracy": 0.91234, "low": 0.9, "high": 0.92, "n": 5000, "loss": 1.2, "cross_entropy": 0.3}
    write_json(tmp_path / "metrics.json", figures)
    assert summarize(tmp_path).splitlines()[0] == "test accuracy 0.9123 [0.9000, 0.9200] n=5000"
    assert summarize(tmp_path).splitlines()[1] == "test loss 1.2000, of it cross-entropy 0.3000"
    write_json(tmp_path / "metrics.json", {**figures, "groups": 70, "larger_class": 0.5})
    assert summarize(tmp_path).splitlines()[0].endswith(" n=5000 in 70 groups")
    assert summarize(tmp_path).splitlines()[1].endswith("; always predicting the larger class: 0.5000")
    assert main([str(tmp_path), "summary"]) == 0 and capsys.readouterr().out == f"{summarize(tmp_path)}\n"


def test_a_summary_of_damaged_figures_names_the_file_and_what_it_lacks(tmp_path):
    write_json(tmp_path / "metrics.json", {"accuracy": 0.9, "n": 5, "low": 0.8, "high": 1.0, "loss": 1.2})
    with pytest.raises(ValueError, match="metrics.json lacks cross_entropy; delete it and run notebook 05"):
        summarize(tmp_path)


def test_the_command_says_in_one_line_what_is_wrong(tmp_path, capsys):
    assert main([str(tmp_path / "none"), "summary"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "metrics.json is missing" in error
    assert main([str(tmp_path / "run"), "01_data", "--profile", "sample", "--set", "epoch=3"]) == 1
    assert "no notebook has a parameter 'epoch'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "01_data was interrupted; the same command goes on where it stopped"),
        (PapermillExecutionError(1, 1, "", "KeyboardInterrupt", "", []), 130, "goes on where it stopped"),
        (PapermillExecutionError(1, 1, "", "ValueError", "bad", []), 1, "01_data stopped: ValueError: bad"),
    ],
)
def test_an_interruption_says_how_to_go_on_also_where_the_kernel_heard_of_it_first(
    error, code, words, tmp_path, monkeypatch, capsys
):
    def stop(*arguments):
        raise error

    monkeypatch.setattr(pipeline, "run_notebook", stop)
    monkeypatch.setenv("OUTPUT_ROOT", str(tmp_path))
    assert pipeline.main([str(tmp_path / "run"), "01_data", "--profile", "sample"]) == code
    assert words in capsys.readouterr().err


def test_a_run_elsewhere_than_the_notebooks_would_write_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OUTPUT_ROOT", str(tmp_path / "output"))
    run = str(tmp_path / "else" / "run")
    for command in ([main, run, "01_data"], [reproduction.main, run], [workers.main, run, "--number", "2"]):
        assert command[0](command[1:]) == 1
        said = capsys.readouterr().err
        assert f"is not in {(tmp_path / 'output').resolve()}; give a run there, or set OUTPUT_ROOT" in said
    assert not (tmp_path / "else").exists()


def test_a_run_in_one_go_says_what_it_was_told_and_searches_in_as_many_processes_as_asked(
    tmp_path, monkeypatch, capsys
):
    ran, told, minutes = [], [], []
    monkeypatch.setenv("OUTPUT_ROOT", str(tmp_path))
    monkeypatch.setattr(pipeline, "run_module", lambda *words: ran.append(words) or 90.0)

    def note(step, output, values):
        ran.append(step)
        told.append(os.environ["RUN_COMMAND"])
        minutes.append(values.get("max_minutes"))

    monkeypatch.setattr(pipeline, "run_notebook", note)
    folder = pipeline.run_all("sample", "sample", "max_trials=2 seed=7", submission=True, processes=2)
    words = ("--profile", "sample", "--data", "sample", "--set", "max_trials=2 seed=7")
    assert ran[:2] == list(STEPS[:2]) and ran[2] == ("workers", str(folder), "--number", "2", *words)
    assert ran[3:] == [*STEPS[2:], "07_submission"]
    assert set(told) == {"run_all --profile sample --data sample --set 'max_trials=2 seed=7'"}
    assert set(minutes) == {None}
    pipeline.run_all("sample", "sample", "max_minutes=2", processes=2)
    assert minutes[-5:] == [2, 2, 0.5, 0.5, 0.5], "the processes have had a minute and a half of them"
    pipeline.run_all("sample", "sample", "max_minutes=1", processes=2)
    assert minutes[-1] == 1 / 60, "0 would be no limit"
    ran.clear()
    pipeline.run_all("sample", "sample")
    assert ran == STEPS, "one process searches in notebook 03"
    assert pipeline.run_all("cpu", "sample") == tmp_path / "cpu-sample"


def test_lines_of_another_command_of_ours_come_to_stdout(tmp_path, capsys):
    """Also those that it writes to stderr; of all commands it is the one that imports next to nothing."""
    (tmp_path / "file").touch()
    assert (
        run_module("running.stamp", str(tmp_path / "file" / "parameters.txt"), "sample", "sample sample") > 0
    )
    assert f"{tmp_path / 'file'} cannot be written into" in capsys.readouterr().out


def test_a_notebook_is_not_made_with_settings_that_another_command_has_changed(tmp_path, monkeypatch, capsys):
    """Between make's look at the settings and the notebook's start another command had the run to itself."""
    monkeypatch.setenv("OUTPUT_ROOT", str(tmp_path))
    made = []
    monkeypatch.setattr(pipeline, "run_notebook", lambda name, *arguments: made.append(name))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "parameters.txt").write_text("sample sample seed=2\nabc\n")
    command = [str(tmp_path / "run"), "01_data", "--profile", "sample", "--set", "seed=1", "--settings"]
    assert main([*command, "sample sample seed=1"]) == 1
    assert "another command has given" in (said := capsys.readouterr().err) and "seed=2" in said and not made
    assert main([*command, "sample sample seed=2"]) == 0 and made == ["01_data"]
    lines = "sample sample seed=2\nepochs=1"  # of a SET that was typed on two
    refresh(tmp_path / "run" / "parameters.txt", "sample", lines)
    assert main([*command, lines]) == 0 and main([*command, "sample sample seed=2"]) == 1


def test_the_pictures_of_a_run_stay_as_they_are_while_a_worker_searches(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OUTPUT_ROOT", str(tmp_path))
    made = []
    monkeypatch.setattr(pipeline, "run_notebook", lambda name, *arguments: made.append(name))
    worker = tmp_path / "run" / "workers" / "here-1.123"
    with hold(worker):
        for step in ("01_data", "02_generators"):
            assert main([str(tmp_path / "run"), step, "--profile", "sample"]) == 1
            assert "here-1.123 is being worked on by process" in capsys.readouterr().err
        assert main([str(tmp_path / "run"), "03_tuning", "--profile", "sample"]) == 0, "it joins the search"
    assert main([str(tmp_path / "run"), "01_data", "--profile", "sample"]) == 0
    assert made == ["03_tuning", "01_data"] and not worker.exists()


def test_a_step_is_made_into_its_runs_folder_and_what_has_no_effect_is_told_once(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("OUTPUT_ROOT", str(tmp_path))
    made, told = [], []
    monkeypatch.setattr(pipeline, "run_notebook", lambda *arguments: made.append(arguments))
    caplog.set_level(logging.INFO)
    for step in ("01_data", "02_generators", "06_transfer"):
        caplog.clear()
        command = [str(tmp_path / "mine"), step, "--profile", "cpu", "--data", "/my/pets"]
        assert main([*command, "--set", "epochs=3", "backbone=ResNet50"]) == 0
        told.append(caplog.messages)
    every = ", ".join(STEPS)
    assert told == [[f"without effect on {every}: backbone"], [], ["without effect on 06_transfer: epochs"]]
    assert [(step, output) for step, output, _ in made] == [
        (step, tmp_path / "mine" / f"{step}.ipynb") for step in ("01_data", "02_generators", "06_transfer")
    ]
    values = made[0][2]
    assert (values["run"], values["data"], values["epochs"]) == ("mine", "/my/pets", 3)
    assert values["image_size"] == read_profile("cpu")["image_size"]


def test_two_commands_do_not_work_on_one_run_at_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OUTPUT_ROOT", str(tmp_path))
    monkeypatch.setattr(pipeline, "run_notebook", lambda *arguments: pytest.fail("ran"))
    run = tmp_path / "sample-sample"
    with hold(run):
        assert main([str(run), "03_tuning", "--profile", "sample"]) == 1
        assert "sample-sample is being worked on by process" in capsys.readouterr().err
    for held in (run, run / "workers" / "here-1.123"):
        with hold(held), pytest.raises(RuntimeError, match=f"{held.name} is being worked on by process"):
            pipeline.run_all("sample", "sample")


@pytest.mark.parametrize("name", ["class_pattern", "group_pattern"])
def test_a_pattern_typed_into_a_cell_is_checked_before_pictures_are_read(name):
    check_cell({name: "ill|well"})
    with pytest.raises(ValueError, match=rf"the parameters cell: {name} '\(' is no regular expression"):
        check_cell({name: "("})
    with pytest.raises(ValueError, match=f"the parameters cell: {name} is 7; it has to be str"):
        check_cell({name: 7})


def test_the_name_of_a_class_is_a_text_even_if_it_is_a_number():
    check_cell({"positive_class": "1"})
    with pytest.raises(
        ValueError, match="the parameters cell: positive_class is 1; it has to be str: a text"
    ):
        check_cell({"positive_class": 1})


@pytest.mark.parametrize("text", ["false", "True", "true"])
def test_what_papermill_makes_of_a_small_true_or_false_is_refused(text):
    """`papermill -p keep_test_folder false` hands over a text, which Python takes for true."""
    check_cell({"keep_test_folder": False})
    with pytest.raises(ValueError, match=f"keep_test_folder is the text '{text}'; give True or False"):
        check_cell({"keep_test_folder": text})


def test_the_words_that_are_checked_are_those_that_the_rooms_know():
    assert {name: set(words) for name, words in WORDS.items()} == {
        "interpolation": set(INTERPOLATIONS),
        "precision": {"auto", "float32", "mixed_bfloat16", "mixed_float16"},
        "deterministic": {"auto", "yes", "no"},
        **{"fill_mode": set(FILL_MODES), "space": set(SPACES), "tuner": {"optuna", *TUNERS}},
        **{"sampler": set(SAMPLERS), "pruner": set(PRUNERS), "average": set(AVERAGES)},
        **{"objective": {"val_accuracy", "val_loss", "val_log_loss"}, "backbone": set(BACKBONES)},
        "edition": set(EDITIONS),
    }
    known = pipeline.known_parameters()
    for name, words in WORDS.items():
        assert known[name] in words


@pytest.mark.parametrize("name", ["average", "space", "tuner", "backbone", "edition"])
def test_another_word_is_refused_before_anything_runs(name):
    with pytest.raises(ValueError, match=f"settings: {name} is 'finalist'; choose one of {WORDS[name][0]}"):
        read_settings("sample", [f"{name}=finalist"])
    with pytest.raises(ValueError, match=f"the parameters cell: {name} is 'finalist'; choose one of"):
        check_cell({name: "finalist"})


def test_pictures_that_would_become_smaller_as_they_grow_are_refused_before_anything_runs():
    with pytest.raises(
        ValueError, match="first_image_size is 96; give at most image_size, 64, or 0 for one size"
    ):
        read_settings("gpu", ["image_size=64"])
    assert read_settings("gpu", ["image_size=64 first_image_size=0"])["image_size"] == 64
    assert read_settings("gpu", ["image_size=64 space=described"])["image_size"] == 64, (
        "whose pictures do not grow"
    )


def test_every_number_and_switch_of_the_notebooks_is_checked_and_no_variable_of_the_users_own():
    known = pipeline.known_parameters()
    assert {name for name, value in known.items() if type(value) in (int, float)} <= set(LIMITS)
    assert {name for name, value in known.items() if type(value) is bool} == SWITCHES
    assert {name for name in known if name.endswith("_pattern")} == PATTERNS
    check_cell({"my_offset": -1, "answer": "true", "nothing": float("nan")})


def test_settings_that_no_notebook_of_the_command_has_are_told(caplog, monkeypatch, tmp_path):
    caplog.set_level(logging.INFO)
    read_settings("sample", ["backbone=MobileNetV2 epochs=3"])
    assert caplog.text == ""
    read_settings("sample", ["backbone=MobileNetV2 epochs=3"], steps=pipeline.STEPS)
    assert (
        "without effect on 01_data, 02_generators, 03_tuning, 04_training, 05_evaluation: backbone"
        in caplog.text
    )
    read_settings("sample", ["backbone=MobileNetV2 epochs=3 precision=float32"], steps=["06_transfer"])
    assert "without effect on 06_transfer: epochs, precision" in caplog.text


@pytest.mark.parametrize("cell", [{"mistakes": -1}, {"false_positive_cost": -5.0}, {"clip": float("nan")}])
def test_any_number_typed_into_a_cell_is_checked(cell):
    with pytest.raises(ValueError, match="the parameters cell: .*; give 0 or more"):
        check_cell(cell)


SECRET = "postgresql://me:s3cret@host/trials"


@pytest.mark.parametrize("address", [SECRET, "mysql://host/db?password=s3cret"])
def test_a_password_is_refused_before_anything_is_written_and_is_not_quoted(address, tmp_path):
    for ask in (
        lambda: check_parameters({"storage": address}, "settings"),
        lambda: check_cell({"storage": address}),
        lambda: refresh(tmp_path / "run" / "parameters.txt", "sample", f"sample sample storage={address}"),
    ):
        with pytest.raises(ValueError, match="a setting holds a password.*STORAGE_URL") as told:
            ask()
        assert "s3cret" not in str(told.value)
    assert not list(tmp_path.iterdir())
    check_parameters({"storage": "postgresql://me@host:5432/trials"}, "settings")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            "space=modern weight_averaging=0.5 final_patience=2",
            "weight_averaging does not go with final_patience",
        ),
        ("tuner=grid isolate_trials=true", "isolate_trials is on, and KerasTuner's tuners cannot do that"),
        ("trial_timeout_minutes=1", "trial_timeout_minutes needs isolate_trials"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_before_anything_runs(settings, said):
    with pytest.raises(ValueError, match=said):
        read_settings("sample", [settings])


@pytest.mark.parametrize(
    "settings",
    [
        # It averages no weights, and its pictures do not grow.
        "space=described weight_averaging=0.5 final_patience=2 first_image_size=41 image_size=40",
        "space=modern weight_averaging=0 final_patience=2 first_image_size=40 image_size=40",
        "space=modern weight_averaging=0.5 final_patience=0 tuner=grid isolate_trials=false",
    ],
)
def test_settings_that_do_go_together_are_taken(settings):
    assert read_settings("sample", [settings])


@pytest.mark.parametrize(
    ("name", "ends", "beyond"),
    [
        ("image_size", (8, 4096), (7, 4097)),
        ("first_image_size", (0, 8, 4096), (7, 4097)),
        ("backbone_image_size", (0, 32, 4096), (31, 4097)),
        ("epoch_fraction", (0.001, 1), (0, 1.001)),
        ("learning_rate", (1e-9, 1e9), (0, math.inf, math.nan)),
        ("seed", (0, 2**31 - 1), (-1, 2**31)),
        ("workers", (0, 256), (-1, 257)),
        ("epochs", (1, 2**31 - 1), (0, 2**31)),
        ("head_epochs", (1,), (0,)),
        ("zoom_range", (0, 0.999), (-0.001, 1)),
        ("max_minutes", (0, 1e9), (-0.001, math.inf, math.nan)),
    ],
)
def test_a_range_ends_where_its_words_say(name, ends, beyond):
    assert all(map(LIMITS[name].allows, ends)) and not any(map(LIMITS[name].allows, beyond))


def test_a_command_is_noted_for_the_record_and_asked_to_end_as_by_ctrl_c(tmp_path, monkeypatch):
    handlers = []
    monkeypatch.setattr(signal, "signal", lambda *handler: handlers.append(handler))
    monkeypatch.setenv("RUN_COMMAND", "by hand")
    monkeypatch.setattr(sys, "argv", ["/project/src/pipeline.py", "sample", "my run"])
    assert run_command("sample", tmp_path, lambda: 0) == 0
    assert os.environ["RUN_COMMAND"] == "python -m src.pipeline sample 'my run'"
    assert handlers == [(signal.SIGTERM, signal.default_int_handler)]


def test_stderr_is_in_its_file_and_afterwards_where_it_was(tmp_path, capfd):
    with stderr_into(tmp_path / "stderr.txt"):
        os.write(2, b"inside")
    os.write(2, b"after")
    assert (tmp_path / "stderr.txt").read_bytes() == b"inside" and capfd.readouterr().err == "after"
