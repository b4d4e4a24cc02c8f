"""Radiometry: amplitude, intensity and dB; exact zeros; normalizers; local means; gray values.

dB is always 10·log10(intensity); intensity is amplitude squared or the squared modulus. Nothing is clipped.

An exact zero is a measured value without a logarithm. `to_db` maps it to a **floor**: half of the smallest positive
sample that can occur, in the unit of the product. For integer products this is half a quantum (amplitude 0.5, that is
−6.02 dB; intensity 0.5, −3.01 dB), for floats half of the smallest positive sample of the band (in dB files with samples
of minus infinity, half of the smallest positive intensity). `from_db` turns every sample that is closer to the floor than
to the smallest positive sample back into an exact zero.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sarlab.errors import SceneError
from sarlab.scenes.scene import NATIVE_TAG, Scene

#: Message about a value of another type.
NO_SCENE = "a scene is needed, not {}; make one of an array: sarlab.Scene(array, quantity='db', bands=['VV'])"
#: Tag of a scene in dB that makes the conversion back exact.
FLOOR_TAG = "SARLAB_ZERO_FLOOR_DB"

#: dB per factor of ten.
_DECADE = {"amplitude": 20, "complex": 20, "intensity": 10, "db": 10}
#: Decades between the floor and the smallest positive sample: a factor of two in amplitude or in intensity.
_GAP = math.log10(2)


def decibels(data: np.ndarray, quantity: str, name: str = "") -> np.ndarray:
    """Convert samples to dB: float64, as they are if they are in dB; zeros become minus infinity, negative ones are refused."""
    if quantity == "db":
        return np.asarray(data)
    if quantity == "complex":
        data = np.hypot(np.asarray(data).real.astype(np.float64), np.asarray(data).imag)
    data = np.asarray(data, np.float64)
    if np.nanmin(data, initial=0.0) < 0:
        raise SceneError(f"{name}{negative_samples(quantity, data[~np.isnan(data)])}; they have no logarithm")
    with np.errstate(divide="ignore"):
        return _DECADE[quantity] * np.log10(data)


def negative_samples(quantity: str, samples: np.ndarray) -> str:
    """Say what negative amplitudes or intensities may mean, and what to do about them."""
    negative, lowest = samples[samples < 0], samples.min()
    share = negative.size / samples.size
    text = f"{share:.2%} of the samples are negative {quantity} ({lowest:.4g})"
    if negative.size > 1 and lowest <= -1 and (negative == lowest).all():
        return (
            f"{text}, all of one value; if it marks missing samples, declare it (gdal_edit.py -a_nodata {lowest:.9g})"
        )
    if share >= 0.7 and -200 <= lowest < -1:
        return f"{text}; the samples are probably in dB (quantity 'db')"
    kind = ", or quantity 'iq' for pairs of bands I and Q, or 'db' for samples in dB" if share > 0.2 else ""
    return f"{text}; noise subtraction leaves such samples: set a floor to replace them by (--floor 0){kind}"


def infinite_samples(data: np.ndarray) -> np.ndarray:
    """Mark infinite samples, which measure nothing; −∞ dB is an exact zero."""
    return np.isinf(data) if np.iscomplexobj(data) else data == np.inf


def zero_floor_db(scene: Scene) -> tuple[float, ...]:
    """Return the floor for exact zeros of each band in dB (see the module's docstring); NaN for a band without zeros."""
    native = scene.tags.get(NATIVE_TAG, scene.quantity)
    zero, gap = -np.inf if scene.quantity == "db" else 0, _DECADE[native] * _GAP
    floors = []
    for samples, valid in zip(scene.data, scene.valid, strict=True):
        positive = samples[valid & (samples != zero)]
        if not (samples == zero).any():
            floors.append(float("nan"))
        elif positive.size == 0 or (scene.integer and native != "db"):
            floors.append(-gap)
        else:
            smallest = positive.min() if scene.quantity == "db" else np.abs(positive).min()
            floors.append(float(decibels(smallest, scene.quantity)) - gap)
    return tuple(floors)


def stored_floors(scene: Scene) -> np.ndarray | None:
    """Return the floors that `to_db` stored in the tags, one per band and NaN for none; None without such a tag."""
    text = scene.tags.get(FLOOR_TAG)
    if text is None:
        return None
    try:
        known = json.loads(text)
        return np.array([float(known.get(band, "nan")) for band in scene.bands])
    except (ValueError, TypeError, AttributeError):
        raise SceneError(f"scene '{scene.name}': tag {FLOOR_TAG}={text!r} is no table of numbers; remove it") from None


def to_db(scene: Scene, floors: Sequence[float] | None = None) -> Scene:
    """Convert a scene to dB, with exact zeros on a floor and all other samples unclipped; the phase of a complex scene is lost.

    Its tags keep the native quantity and, if there are zeros, the floor of each band: `floors`, by default `zero_floor_db`.
    A product is converted window by window consistently only with given floors.
    """
    if not isinstance(scene, Scene):
        raise SceneError(NO_SCENE.format(type(scene).__name__))
    floors = zero_floor_db(scene) if floors is None else floors
    db = decibels(scene.data, scene.quantity, f"scene '{scene.name}': ")
    zeros = db == -np.inf
    tags = {**scene.tags, NATIVE_TAG: scene.tags.get(NATIVE_TAG, scene.quantity)}
    if zeros.any():
        db = np.where(zeros, np.asarray(floors)[:, None, None], db)
        # By band name, so that a single band of the scene still finds its own.
        known = {band: float(f) for band, f in zip(scene.bands, floors, strict=True) if np.isfinite(f)}
        tags[FLOOR_TAG] = json.dumps(known)
    return scene.with_data(db.astype(np.float32, copy=False), quantity="db", tags=tags)


def from_db(scene: Scene, quantity: str | None = None, floors: Sequence[float] | None = None) -> Scene:
    """Convert a scene back from dB: the inverse of `to_db`, exact zeros included, not rounded.

    The default of `quantity` is that before `to_db`, and intensity if that was complex or is not recorded; that of `floors`
    those in the tags.
    """
    if scene.quantity != "db":
        raise SceneError(f"scene '{scene.name}': from_db needs a scene in dB, not in {scene.quantity}")
    tags = dict(scene.tags)
    native = tags.pop(NATIVE_TAG, "")
    limits = stored_floors(scene) if floors is None else np.array(floors)
    tags.pop(FLOOR_TAG, None)
    if quantity is None:
        quantity = native if native in ("amplitude", "intensity", "db") else "intensity"
    if quantity not in ("amplitude", "intensity", "db"):
        raise SceneError(f"scene '{scene.name}': a scene in dB cannot become '{quantity}'; use amplitude or intensity")
    data = np.asarray(scene.data, np.float64)
    if limits is not None:
        limits = limits + _DECADE.get(native, 10) * _GAP / 2
        data = np.where(data < limits[:, None, None], -np.inf, data)
    if quantity != "db":
        data = np.power(10.0, data / _DECADE[quantity])
    data = np.minimum(data, np.finfo(np.float32).max)  # intensities of complex samples may exceed it
    return scene.with_data(data.astype(np.float32), quantity=quantity, tags=tags)


@dataclass(frozen=True)
class Normalizer:
    """Affine map of dB samples: [low, high] → [0, 1], without clipping, hence invertible.

    By convention low and high are the 0.1 and 99.9 percentiles of the training samples of one band; PSNR clips to them.
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
        """Map dB (array or tensor) to network units."""
        return (db - self.low) / self.width

    def denormalize(self, values: Any) -> Any:
        """Map network units (array or tensor) to dB."""
        return values * self.width + self.low


def fit_normalizer(samples_db: np.ndarray) -> Normalizer:
    """Fit a normalizer to training samples in dB, ignoring NaN and infinities.

    A range below 1 dB is widened to 1 dB, so that constant samples leave the map invertible.
    """
    samples = np.asarray(samples_db, np.float64)
    samples = samples[np.isfinite(samples)]
    if samples.size == 0:
        raise SceneError("no valid sample to fit a normalizer to; the training scenes are all nodata")
    # Rounded, so that the recorded pair is the pair in use.
    low, high = (round(float(p), 4) for p in np.percentile(samples, (0.1, 99.9)))
    if high - low < 1.0:
        middle = (low + high) / 2
        low, high = middle - 0.5, middle + 0.5
    return Normalizer(low, high)


def fit_normalizers(scenes: Iterable[Scene]) -> dict[str, Normalizer]:
    """Fit one normalizer per band name to all training scenes in dB."""
    return {band: fit_normalizer(samples) for band, samples in pooled_bands(scenes).items()}


def pooled_bands(scenes: Iterable[Scene]) -> dict[str, np.ndarray]:
    """Return the valid samples of all scenes in dB by band name."""
    pooled: dict[str, list[np.ndarray]] = {}
    for scene in scenes:
        if scene.quantity != "db":
            raise SceneError(f"scene '{scene.name}': a normalizer is fitted to dB, not to {scene.quantity}; use to_db")
        for index, band in enumerate(scene.bands):
            pooled.setdefault(band, []).append(scene.data[index][scene.valid[index]])
    return {band: np.concatenate(parts) for band, parts in pooled.items()}


def local_mean(values: np.ndarray, valid: np.ndarray, side: int) -> np.ndarray:
    """Average the valid samples of an image in a `side`×`side` window, mirrored at the border; 0 where invalid."""
    from scipy.ndimage import uniform_filter

    total = uniform_filter(np.where(valid, values, 0.0), side, mode="reflect")
    if valid.all():
        return total
    weight = np.maximum(uniform_filter(valid.astype(np.float64), side, mode="reflect"), 1e-9)
    with np.errstate(all="ignore"):
        return np.where(valid, total / weight, 0)


def to_gray(image_db: np.ndarray, clip: tuple[float, float], levels: int = 256) -> np.ndarray:
    """Convert an image in dB to `levels` gray values (uint8), for display only: `clip` is black and white, NaN black."""
    low, high = clip
    unit = np.clip((np.nan_to_num(image_db, nan=low) - low) / (high - low), 0, 1)
    return np.round(np.round(unit * (levels - 1)) * (255 / (levels - 1))).astype(np.uint8)
