"""The peers of the comparison: what they are given, when they stop, how their results are kept and read."""

import json
import sys
from pathlib import Path

import keras
import keras_tuner
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent / "benchmarks"))

import peers
from peer import keras_io, kerastuner, ours, watch
from peer.clock import Clock
from peer.parts import load_parts

from src.evaluation import accuracy_interval
from src.features import extract_features, load_features, save_features, split_features
from src.images.cache import build_cache, cached_rows, open_cache
from src.runs import write_json
from src.sample import draw_sample

pytestmark = pytest.mark.long

SIZE = 16


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    """What notebooks 01 and 02 leave of a small drawn sample, its caches in the folder `data/cache`."""
    root = tmp_path_factory.mktemp("peers")
    drawn = draw_sample(root / "drawn", number=60)  # with files that cannot be used
    table = split_features(extract_features(drawn))
    save_features(table, root / "run" / "features.csv")
    cache = build_cache(drawn, table, root / "data" / "cache", SIZE)
    write_json(root / "run" / "data.json", {"folder": str(drawn), "fingerprint": "f"})
    write_json(root / "run" / "input.json", {"cache": cache.name, "image_size": SIZE})
    return root / "run"


@pytest.fixture(autouse=True)
def places(run_folder, monkeypatch):
    monkeypatch.setenv("DATA_ROOT", str(run_folder.parent / "data"))


class StoppedClock(Clock):
    """A clock that shows what it is told."""

    now = 0.0

    def seconds(self) -> float:
        return self.now


def result(peer: str, correct: int | None = None, **facts) -> dict:
    common = {
        "seed": 42,
        "minutes": 20,
        "cores": 2,
        "image_size": 64,
        "data_fingerprint": "f",
        "versions": {},
    }
    common |= {"seconds": 1200.0, "peak_memory_mb": 1536, "cores_used": 1.9, "passed_at": None, "trials": {}}
    return {"peer": peer, **common, **({"test": {"correct": correct, "n": 100}} if correct else {}), **facts}


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_peers_get_the_split_and_the_rows_of_the_cache_that_src_reads(run_folder):
    """The features table is read without pandas there; one row off, and every label is another picture's."""
    table = load_features(run_folder / "features.csv")
    pictures = cached_rows(table)
    pixels = open_cache(next((run_folder.parent / "data" / "cache").iterdir()), len(table))
    assert len(pictures) < len(table)  # left-out files lie between them
    parts = load_parts(run_folder)
    for name in ("train", "validation", "test"):
        chosen = pictures[pictures["split"] == name]
        assert parts[name].image_names == chosen["image_name"].tolist()
        assert parts[name].codes.tolist() == chosen["code"].tolist()
        assert np.array_equal(parts[name].pictures, pixels[chosen.index])


def test_a_run_without_notebook_02_is_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"input\.json is missing; run notebooks 01 and 02"):
        load_parts(tmp_path)


def test_the_table_puts_the_best_first_and_the_failed_last_with_their_reason():
    table = peers.make_table(
        [
            result("autokeras", error="MemoryError: too much"),
            result("published", 60, trials={"finished": 7, "failed": 0, "stopped": 1}),
            result("ours", 93, passed_at=61.4, trials={"finished": 12, "pruned": 8}),
        ]
    )
    rows = [cells_of(line) for line in table.splitlines()[2:]]
    assert [row[0].split(",")[0] for row in rows] == [
        peers.TITLES[name] for name in ("ours", "published", "autokeras")
    ]
    low, high = accuracy_interval(93, 100)
    assert rows[0][1] == f"0.9300 [{low:.4f}, {high:.4f}] n=100"
    assert rows[0][2:6] == ["61 s", "12 finished, 8 pruned", "20.0", "1.5 GB"]
    assert rows[1][2:4] == ["never", "7 finished, 1 stopped"]
    assert rows[2][1] == "failed: MemoryError: too much"
    assert len({len(cells_of(line)) for line in table.splitlines()}) == 1


