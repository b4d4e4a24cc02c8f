"""Open files behind one face: `shape`, `dtype`, `read(row, column, rows, columns)`, `sample()`, `close()`."""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from sarlab.errors import SceneError
from sarlab.scenes.scene import Georeference

#: Samples looked at to decide the quantity, per axis.
_SAMPLE = 512
#: Pieces of a large raster that are looked at in its place, per axis, and their side.
_PIECES, _PIECE = 8, 64
_METERS_PER_DEGREE = 111_320.0


class ArrayFile:
    """`.npy` behind a memory map."""

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


class RasterFile:
    """Anything that GDAL opens."""

    def __init__(self, path: Path):
        import rasterio
        from rasterio.errors import NotGeoreferencedWarning, RasterioError

        self._stack, self._path = ExitStack(), path
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            try:
                self._file = self._stack.enter_context(rasterio.open(path))
            except RasterioError as error:
                raise SceneError(
                    f"{path}: not an image that can be read ({first_line(error).replace(str(path), path.name)})"
                ) from None
        file = self._file
        if file.count == 0:
            self.close()
            raise SceneError(f"{path}: holds no band of its own; give one of its subdatasets or files")
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
            # Without overviews GDAL would read everything.
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
        try:
            raw = file.read(**options)
            valid = np.ones(raw.shape, bool)
            for band, (nodata, flags) in enumerate(zip(file.nodatavals, file.mask_flag_enums, strict=True)):
                if nodata is not None and not np.isnan(nodata):
                    valid[band] &= raw[band] != np.asarray(nodata).astype(raw.dtype)
                elif MaskFlags.per_dataset in flags:
                    valid[band] &= file.read_masks(band + 1, **_one_band(options)) > 0
        except RasterioError as error:
            raise SceneError(
                f"{self._path}: damaged or truncated image data ({first_line(error).replace(str(self._path), self._path.name)})"
            ) from None
        data = _as_float(raw)
        if self._scaled:
            shape = (-1, 1, 1)
            data = _as_float(raw * np.reshape(file.scales, shape) + np.reshape(file.offsets, shape))
        return data, valid & ~np.isnan(data)

    def close(self) -> None:
        self._stack.close()


def _one_band(options: dict[str, Any]) -> dict[str, Any]:
    return {k: v[1:] if k == "out_shape" else v for k, v in options.items()}


def _as_float(data: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return data.astype(np.complex64 if np.iscomplexobj(data) else np.float32, copy=False)


def first_line(error: BaseException) -> str:
    """First line of an error's text, for a message of one sentence."""
    return (str(error) or type(error).__name__).splitlines()[0]


def _georeference(file: Any) -> tuple[Georeference | None, tuple[float, float] | None]:
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
