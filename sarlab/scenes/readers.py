"""Read a scene, a window of it, or all scenes of a folder: GeoTIFF, ENVI and other rasters, ``.npy``, products, xarray.

    with open_scene("huge.tif") as file:
        for window in file.windows(2048):
            scene = file.read(window)

Samples become float32 (or complex64), nodata becomes NaN, an exact zero stays a value. With ``quantity="auto"`` the rules
of `sarlab.scenes.quantity.decide_quantity` are applied to samples from all over the file, never to the window alone.
"""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from sarlab.errors import SceneError
from sarlab.scenes.arrays import source_of
from sarlab.scenes.profile import Profile
from sarlab.scenes.quantity import (
    ORDER,
    PAIRS,
    QUANTITY_TAG,
    SENTINEL1_GRD_LOOKS,
    acquisition_of,
    check_quantity,
    decide_quantity,
    is_sentinel1_detected,
    polarization,
    time_of,
    without_polarization,
)  # fmt: skip
from sarlab.scenes.rasters import (
    CRS_TAG,
    GCP_CRS_TAG,
    GCP_IDS_TAG,
    Location,
    RasterSource,
    has_header,
    is_product,
    load_npy,
    locate,
)
from sarlab.scenes.scene import FIELD_TAGS, QUANTITIES, Scene, Window, infinite_samples, join_bands

#: Suffixes of the images in a folder.
SUFFIXES = (".tif", ".tiff", ".npy", ".bin", ".img", ".vrt", ".jp2")

#: Words in the names of bands that are no radar image.
_AUXILIARY = re.compile(
    r"(?i)^(angle|.*inc(idence|_?angle|idenceangle).*|lia|.*look_?angle.*|elevation|dem|lat(itude)?|lon(gitude)?|.*mask|"
    r".*layover.*|.*shadow.*)$"
)


#: Side of the blocks in which samples are counted.
_BLOCK = 8
#: Of larger scenes only the central window of this side is used, so that a run fits into memory.
LARGEST_SIDE = 4096


