"""How the codec `hyper` turns a value into an integer and back, given its predicted mean and scale: one by one, or in a trellis.

Both offer the same: `choose` for encoders, `encode` and `decode` for what was chosen, and `bits` for its size. Values are in
quantization steps around their means; what comes back are whole steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from sarlab.codec.hyper import trellis
from sarlab.codec.hyper.trellis_tables import TrellisTables
from sarlab.codec.rangecoder import RangeDecoder, RangeEncoder
from sarlab.codec.tables import LARGEST, LARGEST_COUNTED, PER_OCTAVE, code_costs

#: Scale indices below this are quantized one by one, at twice the step: their values are hardly ever anything but zero.
LEAST_INDEX = 23


class LatentQuantizer(ABC):
    """Quantizer and code of the values of a step (`number` tells which, because each has tables of its own)."""

    #: log₂ of how much finer than the step of a quality this quantizer's is, in units of 1/4096 octave.
    finer: int

    @abstractmethod
    def choose(
        self, number: int, scaled: np.ndarray, indices: np.ndarray, price: np.ndarray
    ) -> tuple[np.ndarray, tuple]:
        """Whole steps for values, and the code of them.

        Parameters
        ----------
        number : int
        scaled : ndarray of float32
            Values in steps.
        indices : ndarray of uint8, same shape
            Scale indices.
        price : ndarray of float32, same shape or broadcast along the last axis
            Squared steps that a bit is worth.
        """

    @abstractmethod
    def encode(self, encoder: RangeEncoder, number: int, code: tuple) -> None:
        """Append a code."""

    @abstractmethod
    def decode(self, decoder: RangeDecoder, number: int, indices: np.ndarray) -> np.ndarray:
        """Whole steps in the shape of `indices`, int64."""

    @abstractmethod
    def bits(self, number: int, code: tuple) -> float:
        """Estimated size of a code."""


class ScalarCode(NamedTuple):
    """Integers and their scale indices."""

    integers: np.ndarray
    indices: np.ndarray


class ScalarQuantizer(LatentQuantizer):
    """Values one by one: the nearest integer, or the one below in magnitude where that is cheaper.

    Parameters
    ----------
    families, maps : ndarray of int, shape (steps, 152)
        See `sarlab.codec.hyper.arithmetic.Frozen`.
    """

    finer = 0

    def __init__(self, families: np.ndarray, maps: np.ndarray):
        #: Table of each scale index in each step, the bits of its magnitudes, and those that the next lower one saves.
        self._tables = [list(zip(f.tolist(), m.tolist(), strict=True)) for f, m in zip(families, maps, strict=True)]
        self._costs = [code_costs()[f, m] for f, m in zip(families, maps, strict=True)]
        self._savings = [np.diff(costs, axis=1, prepend=costs[:, :1]) for costs in self._costs]

    def choose(
        self, number: int, scaled: np.ndarray, indices: np.ndarray, price: np.ndarray
    ) -> tuple[np.ndarray, ScalarCode]:
        magnitude = np.abs(scaled)
        near = np.minimum(np.rint(magnitude), LARGEST)
        at = np.flatnonzero(near)
        integers = near.ravel()[at]
        magnitudes = np.minimum(integers, LARGEST_COUNTED).astype(np.int64)
        saved = self._savings[number][indices.ravel()[at], magnitudes]
        saved = saved * np.broadcast_to(price, scaled.shape).ravel()[at]
        near.ravel()[at] = integers - (2 * (magnitude.ravel()[at] - integers) + 1 < saved)
        chosen = np.copysign(near, scaled).astype(np.int64)
        return chosen, ScalarCode(chosen, indices)

    def encode(self, encoder: RangeEncoder, number: int, code: tuple) -> None:
        integers, indices = code
        encoder.encode_indexed(integers, indices, self._tables[number])

    def decode(self, decoder: RangeDecoder, number: int, indices: np.ndarray) -> np.ndarray:
        return decoder.decode_indexed(indices, self._tables[number])

    def bits(self, number: int, code: tuple) -> float:
        integers, indices = code
        costs = self._costs[number]
        return float(costs[indices, np.minimum(np.abs(integers), LARGEST_COUNTED)].sum(dtype=np.float64))


class TrellisCode(NamedTuple):
    """Integers in the trellis, their quantizers and scale indices; then the rest, which is scalar."""

    integers: np.ndarray
    quantizers: np.ndarray
    indices: np.ndarray
    rest: ScalarCode


class TrellisQuantizer(LatentQuantizer):
    """Values in a trellis (see `sarlab.codec.hyper.trellis`), but for those that are nearly certain to be zero.

    Parameters
    ----------
    tables : TrellisTables
    scalar : ScalarQuantizer
        Of the rest, at twice the step.
    """

    finer = 2700

    def __init__(self, tables: TrellisTables, scalar: ScalarQuantizer):
        self.tables, self.scalar = tables, scalar

    def choose(
        self, number: int, scaled: np.ndarray, indices: np.ndarray, price: np.ndarray
    ) -> tuple[np.ndarray, TrellisCode]:
        inside, outside = _parts(indices)
        flat, prices, at = scaled.ravel(), np.broadcast_to(price, scaled.shape).ravel(), indices.ravel()
        integers, quantizers = trellis.search(flat[inside], prices[inside], at[inside], self.tables.costs)
        chosen = np.empty(flat.shape, np.int64)
        chosen[inside] = trellis.points(integers, quantizers)
        coarse, rest = self.scalar.choose(number, flat[outside] / 2, _coarser(at[outside]), prices[outside] / 4)
        chosen[outside] = 2 * coarse
        return chosen.reshape(scaled.shape), TrellisCode(integers, quantizers, at[inside], rest)

    def encode(self, encoder: RangeEncoder, number: int, code: tuple) -> None:
        integers, quantizers, indices, rest = code
        rows = 2 * indices.astype(np.int64) + quantizers
        parities = integers & 1
        encoder.encode_chances(parities, self.tables.odds[rows])
        encoder.encode_indexed(integers >> 1, 2 * rows + parities, self.tables.tables)
        self.scalar.encode(encoder, number, rest)

    def decode(self, decoder: RangeDecoder, number: int, indices: np.ndarray) -> np.ndarray:
        inside, outside = _parts(indices)
        at = indices.ravel()
        rows = 2 * at[inside].astype(np.int64)
        parities = np.empty_like(rows)

        def decoded(places: slice, quantizers: np.ndarray) -> np.ndarray:
            rows[places] += quantizers
            parities[places] = found = decoder.decode_chances(self.tables.odds.take(rows[places], 0))
            return found

        trellis.walk(len(rows), decoded)
        integers = 2 * decoder.decode_indexed(2 * rows + parities, self.tables.tables) + parities
        out = np.empty(at.shape, np.int64)
        out[inside] = trellis.points(integers, rows & 1)
        out[outside] = 2 * self.scalar.decode(decoder, number, _coarser(at[outside]))
        return out.reshape(indices.shape)

    def bits(self, number: int, code: tuple) -> float:
        integers, quantizers, indices, rest = code
        return self.tables.bits(integers, quantizers, indices) + self.scalar.bits(number, rest)


def _parts(indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places in the trellis and out of it."""
    within = indices.ravel() >= LEAST_INDEX
    return np.flatnonzero(within), np.flatnonzero(~within)


def _coarser(indices: np.ndarray) -> np.ndarray:
    """Scale indices at twice the step."""
    return np.maximum(indices.astype(np.int64) - PER_OCTAVE, 0)
