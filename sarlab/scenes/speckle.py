"""Speckle of known law: gamma with any number of looks, white or with a given correlation between neighbors.

White: independent gamma draws. Correlated, two ways with the same marginal and the same Gaussian-shaped autocorrelation
ρ(d) = ρ₁^(d²), d the distance in pixels:

- L an integer up to 16: the mean of L squared moduli of filtered circular complex Gaussian fields, which is how a
  multilooked, oversampled product comes about. The intensity correlation is the squared field correlation.
- any other L: a Gaussian copula. A real Gaussian field is filtered, mapped to uniform by its distribution function and to
  gamma by the inverse one, so that the marginal is exact; the correlation of the Gaussian field that gives ρ₁ after the
  mapping comes from its Hermite expansion.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import fft
from scipy.optimize import brentq
from scipy.special import gammainccinv, gammaincinv, ndtr

from sarlab.errors import SceneError

#: Integer looks up to here are simulated as sums of complex fields.
_MOST_FIELDS = 16
_HERMITE_TERMS = 60


def speckle(
    shape: tuple[int, int], looks: float, generator: np.random.Generator, correlation: float = 0.0
) -> np.ndarray:
    """Speckle of unit mean and variance 1/L.

    Parameters
    ----------
    shape : (height, width)
    looks : float
        L > 0, fractional or not: the shape of the gamma law.
    generator : numpy.random.Generator
    correlation : float
        Correlation coefficient of the intensity of horizontal or vertical neighbors, from 0 to below 1.

    Returns
    -------
    ndarray of float64, shape (height, width)

    References
    ----------
    J. W. Goodman, "Speckle Phenomena in Optics", 2007, chapter 3.
    """
    if not looks > 0 or not np.isfinite(looks):
        raise SceneError(f"looks must be positive and finite, not {looks}")
    if not 0 <= correlation < 1:
        raise SceneError(f"the correlation of neighboring pixels must lie in [0, 1), not {correlation}")
    if correlation == 0:
        return generator.gamma(looks, 1 / looks, shape)
    if float(looks).is_integer() and looks <= _MOST_FIELDS:
        fields = (complex_speckle(shape, generator, np.sqrt(correlation)) for _ in range(int(looks)))
        return sum(np.square(f.real) + np.square(f.imag) for f in fields) / looks
    gaussian = gaussian_field(shape, generator, _copula_correlation(float(looks), float(correlation)))
    return _gamma_from_gaussian(gaussian, looks)


def complex_speckle(shape: tuple[int, int], generator: np.random.Generator, correlation: float = 0.0) -> np.ndarray:
    """Fully developed single-look complex speckle, E|z|² = 1.

    Parameters
    ----------
    correlation : float
        Of the complex field between neighbors; that of its intensity is the square.

    Returns
    -------
    ndarray of complex128, shape (height, width)
    """
    real = gaussian_field(shape, generator, correlation)
    return (real + 1j * gaussian_field(shape, generator, correlation)) / np.sqrt(2)


def gaussian_field(shape: tuple[int, int], generator: np.random.Generator, correlation: float = 0.0) -> np.ndarray:
    """Standard normal field with autocorrelation ρ^(d²), ρ the correlation of neighbors.

    The filter is the square root of the spectrum of that autocorrelation, which is exact; the field is drawn larger and
    cut, so that opposite borders are not neighbors.
    """
    if correlation == 0:
        return generator.standard_normal(shape)
    # Beyond this distance the autocorrelation is below 1e-6.
    reach = int(np.ceil(np.sqrt(np.log(1e-6) / np.log(correlation))))
    size = tuple(fft.next_fast_len(side + reach, real=True) for side in shape)
    filters = []
    for side in size:
        distance = np.minimum(np.arange(side), side - np.arange(side))
        spectrum = fft.fft(np.power(correlation, np.square(distance.astype(float)))).real
        filters.append(np.sqrt(np.maximum(spectrum, 0)))
    white = fft.rfft2(generator.standard_normal(size))
    field = fft.irfft2(white * filters[0][:, None] * filters[1][None, : white.shape[1]], size)
    return field[: shape[0], : shape[1]]


def speckle_over(
    reflectivity: np.ndarray, looks: float, generator: np.random.Generator, correlation: float = 0.0
) -> np.ndarray:
    """Multiply a speckle-free linear intensity, such as a despeckled real scene, by speckle.

    Parameters
    ----------
    reflectivity : ndarray, shape (..., height, width)
        Linear intensity; NaN stays NaN. Leading axes (bands) get speckle of their own.

    Returns
    -------
    ndarray of float64, same shape
    """
    reflectivity = np.asarray(reflectivity, np.float64)
    lead, shape = reflectivity.shape[:-2], reflectivity.shape[-2:]
    if np.nanmin(reflectivity, initial=0.0) < 0:
        raise SceneError("a reflectivity is a linear intensity and never negative; convert dB first")
    planes = [speckle(shape, looks, generator, correlation) for _ in range(int(np.prod(lead, dtype=int)))]
    return reflectivity * np.reshape(planes, (*lead, *shape))


def _gamma_from_gaussian(gaussian: np.ndarray, looks: float) -> np.ndarray:
    """Map standard normal samples to gamma samples of unit mean; each tail from its own side, for precision."""
    out = np.empty_like(gaussian)
    upper = gaussian > 0
    out[upper] = gammainccinv(looks, ndtr(-gaussian[upper])) / looks
    out[~upper] = gammaincinv(looks, ndtr(gaussian[~upper])) / looks
    return out


@lru_cache(maxsize=64)
def _copula_correlation(looks: float, correlation: float) -> float:
    """Correlation of the Gaussian field whose gamma image has the given correlation."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(180)
    keep = np.abs(nodes) < 30
    nodes, weights = nodes[keep], weights[keep] / np.sqrt(2 * np.pi)
    values = _gamma_from_gaussian(nodes, looks)
    powers = []
    before, here = np.zeros_like(nodes), np.ones_like(nodes)
    for k in range(1, _HERMITE_TERMS + 1):
        # Normalized Hermite polynomials: p_k = (x·p_{k−1} − √(k−1)·p_{k−2}) / √k.
        before, here = here, (nodes * here - np.sqrt(k - 1) * before) / np.sqrt(k)
        powers.append(np.sum(weights * values * here) ** 2)
    shares = np.array(powers) / np.sum(powers)
    orders = np.arange(1, _HERMITE_TERMS + 1)
    return float(brentq(lambda r: np.sum(shares * r**orders) - correlation, 0.0, 1.0, xtol=1e-10))
