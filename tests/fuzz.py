"""Random bytes and damaged files for the readers of strangers' input, until the time is over.

    python tests/fuzz.py [--minutes 3] [--only archives|pictures|profiles|tables] [--seed 0]

One line a reader: how many inputs were tried, accepted, refused in one clear line, and how many ended in
anything else: another error, more than one line, a hang, a write outside of the folder, a program started.
Each of those is printed with its seed, and `--only NAME --seed N` begins with it again. Exit code 1 if any.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import hostile
from readers import READERS, BrokenRuleError, fault_of, watched

from src.pipeline import NOTEBOOKS
from src.running.commands import stderr_into

LONGEST_RANDOM = 2_000  # bytes
MOST_EDITS = 8


class Target(NamedTuple):
    """A reader, what its file is called, what its refusals name, whole files to damage, and odd pieces."""

    reader: str
    file: str
    names: str
    whole: list[bytes]
    pieces: list[bytes]


def whole_archives(folder: Path) -> list[bytes]:
    kinds = [
        hostile.zip_of("Cat/1.jpg", "Dog/ü.jpg", "a/b/c/d.jpg"),
        hostile.zip_of("__MACOSX/._a.jpg", "a b"),
    ]
    kinds += [hostile.nested_zip(2), hostile.patched_zip(b"", b"", bytes(3_000)), hostile.zip_twice]
    return [kind(folder).read_bytes() for kind in kinds]


def whole_pictures() -> list[bytes]:
    plain = [hostile.encode(hostile.draw(), kind) for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")]
    odd = [("JPEG", "CMYK"), ("JPEG", "L"), ("PNG", "P"), ("PNG", "1"), ("PNG", "LA"), ("TIFF", "CMYK")]
    moving = [hostile.encode(hostile.draw(), kind, **hostile.FRAMES) for kind in ("GIF", "PNG", "WEBP")]
    deep = [hostile.encode(hostile.DEEP, kind) for kind in ("PNG", "TIFF")]
    packed = [hostile.encode(hostile.draw(), "TIFF", compression=name) for name in ("tiff_lzw", "jpeg")]
    other = [hostile.encode(hostile.draw(), progressive=True), hostile.encode(hostile.draw(), "TIFF", "F")]
    return plain + [hostile.encode(hostile.draw(), *kind) for kind in odd] + moving + deep + packed + other


def make_targets(folder: Path) -> dict[str, list[Target]]:
    """Returns the readers by name; `profiles` are files and settings by turns."""
    numbers = [b"\xff" * 4, b"\0" * 4, b"\xff\xff", b"\x7f\xff\xff\xff", b"\1", b"\x80"]
    zips = [b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"../", b"/", b"\\", b"C:", *numbers]
    pictures = [
        b"\xff\xd8",
        b"\xff\xd9",
        b"\xff\xda",
        b"\xff\xc0",
        b"IDAT",
        b"IHDR",
        b"II*\0",
        b"VP8X",
        *numbers,
    ]
    words = [
        b"!!python/object/apply:os.system",
        b"!!bool ",
        b"!!int ",
        b"!!timestamp ",
        b"!!binary ",
        b"&a ",
        b"*a",
    ]
    words += [
        b"<<: *a\n",
        b"[",
        b"{",
        b"? ",
        b"- ",
        b": ",
        b"\n",
        b"=",
        b"#",
        b"|\n",
        b'"',
        b"'",
        b"\t",
        b"\0",
    ]
    words += [
        b".nan",
        b"-.inf",
        b"1e999",
        b"0x" + b"f" * 99,
        b"9" * 5_000,
        b"2001-99-99",
        b"190:20:30",
        b"-5",
        b"~",
    ]
    cells = [
        b",",
        b"\n",
        b"\r",
        b'"',
        b"nan",
        b"inf",
        b"-1",
        b"1e400",
        b"2",
        b"99999999999999999999",
        b"",
        b"\0",
    ]
    cells += [
        b"train",
        b"used",
        b"cat",
        b"dog",
        b"split",
        b"code",
        b"\xff",
        b"(1, 2)",
        b"0.5",
        b"0x10",
        b"True",
    ]
    profiles = [path.read_bytes() for path in sorted((NOTEBOOKS / "profiles").glob("*.yaml"))]
    profiles.append(hostile.GROWING.encode())
    settings = [
        b"epochs=3\nseed=7",
        b"learning_rate=1.0e-3",
        b"image_size=-5",
        b"data='x'\ninterpolation=area",
    ]
    tables = [hostile.table_with(lambda table: table)(folder).read_bytes()]
    tables.append(b"\n".join(tables[0].split(b"\n")[:3]))
    return {
        "archives": [Target("archive", "odd.zip", "odd.zip", whole_archives(folder), zips)],
        "pictures": [Target("picture", "cat.0.jpg", "cat.0.jpg", whole_pictures(), pictures)],
        "profiles": [
            Target("profile", "profiles/odd.yaml", "odd.yaml", profiles, words),
            Target("settings", "settings.txt", "setting", settings, words),
        ],
        "tables": [Target("table", "features.csv", "features.csv", tables, cells)],
    }


def make_input(target: Target, seed: int) -> bytes:
    """Returns the input of a seed: random bytes, or a whole file after some edits."""
    random = np.random.default_rng(seed)
    if random.random() < 0.05:
        return random.bytes(random.integers(LONGEST_RANDOM))
    data = pick(random, target.whole)
    for _ in range(random.integers(1, MOST_EDITS + 1)):
        data = edit(random, data, target)
    return data


def pick(random: np.random.Generator, choices: list) -> object:
    return choices[random.integers(len(choices))]


def edit(random: np.random.Generator, data: bytes, target: Target) -> bytes:
    """Returns the bytes after one random edit."""
    first, last = sorted(random.integers(0, len(data) + 1, 2))
    near = min(first + int(random.integers(1, 9)), len(data))
    other = pick(random, target.whole)
    edits: list[Callable[[], bytes]] = [
        lambda: data[:first] + random.bytes(near - first) + data[near:],
        lambda: data[:first] + pick(random, target.pieces) + data[near:],
        lambda: data[:first] + pick(random, target.pieces) + data[first:],
        lambda: data[:first] + data[near:],
        lambda: data[:last] + data[first : first + 200] + data[last:],
        lambda: data[:first] + data[last:] if random.random() < 0.2 else data,
        lambda: data[:last] if random.random() < 0.2 else data,
        lambda: data[:first] + other[min(first, len(other)) :] if random.random() < 0.2 else data,
    ]
    return pick(random, edits)()


def try_input(target: Target, data: bytes, place: Path) -> str:
    """Returns "accepted", "refused", or what else came of it."""
    given, allowed = place / "given" / target.file, place / "allowed"
    given.parent.mkdir(parents=True, exist_ok=True)
    given.write_bytes(data)
    shutil.rmtree(allowed, ignore_errors=True)
    allowed.mkdir()
    try:
        with watched(allowed):
            READERS[target.reader](given, allowed)
    except Exception as error:
        return fault_of(error, target.names) or "refused"
    except BrokenRuleError as error:
        return f"a rule was broken: {error}"
    return "accepted"


def fuzz(name: str, targets: list[Target], seconds: float, seed: int, place: Path) -> int:
    """Returns how many inputs ended in anything but acceptance or a clear refusal, after telling all."""
    counts, first, end = {"accepted": 0, "refused": 0}, seed, time.monotonic() + seconds
    others = []
    while time.monotonic() < end or seed == first:
        target = targets[seed % len(targets)]
        outcome = try_input(target, make_input(target, seed), place)
        if outcome in counts:
            counts[outcome] += 1
        else:
            others.append(f"{name}, seed {seed}: {' '.join(outcome.split())}")
        seed += 1
    print(
        f"{name}: {seed - first:,} inputs, {counts['accepted']:,} accepted, {counts['refused']:,} refused in "
        f"one clear line, {len(others):,} anything else",
        *others,
        sep="\n",
        flush=True,
    )
    return len(others)


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 1 where an input ended in anything but acceptance or a clear refusal."""
    parser = argparse.ArgumentParser(prog="fuzz.py", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=3.0, help="for all readers together")
    parser.add_argument("--only", choices=["archives", "pictures", "profiles", "tables"])
    parser.add_argument("--seed", type=int, default=0, help="of the first input; the next ones count on")
    chosen = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory() as folder,
        stderr_into(Path(os.devnull)),  # the decoders' own complaints
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        targets = make_targets(Path(folder))
        names = [chosen.only] if chosen.only else list(targets)
        share = 60 * chosen.minutes / len(names)
        bad = [fuzz(name, targets[name], share, chosen.seed, Path(folder)) for name in names]
    return 1 if any(bad) else 0


if __name__ == "__main__":
    sys.exit(main())
