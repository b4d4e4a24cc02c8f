"""Simulated scenes: a known reflectivity, multiplied by gamma speckle of known looks.

The reflectivity contains homogeneous regions with straight edges between them, textured regions, thin dark roads and
point targets, at the levels of Sentinel-1 VV backscatter. Scenes of the catalog that differ only in their looks share the
same reflectivity.

Speckle is gamma distributed, white or correlated with the Gaussian-shaped autocorrelation ρ(d) = ρ₁^(d²), where d is the
distance in pixels. Correlated speckle is drawn in two ways of the same distribution:

- Integer L up to 16: the mean of L squared moduli of filtered circular complex Gaussian fields, as in a multilooked,
  oversampled product. The intensity correlation is the square of the field correlation.
- Any other L: a Gaussian copula. A filtered real Gaussian field is mapped to uniform by its distribution function and to
  gamma by the inverse one, so the marginal is exact. The Gaussian correlation that gives ρ₁ after this mapping follows
  from its Hermite expansion.
"""

import itertools
from functools import lru_cache

import numpy as np
from scipy import fft
from scipy.ndimage import gaussian_filter
from scipy.optimize import brentq
from scipy.spatial import cKDTree
from scipy.special import gammainccinv, gammaincinv, ndtr

from sarlab.errors import SceneError
from sarlab.scenes.radiometry import fit_normalizers, to_db
from sarlab.scenes.scene import Scene
from sarlab.scenes.splits import Split

#: Land classes: (mean dB, standard deviation of the log-texture in nepers, share of regions).
_CLASSES = {
    "water": (-20.0, 0.0, 0.15), "bare": (-14.5, 0.0, 0.20), "crop": (-11.5, 0.0, 0.25),
    "meadow": (-10.0, 0.15, 0.10), "forest": (-8.0, 0.25, 0.20), "urban": (-4.0, 0.60, 0.10),
}  # fmt: skip
_LEVELS, _TEXTURES, _SHARES = np.array(list(_CLASSES.values())).T
_ROAD_DB = -18.0
_HERMITE_TERMS = 60


