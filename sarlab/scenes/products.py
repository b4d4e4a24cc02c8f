"""Product folders that are one scene: Sentinel-1 SAFE (with calibration and noise), PolSARpro, BEAM-DIMAP.

A SAFE product delivers digital numbers. Its calibration tables A give σ⁰, γ⁰ or β⁰ as DN²/A², its noise tables n what
the receiver added: (DN² − n)/A². Tables are interpolated bilinearly between their nodes, as the product specification
(ESA S1-RS-MDA-52-7441) says.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from zipfile import BadZipFile, ZipFile

import numpy as np

from sarlab.errors import SceneError
from sarlab.scenes.profile import Georeference, Profile
from sarlab.scenes.quantity import QUANTITY_TAG, polarization
from sarlab.scenes.rasters import Location
from sarlab.scenes.sources import RasterSource

_TABLES = {"sigma0": "sigmaNought", "gamma0": "gamma", "beta0": "betaNought"}
_ORDER = {"VV": 0, "VH": 1, "HH": 2, "HV": 3}
#: Rasters in a BEAM-DIMAP folder that are no image of the product.
_AUXILIARY = re.compile(
    r"(?i)((lat|lon)(itude)?|elevation|dem|.*mask.*|.*angle.*|.*date.*|.*layover.*|.*shadow.*)(_.*)?$"
)


def is_product(path: Path) -> bool:
    """Return True if a folder is one product, or a file stands for one."""
    if not path.is_dir():
        return path.suffix.lower() in (".zip", ".dim")
    return path.suffix.lower() in (".safe", ".data") or any(
        (path / n).exists() for n in ("manifest.safe", "config.txt")
    )


def open_product(location: Location, calibrate: str = "", denoise: bool = False) -> Any:
    """Open a product folder, or a zip of one, as a source of samples; None if the location is none."""
    path = location.path
    if path.name == "manifest.safe":
        path = path.parent
    archive = path.suffix.lower() == ".zip" and path.is_file()
    if path.suffix.upper() == ".SAFE" or archive or (path / "manifest.safe").exists():
        return _open_safe(path, location.text, calibrate, denoise, archive)
    if not is_product(path):
        return None
    folder = path.with_suffix(".data") if path.suffix.lower() == ".dim" else path
    files = [f for f in sorted(folder.glob("*")) if f.suffix in (".bin", ".img") and has_header(f)]
    files = [f for f in files if not _AUXILIARY.fullmatch(f.stem)]
    if not files:
        raise SceneError(f"{location.text}: no image with a header (.hdr) in {folder}")
    if folder.suffix.lower() == ".data":
        files.sort(key=lambda f: _ORDER.get(polarization(f.stem) or "", 9))
    return _joined(files, [f.stem for f in files], location.text)


def has_header(file: Path) -> bool:
    """Return True if an ENVI header lies beside a file."""
    return file.with_name(file.name + ".hdr").exists() or file.with_suffix(".hdr").exists()


def _joined(files: Sequence[Any], names: Sequence[str], text: str) -> Any:
    """Open files of one size and type as the bands of one source."""
    sources = [RasterSource(Location(str(file), str(file), Path(str(file)))) for file in files]
    first = sources[0]
    for file, source in zip(files, sources, strict=True):
        if source.shape != (1, *first.shape[1:]) or source.dtype != first.dtype:
            raise SceneError(
                f"{text}: {file} has {source.shape[0]} band(s) of {source.shape[1]}×{source.shape[2]} samples of {source.dtype}, the first image "
                f"{first.shape[1]}×{first.shape[2]} of {first.dtype}; give one of the files"
            )
    return JoinedSource(sources, tuple(names))


class JoinedSource:
    """The bands of several files of one size and type."""

    #: Row and column of the first pixel in the product.
    position = (0, 0)

    def __init__(self, sources: Sequence[RasterSource], names: tuple[str, ...]):
        first = sources[0]
        self._sources, self.dtype, self.nodata, self.tags = list(sources), first.dtype, first.nodata, dict(first.tags)
        self.shape = (sum(s.shape[0] for s in sources), *first.shape[1:])
        self.georeference, self.spacing = first.georeference, first.spacing
        self.profile = Profile.joined([source.profile for source in sources], names)

    def select(self, bands: Sequence[int]) -> None:
        """Keep some bands, given by index."""
        self._sources, self.profile = [self._sources[band] for band in bands], self.profile.select(bands)
        self.shape = (len(bands), *self.shape[1:])

    def read(self, *window: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        data, valid, nan = zip(*(source.read(*window) for source in self._sources), strict=True)
        known = [np.zeros_like(v) if n is None else n for v, n in zip(valid, nan, strict=True)]
        return (
            np.concatenate(data),
            np.concatenate(valid),
            None if all(n is None for n in nan) else np.concatenate(known),
        )

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
            f"{text}: noise is subtracted from calibrated samples; set calibrate too (--calibrate sigma0 --denoise)"
        )
    try:
        files = _Folder(path, archive)
    except BadZipFile as error:
        raise SceneError(f"{text}: a damaged archive ({error})") from None
    images = [name for name in files.names if re.search(r"(^|/)measurement/[^/]+\.tiff?$", name)]
    if not images:
        if archive:
            return None
        raise SceneError(f"{text}: no image in its folder 'measurement'")
    found: dict[str, list[str]] = {}
    for name in sorted(images):
        found.setdefault(polarization(Path(name).stem.replace("-", " ")) or name, []).append(name)
    if max(map(len, found.values())) > 1:
        shown = ", ".join(Path(name).name for name in images)
        raise SceneError(f"{text}: the product has several swaths; give one of its images: {shown}")
    names = sorted(found, key=lambda name: _ORDER.get(name, 9))
    source = _joined([files.gdal(found[name][0]) for name in names], names, text)
    _locate(source, files, names[0])
    source.tags |= files.acquisition(names[0])
    return CalibratedSource(source, files, names, calibrate, denoise, text) if calibrate else source


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
        pattern = re.compile(rf"(?i)(^|/){folder}[^/]*-{band}-[^/]*\.xml$")
        for name in self.names:
            if pattern.search(name):
                data = self._zip.read(name) if self._zip else (self._path / name).read_bytes()
                return ElementTree.parse(BytesIO(data)).getroot()
        return None

    def acquisition(self, band: str) -> dict[str, str]:
        root = self.xml("", band)
        start = None if root is None else root.findtext("adsHeader/startTime")
        return {"ACQUISITION_START_TIME": start} if start else {}


def _locate(source: JoinedSource, files: _Folder, band: str) -> None:
    """Take the control points from the annotation if the images have none."""
    known = source.georeference or Georeference()
    root = files.xml("", band)
    if known.gcps or known.crs or root is None:
        return
    from rasterio.crs import CRS

    a, _, column, _, e, row = known.transform
    if (a, e) != (1, 1):
        return
    points = []
    for number, point in enumerate(root.iterfind("geolocationGrid/geolocationGridPointList/geolocationGridPoint"), 1):
        r, c, x, y, z = (float(point.findtext(n, "nan")) for n in ("line", "pixel", "longitude", "latitude", "height"))
        # A part cut out by GDAL has its position as transform.
        points.append((r - row, c - column, x, y, z, str(number)))
    if points:
        source.georeference = Georeference(gcps=tuple(points), gcps_crs=CRS.from_epsg(4326).to_wkt())
        source.position = (int(row), int(column))


@dataclass(frozen=True)
class Table:
    """A quantity given at nodes: for each line a vector over pixels."""

    lines: np.ndarray
    pixels: tuple[np.ndarray, ...]
    values: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, root: ElementTree.Element, path: str, value: str) -> Table | None:
        """Read the vectors at a path of an annotation; None if it has none."""
        vectors = [
            (float(v.findtext("line", "nan")), _numbers(v, "pixel"), _numbers(v, value)) for v in root.iterfind(path)
        ]
        vectors = sorted((v for v in vectors if v[1].size and v[1].size == v[2].size), key=lambda v: v[0])
        if not vectors:
            return None
        lines, pixels, values = zip(*vectors, strict=True)
        return cls(np.array(lines), pixels, values)

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


class CalibratedSource:
    """The images of a SAFE product as calibrated intensity."""

    def __init__(
        self, source: JoinedSource, files: _Folder, names: Sequence[str], calibrate: str, denoise: bool, text: str
    ):
        self._source, self._text, self._denoise = source, text, denoise
        self._gains, self._noises, self._azimuth = [], [], []
        for name in names:
            gains, noise = files.xml("calibration", name), files.xml("noise", name) if denoise else None
            table = None if gains is None else Table.of(gains, ".//calibrationVector", _TABLES[calibrate])
            if table is None:
                raise SceneError(
                    f"{text}: no calibration table of {name} in annotation/calibration; --calibrate needs it"
                )
            self._gains.append(table)
            if denoise:
                # Up to version 2.9 of the processor there was one kind of vectors.
                found = None if noise is None else (
                    Table.of(noise, ".//noiseRangeVector", "noiseRangeLut") or Table.of(noise, ".//noiseVector", "noiseLut")
                )  # fmt: skip
                if found is None:
                    raise SceneError(f"{text}: no noise table of {name} in annotation/calibration; --denoise needs it")
                self._noises.append(found)
                self._azimuth.append([_azimuth(v) for v in noise.iterfind(".//noiseAzimuthVector")])
        self.shape, self.dtype, self.nodata, self.spacing = source.shape, "float32", source.nodata, source.spacing
        self.georeference, self.profile = source.georeference, replace(source.profile, scales=(), offsets=())
        stated = calibrate + (", noise subtracted" if denoise else "")
        self.tags = {**source.tags, QUANTITY_TAG: "intensity", "SARLAB_CALIBRATION": stated}

    def select(self, bands: Sequence[int]) -> None:
        """Keep some bands, given by index."""
        self._source.select(bands)
        for name in ("_gains", "_noises", "_azimuth"):
            values = getattr(self, name)
            setattr(self, name, [values[band] for band in bands] if values else values)
        self.shape, self.profile = self._source.shape, self.profile.select(bands)

    def read(self, row: int, column: int, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        numbers, valid, nan = self._source.read(row, column, rows, columns)
        top, left = self._source.position
        r, c = np.arange(row + top, row + top + rows), np.arange(column + left, column + left + columns)
        values = np.abs(numbers.astype(np.complex128 if np.iscomplexobj(numbers) else np.float64)) ** 2
        for band, gains in enumerate(self._gains):
            power = values[band]
            empty = power == 0
            if self._denoise:
                noise = self._noises[band].at(r, c)
                for area in self._azimuth[band]:
                    _scale_area(noise, r, c, *area)
                power = power - noise
            # Exact zeros are outside the swath, where there is no noise either.
            values[band] = np.where(empty, 0, power / gains.at(r, c) ** 2)
        return values.astype(np.float32), valid, nan

    def sample(self) -> np.ndarray:
        return self._source.sample()

    def close(self) -> None:
        self._source.close()


def _azimuth(vector: ElementTree.Element) -> tuple[int, int, int, int, np.ndarray, np.ndarray]:
    first_row, first, last_row, last = (
        int(vector.findtext(n, "-1"))
        for n in ("firstAzimuthLine", "firstRangeSample", "lastAzimuthLine", "lastRangeSample")
    )
    return first_row, first, last_row, last, _numbers(vector, "line"), _numbers(vector, "noiseAzimuthLut")


def _scale_area(
    noise: np.ndarray, r: np.ndarray, c: np.ndarray, first_row: int, first: int, last_row: int, last: int,
    lines: np.ndarray, factors: np.ndarray,
) -> None:  # fmt: skip
    """Multiply the noise of a swath by its variation in azimuth."""
    rows = slice(*np.searchsorted(r, [first_row, last_row + 1]))
    columns = slice(*np.searchsorted(c, [first, last + 1]))
    noise[rows, columns] *= np.interp(r[rows], lines, factors)[:, None]
