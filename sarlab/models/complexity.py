"""What a network costs: parameters, multiply-accumulates per pixel, and the width that makes two networks equal."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from sarlab.errors import ModelError
from sarlab.models.base import Autoencoder
from sarlab.models.registry import construct
from sarlab.specs import ModelSpec

#: Largest width that `match_width` tries.
MOST_WIDTH = 1024


def count_parameters(model: torch.nn.Module) -> int:
    """Number of trainable values."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def macs_per_pixel(model: Autoencoder | ModelSpec, *, part: str = "both") -> float:
    """Multiply-accumulate operations per pixel of the raster, counted while shapes alone pass through the network.

    Parameters
    ----------
    model : Autoencoder or ModelSpec
    part : {"analysis", "synthesis", "both"}

    Returns
    -------
    float
        Of convolutions, matrix products and attention; activations and sums are left out, as is usual.
    """
    if part not in ("analysis", "synthesis", "both"):
        raise ModelError(f"part must be 'analysis', 'synthesis' or 'both', not {part!r}")
    spec = model if isinstance(model, ModelSpec) else model.spec
    return _macs_per_pixel(spec, part)


@lru_cache(maxsize=1024)
def _macs_per_pixel(spec: ModelSpec, part: str) -> float:
    # Eight latent positions a side fill the attention's windows, as a scene does.
    side = 8 * spec.spatial_reduction
    flops = 0
    with torch.device("meta"), torch.no_grad():
        model = construct(spec, 0).eval()
        x = torch.zeros(1, 1, side, side)
        y = torch.zeros(1, spec.latent_channels, 8, 8)
        for name, call, argument in (("analysis", model.analysis, x), ("synthesis", model.synthesis, y)):
            if part in (name, "both"):
                with FlopCounterMode(display=False) as counter:
                    call(argument)
                flops += counter.get_total_flops()
    return flops / 2 / side**2


def match_width(spec: ModelSpec, macs: float) -> ModelSpec:
    """Same network with the width whose MACs per pixel come closest to `macs`.

    Parameters
    ----------
    spec : ModelSpec
        Its own width is ignored.
    macs : float
        Wanted multiply-accumulates per pixel, analysis and synthesis together.

    Returns
    -------
    ModelSpec
        The closest width.
    """
    low, high = 1, 2
    while macs_per_pixel(dataclasses.replace(spec, width=high)) < macs:
        if high >= MOST_WIDTH:
            raise ModelError(f"no width up to {MOST_WIDTH} gives '{spec.architecture}' {macs:.0f} MACs per pixel")
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        below = macs_per_pixel(dataclasses.replace(spec, width=middle)) < macs
        low, high = (middle, high) if below else (low, middle)
    ends = (dataclasses.replace(spec, width=low), dataclasses.replace(spec, width=high))
    return min(ends, key=lambda end: abs(macs_per_pixel(end) - macs))
