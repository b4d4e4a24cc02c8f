"""Atomic writing of files: the final name never belongs to a partial file."""

from __future__ import annotations

import errno
import glob
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from sarlab.errors import DiskError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path with the suffix of `path`; on success it takes that name, on any error it disappears.

    The folder is created.
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(prefix=temporary_prefix(path), suffix=f".tmp{path.suffix}", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def temporary_prefix(path: Path) -> str:
    """Beginning of the names of temporary files and folders for `path`; those of killed processes are removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    start = f".{path.stem[:80]}-{platform.node()[:40]}-"
    for left in path.parent.glob(f"{glob.escape(start)}*"):
        process = left.name.removeprefix(start).partition("-")[0]
        if process.isdecimal() and not psutil.pid_exists(int(process)):
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)
    return f"{start}{os.getpid()}-"


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` (UTF-8) atomically."""
    write_bytes(path, text.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON atomically."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=True) + "\n")


def check_writable(folder: Path, option: str = "--runs") -> None:
    """Create `folder` and write a byte into it, or raise `DiskError`; `option` of the command line chooses the folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as trial:
            trial.write(b"?")
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "free some space" if full else f"choose another folder with {option}"
        raise DiskError(f"{folder}: cannot be written to ({error.strerror}); {advice}") from None
