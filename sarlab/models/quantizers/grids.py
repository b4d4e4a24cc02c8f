"""Grids: uniform, uniform with bits allocated over the channels, companded, and that of the guide."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from sarlab.errors import BitstreamError, QuantizerError
from sarlab.models.quantizers.quantizer import (
    CalibratedQuantizer,
    Latents,
    Quantized,
    Quantizer,
    Synthesis,
    centered_uniform,
    nonzero,
    quantizers,
)
from sarlab.specs import QuantizerSpec

#: Percentiles that ``"percentile"`` takes as range.
PERCENTILES = (0.1, 99.9)
#: Values per channel for the search for the least error, and for the distortions that bits are allocated by.
MSE_SAMPLES, ALLOCATION_SAMPLES = 32768, 2048
#: Shares of the full range that the search tries, factors on the best of them, and rounds of regression from there.
SHRINKS = tuple(0.9**k for k in range(32))
NEARBY = (0.92, 0.95, 0.975, 1.025, 1.05, 1.08)
REFINEMENTS = 12
#: Most bits of a channel, in all and above the average.
MOST_BITS, MOST_ABOVE_AVERAGE = 16, 8
#: Perturbation that measures a channel's effect on the image, in standard deviations of the channel.
PERTURBATION = 0.1
#: Batches between two allocations of bits while ranges follow a training.
REALLOCATE_EVERY = 25
#: Knees of the compander that are tried, in standard deviations of the channel, and shares of the range.
KNEES = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0, 16.0)
SHARES = tuple(1 - 0.04 * k for k in range(21))


@quantizers.register("affine")
class UniformQuantizer(CalibratedQuantizer):
    """2^b equidistant levels, b from 2 to 16, from `low` to `high` of the whole latent or of each channel.

    Values up to half a step beyond the outer levels are represented as well as any other; those farther out are set to
    the outer level and counted as saturated.
    """

    low: Tensor
    high: Tensor

    def __init__(self, spec: QuantizerSpec, channels: int):
        super().__init__(spec, channels)
        self.register_buffer("low", torch.zeros(channels))
        self.register_buffer("high", torch.zeros(channels))

    @property
    def levels(self) -> Tensor:
        """Levels per channel, shape (C,), int64."""
        return torch.tensor([2**width for width in self.widths], device=self.low.device)

    def grid(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return lowest level, step (0 if the range is a point) and highest integer per channel, shape (1, C, 1, 1)."""
        self.require_ready()
        top = (self.levels - 1).to(self.low.dtype)
        # In double precision, so that every device gives the same step.
        step = ((self.high.double() - self.low.double()) / top.double().clamp(min=1)).float()
        return self.low.view(1, -1, 1, 1), step.view(1, -1, 1, 1), top.view(1, -1, 1, 1)

    def follow(self, values: Tensor, share: float) -> None:
        low, high = ranges(values, self.levels.cpu(), self.spec.calibration, self.spec.granularity)
        self.move(share, low=low, high=high)

    def compress(self, y: Tensor) -> Tensor:
        """Map to the coordinate in which the levels are equidistant."""
        return y

    def expand(self, position: Tensor) -> Tensor:
        """Invert `compress`."""
        return position

    def _quantize(self, y: Tensor) -> Quantized:
        low, step, top = self.grid()
        position = self.compress(y)
        integers = torch.minimum(((position - low) / nonzero(step)).round().clamp(min=0), top)
        outside = (position < low - step / 2) | (position > low + (top + 0.5) * step)
        return Quantized(integers.long(), saturated=int((outside & (top > 0)).sum()))

    def dequantize(self, quantized: Quantized) -> Tensor:
        with torch.no_grad():
            low, step, _ = self.grid()
            return self.expand(low + quantized.integers * step)

    def step_of(self, y: Tensor) -> Tensor:
        return self.grid()[1]

    def noisy(self, y: Tensor, generator: torch.Generator) -> Tensor:
        low, step, top = self.grid()
        position = torch.clamp(self.compress(y), low - step / 2, low + (top + 0.5) * step)
        return self.expand(position + centered_uniform(y, generator) * step)

    def straight_through(self, y: Tensor) -> Tensor:
        low, step, top = self.grid()
        position = torch.minimum(((self.compress(y) - low) / nonzero(step)).clamp(min=0), top)
        return self.expand(low + (position + (position.round() - position).detach()) * step)


