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


def test_what_is_refused_before_training(plan, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sarlab.codec.train_codec.train_codec", lambda *_, **__: pytest.fail("it trains"))
    (tmp_path / "there.safetensors").write_bytes(b"x")
    assert "ends in .safetensors" in refused(capsys, plan, "--out", tmp_path / "model.bin")
    assert "--seconds needs --checkpoint" in refused(
        capsys, plan, "--out", tmp_path / "m.safetensors", "--seconds", "5"
    )
    assert "exists already" in refused(capsys, plan, "--out", tmp_path / "there.safetensors")
    assert "cannot be read" in refused(capsys, tmp_path / "none.toml")
    # A folder that is a file stands for one that cannot be written: root may write into any folder.
    for option in ("--out", "--checkpoint"):
        assert "cannot be written" in refused(capsys, plan, option, plan / "m.safetensors")


def test_missing_scenes_are_listed(plan, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SARLAB_DATA", str(tmp_path))
    plan.write_text(PLAN.replace("bigearthnet", "sentinel1-all"))
    message = refused(capsys, plan, "--out", tmp_path / "m.safetensors")
    assert "panama" in message.lower()
    assert "allow_missing" in message


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
