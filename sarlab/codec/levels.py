"""Levels: the map between native samples of a product and the normalized ones of a model, flat areas, and exact means.

A codec of least squared error in dB lowers the mean intensity where it removes speckle. An encoder knows what its decoder finds, so
it can store what is missing: for each band a curve, piecewise linear in the local mean of the decoded samples, that makes the sum of
intensity under each of its knots that of the original, and then those of dark, dim, light and bright ground. The second step matters
at low rates, where ground that was dark is not decoded as dark.

    curve = lowest level, highest level (int16, 1/1024 of the normalized range), fineness e (uint8), 8 values (int8, 1/(40·2^e) dB)
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np
from scipy.ndimage import uniform_filter

from sarlab.codec.container import CENTER_UNIT, DTYPES, Header
from sarlab.codec.entropy import pack_mask
from sarlab.codec.tiles import CODED, FLAT, FLAT_UNIT, NOT_A_NUMBER, ZERO, blocks_of, kinds_of
from sarlab.errors import BitstreamError, CodecError
from sarlab.scenes.radiometry import NATIVE_TAG, from_db, local_mean, to_db, zero_floor_db
from sarlab.scenes.scene import Profile, Scene

#: Most samples for a percentile.
_MOST_SAMPLES = 1 << 22
#: Center in dB of a band without samples.
_ASSUMED = -15.0
#: dB per normalized unit: quality is an error on this scale, the same for all scenes.
WIDTH = 30.0
#: Samples of any quantity in float32 are closer than this to each other, in dB.
MOST_DB = 2500.0
#: Fewest blocks of one value that justify stating it in the header.
FEWEST_FLAT = 4
#: Largest share of a file for the places of exact zeros; below it, marking them costs less than coding their level.
MOST_FOR_ZEROS = 0.5
KNOTS = 8
#: Limits between dark, dim, light and bright ground, as shares of the samples.
QUARTERS = (0.25, 0.5, 0.75)
#: Units of a level per normalized unit, and of a value per dB at fineness 0; each step of fineness halves the unit of values.
LEVEL_UNIT, VALUE_UNIT, FINEST = 1024, 40, 5
#: Bytes of the curve of one band.
CURVE_SIZE = 5 + KNOTS
#: Side of the window whose mean is the level of a place, in samples; that of the mean that tells classes of ground apart.
LEVEL_WINDOW, GROUND_WINDOW = 25, 25
_PACKING = struct.Struct(f"<hhB{KNOTS}b")
#: Histogram bins between two knots; most iterations of a fit; its tolerance in dB.
_BINS, _ROUNDS, _SMALL = 64, 200, 1e-4
#: dB by which the classes of ground may move a knot, and bias of a class that is left to it.
_MOST_MOVED, _TOLERATED = 1.0, 0.05


@dataclass(frozen=True)
class Levels:
    """The mapping between native and normalized samples; one entry per band, as in the header of a file."""

    bands: tuple[str, ...]
    #: Of decoded samples: "db", "amplitude" or "intensity"; sample type of the source file.
    quantity: str
    dtype: str
    #: dB level that becomes zero.
    centers: tuple[float, ...]
    #: dB level near which samples are restored to exact zeros, if zeros are not marked; native value of flat blocks, NaN for bands
    #: without them.
    floors: tuple[float, ...] | None = None
    flats: tuple[float, ...] | None = None
    #: Normalized samples are the native ones.
    native: bool = False
    #: Scales and offsets of native samples, which are then coded as the integers of the file.
    packing: tuple[tuple[float, ...], tuple[float, ...]] | None = None

    @classmethod
    def of_header(cls, header: Header, profile: Profile) -> Levels:
        """Levels of a file whose metadata state a profile."""
        packing = (profile.scales, profile.offsets) if header.native and profile.scales else None
        return cls(
            header.bands, header.quantity, header.dtype, header.centers, header.floors, header.flats, header.native, packing,
        )  # fmt: skip

    @classmethod
    def of_integers(cls, first: Scene) -> Levels:
        """Levels of a scene whose samples are coded as they are."""
        centers = (0.0,) * len(first.bands)
        return cls(first.bands, first.quantity, first.dtype, centers, native=True, packing=first.packing)

    def normalized(self, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
        """Normalize a window: float32 samples, zero where invalid or marked as zeros, and the kinds of samples."""
        zeros = np.zeros((), bool) if self.native or self.floors else _zeros(scene)
        if self.native:
            data = np.where(scene.valid, scene.data, 0)
            if self.packing:
                scales, offsets = (np.reshape(values, (-1, 1, 1)) for values in self.packing)
                data = np.where(scene.valid, np.rint((data - offsets) / scales), 0)
            x = data.astype(np.float32)
        else:
            center = np.array(self.centers, np.float32)[:, None, None]
            db = to_db(scene, self.floors or self.centers).data
            x = (db - center) / np.float32(WIDTH)
            np.copyto(x, 0, where=~scene.valid | zeros)
            farthest = float(np.abs(x).max()) * WIDTH
            if not farthest < MOST_DB:
                sample = f"a sample lies {farthest:.3g} dB from the mean of its band"
                raise CodecError(f"scene '{scene.name}': {sample}; check the quantity of the samples (--quantity)")
        kinds = scene.valid.view(np.uint8)
        if self.flats is not None:
            others = scene.valid & (scene.data != np.array(self.flats, np.float32)[:, None, None])
            kinds = kinds_of(scene.valid, blocks_of(scene.valid, FLAT_UNIT) & ~blocks_of(others, FLAT_UNIT))
        if zeros.any():
            kinds = np.where(zeros & (kinds == CODED), np.uint8(ZERO), kinds)
        return x, kinds if scene.nan is None else np.where(scene.nan, np.uint8(NOT_A_NUMBER), kinds)

    def restored(self, x: np.ndarray, kinds: np.ndarray) -> np.ndarray:
        """Restore native float32 samples: NaN if missing, the flat value in flat blocks, exact zeros."""
        if self.packing:
            scales, offsets = (np.reshape(values, (-1, 1, 1)) for values in self.packing)
            x = (x * scales + offsets).astype(np.float32)
        samples = np.where(kinds == CODED, x if self.native else self._from_db(x, kinds == CODED), np.float32(np.nan))
        for band, flat in enumerate(self.flats or ()):
            samples[band][kinds[band] == FLAT] = flat
        samples[kinds == ZERO] = -np.inf if self.quantity == "db" else 0
        return samples

    def _from_db(self, x: np.ndarray, valid: np.ndarray) -> np.ndarray:
        center = np.array(self.centers, np.float32)[:, None, None]
        db = np.where(valid, x * np.float32(WIDTH) + center, np.float32(np.nan))
        scene = Scene(db, "db", self.bands, valid=valid, tags={NATIVE_TAG: self.quantity})
        return from_db(scene, self.quantity, self.floors).data


def fit_levels(windows: Sequence[Scene], everything: bool, rate: float = np.inf) -> Levels:
    """Determine the levels of a scene: each band is centered at the mean of its samples in dB, without flat ones and marked zeros.

    `windows`, in the native quantity, begin at multiples of `FLAT_UNIT`. If they are not everything, exact zeros may occur
    even if the windows have none: blocks of them are flat unless another value is. If marking the zeros would take more than
    `MOST_FOR_ZEROS` of a rate, in bits per sample, they are coded at a floor, and come back within the error.
    """
    first, zero = windows[0], -np.inf if windows[0].quantity == "db" else 0.0
    centers: list[float] = []
    floors: list[float] = []
    flats = [_flat(windows, band) for band in range(len(first.bands))]
    sizes = (len(pack_mask(mask)) for window in windows for mask in _zeros(window) if mask.any() and not mask.all())
    marked = np.isinf(rate) or 8 * sum(sizes) <= MOST_FOR_ZEROS * rate * sum(window.data.size for window in windows)
    for number, flat in enumerate(flats):
        # One zero more, because one that no window shows needs a floor, too.
        valid = [window.data[number][window.valid[number]] for window in windows]
        samples = np.concatenate([np.array([zero], first.data.dtype), *valid])
        line = first.band(number).with_data(samples[None, None], valid=None)
        floors += zero_floor_db(line)
        used = ((line.data != flat) & ~(marked & _zeros(line)))[..., 1:]
        db = to_db(line, floors[-1:]).data[..., 1:][used]
        db = db[:: -(-db.size // _MOST_SAMPLES) or 1]
        center = float(db.mean(dtype=np.float64)) if db.size else _ASSUMED
        centers.append(round(min(max(center, -500.0), 500.0) * CENTER_UNIT) / CENTER_UNIT)
    if not everything:
        flats = [zero if isnan(flat) else flat for flat in flats]
    return Levels(
        first.bands, "intensity" if first.quantity == "complex" else first.quantity,
        first.dtype if first.dtype in DTYPES else "float32", tuple(centers),
        None if marked else tuple(float(np.float32(floor)) for floor in floors),
        None if all(map(isnan, flats)) else tuple(flats),
    )  # fmt: skip


def _zeros(scene: Scene) -> np.ndarray:
    """Mark the exact zeros of a scene."""
    return scene.data == (-np.inf if scene.quantity == "db" else 0)


def _flat(windows: Sequence[Scene], band: int) -> float:
    """Find the value of most constant blocks; NaN if they are fewer than `FEWEST_FLAT`."""
    found = []
    for window in windows:
        data, height, width = window.data[band], *(length // FLAT_UNIT * FLAT_UNIT for length in window.shape[1:])
        blocks = data[:height, :width].reshape(height // FLAT_UNIT, FLAT_UNIT, width // FLAT_UNIT, FLAT_UNIT)
        first = blocks[:, :1, :, :1]
        found.append(first.ravel()[(blocks == first).all((1, 3)).ravel()])
    values, counts = np.unique(np.concatenate(found), return_counts=True)
    if windows[0].quantity == "complex":
        values, counts = values[values == 0].real, counts[values == 0]
    if len(values) and counts.max() >= FEWEST_FLAT:
        return float(values[np.argmax(counts)])
    return float("nan")


# --- exact means -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class LevelCurve:
    """dB to add to decoded samples, by the level of their place."""

    #: Levels of the first and the last knot, in 1/`LEVEL_UNIT`.
    low: int
    high: int
    #: int, shape (8,), in dB / (`VALUE_UNIT` · 2^fineness).
    values: np.ndarray
    fineness: int = 0

    def __call__(self, level: np.ndarray) -> np.ndarray:
        """dB at normalized levels, float32 of the same shape; constant beyond the ends."""
        place, share = self.place(level)
        values = self.values.astype(np.float32) / (VALUE_UNIT << self.fineness)
        return values[place] * (1 - share) + values[place + 1] * share

    def place(self, level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Knot below each level, and how far on to the next one."""
        place = (level * LEVEL_UNIT - self.low) * np.float32((KNOTS - 1) / (self.high - self.low))
        place = np.clip(place, 0, KNOTS - 1).astype(np.float32)
        below = np.minimum(place.astype(np.int64), KNOTS - 2)
        return below, place - below

    def pack(self) -> bytes:
        """The curve in `CURVE_SIZE` bytes."""
        return _PACKING.pack(self.low, self.high, self.fineness, *(int(v) for v in self.values))


