"""Downloads of open scenes: checked by hash, cached, resumed where they broke off.

A file is either pinned (its SHA-256 is in this module) or recorded: what the server says of it at the first fetch (MD5 or
SHA-256 in its headers, where it says any) is checked, and the SHA-256 of what came is written beside it and holds from
then on. No hash is invented.

    file.tif.part        what has arrived so far
    file.tif.part.json   which version of the file it belongs to (URL, ETag)
    file.tif             complete and checked
    file.tif.json        its SHA-256, size, URL, and the server's own checksum
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sarlab.errors import SceneError
from sarlab.files import write_json
from sarlab.scenes.checksums import file_hash, server_checksums

_CHUNK = 1 << 16
_TIMEOUT_S = 30
_TRIES = 4
#: No scene of the catalog comes near.
_MAX_BYTES = 8 << 30


@dataclass(frozen=True)
class Download:
    """One file to fetch.

    Parameters
    ----------
    url : str
    filename : str
        In the cache folder of its source.
    sha256 : str
        Pinned hash; empty where the server's checksum is recorded at the first fetch.
    size : int
        Bytes where known, else 0.
    """

    url: str
    filename: str
    sha256: str = ""
    size: int = 0


class _Broken(Exception):
    """The transfer stopped early; another try goes on from there."""


def cache_folder() -> Path:
    """Where downloads are kept: ``SARLAB_CACHE``, or the platform's cache folder."""
    given = os.environ.get("SARLAB_CACHE")
    if given:
        return Path(given).expanduser()
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "sarlab"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "sarlab" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "sarlab"


def is_fetched(download: Download, folder: Path) -> bool:
    """True where the complete file is in the cache (its hash was checked when it came)."""
    path = folder / download.filename
    return path.is_file() and (not download.size or path.stat().st_size == download.size)


def fetch(download: Download, folder: Path, *, progress: bool = True, wait_s: float = 1.0) -> Path:
    """Fetch a file into a folder unless it is there; go on where an earlier transfer broke off.

    Parameters
    ----------
    download : Download
    folder : Path
    progress : bool
        Show a progress bar on a terminal.
    wait_s : float
        Pause before the second try, doubled before each further one.

    Returns
    -------
    Path

    Raises
    ------
    SceneError
        No network (with what to do), a server's refusal, a wrong hash, a broken transfer (what has arrived is kept).
    """
    path = folder / download.filename
    if path.is_file():
        wanted = download.sha256 or _recorded(path).get("sha256", "")
        if not wanted or file_hash(path) == wanted:
            return path
        # A damaged file in the cache is fetched again; it never passes for the real one.
        path.unlink()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        with part.open("ab") as file:
            _lock(file, download)
            headers = _transfer_with_retries(download, part, file, progress, wait_s)
            _finish(download, part, path, headers)
    except OSError as error:
        raise SceneError(
            f"{path}: cannot be written ({error.strerror or error}); set SARLAB_CACHE to a folder with room"
        ) from None
    return path


def _lock(file: BinaryIO, download: Download) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: two downloads of one file at once are the user's to avoid
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise SceneError(f"{download.filename} is being downloaded by another process; wait for it to end") from None


def _transfer_with_retries(
    download: Download, part: Path, file: BinaryIO, progress: bool, wait_s: float
) -> Mapping[str, str]:
    reason: Any = None
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(wait_s * 2 ** (attempt - 1))
        try:
            return _transfer(download, part, file, progress)
        except _Broken as broken:
            reason = broken
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code != 429:
                raise SceneError(
                    f"{download.url}: the server answers {error.code} {error.reason}; the scene may have moved. "
                    f"Download it by hand and give its path as the source"
                ) from None
            reason = error
        except urllib.error.URLError as error:
            reason = error.reason
            if isinstance(reason, (socket.gaierror, ConnectionRefusedError, ssl.SSLCertVerificationError)):
                # No name, no listener, no trust: waiting a second changes none of these.
                break
        except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
            reason = error
    done = part.stat().st_size
    if done == 0:
        raise _offline(download, part, reason)
    raise SceneError(
        f"{download.url}: the transfer broke off after {done:,} bytes ({reason}); "
        "they are kept, and the same command goes on from there"
    )


def _offline(download: Download, part: Path, reason: Any) -> SceneError:
    host = urllib.parse.urlsplit(download.url).netloc
    target = part.with_suffix("")
    return SceneError(
        f"cannot reach {host} ({reason}). Without a network: download {download.url} on another machine and put it at "
        f"{target}, or use scenes that need none ('bigearthnet', 'simulated-l4.4', your own files)"
    )


