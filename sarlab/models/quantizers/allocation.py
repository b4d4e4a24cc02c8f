"""Bits for channels: where the next bit takes most distortion away."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sarlab.models.quantizers.calibration import thinned

#: Values of a channel that its distortions are measured on.
SAMPLES = 2048
#: Largest number of bits of a channel, and how far it may exceed the average.
MOST_BITS = 16
MOST_ABOVE_AVERAGE = 8
#: Perturbation that measures a channel's effect on the image, in standard deviations of the channel.
PERTURBATION = 0.1


def distortions(values: Tensor, average: int, error: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Mean squared error of each channel at 0, 1, 2 … bits.

    Parameters
    ----------
    values : Tensor, shape (C, n)
    average : int
        Bits a channel gets on average.
    error : callable
        (values (C, n), levels (C,)) → mean squared error (C,) of quantizers fitted to the values.

    Returns
    -------
    Tensor, shape (C, bits + 1), float64
        Column b is the error at b bits; falling along a row.
    """
    values = thinned(values, SAMPLES)
    widths = range(min(MOST_BITS, average + MOST_ABOVE_AVERAGE) + 1)
    columns = [error(values, torch.full((len(values),), 2**bits)) for bits in widths]
    return torch.stack(columns, dim=1).cummin(dim=1).values


def allocate(table: Tensor, budget: int) -> Tensor:
    """Bits of each channel so that the sum of distortions is least, by steepest descent.

    The next bits go to the channel that loses most distortion per bit; where one bit takes less away than two take
    each, both are given at once, so that the descent runs along the lower convex hull of each channel.

    Parameters
    ----------
    table : Tensor, shape (C, bits + 1)
        Distortion of each channel at 0, 1, 2 … bits.
    budget : int
        Sum of the bits.

    Returns
    -------
    Tensor of int64, shape (C,)

    References
    ----------
    Shoham & Gersho 1988; for Gaussian channels at high rate this is reverse water-filling.
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
        if size > left:
            moves[channel] = best_move(channel, left)
            continue
        bits[channel] += size
        left -= size
        moves[channel] = best_move(channel, left)
    return torch.tensor(bits)


def synthesis_gains(synthesis: Callable[[Tensor], Tensor], latent: Tensor) -> Tensor:
    """Squared error in the image for a unit squared error in each channel, shape (C,), float64.

    Each channel in turn is disturbed by a small noise of random sign; for an orthonormal synthesis all gains are equal.

    Parameters
    ----------
    synthesis : callable
        Latent (N, C, h, w) → image.
    latent : Tensor, shape (N, C, h, w)
        Where the gains are measured; a corner of it is enough.
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
