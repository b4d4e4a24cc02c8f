"""Pieces of a scene: windows read from memory or file and analyzed into masks and latents, and threads for such work."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from sarlab.codec.levels import Levels
from sarlab.codec.tile_model import TileModel
from sarlab.codec.tiles import (
    CODED,
    FILL_REACH,
    FLAT,
    FLAT_UNIT,
    NOT_A_NUMBER,
    Tiling,
    Window,
    active_flags,
    blocks,
    blocks_of,
    dilated,
    fill_invalid,
    kinds_of,
)
from sarlab.errors import CodecError
from sarlab.scenes.scene import Scene

#: MiB of blocks that GDAL may cache in a process; its own default is 5 % of the machine's memory.
CACHE_MIB = 64
#: Side of the sample windows of a large scene, and their fewest and largest number.
SAMPLE_SIDE, FEWEST_WINDOWS, MOST_WINDOWS = 192, 48, 256

#: Fate of the samples that `SceneFile.census` counts.
CHANGES = {
    "negative": "negative samples were replaced by the floor",
    "infinite": "infinite samples become NaN",
    "beyond float32": "samples beyond float32 become its largest number",
}

J = TypeVar("J")
R = TypeVar("R")


class Workers:
    """A pool of threads, a context manager; with one worker, everything runs in the calling thread.

    Threads share the cores well, because compiled code and NumPy do not hold the lock of the interpreter. `count` is 0 for
    as many as this process may use processors.
    """

    def __init__(self, count: int = 1):
        if count < 0:
            raise CodecError(f"the number of workers must be positive (or 0 for all processors), not {count}")
        self.count = count or processors()
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Workers:
        self._pool = ThreadPoolExecutor(self.count) if self.count > 1 else None
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def map(self, work: Callable[[J], R], jobs: Iterable[J]) -> Iterator[R]:
        """Yield results in the order of `jobs`, which are drawn as needed: at most two ahead for each thread."""
        if self._pool is None:
            yield from map(work, jobs)
            return
        waiting: deque[Callable[[], R]] = deque()
        for job in jobs:
            waiting.append(self._pool.submit(work, job).result)
            if len(waiting) > 2 * self.count:
                yield waiting.popleft()()
        while waiting:
            yield waiting.popleft()()


def processors() -> int:
    """Number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# --- sources ----------------------------------------------------------------------------------------------------------


class MemorySource:
    """A scene in memory that is read in windows, in its native quantity."""

    def __init__(self, scene: Scene):
        self.scene, self.shape, self.georeference = scene, scene.shape, scene.georeference
        self.name = f"scene '{scene.name}'"

    def read(self, window: Window) -> Scene:
        return self.scene.window(*window)

    def changed(self) -> list[str]:
        """Nothing: what a scene holds comes back."""
        return []

    def close(self) -> None: ...


class FileSource:
    """A scene in a file, likewise; one thread reads at a time."""

    def __init__(self, path: str | Path, quantity: str = "auto", **options: Any):
        from sarlab.scenes.readers import open_scene

        self._lock, self._limit = Lock(), nullcontext if str(path).lower().endswith(".npy") else cache_limit
        with self._limit():
            self.file = open_scene(path, quantity, allow_empty=True, **options)
        self.shape, self.georeference, self.name = self.file.shape, self.file.georeference, self.file.text

    def read(self, window: Window) -> Scene:
        with self._lock, self._limit():
            return self.file.read(window)

    def changed(self) -> list[str]:
        """Say which samples of the file do not come back as they are."""
        with self._lock, self._limit():
            counts = self.file.census()
        return [f"{count} {CHANGES[kind]}" for kind, count in counts.items() if count]

    def close(self) -> None:
        self.file.close()


@contextmanager
def cache_limit() -> Iterator[None]:
    """Keep the cache of GDAL small."""
    import rasterio

    with rasterio.Env(GDAL_CACHEMAX=CACHE_MIB):
        yield


Source = MemorySource | FileSource