def reflectivity(shape: tuple[int, int], seed: int = 0, correlation: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Draw the linear intensity of a scene without speckle.

    Returns a background, to be multiplied by speckle, and point targets, to be added, which alone depend on the correlation.
    """
    generator = np.random.default_rng([seed, 0])
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(float)
    regions, classes = _regions(rows, columns, generator)
    offsets = generator.normal(0, 0.7, classes.size)
    background = np.power(10.0, (_LEVELS[classes][regions] + offsets[regions]) / 10)
    strength = _TEXTURES[classes][regions]
    texture = gaussian_filter(generator.standard_normal(shape), 1.5, mode="reflect")
    texture /= max(texture.std(), 1e-12)
    # Unit mean: a log-normal field of log-variance s² has mean exp(s²/2).
    background = background * np.exp(strength * texture - np.square(strength) / 2)
    background = np.where(_roads(rows, columns, generator), 10 ** (_ROAD_DB / 10), background)
    return background, _targets(shape, correlation, generator)


def _regions(rows: np.ndarray, columns: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw Voronoi cells about 60 pixels wide, each of one land class; return cell indices and classes."""
    height, width = rows.shape
    count = max(3, round(height * width / 60**2))
    centers = generator.random((count, 2)) * (height, width)
    classes = generator.choice(len(_CLASSES), count, p=_SHARES / _SHARES.sum())
    _, regions = cKDTree(centers).query(np.stack([rows.ravel(), columns.ravel()], -1))
    return regions.reshape(rows.shape), classes


def _roads(rows: np.ndarray, columns: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draw straight lines, 1 to 4 pixels wide, across the scene."""
    height, width = rows.shape
    mask = np.zeros(rows.shape, bool)
    for _ in range(max(1, round(np.sqrt(height * width) / 80))):
        row, column = generator.random(2) * (height, width)
        angle, thickness = generator.random() * np.pi, generator.uniform(1, 4)
        distance = np.abs((rows - row) * np.cos(angle) - (columns - column) * np.sin(angle))
        mask |= distance < thickness / 2
    return mask


def _targets(shape: tuple[int, int], correlation: float, generator: np.random.Generator) -> np.ndarray:
    """Draw point targets of 0 to 20 dB at whole pixels, as wide as the speckle is correlated.

    They are few enough to lie above the 99.9 % percentile, so that they do not widen the clip range.
    """
    count = max(1, round(shape[0] * shape[1] / 100**2))
    positions = np.stack([generator.integers(0, side, count) for side in shape], -1)
    power = np.power(10.0, generator.uniform(0, 20, count) / 10)
    targets = np.zeros(shape)
    np.maximum.at(targets, tuple(positions.T), power)
    if correlation > 0:
        # The response in intensity has the shape of the speckle autocorrelation; its peak is unchanged.
        sigma = np.sqrt(-1 / (2 * np.log(correlation)))
        peak = gaussian_filter(np.pad([[1.0]], int(np.ceil(4 * sigma))), sigma, mode="constant").max()
        targets = gaussian_filter(targets, sigma, mode="constant") / peak
    return targets


def speckle(
    shape: tuple[int, int], looks: float, generator: np.random.Generator, correlation: float = 0.0
) -> np.ndarray:
    """Draw speckle intensity of unit mean and variance 1/L, float64.

    `looks` L > 0, fractional or not, is the shape parameter of the gamma distribution; `correlation` in [0, 1) that of the
    intensity of horizontal or vertical neighbors.

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
    if looks in range(1, 17):
        parts = (gaussian_field(shape, generator, np.sqrt(correlation)) for _ in range(2 * int(looks)))
        squares = (np.square(part / np.sqrt(2)) for part in parts)
        return sum(real + imaginary for real, imaginary in zip(squares, squares, strict=True)) / looks
    gaussian = gaussian_field(shape, generator, _copula_correlation(float(looks), float(correlation)))
    return _gamma_from_gaussian(gaussian, looks)


def gaussian_field(shape: tuple[int, int], generator: np.random.Generator, correlation: float) -> np.ndarray:
    """Draw a standard normal field with autocorrelation ρ^(d²), where ρ is the correlation of neighbors.

    The filter is the exact square root of the spectrum of that autocorrelation. A larger field is drawn and cropped, so
    that opposite borders are uncorrelated.
    """
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


def _gamma_from_gaussian(gaussian: np.ndarray, looks: float) -> np.ndarray:
    """Map standard normal samples to gamma samples of unit mean, each tail from its own side for precision."""
    tail = ndtr(-np.abs(gaussian))
    return np.where(gaussian > 0, gammainccinv(looks, tail), gammaincinv(looks, tail)) / looks


@lru_cache(maxsize=64)
def _copula_correlation(looks: float, correlation: float) -> float:
    """Return the correlation of a Gaussian field whose gamma image has the given correlation."""
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


def simulate(
    shape: tuple[int, int], looks: float = 4.4, correlation: float = 0.0, seed: int = 0, name: str = ""
) -> tuple[Scene, Scene]:
    """Draw a scene of intensity with `speckle`, and the same scene without: of the same name, with infinite looks."""
    background, targets = reflectivity(shape, seed, correlation)
    field = speckle(shape, looks, np.random.default_rng([seed, 1]), correlation)
    noisy = Scene(
        (background * field + targets)[None], "intensity", ("VV",), name or f"{name_of(looks, correlation)}-s{seed}",
        looks=looks, spacing=(10.0, 10.0), native_bits=16, acquisition=f"simulation seed {seed}", simulated=True,
        tags={"correlation": f"{correlation:g}", "seed": str(seed)},
    )  # fmt: skip
    return noisy, noisy.with_data((background + targets)[None], looks=float("inf"))


#: Side and seeds of the scenes of a split.
_ROLES = {"train": (256, (100, 101, 102, 103)), "validation": (256, (200,)), "test": (320, (300, 301))}


def name_of(looks: float, correlation: float) -> str:
    return f"simulated-l{looks:g}{'-correlated' if correlation else ''}"


#: Looks and correlation of simulated sources by name. Resampled Sentinel-1 products have a correlation of at least 0.6.
CATALOG = {name_of(*case): case for case in itertools.product((1.0, 4.4, 16.0, 64.0), (0.0, 0.6))}


@lru_cache(maxsize=8)
def simulated_split(looks: float, correlation: float = 0.0) -> Split:
    """Simulate training, validation and test scenes of different seeds, with their clean scenes.

    Samples are rounded to 1/256 dB, so that the scenes are equal on machines whose math libraries differ in the last bit.
    """
    parts: dict[str, list[Scene]] = {role: [] for role in _ROLES}
    clean: dict[str, Scene] = {}
    for role, (side, seeds) in _ROLES.items():
        for number, seed in enumerate(seeds):
            name = f"{name_of(looks, correlation)}-{role}-{number}"
            noisy, clean[name] = (
                s.with_data(np.round(s.data * 256) / np.float32(256), seen_in_training=str(role == "train").lower())
                for s in map(to_db, simulate((side, side), looks, correlation, seed, name))
            )  # fmt: skip
            parts[role].append(noisy)
    kind = f"neighbors correlated by {correlation:g}" if correlation else "white"
    note = (
        f"Simulated: gamma speckle of {looks:g} looks ({kind}) over regions, texture, roads and point targets. Training, "
        "validation and test have different seeds. The clip range is that of their own training scenes."
    )
    train, validation, test = (tuple(scenes) for scenes in parts.values())
    return Split(train, validation, test, normalizers=fit_normalizers(train), note=note, clean=clean)
