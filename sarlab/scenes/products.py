"""Product folders that are one scene: Sentinel-1 SAFE (with calibration and noise), PolSARpro, BEAM-DIMAP.

A SAFE product delivers digital numbers. Its calibration tables A give σ⁰, γ⁰ or β⁰ as DN²/A², its noise tables n what
the receiver added: (DN² − n)/A². Tables are interpolated bilinearly between their nodes, as the product specification
(ESA S1-RS-MDA-52-7441) says.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree
from zipfile import BadZipFile, ZipFile

import numpy as np

from sarlab.errors import SceneError
from sarlab.scenes.rasters import Location, RasterSource, Samples, has_header, is_auxiliary
from sarlab.scenes.scene import FIELD_TAGS, Georeference, Profile, polarization, polarization_order

_TABLES = {"sigma0": "sigmaNought", "gamma0": "gamma", "beta0": "betaNought"}


def open_product(location: Location, calibrate: str = "", denoise: bool = False) -> Any:
    """Open a product (see `is_product`) as a source of samples; None if it is a zip of something else."""
    path = location.path
    if path.name == "manifest.safe":
        path = path.parent
    archive = path.suffix.lower() == ".zip" and path.is_file()
    if path.suffix.upper() == ".SAFE" or archive or (path / "manifest.safe").exists():
        return _open_safe(path, location.text, calibrate, denoise, archive)
    folder = path.with_suffix(".data") if path.suffix.lower() == ".dim" else path
    files = [f for f in sorted(folder.glob("*")) if f.suffix in (".bin", ".img") and has_header(f)]
    files = [f for f in files if not is_auxiliary(f.stem) and "date" not in f.stem.lower()]
    if not files:
        raise SceneError(f"{location.text}: no image with a header (.hdr) in {folder}")
    if folder.suffix.lower() == ".data":
        files.sort(key=lambda f: polarization_order(f.stem))
    return _joined(files, [f.stem for f in files], location.text)


def _joined(files: Sequence[Any], names: Sequence[str], text: str, kind: Any = None) -> Any:
    """Open files of one size and type as the bands of one source."""
    sources = [RasterSource(Location(str(file), str(file), Path(str(file)))) for file in files]
    first = sources[0]
    for file, source in zip(files, sources, strict=True):
        if source.shape != (1, *first.shape[1:]) or source.dtype != first.dtype:
            raise SceneError(
                f"{text}: {file} has {source.shape[0]} band(s) of {source.shape[1]}×{source.shape[2]} samples of {source.dtype}, the first image "
                f"{first.shape[1]}×{first.shape[2]} of {first.dtype}; give one of the files"
            )
    return (kind or JoinedSource)(sources, tuple(names))


class JoinedSource:
    """The bands of several files of one size and type."""

    #: Row and column of the first pixel in the product.
    position = (0, 0)

    def __init__(self, sources: Sequence[RasterSource], names: tuple[str, ...]):
        first = sources[0]
        self._sources, self.dtype, self.nodata, self.tags = list(sources), first.dtype, first.nodata, dict(first.tags)
        self.shape = (sum(s.shape[0] for s in sources), *first.shape[1:])
        self.georeference, self.dtypes = first.georeference, first.dtypes
        self.profile = Profile.joined([source.profile for source in sources], names)

    def select(self, bands: Sequence[int]) -> None:
        """Keep some bands, given by index."""
        self._sources, self.profile = [self._sources[band] for band in bands], self.profile.select(bands)
        self.shape = (len(bands), *self.shape[1:])

    def read(self, row: int, column: int, rows: int, columns: int) -> Samples:
        data, valid, nan = zip(*(source.read(row, column, rows, columns) for source in self._sources), strict=True)
        known = [np.zeros_like(v) if n is None else n for v, n in zip(valid, nan, strict=True)]
        some = any(n is not None for n in nan)
        return np.concatenate(data), np.concatenate(valid), np.concatenate(known) if some else None

    def sample(self) -> np.ndarray:
        return np.concatenate([source.sample() for source in self._sources])

    def close(self) -> None:
        for source in self._sources:
            source.close()


# --- Sentinel-1


def _open_safe(path: Path, text: str, calibrate: str, denoise: bool, archive: bool) -> Any:
    if calibrate and calibrate not in _TABLES:
        raise SceneError(f"{text}: unknown calibration '{calibrate}'; use {', '.join(_TABLES)}")
    if denoise and not calibrate:
        raise SceneError(
            f"{text}: noise is subtracted from calibrated samples; set both (--calibrate sigma0 --denoise)"
        )
    try:
        files = _Folder(path, archive)
    except BadZipFile as error:
        raise SceneError(f"{text}: a damaged archive ({error})") from None
    images = sorted(name for name in files.names if re.search(r"(^|/)measurement/[^/]+\.tiff?$", name))
    if not images:
        if archive:
            return None
        raise SceneError(f"{text}: no image in its folder 'measurement'")
    found = {polarization(Path(name).stem.replace("-", " ")) or name: name for name in images}
    if len(found) < len(images):
        shown = ", ".join(Path(name).name for name in images)
        raise SceneError(f"{text}: the product has several swaths; give one of its images: {shown}")
    names = sorted(found, key=polarization_order)
    kind = CalibratedSource if calibrate else JoinedSource
    source = _joined([files.gdal(found[name]) for name in names], names, text, kind)
    root = files.xml("", names[0])
    if root is not None:
        source.tags |= {"ACQUISITION_START_TIME": root.findtext("adsHeader/startTime") or ""}
        _locate(source, root)
    if calibrate:
        source.calibrate(files, names, calibrate, denoise, text)
    return source


class _Folder:
    """The files of a product, in a folder or a zip."""

    def __init__(self, path: Path, archive: bool):
        self._path, self._zip = path, ZipFile(path) if archive else None
        self.names = self._zip.namelist() if self._zip else [f.relative_to(path).as_posix() for f in path.rglob("*")]

    def gdal(self, name: str) -> str:
        return f"/vsizip/{self._path.absolute()}/{name}" if self._zip else str(self._path / name)

    def xml(self, kind: str, band: str) -> ElementTree.Element | None:
        """Parse the annotation of a polarization: ``""``, ``"calibration"`` or ``"noise"``; None if it is missing."""
        folder = rf"annotation/calibration/{kind}-" if kind else "annotation/"
        for name in self.names:
            if re.search(rf"(?i)(^|/){folder}[^/]*-{band}-[^/]*\.xml$", name):
                data = self._zip.read(name) if self._zip else (self._path / name).read_bytes()
                return ElementTree.fromstring(data)
        return None


def _locate(source: JoinedSource, root: ElementTree.Element) -> None:
    """Take the control points from the annotation if the images have none."""
    from rasterio.crs import CRS

    known = source.georeference or Georeference()
    a, _, column, _, e, row = known.transform
    if known.gcps or known.crs or (a, e) != (1, 1):
        return
    points = []
    for number, point in enumerate(root.iterfind(".//geolocationGridPoint"), 1):
        r, c, x, y, z = (float(point.findtext(n, "nan")) for n in ("line", "pixel", "longitude", "latitude", "height"))
        # A part cut out by GDAL has its position as transform.
        points.append((r - row, c - column, x, y, z, str(number)))
    if points:
        source.georeference = Georeference(gcps=tuple(points), gcps_crs=CRS.from_epsg(4326).to_wkt())
        source.position = (int(row), int(column))


class Table(NamedTuple):
    """A quantity given at nodes: for each line a vector over pixels."""

    lines: np.ndarray
    pixels: list[np.ndarray]
    values: list[np.ndarray]

    @classmethod
    def of(cls, root: ElementTree.Element | None, vector: str, value: str) -> Table | None:
        """Read the vectors of an annotation; None if it has none."""
        vectors = [] if root is None else root.iterfind(f".//{vector}")
        found = [(float(v.findtext("line", "nan")), _numbers(v, "pixel"), _numbers(v, value)) for v in vectors]
        found = sorted((v for v in found if v[1].size and v[1].size == v[2].size), key=lambda v: v[0])
        return cls(np.array([v[0] for v in found]), [v[1] for v in found], [v[2] for v in found]) if found else None

    def at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Interpolate at rows × columns; beyond the nodes the nearest counts."""
        place = np.interp(rows, self.lines, np.arange(len(self.lines)))
        below = np.floor(place).astype(int)
        above = np.minimum(below + 1, len(self.lines) - 1)
        vectors = {i: np.interp(columns, self.pixels[i], self.values[i]) for i in {*below.tolist(), *above.tolist()}}
        share = (place - below)[:, None]
        return (1 - share) * np.stack([vectors[i] for i in below]) + share * np.stack([vectors[i] for i in above])


