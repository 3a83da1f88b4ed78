"""Downloads from a server on this machine: whole or not at all, and a file of the user's is never touched."""

import hashlib
import http.server
import io
import shutil
import sys
import threading
import types
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from src import data
from src.config import Paths
from src.datasets import downloads

NAME = "small.zip"


def make_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("train/cats/cat.0.jpg", "train/dogs/dog.0.jpg", "validation/cats/cat.1.jpg"):
            archive.writestr(name, b"picture " * 100)
    return buffer.getvalue()


@pytest.fixture
def server():
    """A server whose answer a test can change: `server.body`, `server.cut` (bytes sent), `server.asked`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked += 1
            self.send_response(self.server.status)
            self.send_header("Content-Length", str(len(self.server.body)))
            self.end_headers()
            self.wfile.write(self.server.body[: self.server.cut])

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.body, server.cut, server.asked, server.status = make_zip(), None, 0, 200
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def source(server, monkeypatch):
    url = f"http://127.0.0.1:{server.server_port}/{NAME}"
    source = downloads.Source(url, len(server.body), hashlib.sha256(server.body).hexdigest())
    monkeypatch.setitem(downloads.SOURCES, "filtered", source)
    return source


def files_in(folder: Path) -> list[str]:
    """Returns the names of all files but the locks of processes."""
    return [path.name for path in folder.iterdir() if path.suffix != ".lock"]


def test_a_data_set_is_fetched_once_and_found(server, source, tmp_path):
    paths = Paths(tmp_path / "input", tmp_path / "data", tmp_path / "output")
    found = data.find_data("filtered", paths)
    assert sorted(p.name for p in found.iterdir()) == ["train", "validation"]
    assert files_in(paths.data / "raw") == [NAME]
    assert data.find_data("filtered", paths) == found
    assert data.find_data("auto", paths) == found
    assert server.asked == 1


def test_what_a_killed_download_left_is_fetched_again(server, source, tmp_path):
    (tmp_path / f".{NAME}.part").write_bytes(server.body[:100])
    assert downloads.download("filtered", tmp_path).read_bytes() == server.body
    assert files_in(tmp_path) == [NAME]


def test_several_processes_fetch_it_once(server, source, tmp_path):
    """Threads here: each takes the lock by itself, as a process would."""
    with ThreadPoolExecutor(3) as pool:
        zips = list(pool.map(lambda _: downloads.download("filtered", tmp_path), range(3)))
    assert [path.read_bytes() for path in zips] == [server.body] * 3
    assert server.asked == 1


@pytest.mark.parametrize("content", [b"cut off", make_zip()[:-1] + b"!"])
def test_a_users_file_of_wrong_size_or_hash_is_named_and_left(content, server, source, tmp_path):
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{NAME} has .* right; remove it"):
        downloads.download("filtered", tmp_path)
    assert (tmp_path / NAME).read_bytes() == content
    assert server.asked == 0


def cut_off(server):
    server.cut = 200


def answer_not_found(server):
    server.status = 404


def send_another_file(server):
    server.body = bytes(len(server.body))


def stop_answering(server):
    server.server_close()
    server.shutdown()


@pytest.mark.parametrize("fault", [cut_off, answer_not_found, send_another_file, stop_answering])
def test_a_failed_download_leaves_nothing_and_says_what_to_put_where(fault, server, source, tmp_path):
    fault(server)
    with pytest.raises(ConnectionError) as caught:
        downloads.download("filtered", tmp_path / "raw")
    message = str(caught.value)
    assert source.url in message
    assert str(tmp_path / "raw" / NAME) in message
    assert "\n" not in message
    assert files_in(tmp_path / "raw") == []


def test_without_a_hash_every_member_is_checked(server, source, tmp_path, monkeypatch):
    monkeypatch.setitem(downloads.SOURCES, "filtered", source._replace(sha256=None))
    server.body = server.body.replace(b"picture " * 100, b"pictvre " * 100, 1)
    with pytest.raises(ConnectionError, match=r"damaged at member 'train/cats/cat\.0\.jpg'"):
        downloads.download("filtered", tmp_path)
    server.body = bytes(source.size)
    with pytest.raises(ConnectionError, match="what arrived is not a whole zip file"):
        downloads.download("filtered", tmp_path)
    assert files_in(tmp_path) == []
    (tmp_path / NAME).write_bytes(server.body[:-1])
    with pytest.raises(ValueError, match=f"has {source.size - 1:,} bytes where {source.size:,} are right"):
        downloads.download("filtered", tmp_path)


def test_a_server_that_falls_silent_is_given_up(server, source, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "SILENCE_SECONDS", 0.3)
    ended = threading.Event()
    monkeypatch.setattr(server.RequestHandlerClass, "do_GET", lambda _: ended.wait(10))
    with pytest.raises(ConnectionError, match="timed out"):
        downloads.download("filtered", tmp_path)
    ended.set()


def test_an_unwritable_place_is_told_and_nothing_goes_elsewhere(server, source, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="DATA_ROOT"):
        downloads.download("filtered", tmp_path / "file" / "raw")
    assert server.asked == 0


def test_too_little_room_is_told_before_the_download(server, source, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=10**6))
    source = source._replace(size=70 * 10**6)
    monkeypatch.setitem(downloads.SOURCES, "filtered", source)
    with pytest.raises(OSError, match=r"cannot fetch http.*about 70 MB in .*, where 1 MB are free"):
        downloads.download("filtered", tmp_path)
    assert server.asked == 0
    assert files_in(tmp_path) == []


def test_what_is_there_needs_no_room(source, server, tmp_path, monkeypatch):
    (tmp_path / NAME).write_bytes(server.body)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=0))
    assert downloads.download("filtered", tmp_path) == tmp_path / NAME and server.asked == 0
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_kaggle_without_its_client_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(ValueError, match="pip install kagglehub"):
        downloads.download_kaggle()


def test_kaggle_without_accepted_rules_says_where(monkeypatch):
    def refuse(handle):
        raise RuntimeError("403 Client Error.\nYou don't have permission")

    monkeypatch.setitem(sys.modules, "kagglehub", types.SimpleNamespace(competition_download=refuse))
    with pytest.raises(
        ConnectionError, match=r"403 Client Error.*dogs-vs-cats/rules.*KAGGLE_USERNAME"
    ) as caught:
        downloads.download_kaggle()
    assert "\n" not in str(caught.value)


def test_kaggles_folder_is_taken(monkeypatch, tmp_path):
    for name in ("cat.0.jpg", "dog.0.jpg"):
        (tmp_path / name).write_bytes(b"")
    client = types.SimpleNamespace(
        competition_download=lambda handle: {"dogs-vs-cats": str(tmp_path)}[handle]
    )
    monkeypatch.setitem(sys.modules, "kagglehub", client)
    assert data.find_data("kaggle", Paths(tmp_path / "i", tmp_path / "d", tmp_path / "o")) == tmp_path
