"""Writing files so that nothing half-written ever carries the final name."""

from __future__ import annotations

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


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes the final name, on any error it disappears.

    Parameters
    ----------
    path : str or Path
        Final name. Its folder is created.

    Yields
    ------
    Path
        Write here. The suffix is that of `path`, because some writers choose the format by it.
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
    """Write `data` under the final name in one step."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` (UTF-8) under the final name in one step."""
    write_bytes(path, text.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON under the final name in one step."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=True) + "\n")
