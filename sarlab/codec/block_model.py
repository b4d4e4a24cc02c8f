"""Models that code blocks: from the coefficients of a transform to bytes and back.

    y ──/ step──▶ trellis ──▶ k ──adaptive range coder──▶ bytes          class of a channel ◀── its deviation, in the header

A transform turns each block of samples into coefficients, one per *channel*: a frequency of the lapped transform, or an axis of
a KLT. All models share what follows: the deviation of each channel in the header of a file, dependent quantization, and contexts
of integers k made of

- the class of the channel: log2 of its deviation over the step;
- the activity of the block: the sum of the magnitudes in the channels that are coded before, compared to what their classes let
  expect, in the block and, with less weight, in its four neighbors;
- the quantizer that the state of the trellis selects.

Channels are coded one after the other, the most important first, for all blocks of a tile. Those of the *low part* form a stream
by itself: a preview reads nothing else. Of several bands, the later ones are predicted from the first one as decoded, by a factor
for each zone of channels; the factors are in the header.

Encoding a tile takes three passes over its coefficients: `_find_activities` estimates the activity of every block from rounded
magnitudes, `search` (in `trellis`) finds the latent that is cheapest at the costs of these contexts, and `_code_channels` codes it in
the contexts that then occur. Decoding is the third pass alone, and `_dequantize`.

Quality Q sets the step alone: the fine step is `FINE_STEP`·10^(−Q/20) of the normalized range. The latent of a tile is in fine
steps: n = 2k − q·sign k for the integer k of quantizer q.
"""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from sarlab.codec import entropy
from sarlab.codec.container import QUALITY_UNIT
from sarlab.codec.tiles import Borders, TileModel
from sarlab.codec.trellis import COSTED, OFFSETS, SEGMENT, STATES, Costs, search, trellis
from sarlab.errors import BitstreamError
from sarlab.models.compiled import kernel

#: Classes of channels: `PER_OCTAVE` for each doubling of deviation over step; class `UNIT_CLASS` begins at 1.
CLASSES, PER_OCTAVE, UNIT_CLASS = 64, 4, 20
#: Units of a deviation, and of a step, per class.
UNIT = 1 << 16
#: Deviations lie within this many classes of 1; those below the floor, as a share of the range of a sample, are not resolved.
_FARTHEST, _FLOOR = 24 * PER_OCTAVE, 1e-7
#: Knots of a smooth spectrum along each axis; the lowest frequency of a knot, as a share of the highest: that of the first
#: coefficient of 64. Units of interpolation weights; resistance of the fit against bends of the surface.
KNOTS, _LOWEST, _WEIGHT, _STIFFNESS = 8, 0.5 / 64, 256, 0.05
#: Fine step at quality 0, as a share of the range. At this value the PSNR of `lapped` (peak: the range, 30 dB) meets the quality at
#: medium rates. Coarser steps leave bands out, whose error is less than that of the step, so PSNR lies up to 7 dB above the
#: quality at 20; at high rates it lies 1 to 2 dB below.
FINE_STEP = 2.5
#: `step_units` at quality 0, and by how much it falls per unit of the stored quality (1/256 dB), times 2¹⁶.
_STEP_ORIGIN = round(math.log2(2 * FINE_STEP) * PER_OCTAVE * UNIT)
_STEP_SLOPE = round(math.log2(10) / 20 / QUALITY_UNIT * PER_OCTAVE * UNIT * 65536)
#: States of the trellis by effort.
EFFORTS = {"fast": 8, "default": 64, "best": 256}
#: λ in squared fine steps per bit.
WEIGHT = np.float32(0.26)
#: Channels of a class below this are coded in a tile only if a flag says so; values beyond this many fine steps make it say so.
FLAGGED, NOTABLE = 10, 1.6
#: Limits between the activities of blocks, in percent of what is expected, and their number.
LIMITS = np.array([70, 100, 140], np.int64)
ACTIVITIES = len(LIMITS) + 1
#: Contexts of coefficients; those of the flags follow, then one for numbers of the side information.
CONTEXTS = CLASSES * ACTIVITIES * 2 * entropy.SLOTS
#: Magnitudes enter the activity of a block in 1/256; each channel reduces the memory of those before by 1/16.
_UNIT, _MEMORY = 8, 4
#: Activity, in magnitudes, that is added to what is found and expected, so that few coefficients say little.
_PRIOR = 2 << _UNIT
#: Unit and largest size of the factors by which later bands are predicted.
FACTOR_UNIT, LARGEST_FACTOR = 1 / 16, 64
#: Blocks of a sample that determine the side information.
MOST_BLOCKS = 4096


