"""Product folders that are one scene: Sentinel-1 SAFE (with calibration and noise), PolSARpro, BEAM-DIMAP.

A SAFE product delivers digital numbers. Its calibration tables A give σ⁰, γ⁰ or β⁰ as DN²/A², its noise tables n what
the receiver added: (DN² − n)/A². Tables are interpolated bilinearly between their nodes, as the product specification
(ESA S1-RS-MDA-52-7441) says.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree
from zipfile import BadZipFile, ZipFile

import numpy as np

from sarlab.errors import SceneError
from sarlab.scenes.rasters import ArraySource, Location, RasterSource, Samples, has_header, is_auxiliary, joined
from sarlab.scenes.scene import FIELD_TAGS, Georeference, Profile, polarization, polarization_order

_TABLES = {"sigma0": "sigmaNought", "gamma0": "gamma", "beta0": "betaNought"}


def open_product(location: Location, calibrate: str = "", denoise: bool = False) -> JoinedSource:
    """Open a product (see `is_product`) as a source of samples."""
    path = location.path.parent if location.path.name == "manifest.safe" else location.path
    archive = path.suffix.lower() == ".zip" and path.is_file()
    if path.suffix.upper() == ".SAFE" or archive or (path / "manifest.safe").exists():
        return _open_safe(path, location.text, calibrate, denoise)
    folder = path.with_suffix(".data") if path.suffix.lower() == ".dim" else path
    files = [f for f in sorted(folder.glob("*")) if f.suffix in (".bin", ".img")]
    files = [f for f in files if has_header(f) or f.with_name("config.txt").exists()]
    files = [f for f in files if not is_auxiliary(f.stem) and "date" not in f.stem.lower()]
    if not files:
        raise SceneError(f"{location.text}: no image with a header (.hdr) in {folder}")
    if folder.suffix.lower() == ".data":
        files.sort(key=lambda f: polarization_order(f.stem))
    return JoinedSource(files, [f.stem for f in files], location.text)


class JoinedSource:
    """The bands of several files of one size and type; with `tables` of calibration they are intensity."""

    #: Row and column of the first pixel in the product.
    position = (0, 0)

    def __init__(self, files: Sequence[Any], names: Sequence[str], text: str, tables: Sequence[Calibration] = ()):
        self._sources = [_opened(file) for file in files]
        first, self._tables = self._sources[0], list(tables)
        for file, source in zip(files, self._sources, strict=True):
            places = {(one.georeference or Georeference()).transform for one in (source, first)}
            if source.shape != (1, *first.shape[1:]) or source.dtypes != first.dtypes or len(places) > 1:
                (count, height, width), (_, rows, columns) = source.shape, first.shape
                where = ", at another place" * (len(places) > 1)
                raise SceneError(
                    f"{text}: {file} has {count} band(s) of {height}×{width} samples of {source.dtypes[0]}, the first "
                    f"image {rows}×{columns} of {first.dtypes[0]}{where}; give one of the files"
                )
        self.dtypes = (["float32"] if tables else first.dtypes) * len(files)
        self.nodata = [value for source in self._sources for value in source.nodata]
        self.shape, self.georeference, self.tags = (len(files), *first.shape[1:]), first.georeference, dict(first.tags)
        # Tags that only some of the files have are those of bands.
        others = [dict(source.tags.items() - first.tags.items()) for source in self._sources]
        profile = Profile.joined([source.profile for source in self._sources], tuple(names))
        tags = (*profile.tags, *((number, "", tags) for number, tags in enumerate(others, 1) if tags))
        self.profile = replace(profile, tags=tags)

    def read(self, bands: Sequence[int], row: int, column: int, rows: int, columns: int) -> Samples:
        data, valid, nan = joined(self._sources[band].read([0], row, column, rows, columns) for band in bands)
        if self._tables:
            r, c = np.arange(rows) + row + self.position[0], np.arange(columns) + column + self.position[1]
            data = np.stack([self._tables[band].applied(plane, r, c) for plane, band in zip(data, bands, strict=True)])
        return data, valid, nan

    def sample(self, bands: Sequence[int]) -> np.ndarray:
        return np.concatenate([self._sources[band].sample([0]) for band in bands])

    def close(self) -> None:
        for source in self._sources:
            source.close()


def _opened(file: Any) -> RasterSource | ArraySource:
    """Open an image; PolSARpro states the size of those without a header in ``config.txt``."""
    path = Path(str(file))
    if path.suffix != ".bin" or has_header(path):
        return RasterSource(Location(str(file), str(file), path))
    config = path.with_name("config.txt").read_text(errors="replace")
    rows, columns, *_ = *map(int, re.findall(r"N(?:row|col)\s+(\d+)", config)), 0, 0
    dtype = {4 * rows * columns: "<f4", 8 * rows * columns: "<c8"}.get(path.stat().st_size)
    if dtype is None:
        stated = f"{rows}×{columns} samples, as Nrow and Ncol in config.txt state"
        raise SceneError(f"{file}: the size is not that of {stated}; add a header (.hdr)")
    return ArraySource(str(file), np.memmap(path, dtype, "r", shape=(rows, columns)))


# --- Sentinel-1


def _open_safe(path: Path, text: str, calibrate: str, denoise: bool) -> JoinedSource:
    if calibrate and calibrate not in _TABLES:
        raise SceneError(f"{text}: unknown calibration '{calibrate}'; use {', '.join(_TABLES)}")
    if denoise and not calibrate:
        raise SceneError(f"{text}: noise is subtracted from calibrated samples; set --calibrate sigma0 --denoise")
    try:
        files = _Folder(path)
        images = sorted(name for name in files.names if re.search(r"(^|/)measurement/[^/]+\.tiff?$", name))
        if not images:
            hint = f"; give an image in the archive as /vsizip/{path.absolute()}/NAME" if path.is_file() else ""
            raise SceneError(f"{text}: no image in a folder 'measurement', so it is no Sentinel-1 product{hint}")
        found = {polarization(Path(name).stem.replace("-", " ")) or name: name for name in images}
        if len(found) < len(images):
            shown = ", ".join(Path(name).name for name in images)
            raise SceneError(f"{text}: the product has several swaths; give one of its images: {shown}")
        names = sorted(found, key=polarization_order)
        tables = [Calibration.of(files, name, calibrate, denoise, text) for name in names] if calibrate else []
        source = JoinedSource([files.gdal(found[name]) for name in names], names, text, tables)
        root = files.xml("", names[0])
        if root is not None:
            source.tags |= {"ACQUISITION_START_TIME": root.findtext("adsHeader/startTime") or ""}
            _locate(source, root)
    except (ElementTree.ParseError, ValueError, BadZipFile) as error:
        what = "archive" if isinstance(error, BadZipFile) else "file in 'annotation'"
        raise SceneError(f"{text}: a damaged {what} ({error}); get the product again") from None
    if root is None and not (source.georeference and source.georeference.gcps):
        warnings.warn(f"{text}: no annotation of {names[0]}, so the control points are unknown", stacklevel=3)
    if tables:
        stated = calibrate + (", noise subtracted" if denoise else "")
        source.tags |= {FIELD_TAGS["quantity"]: "intensity", "SARLAB_CALIBRATION": stated}
    return source


class _Folder:
    """The files of a product, in a folder or a zip."""

    def __init__(self, path: Path):
        self._path, self._zip = path, ZipFile(path) if path.is_file() else None
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
        if gains is None or (denoise and noise is None):
            what = "calibration" if gains is None else "noise"
            raise SceneError(f"{text}: no {what} table of {band} in annotation/calibration")
        return cls(gains, noise, () if root is None else tuple(root.iterfind(".//noiseAzimuthVector")))

    def applied(self, numbers: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the intensity of digital numbers at rows × columns, float32; exact zeros are outside the swath."""
        noise: Any = 0.0 if self.noise is None else self.noise.at(rows, columns)
        for area in self.azimuth:
            first, last, left, right = (
                int(area.findtext(f"{end}{what}", "-1"))
                for what in ("AzimuthLine", "RangeSample") for end in ("first", "last")
            )  # fmt: skip
            inside = slice(*np.searchsorted(rows, [first, last + 1]))
            factors = np.interp(rows[inside], _numbers(area, "line"), _numbers(area, "noiseAzimuthLut"))
            noise[inside, slice(*np.searchsorted(columns, [left, right + 1]))] *= factors[:, None]
        power = np.square(np.abs(numbers).astype(np.float64))
        return np.where(power == 0, 0, (power - noise) / self.gains.at(rows, columns) ** 2).astype(np.float32)
