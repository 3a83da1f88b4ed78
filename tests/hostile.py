"""Input that is hostile or odd: each case makes it below a folder, and says what has to become of it."""

import io
import json
import os
import pickle
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import keras
import numpy as np
import pandas as pd
from PIL import Image

from src.features import save_features, split_features
from src.images.cache import cache_key

HEIGHT, WIDTH = 24, 32
PICTURES = 20  # of each class in a run
SIDE = 8  # of the cached pictures of a run


class Case(NamedTuple):
    """One input, the reader that it goes through, and what that must do with it."""

    reader: str  # a key of READERS
    make: Callable[[Path], Path]  # writes it below a folder, returns what is given to the reader
    refused: str = ""  # a pattern that the message holds: the value, or what is wrong with it
    used: object = None  # what the reader returns, where the input is odd and no more
    names: str = ""  # what the message names instead of the file that was given


# ---- Zips ----------------------------------------------------------------------------------------


def pack(path: Path, members: dict, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """Writes a zip; a key is a name or a ZipInfo."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of a name that comes twice
        for member, content in members.items():
            archive.writestr(member, content)
    return path


def zip_of(*names: str) -> Callable[[Path], Path]:
    return lambda folder: pack(folder / "odd.zip", dict.fromkeys(names, b"picture"))


def zip_of_a_kind(kind: int) -> Callable[[Path], Path]:
    info = zipfile.ZipInfo("link.jpg")
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    return lambda folder: pack(folder / "odd.zip", {info: "/etc/passwd"})


def zip_twice(folder: Path) -> Path:
    infos = [zipfile.ZipInfo("Cat/1.jpg"), zipfile.ZipInfo("cat/1.JPG")]
    return pack(folder / "odd.zip", dict.fromkeys(infos, b"picture"))


def patched_zip(old: bytes, new: bytes, content: bytes = b"picture") -> Callable[[Path], Path]:
    """A zip in which bytes were replaced, headers included."""

    def make(folder: Path) -> Path:
        path = pack(folder / "odd.zip", {"cat.jpg": content}, zipfile.ZIP_STORED)
        path.write_bytes(path.read_bytes().replace(old, new))
        return path

    return make


def cut_zip(share: float) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = pack(folder / "odd.zip", {f"{number}.jpg": os.urandom(50) for number in range(3)})
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
        return path

    return make


def bomb(folder: Path) -> Path:
    """110 MB of zeros in about 110 kB."""
    path = folder / "odd.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("cat.0.jpg", "w") as file:
            for _ in range(11):
                file.write(bytes(10_000_000))
    return path


def nested_zip(depth: int) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        content = {"Cat/1.jpg": b"picture", "Dog/1.jpg": b"picture"}
        for level in range(depth):
            path = pack(folder / f"{level}.zip", content)
            content = {path.name: path.read_bytes()}
        return path

    return make


def file_of(name: str, content: bytes = b"") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return make


def special(make_it: Callable[[Path], None], name: str = "train.zip") -> Callable[[Path], Path]:
    """A folder in which something special is named like a zip."""

    def make(folder: Path) -> Path:
        make_it(folder / name)
        return folder

    return make


CLASSES = ["Cat/1.jpg", "Dog/1.jpg"]
ENCRYPTED = (struct.pack("<HHH", 20, 0, 0), struct.pack("<HHH", 20, 1, 0))

ZIPS = {
    "zip, name above the folder": Case("archive", zip_of("a.jpg", "../out.jpg"), "leave the folder"),
    "zip, name above by detours": Case("archive", zip_of("a/b/../../../out.jpg"), "leave the folder"),
    "zip, name above with backslashes": Case("archive", zip_of("..\\out.jpg"), "leave the folder"),
    "zip, absolute name": Case("archive", zip_of("/tmp/out.jpg"), "leave the folder"),
    "zip, absolute name of Windows": Case("archive", zip_of("C:\\out.jpg"), "leave the folder"),
    "zip, link": Case("archive", zip_of_a_kind(stat.S_IFLNK), "link or a device"),
    "zip, device": Case("archive", zip_of_a_kind(stat.S_IFCHR), "link or a device"),
    "zip, bomb": Case("archive", bomb, "110,000,000 bytes"),
    "zip, encrypted": Case("archive", patched_zip(*ENCRYPTED), "encrypted"),
    "zip, checksum wrong": Case("archive", patched_zip(b"picture", b"pibture"), "'cat.jpg' is damaged"),
    "zip, name twice": Case("archive", zip_twice, "is there twice"),
    "zip, file and folder of one name": Case("archive", zip_of("a", "a/b.jpg"), "a file and a folder"),
    "zip, name of 300 bytes": Case("archive", zip_of("n" * 300), "longer than 255 bytes"),
    "zip, folders 30,000 deep": Case("archive", zip_of("a/" * 30_000 + "b"), "longer than 1000 bytes"),
    "zip, line ends in a name": Case("archive", zip_of("a\nb/../../c.jpg"), "leave the folder"),
    "zip, no bytes": Case("archive", file_of("odd.zip"), "not a whole zip"),
    "zip, a text": Case("archive", file_of("odd.zip", b"hello\n" * 99), "not a whole zip"),
    **{
        f"zip, {tenth} tenths of it": Case("archive", cut_zip(tenth / 10), "not a whole zip")
        for tenth in range(1, 10)
    },
    "zip, of bytes before it": Case(
        "archive",
        lambda folder: file_of("odd.zip", b"#!/bin/sh\n" + zip_of("a.jpg")(folder).read_bytes())(folder),
        used=["a.jpg"],
    ),
    "zip, of a Mac": Case("archive", zip_of("a.jpg", "__MACOSX/._a.jpg"), used=["a.jpg"]),
    "zip in zip": Case("data", nested_zip(3), used="0"),
    "zip in zip too deep": Case("data", nested_zip(5), "zips in zips", names="4.zip"),
    "zip of a name of 250 bytes": Case(
        "data", lambda folder: pack(folder / f"{'n' * 246}.zip", dict.fromkeys(CLASSES, b"")), used="n" * 50
    ),
    "zip, three classes and a line end": Case(
        "data",
        zip_of("a\nb/Cat/1.jpg", "a\nb/Dog/1.jpg", "a\nb/C\nw/1.jpg"),
        "found 3: .*c w 1, cat 1, dog 1",
    ),
    "zip, one class": Case("data", zip_of("Cat/1.jpg", "Cat/2.jpg"), "no labelled pictures of two classes"),
    "zip, two data sets": Case(
        "data", zip_of(*(f"{top}/{name}" for top in "xy" for name in CLASSES)), "more than one data set"
    ),
    "a pipe named like a zip": Case(
        "data", special(os.mkfifo), "neither a folder nor a .zip", names="train.zip"
    ),
    "a link to nowhere named like a zip": Case(
        "data", special(lambda path: path.symlink_to("nowhere")), "neither a folder", names="train.zip"
    ),
    "a device as data": Case("data", lambda _: Path(os.devnull), "neither a folder nor a .zip"),
    "a path of 5,000 letters": Case("data", lambda _: Path("x" * 5_000), "no folder or zip", names="x" * 100),
    "a home of nobody": Case(
        "data", lambda _: Path("~nobody-of-this-name/x"), "no folder or zip", names="~nob"
    ),
    "a path with a zero byte": Case("data", lambda _: Path("a\0b"), "no folder or zip", names="a\\x00b"),
}

# ---- Pictures ------------------------------------------------------------------------------------


def draw(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(20, 236, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def encode(picture: np.ndarray, kind: str = "JPEG", mode: str | None = None, **options) -> bytes:
    image = Image.fromarray(picture)
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, kind, **options)
    return buffer.getvalue()


def png_of(*chunks: tuple[bytes, bytes]) -> bytes:
    parts = [
        struct.pack(">I", len(b)) + kind + b + struct.pack(">I", zlib.crc32(kind + b)) for kind, b in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png_declaring(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return png_of((b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b""))


def png_with_a_text_bomb() -> bytes:
    """A whole PNG with 100 MB of text in 100 kB."""
    whole = encode(draw(), "PNG")
    text = b"note\0\0" + zlib.compress(bytes(100_000_000), 9)
    chunk = png_of((b"zTXt", text))[8:]
    return whole[:33] + chunk + whole[33:]


def jpeg_declaring(width: int, height: int) -> bytes:
    data = bytearray(encode(draw()))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def picture(data: bytes, name: str = "cat.0.jpg") -> Callable[[Path], Path]:
    return file_of(name, data)


def pictures(numbers: dict[str, int], name: str = "{category}/{number}.jpg") -> Callable[[Path], Path]:
    """A folder with so many pictures of each class."""

    def make(folder: Path) -> Path:
        for category, count in numbers.items():
            for number in range(count):
                place = folder / "pictures" / name.format(category=category, number=number)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(encode(draw(number + 100 * len(category))))
        return folder / "pictures"

    return make


def with_junk(folder: Path) -> Path:
    """20 pictures of each of two classes, and all sorts of things between them."""
    top = pictures({"cat": 20, "dog": 20})(folder)
    for number, data in enumerate([b"", b"text", png_declaring(50_000, 50_000), encode(draw())[:300]]):
        (top / "cat" / f"bad{number}.jpg").write_bytes(data)
    (top / "cat" / "link.jpg").symlink_to("/etc/passwd")
    os.mkfifo(top / "dog" / "pipe.jpg")
    return top


def cut(kind: str, tenth: int) -> Case:
    data = encode(draw(), kind)
    reason = "truncated or damaged|not a picture"
    return Case("picture", picture(data[: len(data) * tenth // 10], f"cat.0.{kind.lower()}"), reason)


WHOLE = (HEIGHT, WIDTH, 3, "uint8")
FRAMES = {"save_all": True, "append_images": [Image.fromarray(draw(1))]}
DEEP = (draw()[..., 0].astype(np.uint16)) * 257

PICTURE_FILES = {
    **{
        f"{kind}, {tenth} tenths of it": cut(kind, tenth)
        for kind in ("JPEG", "PNG", "WEBP")
        for tenth in range(1, 10)
    },
    "picture, zero bytes": Case("picture", picture(b""), "zero bytes"),
    "picture, a text": Case("picture", picture(b"a text\n"), "not a picture"),
    "picture, PostScript": Case("picture", picture(b"%!PS-Adobe-3.0 EPSF-3.0\n"), "not a picture"),
    "picture, SVG": Case("picture", picture(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "not a picture"),
    "picture, 1 x 1": Case("picture", picture(encode(draw()[:1, :1], "PNG")), "too small: 1 x 1"),
    "picture, 1 x 500": Case("picture", picture(encode(draw(0, 500, 1))), "too small: 1 x 500"),
    "PNG of 50,000 x 50,000": Case("picture", picture(png_declaring(50_000, 50_000)), "too many pixels"),
    "JPEG of 50,000 x 50,000": Case("picture", picture(jpeg_declaring(50_000, 50_000)), "too many pixels"),
    "PNG of a text of 100 MB": Case("picture", picture(png_with_a_text_bomb()), "damaged: Decompressed data"),
    "picture, a folder": Case("picture", lambda folder: folder, "cannot be read: Is a directory"),
    "picture, missing": Case("picture", lambda folder: folder / "cat.0.jpg", "cannot be read: No such file"),
    "PNG named .jpg": Case("picture", picture(encode(draw(), "PNG")), used=WHOLE),
    "JPEG without an extension": Case("picture", picture(encode(draw()), "cat"), used=WHOLE),
    "JPEG named .txt": Case("picture", picture(encode(draw()), "cat.txt"), used=WHOLE),
    "CMYK JPEG": Case("picture", picture(encode(draw(), mode="CMYK")), used=WHOLE),
    "CMYK TIFF": Case("picture", picture(encode(draw(), "TIFF", "CMYK")), used=WHOLE),
    "grey JPEG": Case("picture", picture(encode(draw(), mode="L")), used=WHOLE),
    "16-bit PNG": Case("picture", picture(encode(DEEP, "PNG")), used=WHOLE),
    "16-bit TIFF": Case("picture", picture(encode(DEEP, "TIFF")), used=WHOLE),
    "12 bits in a 16-bit PNG": Case("picture", picture(encode(DEEP // 16, "PNG")), "use 12 bits or fewer"),
    "12 bits in a 16-bit TIFF": Case("picture", picture(encode(DEEP // 16, "TIFF")), "use 12 bits or fewer"),
    "floating-point TIFF": Case("picture", picture(encode(draw(), "TIFF", "F")), "floating-point or 32-bit"),
    "32-bit TIFF": Case("picture", picture(encode(draw(), "TIFF", "I")), "floating-point or 32-bit"),
    "palette PNG": Case("picture", picture(encode(draw(), "PNG", "P")), used=WHOLE),
    "palette PNG, transparent": Case(
        "picture", picture(encode(draw(), "PNG", "P", transparency=0)), used=WHOLE
    ),
    "one-bit PNG": Case("picture", picture(encode(draw(), "PNG", "1")), used=WHOLE),
    "grey PNG with alpha": Case("picture", picture(encode(draw(), "PNG", "LA")), used=WHOLE),
    "animated GIF": Case("picture", picture(encode(draw(), "GIF", **FRAMES)), used=WHOLE),
    "animated PNG": Case("picture", picture(encode(draw(), "PNG", **FRAMES)), used=WHOLE),
    "animated WEBP": Case("picture", picture(encode(draw(), "WEBP", **FRAMES)), used=WHOLE),
    "TIFF of two pages": Case("picture", picture(encode(draw(), "TIFF", **FRAMES)), used=WHOLE),
    "JPEG with a tail": Case("picture", picture(encode(draw()) + b"tail" * 99), used=WHOLE),
    # 40 % of 40 are held back, halved: 24, 8 and 8.
    "pictures among junk": Case("pictures", with_junk, used={"train": 24, "validation": 8, "test": 8, "": 6}),
    "three classes": Case("pictures", pictures({"cat": 12, "cow": 11, "dog": 10}), "3 classes .*cow: 11"),
    "one class": Case("pictures", pictures({"cat": 12}), "1 classes .*cat: 12"),
    "five pictures": Case("pictures", pictures({"cat": 3, "dog": 2}), "too few .*cat: 3, dog: 2"),
    "no pictures": Case("pictures", lambda folder: folder, "0 classes"),
    "a class with a line end": Case("pictures", pictures({"c\nt": 12, "dog": 2}), "too few .*c t: 12"),
    "no folder of pictures": Case("pictures", lambda folder: folder / "none", "is not a folder"),
}

# ---- A run's files -------------------------------------------------------------------------------


def features_table() -> pd.DataFrame:
    """Returns the split table of a run, as notebook 01 leaves it; 24, 8 and 8 pictures."""
    names = [f"{category}.{number}.jpg" for category in ("cat", "dog") for number in range(PICTURES)]
    table = pd.DataFrame({"image_name": names, "category": [name[:3] for name in names]})
    table["code"] = (table["category"] == "dog").astype(int)
    table = table.assign(size="", aspect_ratio=0.75, height=HEIGHT, width=WIDTH, bytes=100, status="used")
    return split_features(table.assign(reason="", content_hash=names, perceptual_hash=""))


CACHE = f"{cache_key(features_table(), SIDE, 'area')}.npy"
INPUT = {
    **{"image_size": SIDE, "first_image_size": 0, "interpolation": "area", "batch_size": 8},
    **{"epoch_fraction": 1.0, "seed": 42, "workers": 1, "cache": CACHE, "augmentation": {"zoom_range": 0.1}},
}


def make_run(folder: Path, **changes: object) -> Path:
    """Writes a whole run of 40 squares, its cache below it; `changes` are made to its input.json."""
    run = folder / "run"
    (run / "cache").mkdir(parents=True)
    table = features_table()
    save_features(table, run / "features.csv")
    pixels = np.random.default_rng(0).integers(0, 256, (len(table), SIDE, SIDE, 3), dtype=np.uint8)
    np.save(run / "cache" / CACHE, pixels)
    (run / "input.json").write_text(json.dumps({**INPUT, **changes}))
    return run


def run_with(**changes: object) -> Callable[[Path], Path]:
    return lambda folder: make_run(folder, **changes)


def run_without(key: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        run = make_run(folder)
        (run / "input.json").write_text(json.dumps({name: INPUT[name] for name in INPUT if name != key}))
        return run

    return make


def run_whose(file: str, content: bytes) -> Callable[[Path], Path]:
    """A run of which one file is something else."""

    def make(folder: Path) -> Path:
        run = make_run(folder)
        (run / file).write_bytes(content)
        return run

    return make


def array_bytes(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def refused_input(key: str, value: object, message: str) -> Case:
    return Case("run", run_with(**{key: value}), message, names="input.json")


def refused_cache(content: bytes, message: str) -> Case:
    return Case("run", run_whose(f"cache/{CACHE}", content), message, names=CACHE)


class Evil:
    """Runs a program when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch evil",)


RUNS = {
    "a whole run": Case("run", make_run, used=((8, SIDE, SIDE, 3), 3)),
    "batch larger than the set": Case("run", run_with(batch_size=1_000), used=((24, SIDE, SIDE, 3), 1)),
    "batch larger than half an epoch": Case(
        "run", run_with(batch_size=1_000, epoch_fraction=0.5), used=((24, SIDE, SIDE, 3), 1)
    ),
    "input.json, cut": Case(
        "run", run_whose("input.json", b'{"image_size": 8'), "not readable JSON", names="input"
    ),
    "input.json, a list": Case(
        "run", run_whose("input.json", b"[1]"), "holds no names and values", names="input"
    ),
    "input.json, of UTF-16": Case(
        "run", run_whose("input.json", json.dumps(INPUT).encode("utf-16")), "not readable", names="input.json"
    ),
    "input.json without cache": Case("run", run_without("cache"), "cache is None", names="input.json"),
    "input.json without image_size": Case(
        "run", run_without("image_size"), "image_size is None", names="input"
    ),
    "input.json without first_image_size": Case(
        "run", run_without("first_image_size"), "first_image_size is None", names="input"
    ),
    "input.json, of another notebook 01": Case(
        "run", run_with(cache="0123456789abcdef.npy"), "notebook 01 has run again since", names="features.csv"
    ),
    "input.json without augmentation": Case(
        "run", run_without("augmentation"), "augmentation is None", names="input.json"
    ),
    "input.json, batch_size 0": refused_input("batch_size", 0, "batch_size is 0; give 1 or more"),
    "input.json, batch_size a text": refused_input("batch_size", "8", "batch_size is '8'"),
    "input.json, fraction NaN": refused_input("epoch_fraction", float("nan"), "epoch_fraction is nan"),
    "input.json, workers a million": refused_input("workers", 10**6, "workers is 1000000"),
    "input.json, seed negative": refused_input("seed", -1, "seed is -1"),
    "input.json, cache elsewhere": refused_input("cache", "../../x.npy", "cache is '../../x.npy'"),
    "input.json, unknown transformation": refused_input("augmentation", {"swirl": "x"}, "swirl"),
    "input.json, zoom a list": refused_input("augmentation", {"zoom_range": [1]}, r"zoom_range is \[1\]"),
    "input.json, zoom of 2": refused_input("augmentation", {"zoom_range": 2.0}, "zoom_range is 2.0"),
    "cache, no bytes": refused_cache(b"", "no pixel cache"),
    "cache, a text": refused_cache(b"hello" * 100, "no pixel cache"),
    "cache, a pickle": refused_cache(pickle.dumps(Evil()), "no pixel cache"),
    "cache, objects": refused_cache(array_bytes(np.array([Evil()] * 40)), "no pixel cache"),
    "cache, cut": refused_cache(array_bytes(np.zeros((40, 8, 8, 3), "uint8"))[:999], "no pixel cache"),
    "cache, of floats": refused_cache(array_bytes(np.zeros((40, 8, 8, 3))), "holds float64"),
    "cache, flat": refused_cache(array_bytes(np.zeros((40, 8), "uint8")), r"shape \(40, 8\)"),
    "cache, of other files": refused_cache(
        array_bytes(np.zeros((39, 8, 8, 3), "uint8")), "39 files, not of 40"
    ),
}


def table_with(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        save_features(change(features_table().astype(object)), folder / "features.csv")
        return folder / "features.csv"

    return make


def table_where(column: str, value: object, row: int = 0) -> Callable[[Path], Path]:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[row, column] = value
        return table

    return table_with(change)


def table_without(column: str) -> Case:
    return Case("table", table_with(lambda table: table.drop(columns=column)), f"lacks the column {column}")


TABLES = {
    "features.csv, whole": Case("table", table_with(lambda table: table), used=["cat", "dog"]),
    "features.csv, rows in another order": Case(
        "table", table_with(lambda table: table.sample(frac=1, random_state=1)), used=["cat", "dog"]
    ),
    "features.csv, a column more": Case(
        "table", table_with(lambda table: table.assign(note="x")), used=["cat", "dog"]
    ),
    "features.csv, zero bytes": Case("table", file_of("features.csv"), "not a features table"),
    "features.csv, random bytes": Case(
        "table", file_of("features.csv", np.random.default_rng(0).bytes(999)), "features table|lacks"
    ),
    "features.csv, missing": Case("table", lambda folder: folder / "features.csv", "is missing"),
    "features.csv, heads alone": Case("table", table_with(lambda table: table[:0]), "are none"),
    **{
        f"features.csv without {column}": table_without(column)
        for column in ("image_name", "category", "code", "height", "status", "content_hash", "split")
    },
    "features.csv, code NaN": Case("table", table_where("code", np.nan), "cat"),
    "features.csv, code 2": Case("table", table_where("code", 2), "2 'cat'"),
    "features.csv, code a text": Case("table", table_where("code", "one"), "column code"),
    "features.csv, code infinite": Case("table", table_where("code", "inf"), "column code"),
    "features.csv, height a half": Case("table", table_where("height", 1.5), "column height"),
    "features.csv, a third class": Case("table", table_where("category", "bird"), "0 'bird', 0 'cat'"),
    "features.csv, a class without name": Case("table", table_where("category", ""), "0 ''"),
    "features.csv, one class": Case("table", table_with(lambda t: t[t["category"] == "cat"]), "0 'cat', not"),
    "features.csv, unknown part": Case("table", table_where("split", "holdout"), "split is 'holdout'"),
    "features.csv, name twice": Case("table", table_where("image_name", "dog.3.jpg"), "'dog.3.jpg' is there"),
    "features.csv, values without column": Case(
        "table",
        lambda folder: file_of("features.csv", b"image_name,category\na,b,c\nd,e,f\n")(folder),
        "more values than columns",
    ),
}

# ---- JSON ----------------------------------------------------------------------------------------

JSON = {
    f"{name}, {kind}": Case("json", file_of(name, content), message)
    for name in ("data.json", "best_hyperparameters.json")
    for kind, content, message in (
        ("zero bytes", b"", "not readable JSON"),
        ("nested", b"[" * 100_000, "not readable JSON"),
        ("a list", b"[1]", "holds no names and values"),
        ("cut", b'{"folder": "/pict', "not readable JSON"),
        ("a page", b"<html>404</html>", "not readable JSON"),
        ("of bytes", b'{"folder": "\xff\xfe"}', "not readable JSON"),
    )
} | {"data.json, missing": Case("json", lambda folder: folder / "data.json", "is missing")}

# ---- Profiles and settings -----------------------------------------------------------------------


def profile(text: str | bytes, name: str = "profiles/odd.yaml") -> Callable[[Path], Path]:
    return file_of(name, text if isinstance(text, bytes) else text.encode())


def refused_profile(text: str | bytes, message: str) -> Case:
    return Case("profile", profile(text), message)


def used_profile(text: str, **values: object) -> Case:
    return Case("profile", profile(text), used=values)


def refused_setting(line: str, message: str) -> Case:
    return Case("settings", file_of("settings.txt", line.encode()), message, names="setting")


GROWING = "a: &a {x: 1}\nb: &b {<<: [*a, *a, *a, *a, *a, *a, *a, *a, *a]}\n"
GROWING += "".join(
    f"{new}: &{new} {{<<: [{', '.join([f'*{old}'] * 9)}]}}\n"
    for old, new in zip("bcdefgh", "cdefghi", strict=True)
)

PROFILES = {
    "profile, unknown name": refused_profile("max_trails: 3", "no notebook has a parameter 'max_trails'"),
    "profile, name a number": refused_profile("7: 3", "no notebook has a parameter 7"),
    "profile, text for a number": refused_profile("epochs: many", "epochs is 'many'; it has to be int"),
    "profile, number without point": refused_profile(
        "learning_rate: 1e-3", "1.0e-3 or 1.0e.6, for YAML takes"
    ),
    "profile, half an epoch": refused_profile("epochs: 2.5", "epochs is 2.5; it has to be int"),
    "profile, no for a word": refused_profile("deterministic: no", "deterministic is False; .*quotes"),
    "profile, number for a switch": refused_profile("mirrored_views: 1", "mirrored_views is 1"),
    "profile, no value": refused_profile("epochs:", "epochs is None"),
    "profile, size -5": refused_profile("image_size: -5", "image_size is -5; give 8 to 4096"),
    "profile, size of a planet": refused_profile("image_size: 1000000", "image_size is 1000000"),
    "profile, first size 3": refused_profile("first_image_size: 3", "first_image_size is 3; give 0, or 8"),
    "profile, epochs 0": refused_profile("epochs: 0", "epochs is 0; give 1 or more"),
    "profile, final_epochs -1": refused_profile("final_epochs: -1", "final_epochs is -1; give 1 or more"),
    "profile, batch_size 0": refused_profile("batch_size: 0", "batch_size is 0; give 1 or more"),
    "profile, finalists 0": refused_profile("finalists: 0", "finalists is 0; give 1 or more"),
    "profile, max_trials 0": refused_profile("max_trials: 0", "max_trials is 0; give 1 or more"),
    "profile, patience -1": refused_profile("patience: -1", "patience is -1; give 0 or more"),
    "profile, seed -1": refused_profile("seed: -1", "seed is -1; give 0 to"),
    "profile, seed of 20,000 bits": refused_profile("seed: 0x1" + "0" * 5_000, "number of 20001 bits"),
    "profile, seed of 5,000 digits": refused_profile("seed: " + "9" * 5_000, "no value of it"),
    "profile, minutes NaN": refused_profile("max_minutes: .nan", "max_minutes is nan; give 0 or more"),
    "profile, minutes infinite": refused_profile("max_minutes: .inf", "max_minutes is inf; .*finite"),
    "profile, minutes -1": refused_profile("final_minutes: -1", "final_minutes is -1"),
    "profile, learning rate 0": refused_profile("learning_rate: 0.0", "learning_rate is 0.0; give more"),
    "profile, fraction of 1.5": refused_profile("epoch_fraction: 1.5", "epoch_fraction is 1.5; give more"),
    "profile, zoom NaN": refused_profile("zoom_range: .nan", "zoom_range is nan; give a fraction"),
    "profile, a list": refused_profile("- epochs\n- 3\n", "no `name: value` lines"),
    "profile, words": refused_profile("just words", "no `name: value` lines"),
    "profile, zero bytes": refused_profile("", "no `name: value` lines"),
    "profile, value a list": refused_profile("epochs: [1, 2]", "'epochs' holds a list"),
    "profile, value a mapping": refused_profile("epochs: {a: 1}", "'epochs' holds a list or mapping"),
    "profile, name a list": refused_profile("[a, b]: 1", "holds a list or mapping"),
    "profile, name twice": refused_profile("epochs: 1\nepochs: 2\n", "'epochs' is there twice"),
    "profile, two documents": refused_profile("epochs: 1\n---\nepochs: 2\n", "not readable YAML"),
    "profile, not closed": refused_profile("epochs: [1", "not readable YAML"),
    "profile, a tab": refused_profile("epochs:\t1\n\tx: 2", "not readable YAML"),
    "profile, an object": refused_profile(
        "epochs: !!python/object/apply:os.system ['touch evil']", "'epochs' holds a list"
    ),
    "profile, a name of Python": refused_profile("epochs: !!python/name:os.system", "no value of it"),
    "profile, a tag that does not suit": refused_profile("epochs: !!bool perhaps", "no value of it"),
    "profile, a date that there is not": refused_profile("epochs: 2001-99-99", "no value of it"),
    "profile, aliases that grow": refused_profile(GROWING, "'a' holds a list or mapping"),
    "profile, alias of itself": refused_profile("epochs: &a [*a]", "'epochs' holds a list"),
    "profile, 5,000 brackets": refused_profile("epochs: " + "[" * 5_000, "not readable YAML"),
    "profile, of bytes": refused_profile(b"epochs: \xff\xfe", "save it as UTF-8"),
    "profile, of UTF-16": refused_profile("epochs: 1".encode("utf-16"), "save it as UTF-8"),
    "profile, a zero byte": refused_profile("epochs: 1\0", "not readable YAML"),
    "profile, a megabyte": refused_profile("# " + "x" * 1_000_000, "larger than 100,000 bytes"),
    "profile, a folder": Case(
        "profile",
        lambda folder: profile("", "profiles/odd.yaml/x")(folder).parent,
        "no profile 'odd'",
        names="odd",
    ),
    "profile, missing": Case(
        "profile", lambda folder: folder / "profiles" / "odd.yaml", "no profile 'odd'", names="odd"
    ),
    "profile, batch larger than any set": used_profile("batch_size: 100000", batch_size=100_000),
    "profile, whole number for a fraction": used_profile("epoch_fraction: 1", epoch_fraction=1),
    "profile, a mark of byte order": used_profile("\ufeffepochs: 3", epochs=3),
    "profile, ends of lines of Windows": used_profile("epochs: 3\r\nseed: 0\r\n", epochs=3, seed=0),
    "setting, no value": refused_setting("epochs", "has no value; write epochs=value"),
    "setting, no name": refused_setting("=3", "no notebook has a parameter ''"),
    "setting, unknown": refused_setting("epoch=3", "no notebook has a parameter 'epoch'"),
    "setting, size -5": refused_setting("image_size=-5", "image_size is -5; give 8"),
    "setting, a list": refused_setting("epochs=[1]", "holds a list or mapping"),
    "setting, an object": refused_setting("epochs='!!python/object/apply:os.getcwd []'", "holds a list"),
    "setting, not closed": refused_setting("epochs=[1", "not readable YAML"),
    "setting, a tag that does not suit": refused_setting("epochs=!!timestamp now", "no value of it"),
    "setting, sensible": Case(
        "settings", file_of("s.txt", b"epochs=3\nseed=7\n"), used={"epochs": 3, "seed": 7}
    ),
}

# ---- Models --------------------------------------------------------------------------------------


def run_of_model(content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        run = run_whose("model.keras", content)(folder)
        (run / "model.json").write_text("{}")
        return run

    return make


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def keras_zip(config: dict) -> bytes:
    """A model file whose configuration was written by hand."""
    members = {"config.json": config, "metadata.json": {"keras_version": keras.__version__}}
    return zipped(
        {name: json.dumps(values).encode() for name, values in members.items()} | {"model.weights.h5": b""}
    )


def run_of_network(*layers: keras.Layer, heads: int = 1, side: int = SIDE) -> Callable[[Path], Path]:
    """A run with a model of these layers between flat pixels and so many single probabilities."""

    def make(folder: Path) -> Path:
        run = make_run(folder)
        inputs = hidden = keras.Input((side, side, 3))
        for layer in (keras.layers.Flatten(), *layers):
            hidden = layer(hidden)
        outputs = [keras.layers.Dense(1, "sigmoid")(hidden) for _ in range(heads)]
        model = keras.Model(inputs, outputs if heads > 1 else outputs[0])
        model.compile(loss="binary_crossentropy", metrics=["accuracy"] if heads == 1 else None)
        model.save(run / "model.keras")
        (run / "model.json").write_text("{}")
        return run

    return make


def refused_model(content: bytes) -> Case:
    return Case("model", run_of_model(content), "is no model to be opened", names="model.keras")


OF_SYSTEM = {"module": "os", "class_name": "system", "config": "touch evil", "registered_name": None}
OF_LAYERS = {"class_name": "Sequential", "module": "keras", "registered_name": None, "config": {"layers": 5}}

MODELS = {
    "model, ours": Case("model", run_of_network(), used=8),
    "model, missing": Case("model", make_run, "run notebook 04", names="model.keras"),
    "model, without its JSON": Case(
        "model", run_whose("model.keras", b"any"), "is missing; run the notebooks", names="model.json"
    ),
    "model, zero bytes": refused_model(b""),
    "model, random bytes": refused_model(np.random.default_rng(0).bytes(5_000)),
    "model, a zip of random bytes": refused_model(
        zipped({"config.json": np.random.default_rng(0).bytes(999)})
    ),
    "model, an empty zip": refused_model(zipped({})),
    "model, a pickle": refused_model(pickle.dumps(Evil())),
    "model, a text": refused_model(b"def predict(): ...\n"),
    "model, a program for a class": refused_model(keras_zip(OF_SYSTEM)),
    "model, configuration of numbers": refused_model(keras_zip(OF_LAYERS)),
    "model, a list for a configuration": refused_model(
        zipped({"config.json": b"[]", "metadata.json": b"{}"})
    ),
    "model, Lambda": Case(
        "model",
        lambda folder: run_of_network(keras.layers.Lambda(lambda x: x * 2))(folder),
        "is no model to be opened.*Lambda",
        names="model.keras",
    ),
    "model, other pictures": Case(
        "model", run_of_network(side=2 * SIDE), r"wanted is .*\(None, 8, 8, 3\)", names="model.keras"
    ),
    "model, two outputs": Case(
        "model", run_of_network(heads=2), "wanted is one probability", names="model.keras"
    ),
}

CASES = {**ZIPS, **PICTURE_FILES, **RUNS, **TABLES, **JSON, **PROFILES, **MODELS}
