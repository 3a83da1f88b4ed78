"""Zips of strangers: whole or not at all, and nothing outside the folder."""

import os
import random
import signal
import stat
import struct
import subprocess
import sys
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from src.datasets import archives

ROOT = Path(__file__).resolve().parents[1]


def pack(path: Path, members: dict, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """Writes a zip; a key is a name or a ZipInfo."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def member(name: str, **fields) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def patch_flags(path: Path, old: bytes, new: bytes) -> Path:
    """Replaces bytes in the finished zip, headers included."""
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    return path


def test_contents_arrive_byte_for_byte_and_the_zip_is_untouched(tmp_path):
    files = {"train/cat.0.jpg": b"miau" * 1000, "train/dog.0.jpg": b"", "train/": b"", "a b/ä.jpg": b"x"}
    path = pack(tmp_path / "z.zip", files)
    before = path.read_bytes(), path.stat().st_mtime_ns
    folder = archives.unpack(path, tmp_path / "out" / "z")
    assert tree(folder) == {name: content for name, content in files.items() if not name.endswith("/")}
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert [p.name for p in folder.parent.iterdir() if not p.name.endswith(".lock")] == ["z"]


@pytest.mark.parametrize(
    "name", ["../out.jpg", "a/../../b.jpg", "/etc/x.jpg", "C:/x.jpg", "..\\x.jpg", "\\\\host\\x", "."]
)
def test_a_name_that_leaves_the_folder_is_refused(tmp_path, name):
    refused(tmp_path, pack(tmp_path / "z.zip", {"good.jpg": b"1", name: b"2"}), "leave the folder")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_a_link_or_device_is_refused(tmp_path, kind):
    info = member("link.jpg", create_system=3, external_attr=(kind | 0o777) << 16)
    refused(tmp_path, pack(tmp_path / "z.zip", {info: "/etc/passwd"}), "link or a device")


@pytest.mark.parametrize(
    "pair", [("a.jpg", "a.jpg"), ("A/1.jpg", "a/1.JPG"), ("é.jpg", "e\u0301.jpg"), ("a\\b", "a/b")]
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(tmp_path, pair):
    path = tmp_path / "z.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in pair:
            archive.writestr(name, name)
    refused(tmp_path, path, "there twice")


def test_a_file_at_a_folders_place_is_refused(tmp_path):
    refused(tmp_path, pack(tmp_path / "z.zip", {"a": b"1", "a/b.jpg": b"2"}), "file and a folder")


def test_an_encrypted_member_is_refused(tmp_path):
    path = pack(tmp_path / "z.zip", {"secret.jpg": b"1"})
    patch_flags(
        path,
        b"PK\x01\x02" + struct.pack("<HHH", 0x0314, 20, 0),
        b"PK\x01\x02" + struct.pack("<HHH", 0x0314, 20, 1),
    )
    refused(tmp_path, path, "encrypted")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_unusual_method_is_named(tmp_path, method):
    refused(tmp_path, pack(tmp_path / "z.zip", {"a.jpg": b"1"}, method), f"method {method}")


def test_a_bomb_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    # 1 MB of zeros shrinks about a thousandfold, over the hundredfold allowed.
    monkeypatch.setattr(archives, "HARMLESS_BYTES", 100_000)
    monkeypatch.setattr(archives, "_write", lambda *_: pytest.fail("wrote something"))
    refused(tmp_path, pack(tmp_path / "z.zip", {"a.jpg": bytes(1_000_000)}), "100 times")


def test_a_member_larger_than_it_declares_is_cut_and_refused(tmp_path):
    path = pack(tmp_path / "z.zip", {"a.jpg": bytes(5000)})
    # The central directory says 50 bytes; the stream goes on.
    patch_flags(path, struct.pack("<L", 5000), struct.pack("<L", 50))
    refused(tmp_path, path, "damaged")


def test_too_little_room_is_told_with_figures(tmp_path, monkeypatch):
    path = pack(tmp_path / "z.zip", {"a.jpg": bytes(1234)})
    usage = type("Usage", (), {"free": archives.SPARE_BYTES + 1233})
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: usage)
    refused(tmp_path, path, "1,234 bytes")


def test_too_many_members_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 2)
    refused(tmp_path, pack(tmp_path / "z.zip", {str(i): b"" for i in range(3)}), "3 members")


def test_a_flipped_bit_names_zip_and_member_and_leaves_nothing(tmp_path):
    path = pack(tmp_path / "z.zip", {"a.jpg": b"first", "b.jpg": b"second"}, zipfile.ZIP_STORED)
    refused(tmp_path, patch_flags(path, b"second", b"sfcond"), "'b.jpg' is damaged")


def test_every_truncation_is_refused(tmp_path):
    randomness = random.Random(0)
    whole = pack(tmp_path / "z.zip", {f"{i}.jpg": randomness.randbytes(50) for i in range(3)}).read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / "z.zip").write_bytes(whole[:length])
        refused(tmp_path, tmp_path / "z.zip", "z.zip")


def test_random_damage_never_gives_another_error_nor_a_half_folder(tmp_path):
    randomness = random.Random(0)
    contents = {f"train/cat.{i}.jpg": bytes([i]) * 40 for i in range(4)}
    whole = pack(tmp_path / "whole.zip", contents).read_bytes()
    for trial in range(300):
        damaged = bytearray(whole)
        for _ in range(randomness.randint(1, 4)):
            damaged[randomness.randrange(len(damaged))] = randomness.randrange(256)
        path = tmp_path / "z.zip"
        path.write_bytes(damaged)
        try:
            folder = archives.unpack(path, tmp_path / "out" / f"{trial}")
        except ValueError as error:
            assert str(path) in str(error)
        else:  # a name or a date was hit: contents are whole all the same
            assert set(tree(folder).values()) <= set(contents.values())
    assert not list((tmp_path / "out").glob(".*.part"))
    assert {p.name for p in tmp_path.iterdir()} == {"whole.zip", "z.zip", "out"}


@pytest.mark.parametrize(
    ("packed", "flag", "expected"),
    [
        (b"dog\\1.jpg", 0, "dog/1.jpg"),
        ("кот.jpg".encode(), 0, "кот.jpg"),  # macOS: UTF-8 without the flag
        (b"\x81.jpg", 0, "ü.jpg"),  # DOS code page 437, not valid UTF-8
        ("ü.jpg".encode(), 0x800, "ü.jpg"),
    ],
)
def test_names_of_other_systems_arrive(tmp_path, packed, flag, expected):
    path = pack(tmp_path / "z.zip", {"N" * len(packed): b"1"})
    patch_flags(path, b"N" * len(packed), packed)
    if flag:
        content = bytearray(path.read_bytes())
        content[6:8] = struct.pack("<H", flag)
        start = content.index(b"PK\x01\x02")
        content[start + 8 : start + 10] = struct.pack("<H", flag)
        path.write_bytes(content)
    assert list(tree(archives.unpack(path, tmp_path / "out"))) == [expected]


def test_a_zip_that_names_its_own_folder_is_read(tmp_path):
    path = pack(tmp_path / "z.zip", {"./": b"", "./train/": b"", "./train/cat.0.jpg": b"miau"})
    assert tree(archives.unpack(path, tmp_path / "z")) == {"train/cat.0.jpg": b"miau"}


def test_macos_resource_forks_stay_out(tmp_path):
    path = pack(tmp_path / "z.zip", {"a.jpg": b"1", "__MACOSX/._a.jpg": b"2"})
    assert list(archives.read_members(path)) == ["a.jpg"]


def test_a_copy_has_the_same_fingerprint_and_other_content_another(tmp_path):
    first = pack(tmp_path / "a.zip", {"a.jpg": b"1"})
    os.utime(first, (0, 0))
    assert archives.fingerprint(first) == archives.fingerprint(pack(tmp_path / "b.zip", {"a.jpg": b"1"}))
    assert archives.fingerprint(first) != archives.fingerprint(pack(tmp_path / "c.zip", {"a.jpg": b"2"}))


def test_an_unwritable_place_is_told_in_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"cannot unpack .*DATA_ROOT") as caught:
        archives.unpack(pack(tmp_path / "z.zip", {"a": b"1"}), tmp_path / "file" / "z")
    assert "\n" not in str(caught.value)


def test_a_disk_that_fills_in_the_middle_leaves_nothing(tmp_path, monkeypatch):
    def fill(zip_path, members, part):
        (part / "half").touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archives, "_write", fill)
    with pytest.raises(OSError, match="No space left"):
        archives.unpack(pack(tmp_path / "z.zip", {"a": b"1"}), tmp_path / "out" / "z")
    assert not list((tmp_path / "out").glob("*part"))


def test_a_kill_in_the_middle_leaves_no_half_folder_and_the_next_run_is_whole(tmp_path):
    randomness = random.Random(0)
    files = {f"{i}.jpg": randomness.randbytes(1000) for i in range(3000)}
    path, folder = pack(tmp_path / "z.zip", files, zipfile.ZIP_STORED), tmp_path / "out" / "z"
    code = "import sys, pathlib, src.datasets.archives as a; a.unpack(*map(pathlib.Path, sys.argv[1:]))"
    part, killed = folder.with_name(".z.part"), 0
    for files_written in (1, 500, 1500):
        worker = subprocess.Popen([sys.executable, "-c", code, str(path), str(folder)], cwd=ROOT)
        limit = time.monotonic() + 20
        while worker.poll() is None and time.monotonic() < limit:
            with suppress(FileNotFoundError):  # not there yet, or renamed at this very moment
                if len(os.listdir(part)) >= files_written:
                    worker.send_signal(signal.SIGKILL)
        killed += worker.wait() == -signal.SIGKILL
        assert not folder.exists() or len(os.listdir(folder)) == len(files)
        if folder.exists():
            break
    assert killed
    assert tree(archives.unpack(path, folder)) == files
    assert not part.exists()


def test_no_zip_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such zip"):
        archives.unpack(tmp_path / "none.zip", tmp_path / "out")
    (tmp_path / "text.zip").write_text("hello")
    refused(tmp_path, tmp_path / "text.zip", "not a whole zip")


def refused(tmp_path: Path, path: Path, reason: str) -> None:
    """Asserts one line that names the zip and the reason, and that nothing is left anywhere."""
    before = {p for p in tmp_path.rglob("*") if p.suffix != ".lock"}
    with pytest.raises(ValueError, match=reason) as caught:
        archives.unpack(path, tmp_path / "unpacked" / "z")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    left = {p for p in tmp_path.rglob("*") if p.suffix != ".lock"} - before
    assert left <= {tmp_path / "unpacked"}
