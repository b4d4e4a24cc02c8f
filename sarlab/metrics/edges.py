"""Edge preservation. Each variant has a name, a domain and a reference of its own; none is called just "EPI".

Beside each stands its noise floor, the score of an independent redraw of the scene's speckle (`sarlab.metrics.speckle`):
a score near the floor says that the speckle's waveform is gone, not that edges are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sarlab.metrics.base import UndefinedMetric, eroded, pair, scalar, to_intensity
from sarlab.metrics.catalog import define
from sarlab.metrics.comparison import Comparison, Reference
from sarlab.metrics.roa import case_roa, clean_roa, clean_roa_edges, roa_agreement, scene_roa, scene_roa_edges
from sarlab.metrics.speckle import redraw


class Gradient(NamedTuple):
    """Forward differences along rows and columns (shape (height − 1, width − 1)), and where they are valid."""

    rows: np.ndarray
    columns: np.ndarray
    valid: np.ndarray


def gradient(values: np.ndarray, valid: np.ndarray) -> Gradient:
    """Forward differences of `values`; raises `UndefinedMetric` where there is none."""
    with np.errstate(all="ignore"):
        rows = values[1:, :-1] - values[:-1, :-1]
        columns = values[:-1, 1:] - values[:-1, :-1]
    held = valid[1:, :-1] & valid[:-1, :-1] & valid[:-1, 1:]
    if not held.any():
        raise UndefinedMetric("no sample has valid neighbors below and to its right")
    return Gradient(np.where(held, rows, 0.0), np.where(held, columns, 0.0), held)


def _finite_pair(reference_db: Any, test_db: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return pair(reference_db, test_db, finite=True)


def _gradient_ratio(reference: Gradient, test: Gradient) -> float:
    total = np.hypot(reference.rows, reference.columns).sum()
    if total <= 0:
        raise UndefinedMetric("the reference is constant")
    return np.hypot(test.rows, test.columns).sum() / total


def _gradient_cosine(reference: Gradient, test: Gradient) -> float:
    norms = [np.square(g.rows).sum() + np.square(g.columns).sum() for g in (reference, test)]
    if min(norms) <= 0:
        raise UndefinedMetric("an image is constant")
    product = (reference.rows * test.rows + reference.columns * test.columns).sum()
    return np.clip(product / np.sqrt(norms[0] * norms[1]), -1, 1)


@scalar
def epi_gradient_ratio(reference_db: Any, test_db: Any) -> float:
    """Σ|∇x̂| / Σ|∇x| of dB values, forward differences; in [0, ∞), 1 for equal images.

    Below 1 where detail or speckle is smoothed, above where noise is added: it says how much, not whether the same.

    Parameters
    ----------
    reference_db, test_db : array_like, shape (height, width)
    """
    reference, test, valid = _finite_pair(reference_db, test_db)
    return _gradient_ratio(gradient(reference, valid), gradient(test, valid))


@scalar
def gradient_cosine(reference_db: Any, test_db: Any) -> float:
    """Uncentred cosine Σ∇x·∇x̂ / √(Σ|∇x|² Σ|∇x̂|²) of dB values; in [−1, 1], 1 for equal images.

    Against a recorded scene it measures the waveform of the speckle: to be shown only beside its noise floor.

    Parameters
    ----------
    reference_db, test_db : array_like, shape (height, width)
        Intensity in dB; NaN = nodata.
    """
    reference, test, valid = _finite_pair(reference_db, test_db)
    return _gradient_cosine(gradient(reference, valid), gradient(test, valid))


def laplacian(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Five-point Laplacian at the samples whose 3×3 neighborhood is valid: 1-D, the same samples for equal `valid`."""
    inside = eroded(valid, 1)
    if inside.sum() < 2:
        raise UndefinedMetric("fewer than two 3×3 neighborhoods of valid samples")
    filtered = np.zeros_like(values)
    with np.errstate(all="ignore"):
        filtered[1:-1, 1:-1] = (
            values[2:, 1:-1] + values[:-2, 1:-1] + values[1:-1, 2:] + values[1:-1, :-2] - 4 * values[1:-1, 1:-1]
        )
    return filtered[inside]


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x - x.mean(), y - y.mean()
    norm = np.sqrt(np.dot(x, x) * np.dot(y, y))
    # differences of the order of rounding are no detail
    if norm <= 1e-18 * x.size:
        raise UndefinedMetric("the Laplacian of an image is constant")
    return np.clip(np.dot(x, y) / norm, -1, 1)


@scalar
def epi_sattar(reference_db: Any, test_db: Any) -> float:
    """Mean-removed correlation of Laplacian-filtered images, in dB; in [−1, 1], 1 for equal images.

    Against the *recorded* image it measures the speckle's waveform and repeats PSNR; against the *clean* scene, in
    simulation, it measures edges. The two are never mixed.

    Parameters
    ----------
    reference_db, test_db : array_like, shape (height, width)

    References
    ----------
    Sattar, Floreby, Salomonsson & Lövström, IEEE Trans. Image Process. 6(6), 1997.
    """
    reference, test, valid = _finite_pair(reference_db, test_db)
    return _correlation(laplacian(reference, valid), laplacian(test, valid))


def _neighbor_ratios(intensity: np.ndarray, valid: np.ndarray) -> tuple[float, int]:
    """Sum of ratios of each amplitude to its right and lower neighbor, and their number; zeros excluded."""
    amplitude = np.sqrt(np.where(valid, intensity, 0.0))
    total, count = 0.0, 0
    for left, right in ((amplitude[:, :-1], amplitude[:, 1:]), (amplitude[:-1], amplitude[1:])):
        positive = (left > 0) & (right > 0)
        total += float((left[positive] / right[positive]).sum())
        count += int(positive.sum())
    return total, count