def unpack_curves(side: bytes, bands: int) -> tuple[LevelCurve, ...]:
    """Curves of all bands; none if the file has none. Raises `BitstreamError`."""
    if side and len(side) != bands * CURVE_SIZE:
        raise BitstreamError(f"the header is damaged: {len(side)} bytes of curves, not {bands * CURVE_SIZE}")
    curves = [LevelCurve(low, high, np.array(v), fine) for low, high, fine, *v in _PACKING.iter_unpack(side)]
    if any(curve.low >= curve.high or curve.fineness > FINEST for curve in curves):
        raise BitstreamError("the header is damaged: levels without distance, or values too fine")
    return tuple(curves)


def correction(x_hat: np.ndarray, curves: Sequence[LevelCurve]) -> np.ndarray:
    """Correction of decoded normalized samples: float32, (bands, H, W)."""
    return np.stack([curve(x) for curve, x in zip(curves, _levels(x_hat), strict=True)]) / np.float32(WIDTH)


def fit_curves(sample: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray, tuple[slice, slice]]]) -> bytes:
    """Fit the curves of all bands, and pack them.

    Parameters
    ----------
    sample : iterable of (x, x_hat, coded, place)
        Normalized samples and their mask, (bands, H, W); decoded samples with a margin; place of the samples in those.
    """
    bands: list[list[np.ndarray]] = []
    for x, x_hat, coded, place in sample:
        levels = _levels(x_hat)
        bands = bands or [[] for _ in x]
        for band, parts in enumerate(bands):
            at = coded[band]
            ground = local_mean(10 ** (WIDTH / 10 * x[band].astype(np.float64)), at, GROUND_WINDOW)
            found = WIDTH * x[band], WIDTH * x_hat[band][place], levels[band][place], ground
            parts.append(np.stack([values[at].astype(np.float64) for values in found]))
    curves = []
    for parts in bands:
        original, decoded, level, ground = np.concatenate(parts, 1)
        classes = np.searchsorted(np.quantile(ground, QUARTERS), ground) if ground.size else ground.astype(int)
        curves.append(fit_curve(original, decoded, level.astype(np.float32), classes))
    return b"".join(curve.pack() for curve in curves)


