"""Disk and memory: refused with figures before work begins, recognized when they run out in the middle."""

import errno
import os
import platform
import shutil
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import keras
import numpy as np
import psutil
import pytest
from search_in_process import Training, build, run_search, serve, tables

from src.config import PUBLISHED_BEST, PUBLISHED_PARAMETERS
from src.features import extract_features
from src.finalists import train_finalists
from src.generators import PictureBatches
from src.images.cache import build_cache, extract_and_cache
from src.images.cache_writer import CacheWriter
from src.images.pictures import read_picture
from src.model import build_cnn
from src.networks.ensemble import save_weights
from src.running.resources import (
    check_space,
    check_writable,
    is_full,
    is_out_of_memory,
    keep_freed_memory,
    training_bytes,
)
from src.sample import draw_sample
from src.search import make_search
from src.searches.checkpoints import Checkpoint
from src.searches.tuner_state import drop_optimizer
from src.spaces import Space, as_settled
from src.training import PictureTraining

pytestmark = pytest.mark.long

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 600 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", folder], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_what_does_not_fit_is_refused_with_both_figures(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    check_space(tmp_path / "not" / "there", free // 2, "half of it")
    with pytest.raises(OSError, match=r"the cache takes about .* MB in .*, where .* MB are free; free some"):
        check_space(tmp_path / "not" / "there", free * 2, "the cache")


def test_the_published_network_needs_less_than_a_gigabyte():
    assert 24_319_489 * 4 * 3 < training_bytes(24_319_489) < 1e9


def test_a_cache_that_does_not_fit_is_refused_before_a_picture_is_decoded(tmp_path, monkeypatch):
    folder = draw_sample(tmp_path / "pictures", number=30, traps=False)
    table = extract_features(folder)
    monkeypatch.setattr("src.images.cache.read_picture", lambda path: 1 / 0)
    for make in (
        lambda: extract_and_cache(folder, tmp_path / "caches", 4_000_000),
        lambda: build_cache(folder, table, tmp_path / "caches", 4_000_000),
    ):
        with pytest.raises(OSError, match="the pixel cache of 30 files takes about"):
            make()
    assert not (tmp_path / "caches").exists()


def test_an_error_that_is_its_own_cause_is_looked_at_once():
    with pytest.raises(ValueError, match="round") as caught:
        raise (error := ValueError("round and round")) from error
    assert not is_full(caught.value) and not is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    ("error", "full", "memory"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True, False),
        (RuntimeError("(sqlite3.OperationalError) database or disk is full"), True, False),
        (OSError(errno.EACCES, "Permission denied"), False, False),
        (MemoryError(), False, True),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate"), False, True),
        (RuntimeError("in order to run _EagerConst: Dst tensor is not initialized."), False, True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), False, True),
        (type("ResourceExhaustedError", (Exception,), {})("{{function_node}} x.h5"), False, True),
        (type("ResourceExhaustedError", (Exception,), {})("x.h5; No space left on device"), True, False),
        (type("OutOfMemoryError", (RuntimeError,), {})("tried to allocate 2 GiB"), False, True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True, False),
        (ValueError("no"), False, False),
    ],
)
def test_both_are_recognized_also_as_the_cause_of_another_error(error, full, memory):
    outer = RuntimeError("saving failed")
    outer.__cause__ = error
    assert (is_full(error), is_full(outer)) == (full, full)
    assert (is_out_of_memory(error), is_out_of_memory(outer)) == (memory, memory)


