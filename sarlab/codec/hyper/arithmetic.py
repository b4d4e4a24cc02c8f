"""Numbers that encoder and decoder of the codec `hyper` must agree on to the last bit: steps, ratios, scale indices.

Logarithms are integers in units of 1/4096 octave. A ratio of step and deviation becomes a 16-bit mantissa and a shift, so
that every product is one of integers; a power of two is evaluated in decimal arithmetic, whose digits are the same on every
machine.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from sarlab.codec.hyper.context import CLIP, FIRST_KNOT, KNOT_COUNT, KNOT_SPACING
from sarlab.codec.tables import INDICES, LAMBDA, PER_OCTAVE, UNIT_INDEX

#: Units of a logarithm per octave.
OCTAVE = 4096
#: Latents are integers in this share of a step: the mean that a value was quantized around is not a whole number.
FRACTION = 16
#: What the networks see: units per deviation of a latent, and the largest of them.
SEEN_UNIT, SEEN_LARGEST = 32, round(32 * CLIP) - 1
#: Units of the networks' results: of means per deviation, of scales per octave.
RESULT_UNIT = 256
#: Unit of the stored quality.
QUALITY_UNIT = 256

#: Factor on the price of a bit when an encoder chooses integers.
THRIFT = 1.0

#: log₂ √12, and 2^16 times log₂(10)/20 for a unit of the stored quality.
_STEP_AT_ZERO = 7342
_STEP_FALL = 174165
_KNOT = KNOT_SPACING * QUALITY_UNIT


def interpolated(knots: np.ndarray, quality: int) -> np.ndarray:
    """Rows of an integer (knots, …) array at a stored quality, rounded half up: int64."""
    place = min(max(quality - FIRST_KNOT * QUALITY_UNIT, 0), (KNOT_COUNT - 1) * _KNOT)
    knot = min(place // _KNOT, KNOT_COUNT - 2)
    rest = place - knot * _KNOT
    knots = knots.astype(np.int64)
    return (knots[knot] * (_KNOT - rest) + knots[knot + 1] * rest + _KNOT // 2) // _KNOT


def step_logs(gains: np.ndarray, quality: int) -> np.ndarray:
    """log₂ of every channel's step at a stored quality, from log₂ gains at the knots: int64."""
    return _STEP_AT_ZERO - ((quality * _STEP_FALL + (1 << 15)) >> 16) + interpolated(gains, quality)


def power(log: int) -> tuple[int, int]:
    """2^(log/4096) as (mantissa, exponent) with mantissa·2^exponent and 2^15 ≤ mantissa ≤ 2^16."""
    octaves, rest = divmod(int(log), OCTAVE)
    return _mantissa(rest), octaves - 15


@lru_cache(maxsize=OCTAVE)
def _mantissa(rest: int) -> int:
    """2^(15 + rest/4096) rounded half up."""
    with localcontext() as context:
        context.prec = 45
        return int(Decimal(2) ** (15 + Decimal(rest) / OCTAVE) + Decimal(1) / 2)


class Ratios:
    """Products with 2^(log/4096)·2^scale for each channel, rounded half up.

    Parameters
    ----------
    logs : ndarray of int, shape (channels,)
    scale : int
    """

    def __init__(self, logs: np.ndarray, scale: int):
        pairs = [power(log) for log in logs]
        shifts = np.array([-(exponent + scale) for _, exponent in pairs], np.int64)
        self.shift = np.maximum(shifts, 1)
        # A ratio too large for a shift to the right is a larger mantissa.
        self.mantissa = np.array([m for m, _ in pairs], np.int64) << (self.shift - shifts)
        self.half = np.int64(1) << (self.shift - 1)

    def of(self, values: np.ndarray, first: int, last: int) -> np.ndarray:
        """Products of integers, shape (…, last − first), with the ratios of these channels: int64."""
        part = slice(first, last)
        return (values * self.mantissa[part] + self.half[part]) >> self.shift[part]


class Frozen(NamedTuple):
    """What a model says beside its networks: integers, and the floats of the encoder's and the decoder's own business.

    Attributes
    ----------
    deviations : ndarray of int, shape (channels,)
        log₂ of the channels' deviations.
    gains : ndarray of int, shape (knots, channels)
        log₂ of the factors on the steps.
    families, maps : ndarray of int, shape (steps, 152)
        Family and index of the table for each scale index that is predicted.
    """

    deviations: np.ndarray
    gains: np.ndarray
    families: np.ndarray
    maps: np.ndarray


class AtQuality(NamedTuple):
    """Numbers of all channels at one quality.

    Attributes
    ----------
    stored : int
        Quality as stored.
    steps, nominal : ndarray of float32, shape (channels,)
        Steps of the latent, and those of a scalar quantizer with the same error, which the networks know.
    relative : ndarray of int64, shape (channels,)
        log₂ of step over deviation.
    seen, means : Ratios
        From sixteenths of a step to what the networks see, and from their results to sixteenths of a step.
    price : ndarray of float32, shape (channels,)
        Squared steps that a bit is worth.
    """

    stored: int
    steps: np.ndarray
    nominal: np.ndarray
    relative: np.ndarray
    seen: Ratios
    means: Ratios
    price: np.ndarray


def scale_indices(results: np.ndarray, relative_logs: np.ndarray) -> np.ndarray:
    """Scale indices of the networks' log₂ scales in deviations.

    Parameters
    ----------
    results : ndarray of int, shape (…, channels)
        In units of 1/256 octave.
    relative_logs : ndarray of int, shape (channels,)
        log₂ of step over deviation.

    Returns
    -------
    ndarray of uint8
    """
    unit = OCTAVE // PER_OCTAVE
    index = (results * (OCTAVE // RESULT_UNIT) - relative_logs + (UNIT_INDEX * unit + unit // 2)) // unit
    return np.clip(index, 0, INDICES - 1).astype(np.uint8)


@lru_cache(maxsize=1)
def magnitude_table() -> np.ndarray:
    """What the networks see of a magnitude n in units of 1/32 deviation: 32·log₂(1 + n/4), rounded half up, for n to 255."""
    with localcontext() as context:
        context.prec = 45
        two = Decimal(2).ln()
        values = [int((1 + Decimal(n) / 4).ln() / two * SEEN_UNIT + Decimal(1) / 2) for n in range(SEEN_LARGEST + 1)]
    return np.array(values, np.uint8)


def numbers_at(frozen: Frozen, stored: int, finer: int) -> AtQuality:
    """All numbers of a model at a stored quality, with steps that are finer by so many units of a logarithm."""
    nominal = step_logs(frozen.gains, stored)
    logs = nominal - finer
    relative = logs - frozen.deviations
    steps = np.exp2(logs / OCTAVE)
    # The price of a bit in squared error is the one that the quality stands for, in the squared steps of each channel.
    price = THRIFT * LAMBDA * 12 * 10 ** (-stored / QUALITY_UNIT / 10) / steps**2
    seen, means = (round(np.log2(unit)) for unit in (SEEN_UNIT / FRACTION, FRACTION / RESULT_UNIT))
    return AtQuality(
        stored, steps.astype(np.float32), np.exp2(nominal / OCTAVE).astype(np.float32), relative,
        Ratios(relative, seen), Ratios(-relative, means), price.astype(np.float32),
    )  # fmt: skip
