"""The predictive codec: lossless coding of integers, and coding with a bound on the error of every sample.

Samples lie on a grid: the integers of the product itself, or multiples of twice the bound in dB. Each is predicted from twelve
neighbors above and to the left, by weights that follow the errors (a normalized LMS filter with integers only). The
difference is coded like the magnitudes of the lapped codec, in a context that follows from the errors of its neighbors. There is
no transform, so the error of a sample is that of rounding to the grid, whatever the decoder.
"""

from __future__ import annotations

import numpy as np

from sarlab.codec import entropy
from sarlab.codec.compiled import compiled

KIND = "predictive"
#: Contexts by the errors of the neighbors: four for each doubling.
ENERGIES = 64
#: Neighbors (rows above, columns to the right) that predict a sample, and the weights before anything is known, in 1/2¹⁶.
_NEIGHBORS = np.array(
    [(0, -1), (1, 0), (1, -1), (1, 1), (0, -2), (2, 0), (2, 1), (1, 2), (0, -3), (1, -2), (2, -1), (3, 0)], np.int64
)
_FIRST_WEIGHTS = np.array([39322, 39322, -13107, 0, 0, 0, 0, 0, 0, 0, 0, 0], np.int64)
#: Step of the filter: an error changes the weights by 1/2^`_STEP` of what would cancel it.
_STEP, _WEIGHT_LIMIT = 5, 1 << 18
#: Largest magnitude of a sample on its grid.
LARGEST = 1 << 28


@compiled
def _sample(x, i, j, other):
    """The sample at (i, j), or `other` outside the tile."""
    if i < 0 or j < 0 or j >= x.shape[1]:
        return other
    return x[i, j]


@compiled
def _predict(x, i, j, weights, features):
    """Prediction of a sample; fills in what the weights apply to."""
    if i == 0 and j == 0:
        features[:] = 0
        return np.int64(0)
    nearest = x[i - 1, j] if i > 0 else x[i, j - 1]
    left, above = _sample(x, i, j - 1, nearest), _sample(x, i - 1, j, nearest)
    mean = (left + above) >> 1
    total = np.int64(0)
    for n in range(len(_NEIGHBORS)):
        features[n] = _sample(x, i - _NEIGHBORS[n, 0], j + _NEIGHBORS[n, 1], mean) - mean
        total += weights[n] * features[n]
    return mean + ((total + 32768) >> 16)


@compiled
def _follow(weights, features, error):
    """Move the weights so that they would have predicted better."""
    energy = np.int64(1)
    for n in range(len(features)):
        energy += features[n] * features[n]
    for n in range(len(features)):
        change = ((error * features[n]) << (16 - _STEP)) // energy
        weights[n] = min(max(weights[n] + change, -_WEIGHT_LIMIT), _WEIGHT_LIMIT)


@compiled
def _energy(errors, i, j):
    """Context of a sample from the magnitudes of the errors of its neighbors; rows of `errors` alternate."""
    here, above = errors[i & 1], errors[1 - (i & 1)]
    energy = 2 * here[j + 1] + 2 * above[j + 2] + above[j + 1] + above[j + 3] + here[j]
    if energy < 16:
        return energy >> 2
    octave = 0
    while energy > 15:
        energy >>= 1
        octave += 1
    return min(4 * octave + ((energy - 8) >> 1), ENERGIES - 1)


@compiled
def put_plane(x, active, probabilities, counts, decisions):
    """List the decisions of the active samples of a band: int64 (H, W) below `LARGEST`; returns their number."""
    errors, contexts = np.zeros((2, x.shape[1] + 4), np.int64), np.empty(0, np.int32)
    weights, features = _FIRST_WEIGHTS.copy(), np.zeros(len(_NEIGHBORS), np.int64)
    n = 0
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            predicted = _predict(x, i, j, weights, features)
            if not active[i, j]:
                x[i, j] = min(max(predicted, -LARGEST), LARGEST)
                errors[i & 1, j + 2] = errors[i & 1, j + 1]
                continue
            error = x[i, j] - predicted
            n = entropy.put_value(
                probabilities, counts, _energy(errors, i, j) * entropy.SLOTS, error, decisions, contexts, n
            )
            errors[i & 1, j + 2] = 2 * min(abs(error), 1 << 24)
            _follow(weights, features, error)
    return n


@compiled
def get_plane(data, active, probabilities, counts, x):
    """Invert `put_plane`; False if the data is damaged."""
    decoder = entropy.open_decoder(data)
    errors = np.zeros((2, x.shape[1] + 4), np.int64)
    weights, features = _FIRST_WEIGHTS.copy(), np.zeros(len(_NEIGHBORS), np.int64)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            predicted = _predict(x, i, j, weights, features)
            if not active[i, j]:
                x[i, j] = min(max(predicted, -LARGEST), LARGEST)
                errors[i & 1, j + 2] = errors[i & 1, j + 1]
                continue
            error = entropy.get_value(decoder, data, probabilities, counts, _energy(errors, i, j) * entropy.SLOTS)
            x[i, j] = predicted + error
            if abs(x[i, j]) > LARGEST:
                return False
            errors[i & 1, j + 2] = 2 * min(abs(error), 1 << 24)
            _follow(weights, features, error)
        if decoder[2] > data.size + 8:
            return False
    return True