@dataclass(frozen=True, eq=False)
class Tables:
    """Constants learned on training scenes; see `sarlab.codec.train_codec`."""

    #: Start of each probability that a decision is 1, in 1/65536: int64, (contexts, flags, and a context of numbers,).
    probabilities: np.ndarray
    #: Mean magnitude of each class, in 1/256: int64, shape (classes,).
    expected: np.ndarray
    #: What is added to the magnitude of a reconstruction, in fine steps: float32, shape (classes, 2, OFFSETS).
    offsets: np.ndarray

    #: Decisions that the start of a probability is worth.
    CONFIDENCE: ClassVar[int] = 16
    SIZE: ClassVar[int] = CONTEXTS + CLASSES + entropy.SLOTS

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> Tables:
        """Tables among the arrays of a model's file. Raises `ValueError` or `KeyError` if they are damaged."""
        expected, offsets = arrays["expected"].astype(np.int64), arrays["offsets"].astype(np.float32)
        if expected.shape != (CLASSES,) or offsets.shape != (CLASSES, 2, OFFSETS) or expected.min() <= 0:
            raise ValueError("wrong expected magnitudes, or wrong offsets of reconstructions")
        return cls(entropy.checked_start(arrays["probabilities"], cls.SIZE), expected, offsets)

    def arrays(self) -> dict[str, np.ndarray]:
        """Arrays for a model's file."""
        return {
            "probabilities": self.probabilities.astype(np.uint16), "expected": self.expected.astype(np.int32),
            "offsets": self.offsets,
        }  # fmt: skip

    def contexts(self) -> np.ndarray:
        """Contexts of a tile, before anything is coded."""
        return entropy.contexts(self.probabilities, self.CONFIDENCE)

    def costs(self) -> np.ndarray:
        """Bits of each magnitude: float32, shape (classes, activities, 2, COSTED)."""
        one = np.clip(self.probabilities[:CONTEXTS] / 65536, 1e-4, 1 - 1e-4)
        one = one.reshape(CLASSES, ACTIVITIES, 2, entropy.SLOTS)
        information = -np.log2(np.stack([1 - one, one], -1))
        bits = []
        for magnitude in range(COSTED):
            coder = entropy.encoder(entropy.contexts(np.full(entropy.SLOTS, entropy.EVEN), 0), entropy.room(1, COSTED))
            entropy.code_value(coder, 0, magnitude)
            slots, ones = entropy.listed(coder) >> 17, entropy.listed(coder) >> 16 & 1
            modeled = slots >= 0
            bits.append(information[..., slots[modeled], ones[modeled]].sum(-1) + (~modeled).sum())
        return np.stack(bits, -1).astype(np.float32)


def initial_tables() -> Tables:
    """Tables for Gaussian coefficients, for a first round."""
    from scipy.stats import norm

    one = np.full((CLASSES, ACTIVITIES, 2, entropy.SLOTS), 0.5)
    deviations = 2 * 2 ** ((np.arange(CLASSES)[:, None] + 0.5 - UNIT_CLASS) / PER_OCTAVE)
    ends = 2.0 * np.arange(400) + 1
    for quantizer in (1, 0):
        limits = np.r_[0.0, ends - quantizer * (ends > 1) * 1.0]
        limits[1] = 1.1 - 0.5 * quantizer
        mass = np.maximum(np.diff(2 * norm.cdf(limits / deviations) - 1), 1e-12)
        tail = np.cumsum(mass[:, ::-1], 1)[:, ::-1]
        one[:, :, quantizer, : entropy.UNARY] = (tail[:, 1 : entropy.UNARY + 1] / tail[:, : entropy.UNARY])[:, None]
    expected = 256 * (mass * np.arange(len(ends))).sum(1)  # of the plain quantizer
    rest = np.full(CLASSES + entropy.SLOTS, 0.5)
    probabilities = np.clip(np.rint(65536 * np.r_[one.ravel(), rest]), 30, 65506).astype(np.int64)
    return Tables(probabilities, np.maximum(expected, 1).astype(np.int64), np.zeros((CLASSES, 2, OFFSETS), np.float32))


