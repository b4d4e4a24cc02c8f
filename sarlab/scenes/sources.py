"""Samples of arrays and rasters, read by window, and how files store them: scale and offset, nodata, masks, NaN, types."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from sarlab.errors import SceneError
from sarlab.scenes.profile import Georeference, Profile
from sarlab.scenes.rasters import Location, first_line, open_raster, read_georeference, read_profile

#: Largest number of samples per axis from which the quantity is decided.
SAMPLE = 512
#: A large raster without overviews is sampled in this many pieces per axis, each of this side.
_PIECES, _PIECE = 8, 64


class ArraySource:
    """Samples in memory or in a memory-mapped file, shape (bands, height, width)."""

    georeference: Georeference | None = None
    spacing = None

    def __init__(self, array: Any, nodata: float | None = None, profile: Profile = Profile(), tags: Any = ()):  # noqa: B008
        self._array, self.nodata, self.profile, self.tags = array, nodata, profile, dict(tags)
        self.shape, self._bands = array.shape, list(range(len(array)))
        # Native byte order; the widest type of GDAL.
        name = array.dtype.newbyteorder("=").name
        self.dtype = {"float128": "float64", "complex256": "complex128", "float96": "float64"}.get(name, name)

    def select(self, bands: Sequence[int]) -> None:
        """Keep some bands, given by index."""
        self._bands, self.profile = [self._bands[band] for band in bands], self.profile.select(bands)
        self.shape = (len(bands), *self.shape[1:])

    def read(self, row: int, column: int, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        return self._load(slice(row, row + rows), slice(column, column + columns))

    def _load(self, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        raw = np.stack([np.asarray(self._array[band, rows, columns]) for band in self._bands])
        marked = self.nodata is not None and not np.isnan(self.nodata)
        return decode_samples(raw, raw != self.nodata if marked else np.ones(raw.shape, bool), self.profile, marked)

    def sample(self) -> np.ndarray:
        rows, columns = (slice(None, None, max(1, side // SAMPLE)) for side in self.shape[1:])
        data, valid, _ = self._load(rows, columns)
        return data[valid]

    def close(self) -> None:
        self._array = self._array[:0]


def load_npy(path: Path) -> ArraySource:
    """Open an ``.npy`` file without loading it."""
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
        raise SceneError(f"{path}: shape {array.shape} looks like (height, width, bands); move the bands to the front")
    return ArraySource(array)


class RasterSource:
    """Bands of a raster opened by GDAL."""

    def __init__(self, location: Location, dataset: Any = None):
        from rasterio.enums import ColorInterp
        from rasterio.errors import NotGeoreferencedWarning, RasterioError

        self._stack, self._text, self._gdal = ExitStack(), location.text, location.gdal
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            try:
                file = self._file = dataset or self._stack.enter_context(open_raster(location.gdal))
            except RasterioError as error:
                raise SceneError(f"{location.text}: not a readable image ({self._reason(error)})") from None
        if file.count == 0:
            inner = file.subdatasets
            self.close()
            shown = ", ".join(inner[:6]) + (f" and {len(inner) - 6} more" if len(inner) > 6 else "")
            raise SceneError(
                f"{location.text}: the file has no bands of its own; give one of its subdatasets or files"
                + f": {shown}" * bool(inner)
            )
        alphas = [i for i, color in enumerate(file.colorinterp, 1) if color == ColorInterp.alpha and file.count > 1]
        self._alpha = alphas[-1] if alphas else None
        if self._alpha:
            self._check_alpha()
        self._choose([number for number in range(1, file.count + 1) if number != self._alpha])
        # GDAL writes the other value by default, and how overviews were made; outputs have their own.
        kept = {"AREA_OR_POINT": "Point", "OVR_RESAMPLING_ALG": ""}
        self.tags = {k: v for k, v in file.tags().items() if kept.get(k, v) == v}
        self.georeference, self.spacing = read_georeference(file)

    def _check_alpha(self) -> None:
        band = self._file.read(self._alpha, out_shape=(min(self._file.height, SAMPLE), min(self._file.width, SAMPLE)))
        if np.unique(band).size > 2:
            # A second polarization that a program marked as alpha is more likely than transparency.
            self._alpha = None

    def _choose(self, numbers: list[int]) -> None:
        file = self._file
        self._numbers, self.dtypes = numbers, [file.dtypes[number - 1] for number in numbers]
        self.shape, self.dtype = (len(numbers), file.height, file.width), self.dtypes[0]
        nodata = [file.nodatavals[number - 1] for number in numbers]
        self.nodata = next((float(value) for value in nodata if value is not None), None)
        self.profile = read_profile(file, numbers, self._alpha)
        flags = [file.mask_flag_enums[number - 1] for number in numbers]
        # NaN as nodata needs no mask of GDAL.
        self._masked = [
            any(flag.name == "per_dataset" for flag in of)
            or (not any(flag.name == "all_valid" for flag in of) and (value is None or not np.isnan(value)))
            for of, value in zip(flags, nodata, strict=True)
        ]

    def select(self, bands: Sequence[int]) -> None:
        """Keep some bands, given by index."""
        self._choose([self._numbers[band] for band in bands])

    def read(self, row: int, column: int, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        from rasterio.windows import Window as RasterWindow

        return self._load(window=RasterWindow(column, row, columns, rows))

    def sample(self) -> np.ndarray:
        count, height, width = self.shape
        if not self._file.overviews(1) and max(height, width) > 4 * SAMPLE:
            # Without overviews GDAL would read the whole file.
            rows, columns = (np.linspace(0, max(n - _PIECE, 0), _PIECES).astype(int) for n in (height, width))
            pieces = [self.read(r, c, min(_PIECE, height), min(_PIECE, width)) for r in rows for c in columns]
            found = np.concatenate([data[valid] for data, valid, _ in pieces])
            if found.size:
                return found
        data, valid, _ = self._load(out_shape=(count, min(height, SAMPLE), min(width, SAMPLE)))
        return data[valid]

    def _load(self, **options: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        from rasterio.errors import RasterioError

        file = self._file
        one_band = {k: v[1:] if k == "out_shape" else v for k, v in options.items()}
        try:
            raw = file.read(self._numbers, **options)
            mask = np.ones(raw.shape, bool)
            for band, number in enumerate(self._numbers):
                if self._masked[band]:
                    mask[band] = file.read_masks(number, **one_band) > 0
            if self._alpha:
                mask &= file.read(self._alpha, **one_band) > 0
        except RasterioError as error:
            raise SceneError(f"{self._text}: damaged or truncated image data ({self._reason(error)})") from None
        return decode_samples(raw, mask, self.profile, any(self._masked) or bool(self._alpha))

    def _reason(self, error: BaseException) -> str:
        return first_line(error).replace(self._gdal, Path(self._gdal).name)

    def close(self) -> None:
        self._stack.close()


def decode_samples(
    raw: np.ndarray, mask: np.ndarray, profile: Profile, marked: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Convert stored samples to values: float32 or complex64, which of them are valid, and which are NaN though not masked.

    Values beyond float32 become its largest number. The last mask is None where `marked` is False: no value marks nodata.
    """
    nan = np.isnan(raw)
    data = raw
    if profile.scales:
        shape = (-1, 1, 1)
        data = raw * np.reshape(profile.scales, shape) + np.reshape(profile.offsets, shape)
    if np.iscomplexobj(data):
        data = data.astype(np.complex64, copy=False)
    elif data.dtype.kind == "f" and data.dtype.itemsize > 4:
        top = np.finfo(np.float32).max
        data = np.where(np.isfinite(data), np.clip(data, -top, top), data).astype(np.float32)
    else:
        data = data.astype(np.float32, copy=False)
    return data, mask & ~nan, mask & nan if marked and nan.any() else None


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
        parts = np.stack([data.real, data.imag], -1)
        parts = np.clip(np.rint(np.where(valid[..., None], parts, 0)), -32768, 32767)
        if not valid.all() and not masked:
            raise SceneError(f"{name}: complex integers cannot mark nodata; write complex64")
        return (parts[..., 0] + 1j * parts[..., 1]).astype(np.complex64)
    if packing:
        scales, offsets = (np.reshape(values, (-1, 1, 1)) for values in packing)
        data = (np.where(valid, data, 0).astype(np.float64) - offsets) / scales
    if np.dtype(dtype).kind not in "iu":
        with np.errstate(over="ignore"):
            values, filler = data.astype(dtype), np.array(np.nan if nodata is None else nodata).astype(dtype)
        if nodata is not None and not np.isnan(nodata) and not masked:
            # GDAL compares floats with a tolerance.
            with np.errstate(over="ignore", invalid="ignore"):
                near = valid & (np.abs(values - filler) <= 1e-6 * np.abs(filler))
            if near.any():
                values = np.where(near, filler * (1 - 4e-6) if nodata else np.finfo(np.float32).tiny, values).astype(
                    dtype
                )
        values = values if valid.all() else np.where(valid, values, filler)
        return values if nan is None else np.where(nan, np.array(np.nan, dtype), values)
    limits = np.iinfo(dtype)
    if not valid.all() and nodata is None and not masked:
        raise SceneError(f"{name}: {dtype} cannot mark nodata; give the scene a nodata value or write float32")
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
