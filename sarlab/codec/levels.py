"""Levels: between the samples of a product and the normalized numbers that a model sees, both ways."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan

import numpy as np

from sarlab.codec.header import DTYPES, Header
from sarlab.codec.tilecoder import CODED, FLAT, blocks_of
from sarlab.scenes.radiometry import FLOOR_TAG, NATIVE_TAG, Normalizer, fit_normalizer, from_db, to_db, zero_floor_db
from sarlab.scenes.scene import Scene

#: Samples looked at to find a percentile.
_MOST_SAMPLES = 1 << 22
#: For a band without any sample to look at; it decides nothing but the meaning of quality.
_ASSUMED = Normalizer(-30.0, 0.0)
#: Blocks of one sample from which on it is worth naming.
FEWEST_FLAT = 4


@dataclass(frozen=True)
class Levels:
    """Everything between native samples and normalized ones.

    Parameters
    ----------
    bands : tuple of str
    quantity : {"db", "amplitude", "intensity"}
        Of decoded samples.
    dtype : str
        Sample type of the source file.
    normalizers : tuple of Normalizer
        One a band.
    floors : tuple of float
        dB level of exact zeros, one a band; NaN where zeros cannot occur.
    zeros : tuple of bool
        Bands in which exact zeros were seen: there, samples near the floor are restored to exact zeros.
    flats : tuple of float
        Native sample of each band that whole blocks may consist of; NaN for a band without.
    own : bool
        The normalizers are the model's own, so that a file need not store them.
    """

    bands: tuple[str, ...]
    quantity: str
    dtype: str
    normalizers: tuple[Normalizer, ...]
    floors: tuple[float, ...]
    zeros: tuple[bool, ...] = ()
    flats: tuple[float, ...] = ()
    own: bool = False

    @property
    def stored_floors(self) -> tuple[float, ...] | None:
        """Floors that a decoder needs to know; None where there is none."""
        floors = tuple(f if z else float("nan") for f, z in zip(self.floors, self.zeros, strict=True))
        return floors if any(self.zeros) else None

    @property
    def stored_flats(self) -> tuple[float, ...] | None:
        """Flats that a decoder needs to know; None where there is none."""
        return None if all(map(isnan, self.flats)) else self.flats

    @classmethod
    def of_header(cls, header: Header, known: Mapping[str, Normalizer]) -> Levels:
        """Levels that a file states; `known` are the model's own normalizers."""
        if header.normalizers is None:
            normalizers = tuple(known[band] for band in header.bands)
        else:
            normalizers = tuple(Normalizer(low, high) for low, high in header.normalizers)
        floors = header.floors or (float("nan"),) * len(header.bands)
        zeros = tuple(not isnan(f) for f in floors)
        flats = header.flats or (float("nan"),) * len(header.bands)
        own = header.normalizers is None
        return cls(header.bands, header.quantity, header.dtype, normalizers, floors, zeros, flats, own)

    def normalized(self, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
        """Normalized float32 samples of a window, zeros where invalid, and its mask."""
        db = to_db(scene, self.floors).data
        low = np.array([n.low for n in self.normalizers], np.float32)[:, None, None]
        width = np.array([n.width for n in self.normalizers], np.float32)[:, None, None]
        return np.where(scene.valid, (db - low) / width, np.float32(0)), scene.valid

    def flat_blocks(self, scene: Scene, stride: int) -> np.ndarray | None:
        """Blocks of a window, (bands, h, w), whose valid samples are all the flat one; None where no band has one."""
        if self.stored_flats is None:
            return None
        flats = np.array(self.flats, np.float32)[:, None, None]
        return blocks_of(scene.valid, stride) & ~blocks_of(scene.valid & (scene.data != flats), stride)

    def restored(self, x: np.ndarray, kinds: np.ndarray) -> np.ndarray:
        """Native float32 samples of normalized ones: NaN where missing, the flat one where flat."""
        samples = self._restored(x, kinds == CODED)
        for band, flat in enumerate(self.flats):
            samples[band][kinds[band] == FLAT] = flat
        return samples

    def _restored(self, x: np.ndarray, valid: np.ndarray) -> np.ndarray:
        low = np.array([n.low for n in self.normalizers], np.float32)[:, None, None]
        width = np.array([n.width for n in self.normalizers], np.float32)[:, None, None]
        db = np.where(valid, x * width + low, np.float32(np.nan))
        # Numbers instead of names: `from_db` finds floors by band name, and names may be equal.
        bands = tuple(str(i) for i in range(len(self.bands)))
        tags = {NATIVE_TAG: self.quantity}
        floors = {band: floor for band, floor in zip(bands, self.stored_floors or (), strict=False) if not isnan(floor)}
        if floors:
            tags[FLOOR_TAG] = json.dumps(floors)
        return from_db(Scene(db, "db", bands, valid=valid, tags=tags), self.quantity).data


def fit_levels(windows: Sequence[Scene], known: Mapping[str, Normalizer], stride: int, everything: bool) -> Levels:
    """Levels for a scene.

    A band takes the model's own normalizer where it has the same name and its median lies inside; otherwise the 0.1 and
    99.9 percentiles of its own samples, without those that flat blocks consist of.

    Parameters
    ----------
    windows : sequence of Scene
        All of the scene, or a sample of it, in its native quantity.
    known : mapping of band name to Normalizer
    stride : int
        Side of the blocks that may be flat; windows begin on multiples of it.
    everything : bool
        The windows are all of the scene. Otherwise there may be exact zeros where none was seen: they get a floor, and
        blocks of them are flat where no other sample is.
    """
    first = windows[0]
    pooled = [np.concatenate([w.data[b][w.valid[b]] for w in windows]) for b in range(len(first.bands))]
    floors, normalizers, seen, own = [], [], [], True
    flats = [_flat(windows, band, stride) for band in range(len(first.bands))]
    for band, samples, flat in zip(first.bands, pooled, flats, strict=True):
        line = _line(first, band, samples)
        seen.append(bool((samples == (-np.inf if first.quantity == "db" else 0)).any()))
        floor = zero_floor_db(line if seen[-1] or everything else _with_zero(line))[0]
        floors.append(float(np.float32(floor)))
        samples = samples[samples != flat]
        db = to_db(_line(first, band, samples), floor).data.ravel()[:: -(-samples.size // _MOST_SAMPLES) or 1]
        kept = known.get(band)
        if not samples.size:
            fitted = kept or _ASSUMED
        elif kept is not None and kept.low <= float(np.median(db)) <= kept.high:
            fitted = kept
        else:
            fitted = fit_normalizer(db)
        own &= fitted is kept
        normalizers.append(fitted)
    if not everything:
        zero = -np.inf if first.quantity == "db" else 0.0
        flats = [zero if isnan(flat) else flat for flat in flats]
    quantity = "intensity" if first.quantity == "complex" else first.quantity
    dtype = first.dtype if first.dtype in DTYPES else "float32"
    if not own:
        normalizers = [Normalizer(float(np.float32(n.low)), float(np.float32(n.high))) for n in normalizers]
    return Levels(first.bands, quantity, dtype, tuple(normalizers), tuple(floors), tuple(seen), tuple(flats), own)


def _flat(windows: Sequence[Scene], band: int, stride: int) -> float:
    """The sample that most blocks of equal samples consist of; NaN where there are too few of them to pay for saying so."""
    found = []
    for window in windows:
        data, height, width = window.data[band], *(length // stride * stride for length in window.shape[1:])
        blocks = data[:height, :width].reshape(height // stride, stride, width // stride, stride)
        first = blocks[:, :1, :, :1]
        found.append(first.ravel()[(blocks == first).all((1, 3)).ravel()])
    values, counts = np.unique(np.concatenate(found), return_counts=True)
    values, counts = values[np.isreal(values)].real, counts[np.isreal(values)]
    if windows[0].quantity == "complex":
        values, counts = values[values == 0], counts[values == 0]
    if len(values) and counts.max() >= FEWEST_FLAT:
        return float(values[np.argmax(counts)])
    return float("nan")


def _line(like: Scene, band: str, samples: np.ndarray) -> Scene:
    """Valid samples of one band as a scene of one row."""
    data = samples[None, None] if samples.size else np.full((1, 1, 1), np.nan, samples.dtype)
    return Scene(data, like.quantity, (band,), like.name, dtype=like.dtype, tags=_native(like))


def _native(scene: Scene) -> dict[str, str]:
    return {NATIVE_TAG: scene.tags[NATIVE_TAG]} if NATIVE_TAG in scene.tags else {}


def _with_zero(line: Scene) -> Scene:
    zero = np.full((1, 1, 1), -np.inf if line.quantity == "db" else 0, line.data.dtype)
    valid = np.concatenate([line.valid, np.ones((1, 1, 1), bool)], 2)
    return replace(line, data=np.concatenate([line.data, zero], 2), valid=valid)
