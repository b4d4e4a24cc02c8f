"""Properties of a raster file beside its samples: where the pixels lie, how samples are stored, tags of bands, masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

#: Transform of a raster that has none.
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Georeference:
    """Position of the pixels on the ground: an affine transform, ground control points, rational polynomials (RPC).

    Parameters
    ----------
    crs : str
        Coordinate reference system of the transform as WKT; empty if unknown.
    transform : tuple of 6 floats
        Affine coefficients (a, b, c, d, e, f): x = a·column + b·row + c, y = d·column + e·row + f; `IDENTITY` for none.
    gcps : tuple of (row, column, x, y, z, id)
        Ground control points.
    gcps_crs : str
        Coordinate reference system of the control points as WKT.
    rpc : mapping of str to str
        Rational polynomial coefficients under the names that GDAL gives them.
    """

    crs: str = ""
    transform: tuple[float, float, float, float, float, float] = IDENTITY
    gcps: tuple[tuple[float, float, float, float, float, str], ...] = ()
    gcps_crs: str = ""
    rpc: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_transform(self) -> bool:
        """False if only control points or RPC locate the pixels."""
        return self.transform != IDENTITY

    def shifted(self, row: int, column: int) -> Georeference:
        """Return the georeference of a window whose first pixel is (`row`, `column`)."""
        a, b, c, d, e, f = self.transform
        moved = (a, b, a * column + b * row + c, d, e, d * column + e * row + f)
        rpc = dict(self.rpc)
        for name, offset in (("LINE_OFF", row), ("SAMP_OFF", column)):
            if offset and name in rpc:
                rpc[name] = repr(float(rpc[name].split()[0]) - offset)
        return replace(
            self, transform=moved if self.has_transform else self.transform, rpc=rpc,
            gcps=tuple((r - row, k - column, x, y, z, name) for r, k, x, y, z, name in self.gcps),
        )  # fmt: skip

    def scaled(self, factor: float) -> Georeference:
        """Return the georeference of an image whose pixels are `factor` times as large along both axes."""
        a, b, c, d, e, f = self.transform
        rpc = dict(self.rpc)
        for name in ("LINE_OFF", "SAMP_OFF", "LINE_SCALE", "SAMP_SCALE"):
            if name in rpc:
                middle = 0.5 if name.endswith("OFF") else 0.0  # RPC count from the center of the first pixel
                rpc[name] = repr((float(rpc[name].split()[0]) + middle) / factor - middle)
        moved = (factor * a, factor * b, c, factor * d, factor * e, f)
        return replace(
            self, transform=moved if self.has_transform else self.transform, rpc=rpc,
            gcps=tuple((r / factor, k / factor, x, y, z, name) for r, k, x, y, z, name in self.gcps),
        )  # fmt: skip


@dataclass(frozen=True)
class Profile:
    """Properties of a source file that no other field of its scene states; they come back when the scene is written.

    Parameters
    ----------
    scales, offsets : tuple of float
        One per band: value = scale · stored sample + offset. Empty if all are 1 and 0.
    descriptions : tuple of str or None
        One per band; None if they are the band names.
    units, colors : tuple of str
        Unit and color interpretation of each band; empty if the file states none.
    tags : tuple of (band, namespace, mapping)
        Tags of bands (counted from 1), and those of the file (band 0) in namespaces.
    mask : str
        ``"mask"`` if the file has a mask beside its bands, ``"alpha:N"`` if its band N is one, else empty.
    """

    scales: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    descriptions: tuple[str, ...] | None = None
    units: tuple[str, ...] = ()
    colors: tuple[str, ...] = ()
    tags: tuple[tuple[int, str, Mapping[str, str]], ...] = ()
    mask: str = ""

    @classmethod
    def joined(cls, profiles: Sequence[Profile], descriptions: tuple[str, ...] | None = None) -> Profile:
        """Return the profile of several files of one band each as bands of one file."""

        def per_band(name: str, default: Any) -> tuple[Any, ...]:
            values = [getattr(profile, name) for profile in profiles]
            return tuple((value or (default,))[0] for value in values) if any(values) else ()

        tags = [(number, space, tags) for number, p in enumerate(profiles, 1) for band, space, tags in p.tags if band]
        tags = [entry for entry in profiles[0].tags if not entry[0]] + tags
        return cls(
            per_band("scales", 1.0), per_band("offsets", 0.0), descriptions, per_band("units", ""), (), tuple(tags),
            profiles[0].mask,
        )  # fmt: skip

    def select(self, bands: Sequence[int]) -> Profile:
        """Return the profile of some bands, given by index."""
        per_band: dict[str, Any] = {}
        for name in ("scales", "offsets", "descriptions", "units", "colors"):
            values = getattr(self, name)
            per_band[name] = tuple(values[band] for band in bands) if values else values
        place = {0: 0} | {band + 1: number for number, band in enumerate(bands, 1)}
        tags = tuple((place[band], space, tags) for band, space, tags in self.tags if band in place)
        return replace(self, **per_band, tags=tags)