def _transfer(download: Download, part: Path, file: BinaryIO, progress: bool) -> Mapping[str, str]:
    """Append what is missing to the partial file; returns the headers of the answer."""
    notes = part.with_name(part.name + ".json")
    known = _read_json(notes)
    have = part.stat().st_size
    if have and (known.get("url") != download.url or not known.get("validator")):
        file.truncate(0)
        have = 0
    if have and known.get("total") == have:
        # Complete, but the check did not come: the process was stopped in between.
        return known["headers"]
    headers = {"Accept-Encoding": "identity", "User-Agent": "sarlab", "x-amz-checksum-mode": "ENABLED"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": known["validator"]}
    request = urllib.request.Request(download.url, headers=headers)
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:
            file.truncate(0)
            raise _Broken("the file on the server has changed") from None
        raise
    with answer:
        start = _start_of(answer, have)
        if start != have:
            file.truncate(0)
            have = 0
        length = answer.headers.get("Content-Length", "")
        total = have + int(length) if length.isdigit() else 0
        if total > _MAX_BYTES:
            raise SceneError(f"{download.url}: {total:,} bytes are more than any scene here has; not downloaded")
        relevant = {k.lower(): v for k, v in answer.headers.items() if k.lower() in _KEPT_HEADERS}
        validator = relevant.get("etag") or relevant.get("last-modified", "")
        if validator.startswith("W/"):
            validator = ""
        write_json(notes, {"url": download.url, "validator": validator, "total": total, "headers": relevant})
        _copy(answer, file, have, total, download.filename, progress)
    return relevant


_KEPT_HEADERS = {
    "etag", "last-modified", "content-md5", "x-goog-hash", "x-amz-checksum-sha256", "x-amz-server-side-encryption", "server",
}  # fmt: skip


def _start_of(answer: Any, asked: int) -> int:
    """First byte of an answer: 0 for a whole file, what Content-Range says for a part."""
    if answer.status != 206:
        return 0
    stated = answer.headers.get("Content-Range", "").removeprefix("bytes ").split("-")[0]
    if stated != str(asked):
        raise _Broken("the server sent another part than asked for")
    return asked


def _copy(answer: Any, file: BinaryIO, have: int, total: int, name: str, progress: bool) -> None:
    from tqdm import tqdm

    with tqdm(
        total=total or None, initial=have, desc=name, unit="B", unit_scale=True, disable=None if progress else True
    ) as bar:
        received = have
        try:
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
                received += len(chunk)
                bar.update(len(chunk))
                if received > _MAX_BYTES:
                    raise SceneError(f"{name}: more than {_MAX_BYTES:,} bytes; not downloaded")
        except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
            raise _Broken(str(error) or type(error).__name__) from None
        finally:
            file.flush()
        if total and received < total:
            raise _Broken(f"{received:,} of {total:,} bytes")


def _finish(download: Download, part: Path, path: Path, headers: Mapping[str, str]) -> None:
    """Check the complete file and give it its name."""
    notes = part.with_name(part.name + ".json")
    sha256, md5 = file_hash(part), file_hash(part, "md5")
    stated = server_checksums(headers)
    actual = {"sha256": sha256, "md5": md5}
    wrong = next((kind for kind, value in stated.items() if actual[kind] != value), "")
    if download.sha256 and sha256 != download.sha256:
        wrong, expected, found = "sha256", download.sha256, sha256
    elif wrong:
        expected, found = stated[wrong], actual[wrong]
    if wrong:
        part.unlink(missing_ok=True)
        notes.unlink(missing_ok=True)
        raise SceneError(
            f"{download.url}: what came has {wrong} {found} instead of {expected}, and was deleted. Try again; if it stays "
            "so, the file on the server has changed: if you trust it, download it by hand and give its path as the source"
        )
    record = {
        "url": download.url, "sha256": sha256, "size": part.stat().st_size, "pinned": bool(download.sha256),
        "server": dict(stated), "etag": headers.get("etag", ""),
    }  # fmt: skip
    write_json(path.with_name(path.name + ".json"), record)
    os.replace(part, path)
    notes.unlink(missing_ok=True)


def _recorded(path: Path) -> dict[str, Any]:
    return _read_json(path.with_name(path.name + ".json"))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
