"""Locks: exclusive between processes, freed by the death of their holder."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from sarlab.lab import locks

HOLDER = "import sys,time,pathlib; from sarlab.lab import locks\nwith locks.hold(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"


@pytest.fixture
def other(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / ".lock")], stdout=subprocess.PIPE)
    assert process.stdout.readline().strip() == b"held"
    yield process
    process.kill()
    process.wait()


def test_second_process_is_refused_and_told_by_whom(tmp_path, other):
    with pytest.raises(locks.Busy, match=str(other.pid)), locks.hold(tmp_path / ".lock"):
        pass
    assert locks.is_held(tmp_path / ".lock")
    assert locks.holder(tmp_path / ".lock") == other.pid


LOOKER = "import sys,pathlib; from sarlab.lab import locks; print('looking', flush=True)\nwhile True: locks.is_held(pathlib.Path(sys.argv[1]))"


@pytest.mark.skipif(not hasattr(fcntl, "F_OFD_GETLK"), reason="this system has no locks of open files")
def test_a_look_at_a_lock_does_not_take_it(tmp_path, monkeypatch):
    path = tmp_path / ".lock"
    path.touch()
    monkeypatch.setattr(locks, "TRIES", 1)
    looker = subprocess.Popen([sys.executable, "-c", LOOKER, str(path)], stdout=subprocess.PIPE)
    try:
        assert looker.stdout.readline().strip() == b"looking"
        for _ in range(2000):
            with locks.hold(path):
                pass
    finally:
        looker.kill()
        looker.wait()


def test_a_look_at_a_lock_that_takes_it_for_a_moment_hinders_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "_record_lock", lambda *_: None)
    path = tmp_path / ".lock"
    path.touch()
    with path.open() as looker:
        fcntl.flock(looker, fcntl.LOCK_SH)
        threading.Timer(locks.PAUSE, fcntl.flock, (looker, fcntl.LOCK_UN)).start()
        with locks.hold(path):
            assert locks.holder(path) == os.getpid()
            assert locks.is_held(path)
        assert not locks.is_held(path)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP])
def test_file_systems_without_locks_of_open_files_have_the_others(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, "no such lock")

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    path = tmp_path / ".lock"
    with locks.hold(path):
        assert locks.is_held(path)
        with pytest.raises(locks.Busy), locks.hold(path):
            pass
    assert not locks.is_held(path)


def test_kill_frees_the_lock(tmp_path, other):
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    deadline = time.monotonic() + 5
    while locks.is_held(tmp_path / ".lock") and time.monotonic() < deadline:
        time.sleep(0.01)
    with locks.hold(tmp_path / ".lock"):
        assert locks.holder(tmp_path / ".lock") == os.getpid()


def test_missing_lock_is_free(tmp_path):
    assert not locks.is_held(tmp_path / ".lock")
    assert locks.holder(tmp_path / ".lock") is None