@quantizers.register("allocated")
class AllocatedQuantizer(UniformQuantizer):
    """Uniform grids with bits allocated over the channels; `spec.bits` is their average.

    Bits go to the channels where they reduce distortion most, measured on the calibration latents; a channel without
    bits becomes its mean. The allocation is part of the calibrated quantizer, not of the files.
    """

    scheme_bits = (1, 16)
    allocation: Tensor
    gains: Tensor

    def __init__(self, spec: QuantizerSpec, channels: int):
        super().__init__(spec, channels)
        if spec.granularity != "channel":
            raise QuantizerError(f"'{spec.scheme}' allocates bits to channels; use granularity 'channel'")
        self.register_buffer("allocation", torch.full((channels,), spec.bits, dtype=torch.int64))
        self.register_buffer("gains", torch.ones(channels, dtype=torch.float64))

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(self.allocation.tolist())

    def calibrate(self, latents: Latents, *, synthesis: Synthesis | None = None) -> None:
        batches = [latents] if isinstance(latents, Tensor) else list(latents)
        if synthesis is not None and batches:
            self.gains.copy_(synthesis_gains(synthesis, batches[0]))
        super().calibrate(batches)

    def follow(self, values: Tensor, share: float) -> None:
        if (share == 1.0 or int(self.observed) % REALLOCATE_EVERY == 0) and self.reallocate(values):
            share = 1.0
        super().follow(values, share)

    def distortions(self, values: Tensor) -> Tensor:
        """Return the mean squared error of each channel at 0, 1, 2 … bits, shape (C, bits + 1), falling along rows."""
        values = thinned(values, ALLOCATION_SAMPLES)
        widths = range(min(MOST_BITS, self.spec.bits + MOST_ABOVE_AVERAGE) + 1)
        columns = [self.fitted_error(values, torch.full((len(values),), 2**bits)) for bits in widths]
        return torch.stack(columns, dim=1).cummin(dim=1).values

    def reallocate(self, values: Tensor) -> bool:
        """Allocate the bits by values per channel, shape (C, n); return whether that changed anything."""
        before = self.allocation.clone()
        table = self.distortions(values) * self.gains.cpu()[:, None]
        self.allocation.copy_(allocate(table, self.spec.bits * self.channels))
        return not torch.equal(before, self.allocation)

    def fitted_error(self, values: Tensor, levels: Tensor) -> Tensor:
        """Return the mean squared error per channel of values (C, n) on grids of `levels` levels fitted to them."""
        low, high = ranges(values, levels, self.spec.calibration, "channel")
        return grid_error(values, low, high, levels)


@quantizers.register("companded")
class CompandedQuantizer(AllocatedQuantizer):
    """Levels that are equidistant in asinh((y − mean) / knee), with bits allocated as by ``"allocated"``.

    Latents have heavier tails than a Gaussian, above all across scenes of different brightness. A grid that grows
    coarser outwards spends fewer levels on them: the asinh changes from linear to logarithmic at the knee, which
    calibration finds per channel. For light tails the knee moves outwards and the grid becomes uniform.

    References: Bennett 1948; Panter & Dite 1951 (companding and non-uniform levels).
    """

    mean: Tensor
    knee: Tensor

    def __init__(self, spec: QuantizerSpec, channels: int):
        super().__init__(spec, channels)
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("knee", torch.ones(channels))

    def compress(self, y: Tensor) -> Tensor:
        return torch.asinh((y - self.mean.view(1, -1, 1, 1)) / self.knee.view(1, -1, 1, 1))

    def expand(self, position: Tensor) -> Tensor:
        return self.mean.view(1, -1, 1, 1) + self.knee.view(1, -1, 1, 1) * torch.sinh(position)

    def dequantize(self, quantized: Quantized) -> Tensor:
        # By table: the last bit of a sinh may differ between devices, and between places in a tensor.
        with torch.no_grad():
            low, step, _ = (t.flatten().double().cpu().numpy() for t in self.grid())
            mean, knee = (t.double().cpu().numpy() for t in (self.mean, self.knee))
            restored = torch.empty(quantized.integers.shape, device=quantized.integers.device)
            for c, width in enumerate(self.widths):
                table = mean[c] + knee[c] * np.sinh(low[c] + step[c] * np.arange(2**width))
                levels = torch.from_numpy(table.astype(np.float32)).to(restored.device)
                restored[:, c] = levels[quantized.integers[:, c]]
            return restored

    def step_of(self, y: Tensor) -> Tensor:
        return self.grid()[1] * self.knee.view(1, -1, 1, 1) * torch.cosh(self.compress(y.detach()))

    def follow(self, values: Tensor, share: float) -> None:
        if share == 1.0 or int(self.observed) % REALLOCATE_EVERY == 0:
            self.reallocate(values)
            share = 1.0
        mean, knee, low, high, _ = fit_companded(thinned(values, MSE_SAMPLES), self.levels.cpu(), self.spec.calibration)
        self.move(share, mean=mean, knee=knee, low=low, high=high)

    def fitted_error(self, values: Tensor, levels: Tensor) -> Tensor:
        # Allocation compares errors that differ by factors, for which a coarse search is enough.
        return fit_companded(values, levels, self.spec.calibration, coarse=True)[-1]


