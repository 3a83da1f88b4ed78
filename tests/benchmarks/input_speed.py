"""Speed of the input pipeline: reading, serving, waiting, growing, each against what it replaces.

    python tests/benchmarks/input_speed.py [--data ZIP_OR_FOLDER] [--parts abcd] [--results FILE.json]

Without `--data`, the files are the originals from `../shared/data/train.zip` if present, else drawn pictures
of that size. The candidates take turns in one run; a ratio is the median of the per-round ratios, printed
after their minimum and maximum. Each of these lines ends in a ratio or a percentage:

(a) augmented training batches of 180 x 180, as published: `PictureBatches` with one worker per core against
    Keras's ImageDataGenerator and against tf.data with Keras's augmentation layers (`input_peers.py`).
(b) features and pixel cache from a single decoding, against the published loop followed by decoding with
    `load_img`: both with nearest neighbour, as published, and ours with area against `load_img` with box
    interpolation. Ours writes its cache to disk, and hashes and checks every file; theirs keeps the pixels in
    memory.
(c) waiting for data: the share of an epoch of the modern network that is saved if every batch is the same
    one in memory. The two kinds of epoch alternate within one `fit`.
(d) seconds and peak memory for 1,500 to 12,000 pictures, each number in its own process
    (`input_growth.py`): memory of the process itself, excluding file pages.
"""

import argparse
import json
import logging
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import cv2
import keras
import pandas as pd
from input_peers import decode_again, list_names, published_loop, tfdata_batches

from src.config import find_paths
from src.data import find_data
from src.features import split_features
from src.generators import PictureBatches
from src.images.augmentation import Augmentation
from src.images.cache import cached_rows, extract_and_cache, open_cache
from src.images.speed import count_pictures, published_generator
from src.pipeline import notebook_parameters
from src.running.devices import fastest_precision, has_accelerator
from src.runs import write_json
from src.sample import draw_picture, encode, name_picture
from src.spaces import SPACES, fixed

ORIGINALS = Path(__file__).resolve().parents[3] / "shared" / "data" / "train.zip"
IMAGE_SIZE, BATCH_SIZE, SEED = 180, 32, 42
PAIRS = {"nearest": "nearest", "area": "box"}  # our interpolation, and the name `load_img` has for it
SIZES = (1_500, 3_000, 6_000, 12_000)
REST, LONGEST_REST = 1.0, 60.0  # seconds between turns: tf.data's threads keep filling their buffers


def find_pictures(data: str | None) -> Path:
    """Returns the folder of the source files: as requested, the originals, or drawn ones of that size."""
    paths = find_paths()
    if data or ORIGINALS.exists():
        return find_data(data or str(ORIGINALS), paths)
    return draw_large(paths.data / "drawn-large", 1_000)


