"""The files below a folder: names that any table can hold, what they tell, and what is never opened."""

import hashlib
import os
import re
import stat
from pathlib import Path, PurePosixPath

PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".jfif"}
MAXIMUM_BYTES = 300_000_000


def list_files(folder: Path) -> list[tuple[str, Path]]:
    """Returns the names and paths of all files below the folder, sorted by name.

    Linked folders (not followed: they may lead in circles) and folders that cannot be listed are included.
    The name is the path below the folder, with `/`, as text that any table can hold.
    """
    found: list[Path] = []

    def keep_folder(error: OSError) -> None:
        found.append(Path(error.filename))

    for parent, folders, files in os.walk(folder, onerror=keep_folder):
        found += [Path(parent, name) for name in files]
        found += [Path(parent, name) for name in folders if Path(parent, name).is_symlink()]
    raw_names = [path.relative_to(folder).as_posix() for path in found]
    names = [os.fsencode(name).decode("utf-8", "backslashreplace") for name in raw_names]
    return sorted(zip(names, found, strict=True))


def is_picture(name: str) -> bool:
    """Returns whether a file may be a picture, judging by its extension."""
    return PurePosixPath(name).suffix.lower() in PICTURES


def is_hidden(name: str) -> bool:
    """Returns whether a path below a folder has a part that starts with a dot (.git) or is `__MACOSX`."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def refuse_file(path: Path) -> str:
    """Returns why a file must not be opened, or "" if it may be; a link counts as the file that it leads to.

    Raises:
        OSError: there is no such file.
    """
    information = path.stat()
    if stat.S_ISDIR(information.st_mode):
        linked = path.is_symlink()
        return "a linked folder: not followed" if linked else "unreadable: a folder that cannot be listed"
    if not stat.S_ISREG(information.st_mode):  # reading a pipe would block forever
        return "not a regular file"
    return f"too large: {information.st_size} bytes" if information.st_size > MAXIMUM_BYTES else ""


def content_hash(data: bytes) -> str:
    """Returns 32 hex digits that identify a file's bytes."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def natural_order(name: str) -> tuple[list, str]:
    """Returns a sort key for natural order: `2.jpg` before `10.jpg`."""
    words = re.split(r"([0-9]+)", name)
    return [int(word) if place % 2 else word for place, word in enumerate(words)], name
