"""Read a scene, or a window of it: GeoTIFF, ENVI and other rasters, ``.npy``, products, xarray; decide its quantity.

    with open_scene("huge.tif") as file:
        for window in file.windows(2048):
            scene = file.read(window)

Samples become float32 (or complex64), nodata becomes NaN, an exact zero stays a value. With ``quantity="auto"`` the rules
of `decide_quantity` are applied to samples from all over the file, never to the window alone.

Files are untrusted: only the formats in `sarlab.scenes.rasters.DRIVERS` are opened, addresses of other machines only on
request, and a VRT may only refer to files in its own folder.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from sarlab.errors import SceneError
from sarlab.scenes.arrays import source_of
from sarlab.scenes.products import open_product
from sarlab.scenes.radiometry import NO_SCENE, infinite_samples, negative_samples
from sarlab.scenes.rasters import OWN_TAGS, Location, RasterSource, is_auxiliary, is_product, load_npy
from sarlab.scenes.scene import FIELD_TAGS, QUANTITIES, Scene, Window, acquisition_of, looks_of, polarization, time_of

_REMOTE = re.compile(r"(https?|ftp|s3|gs|az|oss)://|/vsi(curl|s3|gs|az|adls|oss|swift|hdfs|webhdfs)")
_SUBDATASET = re.compile(r"(?i)[a-z][a-z0-9_]+[0-9a-z]:")
_INSIDE = re.compile(
    r"(?i)((?P<driver>\w{4,}):\"?)?(?P<file>.+\.(?P<kind>h5|hdf5|he5|nc|nc4|cdf))\"?:/{0,2}(?P<inner>[^:]+)$"
)
#: Quantities of files whose real bands are the parts of complex samples.
PAIRS = ("iq", "amplitude-phase")

#: Words in units, names and tags, and the quantity that they mean.
_WORDS = {
    "db": "db", "decibel": "db", "decibels": "db", "amplitude": "amplitude", "amp": "amplitude", "magnitude": "amplitude", "gec": "amplitude",
    "intensity": "intensity", "power": "intensity", "linear": "intensity",
}  # fmt: skip
_NOTHING = "every sample is nodata or NaN; there is nothing to compress"
#: Bands of a covariance or coherency matrix that may be negative.
_OFF_DIAGONAL = re.compile(r"(?i)[ct]\d\d_(real|imag)")
#: Tags whose short values may name the quantity.
_TELLING = re.compile(r"(?i)unit|quantity|calibrat|radiometr|description|name")


def read_scene(source: Any, quantity: str = "auto", window: Window | None = None, **options: Any) -> Scene:
    """Read a scene, or a window of it.

    A missing file, no image, a wrong or undecidable quantity, and no valid sample raise `SceneError`.

    Parameters
    ----------
    source : str, Path, dataset of rasterio, or xarray.DataArray
        A raster in one of `sarlab.scenes.rasters.DRIVERS`, a subdataset, a product folder (SAFE, PolSARpro, BEAM-DIMAP),
        ``.npy`` of shape (height, width) or (bands, height, width), or an array with the conventions of rioxarray.
    quantity : {"auto", "complex", "amplitude", "intensity", "db", "iq", "amplitude-phase"}
        Unit of the samples. With the last two, pairs of real bands become the bands of a complex scene.
    window : (row, column, height, width), optional
        In pixels; default the whole scene.
    **options
        See `open_scene`.

    Examples
    --------
    >>> import sarlab
    >>> from sarlab.scenes.writers import write_geotiff
    >>> write_geotiff(sarlab.scene("ben-33UUP-37-88"), "pass.tif")
    >>> sarlab.read("pass.tif", quantity="db")
    Scene('ben-33UUP-37-88', VV+VH, 360×240, db)
    """
    with open_scene(source, quantity, **options) as file:
        return file.read(window)


def open_scene(
    source: Any, quantity: str = "auto", *, allow_empty: bool = False, bands: Sequence[str | int] = (),
    floor: float | None = None, calibrate: str = "", denoise: bool = False, allow_remote: bool = False,
    allow_external: bool = False,
) -> SceneFile:  # fmt: skip
    """Open a file for reading by window, without loading it; use as a context manager.

    Parameters
    ----------
    source, quantity
        See `read_scene`.
    allow_empty : bool
        Accept a scene without a single valid sample instead of raising.
    bands : sequence of str or int
        Names or numbers (from 1) of the bands to read; default all.
    floor : float, optional
        Replace amplitude or intensity below this value, which noise subtraction leaves, by it; exact zeros stay. By
        default negative samples raise.
    calibrate : {"", "sigma0", "gamma0", "beta0"}
        Apply the calibration of a Sentinel-1 SAFE product; samples become intensity.
    denoise : bool
        Subtract the noise of a Sentinel-1 SAFE product; needs `calibrate`.
    allow_remote, allow_external : bool
        Accept addresses of other machines; accept a VRT that refers to files outside its folder.
    """
    if quantity not in ("auto", *QUANTITIES, *PAIRS):
        raise SceneError(f"unknown quantity '{quantity}'; use auto, {', '.join((*QUANTITIES, *PAIRS))}")
    found, path = _source(source, calibrate, denoise, allow_remote, allow_external)
    try:
        return SceneFile(path, found, quantity, allow_empty, tuple(bands), floor)
    except BaseException:
        found.close()
        raise


def _source(given: Any, calibrate: str, denoise: bool, remote: bool, external: bool) -> tuple[Any, Location]:
    if hasattr(given, "data_vars"):
        raise SceneError(f"a dataset of xarray holds several arrays; give one of them: {', '.join(map(str, given))}")
    if hasattr(given, "dims") and hasattr(given, "attrs"):
        name = str(given.name or "scene")  # may have slashes and dots, and no folder tells of its time
        return source_of(given), Location(f"array '{name}'", "", Path("/", f"{name.replace('/', '_')}.array"))
    if getattr(given, "mode", "r") == "w":
        raise SceneError(f"{given.name}: the dataset is open for writing; close it, and give its path")
    if hasattr(given, "read_masks"):
        location = Location(given.name, given.name, Path(given.name))
        return RasterSource(location, given), location
    if not isinstance(given, (str, Path)):
        raise SceneError(
            f"no path, no dataset of rasterio, no xarray.DataArray: {NO_SCENE.format(type(given).__name__)}"
        )
    location = locate(given, remote, external)
    if is_product(location.path):
        return open_product(location, calibrate, denoise), location
    if calibrate or denoise:
        raise SceneError(f"{given}: only Sentinel-1 products (.SAFE folder or .zip) are calibrated here")
    if location.path.is_dir():
        zarr = {"zarr.json", ".zgroup", ".zarray"} & {*os.listdir(location.path)}
        way = "open it with xarray.open_zarr, and compress one of its arrays" if zarr else "give one of its files"
        raise SceneError(f"{given} is a folder, not an image; {way}")
    if location.path.suffix.lower() == ".npy" and location.path.exists():
        return load_npy(location.path), location
    return RasterSource(location), location


def locate(given: str | Path, allow_remote: bool, allow_external: bool) -> Location:
    """Find a raster by path, address, or name of a subdataset (``HDF5:file://inner``, ``file.h5:/inner``)."""
    archive = re.fullmatch(r"(?i)/vsizip/(.+?\.zip)(/[^/]+\.safe)?/?", str(given))
    text = archive[1] if archive else str(given)
    if _REMOTE.search(text):
        if not allow_remote:
            how = "; credentials are those of GDAL, such as AWS_NO_SIGN_REQUEST=YES" if "s3" in text[:7] else ""
            raise SceneError(f"{text}: an address of another machine; set allow_remote (--allow-remote){how}")
        return Location(text, text, Path(re.sub(r"^\w+:/+|[?#].*$", "", text)))
    path = Path(text).expanduser()
    there = os.path.exists(path)  # whatever the length of its name
    if not there and (inside := _INSIDE.match(text)):
        file, inner = inside["file"], inside["inner"].lstrip("/")
        driver = (inside["driver"] or ("HDF5" if inside["kind"].lower().startswith("h") else "NETCDF")).upper()
        if not os.path.exists(file) and not file.startswith("/vsi"):
            raise SceneError(f"{text}: no such file as {file}")
        return Location(text, f'{driver}:"{file}":{"//" * (driver == "HDF5")}{inner}', Path(file) / inner)
    if text.startswith("/vsi") or (not there and _SUBDATASET.match(text)):
        if text.lower().endswith(".vrt") and not allow_external:
            raise SceneError(f"{text}: the sources of a VRT in an archive are not checked; set allow_external")
        return Location(text, text, Path(re.sub(r'[:"]+', "/", text)))
    if not there or not os.access(path, os.R_OK):
        raise SceneError(f"{text}: {'no permission to read it' if there else 'no such file'}")
    if path.is_file() and path.stat().st_size == 0:
        raise SceneError(f"{text}: the file is empty")
    for name, file in _sources_of_vrt(path):
        if not allow_external and (file is None or not file.is_relative_to(path.resolve().parent)):
            raise SceneError(f"{text}: refers to {name} outside its folder; set allow_external (--allow-external)")
        if file is not None and not os.path.exists(file):
            raise SceneError(f"{text}: its source {name} is missing; put it there, or correct the VRT")
    return Location(text, str(path.absolute()), path)


def _sources_of_vrt(path: Path, depth: int = 0) -> Iterator[tuple[str, Path | None]]:
    """Yield the sources that a VRT names, nested ones included; their path is None if they are no files."""
    if not os.path.isfile(path):
        return
    with path.open("rb") as file:
        if b"<VRTDataset" not in file.read(4096):
            return
    try:
        elements = list(ElementTree.parse(path).iter())
    except ElementTree.ParseError as error:
        raise SceneError(f"{path}: a damaged VRT ({error})") from None
    for element in elements:
        name = (element.text or "").strip()
        if not name or not element.tag.endswith(("Filename", "SourceDataset", "FilePath")):
            continue
        inside = _INSIDE.match(name)
        plain = inside["file"] if inside else name
        if plain.startswith(("/vsi", "<")) or _REMOTE.search(plain) or _SUBDATASET.match(plain):
            yield name, None
            continue
        relative = element.get("relativeToVRT", element.get("relativetoVRT")) == "1"
        source = ((path.parent / plain) if relative else Path(plain)).resolve()
        yield name, source
        if depth < 8 and source != path.resolve():
            yield from _sources_of_vrt(source, depth + 1)


class SceneFile(AbstractContextManager["SceneFile"]):
    """An open file whose windows are read as scenes, with `shape` (bands, height, width) and fields as those of `Scene`.

    `quantity` is as given or decided; `reading` how pairs of bands form complex samples.
    """

    def __init__(
        self, location: Location, source: Any, quantity: str, allow_empty: bool,
        bands: Sequence[str | int] = (), floor: float | None = None,
    ):  # fmt: skip
        # Names of files need not be text.
        self.path = Path(os.fsencode(location.path).decode(errors="replace"))
        self.text, self._source, self._allow_empty = location.text, source, allow_empty
        self._floor, self._changed, names = floor, False, _band_names(self.path, source)
        self._chosen = [_index(band, names, self.text) for band in bands] or list(range(len(names)))
        self.shape, self.bands = (len(self._chosen), *source.shape[1:]), tuple(names[band] for band in self._chosen)
        dtypes, nodata = ([values[band] for band in self._chosen] for values in (source.dtypes, source.nodata))
        self.dtype, self.nodata = dtypes[0], next((value for value in nodata if value is not None), None)
        values = dict.fromkeys("a missing one" if value is None else f"{value:g}" for value in (self.nodata, *nodata))
        self.nodata_values = () if self.nodata is None else tuple(values)
        self.profile = source.profile.select(self._chosen)
        self.georeference, self.tags = source.georeference, source.tags
        self.time = self.tags.get(FIELD_TAGS["time"]) or time_of(self.path.resolve(), self.tags)
        self.spacing = self.georeference.spacing(*self.shape[1:]) if self.georeference else None
        self._check_bands(bool(bands), sorted(set(dtypes)))
        self.quantity = self.reading = self._decide(quantity)
        if self.quantity in PAIRS:
            self._pair()

    def _check_bands(self, chosen: bool, dtypes: list[str]) -> None:
        if not all(np.isfinite([*self.profile.scales, *self.profile.offsets])) or 0 in self.profile.scales:
            found = f"scales {self.profile.scales} and offsets {self.profile.offsets} give no values"
            raise SceneError(f"{self.text}: {found}; correct them (gdal_edit.py -scale 1 -offset 0)")
        if len(dtypes) > 1:
            raise SceneError(f"{self.text}: bands of different types ({', '.join(dtypes)}); choose with --bands 1,2")
        if "palette" in self.profile.colors:
            raise SceneError(f"{self.text}: a band has a color table, so its samples are no radar image")
        extra = [band for band in self.bands if is_auxiliary(band) or _OFF_DIAGONAL.fullmatch(band)]
        if extra and not chosen:
            rest = ",".join(band for band in self.bands if band not in extra)
            way = f"choose the others with --bands {rest}" if rest else "if it is one, say so with --bands 1"
            raise SceneError(f"{self.text}: band {extra[0]} is no radar image; {way}")

    def _decide(self, quantity: str) -> str:
        if quantity != "auto":
            return quantity
        sample = self._source.sample(self._chosen[:: -(-len(self._chosen) // 16)])  # of at most 16 bands
        known = self.tags.get(FIELD_TAGS["quantity"]) or self.dtype.startswith("complex")
        if sample.size == 0 and not known:
            if self._allow_empty:
                return "db"
            raise SceneError(f"{self.text}: {_NOTHING}")
        hints = (*sorted({u for u in self.profile.units if u}), self.path.stem, *(d for d in self.bands if d))
        # Integers with a scale are real numbers in their unit.
        dtype = "float64" if self.profile.scales and self.dtype[0] != "c" else self.dtype
        units = self.profile.units or ("",) * len(self.bands)
        bands = tuple(f"{band} {unit}".strip() for band, unit in zip(self.bands, units, strict=True))
        return decide_quantity(self.text, dtype, sample, self.tags, hints, bands)

    def _pair(self) -> None:
        """Let pairs of real bands be the bands of a complex scene."""
        count, height, width = self.shape
        if count % 2 or self.dtype.startswith("complex"):
            raise SceneError(f"{self.text}: {count} bands of {self.dtype} are no pairs of real bands; set --bands 1,2")
        names = [polarization(band) for band in self.bands[::2]]
        if len(set(names)) < len(names) or not all(names):
            names = [polarization(self.path.stem) or "band1", *(f"band{i + 2}" for i in range(count // 2 - 1))]
        self.shape, self.bands = (count // 2, height, width), tuple(names)
        kept = self.profile.select(range(0, count, 2))
        self.profile = replace(kept, scales=(), offsets=(), descriptions=None, units=(), colors=())
        self.quantity, self.dtype = "complex", "complex64"

    def close(self, *_: object) -> None:
        self._source.close()

    __exit__ = close

    def windows(self, size: int) -> Iterator[Window]:
        """Iterate over windows of at most `size`×`size` pixels that cover the scene, row by row."""
        _, height, width = self.shape
        for row in range(0, height, size):
            for column in range(0, width, size):
                yield row, column, min(size, height - row), min(size, width - column)

    def census(self, seen: bool = False) -> dict[str, int]:
        """Count samples of the file that do not come back as they are: below the floor (or 0), infinite, beyond float32.

        This is a second pass over the file, except for integers, which only a floor changes. If all of it was read before
        (`seen`), it is made only if there is something to count.
        """
        integers = self.dtype.startswith(("int", "uint")) and self._floor is None and not self.profile.scales
        counts = np.zeros(3, int)
        for window in [] if integers or (seen and not self._changed) else self.windows(2048):
            counts += self._count(*self._source.read(self._chosen, *window)[:2])
        return dict(zip(("below the floor", "infinite", "beyond float32"), counts.tolist(), strict=True))

    def _count(self, data: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """Count the samples of each kind that `census` states."""
        samples, limits = data if valid.all() else data[valid], np.finfo(np.float32)
        parts = np.ascontiguousarray(samples).view(np.float32)  # of complex samples both
        low, high = np.fmin.reduce(parts, axis=None, initial=0), np.fmax.reduce(parts, axis=None, initial=0)
        double = self.dtype in ("float64", "complex128")
        if -limits.max < low and high < limits.max and not (double or self._floor or self._below_floor(low)):
            return np.zeros(3, int)  # found in a fraction of the time
        beyond = np.isin(np.abs(parts), (limits.max, limits.smallest_subnormal)[: 1 + double])
        return np.array([self._below_floor(parts).sum(), infinite_samples(samples).sum(), beyond.sum()])

    def _below_floor(self, data: np.ndarray) -> np.ndarray:
        """Mark amplitudes and intensities below the floor; exact zeros are outside the swath."""
        linear = self.quantity in ("amplitude", "intensity")
        return (data < (self._floor or 0)) & (data != 0) if linear else np.zeros(data.shape, bool)

    def read(self, window: Window | None = None) -> Scene:
        """Read a window, or the whole scene, which needs a valid sample; refuse samples that contradict the quantity."""
        _, height, width = self.shape
        row, column, rows, columns = window or (0, 0, height, width)
        if row < 0 or column < 0 or rows < 1 or columns < 1 or row + rows > height or column + columns > width:
            raise SceneError(f"{self.text}: window {window} exceeds the scene of {height}×{width} pixels")
        data, valid, nan = self._source.read(self._chosen, row, column, rows, columns)
        self._changed = self._changed or bool(self._count(data, valid).any())
        if self.reading in PAIRS:
            first, second = data[::2], data[1::2]
            data = first + 1j * second if self.reading == "iq" else first * np.exp(1j * second)
            valid, nan = valid[::2] & valid[1::2], nan[::2] | nan[1::2]
        infinite = valid & infinite_samples(data)
        valid = valid & ~infinite
        if self.nodata is not None or self.profile.mask:
            nan = nan | infinite
        if self._floor is not None:
            data = np.where(valid & self._below_floor(data), np.float32(self._floor), data)
        if window is None and not valid.any() and not self._allow_empty:
            raise SceneError(f"{self.text}: {_NOTHING}")
        if not valid.all():
            data = np.where(valid, data, np.array(np.nan, data.dtype))
        check_quantity(self.text, self.quantity, self.dtype, data)
        tags = {name: text for name, text in self.tags.items() if name not in OWN_TAGS}
        own = {name: tags.pop(tag, "") for name, tag in FIELD_TAGS.items()}
        looks, bits, path = self._number("looks"), self._number("native_bits", 128), self.path.resolve()
        # Real numbers are taken as derived from 16-bit products.
        usual = {"c": 32, "f": 16}.get(self.dtype[0]) or 8 * np.dtype(self.dtype).itemsize
        return Scene(
            data, self.quantity, self.bands, name=own["name"] or scene_name(self.path), valid=valid, nan=nan,
            looks=looks or (1.0 if self.quantity == "complex" else looks_of(path)), spacing=self.spacing,
            native_bits=int(bits or usual), acquisition=own["acquisition"] or acquisition_of(path),
            georeference=self.georeference.shifted(row, column) if self.georeference else None,
            nodata=self.nodata, dtype=self.dtype, tags=tags, profile=self.profile, time=self.time,
            simulated=own["simulated"] == "true", credit=own["credit"],
        )  # fmt: skip

    def _number(self, name: str, most: float = np.inf) -> float | None:
        """Parse a tag of this package, which another program may have changed."""
        value = self.tags.get(FIELD_TAGS[name], "")
        with suppress(ValueError):
            if not value or 0 < float(value) <= most:
                return float(value) if value else None
        warnings.warn(f"{self.text}: the tag {FIELD_TAGS[name]}={value!r} is ignored: no positive number", stacklevel=3)
        return None


def _index(band: str | int, names: Sequence[str], text: str) -> int:
    if str(band) in names:
        return list(names).index(str(band))
    if str(band).isdecimal() and 1 <= int(band) <= len(names):
        return int(band) - 1
    raise SceneError(f"{text}: no band '{band}'; it has {', '.join(names[:8])} (or numbers from 1 to {len(names)})")


def scene_name(path: Path) -> str:
    """Return the stem of the file, preceded by its folder if the stem is only a polarization."""
    alone = polarization(path.stem) and len(path.stem) == 2
    return f"{path.resolve().parent.name}-{path.stem}" if alone else path.stem


def _band_names(path: Path, source: Any) -> tuple[str, ...]:
    count = source.shape[0]
    names = [d.strip() for d in source.profile.descriptions or () if d.strip()]
    if len(names) == len(set(names)) == count and names != [path.name]:
        return tuple(names)
    if count > 1:
        return tuple(f"band{i + 1}" for i in range(count))
    stated = next((v for k, v in source.tags.items() if k.lower() in ("polarization", "polarisation", "pol")), "")
    return (polarization(path.stem) or polarization(stated) or "band1",)


# --- quantity


def _words_of(name: str) -> list[str]:
    """Split a file or band name into lower-case words at everything but letters and digits."""
    return [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]


def decide_quantity(
    name: str, dtype: str, sample: np.ndarray, tags: Mapping[str, str], hints: tuple[str, ...], bands: tuple[str, ...] = ()
) -> str:  # fmt: skip
    """Decide the quantity of a file that is read with quantity ``"auto"``; raise SceneError if no rule applies.

    The first rule that applies decides: the tag written by this package; a complex sample type; the unit of the bands;
    words in file names, band names and tags (``db``, ``amplitude``, ``gec``, ``intensity`` …) unless the values contradict
    them; integers without negative values are amplitude, as detected products are delivered; real numbers between −200
    and 100 of which at least half lie below −1 are dB. Amplitude and intensity are never guessed for real numbers, because
    their values look alike. `sample` holds valid samples from all over the file; `hints` are units, file name, band names.
    """
    stated = tags.get(FIELD_TAGS["quantity"], "").lower()
    if stated in QUANTITIES:
        return stated
    if dtype.startswith("complex"):
        return "complex"
    integers = np.dtype(dtype).kind in "ui"
    finite = sample[np.isfinite(sample)]
    low, high = finite.min(initial=np.inf), finite.max(initial=-np.inf)
    share = float(np.mean(finite < 0)) if finite.size else 0.0
    _refuse_pairs(name, bands, integers, share)
    kinds = {next((_WORDS[word] for word in _words_of(band) if word in _WORDS), "") for band in bands}
    if len(kinds - {""}) > 1 or {"db", ""} <= kinds:
        raise SceneError(f"{name}: bands {', '.join(bands[:8])} are of different quantities; choose with --bands")
    telling = [value for tag, value in tags.items() if _TELLING.search(tag) and len(value) < 100]
    words = {word for hint in (*hints, *telling) for word in _words_of(hint)}
    # In the order of trust: units, then everything else.
    units = {_WORDS[hint.lower()] for hint in hints if hint.lower() in _WORDS}
    named = units or {_WORDS[word] for word in words if word in _WORDS}
    minus = low < 0 or bool(np.isneginf(sample).any())
    if named == {"db"} and integers and not (minus and low >= -200 and high <= 100):
        raise SceneError(
            f"{name}: its name or tags say dB, but the samples are integers from {low:g} to {high:g} without a scale; store "
            "scale and offset in the file (gdal_edit.py -scale -offset), or set quantity 'amplitude' or 'intensity'"
        )
    # A few negative samples are left by noise subtraction; more contradict the name.
    if len(named) == 1 and (named == {"db"} or share < 0.5):
        return named.pop()
    if integers and not minus:
        return "amplitude"
    if integers:
        raise SceneError(
            f"{name}: negative integers (lowest {low:g}) are neither amplitude nor intensity; set quantity 'db' for whole dB, "
            "store the scale in the file for scaled dB, or set quantity 'iq' for pairs of bands I and Q"
        )
    if low >= -200 and high <= 100 and minus and (not finite.size or np.mean(finite < -1) >= 0.5):
        return "db"
    known = "look neither like dB nor like amplitude or intensity" if low < 0 else "may be amplitude, intensity or dB"
    pairs = ", or for pairs of bands 'iq' or 'amplitude-phase'" if bands and len(bands) % 2 == 0 and low < 0 else ""
    missing = f"; if {low:g} marks missing samples, declare it (gdal_edit.py -a_nodata {low:g})" if low < -200 else ""
    raise SceneError(
        f"{name}: samples from {low:.4g} to {high:.4g} {known}; set quantity 'amplitude', 'intensity' or 'db'{pairs}{missing}"
    )


def _refuse_pairs(name: str, bands: tuple[str, ...], integers: bool, share: float) -> None:
    """Refuse bands that seem to be the parts of complex samples; `share` is that of negative samples."""
    words = [set(_words_of(band)) for band in bands]
    if len(bands) % 2 or not bands:
        return
    parts = words[0] & {"i", "real", "re"} and words[1] & {"q", "imag", "imaginary", "im"}
    if any("phase" in w for w in words[1::2]):
        kind, seem = "amplitude-phase", f"bands {bands[0]} and {bands[1]} seem to be amplitude and phase"
    elif parts or (integers and 0.2 < share < 0.8):
        kind, seem = "iq", f"{len(bands)} bands with as many negative samples as positive seem to be I and Q"
    else:
        return
    raise SceneError(f"{name}: {seem}; set quantity '{kind}'")


def check_quantity(name: str, quantity: str, dtype: str, data: np.ndarray) -> None:
    """Raise SceneError if the samples cannot be of the stated quantity.

    These are complex samples of a real quantity or the reverse, negative amplitude or intensity, and dB beyond ±400.
    """
    if np.iscomplexobj(data) and quantity != "complex":
        raise SceneError(f"{name}: complex samples are not {quantity}; use quantity 'complex' or 'auto'")
    if quantity == "complex" and not np.iscomplexobj(data):
        ways = "use quantity 'amplitude', 'intensity' or 'db', or for pairs of real bands 'iq' or 'amplitude-phase'"
        raise SceneError(f"{name}: samples of type {dtype} are not complex; {ways}")
    if quantity == "db":
        low, high = np.fmin.reduce(data, axis=None, initial=0), np.fmax.reduce(data, axis=None, initial=0)
        if np.isinf([low, high]).any():  # exact zeros, and what measures nothing
            low, high = (function(data, where=~np.isinf(data), initial=0.0) for function in (np.nanmin, np.nanmax))
        if high > 400 or low < -400:
            raise SceneError(
                f"{name}: samples from {low:.4g} to {high:.4g} cannot be dB; use quantity 'amplitude' or 'intensity', or "
                "declare the nodata value (gdal_edit.py -a_nodata)"
            )
    elif quantity != "complex" and np.nanmin(data, initial=0.0) < 0:
        raise SceneError(f"{name}: {negative_samples(quantity, data[~np.isnan(data)])}")
