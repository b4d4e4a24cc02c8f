"""Write GeoTIFF and COG with everything that a scene states, and arrays (``.npy``, ``.zarr``) with what they hold."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sarlab.errors import SceneError
from sarlab.files import replacing, temporary_prefix
from sarlab.scenes.arrays import create_zarr, storage_of
from sarlab.scenes.rasters import encode_samples, geotiff_profile, named_errors, rename_tags, unlocated, write_profile
from sarlab.scenes.scene import Georeference, Scene


@dataclass(frozen=True)
class Writer:
    """An output that `open_writer` made; `put` writes encoded samples and those that a mask does not hide."""

    path: Path
    shape: tuple[int, int, int]
    put: Callable[[np.ndarray, int, int, np.ndarray], None]
    dtype: str
    nodata: float | None
    packing: tuple[Sequence[float], Sequence[float]] | None
    masked: bool = False

    def write(
        self, data: np.ndarray, row: int, column: int, valid: np.ndarray | None = None, nan: np.ndarray | None = None
    ) -> None:
        """Write samples of shape (bands, rows, columns) at (`row`, `column`); NaN becomes nodata, but not where `nan`."""
        bands, rows, columns = data.shape
        if bands != self.shape[0] or row + rows > self.shape[1] or column + columns > self.shape[2]:
            raise SceneError(f"{self.path}: samples {data.shape} at ({row}, {column}) exceed the scene {self.shape}")
        valid = ~np.isnan(data) if valid is None else valid
        encoded = encode_samples(
            data, valid, self.dtype, self.nodata, str(self.path), nan=nan, masked=self.masked, packing=self.packing
        )
        with named_errors(self.path, hint="; is the disk full?"):
            self.put(encoded, row, column, valid if nan is None else valid | nan)


def write_geotiff(scene: Scene, path: str | Path, cog: bool = False) -> None:
    """Write a scene to a file that `read_scene` reads back unchanged.

    Invalid samples need a type with NaN, a nodata value or a mask.
    """
    with open_writer(path, scene, cog=cog) as writer:
        writer.write(scene.data, 0, 0, scene.valid, scene.nan)


def open_writer(
    path: str | Path, like: Scene, *, shape: tuple[int, int, int] | None = None,
    georeference: Georeference | None = None, cog: bool = False,
) -> AbstractContextManager[Writer]:  # fmt: skip
    """Write a scene window by window; the file takes its name only when it is complete.

    Parameters
    ----------
    path : str or Path
        Its suffix chooses the format: ``.tif``, ``.tiff``, ``.npy`` or ``.zarr``.
    like : Scene
        Metadata; may be a window of the scene if `shape` and `georeference` of the whole are given.
    cog : bool
        Write a GeoTIFF with cloud-optimized layout and overviews, converted from the finished file.
    """
    path, shape = Path(path), shape or like.shape
    suffix = path.suffix.lower()
    if path.is_dir() and suffix != ".zarr":
        raise SceneError(f"{path} is a folder; give the name of a file to write")
    if suffix not in (".tif", ".tiff", ".npy", ".zarr"):
        raise SceneError(f"{path}: the name of the file must end in .tif, .npy or .zarr, which chooses the format")
    if cog and suffix in (".npy", ".zarr"):
        raise SceneError(f"{path}: only a GeoTIFF can be cloud-optimized; leave out cog, or name the file .tif")
    like = like if georeference is None else replace(like, georeference=georeference)
    return _array(path, like, shape) if suffix in (".npy", ".zarr") else _geotiff(path, like, shape, cog)


@contextmanager
def _geotiff(path: Path, like: Scene, shape: tuple[int, int, int], cog: bool) -> Iterator[Writer]:
    import rasterio.shutil

    bands, height, width = shape
    dtype = like.file_dtype.replace("float16", "float32")  # not among the types of GDAL
    packing = like.packing if dtype == like.dtype else None
    alpha = like.profile.mask == "alpha" and dtype in ("uint8", "uint16")
    options: dict[str, Any] = {
        "driver": "GTiff", "count": bands + alpha, "height": height, "width": width, "dtype": dtype, "nodata": like.nodata,
        "compress": "deflate", "zlevel": 1, "bigtiff": "if_safer", "interleave": "band", "photometric": "minisblack",
    }  # fmt: skip
    if min(height, width) >= 512:
        options |= {"tiled": True, "blockxsize": 256, "blockysize": 256}

    def put(samples: np.ndarray, row: int, column: int, seen: np.ndarray) -> None:
        window = ((row, row + samples.shape[1]), (column, column + samples.shape[2]))
        file.write(samples, list(range(1, bands + 1)), window=window)
        if alpha:
            file.write(seen.any(0).astype(dtype) * np.iinfo(dtype).max, bands + 1, window=window)
        elif like.profile.mask:
            file.write_mask(seen.any(0), window=window)

    # Everything goes into the file itself: no .aux.xml, no .msk.
    with ExitStack() as stack, rasterio.Env(GDAL_PAM_ENABLED="NO", GDAL_TIFF_INTERNAL_MASK=True):
        with named_errors(path), unlocated():
            placed, tags = geotiff_profile(like)
            final = plain = stack.enter_context(replacing(path))
            if cog:
                plain = final.with_name(final.name + ".plain")
                stack.callback(plain.unlink, missing_ok=True)
            file = stack.enter_context(rasterio.open(plain, "w", **options, **placed))
            renamed = write_profile(file, like)
            if packing:
                file.scales, file.offsets = packing[0] + (1.0,) * alpha, packing[1] + (0.0,) * alpha
            file.update_tags(**tags, **like.own_tags)
        yield Writer(path, shape, put, dtype, like.nodata, packing, bool(like.profile.mask))
        with named_errors(path):
            file.close()
            if cog:
                rasterio.shutil.copy(plain, final, driver="COG", compress="deflate", bigtiff="if_safer")
            if renamed:
                rename_tags(final, renamed)
            _check_complete(final)


def _check_complete(path: Path) -> None:
    """Raise OSError if blocks of a TIFF lie beyond its end, because GDAL hides write errors that occur on closing."""
    import rasterio

    size = path.stat().st_size
    with unlocated(), rasterio.open(path) as file:
        for band in file.indexes:
            for (row, column), _ in file.block_windows(band):
                place = [file.get_tag_item(f"BLOCK_{n}_{column}_{row}", "TIFF", band) for n in ("OFFSET", "SIZE")]
                if None not in place and sum(map(int, place)) > size:
                    raise OSError(f"truncated at {size} bytes; is the disk full?")


@contextmanager
def _array(path: Path, like: Scene, shape: tuple[int, int, int]) -> Iterator[Writer]:
    zarr = path.suffix.lower() == ".zarr"
    dtype, packing = storage_of(like, zarr)
    with ExitStack() as stack:
        with named_errors(path):
            final = stack.enter_context((_replacing_folder if zarr else replacing)(path))
            array: Any
            if zarr:
                array = create_zarr(final, like, shape, dtype, packing)
            else:
                array = np.lib.format.open_memmap(final, "w+", np.dtype(dtype), shape)

        def put(samples: np.ndarray, row: int, column: int, seen: np.ndarray) -> None:
            array[:, row : row + samples.shape[1], column : column + samples.shape[2]] = samples

        yield Writer(path, shape, put, dtype, like.nodata, packing)
        if not zarr:
            array.flush()


@contextmanager
def _replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it takes the final name, on any error it disappears."""
    with tempfile.TemporaryDirectory(prefix=temporary_prefix(path), dir=path.parent) as folder:
        yield Path(folder) / path.name
        if path.exists():
            path.rename(Path(folder) / "replaced")
        (Path(folder) / path.name).rename(path)
