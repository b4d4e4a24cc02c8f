"""Trellis-coded quantization at a fixed number of bits: twice the levels, and a searched path through them.

Twice as many levels as integers, in ascending order, belong to the subsets D0 D1 D2 D3 D0 D1 … in turn::

    level      0   1   2   3   4   5   6   7  …
    subset     D0  D1  D2  D3  D0  D1  D2  D3 …
    integer    0   0   1   1   2   2   3   3  …        level = 2 · integer + state mod 2

An even state allows D0 and D2, an odd one D1 and D3; the integer counts the levels of the two in ascending order. Its
lowest bit selects the subset, and with it the next state; the bits above it select the level within the subset.

References: Ungerboeck 1982 (the code of 8 states); Marcellin & Fischer 1990.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import solveh_banded
from torch import Tensor

from sarlab.errors import QuantizerError
from sarlab.models.compiled import advance, compiled
from sarlab.models.quantizers.grids import (
    REALLOCATE_EVERY,
    AllocatedQuantizer,
    CompandedQuantizer,
    fit_companded,
    thinned,
)
from sarlab.models.quantizers.quantizer import Quantized, centered_uniform, nonzero, quantizers
from sarlab.specs import QuantizerSpec

#: State after a state and the lowest bit of an integer.
NEXT = np.array([(0, 1), (2, 3), (5, 4), (7, 6), (1, 0), (3, 2), (4, 5), (6, 7)])
STATES = len(NEXT)
#: States before each state, and the subsets of the levels on the way.
BEFORE = np.arange(STATES)[:, None] // 2 + np.array([0, STATES // 2])
SUBSETS = np.array([[2 * list(NEXT[one]).index(n) + one % 2 for one in BEFORE[n]] for n in range(STATES)])
#: Most bits of a channel above the average; the table of levels is as wide as the widest channel.
MOST_ABOVE_AVERAGE = 4
#: Error of a trellis relative to a grid of as many bits, at 0, 1, 2 and more bits, for allocating bits.
GAINS = (1.0, 0.84, 0.73, 0.68)
#: Values per channel that levels are fitted to; rounds of fitting at calibration, and while following a training.
SAMPLES, ROUNDS, FOLLOWING_ROUNDS = 8192, 10, 2
#: Starts of the fit: margins of the levels beyond those of a grid of as many bits, in steps of that grid.
MARGINS = (0.0, 0.25, 0.5)
#: Penalty on differences between the moves of neighboring levels, in values; overshoot of a round, which saves rounds.
STIFFNESS, RELAXATION = 8.0, 1.8
#: Values are clamped so many ranges beyond the ends of a channel; farther ones would swamp all others on their path.
FARTHEST = 1000.0


@quantizers.register("trellis")
class TrellisQuantizer(AllocatedQuantizer):
    """Exactly b bits per value out of 2^(b+1) levels, half of which are allowed, depending on the preceding values.

    The levels are fitted to the latents: companded ones first, then levels and best paths in turn (Lloyd's method
    through the trellis), where a level with few values moves with its neighbors. `spec.bits` is the average over the
    channels, 1 to 8; bits are allocated as by ``"allocated"``, at most 4 above the average. Files hold nothing but the
    bits: paths start in state 0, levels and allocation belong to the calibrated quantizer.

    On a Gaussian source the error is 1.3 dB (2 bits) to 1.7 dB (4 bits) below that of the best levels for single values
    (Lloyd and Max). With calibration ``"minmax"`` and ``"percentile"`` the levels are the companded ones.

    References: Marcellin & Fischer 1990 (table III: 5.19, 10.70 and 16.33 dB with 8 states at 1, 2 and 3 bits).
    """

    scheme_bits = (1, 8)
    codebook: Tensor
    noise: Tensor

    def __init__(self, spec: QuantizerSpec, channels: int):
        super().__init__(spec, channels)
        #: Levels of each channel in ascending order; the last of its 2^(b+1) is repeated to the end of the row.
        self.register_buffer("codebook", torch.zeros(channels, 2 ** (spec.bits + MOST_ABOVE_AVERAGE + 1)))
        #: Width of uniform noise as strong as the quantizer's error, in distances of the levels that a state allows.
        self.register_buffer("noise", torch.ones(channels))

    @property
    def levels(self) -> Tensor:
        return torch.where(self.allocation > 0, 2 ** (self.allocation + 1), 1)

    def follow(self, values: Tensor, share: float) -> None:
        full = share == 1.0
        if (full or int(self.observed) % REALLOCATE_EVERY == 0) and self.reallocate(values):
            share = 1.0
        values = thinned(values, SAMPLES).double()
        counts = self.levels.cpu()
        codebook = _companded_levels(values, counts, self.spec.calibration, self.codebook.shape[1])
        if self.spec.calibration == "mse":
            codebook = refined(values, codebook, counts, ROUNDS if full else FOLLOWING_ROUNDS)
        if not torch.isfinite(codebook.float()[:, -1] - codebook.float()[:, 0]).all():
            raise QuantizerError("the latents' range exceeds float32: the network has diverged; train it again")
        codebook = codebook.float().double()
        error = _error(values, codebook, counts)
        step = _steps(values, codebook, counts).square().mean(dim=1)
        noise = torch.where(step > 0, (12 * error / nonzero(step)).sqrt(), 1.0)
        self.move(share, codebook=codebook, noise=noise, low=codebook[:, 0], high=codebook[:, -1])

    def distortions(self, values: Tensor) -> Tensor:
        table = super().distortions(values)[:, : self.spec.bits + MOST_ABOVE_AVERAGE + 1]
        factors = [GAINS[min(bits, len(GAINS) - 1)] for bits in range(table.shape[1])]
        return table * torch.tensor(factors, dtype=table.dtype)

    fitted_error = CompandedQuantizer.fitted_error

    def _quantize(self, y: Tensor) -> Quantized:
        self.require_ready()
        coded = self._coded()
        integers = torch.zeros(y.shape, dtype=torch.int64, device=y.device)
        low, high = self._ends()
        if len(coded):
            beyond = FARTHEST * (high - low)
            rows = _rows(y.clamp(low - beyond, high + beyond)[:, coded])
            index = _chosen(rows, self.codebook[coded], self.levels[coded], images=len(y))
            integers[:, coded] = _images(index // 2, y[:, coded])
        outside = ((y < low) | (y > high)) & (self.allocation > 0).view(1, -1, 1, 1)
        return Quantized(integers, saturated=int(outside.sum()))

    def dequantize(self, quantized: Quantized) -> Tensor:
        self.require_ready()
        integers, coded = quantized.integers, self._coded()
        restored = self.codebook[:, :1].view(1, -1, 1, 1).expand(integers.shape).clone()
        if len(coded):
            part = integers[:, coded]
            lowest = (part & 1).flatten(1).cpu().numpy()
            parities = np.stack([state_parities(image) for image in lowest])
            index = 2 * part + torch.from_numpy(parities).reshape(part.shape).to(part.device)
            restored[:, coded] = _images(self.codebook[coded].gather(1, _rows(index)), part)
        return restored

    def step_of(self, y: Tensor) -> Tensor:
        self.require_ready()
        y = y.detach()
        return _images(_steps(_rows(y), self.codebook, self.levels), y)

    def noisy(self, y: Tensor, generator: torch.Generator) -> Tensor:
        width = self.step_of(y) * self.noise.view(1, -1, 1, 1)
        return y.clamp(*self._ends()) + centered_uniform(y, generator) * width

    def straight_through(self, y: Tensor) -> Tensor:
        inside = y.clamp(*self._ends())
        return inside + (self.rounded(y) - inside).detach()

    def _coded(self) -> Tensor:
        """Channels that have bits."""
        return torch.nonzero(self.allocation > 0)[:, 0]

    def _ends(self) -> tuple[Tensor, Tensor]:
        """Lowest and highest value that is represented as well as any other, shape (1, C, 1, 1)."""
        self.require_ready()
        steps = _steps(torch.stack([self.low, self.high], dim=1), self.codebook, self.levels)
        low, high = self.low - steps[:, 0] / 2, self.high + steps[:, 1] / 2
        return low.view(1, -1, 1, 1), high.view(1, -1, 1, 1)


def refined(values: Tensor, codebook: Tensor, counts: Tensor, rounds: int) -> Tensor:
    """Refine levels by `rounds` of best paths for the levels and best levels for the paths.

    A level moves to the mean of its values, and differences between the moves of neighbors (in distances of levels) are
    penalized, so that levels with few values do not overfit. Values (C, n) and codebook (C, K) are float64; `counts`
    (C,) are the levels of each channel.
    """
    spacing = torch.gradient(codebook, dim=1)[0]
    last = codebook.gather(1, (counts - 1)[:, None])
    shift = torch.zeros_like(codebook)
    best, least = codebook, torch.full((len(codebook), 1), torch.inf, dtype=codebook.dtype)
    for turn in range(rounds + 1):
        levels = torch.where(codebook < last, codebook, last) + shift * spacing
        for row, count in zip(levels, counts.tolist(), strict=True):
            row[:count] = row[:count].sort().values
            row[count:] = row[count - 1]
        index = _chosen(values, levels, counts)
        error = (levels.gather(1, index) - values).square().mean(dim=1, keepdim=True)
        best, least = torch.where(error < least, levels, best), torch.minimum(error, least)
        if turn == rounds:
            break
        number = torch.zeros_like(codebook).scatter_add_(1, index, torch.ones_like(values))
        total = torch.zeros_like(codebook).scatter_add_(1, index, values - codebook.gather(1, index))
        wanted = total / nonzero(spacing)
        for c, count in enumerate(counts.tolist()):
            if count > 1:
                # Least Σ number·(shift − wanted/number)² + STIFFNESS·Σ (difference of neighbors' shifts)².
                band = np.zeros((2, count))
                band[0, 1:] = -STIFFNESS
                band[1] = number[c, :count].numpy() + 2 * STIFFNESS
                band[1, [0, -1]] -= STIFFNESS
                found = solveh_banded(band, wanted[c, :count].numpy())
                shift[c, :count].lerp_(torch.from_numpy(found), RELAXATION)
    return best


@compiled
def state_parities(bits):
    """Return state mod 2 before each value of a path from the lowest bits of the integers."""
    state, parities = 0, np.empty(len(bits), np.int64)
    for step in range(len(bits)):
        parities[step] = state & 1
        state = NEXT[state, bits[step]]
    return parities


def _companded_levels(values: Tensor, counts: Tensor, calibration: str, most: int) -> Tensor:
    """Starting levels, float64 (C, most): equidistant in the coordinate of the best companded grid of as many bits."""
    grid = fit_companded(values, torch.where(counts > 1, counts // 2, 1), calibration)[:4]
    mean, knee, low, high = (t.double()[:, None] for t in grid)
    top = (counts - 1)[:, None]
    place = torch.arange(most).expand(len(counts), -1).minimum(top)
    step = (high - low) / (top // 2).clamp(min=1)
    best, least = torch.zeros_like(place, dtype=torch.float64), torch.full_like(mean, torch.inf)
    for margin in MARGINS if calibration == "mse" else (0.0,):
        start, span = low - margin * step, high - low + 2 * margin * step
        levels = mean + knee * torch.sinh(start + span / top.clamp(min=1) * place)
        error = _error(values, levels, counts)[:, None]
        best, least = torch.where(error < least, levels, best), torch.minimum(error, least)
    return best


def _error(values: Tensor, codebook: Tensor, counts: Tensor) -> Tensor:
    """Mean squared error of each channel on its best paths, shape (C,)."""
    return (codebook.gather(1, _chosen(values, codebook, counts)) - values).square().mean(dim=1)


def _chosen(values: Tensor, codebook: Tensor, counts: Tensor, *, images: int = 0) -> Tensor:
    """Index of each value's level on the best paths; paths run through all channels of an image, or through a channel."""
    levels, sizes = codebook.double().cpu().numpy(), counts.cpu().numpy()
    parts = values.detach().double().cpu().chunk(images or 1, dim=1)
    found = [search(np.ascontiguousarray(part), levels, sizes, images > 0) for part in parts]
    return torch.from_numpy(np.concatenate(found, axis=1)).to(values.device)


