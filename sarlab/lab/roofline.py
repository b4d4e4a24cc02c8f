"""What bounds a training step on the device at hand: its arithmetic, the bytes it moves, or the starting of its kernels.

::

    floor = max(operations / peak, bytes / bandwidth)      the roofline: no such step is faster
    launches = kernels × seconds to start one              what the processor takes to tell the device what to do

Operations, bytes and kernels of a step are counted on the CPU, where every device does the same; peak, bandwidth and the
time to start a kernel are measured on the device.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from sarlab.models.data import TrainingData
from sarlab.models.registry import build_model
from sarlab.models.training import train
from sarlab.specs import ModelSpec, TrainSpec

#: Side of the matrices whose product gives the peak, and bytes of the copy that gives the bandwidth, on GPUs and elsewhere.
PRODUCT_SIDE, COPY_BYTES = {"cuda": 8192, "cpu": 1024}, {"cuda": 4 << 30, "cpu": 1 << 28}
#: Kernels that are started without waiting, to see what starting one takes.
LAUNCHES = 2000


@dataclass(frozen=True)
class Work:
    """What one training step does.

    Parameters
    ----------
    flops : float
        Of convolutions, matrix products and attention, forwards and backwards; two for each multiply-accumulate.
    bytes : float
        Every operation reads its inputs and writes its outputs once, from and to the device's memory.
    kernels : float
        Operations that are no mere views.
    """

    flops: float
    bytes: float
    kernels: float


@dataclass(frozen=True)
class Ceilings:
    """What a device can do at most.

    Parameters
    ----------
    device : str
    flops_per_s : float
        Of a large product of matrices in the precision of the training.
    bytes_per_s : float
        Of a large copy, bytes read and bytes written.
    launch_s : float
        Seconds that this process takes to start a kernel.
    """

    device: str
    flops_per_s: float
    bytes_per_s: float
    launch_s: float


@dataclass(frozen=True)
class Bound:
    """A measured step beside what bounds it.

    Parameters
    ----------
    seconds : float
        Measured.
    floor_s, launches_s : float
        See the head of this module.
    utilization : float
        Share of the peak that the step's operations used: model FLOPs utilization.
    of_roofline : float
        Floor over measured seconds.
    bound : {"arithmetic", "memory", "launches"}
        The largest of the three.
    """

    seconds: float
    floor_s: float
    launches_s: float
    utilization: float
    of_roofline: float
    bound: str


class _Counter(TorchDispatchMode):
    """Count the operations that touch memory, and the bytes of their tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.kernels = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        read = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
        written = [one for one in tree_leaves(out) if isinstance(one, torch.Tensor)]
        known = {one.untyped_storage().data_ptr() for one in read}
        changes = func._schema.is_mutable
        if not changes and all(one.untyped_storage().data_ptr() in known for one in written):
            return out  # a view, or a question
        if changes and not written:
            written = [one for one in read if one.is_floating_point()]
        self.kernels += 1
        self.bytes += sum(one.numel() * one.element_size() for one in (*read, *written))
        return out


def counted(call: Callable[[], Any]) -> Work:
    """What `call` does on the CPU."""
    with _Counter() as counter, FlopCounterMode(display=False) as flops:
        call()
    return Work(flops.get_total_flops(), counter.bytes, counter.kernels)


def step_work(model: ModelSpec, settings: TrainSpec, data: TrainingData) -> Work:
    """Work of one step of a training: what three steps do beyond two, for one and for two patches and on from there."""
    data = TrainingData(data.training)
    one, two = (_step_work(model, replace(settings, batch_size=size), data) for size in (1, 2))
    more = settings.batch_size - 1
    parts = {name: value + more * (asdict(two)[name] - value) for name, value in asdict(one).items()}
    return Work(**{**parts, "kernels": one.kernels})


def _step_work(model: ModelSpec, settings: TrainSpec, data: TrainingData) -> Work:
    def of(steps: int) -> Work:
        network = build_model(model, seed=0, training=data)
        few = replace(settings, steps=steps, validate_every=10**9)
        return counted(lambda: train(network, data, few, seed=0))

    two, three = of(2), of(3)
    return Work(three.flops - two.flops, three.bytes - two.bytes, three.kernels - two.kernels)


def ceilings(device: torch.device, *, half: bool) -> Ceilings:
    """Measure what the device can do, with random data.

    Parameters
    ----------
    device : torch.device
    half : bool
        Multiply in bfloat16, or in float32.
    """
    from sarlab.lab.machine import device_name

    side, size = PRODUCT_SIDE[device.type], COPY_BYTES[device.type]
    generator = torch.Generator(device).manual_seed(0)
    dtype = torch.bfloat16 if half else torch.float32
    a, b = (torch.randn((side, side), generator=generator, device=device).to(dtype) for _ in range(2))
    product = timed(lambda: a @ b, device)
    source = torch.randint(0, 255, (size,), dtype=torch.uint8, generator=generator, device=device)
    target = torch.empty_like(source)
    copy = timed(lambda: target.copy_(source), device)
    small = torch.zeros(8, device=device)

    def start_many() -> None:
        for _ in range(LAUNCHES):
            small.add_(1.0)

    return Ceilings(
        device_name(device), 2 * side**3 / product, 2 * size / copy, timed(start_many, device, 3) / LAUNCHES
    )


def timed(call: Callable[[], Any], device: torch.device, repeats: int = 10) -> float:
    """Median seconds of `call`, the device's work included, after two calls that warm up."""
    seconds = []
    for turn in range(repeats + 2):
        _wait(device)
        start = time.perf_counter()
        call()
        _wait(device)
        if turn > 1:
            seconds.append(time.perf_counter() - start)
    return float(torch.tensor(seconds).median())


def bound(work: Work, limits: Ceilings, seconds: float) -> Bound:
    """A measured step of `work` on the roofline of a device."""
    arithmetic, memory = work.flops / limits.flops_per_s, work.bytes / limits.bytes_per_s
    launches = work.kernels * limits.launch_s
    times = {"arithmetic": arithmetic, "memory": memory, "launches": launches}
    floor = max(arithmetic, memory)
    return Bound(seconds, floor, launches, arithmetic / seconds, floor / seconds, max(times, key=times.__getitem__))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
