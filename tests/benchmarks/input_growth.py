"""Features, cache and one epoch of batches for N pictures: seconds taken and peak memory.

    python tests/benchmarks/input_growth.py FOLDER N

`input_speed.py` starts one process per N. The pictures of FOLDER are linked under new names until there are
N. Prints one JSON object.
"""

import json
import os
import shutil
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ["HEADLESS"] = "1"

import psutil

from src.config import find_paths
from src.features import split_features
from src.generators import PictureBatches
from src.images.augmentation import Augmentation
from src.images.cache import cached_rows, extract_and_cache, open_cache
from src.images.files import list_files

IMAGE_SIZE, BATCH_SIZE = 180, 32


class Watch(threading.Thread):
    """Samples this process's own memory, excluding file pages, every 10 ms."""

    def __init__(self):
        super().__init__(daemon=True)
        self.process, self.peak, self.done = psutil.Process(), 0, threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.01):
            self.peak = max(self.peak, self.now())

    def now(self) -> int:
        """Returns the bytes of resident memory that is not shared; all of it if the system does not tell."""
        memory = self.process.memory_info()
        return memory.rss - getattr(memory, "shared", 0)


def link_pictures(originals: list[Path], folder: Path, number: int) -> None:
    """Fills the folder with that many pictures under unique names, half of them labelled as cats."""
    for place in range(number):
        source = originals[place % len(originals)]
        target = folder / f"{('cat', 'dog')[place % 2]}.{place // 2}{source.suffix}"
        try:
            os.link(source, target)
        except OSError:  # on another disk
            shutil.copy(source, target)


def measure_growth(originals: Path, number: int, work: Path) -> dict:
    """Returns seconds and megabytes for that many pictures.

    Args:
        originals: a folder of pictures, all of them usable.
        number: of pictures.
        work: a folder for links and cache, ideally on the same disk.
    """
    folder = work / "pictures"
    folder.mkdir()
    link_pictures([path for _, path in list_files(originals)], folder, number)
    watch = Watch()
    before = watch.peak = watch.now()
    watch.start()
    started = time.perf_counter()
    table = split_features(extract_and_cache(folder, work / "cache", IMAGE_SIZE))
    decoded = time.perf_counter()
    pictures = cached_rows(table)
    chosen = pictures[pictures["split"] == "train"]
    batches = PictureBatches(
        open_cache(next((work / "cache").glob("*.npy")), len(table)),
        chosen.index.to_numpy(),
        chosen["code"].to_numpy(),
        chosen["image_name"].tolist(),
        BATCH_SIZE,
        shuffle=True,
        augmentation=Augmentation(),
        workers=os.cpu_count() or 1,
    )
    with ThreadPoolExecutor(batches.workers) as pool:
        served = sum(len(codes) for _, codes in pool.map(batches.__getitem__, range(len(batches))))
    ended = time.perf_counter()
    watch.done.set()
    megabytes = {"memory_before_mb": before / 1e6, "peak_memory_mb": watch.peak / 1e6}
    seconds = {"features_and_cache_s": decoded - started, "epoch_s": ended - decoded}
    return {"pictures": number, "served": served, "seconds": ended - started, **seconds, **megabytes}


if __name__ == "__main__":
    data = find_paths().data
    data.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=data, prefix="growth-") as temporary:
        result = measure_growth(Path(sys.argv[1]).resolve(), int(sys.argv[2]), Path(temporary))
    sys.stdout.write(json.dumps(result) + "\n")
