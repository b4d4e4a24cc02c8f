"""Downloads against a server on this machine: resume, hashes, refusals, no network."""

import base64
import hashlib
import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from sarlab.errors import SceneError
from sarlab.scenes.checksums import server_checksums
from sarlab.scenes.fetch import Download, cache_folder, fetch, is_fetched

CONTENT = np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8).tobytes()
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT, usedforsecurity=False)


class Server:
    """What the next answers do, and what was asked."""

    def __init__(self):
        self.content, self.etag = CONTENT, '"version 1"'
        self.break_after: list[int] = []
        self.statuses: list[int] = []
        self.headers: dict[str, str] = {}
        self.ranges, self.asked = True, []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_GET(self):
                server.answer(self)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/scene.tif"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def answer(self, request):
        asked = request.headers.get("Range", "")
        self.asked.append(asked)
        if self.statuses:
            status = self.statuses.pop(0)
            if status != 200:
                request.send_error(status)
                return
        start = 0
        match = re.fullmatch(r"bytes=(\d+)-", asked)
        if match and self.ranges and request.headers.get("If-Range") == self.etag:
            start = int(match[1])
        if start >= len(self.content) > 0 and start:
            request.send_error(416)
            return
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        request.send_header("Content-Length", str(len(self.content) - start))
        request.send_header("ETag", self.etag)
        for name, value in self.headers.items():
            request.send_header(name, value)
        request.end_headers()
        end = start + self.break_after.pop(0) if self.break_after else len(self.content)
        request.wfile.write(self.content[start:end])
        request.wfile.flush()
        if end < len(self.content):
            request.connection.shutdown(socket.SHUT_RDWR)

    def close(self):
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def server():
    running = Server()
    yield running
    running.close()


def get(server, folder, **options):
    file = Download(server.url, "scene.tif", options.pop("sha256", SHA256), options.pop("size", 0))
    return fetch(file, folder, progress=False, wait_s=0, **options)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_fetched_once(server, tmp_path):
    path = get(server, tmp_path)
    assert path.read_bytes() == CONTENT
    assert names(tmp_path) == ["scene.tif", "scene.tif.json"]
    assert get(server, tmp_path) == path
    assert server.asked == [""]
    record = json.loads((tmp_path / "scene.tif.json").read_text())
    assert record["sha256"] == SHA256
    assert record["size"] == len(CONTENT)
    assert record["pinned"]


def test_broken_transfers_go_on_where_they_stopped(server, tmp_path):
    server.break_after = [100_000, 50_000]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == ["", "bytes=100000-", "bytes=150000-"]


def test_a_transfer_that_breaks_for_good_is_kept_and_resumed_by_the_next_command(server, tmp_path):
    server.break_after = [70_000, 10_000, 10_000, 10_000]
    with pytest.raises(SceneError, match=r"broke off after 100,000 bytes.*the same command goes on"):
        get(server, tmp_path)
    assert names(tmp_path) == ["scene.tif.part", "scene.tif.part.json"]
    assert not is_fetched(Download(server.url, "scene.tif"), tmp_path)
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=100000-"
    assert names(tmp_path) == ["scene.tif", "scene.tif.json"]


def test_an_interrupted_transfer_is_resumed(server, tmp_path, monkeypatch):
    """Ctrl-C in the middle of a chunk."""
    import tqdm

    class Interrupting(tqdm.tqdm):
        def update(self, n=1):
            if self.n + n > 150_000:
                raise KeyboardInterrupt
            return super().update(n) or setattr(self, "n", self.n + (n if self.disable else 0))

    with monkeypatch.context() as patch:
        patch.setattr(tqdm, "tqdm", Interrupting)
        with pytest.raises(KeyboardInterrupt):
            get(server, tmp_path)
    have = (tmp_path / "scene.tif.part").stat().st_size
    assert 150_000 < have < len(CONTENT)
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == ["", f"bytes={have}-"]


def test_a_process_stopped_before_the_check_needs_no_second_transfer(server, tmp_path):
    (tmp_path / "scene.tif.part").write_bytes(CONTENT)
    notes = {"url": server.url, "validator": server.etag, "total": len(CONTENT), "headers": {}}
    (tmp_path / "scene.tif.part.json").write_text(json.dumps(notes))
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == []


def test_a_file_that_changed_meanwhile_is_fetched_from_the_start(server, tmp_path):
    server.break_after = [100_000] + [0] * 3
    with pytest.raises(SceneError, match="broke off"):
        get(server, tmp_path, sha256="")
    server.content, server.etag = CONTENT[::-1], '"version 2"'
    assert get(server, tmp_path, sha256="").read_bytes() == CONTENT[::-1]


