"""Ratio-of-averages edges of linear intensity, the SAR edge detector, and how well a reconstruction keeps them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sarlab.metrics.base import UndefinedMetric, eroded, pair, scalar, to_intensity
from sarlab.metrics.comparison import Comparison, Reference

#: Half-windows of the ratio-of-averages detector: 3 × 7 samples on each side of the centre line.
ROA_DEPTH, ROA_LENGTH = 3, 7
#: Strength of an edge in units of its spread over homogeneous ground: one false edge in a thousand (Rayleigh).
ROA_FACTOR = 3.72
#: Edges weaker than 1 dB are none, whatever the speckle.
ROA_LEAST = np.log(10) / 10


class RatioOfAverages(NamedTuple):
    """Signed log-ratios of the means of two half-windows along rows and columns, in nepers, and where they hold."""

    rows: np.ndarray
    columns: np.ndarray
    valid: np.ndarray


def ratio_of_averages(intensity: np.ndarray, valid: np.ndarray | None = None) -> RatioOfAverages:
    """Ratio-of-averages edge strength of linear intensity.

    Parameters
    ----------
    intensity : ndarray, shape (height, width)
        Linear; NaN = nodata.
    valid : ndarray of bool, optional
        Default: where the intensity is not NaN.

    Returns
    -------
    RatioOfAverages
        ln(μ₁/μ₂) of the half-windows on both sides (3 × 7 samples each), zero where a mean is zero, and valid where
        both half-windows lie inside the image and hold no invalid sample.

    References
    ----------
    Touzi, Lopès & Bousquet, IEEE Trans. Geosci. Remote Sens. 26(6), 1988; two directions combined as a vector as in
    Fjørtoft, Lopès, Marthon & Cubero-Castan, IEEE Trans. Geosci. Remote Sens. 36(3), 1998.
    """
    from scipy.ndimage import uniform_filter1d

    valid = ~np.isnan(intensity) if valid is None else valid
    filled = np.where(valid, intensity, 0.0)
    radius = ROA_LENGTH // 2
    inside = eroded(valid, radius)
    ratios = []
    for axis in (0, 1):
        along = uniform_filter1d(filled, ROA_LENGTH, axis=1 - axis, mode="nearest")
        mean = uniform_filter1d(along, ROA_DEPTH, axis=axis, mode="nearest")
        shift = ROA_DEPTH // 2 + 1
        before, after = np.roll(mean, shift, axis), np.roll(mean, -shift, axis)
        positive = inside & (before > 0) & (after > 0)
        with np.errstate(all="ignore"):
            ratios.append(np.where(positive, np.log(after / before), 0.0))
    return RatioOfAverages(ratios[0], ratios[1], inside)


def roa_edges(roa: RatioOfAverages) -> np.ndarray:
    """Where an image has edges: strength above 3.72 times its robust spread over the scene, and above 1 dB.

    The spread is 1.4826·median|ln ratio|: in a scene of mostly homogeneous ground it is that of its speckle, whatever
    its looks and correlation; in a dense scene the threshold rises and only the strongest edges stay.

    Parameters
    ----------
    roa : RatioOfAverages
    """
    if not roa.valid.any():
        raise UndefinedMetric(f"no {ROA_LENGTH}×{ROA_LENGTH} window of valid samples")
    components = np.concatenate([roa.rows[roa.valid], roa.columns[roa.valid]])
    spread = 1.4826 * np.median(np.abs(components))
    edges = roa.valid & (np.hypot(roa.rows, roa.columns) > max(ROA_FACTOR * spread, ROA_LEAST))
    if not edges.any():
        raise UndefinedMetric("the reference has no edge")
    return edges


def roa_agreement(reference: RatioOfAverages, test: RatioOfAverages, edges: np.ndarray) -> float:
    """Σ min(s, ŝ) / Σ max(s, ŝ) over edges; ŝ is the test's strength in the direction of the reference's edge.

    Parameters
    ----------
    reference, test : RatioOfAverages
    edges : ndarray of bool, shape (height, width)
    """
    rows, columns = reference.rows[edges], reference.columns[edges]
    strength = np.hypot(rows, columns)
    found = np.maximum((test.rows[edges] * rows + test.columns[edges] * columns) / strength, 0)
    return np.minimum(strength, found).sum() / np.maximum(strength, found).sum()


@scalar
def epi_roa(reference_db: Any, test_db: Any) -> float:
    """Agreement of ratio-of-averages edge strength on the edges of the reference.

    Strength s is the length of the vector of log-ratios of half-window means in linear intensity, ŝ the projection of
    the test's vector on it (not below 0); the result is Σ min(s, ŝ) / Σ max(s, ŝ) over edge samples. Too weak, too
    strong and turned edges all lower it.

    Parameters
    ----------
    reference_db, test_db : array_like, shape (height, width)
        Intensity in dB.

    Returns
    -------
    float
        In [0, 1], 1 for equal images; undefined where the reference has no edge or no side reaches 7 samples.

    References
    ----------
    Touzi, Lopès & Bousquet, IEEE Trans. Geosci. Remote Sens. 26(6), 1988 (the detector); weighted Jaccard agreement:
    this project.
    """
    reference, test, valid = pair(reference_db, test_db)
    before = ratio_of_averages(to_intensity(reference), valid)
    return roa_agreement(before, ratio_of_averages(to_intensity(test), valid), roa_edges(before))


def scene_roa(reference: Reference) -> RatioOfAverages:
    """Edge strength of a scene. For `Reference.once`."""
    return ratio_of_averages(reference.intensity, reference.valid)


def scene_roa_edges(reference: Reference) -> np.ndarray:
    """Edges of a scene. For `Reference.once`."""
    return roa_edges(reference.once(scene_roa))


def clean_roa(reference: Reference) -> RatioOfAverages:
    """Edge strength of the clean scene. For `Reference.once`."""
    if reference.clean_db is None:
        raise UndefinedMetric("no clean scene is known")
    return ratio_of_averages(to_intensity(np.where(reference.valid, reference.clean_db, np.nan)))


def clean_roa_edges(reference: Reference) -> np.ndarray:
    """Edges of the clean scene. For `Reference.once`."""
    return roa_edges(reference.once(clean_roa))


def case_roa(case: Comparison) -> RatioOfAverages:
    """Edge strength of a reconstruction. For `Comparison.once`."""
    return ratio_of_averages(case.test_intensity, case.valid)
