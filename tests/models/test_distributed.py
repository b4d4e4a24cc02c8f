"""Two processes train as one does: the same result up to the order of sums, and only the first one writes."""

import os
import socket
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from sarlab.errors import TrainingError
from sarlab.models.data import Batch, TrainingData
from sarlab.models.distributed import ENDED, Dismissed, Team
from sarlab.models.registry import build_model
from sarlab.models.storage import read_tensors
from sarlab.models.training import train
from sarlab.specs import ModelSpec, TrainSpec

MODEL = ModelSpec("residual", 8, 4, "klt", width=8)
SPEC = TrainSpec(steps=24, batch_size=5, patch_size=32, warmup_steps=4, validate_every=8)
WORKER = """
import sys
from pathlib import Path
import numpy as np
from sarlab.models import distributed
from sarlab.models.data import TrainingData
from sarlab.models.registry import build_model
from sarlab.models.storage import write_tensors
from sarlab.models.training import train
from sarlab.specs import ModelSpec, TrainSpec

out, checkpoint, budget = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]) or None
with np.load(sys.argv[4]) as stored:
    data = TrainingData.from_arrays([stored[f"t{i}"] for i in range(6)], [stored["v0"]])
crew = distributed.join("cpu")
model = build_model(MODEL_HERE, seed=0, training=data)
seen = []
try:
    history = train(model, data, SPEC_HERE, seed=3, checkpoint=checkpoint, time_budget=budget,
                    progress=lambda h, n: seen.append(h.steps_done))
    write_tensors(out / f"weights-{crew.rank}", model.state_dict(), {"history": history.to_dict(), "seen": seen})
finally:
    distributed.leave()
"""


def waves(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:64, :64]
    image = 0.5 + 0.3 * np.sin(rows * rng.uniform(0.4, 0.9) + columns * rng.uniform(0.4, 0.9))
    image = (image + 0.02 * rng.standard_normal(image.shape)).astype(np.float32)
    image[:10, : rng.integers(4, 40)] = np.nan
    return image


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    path = tmp_path_factory.mktemp("arrays") / "arrays.npz"
    np.savez(path, **{f"t{i}": waves(i) for i in range(6)}, v0=waves(99))
    return path


def data_of(path) -> TrainingData:
    with np.load(path, allow_pickle=False) as stored:
        return TrainingData.from_arrays([stored[f"t{i}"] for i in range(6)], [stored["v0"]])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def together(folder, arrays, *, count=2, budget=0.0, spec=SPEC):
    """Train in `count` processes; returns their (weights, values) by rank."""
    script = WORKER.replace("MODEL_HERE", repr(MODEL)).replace("SPEC_HERE", repr(spec))
    environment = {**os.environ, "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    command = [sys.executable, "-c", script, str(folder), str(folder / "checkpoint"), str(budget), str(arrays)]
    processes = [
        subprocess.Popen(command, env={**environment, "RANK": str(rank)}, stderr=subprocess.PIPE, text=True)
        for rank in range(count)
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * count, errors
    return [read_tensors(folder / f"weights-{rank}") for rank in range(count)]


def test_two_processes_train_as_one_does(arrays, tmp_path):
    data = data_of(arrays)
    model = build_model(MODEL, seed=0, training=data)
    expected = train(model, data, SPEC, seed=3)
    (ours, first), (theirs, second) = together(tmp_path, arrays)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(ours[name], tensor, atol=2e-4, rtol=2e-3)
    history = first["history"]
    np.testing.assert_allclose(history["losses"], expected.losses, rtol=1e-3)
    np.testing.assert_allclose(history["gradient_norms"], expected.gradient_norms, rtol=1e-2)
    assert [v["psnr_db"] for v in history["validations"]] == pytest.approx(
        [v.psnr_db for v in expected.validations], abs=0.01
    )
    assert history["pixels"] == expected.pixels
    assert first["seen"] == [0, 8, 16, 24]
    assert second["seen"] == [], "only the first process tells of its progress"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint", "weights-0", "weights-1"]


def test_two_processes_stop_and_go_on_together(arrays, tmp_path):
    long = replace(SPEC, steps=400)
    (_, first), (_, second) = together(tmp_path, arrays, budget=0.4, spec=long)
    assert first["history"]["stopped"] == second["history"]["stopped"] == "time budget"
    assert first["history"]["steps_done"] == second["history"]["steps_done"] < 400
    (ours, first), (theirs, _) = together(tmp_path, arrays, spec=long)
    assert first["history"]["stopped"] == "finished"
    assert first["history"]["steps_done"] == 400
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_shares_add_up_to_the_batch():
    x = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 1, 4, 4)
    mask = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(0)) > 0.3
    for masked in (None, mask):
        batch = Batch(x, masked, torch.full((5, 1, 1, 1), 30.0))
        whole = x.mean() if masked is None else x[masked].mean()
        parts = [Team(rank, 2).share(batch) for rank in range(2)]
        assert sum(len(part.x) for part, _ in parts) == 5
        means = [factor * (p.x.mean() if p.mask is None else p.x[p.mask].mean()) for p, factor in parts]
        assert sum(means) / 2 == pytest.approx(float(whole))


def test_more_processes_than_patches_are_refused(arrays, monkeypatch):
    monkeypatch.setattr("sarlab.models.training.team", lambda: Team(0, 9))
    data = data_of(arrays)
    with pytest.raises(TrainingError, match="9 processes for 5 patches"):
        train(build_model(MODEL, seed=0, training=data), data, SPEC, seed=0)


def test_a_follower_without_training_to_do_is_dismissed(monkeypatch):
    monkeypatch.setattr(Team, "say", lambda self, word: ENDED)
    with pytest.raises(Dismissed):
        Team(1, 2).begin(0)


def test_alone_nothing_is_asked():
    alone = Team()
    assert alone.leads
    assert alone.say(7) == 7
    alone.begin(3)
    value = torch.ones(())
    assert alone.mean(value) is value