@quantizers.register("guide")
class GuideQuantizer(Quantizer):
    """The guide's `quantize_latent` and `dequantize_latent`, faults included, so that they can be measured.

    The range is that of the given latent over all channels, so one outlier coarsens everything. The integers are cast
    to 8 bits whatever `spec.bits` is: above 8 they wrap around, below 8 they still take 8. `bits` and `pack` count the
    true size: 8 bits per value, and the range, which decoding requires.
    """

    side_bytes = 8

    @property
    def widths(self) -> tuple[int, ...]:
        return (8,) * self.channels

    def _quantize(self, y: Tensor) -> Quantized:
        low, high = float(y.min()), float(y.max())
        integers = ((y - low) * self._scale(low, high)).round()
        # The guide casts floats beyond 255 to uint8, which keeps the low 8 bits on its machines; explicit here.
        return Quantized(integers.long() & 255, side=struct.pack(">ff", low, high))

    def dequantize(self, quantized: Quantized) -> Tensor:
        low, high = struct.unpack(">ff", quantized.side)
        integers = quantized.integers.float()
        # Expanded, because division by a scalar may be computed as multiplication by its rounded reciprocal.
        return integers / torch.tensor(self._scale(low, high)).to(integers).expand(integers.shape) + low

    def accepted(self, quantized: Quantized) -> Quantized:
        low, high = struct.unpack(">ff", quantized.side)
        if not (abs(low) < float("inf") and low <= high < float("inf")):
            raise BitstreamError(f"packed latent: its range {low} to {high} is impossible; the data is damaged")
        return quantized

    def step_of(self, y: Tensor) -> Tensor:
        y = y.detach()
        return torch.full((1, 1, 1, 1), 1 / self._scale(float(y.min()), float(y.max())), device=y.device)

    def _scale(self, low: float, high: float) -> float:
        """Levels per unit, in NumPy's float32 arithmetic like the guide."""
        with np.errstate(over="ignore"):
            span = np.float32(high) - np.float32(low) + np.float32(1e-10)
        if not np.isfinite(span):
            raise QuantizerError(f"the latent's range {low} to {high} exceeds float32: the network has diverged")
        return float(np.float32(2**self.spec.bits - 1) / span)