@compiled
def search(values, codebook, counts, continued):
    """Return the level of each value (channels, count) on the best paths, which begin in state 0.

    Of each row of the codebook, in ascending order, `counts` levels are in use. If `continued`, one path runs through all
    channels, instead of one through each.
    """
    channels, count = values.shape
    found = np.empty((channels, count), np.int64)
    places = np.empty((channels * count, 4), np.int64)
    second = np.empty((channels * count, (STATES + 7) // 8, 1), np.uint8)
    cost, totals, start = np.empty((4, 1)), np.empty((2, STATES, 1)), 0
    for channel in range(channels):
        if channel == start:
            totals[:] = np.inf
            totals[start * count & 1, 0] = 0
        levels, top = codebook[channel, : counts[channel]], counts[channel]
        for i in range(count):
            value, step = values[channel, i], channel * count + i
            near = np.searchsorted(levels, value, side="right") - 1
            for subset in range(4):
                # The nearest level of a subset is the last one at or below the value, or the one after it.
                most = max(top - 4 + subset, 0)
                lower = min(max(near - (near - subset) % 4, subset), most)
                upper = min(lower + 4, most)
                under, over = (levels[lower] - value) ** 2, (levels[upper] - value) ** 2
                places[step, subset], cost[subset, 0] = (upper, over) if over < under else (lower, under)
            advance(cost, BEFORE, SUBSETS, totals, step & 1, second, step)
        if not continued or channel == channels - 1:
            end = (channel + 1) * count
            state = np.argmin(totals[end & 1, :, 0])
            for step in range(end - 1, start * count - 1, -1):
                branch = second[step, state >> 3, 0] >> (state & 7) & 1
                found[step // count, step % count] = places[step, SUBSETS[state, branch]]
                state = BEFORE[state, branch]
            start = channel + 1
    return found


def _steps(values: Tensor, codebook: Tensor, counts: Tensor) -> Tensor:
    """Distance of every second level around values (C, n), from four levels so that it is smooth."""
    codebook = codebook.contiguous().to(values)
    near = torch.searchsorted(codebook, values.contiguous(), right=True) - 1
    top = (counts - 1)[:, None]
    above = (near + 2).clamp(min=0).minimum(top)
    below = (above - 3).clamp(min=0)
    return 2 * (codebook.gather(1, above) - codebook.gather(1, below)) / (above - below).clamp(min=1)


def _rows(y: Tensor) -> Tensor:
    """Latent (N, C, h, w) by channel, shape (C, N·h·w)."""
    return y.movedim(1, 0).flatten(1)


def _images(rows: Tensor, like: Tensor) -> Tensor:
    """Inverse of `_rows`, in the shape of `like`."""
    n, c, h, w = like.shape
    return rows.view(c, n, h, w).movedim(0, 1)
