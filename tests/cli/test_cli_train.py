"""``sarlab train``: what it shows, that it stops and resumes, and that the outcome is a codec."""

import numpy as np

from sarlab.cli import main
from sarlab.codec.api import compress, decompress, describe
from sarlab.codec.block_model import initial_tables
from sarlab.scenes.scene import Scene

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


def test_a_training_stops_in_time_and_resumes_with_its_progress(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sarlab.codec.train_codec.fit_tables", lambda make, scenes, say: initial_tables())
    target, checkpoint = tmp_path / "small-1.safetensors", tmp_path / "state"
    (tmp_path / "small.toml").write_text(PLAN)
    assert main(["train", "small.toml", "--checkpoint", "state", "--quiet", "--seconds", "0"]) == 3
    assert "the same command resumes" in capsys.readouterr().out
    assert checkpoint.exists()
    assert not target.exists()
    assert main(["train", "small.toml", "--checkpoint", "state"]) == 0
    shown = capsys.readouterr()
    assert shown.out.strip() == target.name
    assert "train ben-" in shown.err
    assert "step 3: validation cost " in shown.err
    data = compress(Scene(np.eye(99)[None], "db", ("VV",)), codec=str(target), quality=25)
    assert describe(data)["model"] == "small-1"
    assert decompress(data, model=target).shape == (1, 99, 99)
