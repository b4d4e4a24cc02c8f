"""The ratio image I / Î, to be read as a despeckling test only.

A linear-mean estimate of the reflectivity leaves pure speckle: mean 1, variance 1/L. An output that minimizes the squared
error in dB has mean L·e^(−ψ(L)) (1.78 at L = 1, 1.125 at 4.4). Against the recorded image the variance goes to 0 with
rate: then the ratio says nothing but how close the copy is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sarlab.metrics.base import UndefinedMetric, pair, scalar, to_intensity
from sarlab.metrics.catalog import define
from sarlab.metrics.comparison import Comparison, Window
from sarlab.metrics.looks import scene_windows
from sarlab.metrics.spectrum import spectral_flatness, welch_spectrum
from sarlab.metrics.windows import given_or_found, window_looks

#: Gray levels of the co-occurrence matrix, over ratios from 0 to `GRAY_TOP`.
GRAY_LEVELS, GRAY_TOP = 32, 4.0


def ratio_image(reference_db: Any, test_db: Any) -> np.ndarray:
    """I / Î of linear intensity, shape (height, width); NaN where there is no sample or Î is zero.

    Parameters
    ----------
    reference_db, test_db : array_like, shape (height, width)
        Intensity in dB; NaN = nodata.
    """
    reference, test, valid = pair(reference_db, test_db)
    return _ratio(reference, test, valid)


def _ratio(reference: np.ndarray, test: np.ndarray, valid: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        ratio = to_intensity(reference - test)
    ratio = np.where(valid & np.isfinite(ratio), ratio, np.nan)
    if np.isnan(ratio).all():
        raise UndefinedMetric("the reconstruction is zero everywhere")
    return ratio


@scalar
def ratio_mean(reference_db: Any, test_db: Any) -> float:
    """Mean of the ratio image I / Î over all valid samples; in (0, ∞).

    Parameters
    ----------
    reference_db, test_db : array_like, shape (height, width)
        Intensity in dB; NaN = nodata.
    """
    return np.nanmean(ratio_image(reference_db, test_db))


@scalar
def ratio_variance(reference_db: Any, test_db: Any) -> float:
    """Variance of the ratio image I / Î over all valid samples; in [0, ∞).

    Parameters
    ----------
    reference_db, test_db : array_like, shape (height, width)
        Intensity in dB; NaN = nodata.
    """
    return np.nanvar(ratio_image(reference_db, test_db))


@scalar
def ratio_whiteness(reference_db: Any, test_db: Any) -> float:
    """Spectral flatness of the ratio image I / Î; in [0, 1], 1 = white. Correlated speckle is not white itself.

    Parameters
    ----------
    reference_db, test_db : array_like, shape (height, width)
        Intensity in dB; NaN = nodata.
    """
    return spectral_flatness(welch_spectrum(ratio_image(reference_db, test_db)))


def homogeneity(levels: np.ndarray, valid: np.ndarray) -> float:
    """Homogeneity Σ p(i, j) / (1 + (i − j)²) of the co-occurrence of right and lower neighbors; in (0, 1].

    Parameters
    ----------
    levels : ndarray of int, shape (height, width)
    valid : ndarray of bool, shape (height, width)

    References
    ----------
    Haralick, Shanmugam & Dinstein, IEEE Trans. Syst. Man Cybern. 3(6), 1973 (inverse difference moment).
    """
    total, count = 0.0, 0
    for axis in (0, 1):
        first = tuple(slice(None, -1) if a == axis else slice(None) for a in (0, 1))
        second = tuple(slice(1, None) if a == axis else slice(None) for a in (0, 1))
        both = valid[first] & valid[second]
        difference = (levels[second] - levels[first])[both]
        total += float((1 / (1.0 + difference.astype(np.float64) ** 2)).sum())
        count += difference.size
    if not count:
        raise UndefinedMetric("no two valid neighbors")
    return total / count


def shuffled_homogeneity(levels: np.ndarray) -> float:
    """Mean homogeneity of all random orders of the samples: that of independent neighbors of the same histogram."""
    share = np.bincount(levels.ravel()) / levels.size
    gray = np.arange(len(share))
    return float(share @ (1 / (1.0 + (gray[:, None] - gray) ** 2)) @ share)


def structure_percent(ratio: np.ndarray) -> float:
    """Structure left in a ratio image: 100·|h₀ − h̄| / h₀, h₀ its homogeneity, h̄ that of shuffled samples; percent."""
    valid = ~np.isnan(ratio)
    levels = np.zeros(ratio.shape, np.int64)
    levels[valid] = np.clip(ratio[valid] * (GRAY_LEVELS / GRAY_TOP), 0, GRAY_LEVELS - 1).astype(np.int64)
    before = homogeneity(levels, valid)
    return 100 * abs(before - shuffled_homogeneity(levels[valid])) / before


def _m_index(intensity: np.ndarray, ratio: np.ndarray, windows: Sequence[Window]) -> float:
    looks, ratio_looks = window_looks(intensity, windows).moments, window_looks(ratio, windows).moments
    means = np.array([ratio[window.slices].mean() for window in windows])
    with np.errstate(all="ignore"):
        residual = (np.abs(looks - ratio_looks) / looks + np.abs(1 - means)) / 2
    residual = residual[np.isfinite(residual)]
    if not residual.size:
        raise UndefinedMetric("the ratio image has no ENL in any homogeneous window: the images are equal there")
    return residual.mean() + structure_percent(ratio)


@scalar
def m_index(reference_db: Any, test_db: Any, *, windows: Sequence[Sequence[int]] | None = None) -> float:
    """M-index of a despeckled image: deviation of the ratio image from pure speckle; in [0, ∞), 0 is ideal.

    First order, over homogeneous windows: the mean of ½(|ENL − ENL_ratio| / ENL + |1 − mean ratio|). Second order: the
    homogeneity of the ratio's co-occurrence (32 levels over 0…4, right and lower neighbors) against that of shuffled
    samples, in percent of it; the mean over shuffles is computed in closed form. Correlated speckle has structure of
    its own: compare codecs on one scene, not scenes.

    Parameters
    ----------
    reference_db, test_db : array_like, shape (height, width)
        Intensity in dB: recorded and despeckled (or decompressed).
    windows : sequence of (row, column, height, width), optional
        Default: found automatically on the reference.

    References
    ----------
    Gómez, Ospina & Frery, Remote Sensing 9(4) 389, 2017.
    """
    reference, test, valid = pair(reference_db, test_db)
    intensity = to_intensity(reference)
    return _m_index(intensity, _ratio(reference, test, valid), given_or_found(intensity, windows))


def case_ratio(case: Comparison) -> np.ndarray:
    """Ratio image of a comparison. For `Comparison.once`."""
    return _ratio(case.reference_db, case.test_db, case.valid)


_RATIO = {"unit": "1", "domain": "intensity", "group": "ratio"}
_FRERY = "Gómez, Ospina & Frery 2017"


@define("ratio_mean", label="Mean of the ratio image", better="one", valid_range=(0, np.inf), source=_FRERY, **_RATIO)
def _mean(case: Comparison) -> float:
    return np.nanmean(case.once(case_ratio))


@define(
    "ratio_variance", label="Variance of the ratio image", better="zero", valid_range=(0, np.inf), source=_FRERY,
    **_RATIO,
)  # fmt: skip
def _variance(case: Comparison) -> float:
    return np.nanvar(case.once(case_ratio))


@define(
    "ratio_whiteness", label="Whiteness of the ratio image", better="one", valid_range=(0, 1),
    source="Gray & Markel 1974", **_RATIO,
)  # fmt: skip
def _whiteness(case: Comparison) -> float:
    return spectral_flatness(welch_spectrum(case.once(case_ratio)))


@define("m_index", label="M-index", better="lower", valid_range=(0, np.inf), source=_FRERY, **_RATIO)
def _case_m_index(case: Comparison) -> float:
    return _m_index(case.reference_intensity, case.once(case_ratio), case.reference.once(scene_windows))
