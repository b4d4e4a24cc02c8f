"""``sarlab train``: what it refuses, and that it stops and goes on."""

import pytest

from sarlab.cli import main

PLAN = """\
name = "small-1"
width = 4
[hyper]
groups = [[4, 2, 3], [60, 1, 3]]
features = 6
hidden = 6
channels = 2
[training]
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


def test_what_is_refused(plan, tmp_path, capsys):
    (tmp_path / "there.safetensors").write_bytes(b"x")
    for arguments, message in (
        (["--out", str(tmp_path / "model.bin")], "ends in .safetensors"),
        (["--out", str(tmp_path / "m.safetensors"), "--seconds", "5"], "--seconds needs --checkpoint"),
        (["--out", str(tmp_path / "there.safetensors")], "exists already"),
    ):
        assert main(["train", str(plan), *arguments]) == 1
        assert message in capsys.readouterr().err
    assert main(["train", str(tmp_path / "none.toml")]) == 1
    assert "cannot be read" in capsys.readouterr().err


def test_a_training_that_runs_out_of_time_says_so(plan, tmp_path, capsys):
    target, checkpoint = tmp_path / "small-1.safetensors", tmp_path / "state"
    arguments = ["train", str(plan), "--out", str(target), "--checkpoint", str(checkpoint), "--quiet"]
    assert main([*arguments, "--seconds", "0"]) == 3
    assert "call again" in capsys.readouterr().out
    assert checkpoint.exists()
    assert not target.exists()