def test_results_of_other_minutes_or_pictures_never_meet_in_one_table(tmp_path):
    for peer, minutes in (("ours", 20), ("published", 30)):
        (tmp_path / f"{peer}.json").write_text(json.dumps(result(peer, 90, minutes=minutes)))
    with pytest.raises(ValueError, match=r"minutes is 20 in ours\.json, 30 in published\.json"):
        peers.read_results(tmp_path)
    with pytest.raises(FileNotFoundError, match="holds no results"):
        peers.read_results(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "ended with code -9"),
        ("raise SystemExit(3)", "ended with code 3"),
    ],
)
def test_a_peer_that_dies_leaves_a_result_that_says_so(tmp_path, script, error):
    place = tmp_path / "results" / "published-42"
    peers.collect([sys.executable, "-c", script], place, result("published"))
    kept = json.loads(place.with_suffix(".json").read_text())
    assert error in kept["error"] and "test" not in kept
    assert peers.make_table(peers.read_results(place.parent)).count("failed:") == 1


def test_an_error_inside_a_peer_is_one_line_of_its_result(tmp_path, monkeypatch, capsys):
    def fail(*arguments):
        raise RuntimeError("too many failures\nTraceback\n  somewhere\nModuleNotFoundError: no tensorboard\n")

    monkeypatch.setattr(keras_io, "run", fail)
    (tmp_path / "keras_io-1.work").mkdir()
    assert peers.work("keras_io", tmp_path, 1, 1, tmp_path / "keras_io-1") == 1
    outcome = json.loads((tmp_path / "keras_io-1.work" / "outcome.json").read_text())
    wanted = "RuntimeError: too many failures ... ModuleNotFoundError: no tensorboard"
    assert outcome["error"] == wanted and "Traceback" in capsys.readouterr().err


def test_what_is_measured_beside_the_clock_does_not_cost_the_peer_time(monkeypatch):
    moments = iter([100.0, 110.0, 150.0, 151.0])
    monkeypatch.setattr("time.monotonic", lambda: next(moments))
    clock = Clock(1)
    with clock.set_aside():  # from 110 to 150
        pass
    assert clock.aside == 40 and clock.seconds() == 151 - 100 - 40


