"""Write GeoTIFF and COG with all metadata: CRS, transform, nodata, band names, tags and sample type."""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from sarlab.errors import SceneError
from sarlab.files import replacing
from sarlab.scenes import readers
from sarlab.scenes.quantity import QUANTITY_TAG
from sarlab.scenes.readers import first_line
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
        The scene has invalid samples, but `dtype` has no NaN and the scene no nodata value.
    """
    with GeoTiffWriter(path, scene, cog=cog, dtype=dtype) as writer:
        writer.write(scene.data, 0, 0, scene.valid)


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
        self.nodata = like.nodata
        self._like, self._reference = like, georeference or like.georeference
        self._stack = ExitStack()

    def __enter__(self) -> GeoTiffWriter:
        import rasterio
        from affine import Affine
        from rasterio.errors import NotGeoreferencedWarning, RasterioError

        if self.path.is_dir():
            raise SceneError(f"{self.path} is a folder; give the name of a file to write")
        bands, height, width = self.shape
        like, reference = self._like, self._reference
        profile: dict[str, Any] = {
            "driver": "GTiff", "count": bands, "height": height, "width": width, "dtype": self.dtype,
            "compress": "deflate", "zlevel": 1, "bigtiff": "if_safer", "interleave": "band",
        }  # fmt: skip
        if min(height, width) >= 512:
            profile |= {"tiled": True, "blockxsize": 256, "blockysize": 256}
        if reference is not None:
            profile["transform"] = Affine(*reference.transform)
            if reference.crs:
                profile["crs"] = rasterio.crs.CRS.from_wkt(reference.crs)
        if self.nodata is not None:
            profile["nodata"] = self.nodata
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                self._final = self._stack.enter_context(replacing(self.path))
                self._plain = self._final
                if self.cog:
                    self._plain = self._final.with_name(self._final.name + ".plain")
                    self._stack.callback(self._plain.unlink, missing_ok=True)
                self._file = self._stack.enter_context(rasterio.open(self._plain, "w", **profile))
            self._file.descriptions = like.bands
            self._file.update_tags(**{**like.tags, **own_tags(like)})
        except (RasterioError, OSError, ValueError, TypeError) as error:
            self._stack.__exit__(type(error), error, error.__traceback__)
            raise SceneError(f"{self.path}: cannot be written ({first_line(error)})") from None
        return self

    def write(self, data: np.ndarray, row: int, column: int, valid: np.ndarray | None = None) -> None:
        """Write samples of shape (bands, rows, columns) at (`row`, `column`); NaN becomes nodata."""
        from rasterio.errors import RasterioError
        from rasterio.windows import Window as RasterWindow

        bands, rows, columns = data.shape
        if bands != self.shape[0] or row + rows > self.shape[1] or column + columns > self.shape[2]:
            raise SceneError(f"{self.path}: samples {data.shape} at ({row}, {column}) exceed the scene {self.shape}")
        valid = ~np.isnan(data) if valid is None else valid
        encoded = encode_samples(data, valid, self.dtype, self.nodata, str(self.path))
        try:
            self._file.write(encoded, window=RasterWindow(column, row, columns, rows))
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
    if scene.simulated:
        tags[readers.SIMULATED_TAG] = "true"
    if scene.credit:
        tags[readers.CREDIT_TAG] = scene.credit
    return tags


def sample_type(scene: Scene) -> str:
    """Return the sample type to write a scene with: its own if that holds the quantity, else float32 or complex64."""
    if scene.quantity == "complex":
        return scene.dtype if scene.dtype.startswith("complex") else "complex64"
    fits = scene.dtype.startswith("float") or (scene.dtype.startswith(("int", "uint")) and scene.quantity != "db")
    return scene.dtype if fits else "float32"


def encode_samples(data: np.ndarray, valid: np.ndarray, dtype: str, nodata: float | None, name: str) -> np.ndarray:
    """Convert samples to the type of the file: integers are rounded and clipped to its range, NaN becomes nodata."""
    if dtype == "complex_int16":
        parts = np.stack([data.real, data.imag], -1)
        parts = np.clip(np.rint(np.where(valid[..., None], parts, 0)), -32768, 32767)
        if not valid.all():
            raise SceneError(f"{name}: complex integers cannot mark nodata; write complex64")
        return (parts[..., 0] + 1j * parts[..., 1]).astype(np.complex64)
    if np.dtype(dtype).kind not in "iu":
        filler = np.nan if nodata is None else nodata
        return (data if valid.all() else np.where(valid, data, filler)).astype(dtype)
    limits = np.iinfo(dtype)
    if not valid.all() and nodata is None:
        raise SceneError(f"{name}: {dtype} cannot mark nodata; give the scene a nodata value or write float32")
    with np.errstate(invalid="ignore"):
        values = np.clip(np.rint(np.where(valid, data, 0).astype(np.float64)), limits.min, limits.max)
    if nodata is not None:
        # A measured value that rounds to the nodata value moves by one, or it would be lost.
        values = np.where(valid & (values == nodata), nodata + 1 if nodata < limits.max else nodata - 1, values)
        values = np.where(valid, values, nodata)
    return values.astype(dtype)
