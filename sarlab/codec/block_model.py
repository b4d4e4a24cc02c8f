"""Models that code blocks: from the coefficients of a transform to bytes and back.

    y ──/ step──▶ trellis ──▶ k ──adaptive range coder──▶ bytes          class of a channel ◀── its deviation, in the header

A transform turns each block of samples into coefficients, one per *channel*: a frequency of the lapped transform, an axis of a
KLT, an output of a network. All models share what follows: the deviation of each channel in the header of a file, dependent
quantization, and contexts made of

- the class of the channel: log2 of its deviation over the step;
- the activity of the block: the sum of the magnitudes in the channels that are coded before, compared to what their classes let
  expect, in the block and, with less weight, in its four neighbors;
- the quantizer that the state of the trellis selects.

Channels are coded one after the other, the most important first, for all blocks of a tile. Those of the *low part* form a stream
by itself: a preview reads nothing else. Of several bands, the later ones are predicted from the first one as decoded, by a factor
for each zone of channels; the factors are in the header.

Quality Q sets the step alone: the fine step is `FINE_STEP`·10^(−Q/20) of the normalized range, so Q is close to the PSNR at high
rates. The latent of a tile is in fine steps: n = 2k − q·sign k for the integer k of quantizer q.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sarlab.codec import entropy
from sarlab.codec.compiled import kernel
from sarlab.codec.spectrum import CLASSES, FINE_STEP, QUALITY_UNIT, UNIT, UNIT_CLASS, Deviations, step_units
from sarlab.codec.storage import read_arrays, write_arrays
from sarlab.codec.tile_model import Borders, QuantizedTile, TileModel
from sarlab.codec.trellis import COSTED, OFFSETS, SEGMENT, STATES, search, trellis
from sarlab.errors import BitstreamError, ModelError

#: States of the trellis by effort.
EFFORTS = {"fast": 8, "default": 64, "best": 256}
ALL_CHANNELS = slice(None)
#: λ in squared fine steps per bit.
WEIGHT = 0.26
#: Channels of a class below this are coded in a tile only if a flag says so; values beyond this many fine steps make it say so.
FLAGGED, NOTABLE = 10, 1.6
#: Limits between the activities of blocks, in percent of what is expected, and their number.
LIMITS = np.array([70, 100, 140], np.int64)
ACTIVITIES = len(LIMITS) + 1
#: Contexts of coefficients; those of the flags follow.
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
    """Constants learned on training scenes; see `sarlab.codec.fit_tables`.

    Parameters
    ----------
    probabilities : ndarray of int64, shape (contexts and flags and one context of numbers,)
        Start of each probability that a decision is 1, in 1/65536.
    expected : ndarray of int64, shape (classes,)
        Mean magnitude, in 1/256.
    offsets : ndarray of float32, shape (classes, 2, OFFSETS)
        What is added to the magnitude of a reconstruction, in fine steps.
    """

    probabilities: np.ndarray
    expected: np.ndarray
    offsets: np.ndarray

    #: Decisions that the start of a probability is worth.
    CONFIDENCE: ClassVar[int] = 16
    SIZE: ClassVar[int] = CONTEXTS + CLASSES + entropy.SLOTS

    def start(self) -> tuple[np.ndarray, np.ndarray]:
        """Return fresh probabilities and counts for a tile."""
        return np.repeat(self.probabilities[:, None], 2, 1), np.full(self.SIZE, self.CONFIDENCE, np.uint8)

    def numbers(self) -> tuple[np.ndarray, np.ndarray]:
        """Return fresh probabilities and counts for side information."""
        return tuple(part[-entropy.SLOTS :].copy() for part in self.start())  # type: ignore[return-value]

    def costs(self) -> np.ndarray:
        """Bits of each magnitude with its sign: float32, shape (classes, activities, 2, COSTED)."""
        one = np.clip(self.probabilities[:CONTEXTS] / 65536, 1e-4, 1 - 1e-4)
        one = one.reshape(CLASSES, ACTIVITIES, 2, entropy.SLOTS)
        yes, no = -np.log2(one), -np.log2(1 - one)
        unary = entropy.UNARY
        bits = np.zeros((*one.shape[:3], COSTED))
        for magnitude in range(COSTED):
            total = yes[..., : min(magnitude, unary)].sum(-1) + (magnitude > 0)
            if magnitude < unary:
                total += no[..., magnitude]
            else:
                rest = magnitude - unary + 1
                exponent = rest.bit_length() - 1
                total += yes[..., unary : unary + exponent].sum(-1) + no[..., unary + exponent]
                for digit in range(1, min(exponent, 2) + 1):
                    slot = unary + digit * entropy.EXPONENTS + exponent
                    total += (yes if rest >> exponent - digit & 1 else no)[..., slot]
                total += max(exponent - 2, 0)
            bits[..., magnitude] = total
        return bits.astype(np.float32)


@dataclass(frozen=True, eq=False)
class Side:
    """Side information of a file."""

    #: Of each band: log2 deviation of each channel, in `UNIT` / `PER_OCTAVE` per octave.
    deviations: tuple[np.ndarray, ...]
    #: Of each band: factor of each zone by which it is predicted from the first, in `FACTOR_UNIT`.
    factors: tuple[np.ndarray, ...]
    #: Of the trellis.
    states: int


class BlockModel(TileModel):
    """A model that codes the coefficients of blocks.

    Parameters
    ----------
    tables : Tables
    name : str
    content_hash : bytes
    states : int
        Of the trellis when encoding: a power of two; 1 for plain scalar quantization. Files state it.

    Attributes
    ----------
    order : ndarray of int64, shape (channels,)
        Channels in the order of coding.
    low : int
        Channels of the low part.
    deviations : Deviations
        How a file holds the deviation of each channel.
    zones : ndarray of int64, shape (channels,)
        Zone of each channel, for predicting bands.
    absent : ndarray of uint8, shape (channels,)
        Flags (see `sarlab.codec.tiles.active_flags`) of the blocks at the borders of a scene that lack the channel.
    """

    lowest, highest = 0.0, 96.0
    order: np.ndarray
    low: int
    deviations: Deviations
    zones: np.ndarray
    absent: np.ndarray

    def __init__(self, tables: Tables, *, name: str, content_hash: bytes, states: int = EFFORTS["default"]):
        self.tables, self.name, self.hash, self.states = tables, name, content_hash, states
        self._costs = tables.costs()

    def with_effort(self, effort: str) -> BlockModel:
        if self.states == 1:
            return self
        adapted = copy.copy(self)
        adapted.states = EFFORTS[effort]
        return adapted

    def with_weight(self, factor: float) -> BlockModel:
        adapted = copy.copy(self)
        adapted._costs = self._costs * np.float32(factor)
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

    # --- side information -----------------------------------------------------------------------------------------

    def fit_side(self, sample: Sequence[tuple[np.ndarray, np.ndarray]], quality: float) -> bytes:
        numbers: list[np.ndarray] = []
        for band in range(sample[0][0].shape[0] if sample else 0):
            own = [(y, active, active[band] & 1 > 0) for y, active in sample]
            y = _columns([y[band][:, mask] for y, _, mask in own])
            # The first band predicts the others where it is coded.
            first = _columns([y[0][:, mask] * (active[0][mask] & 1) for y, active, mask in own])
            flags = _columns([active[band][None, mask] for _, active, mask in own]).astype(np.uint8)
            present = (flags & self.absent[:, None]) == 0
            if band:
                step = 2 * fine_step(quality)
                first = np.sign(first) * np.floor(np.abs(first) / step + 0.4) * step
                factors = self._fit_factors(first, y)
                numbers.append(factors)
                y = y - first * (factors * FACTOR_UNIT)[self.zones][:, None]
            numbers.append(self.deviations.fit(np.square(y * present).sum(1) / np.maximum(present.sum(1), 1)))
        values = np.concatenate(numbers) if numbers else np.zeros(0, np.int64)
        return bytes([self.states.bit_length() - 1]) + entropy.pack_numbers(values, *self.tables.numbers())

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
        values = entropy.unpack_numbers(side[1:], bands * count + (bands - 1) * zones, *self.tables.numbers())
        factors, deviations = [np.zeros(zones, np.int64)], [self.deviations.parse(values[:count])]
        for start in range(count, len(values), count + zones):
            factors.append(values[start : start + zones])
            deviations.append(self.deviations.parse(values[start + zones : start + zones + count]))
            if np.abs(factors[-1]).max() > LARGEST_FACTOR:
                raise BitstreamError("the side information is damaged: an impossible prediction")
        return Side(tuple(deviations), tuple(factors), 1 << side[0])

    @staticmethod
    def classes(quality: float, side: Side, band: int) -> np.ndarray:
        """Class of each channel of a band: int64, shape (channels,)."""
        octaves = (side.deviations[band] - step_units(round(quality * QUALITY_UNIT))) // UNIT
        return np.clip(octaves + UNIT_CLASS, 0, CLASSES - 1)

    # --- tiles ----------------------------------------------------------------------------------------------------

    def quantize(self, y: np.ndarray, active: np.ndarray, quality: float, side: Side) -> QuantizedTile:
        latent, live = np.zeros(y.shape, np.int32), np.zeros(y.shape[:2], bool)
        for band in range(len(y)):
            classes = self.classes(quality, side, band)
            scaled = y[band]
            if side.factors[band].any():
                scaled = scaled - self._dequantized(latent[0], quality, side, 0) * self._factors(side, band)
            scaled = scaled * (active[band] & 1) / np.float32(fine_step(quality))
            live[band] = (classes >= FLAGGED) | (np.abs(scaled).max((1, 2)) > NOTABLE)
            magnitudes = (np.abs(scaled) * np.float32(0.5) + np.float32(0.35)).astype(np.int32)
            activity, k = np.zeros(scaled.shape, np.uint8), np.zeros(scaled.shape, np.int32)
            _find_activities(
                magnitudes,
                active[band],
                self.absent,
                live[band],
                classes,
                self.order,
                self.tables.expected,
                *np.zeros((2, *magnitudes.shape[1:]), np.int64),
                activity,
            )
            search(
                scaled, active[band], self.absent, live[band], classes, activity, self.order, self._costs, self.tables.offsets,
                WEIGHT, trellis(side.states)[1], k, latent[band],
            )  # fmt: skip
        streams = self.code(latent, live, active, quality, side)
        return QuantizedTile(latent, 8.0 * sum(map(len, streams)), streams)

    def encode(self, quantized: QuantizedTile, active: np.ndarray, quality: float, side: Side) -> bytes:
        *first, last = quantized.code
        return b"".join([*(entropy.varint(len(stream)) + stream for stream in first), last])

    def code(
        self,
        latent: np.ndarray,
        live: np.ndarray,
        active: np.ndarray,
        quality: float,
        side: Side,
        met: list[tuple[np.ndarray, np.ndarray]] | None = None,
    ) -> list[bytes]:
        """Code a latent: the streams of the low part, one for each band, then those of the rest.

        Parameters
        ----------
        latent : ndarray of int32, shape (bands, channels, h, w)
        live : ndarray of bool, shape (bands, channels)
            Channels that are coded.
        active : ndarray of uint8, shape (bands, h, w)
        met : list, optional
            Contexts and decisions of each stream are appended.
        """
        state = _State(active, side.states)
        probabilities, counts = self.tables.start()
        k = (latent + (latent > 0)) >> 1
        largest = np.abs(k).max((1, 2, 3), initial=0)
        streams = []
        for channels in (self.order[: self.low], self.order[self.low :]):
            for band in range(len(k)):
                coded = len(channels) + int(live[band][channels].sum()) * active[band].size
                decisions = np.empty(entropy.room(coded, largest[band]), np.uint32)
                contexts = np.empty(0 if met is None else len(decisions), np.int32)
                n = _put_channels(
                    k[band], active[band], self.absent, live[band], self.classes(quality, side, band), channels,
                    self.tables.expected, state.after, *state.of(band), state.activity, probabilities, counts, decisions,
                    contexts,
                )  # fmt: skip
                streams.append(entropy.pack(decisions[:n]))
                if met is not None:
                    met.append((contexts[:n], decisions[:n] >> 16))
        return streams

    def decode(self, data: bytes, active: np.ndarray, quality: float, side: Side, low: bool = False) -> np.ndarray:
        """Decode a latent; `low`: the low part alone."""
        state = _State(active, side.states)
        probabilities, counts = self.tables.start()
        latent = np.zeros((len(active), len(self.order), *active.shape[1:]), np.int32)
        parts = [self.order[: self.low], self.order[self.low :]]
        for part, channels in enumerate(parts[:1] if low else parts):
            for band in range(len(active)):
                stream = data
                if part == 0 or band < len(active) - 1:
                    stream, data = entropy.cut(data)
                if not _get_channels(
                    *entropy.open_decoder(stream), latent[band], active[band], self.absent,
                    self.classes(quality, side, band), channels, self.tables.expected, state.after, *state.of(band),
                    state.activity, probabilities, counts,
                ):  # fmt: skip
                    raise BitstreamError("the entropy-coded data is damaged")
        return latent

    # --- reconstruction -------------------------------------------------------------------------------------------

    def reconstruct(
        self, latent: np.ndarray, quality: float, side: Side, channels: np.ndarray | slice = ALL_CHANNELS
    ) -> np.ndarray:
        """Reconstruct the coefficients of a latent of some channels: float32, same shape."""
        y_hat = np.stack([self._dequantized(part, quality, side, band, channels) for band, part in enumerate(latent)])
        for band in range(1, len(latent)):
            if side.factors[band].any():
                y_hat[band] += y_hat[0] * self._factors(side, band)[channels]
        return y_hat

    def _dequantized(
        self, latent: np.ndarray, quality: float, side: Side, band: int, channels: np.ndarray | slice = ALL_CHANNELS
    ) -> np.ndarray:
        y_hat = np.empty(latent.shape, np.float32)
        classes = self.classes(quality, side, band)[channels]
        _dequantize(latent, classes, self.tables.offsets, np.float32(fine_step(quality)), y_hat)
        return y_hat

    def _factors(self, side: Side, band: int) -> np.ndarray:
        return (side.factors[band] * FACTOR_UNIT)[self.zones].astype(np.float32)[:, None, None]


def _columns(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Columns of all parts, at most `MOST_BLOCKS`; a column of zeros if there is none."""
    y = np.concatenate(parts, 1)
    y = y[:, :: -(-y.shape[1] // MOST_BLOCKS) or 1]
    return y.astype(np.float64) if y.size else np.zeros((len(y), 1))


def fine_step(quality: float) -> float:
    """Fine step in normalized units."""
    return FINE_STEP * 10 ** (-quality / 20)


class _State:
    """State of the coder between the streams of a tile."""

    def __init__(self, active: np.ndarray, states: int):
        bands, height, width = active.shape
        self.after = trellis(states)[0]
        self._states = np.zeros((bands, height, -(-width // SEGMENT)), np.int64)
        self._sums = np.zeros((bands, height, width), np.int64)
        self._memory = np.zeros((bands, 1), np.int64)
        #: Room for the activity of each block.
        self.activity = np.empty((height, width), np.int64)

    def of(self, band: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self._states[band], self._sums[band], self._memory[band]


@kernel
def _dequantize(latent, classes, offsets, fine, y_hat):
    for channel in range(latent.shape[0]):
        of_class = classes[channel]
        for i in range(latent.shape[1]):
            for j in range(latent.shape[2]):
                size = abs(latent[channel, i, j])
                value = np.float32(0)
                if size:
                    quantizer = size & 1
                    value = (
                        np.float32(size) + offsets[of_class, quantizer, min((size + quantizer) >> 1, OFFSETS) - 1]
                    ) * fine
                y_hat[channel, i, j] = value if latent[channel, i, j] > 0 else -value


def read_tables(path: Path, kind: str) -> tuple[Tables, dict[str, np.ndarray], dict[str, Any], bytes]:
    """Read the file of a block model: its tables, all its arrays, its description, and its hash."""
    shapes = {"probabilities": (Tables.SIZE,), "expected": (CLASSES,), "offsets": (CLASSES, 2, OFFSETS)}
    arrays, values, content_hash = read_arrays(path, kind, shapes)
    tables = Tables(*(arrays[name].astype(dtype) for name, dtype in _TABLE_TYPES.items()))
    if not (tables.probabilities.min() > 0 and tables.probabilities.max() < 65536 and tables.expected.min() > 0):
        raise ModelError(f"{path}: probabilities or magnitudes out of range")
    if not np.isfinite(tables.offsets).all():
        raise ModelError(f"{path}: offsets that are no numbers")
    return tables, arrays, values, content_hash


def write_tables(path: Path, kind: str, tables: Tables, values: Mapping[str, Any], **arrays: np.ndarray) -> None:
    """Write the file of a block model."""
    stored = {"probabilities": "uint16", "expected": "int32", "offsets": "float32"}
    write_arrays(
        path, kind, values, **{name: getattr(tables, name).astype(dtype) for name, dtype in stored.items()}, **arrays
    )


_TABLE_TYPES = {"probabilities": "int64", "expected": "int64", "offsets": "float32"}


# --- compiled -----------------------------------------------------------------------------------------------------------


@kernel
def _note_activity(sums, expected, activity):
    """Fill in the activity of each block: 0 if its magnitudes fall short of what is expected, 3 if they exceed it by far."""
    height, width = sums.shape
    expected = 8 * expected + _PRIOR
    first, second, third = LIMITS[0] * expected, LIMITS[1] * expected, LIMITS[2] * expected
    for i in range(height):
        above, below = max(i - 1, 0), min(i + 1, height - 1)
        for j in range(width):
            found = 4 * sums[i, j] + sums[above, j] + sums[below, j]
            found += sums[i, max(j - 1, 0)] + sums[i, min(j + 1, width - 1)]
            found = 100 * (found + _PRIOR)
            activity[i, j] = (found > first) + (found > second) + (found > third)


@kernel
def _context(of_class, activity, quantizer):
    return ((of_class * ACTIVITIES + activity) * 2 + quantizer) * entropy.SLOTS


@kernel
def _put_channels(
    k,
    flags,
    absent,
    live,
    classes,
    order,
    expected,
    after,
    states,
    sums,
    memory,
    activity,
    probabilities,
    counts,
    decisions,
    contexts,
):
    """List the decisions of the channels `order` of one band of a tile; returns their number.

    Parameters
    ----------
    k : ndarray of int32, shape (channels, h, w)
    flags : ndarray of uint8, shape (h, w)
        See `sarlab.codec.tiles.active_flags`.
    absent : ndarray of uint8, shape (channels,)
        Flags of the blocks that do not have the channel.
    live : ndarray of bool, shape (channels,)
        Channels that are coded; all those of a class from `FLAGGED` on.
    classes, order, expected : ndarray of int64
        Class of each channel; channels to code; mean magnitude of each class in 1/256.
    after : ndarray of int64, shape (states, 2)
        Next state of the trellis, by parity; the lowest bit of a state is its quantizer.
    states, sums, memory : ndarray of int64, shapes (h, segments), (h, w), (1,)
        State of the trellis of each path, magnitudes found and expected; all change.
    probabilities, counts : ndarray of int64 (contexts, 2) and uint8 (contexts,)
        Change.
    decisions, contexts : ndarray of uint32 and int32
        Filled in; `contexts` only if it is not empty, with −1 for decisions that are not modeled.
    """
    n = 0
    for place in range(order.size):
        channel = order[place]
        of_class = classes[channel]
        if of_class < FLAGGED:
            flag = 1 if live[channel] else 0
            n = entropy.put_decision(probabilities, counts, CONTEXTS + of_class, flag, decisions, contexts, n)
            if not flag:
                continue
        _note_activity(sums, memory[0], activity)
        for i in range(k.shape[1]):
            for segment in range(states.shape[1]):
                state = states[i, segment]
                for j in range(segment * SEGMENT, min((segment + 1) * SEGMENT, k.shape[2])):
                    if not flags[i, j] & 1 or flags[i, j] & absent[channel]:
                        continue
                    value = np.int64(k[channel, i, j])
                    context = _context(of_class, activity[i, j], state & 1)
                    if value == 0:  # most often; the general way takes longer
                        n = entropy.put_decision(probabilities, counts, context, 0, decisions, contexts, n)
                    else:
                        n = entropy.put_value(probabilities, counts, context, value, decisions, contexts, n)
                    state = after[state, value & 1]
                    sums[i, j] += (abs(value) << _UNIT) - (sums[i, j] >> _MEMORY)
                states[i, segment] = state
        memory[0] += expected[of_class] - (memory[0] >> _MEMORY)
    return n


@kernel
def _get_channels(
    decoder,
    data,
    latent,
    flags,
    absent,
    classes,
    order,
    expected,
    after,
    states,
    sums,
    memory,
    activity,
    probabilities,
    counts,
):
    """Invert `_put_channels`: fill in the latent; False if the data is damaged."""
    for place in range(order.size):
        channel = order[place]
        of_class = classes[channel]
        if of_class < FLAGGED and not entropy.get_decision(decoder, data, probabilities, counts, CONTEXTS + of_class):
            continue
        _note_activity(sums, memory[0], activity)
        for i in range(flags.shape[0]):
            for segment in range(states.shape[1]):
                state = states[i, segment]
                for j in range(segment * SEGMENT, min((segment + 1) * SEGMENT, flags.shape[1])):
                    if not flags[i, j] & 1 or flags[i, j] & absent[channel]:
                        continue
                    context = _context(of_class, activity[i, j], state & 1)
                    value = entropy.get_value(decoder, data, probabilities, counts, context)
                    if value == entropy.DAMAGED:
                        return False
                    latent[channel, i, j] = 2 * value - (state & 1) * ((value > 0) - (value < 0))
                    state = after[state, value & 1]
                    sums[i, j] += (abs(value) << _UNIT) - (sums[i, j] >> _MEMORY)
                states[i, segment] = state
        memory[0] += expected[of_class] - (memory[0] >> _MEMORY)
        if decoder[2] > data.size + 8:
            return False
    return True


@kernel
def _find_activities(magnitudes, flags, absent, live, classes, order, expected, sums, activity, found):
    """Fill in the activity of the block of each coefficient, as the coder will find it if these magnitudes are coded."""
    memory = np.int64(0)
    for place in range(order.size):
        channel = order[place]
        if not live[channel]:
            continue
        _note_activity(sums, memory, activity)
        for i in range(sums.shape[0]):
            for j in range(sums.shape[1]):
                if flags[i, j] & 1 and not flags[i, j] & absent[channel]:
                    found[channel, i, j] = activity[i, j]
                    sums[i, j] += (np.int64(magnitudes[channel, i, j]) << _UNIT) - (sums[i, j] >> _MEMORY)
        memory += expected[classes[channel]] - (memory >> _MEMORY)
