"""Entropy of a scene itself: zeroth order at its native depth, lossless rate, and the share that is speckle.

An entropy of samples depends on their step. State it: native integers where the product has them, else a step in dB.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sarlab.errors import MetricError
from sarlab.metrics.base import UndefinedMetric, pair, raster, scalar
from sarlab.metrics.latent import entropy_of_counts


def quantize_db(db: Any, *, step_db: float) -> np.ndarray:
    """Integer raster of dB values, ``round(db / step_db)`` less its smallest value; shape (height, width), int64.

    Nodata becomes 0, all else starts at 1 where there is nodata; so the raster can be coded losslessly as a whole.

    Parameters
    ----------
    db : array_like, shape (height, width)
    step_db : float
        Width of a level in dB; values are at most half of it off.
    """
    if not step_db > 0:
        raise MetricError(f"step_db must be positive, not {step_db!r}")
    values = raster(db)
    valid = ~np.isnan(values)
    if not valid.any():
        raise UndefinedMetric("the reference has no valid sample")
    if np.isinf(values[valid]).any():
        raise UndefinedMetric("infinite samples: give exact zeros a floor in dB")
    levels = np.rint(values[valid] / step_db).astype(np.int64)
    result = np.zeros(values.shape, np.int64)
    result[valid] = levels - levels.min() + (0 if valid.all() else 1)
    return result


@scalar
def zeroth_order_entropy(samples: Any, *, corrected: bool = True) -> float:
    """Entropy in bit per sample of the histogram of an integer raster at its native depth.

    No code that treats samples one by one does better; one that sees neighbors may.

    Parameters
    ----------
    samples : array_like of int, shape (height, width)
        Digital numbers of the product (uint16 of Sentinel-1 GRD, uint8 of optical tiles).
    corrected : bool
        Miller-Madow correction: sixteen-bit alphabets are large for a scene.

    Returns
    -------
    float
        In [0, log2 of the number of samples].
    """
    values = np.asarray(samples)
    if values.dtype.kind not in "iu":
        raise MetricError("zeroth-order entropy needs integers: pass native samples, or quantize_db(…, step_db=…)")
    if values.size == 0:
        raise UndefinedMetric("there is no sample")
    return entropy_of_counts(np.unique(values, return_counts=True)[1], corrected=corrected)


@scalar
def lossless_bpp(samples: Any, encode: Callable[[np.ndarray], bytes]) -> float:
    """Bit per sample of the file that a lossless encoder makes of an integer raster.

    Parameters
    ----------
    samples : array_like of int, shape (height, width)
        Passed as uint8 or uint16, the smaller that holds it.
    encode : callable
        Array → bytes of the whole file (JPEG-LS, reversible JPEG 2000 …); given by the caller, so that this module
        needs no codec.
    """
    values = np.asarray(samples)
    if values.dtype.kind not in "iu" or values.ndim != 2 or values.size == 0:
        raise MetricError("lossless_bpp needs a two-dimensional raster of integers that is not empty")
    if values.min() < 0 or values.max() > 65535:
        raise MetricError(f"samples must lie in 0…65535, not {values.min()}…{values.max()}")
    native = values.astype(np.uint8 if values.max() < 256 else np.uint16)
    return 8 * len(encode(native)) / values.size


def _rate(db: np.ndarray, step_db: float, encode: Callable[[np.ndarray], bytes] | None) -> float:
    levels = quantize_db(db, step_db=step_db)
    if encode is not None:
        value = lossless_bpp(levels, encode)
        if np.isnan(value):
            raise UndefinedMetric(getattr(value, "reason", "no lossless rate"))
        return value
    return entropy_of_counts(np.unique(levels[~np.isnan(db)], return_counts=True)[1])


@scalar
def speckle_share(
    recorded_db: Any, clean_db: Any, *, step_db: float = 0.1, encode: Callable[[np.ndarray], bytes] | None = None
) -> float:
    """Share of a scene's bits that are there because of speckle: 1 − R(clean) / R(recorded). Simulation only.

    Parameters
    ----------
    recorded_db, clean_db : array_like, shape (height, width)
        The same ground with and without speckle, in dB.
    step_db : float
        Both are quantized with it.
    encode : callable, optional
        Lossless encoder as in `lossless_bpp`; default the zeroth-order entropy.

    Returns
    -------
    float
        At most 1; below 0 where the clean scene costs more.
    """
    recorded, clean, valid = pair(recorded_db, clean_db, finite=True)
    recorded, clean = np.where(valid, recorded, np.nan), np.where(valid, clean, np.nan)
    whole = _rate(recorded, step_db, encode)
    if whole <= 0:
        raise UndefinedMetric("the recorded scene is constant: it has no bits to share")
    return 1 - _rate(clean, step_db, encode) / whole
