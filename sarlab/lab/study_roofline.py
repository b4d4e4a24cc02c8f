"""What bounds a training step on this machine: one row for each network, precision and way of starting its kernels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import pandas as pd
import torch

from sarlab.lab.machine import pick_device
from sarlab.lab.roofline import bound, ceilings, step_work
from sarlab.lab.studies import Context, study
from sarlab.lab.variables import inherited
from sarlab.models.data import TrainingData
from sarlab.models.graphs import SWITCH
from sarlab.models.registry import build_model
from sarlab.models.threads import cpu_threads
from sarlab.models.training import half_precision, train
from sarlab.specs import ModelSpec, TrainSpec

#: Networks of the plans: architecture, start, width, depth.
CASES = (
    ("plain", "klt", 32, 1),
    ("residual", "klt", 32, 1),
    ("attention", "klt", 32, 1),
    ("residual", "scratch", 32, 1),
    ("residual", "scratch", 96, 1),
)
PRECISIONS = ("float32", "bfloat16")
#: A step of the plan `full`, and what a CPU can do of it in seconds; steps before those that are timed.
SETTINGS = {
    "cuda": TrainSpec(steps=200, batch_size=64, patch_size=96, validate_every=10**9, threads=2),
    "cpu": TrainSpec(steps=3, batch_size=4, patch_size=96, validate_every=10**9, threads=1),
}
WARM_UP = 5


@study("roofline", version=1)
def roofline(context: Context) -> pd.DataFrame:
    """Measured steps on the roofline of this machine's device."""
    device = pick_device("auto")
    data = TrainingData(TrainingData.from_split(context.split).training)
    return pd.DataFrame(list(measurements(data, device)))


def measurements(
    data: TrainingData, device: torch.device, settings: TrainSpec | None = None
) -> Iterator[dict[str, Any]]:
    """Rows of all networks; on a GPU each also with its passes as CUDA graphs."""
    settings = settings or SETTINGS[device.type]
    with cpu_threads(settings.threads):
        for precision in PRECISIONS:
            mode = replace(settings, precision=precision)
            limits = ceilings(device, half=half_precision(mode, device))
            for architecture, init, width, depth in CASES:
                model = ModelSpec(architecture, 16, 16, init, width, depth)
                work = step_work(model, mode, data)
                for graphs in (False, True) if device.type == "cuda" else (False,):
                    seconds = step_seconds(model, mode, data, device, graphs=graphs)
                    yield {
                        "architecture": architecture, "init": init, "width": width, "depth": depth,
                        "precision": precision, "graphs": graphs, "batch_size": mode.batch_size,
                        "patch_size": mode.patch_size, **asdict(work), **asdict(limits),
                        **asdict(bound(work, limits, seconds)), "threads": mode.threads,
                    }  # fmt: skip


def step_seconds(
    model: ModelSpec, settings: TrainSpec, data: TrainingData, device: torch.device, *, graphs: bool
) -> float:
    """Seconds of one step of a training that is warm."""
    network = build_model(model, seed=0, training=data)
    train(network, data, replace(settings, steps=WARM_UP), seed=0, device=device)
    with inherited({SWITCH: "1" if graphs else "0"}):
        history = train(network, data, settings, seed=0, device=device)
    return history.seconds / settings.steps
