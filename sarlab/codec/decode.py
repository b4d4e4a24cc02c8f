"""Decode a scene, or a window of it, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sarlab.codec.container import StreamReader, scene_fields
from sarlab.codec.levels import Levels
from sarlab.codec.model_store import find_model, load_model
from sarlab.codec.radiometry import LevelCurve, correction, unpack_curves
from sarlab.codec.tile_model import Borders
from sarlab.codec.tiles import (
    ALL_VALID,
    CODED,
    Tiling,
    Window,
    blocks_covering,
    borders_of,
    decode_tile,
    first_mode,
    grown,
    inside,
)
from sarlab.codec.workers import Workers
from sarlab.errors import BitstreamError, CodecError
from sarlab.scenes.scene import Scene


@dataclass(frozen=True)
class TileOrder:
    """A tile to decode."""

    model: Path
    payload: bytes
    check: int
    shape: tuple[int, int, int]
    borders: Borders
    #: (height, width) of the scene.
    extent: tuple[int, int]
    quality: float
    side: bytes
    name: str


@dataclass(frozen=True, eq=False)
class SynthesisOrder:
    """A window of samples to synthesize."""

    model: Path
    levels: Levels
    #: int, shape (bands, channels, h, w).
    latent: np.ndarray
    #: `MISSING`, `CODED` or `FLAT` for the samples of `core`: uint8, shape (bands, H, W).
    kinds: np.ndarray
    quality: float
    #: Samples wanted, and samples covered by the latent.
    core: Window
    wide: Window
    side: bytes
    borders: Borders
    #: (height, width) of the scene.
    extent: tuple[int, int]
    #: Curves that correct mean intensity; none without correction.
    curves: tuple[LevelCurve, ...] = ()


def decode_one(order: TileOrder) -> tuple[np.ndarray, np.ndarray]:
    """Decode a tile: its latent in the smallest integer type, and the kinds of its samples."""
    model = load_model(order.model).for_scene(*order.extent)
    side = model.parse_side(order.side, order.shape[0])
    latent, kinds = decode_tile(
        model, order.payload, order.check, order.shape, order.borders, order.quality, side, order.name
    )
    largest = max(int(latent.max(initial=0)), -int(latent.min(initial=0)))
    return latent.astype(np.int8 if largest < 128 else np.int16 if largest < 1 << 15 else np.int32), kinds


def synthesize(order: SynthesisOrder) -> np.ndarray:
    """Synthesize native samples of a window, NaN where missing."""
    if not (order.kinds == CODED).any():
        return order.levels.restored(np.zeros(order.kinds.shape, np.float32), order.kinds)
    model = load_model(order.model).for_scene(*order.extent)
    side = model.parse_side(order.side, len(order.latent))
    x_hat = model.synthesize(order.latent, order.quality, side, order.borders)
    # Blocks at the far borders may extend beyond the scene.
    x_hat = x_hat[:, : order.extent[0] - order.wide[0], : order.extent[1] - order.wide[1]]
    if order.curves:
        x_hat = x_hat + correction(x_hat, order.curves)
    return order.levels.restored(x_hat[(slice(None), *inside(order.core, order.wide))], order.kinds)


class Decoder:
    """Decode one container; see `sarlab.codec.api.decompress` for the options."""

    def __init__(
        self,
        reader: StreamReader,
        *,
        workers: int = 1,
        model: str | Path | None = None,
        radiometric: bool = False,
    ):
        self.reader, self.header, self._workers = reader, reader.header, Workers(workers)
        header = self.header
        self._curves = unpack_curves(header.radiometry, header.shape[0]) if radiometric else ()
        if radiometric and not self._curves:
            raise CodecError(
                f"{reader.name} holds no curves that correct mean intensity; compress it with --radiometric, "
                "or decompress it without"
            )
        self.path = find_model(header.model, header.model_hash, header.writer, model)
        self.model = load_model(self.path).for_scene(*header.shape[1:])
        if not self.model.lowest <= header.quality <= self.model.highest:
            raise BitstreamError(
                f"{reader.name}: the header is damaged: model '{header.model}' has no quality {header.quality:g}"
            )
        self.levels = Levels.of_header(header)
        self.tiling = Tiling(header.shape[1], header.shape[2], header.tile, self.model.stride)
        self.fields = scene_fields(header.metadata)

    def strips(self, window: Window | None = None) -> Iterator[tuple[Window, np.ndarray]]:
        """Decode a window (default: the scene) in pieces: their windows, and native samples, NaN where invalid."""
        tiling = self.tiling
        window = window or (0, 0, tiling.height, tiling.width)
        tiling.check_window(window)
        rows, columns = tiling.tiles_of(window, self.model.synthesis_reach)
        own_rows, own_columns = tiling.tiles_of(window)
        tiles = deque((row, column) for row in rows for column in columns)
        latents: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]] = {}
        waiting: deque[tuple[tuple[int, ...], Callable[[], Any]]] = deque()

        def collected() -> Iterator[tuple[Window, np.ndarray]]:
            place, result = waiting.popleft()
            if len(place) == 4:
                yield place, result()
            else:
                latents[place] = result()

        with self._workers as workers:
            for row in own_rows:
                needed = tiling.tiles_of(tiling.window(row, 0), self.model.synthesis_reach)[0]
                while tiles and tiles[0][0] <= needed.stop:  # one row more than needed, so that no worker waits
                    ahead, column = tiles.popleft()
                    order = self._tile_order(ahead, column)
                    waiting.append(((ahead, column), workers.submit(decode_one, order)))
                while any(len(place) == 2 and place[0] < needed.stop for place, _ in waiting):
                    yield from collected()
                for place in [place for place in latents if place[0] < needed.start]:
                    del latents[place]
                for column, count in tiling.runs(row, own_columns.start, own_columns.stop):
                    core = self._core(row, column, count, window)
                    waiting.append((core, workers.submit(synthesize, self._synthesis_order(core, latents))))
                    while sum(len(place) == 4 for place, _ in waiting) > workers.ahead:
                        yield from collected()
            while waiting:
                yield from collected()

    @property
    def may_be_invalid(self) -> bool:
        """Some tile has missing samples; reads the beginning of every payload."""
        return any(first_mode(self.reader.payload(tile)) != ALL_VALID for tile in range(len(self.reader.lengths)))

    def _core(self, row: int, column: int, count: int, window: Window) -> Window:
        top, left, height, width = self.tiling.window(row, column, count)
        bottom, right = min(top + height, window[0] + window[2]), min(left + width, window[1] + window[3])
        top, left = max(top, window[0]), max(left, window[1])
        return top, left, bottom - top, right - left

    def _tile_order(self, row: int, column: int) -> TileOrder:
        number = self.tiling.number(row, column)
        window = self.tiling.window(row, column)
        shape, extent = (self.header.shape[0], *window[2:]), self.header.shape[1:]
        name = f"{self.reader.name}: tile {number} (row {row}, column {column})"
        return TileOrder(
            self.path, self.reader.payload(number), self.reader.check(number), shape, borders_of(window, *extent), extent,
            self.header.quality, self.header.side, name,
        )  # fmt: skip

    def _synthesis_order(
        self, core: Window, latents: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]]
    ) -> SynthesisOrder:
        tiling, stride = self.tiling, self.model.stride
        wide = grown(blocks_covering(core, stride), self.model.synthesis_reach, *tiling.latent_shape)
        rows, columns = tiling.tiles_of(core, self.model.synthesis_reach)
        parts = {(row, column): latents[row, column] for row in rows for column in columns}
        first = next(iter(parts.values()))[0]
        kind = np.result_type(*(part.dtype for part, _ in parts.values()))
        latent = np.zeros((*first.shape[:2], *wide[2:]), kind)
        kinds = np.empty((self.header.shape[0], *core[2:]), np.uint8)
        for (row, column), (part, own) in parts.items():
            place = tiling.window(row, column)
            _paste(latent, wide, part, blocks_covering(place, stride))
            _paste(kinds, core, own, place)
        in_samples = (stride * wide[0], stride * wide[1], stride * wide[2], stride * wide[3])
        return SynthesisOrder(
            self.path, self.levels, latent, kinds, self.header.quality, core, in_samples, self.header.side,
            borders_of(in_samples, tiling.height, tiling.width), (tiling.height, tiling.width), self._curves,
        )  # fmt: skip

    def scene(self, window: Window | None = None, name: str = "") -> Scene:
        """Decode the scene, or a window of it."""
        bands, height, width = self.header.shape
        window = window or (0, 0, height, width)
        self.tiling.check_window(window)
        data = np.empty((bands, *window[2:]), np.float32)
        for place, part in self.strips(window):
            data[(slice(None), *inside(place, window))] = part
        like = self.like(name)
        moved = like.georeference.shifted(window[0], window[1]) if like.georeference else None
        return like.with_data(data, valid=None, georeference=moved)

    def like(self, name: str = "") -> Scene:
        """Make a scene of one sample with the metadata of the whole."""
        header = self.header
        fields = {"name": name or "scene", **self.fields}
        return Scene(
            np.full((header.shape[0], 1, 1), np.nan, np.float32), header.quantity, header.bands,
            native_bits=header.native_bits, nodata=header.nodata, dtype=header.dtype, **fields,
        )  # fmt: skip


def _paste(target: np.ndarray, target_window: Window, part: np.ndarray, window: Window) -> None:
    """Copy the overlap of two windows; the last two axes are rows and columns."""
    top, left = max(target_window[0], window[0]), max(target_window[1], window[1])
    bottom = min(target_window[0] + target_window[2], window[0] + window[2])
    right = min(target_window[1] + target_window[3], window[1] + window[3])
    if bottom > top and right > left:
        overlap = (top, left, bottom - top, right - left)
        target[(..., *inside(overlap, target_window))] = part[(..., *inside(overlap, window))]
