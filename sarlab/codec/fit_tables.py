"""Learn the constants of a block model on training scenes: probabilities, expected magnitudes, reconstructions.

The scenes are coded at many qualities; what the coder met becomes the constants of the next round, in which the encoder also
decides by the new costs. A few rounds suffice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from sarlab.codec import entropy
from sarlab.codec.block_model import (
    ACTIVITIES,
    CLASSES,
    CONTEXTS,
    FLAGGED,
    PER_OCTAVE,
    UNIT_CLASS,
    BlockModel,
    Tables,
    fine_step,
)
from sarlab.codec.trellis import OFFSETS

ROUNDS = 4
#: Qualities at which scenes are coded, in dB: from far below to far above the useful ones.
QUALITIES = tuple(np.arange(14.0, 50.0, 2.5))
#: Decisions that the former value of a probability weighs, and share of the decisions of neighboring classes and of all activities.
_INERTIA, _FROM_NEIGHBORS, _FROM_ACTIVITIES = 2.0, 0.1, 0.02
#: Fewest coefficients for a mean of their own.
_FEWEST = 30


def initial_tables() -> Tables:
    """Tables for Gaussian coefficients, for a first round."""
    from scipy.stats import norm

    one = np.full((CLASSES, ACTIVITIES, 2, entropy.SLOTS), 0.5)
    expected = np.empty(CLASSES)
    ends = 2.0 * np.arange(400) + 1
    for of_class in range(CLASSES):
        deviation = 2 * 2 ** ((of_class + 0.5 - UNIT_CLASS) / PER_OCTAVE)
        for quantizer in range(2):
            limits = np.r_[0.0, ends - quantizer * (ends > 1) * 1.0]
            limits[1] = 1.1 - 0.5 * quantizer
            mass = np.maximum(np.diff(2 * norm.cdf(limits / deviation) - 1), 1e-12)
            tail = np.cumsum(mass[::-1])[::-1]
            one[of_class, :, quantizer, : entropy.UNARY] = tail[1 : entropy.UNARY + 1] / tail[: entropy.UNARY]
            if quantizer == 0:
                expected[of_class] = 256 * (mass * np.arange(len(mass))).sum()
    rest = np.full(CLASSES + entropy.SLOTS, 0.5)
    probabilities = np.clip(np.rint(65536 * np.r_[one.ravel(), rest]), 30, 65506).astype(np.int64)
    return Tables(probabilities, np.maximum(expected, 1).astype(np.int64), np.zeros((CLASSES, 2, OFFSETS), np.float32))


def fit_tables(
    make: Callable[[Tables], BlockModel],
    scenes: Sequence[np.ndarray],
    *,
    rounds: int = ROUNDS,
    qualities: Iterable[float] = QUALITIES,
    say: Callable[[str], None] = lambda text: None,
) -> Tables:
    """Learn the constants.

    Parameters
    ----------
    make : callable
        Makes the model with given tables.
    scenes : sequence of ndarray of float32, shape (bands, H, W)
        Normalized samples, without gaps; sides are cut to multiples of the block.
    rounds, qualities
        As above.
    say : callable
        Called with a line after each round.
    """
    tables = initial_tables()
    model, whole, latents = make(tables), (True, True, True, True), []
    for scene in scenes:
        rows, columns = (length - length % model.stride for length in scene.shape[1:])
        latents.append(model.analyze(scene[:, :rows, :columns], whole))
    for number in range(rounds):
        model, record = make(tables), _Record()
        for y in latents:
            active = np.ones((len(y), *y.shape[2:]), np.uint8)
            for quality in qualities:
                record.add(model, y, active, float(quality))
        tables = record.tables(tables)
        say(f"round {number + 1} of {rounds}: {record.bytes} bytes")
    return tables


class _Record:
    """What the coder met in one round."""

    def __init__(self) -> None:
        self.bytes = 0
        self._tally = np.zeros((Tables.SIZE, 2))
        self._magnitude, self._count = np.zeros((2, CLASSES))
        self._error, self._errors = np.zeros((2, CLASSES, 2, OFFSETS))

    def add(self, model: BlockModel, y: np.ndarray, active: np.ndarray, quality: float) -> None:
        data = model.fit_side([(y, active)], quality)
        side = model.parse_side(data, len(y))
        latent, code = model.quantize(y, active, quality, side)
        fine = fine_step(quality)
        self.bytes += len(data) + len(code)
        classes = np.stack([model.classes(quality, side, band) for band in range(len(y))])
        live = np.abs(latent).any((2, 3)) | (classes >= FLAGGED)
        for decisions in model.decisions(latent, live, active, quality, side):
            self._tally += entropy.tally(decisions, Tables.SIZE)
        size, sign = np.abs(latent[live]), np.sign(latent[live])
        quantizer, of_class = size & 1, np.broadcast_to(classes[live][:, None, None], size.shape)
        k = (size + quantizer) >> 1
        np.add.at(self._magnitude, classes[live], k.sum((1, 2)))
        np.add.at(self._count, classes[live], latent[0, 0].size)
        place = of_class, quantizer, np.clip(k, 1, OFFSETS) - 1
        # How far the values lie beyond the points without offsets, in the direction of their sign.
        beyond = (y - model.reconstruct(latent, quality, side))[live] * sign / fine + model.tables.offsets[place]
        np.add.at(self._error, tuple(index[k > 0] for index in place), beyond[k > 0])
        np.add.at(self._errors, tuple(index[k > 0] for index in place), 1)

    def tables(self, former: Tables) -> Tables:
        tally = self._tally[:CONTEXTS].reshape(CLASSES, ACTIVITIES, 2, entropy.SLOTS, 2)
        pooled = tally.copy()
        pooled[1:] += _FROM_NEIGHBORS * tally[:-1]
        pooled[:-1] += _FROM_NEIGHBORS * tally[1:]
        pooled += _FROM_ACTIVITIES * tally.sum(1, keepdims=True)
        every = np.concatenate([pooled.reshape(-1, 2), self._tally[CONTEXTS:]])
        before = former.probabilities / 65536
        one = (every[:, 1] + _INERTIA * before) / (every[:, 0] + _INERTIA)
        probabilities = np.clip(np.rint(65536 * one), 30, 65506).astype(np.int64)
        mean = 256 * self._magnitude / np.maximum(self._count, 1)
        expected = np.where(self._count > _FEWEST, np.maximum(mean, 1), former.expected).astype(np.int64)
        offsets = np.where(self._errors > _FEWEST, self._error / np.maximum(self._errors, 1), 0).astype(np.float32)
        return Tables(probabilities, expected, offsets)
