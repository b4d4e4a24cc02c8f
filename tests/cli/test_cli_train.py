"""``sarlab train``: what it refuses, what it shows, and that it stops and resumes."""

import re

import pytest

from sarlab.cli import main

PLAN = """\
name = "small-1"
kind = "factorized"
source = "bigearthnet"
width = 4
steps = 3
batch_size = 1
patch_size = 64
validate_every = 3
threads = 1
"""


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(PLAN)
    return path


def refused(capsys, *arguments):
    assert main(["train", *map(str, arguments)]) == 1
    return capsys.readouterr().err


def test_a_training_shows_its_progress(plan, tmp_path, capsys, monkeypatch):
    from sarlab.codec.train_codec import initial_tables

    monkeypatch.setattr("sarlab.codec.train_codec.fit_tables", lambda make, scenes, say: initial_tables())
    target = tmp_path / "small-1.safetensors"
    assert main(["train", str(plan), "--out", str(target)]) == 0
    shown = capsys.readouterr()
    assert shown.out.strip() == str(target)
    assert "train ben-" in shown.err
    assert re.search(r"3/3 .*loss \d", shown.err)
    assert target.exists()


def test_a_training_that_runs_out_of_time_says_so(plan, tmp_path, capsys):
    target, checkpoint = tmp_path / "small-1.safetensors", tmp_path / "state"
    arguments = ["train", str(plan), "--out", str(target), "--checkpoint", str(checkpoint), "--quiet"]
    assert main([*arguments, "--seconds", "0"]) == 3
    assert "the same command resumes" in capsys.readouterr().out
    assert checkpoint.exists()
    assert not target.exists()
