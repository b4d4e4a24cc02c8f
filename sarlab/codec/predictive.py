"""The predictive codec: lossless coding of integers, and coding with a bound on the error of every sample.

Samples lie on a grid: the integers of the product itself, or multiples of twice the bound in dB. Each is predicted from twelve
neighbors above and to the left, by weights that follow the errors (a normalized LMS filter in integer arithmetic). The
difference is coded like the magnitudes of the lapped codec, in a context that follows from the errors of its neighbors. There is
no transform, so the error of a sample is that of rounding to the grid, whatever the decoder.

Quality Q stands for a bound of 10^((64 − Q)/20) dB; quality 0 for whole numbers.

References
----------
Widrow & Hoff 1960 (LMS); Wu & Memon 1997 (contexts of errors).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sarlab.codec import entropy
from sarlab.codec.goals import Goal
from sarlab.codec.levels import WIDTH
from sarlab.codec.tiles import Borders, TileModel
from sarlab.errors import BitstreamError, CodecError
from sarlab.models.compiled import kernel

#: Quality of whole numbers.
LOSSLESS = 0.0
#: Smallest and largest bound in dB.
LEAST_BOUND, LARGEST_BOUND = 0.001, 100.0
#: Part of the bound in dB that is left to the rounding of floats.
MARGIN = 2e-5
#: Contexts by the errors of the neighbors: four for each doubling.
ENERGIES = 64
SIZE = ENERGIES * entropy.SLOTS
#: Largest magnitude of a sample on its grid.
LARGEST = 1 << 28
#: Decisions that the start of a probability is worth.
CONFIDENCE = 20
#: Neighbors (rows above, columns to the right) that predict a sample, and the weights before anything is known, in 1/2¹⁶.
_NEIGHBORS = np.array(
    [(0, -1), (1, 0), (1, -1), (1, 1), (0, -2), (2, 0), (2, 1), (1, 2), (0, -3), (1, -2), (2, -1), (3, 0)], np.int64
)
_FIRST_WEIGHTS = np.array([39322, 39322, -13107, 0, 0, 0, 0, 0, 0, 0, 0, 0], np.int64)
#: Step of the filter: an error changes the weights by 1/2^`_STEP` of what would cancel it. Largest weight.
_STEP, _WEIGHT_LIMIT = 5, 1 << 18


def exact_quality(goal: Goal) -> Goal:
    """The quality that stands for a largest error in dB, or for no loss."""
    if goal.kind == "lossless":
        return Goal("quality", LOSSLESS)
    if not LEAST_BOUND <= goal.value <= LARGEST_BOUND:
        raise CodecError(f"a largest error of {goal.value:g} dB is outside [{LEAST_BOUND:g}, {LARGEST_BOUND:g}] dB")
    return Goal("quality", math.ceil(256 * (64 - 20 * math.log10(goal.value))) / 256)


class PredictiveModel(TileModel):
    """The predictive codec; `probabilities` are the starts of those that a decision is 1, in 1/65536: int64, (contexts,)."""

    channels, stride, analysis_reach, synthesis_reach = 1, 1, 0, 0
    lowest, highest = 0.0, 64 - 20 * math.log10(LEAST_BOUND) + 0.01

    def __init__(self, probabilities: np.ndarray, *, name: str, content_hash: bytes):
        self.probabilities, self.name, self.hash = probabilities, name, content_hash

    @staticmethod
    def step(quality: float) -> float:
        """Distance of the grid in normalized units."""
        return 1.0 if quality == LOSSLESS else 2 * (10 ** ((64 - quality) / 20) - MARGIN) / WIDTH

    def analyze(self, x: np.ndarray, borders: Borders) -> np.ndarray:
        return x[:, None]

    def quantize(self, y: np.ndarray, active: np.ndarray, quality: float, side: None) -> tuple[np.ndarray, bytes]:
        # In double precision: half a step more would break the bound.
        on_grid = np.rint(y.astype(np.float64) / self.step(quality))
        if np.abs(on_grid).max(initial=0) >= LARGEST:
            raise CodecError("the samples are too far apart for so small an error")
        latent = (on_grid * (active[:, None] & 1)).astype(np.int32)
        streams = [entropy.pack(self._decisions(plane[0], flags)) for plane, flags in zip(latent, active, strict=True)]
        return latent, entropy.join(streams)

    def _decisions(self, plane: np.ndarray, flags: np.ndarray) -> np.ndarray:
        # Differences have few digits more than the range of the samples.
        span = int(plane.max(initial=0)) - int(plane.min(initial=0))
        room = entropy.room(plane.size, 64 * span + 64)
        coder = entropy.encoder(entropy.contexts(self.probabilities, CONFIDENCE), room)
        self._code(coder, plane.astype(np.int64), flags)
        return entropy.listed(coder)

    def decode(self, data: bytes, active: np.ndarray, quality: float, side: None, low: bool = False) -> np.ndarray:
        latent = np.zeros((len(active), 1, *active.shape[1:]), np.int32)
        for own, flags, stream in zip(latent[:, 0], active, entropy.split(data, len(active)), strict=True):
            coder = entropy.decoder(entropy.contexts(self.probabilities, CONFIDENCE), stream)
            plane = np.zeros(flags.shape, np.int64)
            if not self._code(coder, plane, flags):
                raise BitstreamError("the entropy-coded data is damaged")
            own[:] = plane * (flags & 1)
        return latent

    @staticmethod
    def _code(coder: entropy.Coder, plane: np.ndarray, flags: np.ndarray) -> bool:
        errors, features = np.zeros((2, plane.shape[1] + 4), np.int64), np.zeros(len(_NEIGHBORS), np.int64)
        return bool(_code_plane(coder, plane, flags, errors, _FIRST_WEIGHTS.copy(), features))

    def synthesize(self, latent: np.ndarray, quality: float, side: None, borders: Borders) -> np.ndarray:
        return (latent[:, 0] * self.step(quality)).astype(np.float32)


def fit_start(scenes: Sequence[np.ndarray], bounds: Sequence[float]) -> np.ndarray:
    """Learn the start of the probabilities on normalized scenes, (bands, H, W), at several bounds in dB."""
    model = PredictiveModel(np.full(SIZE, entropy.EVEN), name="", content_hash=b"")
    tally = np.zeros((SIZE, 2))
    for scene in scenes:
        for band in scene:
            for bound in bounds:
                plane = np.rint(band / (2 * bound / WIDTH)).astype(np.int64)
                tally += entropy.tally(model._decisions(plane, np.ones(plane.shape, np.uint8)), SIZE)
    return np.clip(np.rint(65536 * (tally[:, 1] + 0.5) / (tally[:, 0] + 1)), 30, 65506).astype(np.int64)


# --- compiled ----------------------------------------------------------------------------------------------------------


@kernel
def _sample(x, i, j, other):
    """The sample at (i, j), or `other` outside the tile."""
    return other if i < 0 or j < 0 or j >= x.shape[1] else x[i, j]


@kernel
def _predict(x, i, j, weights, features):
    """Prediction of a sample; fills in what the weights apply to."""
    nearest = x[i - 1, j] if i > 0 else x[i, j - 1] if j > 0 else 0
    left, above = _sample(x, i, j - 1, nearest), _sample(x, i - 1, j, nearest)
    mean, total = (left + above) >> 1, np.int64(0)
    for n in range(len(_NEIGHBORS)):
        features[n] = _sample(x, i - _NEIGHBORS[n, 0], j + _NEIGHBORS[n, 1], mean) - mean
        total += weights[n] * features[n]
    low, high = min(left, above), max(left, above)
    span = 2 * (high - low) + 16  # far outside its neighbors a prediction is of no use
    return min(max(mean + ((total + 32768) >> 16), low - span), high + span)


@kernel
def _follow(weights, features, error):
    """Move the weights so that they would have predicted better."""
    energy = np.int64(1)
    for n in range(len(features)):
        energy += features[n] * features[n]
    for n in range(len(features)):
        change = ((error * features[n]) << (16 - _STEP)) // energy
        weights[n] = min(max(weights[n] + change, -_WEIGHT_LIMIT), _WEIGHT_LIMIT)


@kernel
def _energy(errors, i, j):
    """Context of a sample from the magnitudes of the errors of its neighbors; rows of `errors` alternate."""
    here, above = i & 1, 1 - (i & 1)
    energy = 2 * errors[here, j + 1] + 2 * errors[above, j + 2] + errors[above, j + 1] + errors[above, j + 3]
    energy += errors[here, j]
    if energy < 16:
        return energy >> 2
    octave = 0
    while energy > 15:
        energy >>= 1
        octave += 1
    return min(4 * octave + ((energy - 8) >> 1), ENERGIES - 1)


@kernel
def _code_plane(coder, x, active, errors, weights, features):
    """Code the active samples of a band, int64 (H, W) below `LARGEST`, in either direction; False if the data are damaged."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            predicted = _predict(x, i, j, weights, features)
            if not active[i, j] & 1:
                # Between its neighbors, so that nothing grows across gaps.
                left, above = _sample(x, i, j - 1, 0), _sample(x, i - 1, j, 0)
                x[i, j] = above if j == 0 else left if i == 0 else (left + above) >> 1
                errors[i & 1, j + 2] = errors[i & 1, j + 1]
                continue
            error = entropy.code_value(coder, _energy(errors, i, j) * entropy.SLOTS, x[i, j] - predicted)
            x[i, j] = predicted + error
            if abs(x[i, j]) > LARGEST:
                return False
            errors[i & 1, j + 2] = 2 * min(abs(error), 1 << 24)
            _follow(weights, features, error)
        if entropy.overrun(coder):
            return False
    return True
