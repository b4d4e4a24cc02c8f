"""Write GeoTIFF and COG with everything that a scene states, and arrays (``.npy``, ``.zarr``) with what they hold."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from sarlab.errors import SceneError
from sarlab.files import replacing
from sarlab.scenes import readers
from sarlab.scenes.quantity import QUANTITY_TAG
from sarlab.scenes.radiometry import NATIVE_TAG
from sarlab.scenes.rasters import first_line, geotiff_profile, rename_tags, write_profile
from sarlab.scenes.scene import Georeference, Scene


def write_geotiff(scene: Scene, path: str | Path, cog: bool = False, *, dtype: str | None = None) -> None:
    """Write a scene to a file that `read_scene` reads back unchanged.

    Parameters
    ----------
    scene : Scene
    path : str or Path
        Replaced only once the new file is complete.
    cog : bool
        Cloud-optimized layout with overviews.
    dtype : str, optional
        Sample type; default that of the scene (float32 for dB of an integer product).

    Raises
    ------
    SceneError
        The scene has invalid samples, but `dtype` has no NaN and the scene neither a nodata value nor a mask.
    """
    with GeoTiffWriter(path, scene, cog=cog, dtype=dtype) as writer:
        writer.write(scene.data, 0, 0, scene.valid, scene.nan)


class GeoTiffWriter:
    """Write a scene window by window; the file takes its name only when it is complete.

    Parameters
    ----------
    path : str or Path
    like : Scene
        Source of the metadata; may be a window of the scene if `shape` and `georeference` are given.
    shape : (bands, height, width), optional
        Of the whole scene; default that of `like`.
    georeference : Georeference, optional
        Of the whole scene; default that of `like`.
    cog : bool
        Cloud-optimized layout, converted from the finished file.
    dtype : str, optional
        Sample type; default `sample_type`.
    """

    def __init__(
        self,
        path: str | Path,
        like: Scene,
        *,
        shape: tuple[int, int, int] | None = None,
        georeference: Georeference | None = None,
        cog: bool = False,
        dtype: str | None = None,
    ):
        self.path, self.shape, self.cog = Path(path), shape or like.shape, cog
        self.dtype = dtype or sample_type(like)
        if self.dtype == "float16":  # not among the types of GDAL
            self.dtype = "float32"
        if georeference is not None:
            like = replace(like, georeference=georeference)
        self._like, self.nodata = like, like.nodata
        self._pack = bool(like.profile.scales) and self.dtype == like.dtype
        self._mask, self._alpha = (
            bool(like.profile.mask),
            like.profile.mask == "alpha" and self.dtype in ("uint8", "uint16"),
        )
        self._stack = ExitStack()

    def __enter__(self) -> GeoTiffWriter:
        import rasterio
        from rasterio.errors import NotGeoreferencedWarning, RasterioError

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
        try:
            # Everything goes into the file itself: no .aux.xml, no .msk.
            self._stack.enter_context(rasterio.Env(GDAL_PAM_ENABLED="NO", GDAL_TIFF_INTERNAL_MASK=True))
            options, tags = geotiff_profile(like.georeference)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                self._final = self._stack.enter_context(replacing(self.path))
                self._plain = self._final
                if self.cog:
                    self._plain = self._final.with_name(self._final.name + ".plain")
                    self._stack.callback(self._plain.unlink, missing_ok=True)
                self._file = self._stack.enter_context(rasterio.open(self._plain, "w", **profile, **options))
            self._renamed = write_profile(self._file, like)
            if self._pack:
                alpha = [None] * self._alpha
                self._file.scales = (*like.profile.scales, *[1.0 for _ in alpha])
                self._file.offsets = (*like.profile.offsets, *[0.0 for _ in alpha])
            self._file.update_tags(**tags, **own_tags(like))
        except (RasterioError, OSError, ValueError, TypeError) as error:
            self._stack.__exit__(type(error), error, error.__traceback__)
            raise SceneError(f"{self.path}: cannot be written ({first_line(error)})") from None
        return self

    def write(
        self, data: np.ndarray, row: int, column: int, valid: np.ndarray | None = None, nan: np.ndarray | None = None
    ) -> None:
        """Write samples of shape (bands, rows, columns) at (`row`, `column`); NaN becomes nodata, but not where `nan`."""
        from rasterio.errors import RasterioError
        from rasterio.windows import Window as RasterWindow

        bands, rows, columns = data.shape
        if bands != self.shape[0] or row + rows > self.shape[1] or column + columns > self.shape[2]:
            raise SceneError(f"{self.path}: samples {data.shape} at ({row}, {column}) exceed the scene {self.shape}")
        valid = ~np.isnan(data) if valid is None else valid
        encoded = encode_samples(
            data, valid, self.dtype, self.nodata, str(self.path), nan=nan, masked=self._mask,
            packing=(self._like.profile.scales, self._like.profile.offsets) if self._pack else None,
        )  # fmt: skip
        window = RasterWindow(column, row, columns, rows)
        try:
            self._file.write(encoded, list(range(1, bands + 1)), window=window)
            if self._mask:
                seen = (valid if nan is None else valid | nan).any(0)
                if self._alpha:
                    self._file.write(seen.astype(self.dtype) * np.iinfo(self.dtype).max, bands + 1, window=window)
                else:
                    self._file.write_mask(seen, window=window)
        except (RasterioError, OSError) as failure:
            raise SceneError(f"{self.path}: cannot be written ({first_line(failure)}); is the disk full?") from None

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        import rasterio.shutil
        from rasterio.errors import RasterioError

        try:
            if kind is None:
                self._file.close()
                if self.cog:
                    rasterio.shutil.copy(self._plain, self._final, driver="COG", compress="deflate", bigtiff="if_safer")
                if self._renamed:
                    rename_tags(self._final, self._renamed)
                _check_complete(self._final)
        except (RasterioError, OSError) as failure:
            self._stack.__exit__(type(failure), failure, failure.__traceback__)
            raise SceneError(f"{self.path}: cannot be written ({first_line(failure)})") from None
        self._stack.__exit__(kind, error, trace)


def _check_complete(path: Path) -> None:
    """Raise OSError if blocks of a TIFF lie beyond its end, because GDAL hides write errors that occur on closing."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    size = path.stat().st_size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        opened = rasterio.open(path)
    with opened as file:
        for band, (rows, columns) in enumerate(file.block_shapes, 1):
            for row in range(-(-file.height // rows)):
                for column in range(-(-file.width // columns)):
                    names = (f"BLOCK_OFFSET_{column}_{row}", f"BLOCK_SIZE_{column}_{row}")
                    place = [file.get_tag_item(name, "TIFF", band) for name in names]
                    if None not in place and sum(map(int, place)) > size:
                        raise OSError(f"truncated at {size} bytes; is the disk full?")


def own_tags(scene: Scene) -> dict[str, str]:
    """Return the tags for the fields of a scene that GeoTIFF cannot store otherwise."""
    tags = {QUANTITY_TAG: scene.quantity, readers.BITS_TAG: str(scene.native_bits), readers.NAME_TAG: scene.name}
    if scene.looks is not None:
        tags[readers.LOOKS_TAG] = repr(float(scene.looks))
    if scene.acquisition:
        tags[readers.ACQUISITION_TAG] = scene.acquisition
    if scene.time:
        tags[readers.TIME_TAG] = scene.time
    if scene.simulated:
        tags[readers.SIMULATED_TAG] = "true"
    if scene.credit:
        tags[readers.CREDIT_TAG] = scene.credit
    return tags


def sample_type(scene: Scene) -> str:
    """Return the sample type to write a scene with: its own if that holds the quantity, else float32 or complex64."""
    if scene.quantity == "complex":
        return scene.dtype if scene.dtype.startswith("complex") else "complex64"
    # Integers hold dB only if the file had them in dB.
    converted = scene.quantity == "db" and NATIVE_TAG in scene.tags and scene.tags[NATIVE_TAG] != "db"
    fits = scene.dtype.startswith("float") or (scene.dtype.startswith(("int", "uint")) and not converted)
    return scene.dtype if fits else "float32"


def encode_samples(
    data: np.ndarray, valid: np.ndarray, dtype: str, nodata: float | None, name: str, *, nan: np.ndarray | None = None,
    masked: bool = False, packing: tuple[Sequence[float], Sequence[float]] | None = None,
) -> np.ndarray:  # fmt: skip
    """Convert samples to the type of the file.

    Integers are rounded and clipped to their range. Invalid samples become nodata, NaN where `nan`, and any value where the
    file has a mask (`masked`). A measured sample that would be read as nodata moves to the next value.

    Parameters
    ----------
    data, valid, nan : ndarray, shape (bands, rows, columns)
    dtype, nodata
        Of the file.
    name : str
        File name for error messages.
    masked : bool
        A mask states which samples are valid; the nodata value has no effect then.
    packing : (scales, offsets), optional
        One of each per band: stored = (value − offset) / scale.
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
        filler = np.nan if nodata is None else nodata
        values = data if valid.all() else np.where(valid, data, filler)
        if nan is not None:
            values = np.where(nan, np.nan, values)
        if nodata is not None and not np.isnan(nodata) and not masked:
            # GDAL compares floats with a tolerance.
            near = valid & (np.abs(values - nodata) <= 1e-6 * abs(nodata))
            if near.any():
                values = np.where(near, nodata * (1 - 4e-6) if nodata else np.finfo(np.float32).tiny, values)
        with np.errstate(over="ignore"):
            return values.astype(dtype)
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


class ArrayWriter:
    """Write the samples of a scene window by window to ``.npy`` or ``.zarr``.

    Parameters
    ----------
    path, like, shape, georeference
        See `GeoTiffWriter`. A zarr array has the attributes of rioxarray; an ``.npy`` file holds samples only.
    """

    def __init__(
        self, path: str | Path, like: Scene, *, shape: tuple[int, int, int] | None = None, georeference: Georeference | None = None
    ):  # fmt: skip
        self.path, self.shape = Path(path), shape or like.shape
        self._like = like if georeference is None else replace(like, georeference=georeference)
        self.dtype, self.nodata = sample_type(like), like.nodata
        self._pack = bool(like.profile.scales) and self.dtype == like.dtype and self.path.suffix == ".zarr"
        if like.profile.scales and not self._pack:
            self.dtype = "float32"
        if self.dtype == "complex_int16":
            self.dtype = "complex64"
        self._stack = ExitStack()

    def __enter__(self) -> ArrayWriter:
        try:
            if self.path.suffix == ".zarr":
                from sarlab.scenes.arrays import create_zarr

                self._final = self._stack.enter_context(_replacing_folder(self.path))
                self._array: Any = create_zarr(self._final, self._like, self.shape, self.dtype)
            else:
                self._final = self._stack.enter_context(replacing(self.path))
                self._array = np.lib.format.open_memmap(self._final, "w+", np.dtype(self.dtype), self.shape)
        except OSError as error:
            self._stack.__exit__(type(error), error, error.__traceback__)
            raise SceneError(f"{self.path}: cannot be written ({first_line(error)})") from None
        return self

    def write(
        self, data: np.ndarray, row: int, column: int, valid: np.ndarray | None = None, nan: np.ndarray | None = None
    ) -> None:
        """Write samples of shape (bands, rows, columns) at (`row`, `column`)."""
        valid = ~np.isnan(data) if valid is None else valid
        profile = self._like.profile
        place = (slice(None), slice(row, row + data.shape[1]), slice(column, column + data.shape[2]))
        self._array[place] = encode_samples(
            data, valid, self.dtype, self.nodata, str(self.path), nan=nan,
            packing=(profile.scales, profile.offsets) if self._pack else None,
        )  # fmt: skip

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if hasattr(self._array, "flush"):
            self._array.flush()
        self._stack.__exit__(kind, error, trace)


@contextmanager
def _replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it takes the final name, on any error it disappears."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.stem[:80]}-", dir=path.parent) as folder:
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
