"""Unpacks untrusted zip files: completely or not at all, and never outside the target folder."""

import hashlib
import re
import shutil
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from tqdm.auto import tqdm

from src.config import is_headless
from src.running.locks import fill_folder
from src.running.messages import one_line

# Limits. Photographs barely compress (ratio 1.0), drawn bitmaps compress tens of times, and deflate can
# reach 1,032. The ratio is only checked above a size that could do harm.
MAX_RATIO = 100
HARMLESS_BYTES = 100_000_000
MAX_MEMBERS = 500_000
SPARE_BYTES = 200_000_000  # must remain free on the disk afterwards
LONGEST_NAME = 255  # bytes in one path component, the limit of common file systems
LONGEST_PATH = 1_000  # bytes; Windows allows 260, Linux 4,096, including the target folder

READABLE_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
ENCRYPTED = 0x1 | 0x40 | 0x2000  # bits 0, 6 and 13 of the flags, PKWARE's APPNOTE 4.4.4
UTF8_NAME = 0x800  # bit 11: the name is UTF-8
# Everything that zipfile was seen to raise on damaged bytes; OSError comes from an impossible seek.
BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, RuntimeError)


def read_members(zip_path: Path) -> dict[str, zipfile.ZipInfo]:
    """Returns the files in a zip, keyed by cleaned name (POSIX, relative); folders are omitted.

    Names without the UTF-8 flag are read as UTF-8 if they are valid UTF-8 (macOS does not set the
    flag) and as code page 437 otherwise; a backslash is a separator. macOS's `__MACOSX` is skipped.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the zip is damaged or has more than `MAX_MEMBERS` members, or a member is absolute,
            escapes the folder, is a link, is encrypted, occurs twice (ignoring case) or cannot be unpacked.
    """
    if not zip_path.is_file():
        raise FileNotFoundError(f"no such zip file: {zip_path}")
    try:
        with zipfile.ZipFile(zip_path) as archive:
            infos = archive.infolist()
    except BROKEN as error:
        what = f"{zip_path} is not a whole zip file ({one_line(error, 200)})"
        raise ValueError(f"{what}; copy or download it again, or move it away") from error
    if len(infos) > MAX_MEMBERS:
        raise ValueError(f"{zip_path} holds {len(infos):,} members, more than the {MAX_MEMBERS:,} accepted")
    members: dict[str, zipfile.ZipInfo] = {}
    files, folders = set(), set()
    for info in infos:
        path = _clean_path(zip_path, info)
        if info.is_dir() or info.filename.endswith("\\") or path.parts[0] == "__MACOSX":
            continue
        _refuse_unreadable(zip_path, info)
        key = PurePosixPath(unicodedata.normalize("NFC", str(path)).casefold())
        if key in files:
            raise _refusal(zip_path, info, "is there twice; pack it again with names that differ")
        files.add(key)
        folders.update(key.parents)
        members[str(path)] = info
    if both := sorted(files & folders):
        raise ValueError(f"{zip_path}: '{both[0]}' is a file and a folder at once; pack it again")
    return members


def fingerprint(zip_path: Path) -> str:
    """Returns 8 hex digits derived from every member's name, size and checksum.

    The zip's own name, location and date do not matter, so a copy has the same fingerprint.
    """
    content = [(name, info.file_size, info.CRC) for name, info in read_members(zip_path).items()]
    return hashlib.sha256(repr(sorted(content)).encode()).hexdigest()[:8]


def unpack_below(top: Path, zip_path: Path) -> Path:
    """Returns the zip's own folder below `top`, named after its contents, unpacked; errors: see `unpack`."""
    return unpack(zip_path, top / f"{zip_path.stem[:50]}-{fingerprint(zip_path)}")