# --- pieces -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Piece:
    """An analyzed window."""

    window: Window
    #: Samples covered by the latent positions in `y`: the window and its margin, rounded up to whole positions.
    wide: Window
    #: Latent before quantization: float32, shape (bands, channels, h, w).
    y: np.ndarray
    #: Normalized samples of the window: float32, shape (bands, H, W).
    x: np.ndarray
    #: Kinds of the samples of `outer`, and its flat blocks if the file has any.
    kinds: np.ndarray
    flats: np.ndarray | None
    outer: Window
    tiling: Tiling

    def coded(self, window: Window) -> np.ndarray:
        """Samples that are coded: bool, shape (bands, H, W)."""
        return self._kinds(window) == CODED

    def mask(self, window: Window) -> np.ndarray:
        """Valid samples: bool, shape (bands, H, W)."""
        kinds = self._kinds(window)
        return (kinds == CODED) | (kinds == FLAT)

    def nan(self, window: Window) -> np.ndarray:
        """Samples that are NaN in a file that marks missing ones otherwise: bool, shape (bands, H, W)."""
        return self._kinds(window) == NOT_A_NUMBER

    def flat(self, window: Window) -> np.ndarray | None:
        """Flat blocks: bool, shape (bands, h, w); None if the file has none."""
        if self.flats is None:
            return None
        return self.flats[window.blocks(FLAT_UNIT).inside(self.outer.blocks(FLAT_UNIT))]

    def _kinds(self, window: Window) -> np.ndarray:
        return self.kinds[window.inside(self.outer)]

    def latent(self, window: Window) -> np.ndarray:
        """Latent of a part that begins at a multiple of the stride."""
        stride = self.tiling.stride
        return self.y[window.blocks(stride).inside(self.wide.blocks(stride))]

    def sides(self, window: Window) -> int:
        """Borders of a tile beyond which the next row or column of blocks has coded samples, as bits."""
        stride, coded = self.tiling.stride, self.kinds == CODED
        if self.coded(window).all() or not coded.any():
            return 0
        near = np.asarray(blocks_of(coded, stride).any(0))
        _, rows, columns = window.blocks(stride).inside(self.outer.blocks(stride))
        tall, broad = (slice(max(0, s.start - 1), s.stop + 1) for s in (rows, columns))
        beyond = (
            near[max(0, rows.start - 1) : rows.start, broad],
            near[rows.stop : rows.stop + 1, broad],
            near[tall, max(0, columns.start - 1) : columns.start],
            near[tall, columns.stop : columns.stop + 1],
        )
        return sum(int(part.any()) << bit for bit, part in enumerate(beyond))

    def active(self, window: Window) -> np.ndarray:
        """Flags of the latent columns of a tile."""
        borders = window.borders(self.tiling.extent)
        return active_flags(self.coded(window), self.tiling.stride, self.sides(window), borders)


def analyze(source: Source, model: TileModel, levels: Levels, tiling: Tiling, window: Window, margin: int = 0) -> Piece:
    """Read and analyze a window that begins at a multiple of the stride, and `margin` latent positions around it."""
    extent, stride = tiling.extent, model.stride
    reach = blocks(model.analysis_reach, stride) * stride
    outer = window.grown(reach + blocks(FILL_REACH, stride) * stride + margin * stride, extent)
    scene = source.read(outer)
    x, valid = levels.normalized(scene)
    flat = levels.flat_blocks(scene)
    kinds = valid.view(np.uint8) if flat is None else kinds_of(valid, flat)
    if scene.nan is not None:
        kinds = np.where(scene.nan, np.uint8(NOT_A_NUMBER), kinds)
    coded = kinds == CODED
    wide = window.grown(margin * stride, extent)
    needed = wide.grown(reach, extent)
    filled = fill_invalid(x, coded)[needed.inside(outer)]
    padding = [(0, 0), *((0, -length % stride) for length in filled.shape[1:])]
    y = model.analyze(np.pad(filled, padding, mode="edge"), needed.borders(extent))
    if not coded.all():
        # Columns far from coded samples are zero, even if the border of a tile makes some of them active.
        near = dilated(blocks_of(coded, stride))
        y = y * near[needed.blocks(stride).inside(outer.blocks(stride))][:, None]
    own = x[window.inside(outer)]
    whole = Piece(window, needed, y, own, kinds, flat, outer, tiling)
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
    return [Window(row, column, height, width) for row, height in places[0] for column, width in places[1]]
