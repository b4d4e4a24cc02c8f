"""Ranges of a uniform quantizer from training data: extremes, percentiles, least squared error."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sarlab.errors import QuantizerError

#: Percentiles that ``"percentile"`` takes as range.
PERCENTILES = (0.1, 99.9)
#: Values of a channel that the search for the least error looks at.
MSE_SAMPLES = 32768
#: Shares of the full range that the search tries, factors on the best of them, and rounds of regression from there.
SHRINKS = tuple(0.9**k for k in range(32))
NEARBY = (0.92, 0.95, 0.975, 1.025, 1.05, 1.08)
REFINEMENTS = 12


def ranges(values: Tensor, levels: Tensor, method: str, granularity: str) -> tuple[Tensor, Tensor]:
    """Lowest and highest level of each channel's uniform grid.

    Parameters
    ----------
    values : Tensor, shape (C, n)
    levels : Tensor of int, shape (C,)
        Levels of each channel's grid.
    method : {"minmax", "percentile", "mse"}
    granularity : {"tensor", "channel"}
        ``"tensor"`` needs the same levels in all channels.

    Returns
    -------
    low, high : Tensor, shape (C,), float32
        A channel with a single level has both at its mean.
    """
    if granularity == "tensor":
        low, high = ranges(values.reshape(1, -1), levels[:1], method, "channel")
        return low.expand(len(values)).clone(), high.expand(len(values)).clone()
    if method == "minmax":
        low, high = values.amin(dim=1), values.amax(dim=1)
    elif method == "percentile":
        low, high = torch.from_numpy(np.percentile(values.numpy(), PERCENTILES, axis=1).astype(np.float32))
    else:
        low, high = least_squares_ranges(thinned(values, MSE_SAMPLES), levels)
    single = levels < 2
    if single.any():
        mean = values.double().mean(dim=1).float()
        low, high = torch.where(single, mean, low), torch.where(single, mean, high)
    if not torch.isfinite(high - low).all():
        raise QuantizerError("the latents' range exceeds float32; the network has diverged, train it anew")
    return low, high


def least_squares_ranges(values: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
    """Range of each channel's grid with the least mean squared error, clipping included.

    Shrunken copies of the full range are tried; from the best, levels and values are fitted to each other in turn:
    given the integers, the best grid is a linear regression, as in Lloyd's method with levels that stay equidistant.

    Parameters
    ----------
    values : Tensor, shape (C, n)
    levels : Tensor of int, shape (C,)

    Returns
    -------
    low, high : Tensor, shape (C,), float32

    References
    ----------
    Max 1960 (uniform quantizers of least error); Lloyd 1982.
    """
    values = values.double()
    top = (levels.double() - 1).clamp(min=1)[:, None]
    mean, least, most = (f(values) for f in (_mean, _least, _most))
    best = torch.full_like(mean, torch.inf)
    share = torch.ones_like(mean)
    for factors in (SHRINKS, NEARBY):
        around = share
        for factor in factors:
            trial = factor * around
            error, _ = _error(values, mean - trial * (mean - least), mean + trial * (most - mean), top)
            share, best = torch.where(error < best, trial, share), torch.minimum(best, error)
    low, high = mean - share * (mean - least), mean + share * (most - mean)
    a, b = low, high
    for _ in range(REFINEMENTS):
        _, integers = _error(values, a, b, top)
        centered = integers - _mean(integers)
        spread = (centered**2).sum(dim=1, keepdim=True)
        slope = (centered * values).sum(dim=1, keepdim=True) / spread.clamp(min=1)
        moved = (spread > 0) & (slope > 0)
        a = torch.where(moved, mean - slope * _mean(integers), a)
        b = torch.where(moved, a + slope * top, b)
        error, _ = _error(values, a, b, top)
        better = error < best
        best = torch.where(better, error, best)
        low, high = torch.where(better, a, low), torch.where(better, b, high)
    return low[:, 0].float(), high[:, 0].float()


def grid_error(values: Tensor, low: Tensor, high: Tensor, levels: Tensor) -> Tensor:
    """Mean squared error of each channel on the grid of `levels` levels from `low` to `high`, shape (C,), float64."""
    top = (levels.double() - 1).clamp(min=0)[:, None]
    return _error(values.double(), low.double()[:, None], high.double()[:, None], top)[0][:, 0]


def thinned(values: Tensor, count: int) -> Tensor:
    """About `count` equidistant columns of a (C, n) tensor, or all of them where there are fewer."""
    return values[:, :: max(1, values.shape[1] // count)]


def _error(values: Tensor, low: Tensor, high: Tensor, top: Tensor) -> tuple[Tensor, Tensor]:
    step = (high - low) / top.clamp(min=1)
    integers = ((values - low) / torch.where(step > 0, step, 1.0)).round().clamp(min=0).minimum(top)
    return _mean((low + integers * step - values) ** 2), integers


def _mean(values: Tensor) -> Tensor:
    return values.mean(dim=1, keepdim=True)


def _least(values: Tensor) -> Tensor:
    return values.amin(dim=1, keepdim=True)


def _most(values: Tensor) -> Tensor:
    return values.amax(dim=1, keepdim=True)
