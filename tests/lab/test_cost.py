"""Costs before a run: counted bytes against closed forms, and peaks of real processes within 15 %."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from sarlab.lab import cost
from sarlab.models.autoencoders import construct, count_parameters
from sarlab.scenes.catalog import load_split
from sarlab.specs import ModelSpec, QuantizerSpec, RunSpec, SceneSpec, TrainSpec

CPU, SCENES = torch.device("cpu"), SceneSpec()
WIDE = ModelSpec("residual", 16, 16, "scratch", width=48, depth=1)
SMALL = ModelSpec("plain", 16, 16, "klt", width=8, depth=0)


SCRIPT = """
import json, sys, tempfile
from sarlab.lab.experiment import process_peak_mb, run
from sarlab.specs import RunSpec
run(RunSpec.from_dict(json.loads(sys.argv[1])), tempfile.mkdtemp() + "/run", device="cpu")
print(process_peak_mb())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "batch"),
    [
        (ModelSpec("klt", 16, 16, "klt"), (8, 112)),
        (ModelSpec("plain", 16, 16, "scratch", width=32, depth=0), (8, 112)),
        (ModelSpec("attention", 16, 16, "klt", width=16, depth=1), (32, 240)),
        (ModelSpec("residual", 16, 16, "scratch", width=64, depth=1), (16, 256)),
    ],
)
def test_peak_of_a_run_is_estimated_within_15_percent(model, batch):
    spec = RunSpec(
        model=model,
        train=TrainSpec(steps=2, batch_size=batch[0], patch_size=batch[1], warmup_steps=1, validate_every=2),
    )
    arguments = [sys.executable, "-c", SCRIPT, json.dumps(spec.to_dict())]
    peak = float(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.split()[-1])
    assert cost.run_mb(spec, load_split(SceneSpec()), CPU) == pytest.approx(peak, rel=0.15)


def spec(architecture="plain", steps=100, seed=0, scenes=SCENES):
    model = replace(SMALL, architecture=architecture)
    return RunSpec(scenes, model, train=TrainSpec(steps=steps, batch_size=2, patch_size=32), seed=seed)


def test_time_is_measured_by_a_run_without_training_and_steps_of_each_kind_and_networks_are_listed_once(
    tmp_path, monkeypatch
):
    path = tmp_path / "small.npy"
    np.save(path, np.random.default_rng(0).normal(-10, 3, (160, 160)).astype(np.float32))
    scenes = SceneSpec(str(path), "db")
    impossible = RunSpec(scenes, ModelSpec("residual", depth=0))
    runs = [spec("klt", scenes=scenes), spec(scenes=scenes), spec(scenes=scenes, steps=300, seed=1), impossible]
    overhead, short, long, none = cost.run_seconds(runs, "cpu")
    assert 0 < none == overhead < short
    assert long - overhead == pytest.approx(3 * (short - overhead))
    monkeypatch.setattr(cost, "CALIBRATION_SECONDS", 0)
    wide = replace(runs[1], model=replace(SMALL, init="scratch", width=32))
    first, other = cost.run_seconds([runs[1], wide], "cpu")
    assert other > first, "more multiplications, at the speed of the only kind that was timed"
    quantized = replace(runs[1], quantizer=QuantizerSpec("affine", 8))
    (found,) = cost.costs([runs[1], quantized], "cpu", budget_mb=1000, seconds=[7.0, 16.0])
    assert (found["seconds"], found["runs"]) == (23.0, 2), "one network, listed once"
    assert found["parameters"] == count_parameters(construct(SMALL, 0))
    assert found["largest_batch"] > 2
    assert found["run_mb"] > cost.process_mb() > 50
