"""Entropy of latents and of scenes, and distances between the histograms of two images.

Latents: for a *fixed-length* code a full histogram is good, since every level earns its bits. For an *entropy-coded*
latent it is not, since training aims at low entropy. Say which applies wherever these numbers are shown.

Scenes: the entropy of samples depends on their step. State it: native integers where the product has them, else dB.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from sarlab.errors import MetricError
from sarlab.metrics.columns import Comparison, Image, UndefinedMetric, define, once, raster, require_finite, scalar

#: Largest share of distinct vectors for a joint entropy; above it, the estimate only counts samples.
MOST_DISTINCT = 0.25
#: Bins of a histogram of dB values: they span twice the clip range, centered on it, and the end bins take the rest.
BINS = 256
#: Count added to every bin for the Kullback-Leibler divergence, which an empty bin would make infinite.
PSEUDO_COUNT = 0.5


def entropy_of_counts(counts: np.ndarray) -> float:
    """Plug-in entropy of a histogram in bits, plus the Miller-Madow correction (K − 1) / (2N ln 2).

    K of the `counts` are above zero, N is their sum. The correction matters for few samples.

    References: Miller, Information Theory in Psychology, 1955; Paninski, Neural Computation 15(6), 2003.
    """
    counts = np.asarray(counts, np.float64).ravel()
    counts = counts[counts > 0]
    total = counts.sum()
    if total <= 0:
        raise UndefinedMetric("no symbol was counted")
    share = counts / total
    entropy = max(float(-(share * np.log2(share)).sum()), 0.0)
    return entropy + (counts.size - 1) / (2 * total * np.log(2))


def _entropy(symbols: np.ndarray) -> float:
    return entropy_of_counts(np.unique(symbols, return_counts=True)[1])


def _channels(latent: Any, *, integer: bool) -> np.ndarray:
    """Latent as (channels, images, height, width)."""
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


def channel_entropies(symbols: Any) -> np.ndarray:
    """Entropy of each channel of a latent in bits per symbol: shape (channels,).

    `symbols` are integers of shape (channels, height, width) or (images, channels, height, width); images are pooled. The
    other functions of latents take the same.
    """
    return np.array([_entropy(channel) for channel in _channels(symbols, integer=True)])


@scalar
def joint_entropy(symbols: Any) -> float:
    """Entropy in bits of the vector of all channels at one position; at most the sum of `channel_entropies`.

    Undefined if more than a quarter of the vectors are distinct: pass a few channels at a time.
    """
    channels = _channels(symbols, integer=True)
    vectors = channels.reshape(channels.shape[0], -1).T
    _, counts = np.unique(vectors, axis=0, return_counts=True)
    if counts.size > max(MOST_DISTINCT * len(vectors), 1):
        raise UndefinedMetric(
            f"{counts.size} of {len(vectors)} vectors are distinct: too few samples for {len(channels)} channels"
        )
    return entropy_of_counts(counts)


@scalar
def pooled_entropy(symbols: Any) -> float:
    """Entropy in bits per symbol of all channels together: the cost of coding them with one table."""
    return _entropy(_channels(symbols, integer=True))


@scalar
def spatial_entropy_rate(symbols: Any) -> float:
    """Entropy in bits per symbol given the left neighbor, mean over channels: H(left, here) − H(left).

    Its gap to the mean of `channel_entropies` is what a first-order context saves. Undefined in a latent one column
    wide, and if more than a quarter of the pairs are distinct.
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
        rates.append(entropy_of_counts(pairs) - entropy_of_counts(alone))
    return max(float(np.mean(rates)), 0.0)


def level_usage(symbols: Any, levels: int) -> np.ndarray:
    """Share of the `levels` of a quantizer that each channel uses: shape (channels,), in (0, 1]."""
    if levels < 1:
        raise MetricError(f"levels must be at least 1, not {levels}")
    used = np.array([np.unique(channel).size for channel in _channels(symbols, integer=True)])
    if used.max() > levels:
        raise MetricError(f"a channel has {used.max()} different symbols, more than {levels} levels")
    return used / levels


def dead_channels(latent: Any) -> np.ndarray:
    """Mask of channels that carry nothing, shape (channels,): standard deviation at most 0.001 times the largest.

    `latent` holds symbols or real values. If nothing varies, all channels are dead.
    """
    spread = _channels(latent, integer=False).astype(np.float64).std(axis=(1, 2, 3))
    return (spread <= 1e-3 * spread.max()) | (spread == 0)


@scalar
def effective_rank(latent: Any) -> float:
    """Effective number of channels: exp of the entropy of the normalized eigenvalues of their covariance.

    `latent` holds symbols or real values. The result is in [1, channels], and the number of channels if they are
    uncorrelated and of equal variance.

    References: Roy & Vetterli, EUSIPCO 2007.
    """
    channels = _channels(latent, integer=False).astype(np.float64)
    flat = channels.reshape(channels.shape[0], -1)
    if flat.shape[1] < 2:
        raise UndefinedMetric("a covariance needs more than one position")
    values = np.maximum(np.linalg.eigvalsh(np.atleast_2d(np.cov(flat))), 0)
    if values.sum() <= 0:
        raise UndefinedMetric("no channel varies")
    share = values / values.sum()
    share = share[share > 1e-15]
    return np.exp(-(share * np.log(share)).sum())


