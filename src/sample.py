"""Draws the default data set: cats and dogs that differ only in shape, and a few odd files."""

import io
import logging
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from src.drawn.drawing import develop, draw_background
from src.drawn.poses import draw_animal
from src.running.locks import fill_folder
from src.running.resources import check_space, check_writable

logger = logging.getLogger(__name__)

BYTES_A_PICTURE = 16_000  # on disk, a little more than their mean

# The files that the audit should find, and what each of them is. Their numbers follow those of
# Kaggle's 25,000 pictures, so that they never collide with a drawn one.
TRAPS = {
    "cat.12500.jpg": "zero bytes",
    "dog.12500.jpg": "truncated JPEG",
    "cat.12501.jpg": "PNG under a .jpg name",
    "dog.12501.jpg": "grayscale JPEG",
    "cat.12502.jpg": "CMYK JPEG",
    "dog.12502.jpg": "exact duplicate of dog.0.jpg",
    "cat.12503.jpg": "near duplicate of cat.0.jpg: smaller, saved again",
    "dog.12503.jpg": "same picture as cat.1.jpg under the other label",
    "cat.12504.jpg": "very narrow: 33 high, 195 wide",
    "dog.12504.jpg": "lying on its side, EXIF orientation 6 sets it upright",
    "12505.jpg": "no label in the name",
    "Thumbs.db": "not a picture",
}