def _levels(x_hat: np.ndarray) -> np.ndarray:
    """Local means of decoded samples: float32, same shape."""
    return uniform_filter(x_hat, (0, LEVEL_WINDOW, LEVEL_WINDOW), mode="nearest")


def fit_curve(original: np.ndarray, decoded: np.ndarray, level: np.ndarray, classes: np.ndarray) -> LevelCurve:
    """Curve that makes the sums of intensity under every knot equal, then those of every class of ground.

    `original` and `decoded` are valid samples in dB, `level` the normalized level of their places as decoded, `classes` the class of
    their places in the original, from 0: all of shape (n,).
    """
    if not level.size:
        return LevelCurve(0, 1, np.zeros(KNOTS, int))
    low, high = (int(v) for v in np.clip(np.rint(np.quantile(level, (0.01, 0.99)) * LEVEL_UNIT), -32768, 32766))
    curve = LevelCurve(low, max(high, low + 1), np.zeros(KNOTS))
    # Relative to the brightest sample, so that nothing overflows.
    top = max(float(original.max()), float(decoded.max()))
    intensities = (np.power(10.0, (db.astype(np.float64) - top) / 10) for db in (original, decoded))
    wanted, found, hats = _sums(curve.place(level), classes, *intensities)
    bound, values, by_class = 127 / VALUE_UNIT, np.zeros(KNOTS), wanted @ hats
    # What to make equal, how a change of it moves the knots, most that it may move them, and what is tolerated, all in dB.
    steps: tuple[tuple[Callable[[np.ndarray], np.ndarray], np.ndarray, float, float], ...] = (
        (lambda sums: sums.sum(0) @ hats, np.eye(KNOTS), np.inf, 0.0),
        # A class of ground lies under several knots: each moves as the classes under it need.
        # No more than a little, and for what counts: where classes are hardly told apart, much would be moved for nothing.
        (lambda sums: sums.sum(1), by_class / np.maximum(by_class.sum(0), 1e-300), _MOST_MOVED, _TOLERATED),
        # What the bounds of some knots leave is for all to carry: the mean of the scene comes first.
        (lambda sums: sums.sum()[None], np.ones((1, KNOTS)), np.inf, 0.0),
    )
    for measured, spread, most, tolerated in steps:
        start = values
        for _ in range(_ROUNDS):
            missing = _missing(measured(wanted), measured(found * 10 ** (hats @ values / 10)))
            missing = missing - np.clip(missing, -tolerated, tolerated)
            values = np.clip(np.clip(values + missing @ spread, start - most, start + most), -bound, bound)
            if np.abs(missing).max() < _SMALL:
                break
    room = bound / max(float(np.abs(values).max()), 1e-6)
    fineness = int(np.clip(np.floor(np.log2(room)), 0, FINEST))
    return LevelCurve(curve.low, curve.high, np.rint(values * (VALUE_UNIT << fineness)).astype(int), fineness)


def _sums(
    place: tuple[np.ndarray, np.ndarray], classes: np.ndarray, original: np.ndarray, decoded: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums of both intensities by class and by small steps of level, (classes, bins), and the knots' weights in each, (bins, knots)."""
    position = place[0] + place[1].astype(np.float64)
    count, width = int(classes.max()) + 1, _BINS * (KNOTS - 1)
    at = classes.astype(np.int64) * width + np.minimum((position * _BINS).astype(np.int64), width - 1)
    weights = original, decoded, decoded * position
    wanted, found, moment = (np.bincount(at, weight, count * width).reshape(count, width) for weight in weights)
    total = found.sum(0)
    center = np.where(total > 0, moment.sum(0) / np.where(total > 0, total, 1), np.arange(width) / _BINS)
    return wanted, found, np.maximum(0, 1 - np.abs(center[:, None] - np.arange(KNOTS)))


def _missing(wanted: np.ndarray, found: np.ndarray) -> np.ndarray:
    """dB by which sums fall short; 0 where either is."""
    known = (wanted > 0) & (found > 0)
    return np.asarray(np.where(known, 10 * np.log10(np.where(known, wanted, 1) / np.where(known, found, 1)), 0))
