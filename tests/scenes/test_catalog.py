"""Scenes by name, and downloads from a server on this machine."""

import hashlib
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pooch
import pytest
import requests

from sarlab.errors import SceneError
from sarlab.scenes.catalog import (
    Download,
    DownloadEntry,
    Entry,
    NoNetworkError,
    bigearthnet_split,
    cache_folder,
    catalog_entries,
    downloads,
    load_scene,
    load_split,
)
from sarlab.specs import SceneSpec

CONTENT = np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8).tobytes()
FILE = Download("scene.tif", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
ENTRY = DownloadEntry("download", "A scene", "MIT", folder="mine", url="https://scenes.test/folder/", files=(FILE,))


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SARLAB_CACHE", str(tmp_path))


def test_every_entry_of_the_catalog_is_described():
    entries = {name: catalog_entries[name] for name in catalog_entries}
    known = "sentinel1 sentinel1-all bigearthnet simulated-l1 simulated-l4.4-correlated sen1floods11 umbra-tanna"
    assert set(known.split()) <= set(entries)
    assert {entry.kind for entry in entries.values()} == {"embedded", "collection", "simulated", "download"}
    assert all(entry.title and entry.license for entry in entries.values())
    for entry in downloads().values():
        assert entry.credit
        assert entry.url.startswith("https://")
    assert all(len(file.sha256) == 64 and file.size for file in downloads()["sen1floods11"].files)


def test_unknown_names_and_files_are_refused_with_a_hint():
    with pytest.raises(SceneError, match="did you mean 'bigearthnet'"):
        load_split(SceneSpec("bigearthnt"))
    with pytest.raises(SceneError, match="no such file or folder"):
        load_split(SceneSpec("nowhere/x.tif"))
    for source, quantity in (("bigearthnet", "amplitude"), ("simulated-l1", "complex")):
        with pytest.raises(SceneError, match="are in dB"):
            load_split(SceneSpec(source, quantity))
    with pytest.raises(SceneError, match="sarlab fetch sen1floods11"):
        load_split(SceneSpec("sen1floods11"))


def test_load_scene_by_name_source_and_file(tmp_path):
    assert load_scene("ben-33UUP-33-69").shape == (2, 240, 240)
    assert load_scene("bigearthnet").name == "ben-33UUP-37-88"
    assert load_scene("sentinel1").name == "morocco-20230904"
    assert load_scene("azores").quantity == "db"
    assert load_scene("simulated-l1").simulated
    np.save(tmp_path / "mine.npy", np.full((9, 9), 3, np.uint8))
    assert load_scene(str(tmp_path / "mine.npy")).quantity == "amplitude"


def test_your_own_source_is_one_registration():
    class Mine(Entry):
        def split(self, quantity):
            return bigearthnet_split()

    name = "test-your-own-source"
    catalog_entries.register(name)(Mine("embedded", "mine", "MIT"))
    try:
        assert load_split(SceneSpec(name)).digest == bigearthnet_split().digest
    finally:
        del catalog_entries._items[name]


def test_named_scenes_need_nothing_but_numpy_scipy_and_rasterio():
    code = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"imagecodecs", "tqdm", "pooch", "pyarrow", "psutil", "matplotlib",
                                  "torch", "torchmetrics", "lmdb", "pandas"}:
            raise ImportError("blocked: " + name)
sys.meta_path.insert(0, Block())
from sarlab.scenes.catalog import load_split, load_optical_control
from sarlab.specs import SceneSpec
print(load_split(SceneSpec("bigearthnet")).digest)
load_split(SceneSpec("simulated-l4.4"))
load_optical_control()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == bigearthnet_split().digest


# Downloads


@pytest.fixture
def server(monkeypatch):
    """A server that sends `content`, or the next of `statuses`, or breaks off after the next of `lengths`."""
    state = SimpleNamespace(content=CONTENT, statuses=[], lengths=[], requests=0)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            state.requests += 1
            if state.statuses:
                self.send_error(state.statuses.pop(0))
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(state.content)))
            self.end_headers()
            self.wfile.write(state.content[: state.lengths.pop(0) if state.lengths else None])

    get = requests.get
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        local = f"http://127.0.0.1:{http.server_port}"
        monkeypatch.setattr(requests, "get", lambda url, **k: get(url.replace("https://scenes.test", local), **k))
        monkeypatch.setattr(pooch.core.time, "sleep", lambda seconds: None)
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield state
        http.shutdown()


def test_a_file_is_downloaded_once_and_again_if_damaged(server, tmp_path):
    assert not ENTRY.available()
    path = ENTRY.fetch(FILE, progress=False)
    assert path.read_bytes() == CONTENT
    assert list((tmp_path / "mine").iterdir()) == [path]
    assert ENTRY.available()
    assert ENTRY.fetch(FILE) == path
    assert server.requests == 1
    path.write_bytes(b"damaged")
    assert not ENTRY.available()
    assert ENTRY.fetch(FILE, progress=True).read_bytes() == CONTENT


def test_faults_are_tried_again(server):
    server.statuses, server.lengths = [503], [100_000]
    assert ENTRY.fetch(FILE, progress=False).read_bytes() == CONTENT
    assert server.requests == 3


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"statuses": [404] * 3}, "download failed .404.*by hand and put it at .*scene.tif"),
        ({"lengths": [1000] * 3}, "download failed .*broken"),
        ({"content": CONTENT[::-1]}, "does not match the known hash"),
    ],
)
def test_failed_downloads_leave_nothing(server, tmp_path, fault, message):
    vars(server).update(fault)
    with pytest.raises(SceneError, match=message):
        ENTRY.fetch(FILE, progress=False)
    assert list((tmp_path / "mine").iterdir()) == []


def test_without_a_network_the_message_says_what_to_do(tmp_path, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        entry = replace(ENTRY, url=f"https://127.0.0.1:{unused.getsockname()[1]}/")
    monkeypatch.setattr(pooch.core.time, "sleep", lambda seconds: None)
    with pytest.raises(NoNetworkError, match=r"127\.0\.0\.1:.*cannot reach.*scene\.tif.*'bigearthnet'") as error:
        entry.fetch(FILE, progress=False)
    assert "\n" not in str(error.value)


def test_only_https_and_a_writable_cache(server, tmp_path, monkeypatch):
    with pytest.raises(SceneError, match="https"):
        replace(ENTRY, url="http://scenes.test/").fetch(FILE)
    (tmp_path / "mine").write_text("")
    with pytest.raises(SceneError, match="set SARLAB_CACHE"):
        ENTRY.fetch(FILE, progress=False)
    assert cache_folder() == tmp_path
    monkeypatch.delenv("SARLAB_CACHE")
    assert cache_folder().name == "sarlab"


def test_downloaded_chips_make_a_split(tmp_path, shared_data):
    folder = shared_data / "sentinel1_grd_chips"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    (tmp_path / "sen1floods11").mkdir()
    for file in downloads()["sen1floods11"].files:
        assert pooch.file_hash(str(folder / file.name)) == file.sha256
        (tmp_path / "sen1floods11" / file.name).symlink_to(folder / file.name)
    split = load_split(SceneSpec("sen1floods11"))
    assert len([*split.roles()]) == 8
    assert all("Sen1Floods11" in s.credit and s.looks == 4.4 for _, s in split.roles())