def train(watching: watch.Watch, epochs: int, each: int = 0) -> keras.callbacks.History:
    """A training of 4 batches an epoch; the clock goes on by `each` seconds a batch."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
    x = np.zeros((8, 1), "float32")

    def tick(batch, logs):
        watching.clock.now += each

    ticking = keras.callbacks.LambdaCallback(on_train_batch_end=tick)
    data = {"x": x, "y": x, "batch_size": 2, "validation_data": (x, x)}
    return model.fit(**data, epochs=epochs, callbacks=[ticking, watching], verbose=0)


def test_training_stops_at_the_first_batch_after_the_time_and_its_epoch_counts():
    watching = watch.Watch(StoppedClock(1))
    history = train(watching, epochs=5, each=10)
    assert watching.clock.now == 60 and len(history.history["loss"]) == 2  # 6 batches: an epoch and a half
    assert (watching.epochs, watching.stopped) == (2, 1)


def test_the_moment_of_passing_is_the_first_one_and_stays():
    watching = watch.Watch(StoppedClock(100))
    for seconds, accuracy in ((10, 0.7484), (20, 0.76), (30, 0.9)):  # equal is not above
        watching.clock.now = seconds
        watching.on_epoch_end(0, {"val_accuracy": accuracy})
    assert watching.passed_at == 20


def test_a_peer_that_validates_on_a_part_is_looked_at_on_the_whole():
    """By luck 1/16 of the pictures may be far above the whole; only the whole counts, and only where near."""
    asked, truth = [], iter([0.6, 0.75])
    watching = watch.Watch(StoppedClock(100), lambda model: asked.append(watching.clock.now) or next(truth))
    for seconds, accuracy in ((10, 0.5), (20, 0.9), (30, 0.7), (40, 0.9)):
        watching.clock.now = seconds
        watching.on_epoch_end(0, {"val_accuracy": accuracy})
    assert asked == [20, 30] and watching.passed_at == 30


@pytest.fixture
def search(tmp_path):
    class Search(keras_tuner.RandomSearch):
        def run_trial(self, trial, watching, each):
            return train(watching, epochs=2, each=each)

    def build(hp):
        hp.Float("rate", 0, 1)

    return Search(build, "val_accuracy", max_trials=50, directory=tmp_path, project_name="search")


def test_a_search_ends_with_its_share_and_a_trial_without_an_epoch_is_abandoned(search):
    """2 trials of 2 epochs of 4 batches take 160 of 170 seconds; the third is given up in its first batch."""
    watching = watch.Watch(StoppedClock(340 / 60))
    watching.end_search(search.oracle, share=0.5)
    search.search(watching, 10)
    assert watching.clock.now == 170
    assert watch.trial_counts(search.oracle, watching) == {"finished": 2, "failed": 0, "stopped": 1}
    assert watch.best_hyperparameters(search.oracle).values.keys() == {"rate"}


def test_the_only_trial_counts_even_if_the_time_ends_its_first_epoch(search):
    watching = watch.Watch(StoppedClock(1))
    watching.end_search(search.oracle, share=0.5)
    search.search(watching, 15)
    assert watching.clock.now == 30
    assert watch.trial_counts(search.oracle, watching) == {"finished": 0, "failed": 0, "stopped": 1}
    assert watch.best_hyperparameters(search.oracle).values.keys() == {"rate"}


def test_a_search_without_a_completed_trial_says_why(search):
    search.run_trial = lambda *arguments: 1 / 0
    with pytest.raises(RuntimeError, match="consecutive failures"):
        search.search(None, 0)
    with pytest.raises(RuntimeError, match="no trial was completed: ZeroDivisionError"):
        watch.best_hyperparameters(search.oracle)


def test_the_keras_io_network_has_the_parameters_of_its_drawing():
    """Entry 128, residual blocks of two separable convolutions 256, 512, 728, exit 1024, one unit."""

    def separable(inputs: int, outputs: int) -> int:
        return 9 * inputs + inputs * outputs + outputs + 4 * outputs  # with batch normalisation

    wanted, inputs = 9 * 3 * 128 + 128 + 4 * 128, 128
    for outputs in (256, 512, 728):
        wanted += separable(inputs, outputs) + separable(outputs, outputs) + inputs * outputs + outputs
        inputs = outputs
    wanted += separable(728, 1024) + 1024 + 1
    assert keras_io.build_xception(64).count_params() == wanted


@pytest.mark.slow
@pytest.mark.parametrize("peer", [keras_io, kerastuner])
def test_a_peer_ends_with_every_test_picture_predicted_once(peer, run_folder, tmp_path):
    outcome = peer.run(Clock(0.02), run_folder, 1, tmp_path)
    assert outcome["test"]["n"] == len(load_parts(run_folder)["test"].codes)
    assert 0 <= outcome["test"]["correct"] <= outcome["test"]["n"] and outcome["seconds"] >= 1.2


def test_our_lines_are_stamped_and_the_first_above_the_threshold_is_the_moment(run_folder, tmp_path, capsys):
    our_run = ours.Run(StoppedClock(20), run_folder, 42, tmp_path)
    epoch = "trial 1 of 20, epoch 1 of 16: accuracy 0.9000, loss 0.5, val_accuracy {}, val_loss 0.6 (9 s)\n"
    for seconds, line in (
        (30, "conv_1_filter (Int)\n"),
        (40, epoch.format("0.7484")),
        (50, epoch.format("0.7485")),
        (60, "trial 1 of 20: val_accuracy 0.9000, best so far 0.9000, 0.5 min\n"),
    ):
        our_run.clock.now = seconds
        our_run.read_line(line)
    assert our_run.passed_at == 50 and our_run.epochs == 2
    assert capsys.readouterr().out.startswith("   30.0 s  conv_1_filter")