@dataclass(frozen=True, eq=False)
class Side:
    """Side information of a file: of each band, the deviation of each channel (log2, in `UNIT` / `PER_OCTAVE` per octave), and the
    factor of each zone by which it is predicted from the first (in `FACTOR_UNIT`); number of states of the trellis."""

    deviations: tuple[np.ndarray, ...]
    factors: tuple[np.ndarray, ...]
    states: int


class Deviations:
    """Deviations of the channels of a band: their logarithm is given at the knots of a grid, and is bilinear in between.

    Each knot is coded as the difference from the mean of its neighbors above and to the left.

    Parameters
    ----------
    rows, columns : ndarray of int64, shape (size, knots)
        Interpolation weights of the channels along both axes of the grid; the sum of a row is `_WEIGHT`.
    stiffness : float
        Resistance of the fit against bends of the surface.
    """

    def __init__(self, rows: np.ndarray, columns: np.ndarray, stiffness: float = 0.0):
        self._axes, self._stiffness, self.count = (rows, columns), stiffness, rows.shape[1] * columns.shape[1]

    def fit(self, power: np.ndarray) -> np.ndarray:
        """Numbers for the mean power of each channel: (channels,) → int64, shape (count,)."""
        solvers = []
        for weights in (axis / _WEIGHT for axis in self._axes):
            bends = self._stiffness * np.diff(np.eye(weights.shape[1]), 2, axis=0)
            solvers.append(np.linalg.solve(weights.T @ weights + bends.T @ bends, weights.T))
        classes = 0.5 * PER_OCTAVE * np.log2(np.maximum(power, _FLOOR**2)).reshape(*map(len, self._axes))
        knots = np.clip(np.rint(solvers[0] @ classes @ solvers[1].T), -_FARTHEST, _FARTHEST).astype(np.int64)
        return np.array([knots[place] - _predicted(knots, *place) for place in np.ndindex(knots.shape)], np.int64)

    def parse(self, numbers: np.ndarray) -> np.ndarray:
        """Logarithms of the deviations, in `UNIT` per class: int64, shape (channels,). Raises `BitstreamError`."""
        rows, columns = self._axes
        knots = np.zeros((rows.shape[1], columns.shape[1]), np.int64)
        for place, number in zip(np.ndindex(knots.shape), numbers, strict=True):
            knots[place] = _predicted(knots, *place) + number
            if abs(knots[place]) > _FARTHEST:
                raise BitstreamError("the spectrum is damaged")
        return (rows @ knots @ columns.T).ravel()


def smooth_spectrum(size: int) -> Deviations:
    """Deviations of the frequencies u·size + v of blocks of `size` samples a side: knots lie closer at low frequencies."""
    root = np.sqrt((np.arange(size) + 0.5) / size)
    place = np.interp(root, np.linspace(_LOWEST**0.5, 1, KNOTS), np.arange(KNOTS))
    hats = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(KNOTS)))
    weights = np.rint(_WEIGHT * hats).astype(np.int64)
    return Deviations(weights, weights, _STIFFNESS)


def listed_deviations(channels: int) -> Deviations:
    """Deviations of channels in the order of importance, each a knot of a single row."""
    return Deviations(np.full((1, 1), _WEIGHT), _WEIGHT * np.eye(channels, dtype=np.int64))


def _predicted(knots: np.ndarray, row: int, column: int) -> int:
    above, left = knots[max(row - 1, 0), column], knots[row, max(column - 1, 0)]
    if row and column:
        return int(above + left) >> 1
    return int(above if row else left) if row or column else 0


class Coded(NamedTuple):
    """One band of a tile while it is coded: what encoder and decoder know of it, and what changes with each coefficient."""

    #: Coefficients that exist and are near coded samples: bool, shape (channels, h, w).
    present: np.ndarray
    #: Class of each channel, and mean magnitude of each class in 1/256: int64.
    classes: np.ndarray
    expected: np.ndarray
    #: Next state of the trellis by state and parity: int64, shape (states, 2).
    after: np.ndarray
    #: State of the trellis of each path: int64, shape (h, segments).
    states: np.ndarray
    #: Magnitudes found in each block, and expected in all of them, in 1/256 with fading memory: int64, (h, w) and (1,).
    found: np.ndarray
    awaited: np.ndarray
    #: Activity of each block in the channel at hand: int64, shape (h, w).
    activity: np.ndarray


