"""Locks on folders that survive a crash: the operating system frees them when their process ends, however it ends.

Where the system knows locks of open files (Linux), whoever looks at one does not touch it. Elsewhere a look takes a share
of the lock for a moment, and whoever wants all of it then asks again.
"""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sarlab.errors import SarlabError

#: How often a lock is asked for where a look takes it for a moment, too, and seconds between.
TRIES, PAUSE = 5, 0.02
#: What a system or a file system says that has no locks of open files.
_WITHOUT = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
#: The C structure ``flock``: kind, whence, start, length, process.
_RECORD = struct.Struct("@hhqqi0q")


class Busy(SarlabError):
    """Another process holds the lock."""


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file `path` (created where missing), or raise `Busy`.

    The file keeps the process id and the machine of its last holder, for messages and for interrupting it; the file
    itself is no lock. On a shared file system it holds between machines where the file system passes locks on, as NFS
    does since version 4.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not any(_taken(descriptor, attempt) for attempt in range(TRIES)):
            raise Busy(f"{path.parent} is in use by {describe(path)}")
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {platform.node()}".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _taken(descriptor: int, attempt: int) -> bool:
    try:
        if _record_lock(descriptor, "F_OFD_SETLK") is not None:
            return True
    except (BlockingIOError, PermissionError):
        return False
    if attempt:
        time.sleep(PAUSE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_held(path: Path) -> bool:
    """True while some process holds the lock."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        kind = _record_lock(descriptor, "F_OFD_GETLK")
        if kind is not None:
            return kind != fcntl.F_UNLCK
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _record_lock(descriptor: int, command: str) -> int | None:
    """Ask for the whole file as a lock of this open file; returns the kind of lock in the answer, None without such locks."""
    number = getattr(fcntl, command, None)
    if number is None:
        return None
    try:
        answer = fcntl.fcntl(descriptor, number, _RECORD.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    except OSError as error:
        if error.errno in _WITHOUT:
            return None
        raise
    return _RECORD.unpack(answer)[0]


def holder(path: Path) -> int | None:
    """Process id that the last holder wrote; None where there is none, or where it is on another machine."""
    process, machine = _written(path)
    return process if machine in ("", platform.node()) else None


def describe(path: Path) -> str:
    """The last holder in words: ``process 123``, ``process 123 on node7``."""
    process, machine = _written(path)
    where = "" if machine in ("", platform.node()) else f" on {machine}"
    return f"process {process}{where}" if process else "an unknown process"


def _written(path: Path) -> tuple[int | None, str]:
    try:
        process, _, machine = path.read_text(encoding="utf-8").partition(" ")
        return int(process) or None, machine.strip()
    except (OSError, ValueError):
        return None, ""
