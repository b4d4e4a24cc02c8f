"""Simulated scenes: a known reflectivity, and gamma speckle of known looks over it.

The reflectivity has what the metrics look for: homogeneous regions with straight edges between them, textured regions,
thin dark roads, and point targets. Its levels are those of Sentinel-1 VV backscatter. Scenes of the catalog share their
reflectivity over all numbers of looks, so that looks can be compared on equal ground.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from sarlab.errors import SceneError
from sarlab.scenes.radiometry import fit_normalizers, to_db
from sarlab.scenes.scene import Scene
from sarlab.scenes.speckle import speckle
from sarlab.scenes.splits import Split

CONTENTS = ("regions", "texture", "roads", "targets")

#: Land classes: (mean dB, standard deviation of the log-texture in nepers, share of regions).
_CLASSES = (
    ("water", -20.0, 0.0, 0.15),
    ("bare", -14.5, 0.0, 0.20),
    ("crop", -11.5, 0.0, 0.25),
    ("meadow", -10.0, 0.15, 0.10),
    ("forest", -8.0, 0.25, 0.20),
    ("urban", -4.0, 0.60, 0.10),
)
_ROAD_DB = -18.0


@dataclass(frozen=True)
class SimulationSpec:
    """A simulated scene.

    Parameters
    ----------
    height, width : int
        Pixels.
    looks : float
        L > 0, fractional allowed.
    correlation : float
        Of the speckle intensity of neighbors, 0 (white) to below 1.
    seed : int
        Of reflectivity and speckle; the reflectivity depends on nothing else but the size and the content.
    content : tuple of str
        Among ``"regions"``, ``"texture"``, ``"roads"``, ``"targets"``; empty is one homogeneous area of −10 dB.
    quantity : {"db", "intensity", "amplitude"}
        Of the scenes returned.
    """

    height: int = 256
    width: int = 256
    looks: float = 4.4
    correlation: float = 0.0
    seed: int = 0
    content: tuple[str, ...] = CONTENTS
    quantity: str = "db"

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise SceneError(f"a simulated scene needs at least one pixel, not {self.height}×{self.width}")
        unknown = set(self.content) - set(CONTENTS)
        if unknown:
            raise SceneError(f"unknown content {', '.join(sorted(unknown))}; use {', '.join(CONTENTS)}")
        if self.quantity not in ("db", "intensity", "amplitude"):
            raise SceneError(f"unknown quantity '{self.quantity}' of a simulated scene; use db, intensity or amplitude")


@dataclass(frozen=True, eq=False)
class Reflectivity:
    """The truth behind a simulated scene.

    Attributes
    ----------
    background : ndarray of float64, shape (height, width)
        Linear intensity that the speckle multiplies.
    targets : ndarray of float64, shape (height, width)
        Linear intensity of point targets, added without speckle.
    regions : ndarray of int, shape (height, width)
        Number of the region of each pixel.
    textured, roads : ndarray of bool, shape (height, width)
        Where there is texture, and where there is a road.
    positions : ndarray of int, shape (n, 2)
        Row and column of each point target.
    """

    background: np.ndarray
    targets: np.ndarray
    regions: np.ndarray
    textured: np.ndarray
    roads: np.ndarray
    positions: np.ndarray

    @property
    def intensity(self) -> np.ndarray:
        """Speckle-free linear intensity."""
        return self.background + self.targets


def reflectivity(spec: SimulationSpec) -> Reflectivity:
    """Reflectivity field of a specification; looks and correlation touch nothing but the width of point targets."""
    generator = np.random.default_rng([spec.seed, 0])
    shape = (spec.height, spec.width)
    rows, columns = np.mgrid[: spec.height, : spec.width].astype(float)
    regions, classes = _regions(rows, columns, generator)
    textured, roads = np.zeros(shape, bool), np.zeros(shape, bool)
    level = np.full(shape, -10.0)
    if "regions" in spec.content:
        offsets = generator.normal(0, 0.7, classes.size)
        level = np.array([_CLASSES[c][1] for c in classes])[regions] + offsets[regions]
    background = np.power(10.0, level / 10)
    if "texture" in spec.content:
        strength = np.array([_CLASSES[c][2] for c in classes])[regions]
        texture = gaussian_filter(generator.standard_normal(shape), 1.5, mode="reflect")
        texture /= max(texture.std(), 1e-12)
        # Unit mean: a log-normal field of log-variance s² has mean exp(s²/2).
        background = background * np.exp(strength * texture - np.square(strength) / 2)
        textured = strength > 0
    if "roads" in spec.content:
        roads = _roads(rows, columns, generator)
        background = np.where(roads, 10 ** (_ROAD_DB / 10), background)
    targets, positions = np.zeros(shape), np.zeros((0, 2), int)
    if "targets" in spec.content:
        targets, positions = _targets(shape, spec.correlation, generator)
    return Reflectivity(background, targets, regions, textured & ~roads, roads, positions)


def _regions(rows: np.ndarray, columns: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Cells around random centers, about 60 pixels wide, each of one land class."""
    height, width = rows.shape
    count = max(3, round(height * width / 60**2))
    centers = generator.random((count, 2)) * (height, width)
    shares = np.array([c[3] for c in _CLASSES])
    classes = generator.choice(len(_CLASSES), count, p=shares / shares.sum())
    _, regions = cKDTree(centers).query(np.stack([rows.ravel(), columns.ravel()], -1))
    return regions.reshape(rows.shape), classes


