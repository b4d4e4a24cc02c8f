"""Read a scene, or a window of it, from GeoTIFF, ENVI and other rasters, or ``.npy``.

    with open_scene("huge.tif") as file:
        for window in file.windows(2048):
            scene = file.read(window)

Samples become float32 (or complex64), nodata becomes NaN, an exact zero stays a value. With ``quantity="auto"`` the rules
of `sarlab.scenes.quantity.decide_quantity` are applied to samples from all over the file, never to the window alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from sarlab.errors import SceneError
from sarlab.scenes.quantity import (
    QUANTITY_TAG,
    SENTINEL1_GRD_LOOKS,
    acquisition_of,
    check_quantity,
    decide_quantity,
    is_sentinel1_detected,
    polarization,
)
from sarlab.scenes.scene import QUANTITIES, Georeference, Scene, Window

#: Suffixes of the images in a folder.
SUFFIXES = (".tif", ".tiff", ".npy", ".bin", ".img", ".vrt", ".jp2")

LOOKS_TAG = "SARLAB_LOOKS"
BITS_TAG = "SARLAB_NATIVE_BITS"
NAME_TAG = "SARLAB_NAME"
ACQUISITION_TAG = "SARLAB_ACQUISITION"
SIMULATED_TAG = "SARLAB_SIMULATED"
CREDIT_TAG = "SARLAB_CREDIT"
OWN_TAGS = (QUANTITY_TAG, LOOKS_TAG, BITS_TAG, NAME_TAG, ACQUISITION_TAG, SIMULATED_TAG, CREDIT_TAG)

#: Largest number of samples per axis from which the quantity is decided.
_SAMPLE = 512
#: A large raster without overviews is sampled in this many pieces per axis, each of this side.
_PIECES, _PIECE = 8, 64
_METERS_PER_DEGREE = 111_320.0


def read_scene(
    path: str | Path, quantity: str = "auto", window: Window | None = None, *, allow_empty: bool = False
) -> Scene:
    """Read a scene, or a window of it.

    Parameters
    ----------
    path : str or Path
        GeoTIFF, COG, any other raster that GDAL opens, or ``.npy`` of shape (height, width) or (bands, height, width).
    quantity : {"auto", "complex", "amplitude", "intensity", "db"}
        Unit of the samples.
    window : (row, column, height, width), optional
        In pixels; default the whole scene.
    allow_empty : bool
        Accept a scene without a single valid sample instead of raising.

    Returns
    -------
    Scene

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
    with open_scene(path, quantity, allow_empty=allow_empty) as file:
        return file.read(window)


def open_scene(path: str | Path, quantity: str = "auto", *, allow_empty: bool = False) -> SceneFile:
    """Open a file for reading by window, without loading it; use as a context manager."""
    path = Path(path)
    if quantity != "auto" and quantity not in QUANTITIES:
        raise SceneError(f"unknown quantity '{quantity}'; use auto, {', '.join(QUANTITIES)}")
    if not path.exists():
        raise SceneError(f"{path}: no such file; 'sarlab scenes' lists the scenes known by name")
    if path.is_dir():
        raise SceneError(f"{path} is a folder, not an image; give one of its files")
    if path.stat().st_size == 0:
        raise SceneError(f"{path}: the file is empty")
    source = _ArrayFile(path) if path.suffix.lower() == ".npy" else _RasterFile(path)
    return SceneFile(path, source, quantity, allow_empty)