def unpack(zip_path: Path, folder: Path) -> Path:
    """Returns `folder`, with the zip unpacked into it; an existing folder is returned as it is.

    Files are written to a hidden folder beside it, which is renamed once every checksum has been verified:
    `folder` is complete or absent, and the next run clears what a killed one left behind.

    Raises:
        FileNotFoundError: the zip does not exist.
        ValueError: see `read_members`; also a wrong checksum, contents of more than `HARMLESS_BYTES` and
            `MAX_RATIO` times the zip's size, or too little disk space (`SPARE_BYTES` must remain free).
        OSError: the target cannot be written.
    """
    if folder.is_dir():
        return folder
    members = read_members(zip_path)

    def fill(part: Path) -> None:
        _refuse_bomb(zip_path, members, part.parent)
        _write(zip_path, members, part)

    try:
        fill_folder(folder, fill)
    except OSError as error:
        raise OSError(
            f"cannot unpack {zip_path} to {folder}: {error}; make room there or set DATA_ROOT elsewhere"
        ) from error
    return folder


def _write(zip_path: Path, members: dict[str, zipfile.ZipInfo], folder: Path) -> None:
    total = sum(info.file_size for info in members.values())
    with (
        zipfile.ZipFile(zip_path) as archive,
        tqdm(total=total, unit="B", unit_scale=True, desc=zip_path.name, disable=is_headless()) as progress,
    ):
        for name, info in members.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                for chunk in _read_chunks(zip_path, archive, info):
                    progress.update(file.write(chunk))


def _read_chunks(zip_path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yields a member's bytes, never more than it declares: zipfile stops there and verifies the checksum."""
    try:
        with archive.open(info) as file:
            while chunk := file.read(1 << 20):
                yield chunk
    except BROKEN as error:
        raise _refusal(zip_path, info, f"is damaged ({one_line(error, 200)}); fetch the zip again") from error


def _clean_path(zip_path: Path, info: zipfile.ZipInfo) -> PurePosixPath:
    name = info.filename
    if not info.flag_bits & UTF8_NAME:
        with suppress(UnicodeError):  # if that fails, it really is code page 437
            name = name.encode("cp437").decode("utf-8")
    if len(name.encode()) > LONGEST_PATH:
        raise _refusal(zip_path, info, f"has a path longer than {LONGEST_PATH} bytes; pack it again")
    path = PurePosixPath(name.replace("\\", "/"))
    is_named = path.parts or info.is_dir()  # bsdtar packs the folder itself, as `./`
    if path.is_absolute() or re.match(r"[A-Za-z]:", name) or ".." in path.parts or not is_named:
        raise _refusal(zip_path, info, "would leave the folder it is unpacked to; do not trust this zip")
    if any(len(part.encode()) > LONGEST_NAME for part in path.parts):
        raise _refusal(zip_path, info, f"has a name longer than {LONGEST_NAME} bytes; pack it again")
    return path


def _refuse_unreadable(zip_path: Path, info: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)  # 0 if the packing system records no file type
    if kind not in (0, stat.S_IFREG):
        raise _refusal(zip_path, info, "is a link or a device, not a file; pack the files themselves")
    by_hand = "unpack the zip with another program and give the folder"
    if info.flag_bits & ENCRYPTED:
        raise _refusal(zip_path, info, f"is encrypted; {by_hand}")
    if info.compress_type not in READABLE_METHODS:
        raise _refusal(zip_path, info, f"is packed by method {info.compress_type}, not deflate; {by_hand}")


def _refuse_bomb(zip_path: Path, members: dict[str, zipfile.ZipInfo], place: Path) -> None:
    total = sum(info.file_size for info in members.values())
    if total > max(HARMLESS_BYTES, MAX_RATIO * zip_path.stat().st_size):
        largest = max(members.values(), key=lambda info: info.file_size)
        reason = f"and others grow to {total:,} bytes, over {MAX_RATIO} times the zip; do not trust this zip"
        raise _refusal(zip_path, largest, reason)
    free = shutil.disk_usage(place).free
    if total + SPARE_BYTES > free:
        raise ValueError(
            f"{zip_path} needs {total:,} bytes and {SPARE_BYTES:,} to spare, but {place} has {free:,} free; "
            "make room or set DATA_ROOT to another place"
        )


def _refusal(zip_path: Path, info: zipfile.ZipInfo, reason: str) -> ValueError:
    return ValueError(f"{zip_path}: member {info.filename[:100]!r} {reason}")
