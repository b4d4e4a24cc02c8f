"""Files → scenes: GeoTIFF and COG (real or complex), whatever else GDAL opens (ENVI), and ``.npy``; whole or by window.

    with open_scene("huge.tif") as file:
        for window in file.windows(2048):
            scene = file.read(window)

Samples become float32 (or complex64), nodata becomes NaN, an exact zero stays a value. ``quantity="auto"`` follows the
rules of `sarlab.scenes.quantity.decide_quantity` on samples from all over the file, so that a window never decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np

from sarlab.errors import SceneError
from sarlab.scenes.backends import ArrayFile, RasterFile
from sarlab.scenes.quantity import (
    QUANTITY_TAG,
    SENTINEL1_GRD_LOOKS,
    acquisition_of,
    check_quantity,
    decide_quantity,
    is_sentinel1_detected,
    polarization,
)
from sarlab.scenes.scene import QUANTITIES, Scene

#: (row, column, height, width) in pixels.
Window = tuple[int, int, int, int]

#: Suffixes that a folder is searched for.
SUFFIXES = (".tif", ".tiff", ".npy", ".bin", ".img", ".vrt", ".jp2")

LOOKS_TAG = "SARLAB_LOOKS"
BITS_TAG = "SARLAB_NATIVE_BITS"
NAME_TAG = "SARLAB_NAME"
ACQUISITION_TAG = "SARLAB_ACQUISITION"
SIMULATED_TAG = "SARLAB_SIMULATED"
CREDIT_TAG = "SARLAB_CREDIT"
OWN_TAGS = (QUANTITY_TAG, LOOKS_TAG, BITS_TAG, NAME_TAG, ACQUISITION_TAG, SIMULATED_TAG, CREDIT_TAG)


def read_scene(
    path: str | Path, quantity: str = "auto", window: Window | None = None, *, allow_empty: bool = False
) -> Scene:
    """Read a scene, or a window of it.

    Parameters
    ----------
    path : str or Path
        GeoTIFF, COG, any other raster that GDAL opens, or ``.npy`` of shape (height, width) or (bands, height, width).
    quantity : {"auto", "complex", "amplitude", "intensity", "db"}
        What the samples are.
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
    """
    with open_scene(path, quantity, allow_empty=allow_empty) as file:
        return file.read(window)


def open_scene(path: str | Path, quantity: str = "auto", *, allow_empty: bool = False) -> SceneFile:
    """Open a file for reading by window, without loading it; a context manager."""
    path = Path(path)
    if quantity != "auto" and quantity not in QUANTITIES:
        raise SceneError(f"unknown quantity '{quantity}'; use auto, {', '.join(QUANTITIES)}")
    if not path.exists():
        raise SceneError(f"{path}: no such file; 'sarlab scenes' lists the scenes known by name")
    if path.is_dir():
        raise SceneError(
            f"{path} is a folder, not an image; give one of its files, or the folder as the source of a run"
        )
    if path.stat().st_size == 0:
        raise SceneError(f"{path}: the file is empty")
    backend = ArrayFile(path) if path.suffix.lower() == ".npy" else RasterFile(path)
    return SceneFile(path, backend, quantity, allow_empty)


class SceneFile:
    """An open scene. `shape`, `bands`, `dtype`, `quantity`, `georeference`, and `read(window)`.

    Attributes
    ----------
    shape : (bands, height, width)
    bands : tuple of str
    dtype : str
        Sample type of the file.
    quantity : str
        As stated or decided.
    """

    def __init__(self, path: Path, backend: ArrayFile | RasterFile, quantity: str, allow_empty: bool):
        self.path, self._backend, self._allow_empty = path, backend, allow_empty
        self.shape, self.dtype, self.nodata = backend.shape, backend.dtype, backend.nodata
        self.georeference, self.spacing = backend.georeference, backend.spacing
        try:
            self.bands = _band_names(path, backend.descriptions, self.shape[0])
            self.quantity = self._decide(quantity)
        except BaseException:
            backend.close()
            raise

    def _decide(self, quantity: str) -> str:
        if quantity != "auto":
            return quantity
        sample = self._backend.sample()
        known = self._backend.tags.get(QUANTITY_TAG) or self.dtype.startswith("complex")
        if sample.size == 0 and not known:
            if self._allow_empty:
                return "db"
            raise _empty(self.path)
        hints = (*self._backend.units, self.path.stem, *(d for d in self._backend.descriptions if d))
        return decide_quantity(str(self.path), self.dtype, sample, self._backend.tags, hints)

    def __enter__(self) -> SceneFile:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Release the file."""
        self._backend.close()

    def windows(self, size: int) -> Iterator[Window]:
        """Windows of at most `size`×`size` pixels that cover the scene, row by row."""
        _, height, width = self.shape
        for row in range(0, height, size):
            for column in range(0, width, size):
                yield row, column, min(size, height - row), min(size, width - column)

    def read(self, window: Window | None = None) -> Scene:
        """Read a window, or everything.

        Raises
        ------
        SceneError
            A window that leaves the scene; samples that contradict the quantity; a whole scene without a valid sample.
        """
        _, height, width = self.shape
        row, column, rows, columns = window or (0, 0, height, width)
        if row < 0 or column < 0 or rows < 1 or columns < 1 or row + rows > height or column + columns > width:
            raise SceneError(f"{self.path}: window {window} leaves the scene of {height}×{width} pixels")
        data, valid = self._backend.read(row, column, rows, columns)
        if not np.iscomplexobj(data):
            valid &= ~np.isposinf(data)
        if window is None and not valid.any() and not self._allow_empty:
            raise _empty(self.path)
        filler = np.array(np.nan, data.dtype)
        data = data if valid.all() else np.where(valid, data, filler)
        check_quantity(str(self.path), self.quantity, self.dtype, data)
        moved = self.georeference.shifted(row, column) if self.georeference else None
        tags = dict(self._backend.tags)
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
            georeference=moved,
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
    return SceneError(f"{path}: every sample is nodata or NaN; there is nothing to compress in it")


def _scene_name(path: Path) -> str:
    """Stem of the file; with its folder where the stem is just a polarization."""
    alone = polarization(path.stem) and len(path.stem) == 2
    return f"{path.resolve().parent.name}-{path.stem}" if alone else path.stem


def _native_bits(dtype: str) -> int:
    """Depth of the product behind a file. Real floats are derived products, as a rule of 16-bit Sentinel-1 data."""
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