class SceneFile:
    """An open file whose windows are read as scenes.

    Attributes
    ----------
    shape : (bands, height, width)
    bands : tuple of str
    dtype : str
        Sample type of the file.
    quantity : str
        As given or decided.
    nodata, georeference, spacing
        As in `Scene`.
    """

    def __init__(self, path: Path, source: _ArrayFile | _RasterFile, quantity: str, allow_empty: bool):
        self.path, self._source, self._allow_empty = path, source, allow_empty
        self.shape, self.dtype, self.nodata = source.shape, source.dtype, source.nodata
        self.georeference, self.spacing = source.georeference, source.spacing
        try:
            self.bands = _band_names(path, source.descriptions, self.shape[0])
            self.quantity = self._decide(quantity)
        except BaseException:
            source.close()
            raise

    def _decide(self, quantity: str) -> str:
        if quantity != "auto":
            return quantity
        sample = self._source.sample()
        known = self._source.tags.get(QUANTITY_TAG) or self.dtype.startswith("complex")
        if sample.size == 0 and not known:
            if self._allow_empty:
                return "db"
            raise _empty(self.path)
        hints = (*self._source.units, self.path.stem, *(d for d in self._source.descriptions if d))
        return decide_quantity(str(self.path), self.dtype, sample, self._source.tags, hints)

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
            raise SceneError(f"{self.path}: window {window} exceeds the scene of {height}×{width} pixels")
        data, valid = self._source.read(row, column, rows, columns)
        if not np.iscomplexobj(data):
            valid &= ~np.isposinf(data)
        if window is None and not valid.any() and not self._allow_empty:
            raise _empty(self.path)
        if not valid.all():
            data = np.where(valid, data, np.array(np.nan, data.dtype))
        check_quantity(str(self.path), self.quantity, self.dtype, data)
        tags = dict(self._source.tags)
        own = {tag: tags.pop(tag) for tag in OWN_TAGS if tag in tags}
        return Scene(
            data,
            self.quantity,
            self.bands,
            name=own.get(NAME_TAG) or _scene_name(self.path),
            valid=valid,
            looks=float(own[LOOKS_TAG]) if own.get(LOOKS_TAG) else self._looks(),
            spacing=self.spacing,
            native_bits=int(own[BITS_TAG]) if own.get(BITS_TAG) else _native_bits(self.dtype),
            acquisition=own.get(ACQUISITION_TAG) or acquisition_of(self.path.resolve()),
            georeference=self.georeference.shifted(row, column) if self.georeference else None,
            nodata=self.nodata,
            dtype=self.dtype,
            tags=tags,
            simulated=own.get(SIMULATED_TAG) == "true",
            credit=own.get(CREDIT_TAG, ""),
        )

    def _looks(self) -> float | None:
        if self.quantity == "complex":
            return 1.0
        return SENTINEL1_GRD_LOOKS if is_sentinel1_detected(self.path.resolve()) else None


def _empty(path: Path) -> SceneError:
    return SceneError(f"{path}: every sample is nodata or NaN; there is nothing to compress")


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


def _band_names(path: Path, descriptions: tuple[str | None, ...], count: int) -> tuple[str, ...]:
    names = [d.strip() for d in descriptions if d and d.strip()]
    if len(names) == count and len(set(names)) == count and not (count == 1 and names[0] == path.name):
        return tuple(names)
    if count == 1:
        return (polarization(path.stem) or "band1",)
    return tuple(f"band{i + 1}" for i in range(count))