def read_scene(source: Any, quantity: str = "auto", window: Window | None = None, **options: Any) -> Scene:
    """Read a scene, or a window of it.

    Parameters
    ----------
    source : str, Path, dataset of rasterio, or xarray.DataArray
        GeoTIFF, COG, any other raster in `sarlab.scenes.rasters.DRIVERS`, a subdataset, a product folder (SAFE, PolSARpro,
        BEAM-DIMAP), ``.npy`` of shape (height, width) or (bands, height, width); an open dataset; or an array with the
        conventions of rioxarray.
    quantity : {"auto", "complex", "amplitude", "intensity", "db", "iq", "amplitude-phase"}
        Unit of the samples. With the last two, pairs of real bands become the bands of a complex scene.
    window : (row, column, height, width), optional
        In pixels; default the whole scene.
    **options
        See `open_scene`.

    Raises
    ------
    SceneError
        Missing file, not an image, wrong or undecidable quantity, no valid sample.

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
        Replace negative amplitude or intensity, which noise subtraction leaves, by this value instead of raising.
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
    if not isinstance(given, (str, Path)):
        if hasattr(given, "dims") and hasattr(given, "attrs"):
            return source_of(given), Location(f"array '{given.name or 'scene'}'", "", Path(str(given.name or "scene")))
        if hasattr(given, "read_masks"):
            location = Location(given.name, given.name, Path(given.name))
            return RasterSource(location, given), location
        raise SceneError(
            f"a scene is read from a path, a dataset of rasterio or an xarray.DataArray, not {type(given).__name__}"
        )
    location = locate(given, remote, external)
    if is_product(location.path):
        from sarlab.scenes.products import open_product

        product = open_product(location, calibrate, denoise)
        if product is not None:
            return product, location
    if calibrate or denoise:
        raise SceneError(
            f"{given}: only Sentinel-1 products in SAFE format are calibrated here; give the .SAFE folder or .zip"
        )
    if location.path.is_dir():
        raise SceneError(f"{given} is a folder, not an image; give one of its files")
    if location.path.suffix.lower() == ".npy" and location.path.exists():
        return load_npy(location.path), location
    return RasterSource(location), location


class SceneFile:
    """An open file whose windows are read as scenes, with `shape` (bands, height, width) and fields as those of `Scene`.

    `quantity` is as given or decided; `reading` how pairs of bands form complex samples.
    """

    def __init__(
        self, location: Location, source: Any, quantity: str, allow_empty: bool,
        bands: Sequence[str | int] = (), floor: float | None = None,
    ):  # fmt: skip
        self.path, self.text, self._source, self._allow_empty = location.path, location.text, source, allow_empty
        self._floor = floor
        names = _band_names(self.path, source)
        if bands:
            chosen = [_index(band, names, self.text) for band in bands]
            source.select(chosen)
            names = tuple(names[index] for index in chosen)
        self.shape, self.dtype, self.nodata = source.shape, source.dtype, source.nodata
        self.georeference, self.spacing, self.profile = source.georeference, source.spacing, source.profile
        self.tags, self.bands = dict(source.tags), names
        self._check_bands(bool(bands), set(getattr(source, "dtypes", ())))
        self.quantity = self.reading = self._decide(quantity)
        if self.quantity in PAIRS:
            self._pair()
        #: Blocks whose samples were counted, and the counts; no real sample of integers can change.
        self._counted = np.zeros([-(-side // _BLOCK) for side in self.shape[1:]], bool)
        self._counts = {"negative": 0, "infinite": 0, "beyond float32": 0}
        whole = self.dtype.startswith(("int", "uint")) and floor is None and not self.profile.scales
        self._counted[:] = whole or self.dtype.startswith("complex")

    def _check_bands(self, chosen: bool, dtypes: set[str]) -> None:
        if len(dtypes) > 1:
            raise SceneError(
                f"{self.text}: bands of different types ({', '.join(sorted(dtypes))}); choose those of one type with bands "
                "(--bands 1,2)"
            )
        if "palette" in self.profile.colors:
            raise SceneError(
                f"{self.text}: a band has a color table, so its samples are no radar image; convert it first"
            )
        extra = [band for band in self.bands if _AUXILIARY.match(band)]
        if 0 < len(extra) < len(self.bands) and not chosen:
            rest = ",".join(band for band in self.bands if band not in extra)
            raise SceneError(
                f"{self.text}: band {extra[0]} is no radar image; choose the others with bands (--bands {rest})"
            )

    def _decide(self, quantity: str) -> str:
        if quantity != "auto":
            return quantity
        sample = self._source.sample()
        known = self._source.tags.get(QUANTITY_TAG) or self.dtype.startswith("complex")
        if sample.size == 0 and not known:
            if self._allow_empty:
                return "db"
            raise _empty(self.text)
        hints = (*sorted({u for u in self.profile.units if u}), self.path.stem, *(d for d in self.bands if d))
        # Integers with a scale are real numbers in their unit.
        dtype = "float64" if self.profile.scales else self.dtype
        return decide_quantity(self.text, dtype, sample, self._source.tags, hints, self.bands)

    def _pair(self) -> None:
        """Let pairs of real bands be the bands of a complex scene."""
        count, height, width = self.shape
        if count % 2 or self.dtype.startswith("complex"):
            raise SceneError(
                f"{self.text}: {count} bands of {self.dtype} are no pairs of real bands; quantity '{self.quantity}' needs them"
            )
        names = [polarization(band) or "" for band in self.bands[::2]]
        if len(set(names)) < len(names) or not all(names):
            names = [f"band{i + 1}" for i in range(count // 2)]
            names[:1] = [polarization(self.path.stem) or "band1"]
        self.shape, self.bands, self.profile = (
            (count // 2, height, width),
            tuple(names),
            Profile(mask=self.profile.mask),
        )
        self.quantity, self.dtype = "complex", "complex64"

    def __enter__(self) -> SceneFile:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def windows(self, size: int) -> Iterator[Window]:
        """Iterate over windows of at most `size`×`size` pixels that cover the scene, row by row."""
        _, height, width = self.shape
        for row in range(0, height, size):
            for column in range(0, width, size):
                yield row, column, min(size, height - row), min(size, width - column)

    def census(self) -> dict[str, int]:
        """Count the samples of the whole file that do not come back as they are: negative, infinite, beyond float32.

        Reads only what no window has read before.
        """
        for row, column, height, width in self.windows(2048):
            if not self._counted[_blocks(row, height), _blocks(column, width)].all():
                data, valid, _ = self._source.read(row, column, height, width)
                self._count(data, valid, row, column)
        return dict(self._counts)

    def _count(self, data: np.ndarray, valid: np.ndarray, row: int, column: int) -> None:
        """Count the samples of the blocks that lie in a window as a whole, each block once."""
        ends = row + data.shape[1], column + data.shape[2]
        first = -(-row // _BLOCK), -(-column // _BLOCK)
        last = [
            -(-end // _BLOCK) if end == side else end // _BLOCK for end, side in zip(ends, self.shape[1:], strict=True)
        ]
        blocks = self._counted[first[0] : last[0], first[1] : last[1]]
        if blocks.all():
            return
        inside = slice(first[0] * _BLOCK - row, None), slice(first[1] * _BLOCK - column, None)
        data, valid = data[:, *inside], valid[:, *inside]
        new = np.repeat(np.repeat(~blocks, _BLOCK, 0), _BLOCK, 1)[: data.shape[1], : data.shape[2]]
        samples = data[:, : new.shape[0], : new.shape[1]][valid[:, : new.shape[0], : new.shape[1]] & new]
        if self.quantity in ("amplitude", "intensity"):
            self._counts["negative"] += int((samples < 0).sum())
        self._counts["infinite"] += int(infinite_samples(samples).sum())
        self._counts["beyond float32"] += int((np.abs(samples) == np.finfo(np.float32).max).sum())
        blocks[:] = True

    def read(self, window: Window | None = None) -> Scene:
        """Read a window, or the whole scene.

        Raises
        ------
        SceneError
            A window outside the scene; samples that contradict the quantity; a whole scene without a valid sample.
        """
        _, height, width = self.shape
        row, column, rows, columns = window or (0, 0, height, width)
        if row < 0 or column < 0 or rows < 1 or columns < 1 or row + rows > height or column + columns > width:
            raise SceneError(f"{self.text}: window {window} exceeds the scene of {height}×{width} pixels")
        data, valid, nan = self._source.read(row, column, rows, columns)
        self._count(data, valid, row, column)
        if self.reading in PAIRS:
            first, second = data[::2], data[1::2]
            data = first + 1j * second if self.reading == "iq" else first * np.exp(1j * second)
            valid, nan = valid[::2] & valid[1::2], None if nan is None else nan[::2] | nan[1::2]
        infinite = valid & infinite_samples(data)
        if infinite.any():
            valid, nan = valid & ~infinite, None if nan is None else nan | infinite
        if self._floor is not None and self.quantity in ("amplitude", "intensity"):
            data = np.where(valid & (data < 0), np.float32(self._floor), data)
        if window is None and not valid.any() and not self._allow_empty:
            raise _empty(self.text)
        if not valid.all():
            data = np.where(valid, data, np.array(np.nan, data.dtype))
        check_quantity(self.text, self.quantity, self.dtype, data)
        tags = dict(self.tags)
        own = {name: tags.pop(tag, "") for name, tag in FIELD_TAGS.items()}
        for tag in (CRS_TAG, GCP_CRS_TAG, GCP_IDS_TAG):
            tags.pop(tag, None)
        looks, bits = (
            _number(own[name], name, most, self.text) for name, most in (("looks", np.inf), ("native_bits", 128))
        )
        return Scene(
            data, self.quantity, self.bands, name=own["name"] or _scene_name(self.path), valid=valid, nan=nan,
            looks=looks or self._looks(), spacing=self.spacing, native_bits=int(bits or _native_bits(self.dtype)),
            acquisition=own["acquisition"] or acquisition_of(self.path.resolve()),
            georeference=self.georeference.shifted(row, column) if self.georeference else None,
            nodata=self.nodata, dtype=self.dtype, tags=tags, profile=self.profile,
            time=own["time"] or time_of(self.path.resolve(), tags),
            simulated=own["simulated"] == "true", credit=own["credit"],
        )  # fmt: skip

    def _looks(self) -> float | None:
        if self.quantity == "complex":
            return 1.0
        return SENTINEL1_GRD_LOOKS if is_sentinel1_detected(self.path.resolve()) else None


def _blocks(start: int, length: int) -> slice:
    """Return the blocks that a window touches along one axis."""
    return slice(start // _BLOCK, -(-(start + length) // _BLOCK))


def _number(value: str, name: str, most: float, text: str) -> float | None:
    """Parse a tag of this package, which another program may have changed."""
    if not value:
        return None
    with suppress(ValueError):
        if 0 < float(value) <= most:
            return float(value)
    warnings.warn(f"{text}: the tag {FIELD_TAGS[name]}={value!r} is no number above 0 and was ignored", stacklevel=3)
    return None


def _index(band: str | int, names: Sequence[str], text: str) -> int:
    if str(band) in names:
        return list(names).index(str(band))
    if str(band).isdecimal() and 1 <= int(band) <= len(names):
        return int(band) - 1
    raise SceneError(f"{text}: no band '{band}'; it has {', '.join(names[:8])} (or numbers from 1 to {len(names)})")


def _empty(text: str) -> SceneError:
    return SceneError(f"{text}: every sample is nodata or NaN; there is nothing to compress")


def _scene_name(path: Path) -> str:
    """Return the stem of the file, preceded by its folder if the stem is only a polarization."""
    alone = polarization(path.stem) and len(path.stem) == 2
    return f"{path.resolve().parent.name}-{path.stem}" if alone else path.stem


def _native_bits(dtype: str) -> int:
    """Return the bits per sample of the product; real floats are taken as derived from 16-bit products."""
    if dtype.startswith("complex"):
        return 32
    kind = np.dtype(dtype)
    return 8 * kind.itemsize if kind.kind in "iu" else 16


def _band_names(path: Path, source: Any) -> tuple[str, ...]:
    count = source.shape[0]
    names = [d.strip() for d in source.profile.descriptions or () if d.strip()]
    if len(names) == count and len(set(names)) == count and not (count == 1 and names[0] == path.name):
        return tuple(names)
    if count == 1:
        stated = next((v for k, v in source.tags.items() if k.lower() in ("polarization", "polarisation", "pol")), "")
        return (polarization(path.stem) or polarization(stated) or "band1",)
    return tuple(f"band{i + 1}" for i in range(count))


# --- files and folders as lists of scenes


@dataclass
class FoundScenes:
    """Scenes of a file or folder with and without a valid sample; empty and unreadable ones as (name, reason)."""

    scenes: list[Scene] = field(default_factory=list)
    empty: list[Scene] = field(default_factory=list)
    excluded: list[tuple[str, str]] = field(default_factory=list)
    note: str = ""


def find_scenes(path: str | Path, quantity: str = "auto") -> FoundScenes:
    """Read a file, or all images in a folder and its subfolders.

    Files of one folder whose names differ only in the polarization become the bands of one scene.

    Raises
    ------
    SceneError
        A single file that is unusable; a folder without a usable image.
    """
    path = Path(path)
    if not path.is_dir() or is_product(path):
        scene, note = _read(path, quantity, allow_empty=False)
        return FoundScenes([scene], note=note)
    files = image_files(path)
    if not files:
        raise SceneError(f"{path}: the folder contains no image ({', '.join(SUFFIXES)})")
    found = FoundScenes()
    notes: list[str] = []
    read: list[tuple[Path, Scene]] = []
    for file in files:
        try:
            scene, note = _read(file, quantity, allow_empty=True)
        except SceneError as error:
            found.excluded.append((_unique_name(file, files), str(error).removeprefix(f"{file}: ")))
            continue
        read.append((file, replace(scene, name=_unique_name(file, files))))
        notes += [note] if note else []
    for scene in _join_polarizations(read):
        if scene.valid.any():
            found.scenes.append(scene)
        else:
            found.empty.append(scene)
            found.excluded.append((scene.name, "every sample is nodata or NaN"))
    if not found.scenes:
        shown = "; ".join(f"{name}: {reason}" for name, reason in found.excluded[:3])
        more = f" (and {len(found.excluded) - 3} more)" if len(found.excluded) > 3 else ""
        raise SceneError(f"{path}: no usable scene in the folder: {shown}{more}")
    found.note = " ".join(notes)
    return found


def image_files(folder: Path) -> list[Path]:
    """List the images and product folders in a folder and its subfolders, without hidden ones and ``.bin`` without header."""
    found = [folder] if is_product(folder) else []
    for file in [] if found else sorted(folder.iterdir()):
        if file.name.startswith("."):
            continue
        if file.is_dir() and not is_product(file):
            found += image_files(file)
        elif file.is_dir() or (file.suffix.lower() in SUFFIXES and (file.suffix.lower() != ".bin" or has_header(file))):
            found.append(file)
    return sorted(found)


def _read(path: Path, quantity: str, allow_empty: bool) -> tuple[Scene, str]:
    with open_scene(path, quantity, allow_empty=allow_empty) as file:
        _, height, width = file.shape
        if height <= LARGEST_SIDE and width <= LARGEST_SIDE:
            return file.read(), ""
        rows, columns = min(height, LARGEST_SIDE), min(width, LARGEST_SIDE)
        window = ((height - rows) // 2, (width - columns) // 2, rows, columns)
        scene = file.read(window)
        if not scene.valid.any() and not allow_empty:
            raise SceneError(
                f"{path}: every sample of the central {rows}×{columns} pixels is nodata; cut out a part with data"
            )
        return scene, f"Only the central {rows}×{columns} of the {height}×{width} pixels of {path.name} are used."


def _unique_name(file: Path, files: Sequence[Path]) -> str:
    """Return the stem, preceded by as many folders as make it unique, and by one if it is only a polarization."""
    parts = [*file.parts[:-1], file.stem]
    others = [[*other.parts[:-1], other.stem] for other in files if other != file]
    depth = 2 if polarization(file.stem) and len(file.stem) == 2 and len(parts) > 1 else 1
    while depth < len(parts) and any(other[-depth:] == parts[-depth:] for other in others):
        depth += 1
    name = "-".join(part.strip("/\\") for part in parts[-depth:])
    # Two files that differ only in their suffix.
    clash = any(other[-depth:] == parts[-depth:] for other in others)
    return name + file.suffix.replace(".", "-") if clash else name


def _join_polarizations(read: Sequence[tuple[Path, Scene]]) -> list[Scene]:
    groups: dict[tuple[object, ...], list[tuple[Path, Scene]]] = defaultdict(list)
    for file, scene in read:
        key: tuple[object, ...] = (file,)
        if scene.shape[0] == 1 and polarization(file.stem):
            key = (file.parent, without_polarization(file.stem), scene.shape, scene.quantity, scene.dtype)
        groups[key].append((file, scene))
    joined = []
    for members in groups.values():
        scenes = [s for _, s in sorted(members, key=lambda m: ORDER.get(polarization(m[0].stem) or "", 9))]
        bands = [b for s in scenes for b in s.bands]
        if len(scenes) == 1 or len(set(bands)) < len(bands):
            joined += scenes
            continue
        joined.append(join_bands(scenes, tuple(bands), without_polarization(scenes[0].name)))
    return joined