def _epd_roa(reference: np.ndarray, test: np.ndarray, valid: np.ndarray) -> float:
    positive = valid & (reference > 0) & (test > 0)
    before, count = _neighbor_ratios(reference, positive)
    after, _ = _neighbor_ratios(test, positive)
    if not count or not before > 0:
        raise UndefinedMetric("no two neighbors above zero")
    return after / before


@scalar
def epd_roa(reference_db: Any, test_db: Any) -> float:
    """Σ|x̂ₚ/x̂ₚ₊₁| / Σ|xₚ/xₚ₊₁| of amplitudes and their right and lower neighbors, zeros excluded; in (0, ∞).

    1 for equal images. Perfect despeckling gives *less* than 1 (of independent intensities (L − 1)/L), so 1 is not the
    goal of a despeckler.

    Parameters
    ----------
    reference_db, test_db : array_like, shape (height, width)
        Intensity in dB.

    References
    ----------
    Feng, Hou & Gong, IEEE Trans. Geosci. Remote Sens. 49(8), 2011 (edge-preservation degree by ratio of averages).
    """
    reference, test, valid = pair(reference_db, test_db)
    return _epd_roa(to_intensity(reference), to_intensity(test), valid)


def scene_gradient(reference: Reference) -> Gradient:
    """Gradient of a scene. For `Reference.once`."""
    return gradient(_finite(reference.db), reference.valid)


def case_gradient(case: Comparison) -> Gradient:
    """Gradient of a reconstruction. For `Comparison.once`."""
    return gradient(_finite(case.test_db, case.valid), case.valid)


def scene_laplacian(reference: Reference) -> np.ndarray:
    """Laplacian of a scene. For `Reference.once`."""
    return laplacian(_finite(reference.db), reference.valid)


def clean_laplacian(reference: Reference) -> np.ndarray:
    """Laplacian of the clean scene. For `Reference.once`."""
    if reference.clean_db is None:
        raise UndefinedMetric("no clean scene is known")
    return laplacian(_finite(reference.clean_db, reference.valid), reference.valid)


def case_laplacian(case: Comparison) -> np.ndarray:
    """Laplacian of a reconstruction. For `Comparison.once`."""
    return laplacian(_finite(case.test_db, case.valid), case.valid)


def _finite(values: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    if np.isinf(values if valid is None else values[valid]).any():
        raise UndefinedMetric("infinite samples: give exact zeros a floor in dB")
    return values


def _define_with_floor(
    name: str, label: str, domain: str, valid_range: tuple[float, float], source: str, better: str, clean: bool = False
) -> Callable[[Callable[[Comparison], float]], Callable[[Comparison], float]]:
    """Register a metric and beside it its noise floor, ``<name>_floor``."""

    def decorate(compute: Callable[[Comparison], float]) -> Callable[[Comparison], float]:
        common = {"unit": "1", "domain": domain, "valid_range": valid_range, "source": source, "group": "edges"}
        define(name, label=label, better=better, needs_clean=clean, **common)(compute)
        define(f"{name}_floor", label=f"{label}: noise floor", better="lower", needs_clean=clean, **common)(
            lambda case: compute(case.reference.once(redraw))
        )
        return compute

    return decorate


_SATTAR = "Sattar et al. 1997"
_ROA_SOURCE = "Touzi et al. 1988"


@_define_with_floor("epi_roa", "Edge preservation (ratio of averages)", "intensity", (0, 1), _ROA_SOURCE, "higher")
def _epi_roa(case: Comparison) -> float:
    edges = case.reference.once(scene_roa_edges)
    return roa_agreement(case.reference.once(scene_roa), case.once(case_roa), edges)


@_define_with_floor(
    "epi_roa_clean", "Edge preservation (ratio of averages) against clean", "intensity", (0, 1), _ROA_SOURCE,
    "higher", clean=True,
)  # fmt: skip
def _epi_roa_clean(case: Comparison) -> float:
    edges = case.reference.once(clean_roa_edges)
    return roa_agreement(case.reference.once(clean_roa), case.once(case_roa), edges)


@_define_with_floor("epi_sattar", "Laplacian correlation", "dB of intensity", (-1, 1), _SATTAR, "higher")
def _epi_sattar(case: Comparison) -> float:
    return _correlation(case.reference.once(scene_laplacian), case.once(case_laplacian))


@_define_with_floor(
    "epi_sattar_clean", "Laplacian correlation against clean", "dB of intensity", (-1, 1), _SATTAR, "higher",
    clean=True,
)  # fmt: skip
def _epi_sattar_clean(case: Comparison) -> float:
    return _correlation(case.reference.once(clean_laplacian), case.once(case_laplacian))


@_define_with_floor("epi_gradient_ratio", "Gradient ratio", "dB of intensity", (0, np.inf), "definition", "one")
def _epi_gradient_ratio(case: Comparison) -> float:
    return _gradient_ratio(case.reference.once(scene_gradient), case.once(case_gradient))


@_define_with_floor("epd_roa", "Neighbor ratio", "amplitude", (0, np.inf), "Feng et al. 2011", "one")
def _case_epd_roa(case: Comparison) -> float:
    return _epd_roa(case.reference_intensity, case.test_intensity, case.valid)


@_define_with_floor("gradient_cosine", "Gradient cosine", "dB of intensity", (-1, 1), "definition", "higher")
def _case_cosine(case: Comparison) -> float:
    return _gradient_cosine(case.reference.once(scene_gradient), case.once(case_gradient))