def ranges(values: Tensor, levels: Tensor, method: str, granularity: str) -> tuple[Tensor, Tensor]:
    """Fit the lowest and highest level of each channel's uniform grid to values (C, n).

    A channel with a single level gets its mean as both; for granularity ``"tensor"``, all have as many levels.
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
        raise QuantizerError("the latents' range exceeds float32: the network has diverged; train it again")
    return low, high


def least_squares_ranges(values: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
    """Fit the range of each channel's grid (C,) for the least mean squared error of values (C, n), clipping included.

    Shrunken copies of the full range are tried; from the best, levels and values are fitted to each other in turn:
    given the integers, the best grid is a linear regression, as in Lloyd's method with equidistant levels.

    References: Max 1960 (uniform quantizers of least error); Lloyd 1982.
    """
    values = values.double()
    top = (levels.double() - 1).clamp(min=1)[:, None]
    mean, least, most = _mean(values), values.amin(dim=1, keepdim=True), values.amax(dim=1, keepdim=True)
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
    """Return the mean squared error per channel on grids of `levels` levels from `low` to `high`, shape (C,)."""
    top = (levels.double() - 1).clamp(min=0)[:, None]
    return _error(values.double(), low.double()[:, None], high.double()[:, None], top)[0][:, 0]


def fit_companded(
    values: Tensor, levels: Tensor, calibration: str, *, coarse: bool = False
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Fit companded grids of `levels` (C,) levels to values (C, n); return mean, knee, low, high and squared error."""
    knees, shares = (KNEES[1::2], SHARES[::3]) if coarse else (KNEES, SHARES)
    values = values.double()
    mean, spread = _mean(values), nonzero(values.std(dim=1, correction=0, keepdim=True))
    top = (levels.double() - 1).clamp(min=0)[:, None]
    best = [spread, *[torch.zeros_like(mean)] * 2, torch.full_like(mean, torch.inf)]
    for factor in knees:
        knee = spread * factor
        position = torch.asinh((values - mean) / knee)
        method = "minmax" if calibration == "mse" else calibration
        ends = (t.double()[:, None] for t in ranges(position.float(), levels.clamp(min=2), method, "channel"))
        least, most = (torch.where(top > 0, end, 0.0) for end in ends)
        for share in shares if calibration == "mse" else (1.0,):
            low, high = share * least, share * most
            step = (high - low) / top.clamp(min=1)
            integers = ((position - low) / nonzero(step)).round().clamp(min=0).minimum(top)
            restored = mean + knee * torch.sinh(low + integers * step)
            error = _mean((restored - values).square())
            better = error < best[3]
            best = [torch.where(better, new, old) for new, old in zip((knee, low, high, error), best, strict=True)]
    knee, low, high = (t[:, 0].float() for t in best[:3])
    return mean[:, 0].float(), knee, low, high, best[3][:, 0]


def thinned(values: Tensor, count: int) -> Tensor:
    """Return about `count` equidistant columns of a (C, n) tensor, or all of them if there are fewer."""
    return values[:, :: max(1, values.shape[1] // count)]


def _error(values: Tensor, low: Tensor, high: Tensor, top: Tensor) -> tuple[Tensor, Tensor]:
    step = (high - low) / top.clamp(min=1)
    integers = ((values - low) / nonzero(step)).round().clamp(min=0).minimum(top)
    return _mean((low + integers * step - values) ** 2), integers


def _mean(values: Tensor) -> Tensor:
    return values.mean(dim=1, keepdim=True)


def allocate(table: Tensor, budget: int) -> Tensor:
    """Allocate `budget` bits to channels for the least sum of distortions (C, bits + 1), by steepest descent.

    The next bits go to the channel that loses most distortion per bit. If one bit gains less than two gain each, both
    are given at once, so that the descent follows the lower convex hull of each channel.

    References: Shoham & Gersho 1988; for Gaussian channels at high rate this is reverse water-filling.
    """
    rows = table.tolist()
    bits = [0] * len(rows)

    def best_move(channel: int, limit: int) -> tuple[float, int]:
        row, start = rows[channel], bits[channel]
        ends = range(start + 1, min(len(row) - 1, start + limit) + 1)
        return max((((row[start] - row[end]) / (end - start), end - start) for end in ends), default=(-1.0, 0))

    left = budget
    moves = [best_move(c, left) for c in range(len(rows))]
    while left > 0:
        channel = max(range(len(rows)), key=lambda c: moves[c][0])
        gain, size = moves[channel]
        if gain < 0:
            break
        if size <= left:
            bits[channel] += size
            left -= size
        moves[channel] = best_move(channel, left)
    return torch.tensor(bits)


def synthesis_gains(synthesis: Callable[[Tensor], Tensor], latent: Tensor) -> Tensor:
    """Return the squared error in the image per unit of squared error in each channel, shape (C,), float64.

    Each channel of a corner of `latent` (N, C, h, w) in turn gets small noise of random sign; for an orthonormal
    synthesis all gains are equal.
    """
    latent = latent[:4, :, :32, :32]
    with torch.no_grad():
        image = synthesis(latent)
        signs = torch.randint(0, 2, latent[:, 0].shape, generator=torch.Generator().manual_seed(0)).to(latent) * 2 - 1
        gains = torch.zeros(latent.shape[1], dtype=torch.float64)
        for channel in range(latent.shape[1]):
            size = float(latent[:, channel].std()) * PERTURBATION or PERTURBATION
            moved = latent.clone()
            moved[:, channel] += size * signs
            gains[channel] = float((synthesis(moved) - image).double().pow(2).sum()) / (size**2 * signs.numel())
    return gains
