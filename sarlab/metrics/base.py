"""What every metric shares: undefined values that say why, checks of a pair of rasters, dB and linear intensity.

A metric takes two (height, width) arrays in which NaN marks samples without a measurement. It is judged where the
*reference* has a sample. A test image that lacks one of them is not scored on the rest: that would flatter it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from sarlab.errors import MetricError

Function = TypeVar("Function", bound=Callable[..., Any])

#: One neper of intensity in dB: 10 / ln 10.
DB_PER_NEPER = 10 / np.log(10)


class UndefinedMetric(MetricError):
    """A metric has no value for these samples; the message is the reason. Scalar metrics turn it into `Undefined`."""


class Undefined(float):
    """NaN that carries the reason why a metric has no value.

    Parameters
    ----------
    reason : str
        In words, for a table's ``reason`` column.
    """

    reason: str

    def __new__(cls, reason: str) -> Undefined:
        value = super().__new__(cls, "nan")
        value.reason = reason
        return value

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return type(self), (self.reason,)


def scalar(function: Function) -> Function:
    """Make a function that may raise `UndefinedMetric` return a plain float, or `Undefined` with the reason.

    An infinite or NaN result is turned into `Undefined` too: no metric is silently infinite.
    """

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> float:
        try:
            with np.errstate(all="ignore"):
                return checked(function(*args, **kwargs))
        except UndefinedMetric as undefined:
            return Undefined(str(undefined))

    return wrapped  # type: ignore[return-value]


def checked(value: Any) -> float:
    """A float as it is; `Undefined` in the place of a NaN without a reason or an infinity."""
    if isinstance(value, Undefined):
        return value
    value = float(value)
    if np.isfinite(value):
        return value
    return Undefined("the result is not a number" if np.isnan(value) else "the result is infinite")


def raster(array: Any, what: str = "image") -> np.ndarray:
    """`array` as float64 of two dimensions; anything else is a `MetricError`."""
    values = np.asarray(array)
    if np.iscomplexobj(values):
        raise MetricError(f"the {what} is complex; pass intensity in dB, or use sarlab.metrics.complex_data")
    values = values.astype(np.float64, copy=False)
    if values.ndim != 2 or values.size == 0:
        raise MetricError(f"the {what} must be a (height, width) array that is not empty, not of shape {values.shape}")
    return values


def pair(reference: Any, test: Any, *, finite: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Check two rasters against each other.

    Parameters
    ----------
    reference, test : array_like, shape (height, width)
        NaN marks samples without a measurement.
    finite : bool
        Refuse infinities (an exact zero in dB that was given no floor).

    Returns
    -------
    reference, test : ndarray of float64, shape (height, width)
    valid : ndarray of bool, shape (height, width)
        Where the reference has a sample: there the metric is judged.

    Raises
    ------
    MetricError
        The shapes differ or are not two-dimensional.
    UndefinedMetric
        No sample is valid, or the test lacks samples that the reference has.
    """
    reference, test = raster(reference, "reference"), raster(test, "test image")
    if reference.shape != test.shape:
        raise MetricError(f"the reference is {reference.shape} and the test image {test.shape}: shapes must agree")
    valid = ~np.isnan(reference)
    if not valid.any():
        raise UndefinedMetric("the reference has no valid sample")
    missing = int(np.count_nonzero(np.isnan(test) & valid))
    if missing:
        raise UndefinedMetric(f"the test image has no value at {missing} samples where the reference has one")
    if finite and (np.isinf(reference[valid]).any() or np.isinf(test[valid]).any()):
        raise UndefinedMetric("infinite samples: give exact zeros a floor in dB")
    return reference, test, valid


def checked_clip(clip: Any) -> tuple[float, float]:
    """(low, high) in dB as floats; a `MetricError` where they are no range."""
    try:
        low, high = (float(edge) for edge in clip)
    except (TypeError, ValueError):
        raise MetricError(f"clip must be (low, high) in dB, not {clip!r}") from None
    if not (np.isfinite(low) and np.isfinite(high) and high > low):
        raise MetricError(f"clip must be two finite values in dB, the second above the first, not {clip!r}")
    return low, high


def to_intensity(db: np.ndarray) -> np.ndarray:
    """Linear intensity of dB values; NaN stays NaN, minus infinity becomes an exact zero."""
    with np.errstate(over="ignore"):
        return np.exp(db * (1 / DB_PER_NEPER))


def fill_invalid(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Copy with the mean of the valid samples in the place of the others: neutral for filters, then masked out."""
    if valid.all():
        return values
    return np.where(valid, values, values[valid].mean())


def eroded(valid: np.ndarray, radius: int | tuple[int, int]) -> np.ndarray:
    """Where a (2·radius + 1)-window lies inside the image and holds valid samples only."""
    from scipy.ndimage import minimum_filter

    rows, columns = (radius, radius) if isinstance(radius, int) else radius
    inside = np.zeros_like(valid)
    inside[rows : valid.shape[0] - rows, columns : valid.shape[1] - columns] = True
    if valid.all():
        return inside
    return inside & minimum_filter(valid, size=(2 * rows + 1, 2 * columns + 1), mode="nearest")