def _numbers(element: ElementTree.Element, name: str) -> np.ndarray:
    return np.array((element.findtext(name) or "").split(), float)


class Calibration(NamedTuple):
    """The tables of one polarization: gains, and with `--denoise` noise and its variation in azimuth by area."""

    gains: Table
    noise: Table | None = None
    azimuth: tuple[ElementTree.Element, ...] = ()

    @classmethod
    def of(cls, files: _Folder, band: str, calibrate: str, denoise: bool, text: str) -> Calibration:
        """Read the tables of a polarization."""
        gains = Table.of(files.xml("calibration", band), "calibrationVector", _TABLES[calibrate])
        root = files.xml("noise", band) if denoise else None
        # Up to version 2.9 of the processor there was one kind of vectors.
        noise = Table.of(root, "noiseRangeVector", "noiseRangeLut") or Table.of(root, "noiseVector", "noiseLut")
        for table, needed, what in ((gains, True, "calibration"), (noise, denoise, "noise")):
            if table is None and needed:
                raise SceneError(f"{text}: no {what} table of {band} in annotation/calibration")
        assert gains is not None
        return cls(gains, noise, () if root is None else tuple(root.iterfind(".//noiseAzimuthVector")))

    def noise_at(self, rows: np.ndarray, columns: np.ndarray) -> Any:
        """Return the noise at rows × columns; 0 if it is not subtracted."""
        if self.noise is None:
            return 0.0
        noise = self.noise.at(rows, columns)
        for area in self.azimuth:
            first, last, left, right = (
                int(area.findtext(f"{end}{what}", "-1"))
                for what in ("AzimuthLine", "RangeSample") for end in ("first", "last")
            )  # fmt: skip
            inside = slice(*np.searchsorted(rows, [first, last + 1]))
            factors = np.interp(rows[inside], _numbers(area, "line"), _numbers(area, "noiseAzimuthLut"))
            noise[inside, slice(*np.searchsorted(columns, [left, right + 1]))] *= factors[:, None]
        return noise


