"""Edge preservation. Each variant has its own name, domain and reference; none is called just "EPI".

Every column has a noise floor next to it, ``…_floor``: the score of an independent redraw of the scene's speckle
(`sarlab.metrics.speckle.redraw`). A score near the floor means that the waveform of the speckle is gone, not that edges are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sarlab.metrics.columns import (
    Comparison,
    Image,
    Reference,
    UndefinedMetric,
    against_clean,
    define,
    eroded,
    once,
    require_finite,
)
from sarlab.metrics.speckle import redraw

#: Half-windows of the ratio-of-averages detector: 3 × 7 samples on each side of the center line.
ROA_DEPTH, ROA_LENGTH = 3, 7
#: Threshold of an edge in units of the spread over homogeneous ground: one false edge in a thousand (Rayleigh).
ROA_FACTOR = 3.72
#: An edge has at least 1 dB, whatever the speckle.
ROA_LEAST = np.log(10) / 10


class RatioOfAverages(NamedTuple):
    """Signed log-ratios (nepers) of the means of two half-windows along rows and columns, and where they are valid."""

    rows: np.ndarray
    columns: np.ndarray
    valid: np.ndarray


@once
def ratio_of_averages(image: Image) -> RatioOfAverages:
    """Ratio-of-averages edge strength of linear intensity: ln(μ₁/μ₂) of the half-windows on both sides.

    They have 3 × 7 samples each. The result is zero where a mean is zero, and valid where both lie inside the image and
    hold no invalid sample.

    References: Touzi, Lopès & Bousquet, IEEE Trans. Geosci. Remote Sens. 26(6), 1988; two directions combined as a
    vector as in Fjørtoft, Lopès, Marthon & Cubero-Castan, IEEE Trans. Geosci. Remote Sens. 36(3), 1998.
    """
    from scipy.ndimage import uniform_filter1d

    valid = ~np.isnan(image.intensity)
    filled = np.where(valid, image.intensity, 0.0)
    inside = eroded(valid, ROA_LENGTH // 2)
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


@once
def scene_edges(reference: Reference) -> np.ndarray:
    """Mask of edges: strength above 3.72 times its robust spread over the scene, and above 1 dB.

    The spread is 1.4826·median|ln ratio|. In a scene of mostly homogeneous ground it is that of the speckle, whatever
    its looks and correlation; in a dense scene the threshold rises, and only the strongest edges remain.
    """
    roa = ratio_of_averages(reference)
    if not roa.valid.any():
        raise UndefinedMetric(f"no {ROA_LENGTH}×{ROA_LENGTH} window of valid samples")
    components = np.concatenate([roa.rows[roa.valid], roa.columns[roa.valid]])
    spread = 1.4826 * np.median(np.abs(components))
    edges = roa.valid & (np.hypot(roa.rows, roa.columns) > max(ROA_FACTOR * spread, ROA_LEAST))
    if not edges.any():
        raise UndefinedMetric("the reference has no edge")
    return edges


@once
def gradient(image: Image) -> tuple[np.ndarray, np.ndarray]:
    """Forward differences in dB along rows and columns, shape (height − 1, width − 1); zero at invalid samples."""
    require_finite(image.db)
    rows, columns = np.diff(image.db, axis=0)[:, :-1], np.diff(image.db, axis=1)[:-1]
    held = ~np.isnan(rows) & ~np.isnan(columns)
    if not held.any():
        raise UndefinedMetric("no sample has valid neighbors below and to its right")
    return np.where(held, rows, 0.0), np.where(held, columns, 0.0)


@once
def laplacian(image: Image) -> np.ndarray:
    """Five-point Laplacian in dB at the samples whose 3×3 neighborhood is valid, as a 1-D array."""
    x = image.db
    require_finite(x)
    inside = eroded(~np.isnan(x), 1)
    if inside.sum() < 2:
        raise UndefinedMetric("fewer than two 3×3 neighborhoods of valid samples")
    filtered = x[2:, 1:-1] + x[:-2, 1:-1] + x[1:-1, 2:] + x[1:-1, :-2] - 4 * x[1:-1, 1:-1]
    return filtered[inside[1:-1, 1:-1]]


def neighbor_ratios(intensity: np.ndarray, valid: np.ndarray) -> float:
    """Sum of the ratios of each amplitude to its right and lower neighbor, zeros excluded."""
    amplitude, total = np.sqrt(np.where(valid, intensity, 0.0)), 0.0
    for left, right in ((amplitude[:, :-1], amplitude[:, 1:]), (amplitude[:-1], amplitude[1:])):
        positive = (left > 0) & (right > 0)
        total += float((left[positive] / right[positive]).sum())
    return total


def _with_floor(
    name: str, label: str, better: str, domain: str, source: str, valid_range: tuple[float, float], *, clean: bool = False
) -> Callable[[Any], Any]:  # fmt: skip
    """Decorate a metric to register it together with its noise floor; if `clean`, both also against the clean scene."""

    def register(name: str, label: str, compute: Callable, view: Callable, needs_clean: bool) -> None:
        fields: dict[str, Any] = {"valid_range": valid_range, "group": "edges", "needs_clean": needs_clean}
        define(name, label, "1", better, domain, source, **fields)(lambda case: compute(view(case)))
        floor = define(f"{name}_floor", f"{label}: noise floor", "1", "lower", domain, source, **fields)
        floor(lambda case: compute(view(redraw(case.reference))))

    def decorate(compute: Callable[[Comparison], float]) -> Callable[[Comparison], float]:
        register(name, label, compute, lambda case: case, False)
        if clean:
            register(f"{name}_clean", f"{label} against clean", compute, against_clean, True)
        return compute

    return decorate


@_with_floor(
    "epi_roa", "Edge preservation (ratio of averages)", "higher", "intensity", "Touzi et al. 1988", (0, 1), clean=True
)
def epi_roa(case: Comparison) -> float:
    """Agreement of ratio-of-averages edge strength on the edges of the reference: Σ min(s, ŝ) / Σ max(s, ŝ).

    Strength s is the length of the vector of log-ratios of half-window means of linear intensity, ŝ the projection of
    the reconstruction's vector on it (not below 0). Edges that are too weak, too strong or turned all lower it.

    References: Touzi, Lopès & Bousquet, IEEE Trans. Geosci. Remote Sens. 26(6), 1988 (the detector); weighted Jaccard
    agreement: this project.
    """
    edges, reference, test = scene_edges(case.reference), ratio_of_averages(case.reference), ratio_of_averages(case)
    rows, columns = reference.rows[edges], reference.columns[edges]
    strength = np.hypot(rows, columns)
    found = np.maximum((test.rows[edges] * rows + test.columns[edges] * columns) / strength, 0)
    return np.minimum(strength, found).sum() / np.maximum(strength, found).sum()


@_with_floor(
    "epi_sattar", "Laplacian correlation", "higher", "dB of intensity", "Sattar et al. 1997", (-1, 1), clean=True
)
def epi_sattar(case: Comparison) -> float:
    """Mean-removed correlation of Laplacian-filtered images in dB.

    Against the *recorded* image it measures the waveform of the speckle and repeats PSNR; against the *clean* scene, in
    simulation, it measures edges. The two are never mixed.

    References: Sattar, Floreby, Salomonsson & Lövström, IEEE Trans. Image Process. 6(6), 1997.
    """
    x, y = laplacian(case.reference), laplacian(case)
    x, y = x - x.mean(), y - y.mean()
    norm = np.sqrt(np.dot(x, x) * np.dot(y, y))
    # differences of the order of the rounding error are no detail
    if norm <= 1e-18 * x.size:
        raise UndefinedMetric("the Laplacian of an image is constant")
    return np.clip(np.dot(x, y) / norm, -1, 1)


@_with_floor("epi_gradient_ratio", "Gradient ratio", "one", "dB of intensity", "definition", (0, np.inf))
def epi_gradient_ratio(case: Comparison) -> float:
    """Σ|∇x̂| / Σ|∇x| of dB values, forward differences.

    Below 1, detail or speckle was smoothed; above 1, noise was added. It measures the amount of detail, not its accuracy.
    """
    before, after = (np.hypot(*gradient(image)).sum() for image in (case.reference, case))
    if before <= 0:
        raise UndefinedMetric("the reference is constant")
    return after / before


@_with_floor("epd_roa", "Neighbor ratio", "one", "amplitude", "Feng et al. 2011", (0, np.inf))
def epd_roa(case: Comparison) -> float:
    """Σ|x̂ₚ/x̂ₚ₊₁| / Σ|xₚ/xₚ₊₁| of amplitudes and their right and lower neighbors, zeros excluded.

    Perfect despeckling gives *less* than 1 (of independent intensities (L − 1)/L), so 1 is not the goal of a despeckler.

    References: Feng, Hou & Gong, IEEE Trans. Geosci. Remote Sens. 49(8), 2011 (edge-preservation degree by ratio of
    averages).
    """
    reference, test = case.reference.intensity, case.intensity
    positive = case.valid & (reference > 0) & (test > 0)
    before = neighbor_ratios(reference, positive)
    if not before > 0:
        raise UndefinedMetric("no two neighbors above zero")
    return neighbor_ratios(test, positive) / before


@_with_floor("gradient_cosine", "Gradient cosine", "higher", "dB of intensity", "definition", (-1, 1))
def gradient_cosine(case: Comparison) -> float:
    """Uncentered cosine Σ∇x·∇x̂ / √(Σ|∇x|² Σ|∇x̂|²) of dB values.

    Against a recorded scene it measures the waveform of the speckle: show it only with its noise floor.
    """
    x, y = gradient(case.reference), gradient(case)
    norms = [np.square(rows).sum() + np.square(columns).sum() for rows, columns in (x, y)]
    if min(norms) <= 0:
        raise UndefinedMetric("an image is constant")
    product = (x[0] * y[0] + x[1] * y[1]).sum()
    return np.clip(product / np.sqrt(norms[0] * norms[1]), -1, 1)
