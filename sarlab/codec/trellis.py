"""Dependent quantization: two coarse quantizers alternate, and a search through a trellis finds the best sequence.

With the fine step d, quantizer 0 reconstructs at 2k·d and quantizer 1 at (2k − sign k)·d; both hold zero. The state of a trellis
selects the quantizer, and the parity of k leads to the next state. So the decoder knows every quantizer, while the encoder
chooses among nearly all multiples of d at the rate of a step of 2d. The Viterbi algorithm finds the integers that minimize squared
error + λ·bits over the coefficients of a few blocks.

States come from the systematic convolutional codes of Ungerboeck. The lowest bit of a state is its quantizer.

References
----------
Ungerboeck 1982, 1987; Fischer & Wang 1992 (entropy-constrained trellis-coded quantization); Schwarz et al. 2021 (in VVC).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from sarlab.codec.compiled import kernel

#: Parity-check polynomials of the codes by number of states.
_CODES = {
    4: (0o5, 0o2),
    8: (0o13, 0o4),
    16: (0o23, 0o4),
    32: (0o45, 0o10),
    64: (0o103, 0o24),
    128: (0o235, 0o126),
    256: (0o515, 0o362),
}
#: Numbers of states; one state is a plain scalar quantizer.
STATES = (1, *_CODES)
#: Magnitudes with a cost of their own; larger ones cost `_BITS_PER_OCTAVE` more for each doubling.
COSTED, _BITS_PER_OCTAVE = 24, 2.0
#: Neighboring blocks of a row that share a path, and paths that are searched together.
SEGMENT, LANES = 8, 32
#: Magnitudes that have a reconstruction of their own: 1, 2, and all above.
OFFSETS = 3


@lru_cache(maxsize=8)
def trellis(states: int) -> tuple[np.ndarray, np.ndarray]:
    """Next state by (state, parity), and preceding state by (state, parity): int64, shape (states, 2)."""
    if states == 1:
        return np.zeros((1, 2), np.int64), np.zeros((1, 2), np.int64)
    first, second = _CODES[states]
    after, before = np.zeros((2, states, 2), np.int64)
    for state in range(states):
        for parity in range(2):
            later = state >> 1 ^ (first >> 1) * (state & 1) ^ (second >> 1) * parity
            after[state, parity] = later
            before[later, parity] = state
    return after, before


def search(
    y: np.ndarray,
    flags: np.ndarray,
    absent: np.ndarray,
    live: np.ndarray,
    classes: np.ndarray,
    activity: np.ndarray,
    order: np.ndarray,
    costs: np.ndarray,
    offsets: np.ndarray,
    weight: float,
    before: np.ndarray,
    k: np.ndarray,
    latent: np.ndarray,
) -> None:
    """Quantize one band of a tile along the cheapest paths; a path is the blocks of a row that share a segment.

    Parameters
    ----------
    y : ndarray of float32, shape (channels, h, w)
        In fine steps.
    flags, absent, live, classes, order
        See `sarlab.codec.block_model`; `order` holds all channels.
    activity : ndarray of uint8, shape (channels, h, w)
        Expected activity of each block.
    costs : ndarray of float32, shape (classes, activities, 2, COSTED)
        Bits of each magnitude, with its sign, in each quantizer.
    offsets : ndarray of float32, shape (classes, 2, OFFSETS)
        What is added to the magnitude of a reconstruction, in fine steps.
    weight : float32
        λ: squared fine steps per bit.
    before : ndarray of int64, shape (states, 2)
    k, latent : ndarray of int32, shape (channels, h, w)
        Filled in: integers, and values without offsets in fine steps.
    """
    channels, states = order[live[order]], len(before)
    steps = len(channels) * SEGMENT
    parities, choices = np.empty((steps, states, LANES), np.bool_), np.zeros((steps, 4, LANES), np.int32)
    cost, totals = np.zeros((4, LANES), np.float32), np.empty((2, states, LANES), np.float32)
    idle, state = np.zeros(LANES, np.bool_), np.zeros(LANES, np.int64)
    _search(
        y, flags, absent, classes, activity, channels, costs, offsets, np.float32(weight), before, k, latent, parities,
        choices, cost, totals, idle, state,
    )  # fmt: skip


@kernel
def _search(
    y, flags, absent, classes, activity, channels, costs, offsets, weight, before, k, latent, parities, choices, cost,
    totals, idle, state,
):  # fmt: skip
    height, width = flags.shape
    states, segments = before.shape[0], (width + SEGMENT - 1) // SEGMENT
    for first in range(0, height * segments, LANES):
        lanes = min(LANES, height * segments - first)
        for place in range(states):
            for lane in range(LANES):
                totals[0, place, lane] = 0 if place == 0 else 1e30
        step, now = 0, 0
        for number in range(channels.size):
            channel = channels[number]
            of_class = classes[channel]
            for n in range(SEGMENT):
                for lane in range(lanes):
                    i, j = (first + lane) // segments, (first + lane) % segments * SEGMENT + n
                    idle[lane] = j >= width or not flags[i, j] & 1 or flags[i, j] & absent[channel]
                    if idle[lane]:
                        for branch in range(4):
                            cost[branch, lane] = 0
                        continue
                    _choose(
                        abs(y[channel, i, j]), costs, of_class, activity[channel, i, j], offsets, weight, lane, step, cost,
                        choices,
                    )  # fmt: skip
                later = 1 - now
                for place in range(states):
                    one, two, quantizer = before[place, 0], before[place, 1], before[place, 0] & 1
                    for lane in range(LANES):
                        even = totals[now, one, lane] + cost[2 * quantizer, lane]
                        odd = totals[now, two, lane] + cost[2 * quantizer + 1, lane]
                        better = odd < even
                        parities[step, place, lane] = better
                        totals[later, place, lane] = odd if better else even
                for lane in range(lanes):
                    if idle[lane]:  # nothing to code: the state stays
                        for place in range(states):
                            totals[later, place, lane] = totals[now, place, lane]
                if step & 63 == 63:
                    for lane in range(LANES):
                        least = totals[later, 0, lane]
                        for place in range(1, states):
                            least = min(least, totals[later, place, lane])
                        for place in range(states):
                            totals[later, place, lane] -= least
                now = later
                step += 1
        for lane in range(lanes):
            state[lane] = 0
            for place in range(1, states):
                if totals[now, place, lane] < totals[now, state[lane], lane]:
                    state[lane] = place
        # All paths go back together, because what a step left lies together in memory.
        for number in range(channels.size - 1, -1, -1):
            channel = channels[number]
            for n in range(SEGMENT - 1, -1, -1):
                step -= 1
                for lane in range(lanes):
                    i, j = (first + lane) // segments, (first + lane) % segments * SEGMENT + n
                    if j >= width or not flags[i, j] & 1 or flags[i, j] & absent[channel]:
                        continue
                    parity = 1 if parities[step, state[lane], lane] else 0
                    state[lane] = before[state[lane], parity]
                    quantizer = state[lane] & 1
                    magnitude = choices[step, 2 * quantizer + parity, lane]
                    fine = 2 * magnitude - (quantizer if magnitude else 0)
                    k[channel, i, j] = magnitude if y[channel, i, j] >= 0 else -magnitude
                    latent[channel, i, j] = fine if y[channel, i, j] >= 0 else -fine


@kernel
def _choose(size, costs, of_class, activity, offsets, weight, lane, step, cost, choices):
    """Find the best magnitude of each quantizer and parity, and its cost."""
    of_zero = size * size
    for quantizer in range(2):
        below = np.int32((size + np.float32(quantizer)) * np.float32(0.5))
        for parity in range(2):
            low = below if (below & 1) == parity else below - 1
            best, chosen = np.float32(1e30), 0
            if low > 0:
                best, chosen = _cost(size, low, quantizer, costs, of_class, activity, offsets, weight), low
            if low <= 2 and parity == 0:
                together = of_zero + weight * costs[of_class, activity, quantizer, 0]
                if together < best:
                    best, chosen = together, 0
            # The next magnitude of this parity lies four fine steps beyond; bits and error exclude it if it is the farther one.
            if low < 0 or np.float32(2 * low + 4 - quantizer) - size < np.float32(2.0):
                together = _cost(size, low + 2, quantizer, costs, of_class, activity, offsets, weight)
                if together < best:
                    best, chosen = together, low + 2
            cost[2 * quantizer + parity, lane] = best
            choices[step, 2 * quantizer + parity, lane] = chosen


@kernel
def _cost(size, magnitude, quantizer, costs, of_class, activity, offsets, weight):
    """Squared error + λ·bits of a magnitude."""
    error = size - (np.float32(2 * magnitude - quantizer) + offsets[of_class, quantizer, min(magnitude, OFFSETS) - 1])
    bits = costs[of_class, activity, quantizer, min(magnitude, COSTED - 1)]
    beyond = magnitude // COSTED
    while beyond:
        bits += np.float32(_BITS_PER_OCTAVE)
        beyond >>= 1
    return error * error + weight * bits
