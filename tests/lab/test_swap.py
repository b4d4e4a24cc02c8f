"""Folders rewritten as a whole: all of the new, or all of the old."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sarlab.lab.swap import rewritten


@pytest.fixture
def folder(tmp_path):
    book = tmp_path / "book"
    (book / "results").mkdir(parents=True)
    (book / "results" / "a.csv").write_text("old")
    (book / "results" / "b.csv").write_text("old")
    (book / "_toc.yml").write_text("old")
    (book / "index.md").write_text("kept")
    return book


def files(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


NAMES = ("results", "runs", "_toc.yml")


def change(copy):
    (copy / "results" / "a.csv").write_text("new")
    (copy / "results" / "b.csv").unlink()
    (copy / "runs").mkdir()
    (copy / "runs" / "c.ipynb").write_text("new")
    (copy / "_toc.yml").write_text("new")


def test_copies_take_the_place_of_the_originals(folder):
    with rewritten(folder, NAMES) as copy:
        assert not (copy / "index.md").exists()
        change(copy)
        assert files(folder / "results") == {"a.csv": "old", "b.csv": "old"}
    assert files(folder) == {"results/a.csv": "new", "runs/c.ipynb": "new", "_toc.yml": "new", "index.md": "kept"}
    assert sorted(os.listdir(folder)) == ["_toc.yml", "index.md", "results", "runs"]


def test_after_an_error_everything_is_as_it_was(folder, tmp_path):
    before = files(folder)
    with pytest.raises(ZeroDivisionError), rewritten(folder, NAMES) as copy:
        change(copy / str(1 / 0))
    with pytest.raises(FileNotFoundError), rewritten(folder, NAMES) as copy:
        change_and_fail(copy)
    assert files(folder) == before
    assert sorted(os.listdir(folder)) == ["_toc.yml", "index.md", "results"]
    with pytest.raises(ZeroDivisionError), rewritten(tmp_path / "x" / "y", NAMES) as copy:
        change(copy / str(1 / 0))
    assert not (tmp_path / "x").exists()


def change_and_fail(copy):
    change(copy)
    (copy / "nothing").unlink()


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_an_exchange_that_fails_is_undone(folder, monkeypatch, number):
    before, rename, calls = files(folder), Path.rename, []

    def fail(path, target):
        calls.append(path)
        if len(calls) == number:
            raise OSError("no")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="no"), rewritten(folder, NAMES) as copy:
        change(copy)
    assert files(folder) == before
    assert len(calls) > number or number == 1


def test_what_is_taken_out_of_the_copy_is_gone(folder):
    with rewritten(folder, ("_toc.yml",)) as copy:
        (copy / "_toc.yml").unlink()
    assert not (folder / "_toc.yml").exists()


KILLED = """
import os, sys
from pathlib import Path
from sarlab.lab.swap import rewritten
rename, left = Path.rename, [int(sys.argv[2])]
def die(path, target):
    if not left[0]:
        os.kill(os.getpid(), 9)
    left[0] -= 1
    return rename(path, target)
Path.rename = die
with rewritten(Path(sys.argv[1]), ("results", "runs", "_toc.yml")) as copy:
    (copy / "results" / "a.csv").write_text("new")
    (copy / "_toc.yml").write_text("new")
"""


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_after_a_kill_nothing_is_lost(folder, number):
    before = files(folder)
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder), str(number)])
    assert done.returncode == -9
    # neither a killed process nor one that lives is in the way
    beside = folder / f".new-{os.getpid()}-x"
    beside.mkdir()
    with rewritten(folder, NAMES) as copy:
        found = files(copy)
    kept = {name: text for name, text in before.items() if name != "index.md"}
    changed = {"results/a.csv": "new"} if number > 1 else {}
    assert found == kept | changed
    assert sorted(os.listdir(folder)) == [beside.name, "_toc.yml", "index.md", "results"]
