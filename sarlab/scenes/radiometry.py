"""Radiometry: amplitude, intensity and dB, exact zeros, and the affine normalizer of network inputs.

Nothing here clips. dB is always 10·log10(intensity); intensity is amplitude squared or the squared modulus.

An exact zero has no logarithm, yet it is a measured value. `to_db` puts it on a **floor**: half of the smallest positive
sample that can occur, in the unit of the product. That is half a quantum for integer products (amplitude DN 0.5, that is
−6.02 dB; intensity 0.5, −3.01 dB) and half of the smallest positive sample of the band for floats (for dB files with
samples of minus infinity: half of the smallest positive intensity). `from_db` turns everything nearer to the floor than
to the smallest positive sample back into exact zeros.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sarlab.errors import SceneError
from sarlab.scenes.scene import Scene

#: Tags that travel with a scene in dB, so that the way back is exact.
FLOOR_TAG = "SARLAB_ZERO_FLOOR_DB"
NATIVE_TAG = "SARLAB_NATIVE_QUANTITY"

#: dB between the floor and the smallest positive sample: half an amplitude, half an intensity.
_GAP_DB = {
    "amplitude": 20 * math.log10(2),
    "complex": 20 * math.log10(2),
    "intensity": 10 * math.log10(2),
    "db": 10 * math.log10(2),
}


def intensity(data: np.ndarray, quantity: str) -> np.ndarray:
    """Linear intensity of samples of any quantity.

    Parameters
    ----------
    data : ndarray of float32 or complex64, any shape
    quantity : {"complex", "amplitude", "intensity", "db"}

    Returns
    -------
    ndarray of float64, same shape
        NaN stays NaN; minus infinity dB gives an exact zero.
    """
    if quantity == "db":
        return np.power(10.0, np.asarray(data, np.float64) / 10)
    if quantity == "intensity":
        return np.asarray(data, np.float64)
    if quantity == "amplitude":
        return np.square(np.asarray(data, np.float64))
    if quantity == "complex":
        data = np.asarray(data)
        return np.square(data.real.astype(np.float64)) + np.square(data.imag.astype(np.float64))
    raise SceneError(f"unknown quantity '{quantity}'; use complex, amplitude, intensity or db")


def amplitude(data: np.ndarray, quantity: str) -> np.ndarray:
    """Amplitude (square root of intensity) of samples of any quantity, as float64."""
    if quantity == "amplitude":
        return np.asarray(data, np.float64)
    return np.sqrt(intensity(data, quantity))


def decibels(data: np.ndarray, quantity: str) -> np.ndarray:
    """10·log10(intensity) of samples of any quantity, as float64; exact zeros give minus infinity.

    Raises
    ------
    SceneError
        Where amplitude or intensity is negative.
    """
    if quantity == "db":
        return np.asarray(data, np.float64)
    if quantity == "complex":
        data, factor = np.hypot(np.asarray(data).real.astype(np.float64), np.asarray(data).imag), 20.0
    elif quantity in ("amplitude", "intensity"):
        data, factor = np.asarray(data, np.float64), 20.0 if quantity == "amplitude" else 10.0
    else:
        raise SceneError(f"unknown quantity '{quantity}'; use complex, amplitude, intensity or db")
    if np.nanmin(data, initial=0.0) < 0:
        raise SceneError(
            f"negative {quantity} has no logarithm; the samples are probably in dB already (quantity 'db')"
        )
    with np.errstate(divide="ignore"):
        return factor * np.log10(data)


def zero_floor_db(scene: Scene) -> tuple[float, ...]:
    """Floor in dB for the exact zeros of each band (see the module's text); NaN for a band without exact zeros."""
    return tuple(_band_floor(scene, band) for band in range(scene.shape[0]))


def _band_floor(scene: Scene, band: int) -> float:
    samples = scene.data[band]
    zero = -np.inf if scene.quantity == "db" else 0
    if not (samples == zero).any():
        return float("nan")
    native = scene.tags.get(NATIVE_TAG, scene.quantity)
    gap = _GAP_DB[native]
    if scene.dtype.removeprefix("complex_").startswith(("int", "uint")) and native != "db":
        return -gap
    positive = samples[scene.valid[band] & (samples != zero)]
    if positive.size == 0:
        return -gap
    return float(
        decibels(np.min(np.abs(positive) if scene.quantity != "db" else positive), _real(scene.quantity)) - gap
    )


def stored_floors(scene: Scene) -> np.ndarray | None:
    """Floors that `to_db` left in the tags of a scene in dB, one per band, NaN for none; None where it left no tag."""
    text = scene.tags.get(FLOOR_TAG)
    if text is None:
        return None
    try:
        known = json.loads(text)
        return np.array([float(known.get(band, "nan")) for band in scene.bands])
    except (ValueError, TypeError, AttributeError):
        raise SceneError(f"scene '{scene.name}': tag {FLOOR_TAG}={text!r} is no table of numbers; remove it") from None


def _real(quantity: str) -> str:
    return "amplitude" if quantity == "complex" else quantity


def to_db(scene: Scene, floor_db: Iterable[float] | float | None = None) -> Scene:
    """The scene in dB, exact zeros on a floor; nothing else is moved.

    Parameters
    ----------
    scene : Scene
        Of any quantity. The phase of a complex scene is lost.
    floor_db : float or one float per band, optional
        Floor for exact zeros; default `zero_floor_db`. Give it where windows of one product are converted one by one.

    Returns
    -------
    Scene
        Quantity ``"db"``. Its tags keep the native quantity and, where there are zeros, the floor of each band.
    """
    if floor_db is None:
        floors = zero_floor_db(scene)
    else:
        floors = tuple(float(f) for f in np.broadcast_to(np.asarray(floor_db, float), (scene.shape[0],)))
    try:
        db = decibels(scene.data, scene.quantity)
    except SceneError as error:
        raise SceneError(f"scene '{scene.name}': {error}") from None
    zeros = np.isneginf(db)
    tags = {**scene.tags}
    tags.setdefault(NATIVE_TAG, scene.quantity)
    if zeros.any():
        db = np.where(zeros, np.asarray(floors)[:, None, None], db)
        # By band name, so that a scene of one of the bands still finds its own.
        known = {band: float(f) for band, f in zip(scene.bands, floors, strict=True) if np.isfinite(f)}
        tags[FLOOR_TAG] = json.dumps(known)
    return scene.with_data(db.astype(np.float32), quantity="db", tags=tags)


def from_db(scene: Scene, quantity: str | None = None) -> Scene:
    """Back from dB: the inverse of `to_db`, exact zeros included.

    Parameters
    ----------
    scene : Scene
        Quantity ``"db"``.
    quantity : {"amplitude", "intensity", "db"}, optional
        Default: what `to_db` started from; intensity where that was complex (its phase is gone) or is not recorded.

    Returns
    -------
    Scene
        float32, not rounded: a writer rounds where the file's sample type asks for it.
    """
    if scene.quantity != "db":
        raise SceneError(f"scene '{scene.name}': from_db needs a scene in dB, not in {scene.quantity}")
    tags = dict(scene.tags)
    native = tags.pop(NATIVE_TAG, "")
    floors = stored_floors(scene)
    tags.pop(FLOOR_TAG, None)
    if quantity is None:
        quantity = native if native in ("amplitude", "intensity", "db") else "intensity"
    if quantity not in ("amplitude", "intensity", "db"):
        raise SceneError(f"scene '{scene.name}': a scene in dB cannot become '{quantity}'; use amplitude or intensity")
    db = np.asarray(scene.data, np.float64)
    if floors is not None:
        limits = floors + _GAP_DB.get(native, _GAP_DB["db"]) / 2
        db = np.where(db < limits[:, None, None], -np.inf, db)
    if quantity == "amplitude":
        data = np.power(10.0, db / 20)
    else:
        data = intensity(db, "db") if quantity == "intensity" else db
    return scene.with_data(data.astype(np.float32), quantity=quantity, tags=tags)


@dataclass(frozen=True)
class Normalizer:
    """Affine map of dB samples: [low, high] → [0, 1], without clipping, hence invertible.

    Parameters
    ----------
    low, high : float
        In dB; by convention the 0.1 and 99.9 percentiles of the training samples of one band. The same pair is the
        clip range of PSNR, which clips for itself.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.high > self.low):
            raise SceneError(f"a normalizer needs finite low < high, not low={self.low}, high={self.high}")

    @property
    def width(self) -> float:
        """W = high − low in dB."""
        return self.high - self.low

    def normalize(self, db: Any) -> Any:
        """dB (array or tensor) → network units."""
        return (db - self.low) / self.width

    def denormalize(self, values: Any) -> Any:
        """Network units (array or tensor) → dB."""
        return values * self.width + self.low

    def to_dict(self) -> dict[str, float]:
        """Plain dictionary for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, float]) -> Normalizer:
        """Inverse of `to_dict`."""
        try:
            return cls(float(values["low"]), float(values["high"]))
        except (KeyError, TypeError, ValueError):
            raise SceneError(f"a normalizer needs the numbers 'low' and 'high', not {values!r}") from None


