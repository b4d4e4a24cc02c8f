"""Write GeoTIFF and COG with everything that a scene states, and arrays (``.npy``, ``.zarr``) with what they hold."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from sarlab.errors import SceneError
from sarlab.files import replacing, temporary_prefix
from sarlab.scenes.arrays import create_zarr, storage_of
from sarlab.scenes.rasters import encode_samples, first_line, geotiff_profile, rename_tags, unlocated, write_profile
from sarlab.scenes.scene import Georeference, Scene


def write_geotiff(scene: Scene, path: str | Path, cog: bool = False) -> None:
    """Write a scene to a file that `read_scene` reads back unchanged.

    Raises
    ------
    SceneError
        The scene has invalid samples, but its type has no NaN and it has neither a nodata value nor a mask.
    """
    with GeoTiffWriter(path, scene, cog=cog) as writer:
        writer.write(scene.data, 0, 0, scene.valid, scene.nan)


@contextmanager
def _undone_on(stack: ExitStack, path: Path, *failures: type[Exception]) -> Iterator[None]:
    """Close `stack` on these failures, so that nothing half-written stays, and raise a `SceneError` that names the file."""
    try:
        yield
    except failures as failure:
        stack.__exit__(type(failure), failure, failure.__traceback__)
        raise SceneError(f"{path}: cannot be written ({first_line(failure)})") from None


class _Writer:
    """Write a scene window by window; the file takes its name only when it is complete.

    `like` has the metadata; it may be a window of the scene if `shape` and `georeference` of the whole are given.
    """

    dtype: str
    _packing: Any = None
    _mask = False

    def __init__(
        self, path: str | Path, like: Scene, *, shape: tuple[int, int, int] | None = None,
        georeference: Georeference | None = None,
    ):  # fmt: skip
        self.path, self.shape, self.nodata, self._stack = Path(path), shape or like.shape, like.nodata, ExitStack()
        self._like = like if georeference is None else replace(like, georeference=georeference)

    def write(
        self, data: np.ndarray, row: int, column: int, valid: np.ndarray | None = None, nan: np.ndarray | None = None
    ) -> None:
        """Write samples of shape (bands, rows, columns) at (`row`, `column`); NaN becomes nodata, but not where `nan`."""
        bands, rows, columns = data.shape
        if bands != self.shape[0] or row + rows > self.shape[1] or column + columns > self.shape[2]:
            raise SceneError(f"{self.path}: samples {data.shape} at ({row}, {column}) exceed the scene {self.shape}")
        valid = ~np.isnan(data) if valid is None else valid
        encoded = encode_samples(
            data, valid, self.dtype, self.nodata, str(self.path), nan=nan, masked=self._mask, packing=self._packing
        )
        self._put(encoded, row, column, valid if nan is None else valid | nan)

    def _put(self, samples: np.ndarray, row: int, column: int, seen: np.ndarray) -> None:
        """Write encoded samples; `seen` are those that a mask does not hide."""
        raise NotImplementedError


class GeoTiffWriter(_Writer):
    """Write a GeoTIFF; with `cog` it gets a cloud-optimized layout with overviews, converted from the finished file."""

    def __init__(self, path: str | Path, like: Scene, *, cog: bool = False, **options: Any):
        super().__init__(path, like, **options)
        self.cog, self.dtype = cog, like.file_dtype.replace("float16", "float32")  # not among the types of GDAL
        self._packing = like.packing if self.dtype == like.dtype else None
        self._mask = bool(like.profile.mask)
        self._alpha = like.profile.mask == "alpha" and self.dtype in ("uint8", "uint16")

    def __enter__(self) -> GeoTiffWriter:
        import rasterio
        from rasterio.errors import RasterioError

        if self.path.is_dir():
            raise SceneError(f"{self.path} is a folder; give the name of a file to write")
        bands, height, width = self.shape
        like = self._like
        profile: dict[str, Any] = {
            "driver": "GTiff", "count": bands + self._alpha, "height": height, "width": width, "dtype": self.dtype,
            "compress": "deflate", "zlevel": 1, "bigtiff": "if_safer", "interleave": "band", "photometric": "minisblack",
        }  # fmt: skip
        if min(height, width) >= 512:
            profile |= {"tiled": True, "blockxsize": 256, "blockysize": 256}
        if self.nodata is not None:
            profile["nodata"] = self.nodata
        with _undone_on(self._stack, self.path, RasterioError, OSError, ValueError, TypeError):
            # Everything goes into the file itself: no .aux.xml, no .msk.
            self._stack.enter_context(rasterio.Env(GDAL_PAM_ENABLED="NO", GDAL_TIFF_INTERNAL_MASK=True))
            options, tags = geotiff_profile(like.georeference)
            with unlocated():
                self._final = self._stack.enter_context(replacing(self.path))
                self._plain = self._final
                if self.cog:
                    self._plain = self._final.with_name(self._final.name + ".plain")
                    self._stack.callback(self._plain.unlink, missing_ok=True)
                self._file = self._stack.enter_context(rasterio.open(self._plain, "w", **profile, **options))
            self._renamed = write_profile(self._file, like)
            if self._packing:
                self._file.scales = self._packing[0] + (1.0,) * self._alpha
                self._file.offsets = self._packing[1] + (0.0,) * self._alpha
            self._file.update_tags(**tags, **like.own_tags)
        return self

    def _put(self, samples: np.ndarray, row: int, column: int, seen: np.ndarray) -> None:
        from rasterio.errors import RasterioError
        from rasterio.windows import Window as RasterWindow

        bands, rows, columns = samples.shape
        window = RasterWindow(column, row, columns, rows)
        try:
            self._file.write(samples, list(range(1, bands + 1)), window=window)
            if self._alpha:
                self._file.write(seen.any(0).astype(self.dtype) * np.iinfo(self.dtype).max, bands + 1, window=window)
            elif self._mask:
                self._file.write_mask(seen.any(0), window=window)
        except (RasterioError, OSError) as failure:
            raise SceneError(f"{self.path}: cannot be written ({first_line(failure)}); is the disk full?") from None

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        import rasterio.shutil
        from rasterio.errors import RasterioError

        with _undone_on(self._stack, self.path, RasterioError, OSError):
            if kind is None:
                self._file.close()
                if self.cog:
                    rasterio.shutil.copy(self._plain, self._final, driver="COG", compress="deflate", bigtiff="if_safer")
                if self._renamed:
                    rename_tags(self._final, self._renamed)
                _check_complete(self._final)
        self._stack.__exit__(kind, error, trace)


def _check_complete(path: Path) -> None:
    """Raise OSError if blocks of a TIFF lie beyond its end, because GDAL hides write errors that occur on closing."""
    import rasterio

    size = path.stat().st_size
    with unlocated(), rasterio.open(path) as file:
        for band in file.indexes:
            for (row, column), _ in file.block_windows(band):
                names = (f"BLOCK_OFFSET_{column}_{row}", f"BLOCK_SIZE_{column}_{row}")
                place = [file.get_tag_item(name, "TIFF", band) for name in names]
                if None not in place and sum(map(int, place)) > size:
                    raise OSError(f"truncated at {size} bytes; is the disk full?")


class ArrayWriter(_Writer):
    """Write the samples of a scene to ``.npy``, or to ``.zarr`` with attributes as those of rioxarray."""

    def __enter__(self) -> ArrayWriter:
        zarr = self.path.suffix == ".zarr"
        self.dtype, self._packing = storage_of(self._like, zarr)
        with _undone_on(self._stack, self.path, OSError):
            final = self._stack.enter_context((_replacing_folder if zarr else replacing)(self.path))
            if zarr:
                self._array: Any = create_zarr(final, self._like, self.shape, self.dtype, self._packing)
            else:
                self._array = np.lib.format.open_memmap(final, "w+", np.dtype(self.dtype), self.shape)
        return self

    def _put(self, samples: np.ndarray, row: int, column: int, seen: np.ndarray) -> None:
        self._array[:, row : row + samples.shape[1], column : column + samples.shape[2]] = samples

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if hasattr(self._array, "flush"):
            self._array.flush()
        self._stack.__exit__(kind, error, trace)


@contextmanager
def _replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it takes the final name, on any error it disappears."""
    with tempfile.TemporaryDirectory(prefix=temporary_prefix(path), dir=path.parent) as folder:
        yield Path(folder) / path.name
        if path.exists():
            path.rename(Path(folder) / "replaced")
        (Path(folder) / path.name).rename(path)


def open_writer(path: str | Path, like: Scene, *, cog: bool = False, **options: Any) -> GeoTiffWriter | ArrayWriter:
    """Choose the writer by the suffix of the file: ``.tif``, ``.tiff``, ``.npy`` or ``.zarr``."""
    suffix = Path(path).suffix.lower()
    if suffix in (".npy", ".zarr"):
        if cog:
            raise SceneError(f"{path}: only a GeoTIFF can be cloud-optimized; leave out cog, or name the file .tif")
        return ArrayWriter(path, like, **options)
    if suffix not in (".tif", ".tiff"):
        raise SceneError(f"{path}: the name of the file must end in .tif, .npy or .zarr, which chooses the format")
    return GeoTiffWriter(path, like, cog=cog, **options)
