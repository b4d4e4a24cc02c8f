"""A short round of every target, every input that once failed, and the harness itself."""

import mmap
import os
import time

import harness
import pytest
import targets


def quiet(*_, **__):
    """Say nothing."""


@pytest.mark.parametrize("name", targets.TARGETS)
def test_inputs_that_once_failed(name, tmp_path):
    for number, data in enumerate(targets.kept(name)):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert not harness.examine(targets.TARGETS[name], data, folder)[1], f"input {number}"


@pytest.mark.parametrize("name", targets.TARGETS)
def test_a_short_round(name, tmp_path):
    answers = harness.fuzz([name], 10_000, tmp_path, seconds=10, say=quiet)[name]
    failures = {path.stem: path.read_text() for path in (tmp_path / "failures").glob("*/*.txt")}
    assert not failures, f"tests/fuzz/harness.py --target {name} makes these inputs again"
    assert answers["valid"]


def test_the_harness_notices_what_it_is_for(tmp_path, monkeypatch):
    """An exception, too much time, too much memory, a process that ends: each with the other limits out of reach."""

    def run(data, folder):
        if data == b"raise":
            raise KeyError("x")
        if data == b"slow":
            end = time.process_time() + 0.2
            while time.process_time() < end:
                pass
        if data == b"big":
            mmap.mmap(-1, 60_000_000).write(b"x" * 60_000_000)  # fresh pages, not some that were freed before
        if data == b"end":
            os._exit(3)
        return 0

    target = harness.Target("test", lambda: [b"end"], lambda rng, data: data, run)
    monkeypatch.setitem(targets.TARGETS, "test", target)
    answers = harness.fuzz(["test"], 2, tmp_path, say=quiet)["test"]
    assert answers == {"failed": 2}
    assert "ended with 3" in (tmp_path / "failures" / "test" / "0.txt").read_text()

    def wrong(data, cpu=1e3, memory=1e12):
        monkeypatch.setattr(harness, "CPU", cpu)
        monkeypatch.setattr(harness, "MEMORY", memory)
        return harness.examine(target, data, tmp_path)[1]

    assert wrong(b"fine") == ""
    assert "KeyError" in wrong(b"raise")
    assert " s for 4 bytes" in wrong(b"slow", cpu=0.1)
    assert wrong(b"slow") == ""
    assert " MB for 3 bytes" in wrong(b"big", memory=30e6)
    assert wrong(b"big") == ""
