"""CUDA graphs: used only after they agreed with the plain pass, and given up for whatever goes wrong."""

import contextlib

import numpy as np
import pytest
import torch
from torch import nn

from sarlab.models import graphs, training
from sarlab.models.data import TrainingData
from sarlab.models.distributed import Pass
from sarlab.models.registry import build_model
from sarlab.specs import ModelSpec, TrainSpec

MODEL = ModelSpec("plain", 8, 4, "klt", 4, 1)


@pytest.fixture(scope="module")
def data():
    return TrainingData.from_arrays([np.random.default_rng(0).normal(0.5, 0.1, (48, 48)).astype(np.float32)])


@pytest.fixture
def recorded(monkeypatch):
    """Stand in for the recording of a graph, which needs a GPU; `change` is what becomes of the recorded module."""

    def install(change):
        calls = []

        def record(module, example):
            calls.append((module, example))
            return change(module)

        monkeypatch.setattr(torch.cuda, "make_graphed_callables", record)
        monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
        return calls

    return install


def test_what_agrees_is_used(data, recorded):
    calls = recorded(lambda module: module)
    step = Pass(build_model(MODEL, seed=0, training=data), None)
    x = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    fast = graphs.graphed(step, x, half=False)
    assert fast is not step
    assert fast.model is step.model
    module, (example,) = calls[0]
    assert module.training
    assert torch.equal(example, x)
    assert example.data_ptr() != x.data_ptr(), "the recorded input is written anew at each step"
    assert all(parameter.grad is None for parameter in step.parameters())


def test_other_results_and_errors_leave_the_plain_pass(data, recorded):
    class Other(nn.Module):
        def __init__(self, step):
            super().__init__()
            self.step = step

        def forward(self, x):
            return 1.5 * self.step(x)

    def fail(module):
        raise RuntimeError("operation not permitted when stream is capturing")

    step = Pass(build_model(MODEL, seed=0, training=data), None)
    x = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    recorded(Other)
    with pytest.warns(RuntimeWarning, match="gave other results"):
        assert graphs.graphed(step, x, half=False) is step
    recorded(fail)
    with pytest.warns(RuntimeWarning, match="not permitted when stream is capturing"):
        assert graphs.graphed(step, x, half=False) is step
    assert all(parameter.grad is None for parameter in step.parameters())


def test_gradients_count_too():
    ours = [torch.tensor(1.0), torch.tensor(2.0)]
    assert graphs.agree(ours, [torch.tensor(1.0), torch.tensor(2.01)])
    assert not graphs.agree(ours, [torch.tensor(1.0), torch.tensor(2.1)])
    assert not graphs.agree(ours, ours[:1])
    assert not graphs.agree(ours, [torch.tensor(1.0), torch.tensor(float("nan"))])


def test_a_training_through_a_recorded_pass_is_the_same(data, monkeypatch):
    settings = TrainSpec(steps=12, batch_size=2, patch_size=32, validate_every=4, warmup_steps=2)
    plain, fast = (build_model(MODEL, seed=0, training=data) for _ in range(2))
    ours = training.train(plain, data, settings, seed=0)
    asked = []

    def graphed(step, x, *, half):
        asked.append((tuple(x.shape), half))
        return Pass(step.model, None)

    monkeypatch.setattr(training, "wanted", lambda device, steps: True)
    monkeypatch.setattr(training, "graphed", graphed)
    theirs = training.train(fast, data, settings, seed=0)
    assert asked == [((2, 1, 32, 32), False)]
    assert ours.losses == theirs.losses
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), fast.parameters(), strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("architecture", ["plain", "residual", "attention"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_gpu_learns_the_same_with_graphs(data, architecture, precision, monkeypatch, recwarn):
    settings = TrainSpec(
        steps=graphs.LEAST_STEPS, batch_size=2, patch_size=32, validate_every=50, warmup_steps=2, precision=precision
    )
    held = TrainingData(data.training, data.training)
    found = []
    for switch in ("0", "1"):
        monkeypatch.setenv(graphs.SWITCH, switch)
        model = build_model(ModelSpec(architecture, 8, 4, "klt", 4, 1), seed=0, training=held)
        found.append(training.train(model, held, settings, seed=0, device="cuda").validations[-1].psnr_db)
    assert found[0] == pytest.approx(found[1], abs=0.05)
    assert not [str(one.message) for one in recwarn if "CUDA graph" in str(one.message)]
