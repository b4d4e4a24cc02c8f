"""Pieces of a scene: read a window from memory or file, with its halo, and analyze it into mask and latent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from sarlab.codec.levels import Levels
from sarlab.codec.model_store import load_model
from sarlab.codec.tile_model import TileModel
from sarlab.codec.tiles import (
    CODED,
    FILL_REACH,
    FLAT_UNIT,
    MISSING,
    Tiling,
    Window,
    active_flags,
    blocks_covering,
    blocks_of,
    borders_of,
    dilated,
    fill_invalid,
    grown,
    inside,
    kinds_of,
    rounded_up,
)
from sarlab.scenes.scene import Georeference, Scene

#: MiB of blocks that GDAL may cache in a process; its own default is 5 % of the machine's memory.
CACHE_MIB = 64
#: Side of the sample windows of a large scene, and their fewest and largest number.
SAMPLE_SIDE, FEWEST_WINDOWS, MOST_WINDOWS = 192, 48, 256
#: Files are read by one thread at a time.
_reading = Lock()


# --- sources
# -----------------------------------------------------------------------------------------------------------


class Source(ABC):
    """A scene that is read in windows."""

    #: (bands, height, width).
    shape: tuple[int, int, int]
    georeference: Georeference | None

    @abstractmethod
    def read(self, window: Window) -> Scene:
        """Read the samples of a window in their native quantity."""

    @abstractmethod
    def ticket(self, window: Window) -> Any:
        """Return what `redeem` needs to read the window in another process."""


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
    """A file on disk, opened once in each process that reads it."""

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
    """Read the window of a `Source.ticket`, in any thread."""
    if isinstance(ticket[0], str):
        path, quantity, window = ticket
        with _reading, cache_limit():
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
    """Keep the cache of GDAL small, if GDAL is installed."""
    try:
        import rasterio
    except ImportError:
        yield
        return
    with rasterio.Env(GDAL_CACHEMAX=CACHE_MIB):
        yield


# --- pieces
# ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class PieceJob:
    """A piece of a scene to analyze; can be sent to another process."""

    model: Path
    levels: Levels
    tiling: Tiling
    #: The window of interest, beginning at a multiple of the stride.
    core: Window
    #: The window to read.
    outer: Window
    #: See `Source.ticket`.
    ticket: Any
    #: Latent positions around the core that are also of interest.
    margin: int = 0


@dataclass(frozen=True, eq=False)
class Piece:
    """An analyzed window."""

    window: Window
    #: Samples covered by the latent positions in `y`: the window and its margin, rounded up to whole positions.
    wide: Window
    #: Latent before quantization: float32, shape (bands, channels, h, w).
    y: np.ndarray
    #: Normalized samples of `window`, undefined where invalid: float32, shape (bands, H, W).
    x: np.ndarray
    #: `MISSING`, `CODED` or `FLAT` for the samples of `outer`: uint8, shape (bands, H, W).
    kinds: np.ndarray
    #: Flat ones among the blocks of `outer`: bool, shape (bands, h, w); None if the file has none.
    blocks: np.ndarray | None
    outer: Window
    stride: int
    #: (height, width) of the scene.
    extent: tuple[int, int]

    def mask(self, window: Window) -> np.ndarray:
        """Valid samples of a part."""
        return np.asarray(self._kinds(window) != MISSING)

    def coded(self, window: Window) -> np.ndarray:
        """Samples of a part that are coded in the latent."""
        return np.asarray(self._kinds(window) == CODED)

    def flat(self, window: Window) -> np.ndarray | None:
        """Flat blocks of a part that begins at a multiple of the stride."""
        if self.blocks is None:
            return None
        at = inside(blocks_covering(window, FLAT_UNIT), blocks_covering(self.outer, FLAT_UNIT))
        return self.blocks[(slice(None), *at)]

    def _kinds(self, window: Window) -> np.ndarray:
        return self.kinds[(slice(None), *inside(window, self.outer))]

    def latent(self, window: Window) -> np.ndarray:
        """Latent of a part that begins at a multiple of the stride."""
        stride = self.stride
        return self.y[
            (slice(None), slice(None), *inside(blocks_covering(window, stride), blocks_covering(self.wide, stride)))
        ]

    def sides(self, window: Window) -> int:
        """Borders of a tile beyond which the next row or column of blocks has coded samples, as bits."""
        if self.coded(window).all():
            return 0
        coded = self.kinds == CODED
        if not coded.any():
            return 0
        blocks = np.asarray(blocks_of(coded, self.stride).any(0))
        rows, columns = inside(blocks_covering(window, self.stride), blocks_covering(self.outer, self.stride))
        tall, broad = (slice(max(0, s.start - 1), s.stop + 1) for s in (rows, columns))
        beyond = (
            blocks[max(0, rows.start - 1) : rows.start, broad],
            blocks[rows.stop : rows.stop + 1, broad],
            blocks[tall, max(0, columns.start - 1) : columns.start],
            blocks[tall, columns.stop : columns.stop + 1],
        )
        return sum(int(part.any()) << bit for bit, part in enumerate(beyond))

    def active(self, window: Window) -> np.ndarray:
        """Flags of the latent columns of a tile."""
        return active_flags(self.coded(window), self.stride, self.sides(window), borders_of(window, *self.extent))


def make_job(
    source: Source, model: TileModel, path: Path, levels: Levels, tiling: Tiling, core: Window, margin: int = 0
) -> PieceJob:
    """Make the job for a window and `margin` latent positions around it."""
    halo = rounded_up(model.analysis_reach, model.stride) + FILL_REACH + margin * model.stride
    outer = grown(core, halo, tiling.height, tiling.width)
    return PieceJob(path, levels, tiling, core, outer, source.ticket(outer), margin)


def analyze(job: PieceJob) -> Piece:
    """Read and analyze a window; runs in worker threads."""
    tiling = job.tiling
    model = load_model(job.model).for_scene(tiling.height, tiling.width)
    scene = redeem(job.ticket)
    x, valid = job.levels.normalized(scene)
    flat = job.levels.flat_blocks(scene)
    kinds = valid.view(np.uint8) if flat is None else kinds_of(valid, flat)
    coded = kinds == CODED
    wide = grown(job.core, job.margin * model.stride, tiling.height, tiling.width)
    reach = grown(wide, rounded_up(model.analysis_reach, model.stride), tiling.height, tiling.width)
    filled = fill_invalid(x, coded)[(slice(None), *inside(reach, job.outer))]
    padding = [(0, 0), *((0, -length % model.stride) for length in filled.shape[1:])]
    y = model.analyze(np.pad(filled, padding, mode="edge"), borders_of(reach, tiling.height, tiling.width))
    if not coded.all():
        # Columns far from coded samples are zero, even if the border of a tile makes some of them active.
        near = dilated(blocks_of(coded, model.stride))
        at = inside(blocks_covering(reach, model.stride), blocks_covering(job.outer, model.stride))
        y = y * near[(slice(None), *at)][:, None]
    whole = Piece(
        job.core, reach, y,
        x[(slice(None), *inside(job.core, job.outer))], kinds, flat, job.outer, model.stride,
        (tiling.height, tiling.width),
    )  # fmt: skip
    return replace(whole, wide=wide, y=whole.latent(wide))


def sample_windows(tiling: Tiling) -> list[Window]:
    """Choose windows spread over a scene, always the same ones."""
    count = min(max(FEWEST_WINDOWS, tiling.height * tiling.width >> 20), MOST_WINDOWS)
    places = []
    for length, other in ((tiling.height, tiling.width), (tiling.width, tiling.height)):
        side = min(SAMPLE_SIDE, length)
        number = max(1, min(length // side, round((count * length / other) ** 0.5)))
        # Irrational steps within each share keep the windows from aligning with a pattern of the scene.
        shares = (np.arange(number) + (0.5 + np.arange(number) * 0.6180339887) % 1) / number
        unit = tiling.stride
        places.append([(int((length - side) * share) // unit * unit, side) for share in shares])
    return [(row, column, height, width) for row, height in places[0] for column, width in places[1]]
