"""Fidelity of complex (single-look) data: signal-to-quantization-noise ratio, coherence, phase error."""

from __future__ import annotations

from typing import Any

import numpy as np

from sarlab.errors import MetricError
from sarlab.metrics.base import UndefinedMetric, scalar


def _complex_pair(reference: Any, test: Any) -> tuple[np.ndarray, np.ndarray]:
    """Valid samples of both images, 1-D complex128, with the rules of `sarlab.metrics.base.pair`."""
    z, z_hat = np.asarray(reference), np.asarray(test)
    if z.ndim != 2 or z.size == 0 or z.shape != z_hat.shape:
        raise MetricError(f"complex images must be two-dimensional and of one shape, not {z.shape} and {z_hat.shape}")
    valid = ~np.isnan(z)
    if not valid.any():
        raise UndefinedMetric("the reference has no valid sample")
    z, z_hat = z[valid].astype(np.complex128), z_hat[valid].astype(np.complex128)
    missing = int(np.isnan(z_hat).sum())
    if missing:
        raise UndefinedMetric(f"the test image has no value at {missing} samples where the reference has one")
    return z, z_hat


def _energy(z: np.ndarray) -> float:
    return float((z.real**2 + z.imag**2).sum())


@scalar
def sqnr(reference: Any, test: Any) -> float:
    """Signal-to-quantization-noise ratio 10·log10(Σ|z|² / Σ|z − ẑ|²) in dB; in (−∞, ∞).

    Parameters
    ----------
    reference, test : array_like of complex, shape (height, width)
        NaN = nodata.

    Returns
    -------
    float
        Undefined for equal images (infinite) and for a reference of zeros.

    References
    ----------
    Kwok & Johnson, IEEE Trans. Geosci. Remote Sens. 27(4), 1989 (block adaptive quantization of SAR data).
    """
    z, z_hat = _complex_pair(reference, test)
    signal, noise = _energy(z), _energy(z - z_hat)
    if signal == 0:
        raise UndefinedMetric("the reference is zero everywhere")
    if noise == 0:
        raise UndefinedMetric("the images are equal: SQNR is infinite")
    return 10 * np.log10(signal / noise)


@scalar
def coherence(reference: Any, test: Any) -> float:
    """Coherence |Σ z ẑ*| / √(Σ|z|² Σ|ẑ|²) over the image; in [0, 1], blind to a common complex factor.

    Parameters
    ----------
    reference, test : array_like of complex, shape (height, width)

    References
    ----------
    Bamler & Hartl, Inverse Problems 14(4), 1998.
    """
    z, z_hat = _complex_pair(reference, test)
    norm = np.sqrt(_energy(z) * _energy(z_hat))
    if norm == 0:
        raise UndefinedMetric("an image is zero everywhere")
    return min(np.abs(np.vdot(z_hat, z)) / norm, 1.0)


@scalar
def phase_rmse(reference: Any, test: Any) -> float:
    """Amplitude-weighted RMS phase error √(Σ|z|·Δφ² / Σ|z|) in radians; in [0, π].

    Δφ = arg(ẑ z*) in (−π, π]. A reconstruction of zero has no phase: it counts like a uniform phase, π/√3.

    Parameters
    ----------
    reference, test : array_like of complex, shape (height, width)
    """
    z, z_hat = _complex_pair(reference, test)
    weight = np.abs(z)
    if weight.sum() == 0:
        raise UndefinedMetric("the reference is zero everywhere")
    error = np.where(z_hat == 0, np.pi / np.sqrt(3), np.angle(z_hat * z.conj()))
    return np.sqrt((weight * error**2).sum() / weight.sum())
