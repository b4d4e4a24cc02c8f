"""Error over aggregation scale: what is left of it once users average (multilook) before use."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from sarlab.errors import MetricError
from sarlab.metrics.base import DB_PER_NEPER, UndefinedMetric, pair, scalar, to_intensity
from sarlab.metrics.catalog import define
from sarlab.metrics.comparison import Comparison

#: Sides of the blocks in samples.
SCALES = (1, 2, 4, 8, 16, 32, 64)


class ScaleError(NamedTuple):
    """RMSE and mean error, both in dB, of k×k means of linear intensity."""

    rmse: float
    bias: float


def multilook(intensity: np.ndarray, side: int) -> np.ndarray:
    """Means of whole `side`×`side` blocks of linear intensity, over valid samples; NaN where under half are valid.

    Parameters
    ----------
    intensity : ndarray, shape (height, width)
        NaN = nodata. What is left over at the lower and right rim belongs to no block.
    side : int

    Returns
    -------
    ndarray, shape (height // side, width // side)
    """
    rows, columns = intensity.shape[0] // side, intensity.shape[1] // side
    blocks = intensity[: rows * side, : columns * side].reshape(rows, side, columns, side)
    valid = ~np.isnan(blocks)
    if valid.all():
        return blocks.mean(axis=(1, 3))
    count = valid.sum(axis=(1, 3))
    with np.errstate(all="ignore"):
        return np.where(2 * count >= side**2, np.where(valid, blocks, 0).sum(axis=(1, 3)) / count, np.nan)


def error_at_scale(reference: np.ndarray, test: np.ndarray, side: int) -> ScaleError:
    """RMSE and mean error in dB after `multilook` of two linear intensities, NaN at the same samples.

    Raises
    ------
    UndefinedMetric
        No block fits, or a mean is zero.
    """
    if min(reference.shape) < side:
        raise UndefinedMetric(f"no {side}×{side} block fits into the image")
    before, after = multilook(reference, side), multilook(test, side)
    held = ~np.isnan(before)
    if not held.any():
        raise UndefinedMetric(f"no {side}×{side} block is half valid")
    if (before[held] <= 0).any() or (after[held] <= 0).any():
        raise UndefinedMetric(f"the mean of a {side}×{side} block is zero: it has no dB value")
    difference = DB_PER_NEPER * np.log(after[held] / before[held])
    return ScaleError(np.sqrt(np.mean(difference**2)), difference.mean())


def _checked(side: int) -> int:
    if int(side) != side or side < 1:
        raise MetricError(f"the side of a block must be a positive integer, not {side!r}")
    return int(side)


def _both(reference_db: Any, test_db: Any, side: int) -> ScaleError:
    reference, test, valid = pair(reference_db, test_db)
    return error_at_scale(to_intensity(reference), to_intensity(np.where(valid, test, np.nan)), _checked(side))


@scalar
def aggregated_rmse(reference_db: Any, test_db: Any, *, side: int) -> float:
    """RMSE in dB of `side`×`side` means of linear intensity; in [0, ∞).

    Parameters
    ----------
    reference_db, test_db : array_like, shape (height, width)
        Intensity in dB; NaN = nodata, left out of the means.
    side : int
        1 gives the RMSE of single samples.
    """
    return _both(reference_db, test_db, side).rmse


@scalar
def aggregated_bias(reference_db: Any, test_db: Any, *, side: int) -> float:
    """Mean error in dB of `side`×`side` means of linear intensity; in (−∞, ∞). Parameters as `aggregated_rmse`.

    Where the RMSE no longer falls with the scale, what is left is this bias and its variation over the scene.
    """
    return _both(reference_db, test_db, side).bias


def case_error(case: Comparison, side: int) -> ScaleError:
    """`error_at_scale` of a comparison. For `Comparison.once`."""
    return error_at_scale(case.reference_intensity, case.test_intensity, side)


def _at_scale(case: Comparison, side: int, name: str) -> float:
    return getattr(case.once(case_error, side), name)


def case_clean_error(case: Comparison, side: int) -> ScaleError:
    """`error_at_scale` against the clean scene. For `Comparison.once`."""
    return error_at_scale(to_intensity(case.clean_db), case.test_intensity, side)


def _clean_at_scale(case: Comparison, side: int) -> float:
    return case.once(case_clean_error, side).rmse


for _side in SCALES:
    for _name, _label, _better in (("rmse", "RMSE", "lower"), ("bias", "Mean error", "zero")):
        define(
            f"{_name}_k{_side}_db",
            label=f"{_label} of {_side}×{_side} means",
            unit="dB",
            better=_better,
            domain=f"intensity, {_side}×{_side} means, then dB",
            valid_range=(0 if _name == "rmse" else -np.inf, np.inf),
            source="definition (multilooking)",
            group="aggregation",
        )(partial(_at_scale, side=_side, name=_name))
    if _side > 1:
        define(
            f"rmse_clean_k{_side}_db",
            label=f"RMSE of {_side}×{_side} means against clean",
            unit="dB",
            better="lower",
            domain=f"intensity, {_side}×{_side} means, then dB",
            valid_range=(0, np.inf),
            source="definition (multilooking)",
            group="reflectivity",
            needs_clean=True,
        )(partial(_clean_at_scale, side=_side))