def quantize_db(db: Any, *, step_db: float) -> np.ndarray:
    """Quantize dB values to integers, ``round(db / step_db)`` less its smallest value; shape (height, width), int64.

    Nodata becomes 0 and, where there is any, all other values start at 1: the raster can be coded losslessly as a whole.
    """
    if not step_db > 0:
        raise MetricError(f"step_db must be positive, not {step_db!r}")
    values = raster(db)
    valid = ~np.isnan(values)
    if not valid.any():
        raise UndefinedMetric("the reference has no valid sample")
    require_finite(values)
    levels = np.rint(values[valid] / step_db).astype(np.int64)
    result = np.zeros(values.shape, np.int64)
    result[valid] = levels - levels.min() + (0 if valid.all() else 1)
    return result


@scalar
def zeroth_order_entropy(samples: Any) -> float:
    """Entropy in bits per sample of the histogram of an integer raster at its native depth.

    No code that treats samples one by one does better; one that uses neighbors may.

    Samples are digital numbers of the product (uint16 of Sentinel-1 GRD, uint8 of optical tiles). The Miller-Madow
    correction matters: a sixteen-bit alphabet is large for one scene.
    """
    values = np.asarray(samples)
    if values.dtype.kind not in "iu":
        raise MetricError("zeroth-order entropy needs integers: pass native samples, or quantize_db(…, step_db=…)")
    if values.size == 0:
        raise UndefinedMetric("there is no sample")
    return _entropy(values)


@scalar
def lossless_bpp(samples: Any, encode: Callable[[np.ndarray], bytes]) -> float:
    """Bits per sample of a lossless file of an integer raster.

    `encode` makes the bytes of the whole file (JPEG-LS, reversible JPEG 2000 …) from `samples`, which it gets as uint8 if
    that holds them, else as uint16.
    """
    values = np.asarray(samples)
    if values.dtype.kind not in "iu" or values.ndim != 2 or values.size == 0:
        raise MetricError("lossless_bpp needs a two-dimensional raster of integers that is not empty")
    if values.min() < 0 or values.max() > 65535:
        raise MetricError(f"samples must lie in 0…65535, not {values.min()}…{values.max()}")
    native = values.astype(np.uint8 if values.max() < 256 else np.uint16)
    return 8 * len(encode(native)) / values.size


@once
def histogram(image: Image, clip: tuple[float, float]) -> np.ndarray:
    """Counts of dB values in 256 bins over twice the clip range: the same bins for every codec and scene."""
    low, high = clip
    span = high - low
    scaled = (image.db[image.valid] - (low - span / 2)) * (BINS / (2 * span))
    return np.bincount(np.clip(scaled, 0, BINS - 1).astype(np.int64), minlength=BINS).astype(np.float64)


def _shares(case: Comparison, pseudo_count: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Shares of the bins in reference and reconstruction."""
    p, q = (histogram(image, case.clip) + pseudo_count for image in (case.reference, case))
    return p / p.sum(), q / q.sum()


def _divergence(p: np.ndarray, q: np.ndarray) -> float:
    inside = p > 0
    return float((p[inside] * np.log2(p[inside] / q[inside])).sum())


_distance = partial(
    define, better="lower", domain="dB of intensity, 256 bins over twice the clip range", group="distribution"
)


@_distance("kl_divergence", "Kullback-Leibler divergence", "bit", source="Kullback & Leibler 1951")
def kl_divergence(case: Comparison) -> float:
    """Kullback-Leibler divergence of the reference's histogram from the reconstruction's, in bits.

    Half a count is added to every bin of both.
    """
    return max(_divergence(*_shares(case, PSEUDO_COUNT)), 0.0)


@_distance("js_divergence", "Jensen-Shannon divergence", "bit", valid_range=(0, 1), source="Lin 1991")
def js_divergence(case: Comparison) -> float:
    """Jensen-Shannon divergence of the two histograms, in bits."""
    p, q = _shares(case)
    middle = (p + q) / 2
    return np.clip((_divergence(p, middle) + _divergence(q, middle)) / 2, 0, 1)


@_distance("hellinger", "Hellinger distance", "1", valid_range=(0, 1), source="Hellinger 1909")
def hellinger(case: Comparison) -> float:
    """Hellinger distance √(1 − Σ√(pq)) of the two histograms."""
    p, q = _shares(case)
    return np.sqrt(max(1 - np.sqrt(p * q).sum(), 0.0))


@_distance("wasserstein_db", "Wasserstein-1 distance", "dB", source="Villani 2009")
def wasserstein_db(case: Comparison) -> float:
    """Wasserstein-1 distance of the two distributions in dB, from the histograms (to within a bin)."""
    p, q = _shares(case)
    low, high = case.clip
    return np.abs(np.cumsum(p - q)).sum() * (2 * (high - low) / BINS)
