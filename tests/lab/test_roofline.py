"""What bounds a training step: counts in closed form, and which ceiling is the lowest."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sarlab.lab.roofline import Ceilings, Work, bound, ceilings, counted, step_work, timed
from sarlab.models.complexity import macs_per_pixel
from sarlab.models.data import TrainingData
from sarlab.specs import ModelSpec, TrainSpec


@pytest.fixture(scope="module")
def data():
    return TrainingData.from_arrays([np.random.default_rng(0).normal(0.5, 0.1, (96, 96)).astype(np.float32)])


def test_operations_bytes_and_kernels_are_those_of_a_product_and_a_sum():
    a, b = torch.ones(6, 5), torch.ones(5, 4)
    work = counted(lambda: (a @ b).reshape(-1) + 1)
    # reshape is a view; 4 bytes a value
    assert work == Work(2 * 6 * 5 * 4, 4 * (30 + 20 + 24) + 4 * (24 + 24), 2)


def test_what_is_changed_in_place_is_written_too():
    a = torch.ones(10)
    assert counted(lambda: a.add_(1.0)) == Work(0, 80, 1)
    assert counted(lambda: torch._foreach_mul_([a], 2.0)) == Work(0, 80, 1)


@pytest.mark.parametrize("architecture", ["plain", "residual", "attention"])
def test_a_step_has_three_passes_of_multiplications(data, architecture):
    model = ModelSpec(architecture, 8, 4, "scratch", width=8, depth=1)
    work = step_work(model, TrainSpec(batch_size=16, patch_size=64), data)
    forward = 2 * macs_per_pixel(model) * 16 * 64**2
    # forwards, and twice as much backwards; no gradient of the image is needed
    assert 2.8 * forward <= work.flops <= 3 * forward
    one = step_work(model, TrainSpec(batch_size=1, patch_size=64), data)
    assert one.kernels == work.kernels > 50
    assert one.bytes < work.bytes < 16 * one.bytes


def test_the_lowest_ceiling_bounds():
    limits = Ceilings("a device", flops_per_s=100.0, bytes_per_s=10.0, launch_s=1.0)
    by_memory = bound(Work(200.0, 50.0, 3.0), limits, 10.0)
    assert (by_memory.floor_s, by_memory.launches_s, by_memory.bound) == (5.0, 3.0, "memory")
    assert (by_memory.utilization, by_memory.of_roofline) == (0.2, 0.5)
    assert bound(Work(900.0, 50.0, 3.0), limits, 10.0).bound == "arithmetic"
    assert bound(Work(900.0, 50.0, 30.0), limits, 40.0).bound == "launches"


def test_ceilings_are_measured(monkeypatch):
    monkeypatch.setattr("sarlab.lab.roofline.PRODUCT_SIDE", {"cpu": 64})
    monkeypatch.setattr("sarlab.lab.roofline.COPY_BYTES", {"cpu": 1 << 16})
    monkeypatch.setattr("sarlab.lab.roofline.LAUNCHES", 20)
    found = ceilings(torch.device("cpu"), half=False)
    assert found.device
    assert min(found.flops_per_s, found.bytes_per_s, found.launch_s) > 0
    assert found.launch_s < 0.01


def test_timing_is_a_median_after_a_warm_up():
    calls = []
    assert timed(lambda: calls.append(1), torch.device("cpu"), repeats=5) < 0.01
    assert len(calls) == 7


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_the_benchmark_of_the_gpu_says_that_there_is_none():
    script = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("no GPU on this machine: nothing is measured")
