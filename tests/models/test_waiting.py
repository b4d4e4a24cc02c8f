"""No step of a training waits for the device: what is read from it is read once in a while, together."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sarlab.models.data import TrainingData
from sarlab.models.registry import build_model
from sarlab.models.training import train
from sarlab.models.transfer import sent
from sarlab.specs import ModelSpec, TrainSpec

#: Operations whose result the processor must know before it can go on: values, and shapes that follow from values.
WAITING = {
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "is_nonzero",
    "equal",
    "unique_dim",
    "_unique2",
    "bincount",
}


class Waits(TorchDispatchMode):
    """Count operations that would wait for a GPU, by name."""

    def __init__(self):
        super().__init__()
        self.found = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.removeprefix("aten::")
        by_mask = name in ("index", "index_put_", "index_put") and any(
            one is not None and one.dtype == torch.bool for one in args[1]
        )
        if name in WAITING or by_mask:
            self.found[name] += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def data():
    image = np.random.default_rng(0).normal(0.5, 0.1, (64, 64)).astype(np.float32)
    holes = image.copy()
    holes[:20, :9] = np.nan
    return TrainingData.from_arrays([image, holes], [holes])


def settings(steps, **others):
    return TrainSpec(steps=steps, batch_size=2, patch_size=32, validate_every=10**6, warmup_steps=2, **others)


def waits(data, steps, architecture="plain", **others):
    model = build_model(ModelSpec(architecture, 8, 4, "klt", 4, 1), seed=0, training=data)
    with Waits() as mode:
        train(model, data, settings(steps, **others), seed=0)
    return mode.found


@pytest.mark.parametrize("architecture", ["plain", "residual", "attention"])
@pytest.mark.parametrize("loss", ["mse", "mse+bias", "mse+spectrum", "gamma"])
def test_no_step_waits(data, architecture, loss):
    assert waits(data, 4, architecture, loss=loss) == waits(data, 2, architecture, loss=loss)


def test_waiting_would_be_seen(data, monkeypatch):
    from sarlab.models import losses

    def wait(x_hat, batch):
        return (x_hat - batch.x).square().mean() * (1.0 if x_hat.sum().item() else 2.0)

    monkeypatch.setitem(losses.losses._items, "mse", wait)
    found = waits(data, 4) - waits(data, 2)
    assert found == {"_local_scalar_dense": 2}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("architecture", ["plain", "residual", "attention"])
def test_no_step_waits_for_a_gpu(data, architecture, recwarn):
    def warned(steps):
        recwarn.clear()
        model = build_model(ModelSpec(architecture, 8, 4, "klt", 4, 1), seed=0, training=data)
        torch.cuda.set_sync_debug_mode("warn")
        try:
            train(model, data, settings(steps), seed=0, device="cuda")
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return len(recwarn)

    warned(2)
    assert warned(8) == warned(4)


def test_what_is_sent_arrives():
    tensor = torch.arange(5)
    assert sent(tensor, torch.device("cpu")) is tensor
    if torch.cuda.is_available():
        assert sent(tensor, torch.device("cuda")).tolist() == tensor.tolist()


def test_memory_that_a_gpu_can_fetch_is_used(monkeypatch):
    calls = []

    class Stub:
        is_cuda = False

        def pin_memory(self):
            calls.append("pinned")
            return self

        def to(self, device, non_blocking=False):
            calls.append((device.type, non_blocking))
            return self

    sent(Stub(), torch.device("cuda"))
    assert calls == ["pinned", ("cuda", True)]
