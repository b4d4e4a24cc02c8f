"""Radiometric bias correction: what a codec that minimizes error in dB takes away from the mean intensity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import uniform_filter
from scipy.special import digamma

from sarlab.errors import SceneError


def log_mean_bias_db(looks: float) -> float:
    """Bias of the mean of dB against the dB of the mean over resolved homogeneous speckle.

    Returns
    -------
    float
        4.343·(ψ(L) − ln L) dB: −2.51 at one look, −0.51 at 4.4.

    References
    ----------
    J.-M. Nicolas, "Introduction aux statistiques de deuxième espèce", Traitement du Signal 19(3), 2002.
    """
    if not looks > 0:
        raise SceneError(f"looks must be positive, not {looks}")
    return float(10 / np.log(10) * (digamma(looks) - np.log(looks)))


def smoothed_db(db: np.ndarray, window: int = 25) -> np.ndarray:
    """dB of the mean linear intensity in a window around each pixel, nodata left out.

    Parameters
    ----------
    db : ndarray, shape (height, width), dB
        NaN where there is no measurement.
    window : int
        Side of the square window in pixels.

    Returns
    -------
    ndarray of float64, same shape
        NaN where the window holds no valid sample.
    """
    db = np.asarray(db, np.float64)
    valid = np.isfinite(db)
    linear = np.where(valid, np.power(10.0, np.where(valid, db, 0) / 10), 0)
    weight = uniform_filter(valid.astype(np.float64), window, mode="nearest")
    mean = uniform_filter(linear, window, mode="nearest")
    # Running sums leave residues of rounding where a window is empty.
    found = weight > 0.5 / window**2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(found, 10 * np.log10(np.maximum(mean, np.finfo(float).tiny) / weight), np.nan)


@dataclass(frozen=True)
class BiasCorrection:
    """dB to add to a reconstruction, as a function of its own local brightness.

    Parameters
    ----------
    centers_db : tuple of float
        Smoothed brightness of each class, increasing.
    offsets_db : tuple of float
        Correction at each center; linear between centers, constant outside. One class is one global scalar.
    window : int
        Side of the smoothing window in pixels.
    """

    centers_db: tuple[float, ...]
    offsets_db: tuple[float, ...]
    window: int = 25

    def __post_init__(self) -> None:
        if not self.centers_db or len(self.centers_db) != len(self.offsets_db):
            raise SceneError("a bias correction needs as many offsets as class centers, and at least one")

    def apply(self, db: np.ndarray) -> np.ndarray:
        """Corrected reconstruction, shape (height, width), dB, float32; NaN stays NaN."""
        if len(self.centers_db) == 1:
            return np.asarray(np.asarray(db, np.float64) + self.offsets_db[0], np.float32)
        offset = np.interp(smoothed_db(db, self.window), self.centers_db, self.offsets_db)
        return np.asarray(np.asarray(db, np.float64) + offset, np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for JSON."""
        return {"centers_db": list(self.centers_db), "offsets_db": list(self.offsets_db), "window": self.window}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BiasCorrection:
        """Inverse of `to_dict`."""
        return cls(tuple(values["centers_db"]), tuple(values["offsets_db"]), int(values["window"]))


def fit_bias_correction(
    reference_db: np.ndarray, test_db: np.ndarray, *, classes: int = 1, window: int = 25
) -> BiasCorrection:
    """Correction that gives each brightness class of a reconstruction its mean linear intensity back.

    Classes are quantiles of the *smoothed reconstruction*, which a decoder has: classes of single pixels would show a
    bias of ±2 dB that is none.

    Parameters
    ----------
    reference_db, test_db : ndarray, shape (height, width), dB
        Recorded image and reconstruction; NaN is left out.
    classes : int
        Number of brightness classes; 1 gives one global scalar.
    window : int
        Side of the smoothing window in pixels.
    """
    both = np.isfinite(reference_db) & np.isfinite(test_db)
    if not both.any():
        raise SceneError("no valid pixel in common to fit a bias correction to")
    reference = np.power(10.0, np.asarray(reference_db, np.float64)[both] / 10)
    test = np.power(10.0, np.asarray(test_db, np.float64)[both] / 10)
    brightness = smoothed_db(test_db, window)[both]
    edges = np.unique(np.quantile(brightness, np.linspace(0, 1, classes + 1)[1:-1]))
    index = np.searchsorted(edges, brightness, side="right")
    centers, offsets = [], []
    for k in np.unique(index):
        chosen = index == k
        centers.append(float(np.median(brightness[chosen])))
        offsets.append(float(10 * np.log10(reference[chosen].sum() / test[chosen].sum())))
    return BiasCorrection(tuple(centers), tuple(offsets), window)