def test_a_server_without_ranges_starts_anew(server, tmp_path):
    server.ranges, server.break_after = False, [100_000]
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_wrong_hash_leaves_nothing(server, tmp_path):
    with pytest.raises(SceneError, match=r"sha256 [0-9a-f]{64} instead of 0{64}, and was deleted"):
        get(server, tmp_path, sha256="0" * 64)
    assert names(tmp_path) == []


def test_resumed_garbage_is_caught(server, tmp_path):
    (tmp_path / "scene.tif.part").write_bytes(b"x" * 1000)
    notes = {"url": server.url, "validator": server.etag, "total": len(CONTENT), "headers": {}}
    (tmp_path / "scene.tif.part.json").write_text(json.dumps(notes))
    with pytest.raises(SceneError, match="was deleted"):
        get(server, tmp_path)
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_damaged_file_in_the_cache_is_fetched_again(server, tmp_path):
    path = get(server, tmp_path)
    path.write_bytes(b"damaged")
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_without_a_pinned_hash_the_first_one_is_recorded_and_holds(server, tmp_path):
    path = get(server, tmp_path, sha256="")
    record = json.loads((tmp_path / "scene.tif.json").read_text())
    assert (record["sha256"], record["pinned"], record["etag"]) == (SHA256, False, server.etag)
    path.write_bytes(CONTENT[:-1] + b"?")
    assert get(server, tmp_path, sha256="").read_bytes() == CONTENT
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-goog-hash", "crc32c=AAAAAA==,md5={md5}"),
        ("Content-MD5", "{md5}"),
        ("x-amz-checksum-sha256", "{sha256}"),
    ],
)
def test_checksums_of_the_server_are_checked(server, tmp_path, name, value):
    right = {"md5": base64.b64encode(MD5.digest()).decode(), "sha256": base64.b64encode(bytes.fromhex(SHA256)).decode()}
    wrong = {"md5": base64.b64encode(bytes(16)).decode(), "sha256": base64.b64encode(bytes(32)).decode()}
    server.headers = {name: value.format(**wrong)}
    with pytest.raises(SceneError, match=r"instead of 0+, and was deleted"):
        get(server, tmp_path, sha256="")
    server.headers = {name: value.format(**right)}
    get(server, tmp_path, sha256="")
    (stated,) = json.loads((tmp_path / "scene.tif.json").read_text())["server"].values()
    assert stated in (SHA256, MD5.hexdigest())


def test_an_etag_is_a_checksum_only_where_it_is_one():
    md5 = MD5.hexdigest()
    amazon = {"server": "AmazonS3", "etag": f'"{md5}"'}
    assert server_checksums(amazon) == {"md5": md5}
    assert server_checksums({**amazon, "etag": f'"{md5}-219"'}) == {}
    assert server_checksums({**amazon, "x-amz-server-side-encryption": "aws:kms"}) == {}
    assert server_checksums({"server": "other", "etag": f'"{md5}"'}) == {}
    assert server_checksums({"content-md5": "not base64!", "x-goog-hash": "md5=AAAA"}) == {}


def test_refusals_are_final_and_faults_are_not(server, tmp_path):
    server.statuses = [404]
    with pytest.raises(SceneError, match="answers 404"):
        get(server, tmp_path)
    assert len(server.asked) == 1
    server.statuses = [503, 500, 200]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert len(server.asked) == 4


def test_without_a_network_it_says_what_to_do(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    file = Download(f"http://127.0.0.1:{port}/scene.tif", "scene.tif")
    with pytest.raises(SceneError) as error:
        fetch(file, tmp_path, progress=False, wait_s=0)
    message = str(error.value)
    assert message.startswith(f"cannot reach 127.0.0.1:{port}")
    assert file.url in message
    assert str(tmp_path / "scene.tif") in message
    assert "'bigearthnet'" in message
    assert "\n" not in message


def test_a_second_process_waits_its_turn(server, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    with (tmp_path / "scene.tif.part").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(SceneError, match="by another process"):
            get(server, tmp_path)


def test_the_cache_is_where_the_user_says(monkeypatch, tmp_path):
    monkeypatch.setenv("SARLAB_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("SARLAB_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "sarlab"


def test_a_folder_that_cannot_be_written_is_named(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SceneError, match="set SARLAB_CACHE"):
        get(server, tmp_path / "file" / "cache")


def test_known_size_decides_whether_a_file_is_at_hand(tmp_path):
    (tmp_path / "scene.tif").write_bytes(b"abc")
    assert is_fetched(Download("http://x/", "scene.tif", size=3), tmp_path)
    assert not is_fetched(Download("http://x/", "scene.tif", size=4), tmp_path)