class _ArrayFile:
    """A memory-mapped ``.npy`` file."""

    descriptions: tuple[str | None, ...] = ()
    units: tuple[str, ...] = ()
    nodata = None
    georeference = None
    spacing = None

    def __init__(self, path: Path):
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise SceneError(f"{path}: not a readable .npy array of numbers ({first_line(error)})") from None
        if array.dtype.kind not in "iufc":
            raise SceneError(f"{path}: an array of type {array.dtype} is no image; save real or complex numbers")
        if array.ndim == 2:
            array = array[None]
        if array.ndim != 3 or 0 in array.shape:
            raise SceneError(f"{path}: shape {array.shape} is no image; use (height, width) or (bands, height, width)")
        if array.shape[2] <= 4 < array.shape[0]:
            raise SceneError(
                f"{path}: shape {array.shape} looks like (height, width, bands); move the bands to the front"
            )
        self._array, self.tags = array, dict[str, str]()
        self.shape, self.dtype = array.shape, str(array.dtype)

    def read(self, row: int, column: int, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
        data = _as_float(np.array(self._array[:, row : row + rows, column : column + columns]))
        return data, ~np.isnan(data)

    def sample(self) -> np.ndarray:
        step = [max(1, side // _SAMPLE) for side in self.shape[1:]]
        data = _as_float(np.array(self._array[:, :: step[0], :: step[1]]))
        return data[~np.isnan(data)]

    def close(self) -> None:
        self._array = None


class _RasterFile:
    """A raster opened by GDAL."""

    def __init__(self, path: Path):
        import rasterio
        from rasterio.errors import NotGeoreferencedWarning, RasterioError

        self._stack, self._path = ExitStack(), path
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            try:
                self._file = self._stack.enter_context(rasterio.open(path))
            except RasterioError as error:
                raise SceneError(f"{path}: not a readable image ({self._reason(error)})") from None
        file = self._file
        if file.count == 0:
            self.close()
            raise SceneError(f"{path}: the file has no bands of its own; give one of its subdatasets or files")
        if len(set(file.dtypes)) > 1:
            self.close()
            raise SceneError(f"{path}: bands of different types {file.dtypes}; split the file by type")
        self.shape, self.dtype = (file.count, file.height, file.width), str(file.dtypes[0])
        self.nodata = None if file.nodata is None else float(file.nodata)
        self.descriptions = file.descriptions
        self.units = tuple(sorted({unit for unit in file.units if unit}))
        self.tags = {k: v for k, v in file.tags().items() if k != "AREA_OR_POINT" or v != "Area"}
        self._scaled = any(s != 1 for s in file.scales) or any(o != 0 for o in file.offsets)
        self.georeference, self.spacing = _georeference(file)

    def read(self, row: int, column: int, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
        from rasterio.windows import Window as RasterWindow

        return self._load(window=RasterWindow(column, row, columns, rows))

    def sample(self) -> np.ndarray:
        count, height, width = self.shape
        if not self._file.overviews(1) and max(height, width) > 4 * _SAMPLE:
            # Without overviews GDAL would read the whole file.
            rows, columns = (np.linspace(0, max(n - _PIECE, 0), _PIECES).astype(int) for n in (height, width))
            pieces = [self.read(r, c, min(_PIECE, height), min(_PIECE, width)) for r in rows for c in columns]
            found = np.concatenate([data[valid] for data, valid in pieces])
            if found.size:
                return found
        data, valid = self._load(out_shape=(count, min(height, _SAMPLE), min(width, _SAMPLE)))
        return data[valid]

    def _load(self, **options: Any) -> tuple[np.ndarray, np.ndarray]:
        from rasterio.enums import MaskFlags
        from rasterio.errors import RasterioError

        file = self._file
        one_band = {k: v[1:] if k == "out_shape" else v for k, v in options.items()}
        try:
            raw = file.read(**options)
            valid = np.ones(raw.shape, bool)
            for band, (nodata, flags) in enumerate(zip(file.nodatavals, file.mask_flag_enums, strict=True)):
                if nodata is not None and not np.isnan(nodata):
                    valid[band] &= raw[band] != np.asarray(nodata).astype(raw.dtype)
                elif MaskFlags.per_dataset in flags:
                    valid[band] &= file.read_masks(band + 1, **one_band) > 0
        except RasterioError as error:
            raise SceneError(f"{self._path}: damaged or truncated image data ({self._reason(error)})") from None
        data = _as_float(raw)
        if self._scaled:
            shape = (-1, 1, 1)
            data = _as_float(raw * np.reshape(file.scales, shape) + np.reshape(file.offsets, shape))
        return data, valid & ~np.isnan(data)

    def _reason(self, error: BaseException) -> str:
        return first_line(error).replace(str(self._path), self._path.name)

    def close(self) -> None:
        self._stack.close()


def _as_float(data: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return data.astype(np.complex64 if np.iscomplexobj(data) else np.float32, copy=False)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text."""
    return (str(error) or type(error).__name__).splitlines()[0]


def _georeference(file: Any) -> tuple[Georeference | None, tuple[float, float] | None]:
    """Return georeference and pixel spacing (row, column) in meters, each None if unknown."""
    a, b, c, d, e, f = (float(v) for v in tuple(file.transform)[:6])
    if file.crs is None and file.transform.is_identity:
        return None, None
    reference = Georeference(file.crs.to_wkt() if file.crs else "", (a, b, c, d, e, f))
    row, column = float(np.hypot(b, e)), float(np.hypot(a, d))
    if file.crs is None:
        return reference, None
    if file.crs.is_geographic:
        latitude = f + e * file.height / 2 + d * file.width / 2
        return reference, (row * _METERS_PER_DEGREE, column * _METERS_PER_DEGREE * float(np.cos(np.radians(latitude))))
    from rasterio.errors import CRSError

    try:
        unit = file.crs.linear_units_factor[1]
    except CRSError:  # a local system without a known unit
        return reference, None
    return reference, (row * unit, column * unit)