def draw_sample(folder: Path, number: int = 1200, seed: int = 42, traps: bool = True) -> Path:
    """Returns the folder, filled with drawn pictures `cat.0.jpg` ... and `dog.0.jpg` ..., half of each.

    Each picture depends only on (seed, class, its number), so a larger sample begins with the smaller
    one. The folder appears only once it is complete: a kill leaves nothing that looks like a sample. A
    folder that already is this sample is returned as it is.

    Args:
        folder: where the files go; its parents are created.
        number: total number of pictures, 4 to 25,000; if it is odd, there is one more cat.
        seed: of the drawing.
        traps: whether to add the dozen odd files in `TRAPS`.

    Raises:
        ValueError: the number is out of range, or the folder holds something else.
    """
    if not 4 <= number <= 25_000:
        raise ValueError(f"number is {number}: the sample has 4 to 25,000 pictures")
    animals = [(k % 2 == 1, k // 2) for k in range(number)]
    named = {name_picture(*animal): animal for animal in animals}
    return _draw(folder, named, seed, TRAPS if traps else (), lambda part: add_traps(part, seed))


def draw_unlabelled(folder: Path, number: int = 60, seed: int = 42) -> Path:
    """Returns the folder, filled with drawn pictures `1.jpg`, `2.jpg` ..., unlabelled like Kaggle's test1.

    None of them is in the labelled sample. One more, the last, cannot be read. Otherwise like `draw_sample`.

    Args:
        folder: where the files go; its parents are created.
        number: of readable pictures.
        seed: of the drawing.

    Raises:
        ValueError: the folder holds something else.
    """
    broken = f"{number + 1}.jpg"

    def add_broken(part: Path) -> None:
        whole = encode(draw_picture(seed, False, 12_999))
        (part / broken).write_bytes(whole[: len(whole) // 2])

    return _draw(folder, unlabelled_animals(number, seed), seed, [broken], add_broken)


def unlabelled_animals(number: int = 60, seed: int = 42) -> dict[str, tuple[bool, int]]:
    """Returns what each unlabelled picture shows, by file name: whether a dog, and its number as drawn."""
    is_dog = np.random.default_rng([seed, 2]).permutation(number) % 2 == 1
    # Beyond the largest labelled sample (12,500 per class) and the numbers of its traps.
    return {f"{k}.jpg": (bool(dog), 13_000 + k) for k, dog in enumerate(is_dog, start=1)}


def _draw(
    folder: Path,
    animals: dict[str, tuple[bool, int]],
    seed: int,
    others: Iterable[str],
    add: Callable[[Path], None],
) -> Path:
    """Returns the folder once it is complete.

    Args:
        folder: where the files go.
        animals: what each picture shows, by file name: whether a dog, and its number.
        seed: of the drawing.
        others: names of the files that `add` writes beside them.
        add: called with the unfinished folder if there are `others`.

    Raises:
        ValueError: the folder holds something else.
    """

    def fill(part: Path) -> None:
        logger.info("drawing %d pictures into %s", len(animals), folder)

        def draw(name: str) -> None:
            (part / name).write_bytes(encode(draw_picture(seed, *animals[name])))

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(draw, animals))
        if others:
            add(part)

    if not folder.is_dir() or not any(folder.iterdir()):
        check_writable(folder.parent)
        check_space(folder.parent, len(animals) * BYTES_A_PICTURE, "the drawn sample")
        fill_folder(folder, fill)
    if not _is_sample(folder, animals, others, seed):
        raise ValueError(f"{folder} holds other files than this sample: name another folder, or delete it")
    return folder


def _is_sample(folder: Path, animals: dict[str, tuple[bool, int]], others: Iterable[str], seed: int) -> bool:
    """Returns whether the folder holds exactly these files and the first picture has this seed's size."""
    found = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    name, animal = next(iter(animals.items()))
    first = cv2.imread(str(folder / name)) if found == {*animals, *others} else None
    return first is not None and first.shape == draw_picture(seed, *animal).shape


def name_picture(is_dog: bool, number: int) -> str:
    """Returns the file name in Kaggle's style: `dog.17.jpg`."""
    return f"{'dog' if is_dog else 'cat'}.{number}.jpg"


def draw_picture(seed: int, is_dog: bool, number: int) -> np.ndarray:
    """Returns one picture: uint8, BGR, sides of 90 to 260 pixels."""
    random = np.random.default_rng((seed, int(is_dog), number))
    longer = random.integers(150, 261)
    height, width = (int(side) for side in random.permutation([longer, longer * random.uniform(0.6, 1)]))
    picture = draw_background(random, height, width)
    return develop(random, draw_animal(random, picture, is_dog))


def encode(picture: np.ndarray, quality: int = 88) -> bytes:
    """Returns the picture encoded as a JPEG file."""
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def add_traps(folder: Path, seed: int) -> None:
    """Writes the files of `TRAPS` beside the drawn pictures; only the duplicates repeat any of those."""

    def draw(name: str) -> np.ndarray:
        category, number, _ = name.split(".")
        return draw_picture(seed, category == "dog", int(number))

    def save(picture: np.ndarray, file_format: str, mode: str = "RGB", **options) -> bytes:
        file = io.BytesIO()
        Image.fromarray(picture[..., ::-1]).convert(mode).save(file, file_format, **options)
        return file.getvalue()

    upright = Image.Exif()
    upright[0x0112] = 6  # orientation: turn a quarter clockwise to see it upright
    on_its_side = cv2.rotate(draw("dog.12504.jpg"), cv2.ROTATE_90_COUNTERCLOCKWISE)
    whole = encode(draw("dog.12500.jpg"))
    smaller = cv2.resize(draw("cat.0.jpg"), None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
    contents = {
        "cat.12500.jpg": b"",
        "dog.12500.jpg": whole[: len(whole) // 2],
        "cat.12501.jpg": save(draw("cat.12501.jpg"), "PNG"),
        "dog.12501.jpg": save(draw("dog.12501.jpg"), "JPEG", mode="L"),
        "cat.12502.jpg": save(draw("cat.12502.jpg"), "JPEG", mode="CMYK"),
        "dog.12502.jpg": (folder / "dog.0.jpg").read_bytes(),
        "cat.12503.jpg": encode(smaller, quality=70),
        "dog.12503.jpg": (folder / "cat.1.jpg").read_bytes(),
        "cat.12504.jpg": encode(cv2.resize(draw("cat.12504.jpg"), (195, 33), interpolation=cv2.INTER_AREA)),
        "dog.12504.jpg": save(on_its_side, "JPEG", exif=upright),
        "12505.jpg": encode(draw("cat.12505.jpg")),
        "Thumbs.db": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504),  # how Windows' thumbnail stores begin
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