def test_a_folder_that_cannot_be_written_is_said_before_work_begins(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        OSError, match=r"file/run cannot be written into \(Not a directory\); set OUTPUT_ROOT"
    ):
        check_writable(tmp_path / "file" / "run")
    check_writable(tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []


def test_a_read_only_disk_is_said_before_work_begins(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(OSError, match=r"cannot be written into \(Read-only file system\)"):
        check_writable(small_disk / "run")


def fill(folder: Path) -> Path:
    """Returns the file that takes what is left of a disk."""
    filler = folder / "filler"
    with filler.open("wb") as file, pytest.raises(OSError):
        while True:
            os.write(file.fileno(), b"x" * 4096)
    return filler


def test_weights_without_room_are_an_error_and_not_the_end_of_the_process(small_disk):
    """HDF5 crashes if the disk is full when it closes a file."""
    network = keras.Sequential([keras.Input((64,)), *[keras.layers.Dense(64) for _ in range(3)]])
    place = small_disk / "model.weights.h5"
    save_weights(network, place)
    before, filler = place.read_bytes(), fill(small_disk)
    for free in (4_096, 20_480):
        os.truncate(filler, filler.stat().st_size - free)
        with pytest.raises(OSError, match=r"model\.weights\.h5 takes about") as caught:
            save_weights(network, place)
        with pytest.raises(OSError, match=r"model\.weights\.h5 takes about"):
            drop_optimizer(place)
        assert is_full(caught.value) and place.read_bytes() == before
    assert sorted(path.name for path in small_disk.iterdir()) == ["filler", "model.weights.h5"]


@pytest.mark.parametrize("tuner", ["optuna", "random"])
def test_a_disk_that_fills_up_ends_the_search_and_with_room_it_goes_on_to_the_same_end(
    tuner, small_disk, tmp_path
):
    """The engine's own files, the histories and the checkpoints, on a disk that something else fills."""
    run_search(small_disk / "run", tuner, max_trials=1)
    filler = fill(small_disk)
    with pytest.raises(Exception) as caught:
        run_search(small_disk / "run", tuner, max_trials=3)
    assert is_full(caught.value)
    filler.unlink()
    resumed = tables(run_search(small_disk / "run", tuner, max_trials=3))[0]
    whole = tables(run_search(tmp_path / "whole", tuner, max_trials=3))[0]
    assert resumed.drop(columns=["seconds", "started"]).equals(whole.drop(columns=["seconds", "started"]))


def test_a_disk_that_fills_up_under_a_finalist_ends_its_training_and_with_room_it_goes_on(
    small_disk, tmp_path, monkeypatch
):
    monkeypatch.setenv("EPOCH_LOG", str(tmp_path / "epochs.txt"))
    values = {"trouble": "none", "units": 4, "rate": 0.01}
    finalist = {"trial": 1, "hyperparameters": values, "score": 0.5, "seconds_an_epoch": 1.0}
    finalist["seconds_a_validation"] = 0.1
    training = Training(Space(build, as_settled, ()), {}, serve, epochs=4)
    save = Checkpoint.on_epoch_end

    def save_and_fill(self, epoch, logs=None):
        save(self, epoch, logs)
        if epoch == 1 and not (small_disk / "filler").exists():
            fill(small_disk)

    monkeypatch.setattr(Checkpoint, "on_epoch_end", save_and_fill)
    with pytest.raises(OSError, match="the disk of .* is full; free some space.* after the last whole"):
        train_finalists(training, [finalist], [7], small_disk / "run", {})
    (small_disk / "filler").unlink()
    monkeypatch.setattr(Checkpoint, "on_epoch_end", save)
    resumed = train_finalists(training, [finalist], [7], small_disk / "run", {})
    begun = [int(line.split()[-1]) for line in (tmp_path / "epochs.txt").read_text().splitlines()]
    assert begun in (
        [0, 1, 2, 2, 3],
        [0, 1, 2, 3],
    )  # the third may have ended where its checkpoint had no room
    whole = train_finalists(training, [finalist], [7], tmp_path / "whole", {})
    unlike = ["seconds", "folder"]
    assert resumed.drop(columns=unlike).equals(whole.drop(columns=unlike))


def test_a_disk_that_fills_up_under_a_cache_leaves_no_half_of_one(small_disk, tmp_path, monkeypatch):
    folder = draw_sample(tmp_path / "pictures", number=30, traps=False)
    table, decoded = extract_features(folder), []

    def read_and_fill(path, content):
        decoded.append(path)
        if len(decoded) == 5:
            fill(small_disk)
        return read_picture(path, content)

    monkeypatch.setattr("src.images.cache.read_picture", read_and_fill)
    with pytest.raises(OSError) as caught:
        build_cache(folder, table, small_disk / "caches", 64)
    assert is_full(caught.value)
    (small_disk / "filler").unlink()
    assert not list((small_disk / "caches").iterdir())
    with pytest.raises(OSError) as caught, CacheWriter(small_disk / "caches", 64, "area"):
        fill(small_disk)  # before even the header is written
    assert is_full(caught.value)
    (small_disk / "filler").unlink()
    assert not list((small_disk / "caches").iterdir())
    path = build_cache(folder, table, small_disk / "caches", 64)
    whole = build_cache(folder, table, tmp_path / "caches", 64)
    assert path.read_bytes() == whole.read_bytes()


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
from src.runs import write_json, write_table
import pandas as pd

folder, kills = Path(sys.argv[1]), int(sys.argv[2])
random.seed(0)
for kill in range(kills):
    child = os.fork()
    if not child:
        for number in range(10**9):
            write_json(folder / "state.json", {"numbers": list(range(number % 5000))})
            write_table(pd.DataFrame({"x": range(number % 500)}), folder / "state.csv")
    time.sleep(random.uniform(0.01, 0.06))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    import json
    values = json.loads((folder / "state.json").read_text())["numbers"]
    assert values == list(range(len(values)))
    if (folder / "state.csv").exists():
        table = pd.read_csv(folder / "state.csv")["x"].tolist()
        assert table == list(range(len(table)))
print("whole", kills)
"""


def published_network(hp):
    """The published best network, 24 million parameters, and a search that moves its learning rate alone."""
    return build_cnn(learning_rate=hp.Float("learning_rate", 1e-5, 1e-3, sampling="log"), **PUBLISHED_BEST)


def serve_two(part: str, training: bool = False, seed: int | None = None) -> PictureBatches:
    pixels = np.zeros((2, 180, 180, 3), "uint8")
    return PictureBatches(pixels, np.arange(2), np.arange(2), ["0.jpg", "1.jpg"], batch_size=2, workers=1)


def bytes_below(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # replaced at this moment
            total += path.stat().st_size
    return total


@pytest.mark.slow
@pytest.mark.parametrize("tuner", ["optuna", "random"])
def test_20_trials_of_the_published_size_never_take_a_gigabyte(tmp_path, tuner):
    training = PictureTraining(Space(published_network, as_settled, ()), {}, serve_two, epochs=1)
    search = make_search(tuner, training, tmp_path, {"space_name": "published"}, max_trials=20)
    over, most = threading.Event(), [0]
    before = psutil.Process().memory_info().rss

    def watch():
        while not over.wait(0.05):
            most[0] = max(most[0], bytes_below(tmp_path))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        search.run_for()
    finally:
        over.set()
        watching.join()
    assert [record.status for record in search.records()] == ["completed"] * 20
    weights = 4 * PUBLISHED_PARAMETERS
    assert weights < bytes_below(tmp_path) < 1.1 * weights  # the best trial's alone, without its optimizer
    assert 2 * weights < most[0] < 1e9
    # Without `release`, 20 times the weights and the optimizer's two moments.
    assert psutil.Process().memory_info().rss - before < 20 * weights


def test_150_kills_in_a_loop_that_saves_leave_nothing_unreadable(tmp_path):
    (tmp_path / "state.json").write_text('{"numbers": []}')
    command = [sys.executable, "-c", KILLED, tmp_path, "150"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.stdout == "whole 150\n", done.stderr


FAULTS = """
import ctypes, resource, sys
from src.running.resources import keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory()
library, size = ctypes.CDLL(None), 48 * 2**20
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]
for turn in range(11):
    if turn == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = library.malloc(size)
    ctypes.memset(block, 1, size)
    library.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_used_again_instead_of_got_anew_page_by_page():
    def faults(kept: str) -> int:
        command = [sys.executable, "-c", FAULTS, kept]
        return int(subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout)

    # As it is, 123,000 pages of 4 kB, or 240 where pages are large; kept, what Python itself asks for.
    assert faults("kept") < faults("as it is") / 4


def test_another_c_library_is_left_as_it_is(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()