def fit_normalizer(samples_db: np.ndarray, percentiles: tuple[float, float] = (0.1, 99.9)) -> Normalizer:
    """Normalizer from training samples in dB (NaN and infinities are left out).

    Constant samples get a range of 1 dB around them, so that the map stays invertible.
    """
    samples = np.asarray(samples_db, np.float64)
    samples = samples[np.isfinite(samples)]
    if samples.size == 0:
        raise SceneError("no valid sample to fit a normalizer to; the training scenes are all nodata")
    # Rounded, so that the recorded pair is the pair that was used.
    low, high = (round(float(p), 4) for p in np.percentile(samples, percentiles))
    if high - low < 1.0:
        middle = (low + high) / 2
        low, high = middle - 0.5, middle + 0.5
    return Normalizer(low, high)


def fit_normalizers(scenes: Iterable[Scene], percentiles: tuple[float, float] = (0.1, 99.9)) -> dict[str, Normalizer]:
    """One normalizer per band name over all training scenes in dB."""
    pooled: dict[str, list[np.ndarray]] = {}
    for scene in scenes:
        if scene.quantity != "db":
            raise SceneError(f"scene '{scene.name}': a normalizer is fitted to dB, not to {scene.quantity}; use to_db")
        for index, band in enumerate(scene.bands):
            pooled.setdefault(band, []).append(scene.data[index][scene.valid[index]])
    return {band: fit_normalizer(np.concatenate(parts), percentiles) for band, parts in pooled.items()}
