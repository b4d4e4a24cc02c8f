"""Distance between the distributions of dB values, over fixed bins.

256 equal bins span twice the clip range, centred on it; values beyond belong to the end bins. So the bins are the same
for every codec, scene and run of one polarization.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from sarlab.metrics.base import checked_clip, pair, scalar
from sarlab.metrics.catalog import define
from sarlab.metrics.comparison import Comparison, Reference

BINS = 256
#: Count added to every bin for the Kullback-Leibler divergence, which an empty bin would make infinite.
PSEUDO_COUNT = 0.5


class Histograms(NamedTuple):
    """Counts of the reference and of the test in the same bins, and the width of a bin in dB."""

    reference: np.ndarray
    test: np.ndarray
    width: float


def histogram(values: np.ndarray, clip: tuple[float, float]) -> np.ndarray:
    """Counts of dB values (1-D, no NaN) in the 256 bins that belong to `clip`."""
    low, high = checked_clip(clip)
    span = high - low
    scaled = (values - (low - span / 2)) * (BINS / (2 * span))
    return np.bincount(np.clip(scaled, 0, BINS - 1).astype(np.int64), minlength=BINS).astype(np.float64)


def histograms(reference_db: Any, test_db: Any, *, clip: tuple[float, float]) -> Histograms:
    """Histograms of two images in the same fixed bins.

    Parameters
    ----------
    reference_db, test_db : array_like, shape (height, width)
    clip : (low, high)
        In dB.
    """
    reference, test, valid = pair(reference_db, test_db)
    low, high = checked_clip(clip)
    return Histograms(
        histogram(reference[valid], (low, high)), histogram(test[valid], (low, high)), 2 * (high - low) / BINS
    )


def _divergence(p: np.ndarray, q: np.ndarray) -> float:
    inside = p > 0
    return float((p[inside] * np.log2(p[inside] / q[inside])).sum())


def _kl(counts: Histograms) -> float:
    p, q = counts.reference + PSEUDO_COUNT, counts.test + PSEUDO_COUNT
    return max(_divergence(p / p.sum(), q / q.sum()), 0.0)


def _js(counts: Histograms) -> float:
    p, q = counts.reference / counts.reference.sum(), counts.test / counts.test.sum()
    middle = (p + q) / 2
    return np.clip((_divergence(p, middle) + _divergence(q, middle)) / 2, 0, 1)


def _hellinger(counts: Histograms) -> float:
    p, q = counts.reference / counts.reference.sum(), counts.test / counts.test.sum()
    return np.sqrt(max(1 - np.sqrt(p * q).sum(), 0.0))


def _wasserstein(counts: Histograms) -> float:
    p, q = counts.reference / counts.reference.sum(), counts.test / counts.test.sum()
    return np.abs(np.cumsum(p - q)).sum() * counts.width


@scalar
def kl_divergence(reference_db: Any, test_db: Any, *, clip: tuple[float, float]) -> float:
    """Kullback-Leibler divergence of the reference's histogram from the test's, in bit; in [0, ∞).

    Half a count is added to every bin of both.

    Parameters
    ----------
    reference_db, test_db : array_like, shape (height, width)
    clip : (low, high)
        In dB; sets the bins.

    References
    ----------
    Kullback & Leibler, Ann. Math. Stat. 22(1), 1951.
    """
    return _kl(histograms(reference_db, test_db, clip=clip))


@scalar
def js_divergence(reference_db: Any, test_db: Any, *, clip: tuple[float, float]) -> float:
    """Jensen-Shannon divergence of the two histograms, in bit; in [0, 1]. Parameters as for `kl_divergence`.

    References
    ----------
    Lin, IEEE Trans. Inf. Theory 37(1), 1991.
    """
    return _js(histograms(reference_db, test_db, clip=clip))


@scalar
def hellinger(reference_db: Any, test_db: Any, *, clip: tuple[float, float]) -> float:
    """Hellinger distance √(1 − Σ√(pq)) of the two histograms; in [0, 1]. Parameters as for `kl_divergence`.

    References
    ----------
    Hellinger, J. Reine Angew. Math. 136, 1909.
    """
    return _hellinger(histograms(reference_db, test_db, clip=clip))


@scalar
def wasserstein(reference_db: Any, test_db: Any, *, clip: tuple[float, float]) -> float:
    """Wasserstein-1 distance of the two distributions in dB, from the histograms (to within a bin); in [0, ∞).

    Parameters as for `kl_divergence`.

    References
    ----------
    Villani, Optimal Transport, 2009, ch. 6.
    """
    return _wasserstein(histograms(reference_db, test_db, clip=clip))


def scene_histogram(reference: Reference) -> np.ndarray:
    """Histogram of a scene. For `Reference.once`."""
    return histogram(reference.db[reference.valid], reference.clip)


def case_histograms(case: Comparison) -> Histograms:
    """Histograms of a comparison. For `Comparison.once`."""
    low, high = case.clip
    return Histograms(
        case.reference.once(scene_histogram), histogram(case.test_db[case.valid], case.clip), 2 * (high - low) / BINS
    )


def _distance(case: Comparison, function: Callable[[Histograms], float]) -> float:
    return function(case.once(case_histograms))


for _name, _label, _unit, _top, _source, _function in (
    ("kl_divergence", "Kullback-Leibler divergence", "bit", np.inf, "Kullback & Leibler 1951", _kl),
    ("js_divergence", "Jensen-Shannon divergence", "bit", 1, "Lin 1991", _js),
    ("hellinger", "Hellinger distance", "1", 1, "Hellinger 1909", _hellinger),
    ("wasserstein_db", "Wasserstein-1 distance", "dB", np.inf, "Villani 2009", _wasserstein),
):
    define(
        _name,
        label=_label,
        unit=_unit,
        better="lower",
        domain="dB of intensity, 256 bins over twice the clip range",
        valid_range=(0, _top),
        source=_source,
        group="distribution",
    )(partial(_distance, function=_function))
