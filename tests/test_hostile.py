"""Hostile and odd input: refused in one line or used; no crash, no hang, nothing written elsewhere."""

import ast
import os
import pickle
import re
import time
from pathlib import Path

import fuzz
import pytest
from hostile import CASES, Evil
from readers import READERS, BrokenRuleError, fault_of, watched

SOURCES = sorted((Path(__file__).resolve().parents[1] / "src").rglob("*.py"))


def files_below(folder: Path) -> dict[Path, tuple]:
    """Returns all that is there, with the size and the time of its last change."""
    stats = {path: path.lstat() for path in folder.rglob("*")}
    return {
        path: (stat.st_mode, stat.st_size, stat.st_mtime_ns) for path, stat in stats.items() if path.is_file()
    }


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore")
def test_a_bad_input_is_refused_in_one_line_and_an_odd_one_is_used(name, tmp_path, monkeypatch):
    case = CASES[name]
    (tmp_path / "given").mkdir()
    given = case.make(tmp_path / "given")
    before = files_below(tmp_path)
    # A model's own run is where its measurement goes; everything else may write to one folder alone.
    allowed = given if case.reader == "model" else tmp_path / "allowed"
    allowed.mkdir(exist_ok=True)
    monkeypatch.chdir(allowed)
    result, error = None, None
    with watched(allowed):
        try:
            result = READERS[case.reader](given, allowed)
        except Exception as raised:
            error = raised
    after = {path: stat for path, stat in files_below(tmp_path).items() if allowed not in path.parents}
    assert after == {path: stat for path, stat in before.items() if allowed not in path.parents}
    if not case.refused:
        assert error is None
        assert result == case.used
        return
    assert error is not None, f"was used: {result!r:.200}"
    assert fault_of(error, case.names or given.name) == ""
    assert re.search(case.refused, str(error)), error
    assert not list(tmp_path.rglob("evil"))


def test_there_are_at_least_60_cases_and_every_reader_has_one():
    assert len(CASES) >= 60
    assert {case.reader for case in CASES.values()} == set(READERS)


def test_a_model_that_is_refused_has_not_been_shown_the_test_part(tmp_path):
    run = CASES["model, a pickle"].make(tmp_path)
    with pytest.raises(ValueError, match="no model"):
        READERS["model"](run, tmp_path)
    assert not (run / "test_openings.csv").exists()


def test_the_watch_ends_what_writes_elsewhere_starts_a_program_or_hangs(tmp_path):
    (tmp_path / "allowed").mkdir()
    deeds = {
        "open": lambda: (tmp_path / "elsewhere").write_text(""),
        "os.mkdir": lambda: (tmp_path / "elsewhere").mkdir(),
        "os.rename": lambda: os.rename(tmp_path / "allowed", tmp_path / "elsewhere"),
        "os.system": lambda: os.system("true"),
        "pickle.find_class": lambda: pickle.loads(pickle.dumps(Evil())),
        "no end": lambda: time.sleep(5),
    }
    for words, deed in deeds.items():
        with pytest.raises(BrokenRuleError, match=words), watched(tmp_path / "allowed", seconds=0.5):
            deed()
    with watched(tmp_path / "allowed"):
        (tmp_path / "allowed" / "file").write_text("may be")
    assert [path.name for path in tmp_path.iterdir()] == ["allowed"]


@pytest.mark.filterwarnings("ignore")
def test_two_seconds_of_damaged_files_end_in_nothing_but_use_or_a_clear_refusal(capsys):
    assert fuzz.main(["--minutes", str(2 / 60)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["archives", "pictures", "profiles", "tables"]
    assert all(re.search(r"[1-9][\d,]* refused in one clear line, 0 anything else", line) for line in lines)


def test_the_fuzzer_prints_the_seed_of_what_is_neither_used_nor_clearly_refused(capsys, monkeypatch):
    seen = []

    def fail_at_the_third(given, allowed):
        seen.append(given.read_bytes())
        raise KeyError("width") if len(seen) == 3 else ValueError("cat.0.jpg is bad; leave it out")

    monkeypatch.setitem(READERS, "picture", fail_at_the_third)
    assert fuzz.main(["--only", "pictures", "--minutes", "0.003", "--seed", "7"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "1 anything else" in lines[0]
    assert lines[1] == "pictures, seed 9: an error of an unnamed kind, KeyError: 'width'"
    again = [seen[2]]
    monkeypatch.setitem(READERS, "picture", lambda given, allowed: again.append(given.read_bytes()))
    assert fuzz.main(["--only", "pictures", "--minutes", "0", "--seed", "9"]) == 0
    assert again[0] == again[1]


FORBIDDEN_IMPORTS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "read_pickle", "to_pickle", "unsafe_load"}
FORBIDDEN_CALLS |= {"full_load", "load_all", "enable_unsafe_deserialization"}
# What a keyword must be, where it is given; and in which calls it must be.
KEYWORDS = {"allow_pickle": False, "safe_mode": True, "shell": False, "weights_only": True}


def unsafe_places(source: str) -> list[str]:
    """Returns the lines of a program that unpickle, or run code that came as data."""
    found = []
    for node in ast.walk(ast.parse(source)):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        bad = bool({module.split(".")[0] for module in modules} & FORBIDDEN_IMPORTS)
        if isinstance(node, ast.Call):
            # A method may be named `compile` or `load`: of a bare name, or of these modules, it is unsafe.
            called = ast.unparse(node.func)
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            bad |= called in FORBIDDEN_CALLS or called.split(".")[-1] in FORBIDDEN_CALLS - {"compile", "eval"}
            bad |= any(given.get(name, str(value)) != str(value) for name, value in KEYWORDS.items())
            bad |= called in ("np.load", "numpy.load") and "allow_pickle" not in given
            bad |= called.endswith("load_model") and "safe_mode" not in given
            bad |= called in ("yaml.load", "yaml.unsafe_load")
        if bad:
            found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("room", SOURCES, ids=lambda room: room.stem)
def test_no_room_unpickles_or_runs_code_that_comes_as_data(room):
    assert unsafe_places(room.read_text()) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib.numpy_pickle",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "keras.models.load_model(path)",
        "keras.models.load_model(path, safe_mode=False)",
        "yaml.load(text, Loader)",
        "eval(text)",
        "exec(text)",
        "pd.read_pickle(path)",
        "subprocess.run(text, shell=True)",
    ],
)
def test_the_search_for_unsafe_places_finds_one(line):
    assert unsafe_places(line)


def test_the_search_for_unsafe_places_leaves_the_safe_ones_alone():
    safe = "import ast\nast.literal_eval(x)\nre.compile(x)\nmodel.compile(loss=x)\nmodel.evaluate(x)\n"
    assert unsafe_places(safe + "np.load(x, allow_pickle=False)\nload_model(x, safe_mode=True)") == []
