"""Levels: map native samples of a product to the normalized ones of a model and back; find flat areas."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np

from sarlab.codec.container import CENTER_UNIT, DTYPES, Header
from sarlab.codec.tiles import CODED, FLAT, FLAT_UNIT, blocks_of
from sarlab.scenes.radiometry import FLOOR_TAG, NATIVE_TAG, from_db, to_db, zero_floor_db
from sarlab.scenes.scene import Scene

#: Most samples for a percentile.
_MOST_SAMPLES = 1 << 22
#: Center in dB of a band without samples.
_ASSUMED = -15.0
#: dB per normalized unit: quality is an error on this scale, the same for all scenes.
WIDTH = 30.0
#: Fewest blocks of one value that justify stating it in the header.
FEWEST_FLAT = 4


@dataclass(frozen=True)
class Levels:
    """The mapping between native and normalized samples; one entry per band."""

    bands: tuple[str, ...]
    #: Of decoded samples: "db", "amplitude" or "intensity"; sample type of the source file.
    quantity: str
    dtype: str
    #: dB level that becomes zero, and that of exact zeros; NaN if they cannot occur.
    centers: tuple[float, ...]
    floors: tuple[float, ...]
    #: The band has exact zeros: samples near the floor are restored to them.
    zeros: tuple[bool, ...]
    #: Native value of flat blocks; NaN for a band without flat blocks.
    flats: tuple[float, ...]
    #: Normalized samples are the native ones.
    native: bool = False

    @property
    def stored_floors(self) -> tuple[float, ...] | None:
        """Floors to store in the header; None if there is none."""
        floors = tuple(f if z else float("nan") for f, z in zip(self.floors, self.zeros, strict=True))
        return floors if any(self.zeros) else None

    @property
    def stored_flats(self) -> tuple[float, ...] | None:
        """Flat values to store in the header; None if there is none."""
        return None if all(map(isnan, self.flats)) else self.flats

    @classmethod
    def of_header(cls, header: Header) -> Levels:
        """Levels of a file."""
        none = (float("nan"),) * len(header.bands)
        floors = header.floors or none
        zeros = tuple(not isnan(f) for f in floors)
        return cls(
            header.bands, header.quantity, header.dtype, header.centers, floors, zeros, header.flats or none, header.native,
        )  # fmt: skip

    def normalized(self, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
        """Normalize a window: float32 samples, zero where invalid, and its mask."""
        if self.native:
            return np.where(scene.valid, scene.data, 0).astype(np.float32), scene.valid
        db = to_db(scene, self.floors).data
        center = np.array(self.centers, np.float32)[:, None, None]
        return np.where(scene.valid, (db - center) / np.float32(WIDTH), np.float32(0)), scene.valid

    def flat_blocks(self, scene: Scene) -> np.ndarray | None:
        """Mark the flat blocks of a window, (bands, h, w); None if no band has a flat value."""
        if self.stored_flats is None:
            return None
        flats = np.array(self.flats, np.float32)[:, None, None]
        return blocks_of(scene.valid, FLAT_UNIT) & ~blocks_of(scene.valid & (scene.data != flats), FLAT_UNIT)

    def restored(self, x: np.ndarray, kinds: np.ndarray) -> np.ndarray:
        """Restore native float32 samples: NaN if missing, the flat value in flat blocks."""
        samples = np.where(kinds == CODED, x if self.native else self._from_db(x, kinds == CODED), np.float32(np.nan))
        for band, flat in enumerate(self.flats):
            samples[band][kinds[band] == FLAT] = flat
        return samples

    def _from_db(self, x: np.ndarray, valid: np.ndarray) -> np.ndarray:
        center = np.array(self.centers, np.float32)[:, None, None]
        db = np.where(valid, x * np.float32(WIDTH) + center, np.float32(np.nan))
        # Numbers instead of names, because `from_db` finds floors by band name and names may be equal.
        bands = tuple(str(i) for i in range(len(self.bands)))
        tags = {NATIVE_TAG: self.quantity}
        floors = {band: floor for band, floor in zip(bands, self.stored_floors or (), strict=False) if not isnan(floor)}
        if floors:
            tags[FLOOR_TAG] = json.dumps(floors)
        return from_db(Scene(db, "db", bands, valid=valid, tags=tags), self.quantity).data


def fit_levels(windows: Sequence[Scene], everything: bool) -> Levels:
    """Determine the levels of a scene: each band is centered at the mean of its samples in dB, without the flat ones.

    `windows`, in the native quantity, begin at multiples of `FLAT_UNIT`. If they are not everything, exact zeros may occur
    even if the windows have none: they get a floor, and blocks of zeros are flat unless another value is.
    """
    first = windows[0]
    pooled = [np.concatenate([w.data[b][w.valid[b]] for w in windows]) for b in range(len(first.bands))]
    floors, centers, seen = [], [], []
    flats = [_flat(windows, band) for band in range(len(first.bands))]
    zero = -np.inf if first.quantity == "db" else 0.0
    for band, samples, flat in zip(first.bands, pooled, flats, strict=True):
        seen.append(bool((samples == zero).any()))
        possible = samples if everything else np.append(samples, np.array(zero, samples.dtype))
        floor = zero_floor_db(_line(first, band, possible))[0]
        floors.append(float(np.float32(floor)))
        samples = samples[samples != flat]
        db = to_db(_line(first, band, samples), floor).data.ravel()[:: -(-samples.size // _MOST_SAMPLES) or 1]
        center = float(db.mean(dtype=np.float64)) if samples.size else _ASSUMED
        centers.append(round(min(max(center, -500.0), 500.0) * CENTER_UNIT) / CENTER_UNIT)
    if not everything:
        flats = [zero if isnan(flat) else flat for flat in flats]
    quantity = "intensity" if first.quantity == "complex" else first.quantity
    dtype = first.dtype if first.dtype in DTYPES else "float32"
    return Levels(first.bands, quantity, dtype, tuple(centers), tuple(floors), tuple(seen), tuple(flats))


def native_levels(first: Scene) -> Levels:
    """Levels of a scene whose samples are coded as they are."""
    none = (float("nan"),) * len(first.bands)
    zeros = (False,) * len(first.bands)
    return Levels(first.bands, first.quantity, first.dtype, (0.0,) * len(first.bands), none, zeros, none, native=True)


def _flat(windows: Sequence[Scene], band: int) -> float:
    """Find the value of most constant blocks; NaN if they are fewer than `FEWEST_FLAT`."""
    found = []
    for window in windows:
        data, height, width = window.data[band], *(length // FLAT_UNIT * FLAT_UNIT for length in window.shape[1:])
        blocks = data[:height, :width].reshape(height // FLAT_UNIT, FLAT_UNIT, width // FLAT_UNIT, FLAT_UNIT)
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
    """Make a scene of one row from valid samples of a band."""
    data = samples[None, None] if samples.size else np.full((1, 1, 1), np.nan, samples.dtype)
    dtype = like.dtype if like.integer else "float32"
    tags = {key: value for key, value in like.tags.items() if key == NATIVE_TAG}
    return Scene(data, like.quantity, (band,), like.name, dtype=dtype, tags=tags)
