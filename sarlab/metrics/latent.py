"""What a latent carries: plug-in entropies, usage of its levels, dead channels, effective rank.

For a *fixed-length* code a full histogram is good: every level earns its bits. For an *entropy-coded* latent it is not:
there low entropy is what the training is for. Say so wherever these numbers are shown.

Symbols are integers of shape (channels, height, width), or (images, channels, height, width) pooled over images.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sarlab.errors import MetricError
from sarlab.metrics.base import UndefinedMetric, scalar

#: A joint entropy of more distinct vectors than this share of the samples says nothing but how few they are.
MOST_DISTINCT = 0.25


def _channels(latent: Any, *, integer: bool) -> np.ndarray:
    """(channels, images, height, width)."""
    values = np.asarray(latent)
    if values.ndim == 3:
        values = values[None]
    if values.ndim != 4 or values.size == 0:
        raise MetricError(
            f"a latent must be (channels, height, width) or (images, channels, height, width), not {values.shape}"
        )
    if integer and values.dtype.kind not in "iu":
        if not np.array_equal(values, np.rint(values)):
            raise MetricError("symbols must be integers; quantize the latent first")
        values = np.rint(values).astype(np.int64)
    return np.moveaxis(values, 1, 0)


def entropy_of_counts(counts: np.ndarray, *, corrected: bool = True) -> float:
    """Entropy in bit of a histogram: plug-in, with the Miller-Madow correction + (K − 1) / (2N ln 2).

    Parameters
    ----------
    counts : ndarray of int
        K of them above zero, N in all.
    corrected : bool

    References
    ----------
    Miller, Information Theory in Psychology, 1955; Paninski, Neural Computation 15(6), 2003.
    """
    counts = np.asarray(counts, np.float64).ravel()
    counts = counts[counts > 0]
    total = counts.sum()
    if total <= 0:
        raise UndefinedMetric("no symbol was counted")
    share = counts / total
    entropy = max(float(-(share * np.log2(share)).sum()), 0.0)
    return entropy + ((counts.size - 1) / (2 * total * np.log(2)) if corrected else 0.0)


def _entropy(symbols: np.ndarray, corrected: bool) -> float:
    return entropy_of_counts(np.unique(symbols, return_counts=True)[1], corrected=corrected)


def channel_entropies(symbols: Any, *, corrected: bool = True) -> np.ndarray:
    """Entropy of each channel in bit per symbol: shape (channels,), each in [0, log2 of its samples].

    Parameters
    ----------
    symbols : array_like of int
    corrected : bool
        Miller-Madow correction for few samples.
    """
    return np.array([_entropy(channel, corrected) for channel in _channels(symbols, integer=True)])


@scalar
def joint_entropy(symbols: Any, *, corrected: bool = True) -> float:
    """Entropy in bit of the vector of all channels at one place; at most the sum of `channel_entropies`.

    Undefined where over a quarter of the vectors are distinct: then the estimate counts samples, not entropy. Pass a few
    channels at a time.

    Parameters
    ----------
    symbols : array_like of int, shape (channels, height, width) or (images, channels, height, width)
    corrected : bool
        Miller-Madow correction for few samples.
    """
    channels = _channels(symbols, integer=True)
    vectors = channels.reshape(channels.shape[0], -1).T
    _, counts = np.unique(vectors, axis=0, return_counts=True)
    if counts.size > max(MOST_DISTINCT * len(vectors), 1):
        raise UndefinedMetric(
            f"{counts.size} of {len(vectors)} vectors are distinct: too few samples for {len(channels)} channels"
        )
    return entropy_of_counts(counts, corrected=corrected)


@scalar
def pooled_entropy(symbols: Any, *, corrected: bool = True) -> float:
    """Entropy in bit per symbol of the histogram of all channels together: what one table for all would cost.

    Parameters
    ----------
    symbols : array_like of int, shape (channels, height, width) or (images, channels, height, width)
    corrected : bool
        Miller-Madow correction for few samples.
    """
    return _entropy(_channels(symbols, integer=True), corrected)


def level_usage(symbols: Any, levels: int) -> np.ndarray:
    """Share of the `levels` that each channel uses: shape (channels,), in (0, 1].

    Parameters
    ----------
    symbols : array_like of int, shape (channels, height, width) or (images, channels, height, width)
    levels : int
        Of the quantizer.
    """
    if levels < 1:
        raise MetricError(f"levels must be at least 1, not {levels}")
    used = np.array([np.unique(channel).size for channel in _channels(symbols, integer=True)])
    if used.max() > levels:
        raise MetricError(f"a channel has {used.max()} different symbols, more than {levels} levels")
    return used / levels


def dead_channels(latent: Any, *, relative: float = 1e-3) -> np.ndarray:
    """Which channels carry nothing: standard deviation at most `relative` times the largest. Bool, shape (channels,).

    Parameters
    ----------
    latent : array_like
        Symbols or real values. If nothing varies, all channels are dead.
    """
    spread = _channels(latent, integer=False).astype(np.float64).std(axis=(1, 2, 3))
    return (spread <= relative * spread.max()) | (spread == 0)


@scalar
def effective_rank(latent: Any) -> float:
    """Number of channels that count: exp of the entropy of the normalized eigenvalues of their covariance.

    Parameters
    ----------
    latent : array_like
        Real values or symbols, more than one place.

    Returns
    -------
    float
        In [1, channels]; the number of channels where they are uncorrelated and of equal variance.

    References
    ----------
    Roy & Vetterli, EUSIPCO 2007.
    """
    channels = _channels(latent, integer=False).astype(np.float64)
    flat = channels.reshape(channels.shape[0], -1)
    if flat.shape[1] < 2:
        raise UndefinedMetric("one place has no covariance")
    values = np.maximum(np.linalg.eigvalsh(np.atleast_2d(np.cov(flat))), 0)
    if values.sum() <= 0:
        raise UndefinedMetric("no channel varies")
    share = values / values.sum()
    share = share[share > 1e-15]
    return np.exp(-(share * np.log(share)).sum())


@scalar
def spatial_entropy_rate(symbols: Any, *, corrected: bool = True) -> float:
    """Entropy in bit per symbol given the left neighbor, mean over channels: H(left, here) − H(left).

    What is left after a first-order context; the gap to the mean of `channel_entropies` is what such a context saves.
    Undefined in a latent one column wide, and where pairs are too many for the samples.

    Parameters
    ----------
    symbols : array_like of int, shape (channels, height, width) or (images, channels, height, width)
    corrected : bool
        Miller-Madow correction for few samples.
    """
    rates = []
    for channel in _channels(symbols, integer=True):
        if channel.shape[-1] < 2:
            raise UndefinedMetric("a latent one column wide has no left neighbors")
        _, index = np.unique(channel, return_inverse=True)
        index = index.reshape(channel.shape)
        left, here = index[..., :-1].ravel(), index[..., 1:].ravel()
        kinds = int(index.max()) + 1
        pairs = np.unique(left * kinds + here, return_counts=True)[1]
        if pairs.size > max(MOST_DISTINCT * left.size, 1):
            raise UndefinedMetric(
                f"{pairs.size} of {left.size} pairs are distinct: too few samples for an entropy rate"
            )
        alone = np.bincount(left)
        rates.append(entropy_of_counts(pairs, corrected=corrected) - entropy_of_counts(alone, corrected=corrected))
    return max(float(np.mean(rates)), 0.0)