class BlockModel(TileModel):
    """A model that codes the coefficients of blocks.

    `states` are those of the trellis when encoding, one of `STATES`; 1 is plain scalar quantization. Files state it.
    """

    lowest, highest = 0.0, 96.0
    #: Channels in the order of coding, int64; the first `low` of them are the low part.
    order: np.ndarray
    #: How a file holds the deviation of each channel.
    deviations: Deviations
    #: Zone of each channel, for predicting bands: int64, shape (channels,).
    zones: np.ndarray
    #: Flags (see `sarlab.codec.tiles.active_flags`) of the blocks at the borders of a scene that lack the channel: uint8.
    absent: np.ndarray

    def __init__(self, tables: Tables, *, name: str, content_hash: bytes, states: int = EFFORTS["default"]):
        self.tables, self.name, self.hash, self.states = tables, name, content_hash, states
        self._costs = Costs(tables.costs(), tables.offsets, WEIGHT)

    def with_effort(self, effort: str, weight: float = 1.0) -> BlockModel:
        adapted = copy.copy(self)
        adapted.states = EFFORTS[effort] if self.states > 1 else 1
        adapted._costs = self._costs._replace(weight=np.float32(WEIGHT * weight))
        return adapted

    @abstractmethod
    def transform(self, x: np.ndarray, borders: Borders) -> np.ndarray:
        """Transform a band of normalized samples: float32, (H, W) → (channels, h, w)."""

    @abstractmethod
    def inverse(self, y_hat: np.ndarray, quality: float, borders: Borders) -> np.ndarray:
        """Reconstruct a band from its coefficients: float32, (channels, h, w) → (H, W)."""

    def analyze(self, x: np.ndarray, borders: Borders) -> np.ndarray:
        return np.stack([self.transform(band, borders) for band in x])

    def synthesize(self, latent: np.ndarray, quality: float, side: Side, borders: Borders) -> np.ndarray:
        y_hat = self.reconstruct(latent, quality, side)
        return np.stack([self.inverse(band, quality, borders) for band in y_hat])

    def fit_side(self, sample: Sequence[tuple[np.ndarray, np.ndarray]], quality: float) -> bytes:
        numbers: list[np.ndarray] = []
        for band in range(sample[0][0].shape[0] if sample else 0):
            own = [(y, active, active[band] & 1 > 0) for y, active in sample]
            y = _columns([y[band][:, mask] for y, _, mask in own]).astype(np.float64)
            present = (_columns([active[band][None, mask] for _, active, mask in own]) & self.absent[:, None]) == 0
            if band:
                # The first band predicts the others where it is coded.
                first = _columns([y[0][:, mask] * (active[0][mask] & 1) for y, active, mask in own]).astype(np.float64)
                step = 2 * fine_step(quality)
                first = np.sign(first) * np.floor(np.abs(first) / step + 0.4) * step
                factors = self._fit_factors(first, y)
                numbers.append(factors)
                y = y - first * (factors * FACTOR_UNIT)[self.zones][:, None]
            y *= present
            numbers.append(self.deviations.fit(np.square(y, out=y).sum(1) / np.maximum(present.sum(1), 1)))
        values = np.concatenate(numbers) if numbers else np.zeros(0, np.int64)
        contexts = self.tables.contexts()[-entropy.SLOTS :]
        return bytes([self.states.bit_length() - 1]) + entropy.pack_numbers(values, contexts)

    def _fit_factors(self, first: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Least-squares factors of the zones, in `FACTOR_UNIT`."""
        count = self.zones.max() + 1
        power, product = (np.bincount(self.zones, (first * other).sum(1), count) for other in (first, y))
        factors = np.rint(product / np.maximum(power, 1e-12) / FACTOR_UNIT)
        return np.where(power > 0, np.clip(factors, -LARGEST_FACTOR, LARGEST_FACTOR), 0).astype(np.int64)

    def parse_side(self, side: bytes, bands: int) -> Side:
        zones, count = int(self.zones.max()) + 1, self.deviations.count
        if not side or 1 << side[0] not in STATES:
            raise BitstreamError("the side information is damaged: no such trellis")
        contexts = self.tables.contexts()[-entropy.SLOTS :]
        values = entropy.unpack_numbers(side[1:], bands * count + (bands - 1) * zones, contexts)
        # The first band has no factors.
        rows = np.concatenate([np.zeros(zones, np.int64), values]).reshape(bands, zones + count)
        if np.abs(rows[:, :zones]).max() > LARGEST_FACTOR:
            raise BitstreamError("the side information is damaged: an impossible prediction")
        deviations = tuple(self.deviations.parse(row[zones:]) for row in rows)
        return Side(deviations, tuple(rows[:, :zones]), 1 << side[0])

    @staticmethod
    def classes(quality: float, side: Side, band: int) -> np.ndarray:
        """Class of each channel of a band: int64, shape (channels,)."""
        octaves = (side.deviations[band] - step_units(round(quality * QUALITY_UNIT))) // UNIT
        return np.clip(octaves + UNIT_CLASS, 0, CLASSES - 1)

    def quantize(self, y: np.ndarray, active: np.ndarray, quality: float, side: Side) -> tuple[np.ndarray, bytes]:
        latent, live, graph = np.zeros(y.shape, np.int32), np.zeros(y.shape[:2], bool), trellis(side.states)
        for band, coded in enumerate(self._bands(active, quality, side)):
            scaled = y[band]
            if side.factors[band].any():
                scaled = scaled - self.reconstruct(latent[:1], quality, side)[0] * self._factors(side, band)
            scaled = scaled * (active[band] & 1) / np.float32(fine_step(quality))
            live[band] = (coded.classes >= FLAGGED) | (np.abs(scaled).max((1, 2)) > NOTABLE)
            order = self.order[live[band][self.order]]
            magnitudes = (np.abs(scaled) * np.float32(0.5) + np.float32(0.35)).astype(np.int32)
            activity = np.zeros(scaled.shape, np.uint8)
            _find_activities(coded, order, magnitudes, activity)
            search(scaled, coded.present, coded.classes, activity, order, self._costs, graph, latent[band])
        return latent, entropy.join([*map(entropy.pack, self.decisions(latent, live, active, quality, side))])

    def decisions(
        self, latent: np.ndarray, live: np.ndarray, active: np.ndarray, quality: float, side: Side
    ) -> Iterator[np.ndarray]:
        """Yield the decisions of each stream: those of the low part, one for each band, then those of the rest.

        `live` marks the channels that are coded: bool, shape (bands, channels).
        """
        bands, contexts = self._bands(active, quality, side), self.tables.contexts()
        for channels in (self.order[: self.low], self.order[self.low :]):
            for own, alive, coded in zip(latent, live, bands, strict=True):
                count = len(channels) + int(alive[channels].sum()) * active[0].size
                coder = entropy.encoder(contexts, entropy.room(count, np.abs(own).max(initial=0)))
                _code_channels(coder, coded, channels, alive, own)
                yield entropy.listed(coder)

    def decode(self, data: bytes, active: np.ndarray, quality: float, side: Side, low: bool = False) -> np.ndarray:
        """Decode a latent; `low`: the low part alone."""
        bands, contexts = self._bands(active, quality, side), self.tables.contexts()
        latent = np.zeros((len(active), len(self.order), *active.shape[1:]), np.int32)
        streams, unknown = entropy.split(data, 2 * len(bands)), np.zeros(len(self.order), np.bool_)
        for channels in (self.order[: self.low],) if low else (self.order[: self.low], self.order[self.low :]):
            for own, coded in zip(latent, bands, strict=True):
                coder = entropy.decoder(contexts, next(streams))
                if not _code_channels(coder, coded, channels, unknown, own):
                    raise BitstreamError("the entropy-coded data is damaged")
        return latent

    def _bands(self, active: np.ndarray, quality: float, side: Side) -> list[Coded]:
        """All bands of a tile before anything is coded."""
        height, width = active.shape[1:]
        return [
            Coded(
                (flags & 1 > 0) & ((flags & self.absent[:, None, None]) == 0), self.classes(quality, side, band),
                self.tables.expected, trellis(side.states).after, np.zeros((height, -(-width // SEGMENT)), np.int64),
                np.zeros((height, width), np.int64), np.zeros(1, np.int64), np.zeros((height, width), np.int64),
            )
            for band, flags in enumerate(active)
        ]  # fmt: skip

    def reconstruct(self, latent: np.ndarray, quality: float, side: Side) -> np.ndarray:
        """Reconstruct the coefficients of a latent: float32, same shape."""
        y_hat, fine = np.empty(latent.shape, np.float32), np.float32(fine_step(quality))
        for band, part in enumerate(latent):
            _dequantize(part, self.classes(quality, side, band), self.tables.offsets, fine, y_hat[band])
            if side.factors[band].any():
                y_hat[band] += y_hat[0] * self._factors(side, band)
        return y_hat

    def _factors(self, side: Side, band: int) -> np.ndarray:
        return (side.factors[band] * FACTOR_UNIT)[self.zones].astype(np.float32)[:, None, None]


def _columns(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Columns of all parts, at most `MOST_BLOCKS`; a column of zeros if there is none."""
    y = np.concatenate(parts, 1)
    return y[:, :: -(-y.shape[1] // MOST_BLOCKS) or 1] if y.size else np.zeros((len(y), 1), y.dtype)


def step_units(quality: int) -> int:
    """Logarithm of the step (two fine steps) at a stored quality, in the units of deviations: exact integer arithmetic."""
    return _STEP_ORIGIN - (quality * _STEP_SLOPE >> 16)


def fine_step(quality: Any) -> Any:
    """Fine step in normalized units, half of the step; of a number or of a tensor."""
    return FINE_STEP * 10 ** (-quality / 20)


# --- compiled -----------------------------------------------------------------------------------------------------------


@kernel
def _code_channels(coder, coded, channels, live, latent):
    """Code channels of one band of a tile, in either direction; False if the data are damaged."""
    for place in range(channels.size):
        channel = channels[place]
        of_class = coded.classes[channel]
        if of_class < FLAGGED and not entropy.code_decision(coder, CONTEXTS + of_class, 1 if live[channel] else 0):
            continue
        _note_activity(coded)
        for i in range(latent.shape[1]):
            for segment in range(coded.states.shape[1]):
                state = coded.states[i, segment]
                for j in range(segment * SEGMENT, min((segment + 1) * SEGMENT, latent.shape[2])):
                    if not coded.present[channel, i, j]:
                        continue
                    fine, quantizer = np.int64(latent[channel, i, j]), state & 1
                    context = ((of_class * ACTIVITIES + coded.activity[i, j]) * 2 + quantizer) * entropy.SLOTS
                    k = entropy.code_value(coder, context, (fine + (fine > 0)) >> 1)
                    if k == entropy.DAMAGED:
                        return False
                    latent[channel, i, j] = 2 * k - quantizer * ((k > 0) - (k < 0))
                    state = coded.after[state, k & 1]
                    _note_magnitude(coded, i, j, abs(k))
                coded.states[i, segment] = state
        _await(coded, of_class)
        if entropy.overrun(coder):
            return False
    return True


@kernel
def _find_activities(coded, channels, magnitudes, activity):
    """Fill in the activity of the block of each coefficient, as the coder will find it if these magnitudes are coded."""
    for place in range(channels.size):
        channel = channels[place]
        _note_activity(coded)
        for i in range(activity.shape[1]):
            for j in range(activity.shape[2]):
                if coded.present[channel, i, j]:
                    activity[channel, i, j] = coded.activity[i, j]
                    _note_magnitude(coded, i, j, np.int64(magnitudes[channel, i, j]))
        _await(coded, coded.classes[channel])


@kernel
def _note_activity(coded):
    """Fill in the activity of each block: 0 if its magnitudes fall short of what is expected, 3 if they exceed it by far."""
    found, (height, width) = coded.found, coded.found.shape
    expected = 8 * coded.awaited[0] + _PRIOR
    first, second, third = LIMITS[0] * expected, LIMITS[1] * expected, LIMITS[2] * expected
    for i in range(height):
        above, below = max(i - 1, 0), min(i + 1, height - 1)
        for j in range(width):
            around = found[above, j] + found[below, j] + found[i, max(j - 1, 0)] + found[i, min(j + 1, width - 1)]
            total = 100 * (4 * found[i, j] + around + _PRIOR)
            coded.activity[i, j] = (total > first) + (total > second) + (total > third)


@kernel
def _note_magnitude(coded, i, j, magnitude):
    coded.found[i, j] += (magnitude << _UNIT) - (coded.found[i, j] >> _MEMORY)


@kernel
def _await(coded, of_class):
    coded.awaited[0] += coded.expected[of_class] - (coded.awaited[0] >> _MEMORY)


@kernel
def _dequantize(latent, classes, offsets, fine, y_hat):
    for channel in range(latent.shape[0]):
        of_class = offsets[classes[channel]]
        for i in range(latent.shape[1]):
            for j in range(latent.shape[2]):
                size = abs(latent[channel, i, j])
                value = np.float32(0)
                if size:
                    quantizer = size & 1
                    value = (np.float32(size) + of_class[quantizer, min((size + quantizer) >> 1, OFFSETS) - 1]) * fine
                y_hat[channel, i, j] = value if latent[channel, i, j] > 0 else -value
