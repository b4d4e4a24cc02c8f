"""Where windows of a scene come from: memory, or a file that is read piece by piece."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from sarlab.codec.tiling import Window
from sarlab.scenes.scene import Georeference, Scene

#: MiB of blocks that GDAL may keep in a process. Its own default is 5 % of the machine's memory.
CACHE_MIB = 64


class Source(ABC):
    """A scene that gives windows of itself.

    Attributes
    ----------
    shape : (bands, height, width)
    georeference : Georeference or None
    """

    shape: tuple[int, int, int]
    georeference: Georeference | None

    @abstractmethod
    def read(self, window: Window) -> Scene:
        """Samples of a window in their native quantity."""

    @abstractmethod
    def ticket(self, window: Window) -> Any:
        """What a worker process needs to read the window with `redeem`."""


class MemorySource(Source):
    """A scene in memory."""

    def __init__(self, scene: Scene):
        self.scene, self.shape, self.georeference = scene, scene.shape, scene.georeference

    def read(self, window: Window) -> Scene:
        return self.scene.window(*window)

    def ticket(self, window: Window) -> Any:
        piece = self.read(window)
        return piece.data, piece.valid, piece.quantity, piece.bands, piece.dtype


class FileSource(Source):
    """A file on disk, opened once in every process that reads it."""

    def __init__(self, path: str | Path, quantity: str = "auto"):
        with cache_limit():
            file = _opened(str(path), quantity)
        self.path, self.quantity = str(path), file.quantity
        self.shape, self.georeference = file.shape, file.georeference

    def read(self, window: Window) -> Scene:
        with cache_limit():
            return _opened(self.path, self.quantity).read(window)

    def ticket(self, window: Window) -> Any:
        return self.path, self.quantity, window


def redeem(ticket: Any) -> Scene:
    """The window that a `Source.ticket` stands for, in whatever process."""
    if isinstance(ticket[0], str):
        path, quantity, window = ticket
        with cache_limit():
            return _opened(path, quantity).read(window)
    data, valid, quantity, bands, dtype = ticket
    return Scene(data, quantity, bands, valid=valid, dtype=dtype)


def close_files() -> None:
    """Release the files that this process has opened."""
    _opened.cache_clear()


@lru_cache(maxsize=2)
def _opened(path: str, quantity: str) -> Any:
    from sarlab.scenes.readers import open_scene

    return open_scene(path, quantity, allow_empty=True)


@contextmanager
def cache_limit() -> Iterator[None]:
    """Keep GDAL's cache small, where GDAL is there at all."""
    try:
        import rasterio
    except ImportError:
        yield
        return
    with rasterio.Env(GDAL_CACHEMAX=CACHE_MIB):
        yield