class CalibratedSource(JoinedSource):
    """The images of a SAFE product as calibrated intensity."""

    def calibrate(self, files: _Folder, names: Sequence[str], calibrate: str, denoise: bool, text: str) -> None:
        """Read the tables of each polarization."""
        self._tables = [Calibration.of(files, name, calibrate, denoise, text) for name in names]
        self.dtype = "float32"
        stated = calibrate + (", noise subtracted" if denoise else "")
        self.tags |= {FIELD_TAGS["quantity"]: "intensity", "SARLAB_CALIBRATION": stated}

    def select(self, bands: Sequence[int]) -> None:
        """Keep some bands, given by index."""
        super().select(bands)
        self._tables = [self._tables[band] for band in bands]

    def read(self, row: int, column: int, rows: int, columns: int) -> Samples:
        numbers, valid, nan = super().read(row, column, rows, columns)
        top, left = self.position
        r, c = np.arange(row + top, row + top + rows), np.arange(column + left, column + left + columns)
        power = np.square(np.abs(numbers).astype(np.float64))
        values = [
            # Exact zeros are outside the swath, where there is no noise either.
            np.where(plane == 0, 0, (plane - tables.noise_at(r, c)) / tables.gains.at(r, c) ** 2)
            for plane, tables in zip(power, self._tables, strict=True)
        ]
        return np.stack(values).astype(np.float32), valid, nan
