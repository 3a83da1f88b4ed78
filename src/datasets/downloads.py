"""Downloads the public data sets, under a hidden name until size and hash have been verified."""

import hashlib
import logging
import socket
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from src.datasets import archives
from src.running.locks import take_turns
from src.running.messages import one_line
from src.running.resources import check_space, check_writable
from src.running.writing import replacing

logger = logging.getLogger(__name__)

SILENCE_SECONDS = 60  # a server that is silent for this long is given up on


class Source(NamedTuple):
    """A file that can be downloaded without an account."""

    url: str
    size: int  # bytes
    sha256: str | None  # None if no public record of it is known


# The hash of petimages is listed independently by Hugging Face's `datasets` (cats_vs_dogs,
# dataset_infos.json) and by GoMLX (examples/dogsvscats). None was found for filtered: its size and the
# checksums of its members must do.
SOURCES = {
    "filtered": Source(
        "https://storage.googleapis.com/mledu-datasets/cats_and_dogs_filtered.zip", 68_606_236, None
    ),
    "petimages": Source(
        "https://download.microsoft.com/download/3/e/1/3e1c3f21-ecdb-4869-8368-6deba77b919f/"
        "kagglecatsanddogs_5340.zip",
        824_887_076,
        "b7974bd00a84a99921f36ee4403f089853777b5ae8d151c76a86e64900334af9",
    ),
}


def download(name: str, folder: Path) -> Path:
    """Returns the zip of the public data set `name` in `folder`, downloading it if it is missing.

    `keras.utils.get_file` takes any existing file for complete, even one truncated by a kill; so it writes
    to a hidden name, and the file is renamed once its size, its hash (if known) and the checksums of all
    members have been verified. Size and hash of an existing file are checked; it is never changed.

    Raises:
        ValueError: the file in `folder` is not the expected one.
        ConnectionError: the download failed or is damaged; the message says what to put where by hand.
        OSError: `folder` cannot be written, or its disk has too little space.
    """
    source = SOURCES[name]
    target = folder / source.url.rsplit("/", 1)[-1]
    if not target.exists():
        _make_room(folder, source)
        with take_turns(target):
            if not target.exists():  # another process may have been faster
                _download(source, target)
    if fault := _find_fault(target, source):
        raise ValueError(f"{target} {fault}; remove it to have it fetched again from {source.url}")
    return target


def _download(source: Source, target: Path) -> None:
    try:
        with replacing(target, f".{target.name}.part") as part:
            _fetch(source, part)
            if fault := _find_fault(part, source) or _find_damage(part):
                raise ConnectionError(f"what arrived {fault}")
    except ConnectionError as error:
        raise ConnectionError(
            f"could not fetch {source.url} ({error}); try again, or put the file there by hand as {target}"
        ) from error
    logger.info("fetched %s (%s bytes)", target, f"{source.size:,}")


def download_kaggle() -> Path:
    """Returns the folder of Kaggle's Dogs vs. Cats, downloaded by Kaggle's own client to its own cache.

    Raises:
        ValueError: the client is not installed.
        ConnectionError: not signed in, the rules have not been accepted, or there is no network.
    """
    by_hand = "or fetch train.zip by hand and give its path"
    try:
        import kagglehub  # optional, and needed only here
    except ImportError as error:
        raise ValueError(f"data 'kaggle' needs Kaggle's client: pip install kagglehub, {by_hand}") from error
    try:
        return Path(kagglehub.competition_download("dogs-vs-cats"))
    except Exception as error:  # its errors come from four libraries and share no other base
        raise ConnectionError(
            f"Kaggle did not hand out dogs-vs-cats ({one_line(error, 200)}); accept the rules at "
            "https://www.kaggle.com/c/dogs-vs-cats/rules and set KAGGLE_USERNAME and KAGGLE_KEY "
            f"(or run kagglehub.login()), {by_hand}"
        ) from error


def _make_room(folder: Path, source: Source) -> None:
    """Raises OSError in advance: get_file would silently fall back to /tmp if it could not write."""
    try:
        check_writable(folder)
        check_space(folder, source.size, "the file")
    except OSError as error:
        raise type(error)(error.errno, f"cannot fetch {source.url}: {error.strerror}") from error


def _fetch(source: Source, part: Path) -> None:
    import keras  # imported here: it takes seconds and most runs download nothing

    with give_up_silence():
        try:
            keras.utils.get_file(
                part.name, source.url, cache_dir=str(part.parent), cache_subdir="", force_download=True
            )
        except Exception as error:  # get_file raises a bare Exception when the network fails
            raise ConnectionError(str(error)) from error


@contextmanager
def give_up_silence() -> Iterator[None]:
    """Makes connections fail after `SILENCE_SECONDS` of silence; Keras's get_file has no argument for it."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _find_fault(path: Path, source: Source) -> str | None:
    size = path.stat().st_size
    if size != source.size:
        return f"has {size:,} bytes where {source.size:,} are right"
    if source.sha256:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != source.sha256:
            return f"has SHA-256 {digest} where {source.sha256} is right"
    return None


def _find_damage(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.testzip()
    except archives.BROKEN as error:
        return f"is not a whole zip file ({error})"
    return f"is damaged at member {member!r}" if member else None