def _roads(rows: np.ndarray, columns: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Straight dark lines, 1 to 4 pixels wide, across the scene."""
    height, width = rows.shape
    mask = np.zeros(rows.shape, bool)
    for _ in range(max(1, round(np.sqrt(height * width) / 80))):
        row, column = generator.random(2) * (height, width)
        angle, thickness = generator.random() * np.pi, generator.uniform(1, 4)
        distance = np.abs((rows - row) * np.cos(angle) - (columns - column) * np.sin(angle))
        mask |= distance < thickness / 2
    return mask


def _targets(
    shape: tuple[int, int], correlation: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Point targets of 0 to 20 dB at whole pixels; as wide as the speckle is correlated.

    Few enough to stay above the 99.9 % percentile, so that they do not stretch the clip range.
    """
    count = max(1, round(shape[0] * shape[1] / 100**2))
    positions = np.stack([generator.integers(0, side, count) for side in shape], -1)
    power = np.power(10.0, generator.uniform(0, 20, count) / 10)
    targets = np.zeros(shape)
    np.maximum.at(targets, tuple(positions.T), power)
    if correlation > 0:
        # The intensity response has the shape of the speckle autocorrelation; its peak is kept.
        sigma = np.sqrt(-1 / (2 * np.log(correlation)))
        unit = np.zeros((2 * int(np.ceil(4 * sigma)) + 1,) * 2)
        unit[unit.shape[0] // 2, unit.shape[1] // 2] = 1
        peak = gaussian_filter(unit, sigma, mode="constant").max()
        targets = gaussian_filter(targets, sigma, mode="constant") / peak
    return targets, positions


def simulate(spec: SimulationSpec, name: str = "") -> tuple[Scene, Scene]:
    """Draw a scene and its speckle-free truth.

    Returns
    -------
    scene : Scene
        With speckle.
    clean : Scene
        Without; same name and geometry, infinite looks.
    """
    truth = reflectivity(spec)
    field = speckle((spec.height, spec.width), spec.looks, np.random.default_rng([spec.seed, 1]), spec.correlation)
    name = name or f"simulated-l{spec.looks:g}{'-correlated' if spec.correlation else ''}-s{spec.seed}"
    common: dict[str, Any] = dict(
        bands=("VV",), name=name, spacing=(10.0, 10.0), native_bits=16, acquisition=f"simulation seed {spec.seed}",
        simulated=True, tags={"correlation": f"{spec.correlation:g}", "seed": str(spec.seed)},
    )  # fmt: skip
    noisy = Scene((truth.background * field + truth.targets)[None], "intensity", looks=spec.looks, **common)
    clean = Scene(truth.intensity[None], "intensity", looks=float("inf"), **common)
    return _as_quantity(noisy, spec.quantity), _as_quantity(clean, spec.quantity)


def _as_quantity(scene: Scene, quantity: str) -> Scene:
    if quantity == "db":
        return to_db(scene)
    if quantity == "amplitude":
        return scene.with_data(np.sqrt(scene.data), quantity="amplitude")
    return scene


#: Looks and correlations of the catalog. 0.6 is what resampled Sentinel-1 products show at least.
CATALOG_LOOKS = (1.0, 4.4, 16.0, 64.0)
CATALOG_CORRELATION = 0.6
_ROLES = {"train": (256, (100, 101, 102, 103)), "validation": (256, (200,)), "test": (320, (300, 301))}


def catalog_names() -> Iterator[tuple[str, float, float]]:
    """(name, looks, correlation) of each simulated source."""
    for looks in CATALOG_LOOKS:
        yield f"simulated-l{looks:g}", looks, 0.0
        yield f"simulated-l{looks:g}-correlated", looks, CATALOG_CORRELATION


@lru_cache(maxsize=8)
def simulated_split(looks: float, correlation: float = 0.0) -> Split:
    """Training, validation and test scenes of different seeds, with their clean scenes.

    Samples are rounded to 1/256 dB, so that machines whose mathematical libraries differ in the last bit hold the
    same scenes.
    """
    parts: dict[str, list[Scene]] = {}
    clean: dict[str, Scene] = {}
    prefix = f"simulated-l{looks:g}{'-correlated' if correlation else ''}"
    for role, (side, seeds) in _ROLES.items():
        parts[role] = []
        for number, seed in enumerate(seeds):
            name = f"{prefix}-{role}-{number}"
            noisy, truth = simulate(SimulationSpec(side, side, looks, correlation, seed), name)
            seen = "true" if role == "train" else "false"
            parts[role].append(replace(_rounded(noisy), seen_in_training=seen))
            clean[name] = replace(_rounded(truth), seen_in_training=seen)
    kind = f"neighbors correlated by {correlation:g}" if correlation else "white"
    note = (
        f"Simulated: gamma speckle of {looks:g} looks ({kind}) over regions, texture, roads and point targets. Training, "
        "validation and test have different seeds. The clip range is that of their own training scenes."
    )
    return Split(
        tuple(parts["train"]), tuple(parts["validation"]), tuple(parts["test"]), (),
        fit_normalizers(parts["train"]), note, clean=clean,
    )  # fmt: skip


def _rounded(scene: Scene) -> Scene:
    return scene.with_data(np.round(scene.data * 256) / np.float32(256))