def draw_large(folder: Path, number: int) -> Path:
    """Returns the folder with that many drawn pictures of about 500 x 375, the size of most of Kaggle's."""
    folder.mkdir(parents=True, exist_ok=True)

    def draw(place: int) -> None:
        path = folder / name_picture(place % 2 == 1, place // 2)
        if not path.exists():
            picture = draw_picture(SEED, place % 2 == 1, place // 2)
            factor = 500 / max(picture.shape)
            large = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
            path.write_bytes(encode(large))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(draw, range(number)))
    return folder


def rest() -> None:
    """Waits until all threads of this process are idle, so that no turn is slowed by the one before."""
    started = time.monotonic()
    while time.monotonic() - started < LONGEST_REST:
        worked = time.process_time()
        time.sleep(REST)
        if time.process_time() - worked < 0.02 * REST:
            return


def in_turns(measures: dict[str, Callable[[], float]], rounds: int) -> pd.DataFrame:
    """Returns what each function returned, one row per round, after a warm-up round that is discarded."""

    def after_a_rest(take: Callable[[], float]) -> float:
        rest()
        return take()

    turns = ({name: after_a_rest(take) for name, take in measures.items()} for _ in range(rounds + 1))
    return pd.DataFrame(turns)[1:]


def ratio(over: pd.Series, under: pd.Series) -> dict[str, float]:
    """Returns the median, minimum and maximum of the per-round ratios."""
    ratios = over / under
    return {"ratio": ratios.median(), "low": ratios.min(), "high": ratios.max()}


def seconds_of(function: Callable[[], object]) -> float:
    """Returns how many seconds the function takes."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def line(letter: str, what: str, result: dict) -> str:
    """Returns the line to print for one comparison."""
    return f"({letter}) {what} [{result['low']:.1f} to {result['high']:.1f}] {result['ratio']:.1f}x"


def make_batches(
    cache: Path,
    table: pd.DataFrame,
    augmentation: Augmentation,
    batch_size: int = BATCH_SIZE,
    kind: type[PictureBatches] = PictureBatches,
) -> PictureBatches:
    """Returns the training part's batches, with one worker per core."""
    pictures = cached_rows(table)
    chosen = pictures[pictures["split"] == "train"]
    return kind(
        open_cache(cache, len(table)),
        chosen.index.to_numpy(),
        chosen["code"].to_numpy(),
        chosen["image_name"].tolist(),
        batch_size,
        shuffle=True,
        augmentation=augmentation,
        seed=SEED,
        workers=os.cpu_count() or 1,
    )


def compare_batches(folder: Path, table: pd.DataFrame, cache: Path, rounds: int, seconds: float) -> dict:
    """Returns (a): pictures per second of all four, and our ratio to each of the other three."""
    augmentation = Augmentation()
    published = {name: value for name, value in asdict(augmentation).items() if name in KERAS_NAMES}
    served = (folder, table, IMAGE_SIZE, BATCH_SIZE, augmentation, SEED)
    sources = {
        "ours": make_batches(cache, table, augmentation),
        "ImageDataGenerator": published_generator(folder, table, IMAGE_SIZE, BATCH_SIZE, published, SEED),
        "tf.data": tfdata_batches(*served),
        "tf.data with .cache()": tfdata_batches(*served, in_memory=True),
    }
    speeds = in_turns(
        {name: lambda source=source: count_pictures(source, seconds) for name, source in sources.items()},
        rounds,
    )
    ratios = {name: ratio(speeds["ours"], speeds[name]) for name in list(sources)[1:]}
    median = speeds.median()
    lines = [
        line("a", f"{median['ours']:,.0f} pictures/s against {median[name]:,.0f} of {name}", result)
        for name, result in ratios.items()
    ]
    return {"lines": lines, "pictures_per_second": speeds.to_dict("list"), "ratios": ratios}


# Options of both Augmentation and ImageDataGenerator; crop and colours are ours alone.
KERAS_NAMES = ["rotation_range", "width_shift_range", "height_shift_range", "shear_range", "zoom_range"]
KERAS_NAMES += ["horizontal_flip", "vertical_flip", "fill_mode"]


def compare_reading(folder: Path, rounds: int) -> dict:
    """Returns (b): seconds of the two published passes and of our single one, for both interpolations."""
    names = list_names(folder)

    def ours(interpolation: str) -> float:
        with TemporaryDirectory(dir=find_paths().data) as caches:
            return seconds_of(lambda: extract_and_cache(folder, Path(caches), IMAGE_SIZE, interpolation))

    measures = {"loop": lambda: seconds_of(lambda: published_loop(folder))}
    for own, theirs in PAIRS.items():
        measures[f"load_img {theirs}"] = lambda theirs=theirs: seconds_of(
            lambda: decode_again(folder, names, IMAGE_SIZE, theirs)
        )
        measures[f"ours {own}"] = lambda own=own: ours(own)
    taken = in_turns(measures, rounds)
    ratios, lines = {}, []
    for own, theirs in PAIRS.items():
        both = taken["loop"] + taken[f"load_img {theirs}"]
        ratios[own] = ratio(both, taken[f"ours {own}"])
        what = f"{taken[f'ours {own}'].median():.2f} s by {own} against {both.median():.2f} s"
        lines.append(line("b", f"{what} of the published loop and load_img by {theirs}", ratios[own]))
    return {"lines": lines, "pictures": len(names), "seconds": taken.to_dict("list"), "ratios": ratios}


class EveryOtherEpoch(PictureBatches):
    """Serves real batches in even epochs; in odd epochs always the same batch, from memory."""

    kept = None

    def __getitem__(self, index: int) -> tuple:
        if self.epoch % 2 == 0:
            return super().__getitem__(index)
        if self.kept is None:
            self.kept = super().__getitem__(0)
        return self.kept


class EpochSeconds(keras.callbacks.Callback):
    """Records how long each epoch takes."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.seconds.append(time.perf_counter() - self._began)


def measure_waiting(table: pd.DataFrame, cache: Path, rounds: int, model: keras.Model | None = None) -> dict:
    """Returns (c): the share of an epoch's seconds that is saved if the batches are already in memory.

    Transformations and batch size are those of a default run; the network is the untuned one of the modern
    space, at the fastest precision: the less it computes, the more it would wait.
    """
    defaults = notebook_parameters("02_generators")
    known = {field.name for field in fields(Augmentation)} & defaults.keys()
    augmentation = Augmentation(**{name: defaults[name] for name in known})
    modern = SPACES["modern"]
    batch_size = modern.choose_batches(fixed({}))["batch_size"]
    batches = make_batches(cache, table, augmentation, batch_size, EveryOtherEpoch)
    if model is None:
        keras.config.set_dtype_policy(fastest_precision(has_accelerator()))
        model = modern.build(fixed({}), image_size=IMAGE_SIZE, steps=len(batches) * 2 * (rounds + 1))
        keras.config.set_dtype_policy("float32")
    watch = EpochSeconds()
    model.fit(batches, epochs=2 * (rounds + 1), callbacks=[watch], verbose=0)
    real, kept = (pd.Series(watch.seconds[2 + first :: 2]) for first in (0, 1))
    waiting = (real - kept) / real * 100
    share = {"percent": waiting.median(), "low": waiting.min(), "high": waiting.max()}
    speed = len(batches.rows) / real.median()
    what = f"waiting for data: the modern network, {speed:,.0f} pictures/s, against one batch in memory"
    text = f"(c) {what} [{share['low']:.1f} to {share['high']:.1f}] {share['percent']:.1f} %"
    return {"lines": [text], "waiting": share, "seconds": {"real": real.tolist(), "kept": kept.tolist()}}


def measure_sizes(folder: Path, sizes: tuple[int, ...] = SIZES) -> dict:
    """Returns (d): seconds and memory for each number of pictures, and the largest against the smallest."""
    script = Path(__file__).with_name("input_growth.py")
    rows = []
    for number in sizes:
        command = [sys.executable, str(script), str(folder), str(number)]
        printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        rows.append(json.loads(printed.splitlines()[-1]))
    table = pd.DataFrame(rows)
    first, last = table.iloc[0], table.iloc[-1]
    growth = {name: last[name] / first[name] for name in ("pictures", "seconds", "peak_memory_mb")}
    against = f"{last['pictures']:,.0f} pictures against {first['pictures']:,.0f}"
    megabytes = f"{last['peak_memory_mb']:.0f} MB against {first['peak_memory_mb']:.0f}"
    lines = [
        *table.round(1).to_string(index=False).splitlines(),
        f"(d) seconds of {against}, {growth['pictures']:.1f} times as many: {growth['seconds']:.1f}x",
        f"(d) peak memory of {against}, {megabytes}: {growth['peak_memory_mb']:.1f}x",
    ]
    return {"lines": lines, "sizes": rows, "growth": growth}


def main(arguments: list[str] | None = None) -> int:
    """Prints each line as soon as it is known, and writes all numbers to a JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", help="a folder or zip of labelled pictures")
    parser.add_argument("--parts", default="abcd")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of one turn in (a)")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--results", type=Path, default=find_paths().output / "input_speed.json")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.WARNING)
    os.environ["HEADLESS"] = "1"
    find_paths().data.mkdir(parents=True, exist_ok=True)
    folder = find_pictures(chosen.data)
    load = os.getloadavg()
    with TemporaryDirectory(dir=find_paths().data) as caches:
        table = split_features(extract_and_cache(folder, Path(caches), IMAGE_SIZE))
        cache = next(Path(caches).glob("*.npy"))
        parts = {
            "a": lambda: compare_batches(folder, table, cache, chosen.rounds, chosen.seconds),
            "b": lambda: compare_reading(folder, chosen.rounds),
            "c": lambda: measure_waiting(table, cache, chosen.rounds),
            "d": lambda: measure_sizes(folder, tuple(chosen.sizes)),
        }
        versions = f"Python {platform.python_version()}, Keras {keras.__version__}, OpenCV {cv2.__version__}"
        machine = f"{os.cpu_count()} cores, busy with {load[0]:.1f} others at the start"
        print(f"{len(table):,} files of {folder.name}, {machine}, {versions}", flush=True)
        results = {"files": len(table), "cores": os.cpu_count(), "load_before": load, "versions": versions}
        for letter in chosen.parts:
            results[letter] = parts[letter]()
            print("\n".join(results[letter].pop("lines")), flush=True)
    write_json(chosen.results, {**results, "load_after": os.getloadavg()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
