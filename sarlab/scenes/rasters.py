"""Rasters and arrays: their georeference and other properties, and their samples by window."""

import json
import mmap
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Self
from xml.sax.saxutils import escape

import numpy as np

from sarlab.errors import SceneError

#: Formats of GDAL that are opened; all others are refused.
DRIVERS = (
    "GTiff", "VRT", "ENVI", "HDF5", "HDF5Image", "netCDF", "Zarr", "JP2OpenJPEG", "HFA", "NITF", "SNAP_TIFF", "SAFE", "RS2",
    "TSX", "COSAR", "GFF", "SAR_CEOS", "CEOS", "JAXAPALSAR", "AirSAR", "ISCE", "ROI_PAC", "ERS", "EHdr", "PNG", "MEM",
)  # fmt: skip
#: Largest number of samples per axis from which the quantity is decided.
SAMPLE = 512
#: A large raster without overviews is sampled in this many pieces per axis, each of this side.
_PIECES, _PIECE = 8, 64
#: Files with more bands are refused: opening takes time for each, even of a file of a few bytes.
MOST_BANDS = 4096
#: Tags for the fields of a scene that files cannot store otherwise.
_FIELDS = ("quantity", "native_bits", "name", "looks", "acquisition", "time", "simulated", "credit")
FIELD_TAGS = {name: f"SARLAB_{name.upper()}" for name in _FIELDS}
#: Tags for what GeoTIFF cannot hold.
OWN_TAGS = CRS_TAG, GCP_CRS_TAG, GCP_IDS_TAG = "SARLAB_CRS_WKT2", "SARLAB_GCP_CRS_WKT2", "SARLAB_GCP_IDS"

