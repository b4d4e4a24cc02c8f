"""Growth of cost: seconds of coding and of a training step, over pixels, compression ratio and width, by architecture.

Each sweep changes one thing and keeps the others. Times are the least of some repetitions: disturbances only add.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pandas as pd
import torch

from sarlab.lab.experiment import seconds_of
from sarlab.lab.machine import device_name, pick_device
from sarlab.lab.studies import Context, study
from sarlab.models.autoencoders import build_model, count_parameters, macs_per_pixel
from sarlab.models.data import TrainingData
from sarlab.models.training import cpu_threads, train
from sarlab.specs import ModelSpec, TrainSpec

#: Values of the sweeps: side of the image, latent channels at 16× per axis, channels of the first layer.
SIDES, CHANNELS, WIDTHS = (128, 256, 512, 1024), (64, 32, 16, 8, 4), (8, 16, 32, 64)
ARCHITECTURES = ("plain", "residual", "attention")
#: Network and training of all other sweeps.
MODEL = ModelSpec("plain", 16, 16, "klt", width=16, depth=1)
TRAIN = TrainSpec(steps=3, batch_size=4, patch_size=128, validate_every=10**9)
#: Repetitions of a measurement; it stops after one that takes long.
REPEATS, LONG_SECONDS = 5, 1.0


@study("cost", version=1)
def cost(context: Context) -> pd.DataFrame:
    """One row per measurement: sweep, value, network, its size, and seconds of encoding, decoding and a training step."""
    device = pick_device("auto")
    data = TrainingData(TrainingData.from_split(context.split).training)
    with cpu_threads(1):
        return pd.DataFrame(list(measurements(data, device))).assign(device=device_name(device), threads=1)


def measurements(data: TrainingData, device: torch.device) -> Iterator[dict[str, Any]]:
    """Rows of all sweeps."""
    for kept in (replace(MODEL, architecture=architecture) for architecture in ARCHITECTURES):
        for side in SIDES:
            yield {"sweep": "pixels", "value": side * side, **coding(kept, side, data, device)}
        shapes = [("ratio", replace(kept, latent_channels=channels)) for channels in CHANNELS]
        for sweep, spec in shapes + [("width", replace(kept, width=width)) for width in WIDTHS]:
            value = spec.dimension_ratio if sweep == "ratio" else spec.width
            yield {"sweep": sweep, "value": value, **coding(spec, SIDES[1], data, device), **step(spec, data, device)}


@torch.no_grad()
def coding(spec: ModelSpec, side: int, data: TrainingData, device: torch.device) -> dict[str, Any]:
    """Seconds of analysis and synthesis of a `side`² image, with the size of the network."""
    model = build_model(spec, seed=0, klt=data.fit_klt).to(device).eval()
    x = torch.rand((1, 1, side, side), generator=torch.Generator().manual_seed(0)).to(device)
    y = model.analysis(x)
    return {
        "architecture": spec.architecture, "init": spec.init, "width": spec.width, "latent_channels": spec.latent_channels,
        "dimension_ratio": spec.dimension_ratio, "pixels": side * side, "parameters": count_parameters(model),
        "macs_per_pixel": macs_per_pixel(spec), "encode_s": least(lambda: model.analysis(x), device),
        "decode_s": least(lambda: model.synthesis(y, size=(side, side)), device),
    }  # fmt: skip


def step(spec: ModelSpec, data: TrainingData, device: torch.device) -> dict[str, float]:
    """Seconds of one training step of `TRAIN`."""
    model = build_model(spec, seed=0, klt=data.fit_klt)
    train(model, data, replace(TRAIN, steps=1), seed=0, device=device)
    seconds = [train(model, data, TRAIN, seed=turn, device=device).seconds / TRAIN.steps for turn in range(3)]
    return {"step_s": min(seconds), "step_pixels": TRAIN.batch_size * TRAIN.patch_size**2}


def least(call: Callable[[], Any], device: torch.device) -> float:
    """Least seconds of some calls, after one that warms up."""
    seconds = [seconds_of(call, device)]
    while len(seconds) <= REPEATS and (len(seconds) == 1 or seconds[-1] <= LONG_SECONDS):
        seconds.append(seconds_of(call, device))
    return min(seconds[1:])
