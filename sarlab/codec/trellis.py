"""Dependent quantization: two coarse quantizers alternate, and a search through a trellis finds the best sequence.

With the fine step d, quantizer 0 reconstructs at 2k·d and quantizer 1 at (2k − sign k)·d; both hold zero:

    fine steps     −4  −3  −2  −1   0   1   2   3   4
    quantizer 0    −2      −1       0       1       2
    quantizer 1        −2      −1   0   1       2

The state of a trellis selects the quantizer, and the parity of k leads to the next state. So the decoder knows every quantizer,
while the encoder chooses among nearly all multiples of d at the rate of a step of 2d. The Viterbi algorithm finds the integers that
minimize squared error + λ·bits over the coefficients of a few blocks. Files hold k; the latent of a tile is in fine steps.

States come from the systematic convolutional codes of Ungerboeck. The lowest bit of a state is its quantizer.

References
----------
Ungerboeck 1982, 1987; Fischer & Wang 1992 (entropy-constrained trellis-coded quantization); Schwarz et al. 2021 (in VVC).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from sarlab.models.compiled import advance, compiled, kernel

#: Parity-check polynomials of the codes by number of states.
_CODES = {4: (0o5, 0o2), 8: (0o13, 0o4), 16: (0o23, 0o4), 32: (0o45, 0o10)}
_CODES |= {64: (0o103, 0o24), 128: (0o235, 0o126), 256: (0o515, 0o362)}
#: Numbers of states; one state is a plain scalar quantizer.
STATES = (1, *_CODES)
#: Magnitudes with a cost of their own; larger ones cost `_BITS_PER_OCTAVE` more for each doubling.
COSTED, _BITS_PER_OCTAVE = 24, np.float32(2)
#: Neighboring blocks of a row that share a path, and paths that are searched together.
SEGMENT, LANES = 8, 32
#: Magnitudes that have a reconstruction of their own: 1, 2, and all above.
OFFSETS = 3


class Trellis(NamedTuple):
    """Transitions, int64, shape (states, 2) each: next state by parity; state before by the parity that leads here, and the
    2·quantizer + parity of that branch."""

    after: np.ndarray
    before: np.ndarray
    branches: np.ndarray


@lru_cache(maxsize=8)
def trellis(states: int) -> Trellis:
    """Return the trellis of one of the `STATES`."""
    after, before = np.zeros((2, states, 2), np.int64)
    first, second = _CODES.get(states, (0, 0))
    for state in range(states):
        for parity in range(2):
            after[state, parity] = state >> 1 ^ (first >> 1) * (state & 1) ^ (second >> 1) * parity
            before[after[state, parity], parity] = state
    return Trellis(after, before, 2 * (before & 1) + np.arange(2))


class Costs(NamedTuple):
    """What integers cost in the search: float32."""

    #: Bits of each magnitude, with its sign: shape (classes, activities, 2 quantizers, `COSTED`).
    bits: np.ndarray
    #: Added to the magnitude of a reconstruction, in fine steps: shape (classes, 2 quantizers, `OFFSETS`).
    offsets: np.ndarray
    #: λ: squared fine steps per bit.
    weight: np.float32


@compiled
def search(y, coded, classes, activity, order, costs, path, latent):
    """Quantize one band of a tile along the cheapest paths; a path is the blocks of a row that share a segment.

    Parameters
    ----------
    y : ndarray of float32, shape (channels, h, w)
        In fine steps.
    coded : ndarray of bool, shape (channels, h, w)
        Coefficients to quantize; at others the state of a path stays.
    classes : ndarray of int64, shape (channels,)
    activity : ndarray of uint8, shape (channels, h, w)
        Expected activity of each block.
    order : ndarray of int64
        Channels to quantize, in the order of coding.
    costs : Costs
    path : Trellis
    latent : ndarray of int32, shape (channels, h, w)
        Zeros; filled in with values without offsets in fine steps.
    """
    _, height, width = y.shape
    states, segments, steps = path.before.shape[0], (width + SEGMENT - 1) // SEGMENT, order.size * SEGMENT
    # Of each step: size of y, negative if there is nothing to quantize; activity; magnitudes chosen for large sizes.
    sizes, active = np.empty((steps, LANES), np.float32), np.zeros((steps, LANES), np.uint8)
    choices, second = np.empty((steps, 4, LANES), np.int32), np.empty((steps, (states + 7) // 8, LANES), np.uint8)
    cost, totals = np.empty((4, LANES), np.float32), np.empty((2, states, LANES), np.float32)
    at = np.empty(LANES, np.int64)
    for first in range(0, height * segments, LANES):
        sizes[:], totals[0], totals[0, 0] = -1, 1e30, 0
        for number in range(order.size):
            channel = order[number]
            for lane in range(min(LANES, height * segments - first)):
                i, left = (first + lane) // segments, (first + lane) % segments * SEGMENT
                for n in range(min(SEGMENT, width - left)):
                    step = number * SEGMENT + n
                    if coded[channel, i, left + n]:
                        sizes[step, lane] = abs(y[channel, i, left + n])
                        active[step, lane] = activity[channel, i, left + n]
        for step in range(steps):
            now, of_class = step & 1, classes[order[step // SEGMENT]]
            _choose_small(sizes[step], active[step], costs, of_class, cost)
            for lane in range(LANES):
                if sizes[step, lane] >= 1:
                    _choose(sizes[step, lane], costs, of_class, active[step, lane], lane, step, cost, choices)
            advance(cost, path.before, path.branches, totals, now, second, step)
            for lane in range(LANES):
                if sizes[step, lane] < 0:
                    totals[1 - now, :, lane] = totals[now, :, lane]
                if step & 63 == 63:  # keep the totals small
                    totals[1 - now, :, lane] -= totals[1 - now, :, lane].min()
        for lane in range(LANES):
            at[lane] = np.argmin(totals[steps & 1, :, lane])
        # All paths go back together, because what a step left lies together in memory.
        for step in range(steps - 1, -1, -1):
            channel, n = order[step // SEGMENT], step % SEGMENT
            for lane in range(LANES):
                size = sizes[step, lane]
                if size >= 0:
                    parity = second[step, at[lane] >> 3, lane] >> (at[lane] & 7) & 1
                    branch, at[lane] = path.branches[at[lane], parity], path.before[at[lane], parity]
                    magnitude = choices[step, branch, lane] if size >= 1 else branch & 1
                    if magnitude:
                        i, j = (first + lane) // segments, (first + lane) % segments * SEGMENT + n
                        fine = 2 * magnitude - (branch >> 1)
                        latent[channel, i, j] = fine if y[channel, i, j] >= 0 else -fine


@kernel
def _choose_small(sizes, active, costs, of_class, cost):
    """Fill in what magnitude 0 and 1 of each quantizer cost: below a size of 1, the best of their parity."""
    bits, offsets, weight = costs.bits[of_class], costs.offsets[of_class], costs.weight
    first, second = np.float32(2) + offsets[0, 0], np.float32(1) + offsets[1, 0]
    for lane in range(LANES):
        size, own = sizes[lane], bits[active[lane]]
        cost[0, lane] = size * size + weight * own[0, 0]
        cost[1, lane] = (size - first) * (size - first) + weight * own[0, 1]
        cost[2, lane] = size * size + weight * own[1, 0]
        cost[3, lane] = (size - second) * (size - second) + weight * own[1, 1]


@kernel
def _choose(size, costs, of_class, activity, lane, step, cost, choices):
    """Find the best magnitude of each quantizer and parity, and its cost: squared error + λ·bits."""
    bits, offsets = costs.bits[of_class, activity], costs.offsets[of_class]
    for branch in range(4):
        quantizer, parity = branch >> 1, branch & 1
        below = int((size + np.float32(quantizer)) * np.float32(0.5))
        low = below if (below & 1) == parity else below - 1
        cost[branch, lane] = 1e30
        # The next magnitude of this parity lies four fine steps beyond; bits and error exclude it if it is the farther one.
        near = low < 0 or np.float32(2 * low + 4 - quantizer) - size < np.float32(2.0)
        for magnitude, likely in ((low, low > 0), (0, low <= 2 and parity == 0), (low + 2, near)):
            if not likely:
                continue
            point, rate, beyond = np.float32(0), bits[quantizer, min(magnitude, COSTED - 1)], magnitude // COSTED
            if magnitude:
                point = np.float32(2 * magnitude - quantizer) + offsets[quantizer, min(magnitude, OFFSETS) - 1]
            while beyond:
                rate += _BITS_PER_OCTAVE
                beyond >>= 1
            together = (size - point) * (size - point) + costs.weight * rate
            if together < cost[branch, lane]:
                cost[branch, lane], choices[step, branch, lane] = together, magnitude