#: Namespaces that describe the file and not the image.
_STRUCTURE = {"IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "SUBDATASETS", "RPC", "TIFF", "COLOR_PROFILE"}
#: Words in the names of rasters and bands that are no radar image.
_AUXILIARY = re.compile(
    r"(?i)((lat|lon)(itude|gitude)?|lia|alpha|elevation|dem|.*((?<![a-z])angle|(look|inc)angle|incidence|linci|inc_map|ls_map|mask|layover|shadow).*)(_.*)?"
)
#: Transform of a raster that has none.
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Georeference:
    """Position of the pixels on the ground: an affine transform, ground control points, rational polynomials (RPC)."""

    #: Coordinate reference system of the transform as WKT; empty if unknown.
    crs: str = ""
    #: (a, b, c, d, e, f): x = a·column + b·row + c, y = d·column + e·row + f; `IDENTITY` for none.
    transform: tuple[float, float, float, float, float, float] = IDENTITY
    #: Ground control points (row, column, x, y, z, id), and their coordinate reference system as WKT.
    gcps: tuple[tuple[float, float, float, float, float, str], ...] = ()
    gcps_crs: str = ""
    #: Rational polynomial coefficients under the names that GDAL gives them.
    rpc: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_transform(self) -> bool:
        """False if only control points or RPC locate the pixels."""
        return self.transform != IDENTITY

    @property
    def numbered(self) -> bool:
        """The ids of the control points are 1, 2, 3 …, as GeoTIFF numbers them."""
        return all(point[5] == str(number) for number, point in enumerate(self.gcps, 1))

    def shifted(self, row: int, column: int, factor: float = 1.0) -> Self:
        """Return the georeference of a window that begins at (`row`, `column`), in pixels `factor` times as large."""
        a, b, c, d, e, f = self.transform
        moved = (factor * a, factor * b, a * column + b * row + c, factor * d, factor * e, d * column + e * row + f)
        rpc, middle = dict(self.rpc), 0.5 / factor - 0.5  # RPC count from the center of the first pixel
        for name, offset, half in (
            ("LINE_OFF", row, middle), ("SAMP_OFF", column, middle), ("LINE_SCALE", 0, 0.0), ("SAMP_SCALE", 0, 0.0)
        ):  # fmt: skip
            if name in rpc and (offset or factor != 1):
                try:
                    number = float(rpc[name].split()[0])  # a unit may follow it
                except (ValueError, IndexError):
                    raise SceneError(f"the RPC are damaged: {name} is {rpc[name]!r}, not a number") from None
                rpc[name] = repr((number - offset) / factor + half)
        return replace(
            self, transform=moved if self.has_transform else IDENTITY, rpc=rpc,
            gcps=tuple(((r - row) / factor, (k - column) / factor, x, y, z, name) for r, k, x, y, z, name in self.gcps),
        )  # fmt: skip

    def spacing(self, height: int, width: int) -> tuple[float, float] | None:
        """Return the pixel spacing (row, column) in meters of a scene; None if the coordinate system does not state it."""
        if not self.crs or not self.has_transform:
            return None
        import rasterio

        a, b, _, d, e, f = self.transform
        row, column = float(np.hypot(b, e)), float(np.hypot(a, d))
        with suppress(rasterio.errors.CRSError):  # a local system without a known unit
            crs = rasterio.CRS.from_wkt(self.crs)
            if crs.is_geographic:
                degree, latitude = 111_320.0, f + e * height / 2 + d * width / 2
                return row * degree, column * degree * float(np.cos(np.radians(latitude)))
            unit = float(crs.linear_units_factor[1])
            return row * unit, column * unit
        return None


@dataclass(frozen=True)
class Profile:
    """Properties of a source file that no other field of its scene states; they come back when the scene is written."""

    #: One per band: value = scale · stored sample + offset. Empty if all are 1 and 0.
    scales: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    #: One per band; None if they are the band names.
    descriptions: tuple[str, ...] | None = None
    #: Unit and color interpretation of each band; empty if the file states none.
    units: tuple[str, ...] = ()
    colors: tuple[str, ...] = ()
    #: (band, namespace, tags) of bands, counted from 1, and of namespaces of the file, band 0.
    tags: tuple[tuple[int, str, Mapping[str, str]], ...] = ()
    #: Mask that the file has beside its bands: "", "mask" or "alpha".
    mask: str = ""

    @classmethod
    def joined(cls, profiles: Sequence[Self], descriptions: tuple[str, ...] | None = None) -> Self:
        """Return the profile of several files of one band each as bands of one file."""
        per_band: dict[str, Any] = {}
        for name, default in (("scales", 1.0), ("offsets", 0.0), ("units", "")):
            values = [getattr(profile, name) for profile in profiles]
            per_band[name] = tuple((value or (default,))[0] for value in values) if any(values) else ()
        tags = [entry for entry in profiles[0].tags if not entry[0]]
        tags += [(number, space, tags) for number, p in enumerate(profiles, 1) for band, space, tags in p.tags if band]
        mask = profiles[0].mask if len(profiles) == 1 else ""  # masks of several may differ
        return cls(**per_band, descriptions=descriptions, tags=tuple(tags), mask=mask)

    def select(self, bands: Sequence[int]) -> Self:
        """Return the profile of some bands, given by index."""
        names = ("scales", "offsets", "descriptions", "units", "colors")
        per_band: dict[str, Any] = {n: tuple(v[band] for band in bands) for n in names if (v := getattr(self, n))}
        place = {0: 0} | {band + 1: number for number, band in enumerate(bands, 1)}
        tags = tuple((place[band], space, tags) for band, space, tags in self.tags if band in place)
        return replace(self, **per_band, tags=tags)


class Location(NamedTuple):
    """A raster: as the user named it, as GDAL names it, and a path for its name, folder and polarization."""

    text: str
    gdal: str
    path: Path


def is_product(path: Path) -> bool:
    """Return True if a folder is one product, or a file stands for one."""
    if not path.is_dir():
        return path.suffix.lower() in (".zip", ".dim") or path.name == "manifest.safe"
    inside = (path / "manifest.safe", path / "config.txt")
    return path.suffix.lower() in (".safe", ".data") or any(file.exists() for file in inside)


def has_header(file: Path) -> bool:
    """Return True if an ENVI header lies beside a file."""
    return file.with_name(file.name + ".hdr").exists() or file.with_suffix(".hdr").exists()


def is_auxiliary(name: str) -> bool:
    """Return True if the name of a raster or band tells that it is no radar image but an angle, a height, a mask …"""
    return bool(_AUXILIARY.fullmatch(name))


def open_raster(name: str) -> Any:
    """Open a raster by the name that GDAL gives it, with one of `DRIVERS`."""
    import rasterio

    reader, parse = rasterio.io.DatasetReader, rasterio._path._parse_path  # `rasterio.open` takes a single driver
    return rasterio.env.ensure_env_with_credentials(lambda name: reader(parse(name), driver=list(DRIVERS)))(name)


@contextmanager
def unlocated() -> Iterator[None]:
    """Silence the warning of rasterio about rasters without a georeference."""
    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text."""
    return (str(error) or type(error).__name__).splitlines()[0]


@contextmanager
def named_errors(name: Any, what: str = "cannot be written", path: str = "", hint: str = "") -> Iterator[None]:
    """Turn errors of GDAL, rasterio and the file system into a `SceneError`; a `path` in them is shortened to its name."""
    import rasterio

    try:
        yield
    except (rasterio.errors.RasterioError, rasterio._err.CPLE_BaseError, OSError, ValueError, TypeError) as error:
        # Other texts of OSError name a temporary file.
        reason = getattr(error, "strerror", None) or first_line(error.__cause__ or error).replace(path, Path(path).name)
        if "not recognized" in reason:
            hint = "; convert it to GeoTIFF, or give the header or the folder that belongs to it"
        raise SceneError(f"{name}: {what} ({reason}){hint}") from None


def read_georeference(file: Any) -> Georeference | None:
    """Return the georeference of an open dataset; None if it has none."""
    import rasterio

    tags, (points, points_crs), stated = file.tags(), file.gcps, {}
    for tag in (CRS_TAG, GCP_CRS_TAG):
        with suppress(KeyError, rasterio.errors.CRSError):  # another program may have changed it
            stated[tag] = rasterio.CRS.from_wkt(tags[tag]).to_wkt()
    ids = [point.id for point in points]
    with suppress(ValueError, TypeError):
        named = [str(name) for name in json.loads(tags.get(GCP_IDS_TAG, "[]"))]
        ids = named if len(named) == len(ids) else ids
    transform: Any = tuple(float(v) for v in tuple(file.transform)[:6])
    coordinates = ((float(p.row), float(p.col), float(p.x), float(p.y), float(p.z or 0)) for p in points)
    # GDAL makes up a system in unknown units for pixels that are points.
    crs = "" if not file.crs or file.crs.to_wkt().startswith('LOCAL_CS["unnamed",UNIT["unknown"') else file.crs.to_wkt()
    reference = Georeference(
        crs or stated.get(CRS_TAG, ""), transform,
        tuple((*values, name) for values, name in zip(coordinates, ids, strict=True)),
        (points_crs.to_wkt() if points_crs else stated.get(GCP_CRS_TAG, "")) if points else "", file.tags(ns="RPC"),
    )  # fmt: skip
    if not reference.has_transform and (points or (file.crs and file.crs.is_geographic)):
        # A geographic system without a transform locates nothing; many programs write one.
        reference = replace(reference, crs="")
    return None if reference == Georeference() else reference


def read_profile(file: Any, numbers: list[int], alpha: int | None) -> Profile:
    """Collect the properties of some bands of an open dataset, given by number; `alpha` is the number of the mask band."""
    scaled = any(s != 1 for s in file.scales) or any(o != 0 for o in file.offsets)
    places = [(0, space) for space in file.tag_namespaces(0) if space]
    places += [(band, space) for band in file.indexes for space in ("", *file.tag_namespaces(band))]
    tags = [(band, space, file.tags(band, ns=space or None)) for band, space in places if space not in _STRUCTURE]
    flags, nodata = {flag.name for flag in file.mask_flag_enums[numbers[0] - 1]}, file.nodatavals[numbers[0] - 1]
    # Masks of bands may differ, so only that of a single band is one of the file, or a nodata value that rasterio cannot state.
    alone = len(numbers) == 1 and "all_valid" not in flags and storable(nodata, file.dtypes[0]) is None
    profile = Profile(
        file.scales if scaled else (), file.offsets if scaled else (), tuple(text or "" for text in file.descriptions),
        tuple(unit or "" for unit in file.units) if any(file.units) else (), tuple(c.name for c in file.colorinterp),
        tuple(entry for entry in tags if entry[2]),
        "alpha" if alpha else "mask" * ("per_dataset" in flags or alone),
    ).select([number - 1 for number in numbers])  # fmt: skip
    plain = profile.colors == ("gray", *["undefined"] * (len(numbers) - 1))
    return replace(profile, colors=()) if plain else profile


def storable(nodata: float | None, dtype: str) -> float | None:
    """Return a nodata value, or None if it is a 64-bit integer that a float64, and so rasterio, cannot state."""
    return None if nodata is not None and dtype in ("int64", "uint64") and abs(nodata) > 2**53 else nodata


def geotiff_profile(scene: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the options of rasterio that write the georeference of a scene to a GeoTIFF, and tags for the rest."""
    from rasterio import CRS, Affine
    from rasterio.control import GroundControlPoint

    reference = scene.georeference or Georeference()
    found = {CRS_TAG: reference.crs, GCP_CRS_TAG: reference.gcps_crs}
    systems = {tag: CRS.from_wkt(wkt) for tag, wkt in found.items() if wkt}
    place = Affine(2, 0, 0, 0, -2, 0)
    tags = {tag: found[tag] for tag, crs in systems.items() if _reread(transform=place, crs=crs)[0] != crs}
    options: dict[str, Any] = {"crs": systems.get(CRS_TAG) if CRS_TAG not in tags else None}
    if reference.has_transform:
        options["transform"] = Affine(*reference.transform)
    elif reference.gcps:
        # GDAL 3.10 moves the points of pixels that are points.
        tag = {"AREA_OR_POINT": scene.tags.get("AREA_OR_POINT", "Area")}
        moved = _reread(tag, gcps=[GroundControlPoint(0, 0, 0, 0)], crs=CRS())[1][0].row
        options["gcps"] = [GroundControlPoint(r - moved, k - moved, *place) for r, k, *place in reference.gcps]
        # A GeoTIFF has one coordinate system, that of the control points.
        options["crs"] = CRS() if GCP_CRS_TAG in tags else systems.get(GCP_CRS_TAG, CRS())
        if not reference.numbered:
            tags[GCP_IDS_TAG] = json.dumps([point[5] for point in reference.gcps])
    return options, tags


def _reread(tags: Mapping[str, str] = {}, **options: Any) -> tuple[Any, Any]:
    """Return the coordinate system and the control points of a GeoTIFF as GDAL reads them again, without a side file."""
    import rasterio

    options = {"driver": "GTiff", "width": 1, "height": 1, "count": 1, "dtype": "uint8"} | options
    with suppress(Exception), unlocated(), rasterio.Env(GDAL_PAM_ENABLED="NO"), rasterio.MemoryFile() as memory:
        with memory.open(**options) as file:
            file.update_tags(**tags)
        with memory.open() as file:
            return file.crs, file.gcps[0]
    return None, []


def write_profile(file: Any, scene: Any) -> dict[str, str]:
    """Write the properties of a scene to a new dataset; returns tags to rename in the finished file, see `rename_tags`.

    These are the tags of namespaces, which the COG driver would lose, and those that rasterio cannot write.
    """
    from rasterio.enums import ColorInterp

    profile, reference, bands = scene.profile, scene.georeference, len(scene.bands)
    alpha = file.count > bands
    names = scene.bands if profile.descriptions is None else profile.descriptions
    file.descriptions = (*names, *[None] * alpha)
    if profile.units:
        file.units = (*profile.units, *[""] * alpha)
    if profile.colors or alpha:
        colors = profile.colors or ("gray", *["undefined"] * (bands - 1))
        file.colorinterp = [getattr(ColorInterp, name, ColorInterp.undefined) for name in (*colors, *["alpha"] * alpha)]
    if reference is not None and reference.rpc:
        file.update_tags(ns="RPC", **reference.rpc)
    renamed: dict[str, str] = {}
    quote = {'"': "&quot;"}

    def name_of(item: str) -> str:
        name = f"SARLAB_TAG_{len(renamed)}".ljust(len(item.encode()), "_")
        renamed[name] = item
        return name

    for band, space, tags in ((0, "", scene.tags), *profile.tags):
        written = {}
        for name, text in tags.items():
            # GDAL calls documents so.
            item = "doc" if space.startswith("xml:") else escape(name, quote)
            item += f'" domain="{escape(space, quote)}' if space else ""
            # Arguments of `update_tags` have these names.
            written[name_of(item) if space or re.match("(ns|bidx)$|SARLAB_TAG_", name) else name] = text
        file.update_tags(band, **written)
    for band, color in enumerate(profile.colors, 1):
        # The first band is gray, and no other is, unless an item of the XML says otherwise.
        if (color, band == 1) in (("undefined", True), ("gray", False)):
            file.update_tags(band, **{name_of('COLORINTERP" role="colorinterp'): color.title()})
    return renamed


def rename_tags(path: Path, renamed: dict[str, str]) -> None:
    """Give tags in the XML of a GeoTIFF the names that rasterio cannot write; the length of the XML stays."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        for found in list(re.finditer(rb'name="(SARLAB_TAG_\d+_*)"', data)):
            if item := renamed.get(found[1].decode()):
                data[slice(*found.span())] = f'name="{item}"'.encode().ljust(len(found[0]))


# --- samples

#: Values (float32 or complex64), which of them are valid, and which are NaN in a file that marks nodata otherwise.
Samples = tuple[np.ndarray, np.ndarray, np.ndarray]


class ArraySource:
    """Samples in memory or in a memory-mapped file, shape (height, width) or (bands, height, width).

    Every source has properties per band, reads a window of some bands, given by index, and samples them all over.
    """

    def __init__(
        self, text: str, array: Any, nodata: float | None = None, profile: Profile = Profile(), tags: Any = (),
        georeference: Georeference | None = None,
    ):  # fmt: skip
        if array.dtype.kind not in "iufc":
            raise SceneError(f"{text}: samples of type {array.dtype} are no image; use real or complex numbers")
        if array.ndim not in (2, 3) or 0 in array.shape:
            raise SceneError(f"{text}: shape {array.shape} is no image; use (height, width) or (bands, height, width)")
        self._array = array if array.ndim == 3 else array[None]
        self.profile, self.tags, self.georeference, self.shape = profile, dict(tags), georeference, self._array.shape
        # Native byte order; the widest type of GDAL.
        name = array.dtype.newbyteorder("=").name
        name = {"float128": "float64", "complex256": "complex128", "float96": "float64"}.get(name, name)
        self.dtypes, self.nodata = [name] * self.shape[0], [nodata] * self.shape[0]

    def read(
        self, bands: Sequence[int], row: int, column: int, rows: int, columns: int, steps: Sequence[int] = (1, 1)
    ) -> Samples:
        inside = np.s_[row : row + rows : steps[0], column : column + columns : steps[1]]
        raw, nodata = np.stack([np.asarray(self._array[band, *inside]) for band in bands]), self.nodata[0]
        marked = nodata is not None and not np.isnan(nodata)
        valid = raw != nodata if marked else np.ones(raw.shape, bool)
        return decode_samples(raw, valid, self.profile.select(bands), marked)

    def sample(self, bands: Sequence[int]) -> np.ndarray:
        _, height, width = self.shape
        data, valid, _ = self.read(bands, 0, 0, height, width, (max(1, height // SAMPLE), max(1, width // SAMPLE)))
        return data[valid]

    def close(self) -> None:
        self._array = self._array[:0]


def load_npy(path: Path) -> ArraySource:
    """Open an ``.npy`` file without loading it."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # of many kinds, by what is wrong with the header
        raise SceneError(f"{path}: not a readable .npy array of numbers ({first_line(error)})") from None
    source = ArraySource(str(path), array)
    if source.shape[2] <= 4 < source.shape[0]:
        raise SceneError(f"{path}: shape {array.shape} looks like (height, width, bands); move the bands to the front")
    return source


class RasterSource:
    """Bands of a raster opened by GDAL."""

    def __init__(self, location: Location, dataset: Any = None):
        self._stack, self._text, self._gdal = ExitStack(), location.text, location.gdal
        with unlocated(), named_errors(self._text, "not a readable image", self._gdal):
            self._file = dataset or self._stack.enter_context(open_raster(location.gdal))
            if not dataset and self._file.driver == "HDF5Image" and read_georeference(self._file) is None:
                self._find_coordinates()
            self._describe()

    def _find_coordinates(self) -> None:
        """Read an image in HDF5 by the netCDF driver if that one finds coordinates, as in products of NISAR."""
        name, located = self._gdal.replace("HDF5", "NETCDF", 1).replace('"://', '":/'), False
        try:
            other = self._stack.enter_context(open_raster(name))
            located = not other.transform.is_identity
            other.read(1, window=((0, 1), (0, 1)))
            # That of HDF5 reads three dimensions at most.
            self._file = other if located or other.count > self._file.count else self._file
        except OSError:  # not everything in HDF5 is netCDF, and float16 cannot be read
            if located:
                warnings.warn(f"{self._text}: GDAL reads its samples alone; the coordinates are lost", stacklevel=2)

    def _describe(self) -> None:
        """Find out bands, masks, tags and georeference."""
        file = self._file
        inner = file.subdatasets
        if file.count == 0 or (inner and file.driver == "GTiff"):  # a TIFF of several pages
            shown = ": " + ", ".join(inner[:6]) + (f" and {len(inner) - 6} more" if len(inner) > 6 else "")
            many = f"{len(inner)} images, not one" if inner else "no image of its own"
            way = "give one of its subdatasets or files" + shown * bool(inner)
            raise SceneError(f"{self._text}: the file has {many}; {way}")
        plain = file.driver in ("ENVI", "ISCE", "ROI_PAC") and "file_compression" not in file.tags(ns="ENVI")
        if plain and os.path.exists(self._gdal):
            size = file.count * file.height * file.width * np.dtype(file.dtypes[0]).itemsize
            if os.path.getsize(self._gdal) < size:  # GDAL would read zeros beyond the end
                raise SceneError(f"{self._text}: fewer than the {size} bytes of its header; file or header is wrong")
        if file.count > MOST_BANDS:
            raise SceneError(f"{self._text}: {file.count} bands; files of up to {MOST_BANDS} bands are read")
        alphas = [i for i, color in enumerate(file.colorinterp, 1) if color.name == "alpha" and file.count > 1]
        self._alpha = alphas[-1] if alphas else None
        if self._alpha:
            band = file.read(self._alpha, out_shape=(min(file.height, SAMPLE), min(file.width, SAMPLE)))
            # A second polarization that a program marked as alpha is more likely than transparency.
            self._alpha = None if np.unique(band).size > 2 else self._alpha
        self._numbers = [number for number in file.indexes if number != self._alpha]
        self.shape = (len(self._numbers), file.height, file.width)
        kinds = [{flag.name for flag in of} for of in file.mask_flag_enums]
        properties = file.dtypes, file.nodatavals, kinds  # each reads all bands
        self.dtypes, nodata, flags = ([values[number - 1] for number in self._numbers] for values in properties)
        self.nodata = [None if value is None else float(value) for value in map(storable, nodata, self.dtypes)]
        self.profile = read_profile(file, self._numbers, self._alpha)
        # NaN as nodata needs no mask of GDAL.
        self._masked = [
            "per_dataset" in of or ("all_valid" not in of and (value is None or not np.isnan(value)))
            for of, value in zip(flags, self.nodata, strict=True)
        ]
        # GDAL writes the other value by default, and how overviews were made; outputs have their own.
        # A list of nodata values, one for each band, is a mask for GDAL.
        kept = {"AREA_OR_POINT": "Point", "OVR_RESAMPLING_ALG": ""}
        kept |= {"NODATA_VALUES": ""} if self.profile.mask else {}
        self.tags = {k: v for k, v in file.tags().items() if kept.get(k, v) == v}
        self.georeference = read_georeference(file)

    def read(self, bands: Sequence[int], row: int, column: int, rows: int, columns: int) -> Samples:
        return self._load(bands, window=((row, row + rows), (column, column + columns)))

    def sample(self, bands: Sequence[int]) -> np.ndarray:
        _, height, width = self.shape
        if not self._file.overviews(1) and max(height, width) > 4 * SAMPLE:
            # Without overviews GDAL would read the whole file.
            rows, columns = (np.linspace(0, max(n - _PIECE, 0), _PIECES).astype(int) for n in (height, width))
            pieces = [self.read(bands, r, c, min(_PIECE, height), min(_PIECE, width)) for r in rows for c in columns]
            found = np.concatenate([data[valid] for data, valid, _ in pieces])
            if found.size:
                return found
        data, valid, _ = self._load(bands, out_shape=(min(height, SAMPLE), min(width, SAMPLE)))
        return data[valid]

    def _load(self, bands: Sequence[int], **options: Any) -> Samples:
        file, numbers, masked = self._file, [self._numbers[b] for b in bands], [self._masked[b] for b in bands]
        with named_errors(self._text, "damaged or truncated image data", self._gdal):
            raw = file.read(numbers, **options)
            mask = np.ones(raw.shape, bool)
            for band in np.flatnonzero(masked):
                mask[band] = file.read_masks(numbers[band], **options) > 0
            if self._alpha:
                mask &= file.read(self._alpha, **options) > 0
        marked = np.array(masked) | bool(self._alpha)
        return decode_samples(raw, mask, self.profile.select(bands), marked)

    def close(self) -> None:
        self._stack.close()


def decode_samples(raw: np.ndarray, mask: np.ndarray, profile: Profile, marked: Any) -> Samples:
    """Convert stored samples to values; those beyond float32 become its largest or smallest number.

    `mask` is that of GDAL. Where `marked`, per band or for all, something else than NaN marks nodata.
    """
    nan, data = np.isnan(raw), raw
    if profile.scales:
        scales, offsets = (np.reshape(values, (-1, 1, 1)) for values in (profile.scales, profile.offsets))
        data = raw * scales + offsets
    if data.dtype.kind == "f" and data.dtype.itemsize > 4:
        top, least = np.finfo(np.float32).max, np.finfo(np.float32).smallest_subnormal
        data = np.where(np.isfinite(data), np.clip(data, -top, top), data)
        data = np.where((data != 0) & (np.abs(data) < least), np.copysign(least, data), data)
    data = data.astype(np.complex64 if np.iscomplexobj(data) else np.float32, copy=False)
    return data, mask & ~nan, mask & nan & np.reshape(marked, (-1, 1, 1))


def joined(parts: Iterable[Samples]) -> Samples:
    """Stack samples of one size as bands."""
    data, valid, nan = map(np.concatenate, zip(*parts, strict=True))
    return data, valid, nan


def encode_samples(
    data: np.ndarray, valid: np.ndarray, dtype: str, nodata: float | None, name: str, *, nan: np.ndarray | None = None,
    masked: bool = False, packing: tuple[Sequence[float], Sequence[float]] | None = None,
) -> np.ndarray:  # fmt: skip
    """Convert samples to the type of the file.

    Integers are rounded and clipped to their range. Invalid samples become nodata, NaN where `nan`, and any value where the
    file has a mask (`masked`). A measured sample that would be read as nodata moves to the next value. With `packing`, one
    scale and offset per band, stored = (value − offset) / scale.
    """
    if dtype == "complex_int16":
        if not valid.all() and not masked:
            raise SceneError(f"{name}: complex integers cannot mark nodata; write complex64")
        parts = np.where(valid, data, 0).astype(np.complex64).view(np.float32)
        return np.clip(np.rint(parts), -32768, 32767).view(np.complex64)
    if packing:
        scales, offsets = (np.reshape(values, (-1, 1, 1)) for values in packing)
        data = (np.where(valid, data, 0).astype(np.float64) - offsets) / scales
    if np.dtype(dtype).kind not in "iu":
        with np.errstate(over="ignore", invalid="ignore"):
            values, filler = data.astype(dtype), np.array(np.nan if nodata is None else nodata).astype(dtype)
            if not np.isnan(filler) and not masked:
                # GDAL compares floats with a tolerance.
                near = np.abs(values - filler) <= 1e-6 * np.abs(filler) if np.isfinite(filler) else values == filler
                beside = np.nextafter(filler, 0) * (1 - 4e-6) if nodata else np.finfo(np.float32).tiny
                values = np.where(valid & near, beside, values).astype(dtype)
        values = values if valid.all() else np.where(valid, values, filler)
        return values if nan is None else np.where(nan, np.array(np.nan, dtype), values)
    if not valid.all() and nodata is None and not masked:
        raise SceneError(f"{name}: {dtype} cannot mark nodata; give the scene a nodata value or write float32")
    limits = np.iinfo(dtype)
    # The largest 64-bit integers are no float64.
    top = np.nextafter(float(limits.max), 0) if limits.bits == 64 else limits.max
    with np.errstate(invalid="ignore"):
        values = np.clip(np.rint(np.where(valid, data, 0).astype(np.float64)), limits.min, top)
    if nodata is not None and limits.min <= nodata <= limits.max:
        if not masked:
            # A measured value that rounds to the nodata value moves by one, or it would be lost.
            values = np.where(valid & (values == nodata), nodata + 1 if nodata < limits.max else nodata - 1, values)
        values = np.where(valid, values, nodata)
    return values.astype(dtype)
