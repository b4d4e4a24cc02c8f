"""Decode a scene, or a window of it, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sarlab.codec.container import StreamReader
from sarlab.codec.levels import Levels
from sarlab.codec.metadata import scene_fields
from sarlab.codec.model_store import find_model
from sarlab.codec.pieces import Workers
from sarlab.codec.radiometry import correction, unpack_curves
from sarlab.codec.tiles import ALL_VALID, CODED, NOT_A_NUMBER, Tiling, Window, decode_tile, first_mode
from sarlab.errors import BitstreamError, CodecError
from sarlab.scenes.scene import Scene


class Part(NamedTuple):
    """A window to synthesize: latent of the blocks of `wide`, in the smallest type, and kinds of the samples of `core`."""

    core: Window
    wide: Window
    latent: np.ndarray
    kinds: np.ndarray


class Decoder:
    """Decode one container; see `sarlab.codec.api.decompress` for the options."""

    def __init__(
        self, reader: StreamReader, *, workers: int = 1, model: str | Path | None = None, radiometric: bool = False
    ):
        self.reader, self.header, self._workers = reader, reader.header, Workers(workers)
        header = self.header
        self._curves = unpack_curves(header.radiometry, header.shape[0]) if radiometric else ()
        if radiometric and not self._curves:
            raise CodecError(
                f"{reader.name} holds no curves that correct mean intensity; compress it with --radiometric, "
                "or decompress it without"
            )
        self.model = find_model(header.model, header.model_hash, model).for_scene(*header.shape[1:])
        if not self.model.lowest <= header.quality <= self.model.highest:
            raise BitstreamError(
                f"{reader.name}: the header is damaged: model '{header.model}' has no quality {header.quality:g}"
            )
        self.side = self.model.parse_side(header.side, header.shape[0])
        self.levels = Levels.of_header(header)
        self.tiling = Tiling(header.shape[1], header.shape[2], header.tile, self.model.stride)
        self.fields = scene_fields(header.metadata, header.shape)

    def strips(self, window: Window) -> Iterator[tuple[Window, np.ndarray, np.ndarray]]:
        """Decode a window in pieces: their windows, native samples (NaN where invalid), and their kinds."""
        with self._workers as workers:
            yield from workers.map(self._synthesized, self._parts(window, workers))

    def _parts(self, window: Window, workers: Workers) -> Iterator[Part]:
        """Runs of tiles within a window, as soon as the tiles that they depend on are decoded."""
        tiling, reach, stride = self.tiling, self.model.synthesis_reach, self.model.stride
        rows, columns = tiling.tiles_of(window, reach)
        places = [(row, column) for row in rows for column in columns]
        numbers = (row * tiling.columns + column for row, column in places)
        decoded = zip(places, workers.map(self._decoded, ((n, self.reader.payload(n)) for n in numbers)), strict=True)
        tiles: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}
        own_rows, own_columns = tiling.tiles_of(window)
        for row in own_rows:
            for run in tiling.runs(range(row, row + 1), own_columns):
                core = run[0]._replace(width=sum(one.width for one in run)).overlap(window)
                wide = core.blocks(stride).grown(reach, tiling.latent_shape)
                needed = [(i, j) for i in tiling.tiles_of(core, reach)[0] for j in tiling.tiles_of(core, reach)[1]]
                while not tiles.keys() >= set(needed):
                    place, tile = next(decoded)
                    tiles[place] = tile
                found = [tiles[place] for place in needed]
                kind = np.result_type(*(latent for latent, _ in found))
                latent = np.zeros((*found[0][0].shape[:2], *wide[2:]), kind)
                kinds = np.empty((self.header.shape[0], *core[2:]), np.uint8)
                for place, (own, own_kinds) in zip(needed, found, strict=True):
                    covered = tiling.window(*place)
                    _paste(latent, wide, own, covered.blocks(stride))
                    _paste(kinds, core, own_kinds, covered)
                in_samples = Window(*(stride * length for length in wide))
                yield Part(core, in_samples, latent, kinds)
            first = tiling.tiles_of(tiling.window(min(row + 1, tiling.rows - 1), 0), reach)[0].start
            for place in [place for place in tiles if place[0] < first]:
                del tiles[place]

    def _decoded(self, job: tuple[int, bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Decode a tile: its latent in the smallest integer type, and the kinds of its samples."""
        number, payload = job
        row, column = divmod(number, self.tiling.columns)
        window = self.tiling.window(row, column)
        latent, kinds = decode_tile(
            self.model, payload, self.reader.check(number), (self.header.shape[0], *window[2:]),
            window.borders(self.tiling.extent), self.header.quality, self.side,
            f"{self.reader.name}: tile {number} (row {row}, column {column})",
        )  # fmt: skip
        largest = max(int(latent.max(initial=0)), -int(latent.min(initial=0)))
        return latent.astype(np.int8 if largest < 128 else np.int16 if largest < 1 << 15 else np.int32), kinds

    def _synthesized(self, part: Part) -> tuple[Window, np.ndarray, np.ndarray]:
        """Synthesize native samples of a window, NaN where missing; returns their kinds too."""
        core, wide, latent, kinds = part
        if not (kinds == CODED).any():
            return core, self.levels.restored(np.zeros(kinds.shape, np.float32), kinds), kinds
        x_hat = self.model.synthesize(latent, self.header.quality, self.side, wide.borders(self.tiling.extent))
        # Blocks at the far borders may extend beyond the scene.
        x_hat = x_hat[:, : self.tiling.height - wide.row, : self.tiling.width - wide.column]
        if self._curves:
            x_hat = x_hat + correction(x_hat, self._curves)
        return core, self.levels.restored(x_hat[core.inside(wide)], kinds), kinds

    @property
    def may_be_invalid(self) -> bool:
        """Some tile has missing samples; reads the beginning of every payload."""
        reader = self.reader
        return any(first_mode(reader.payload_start(tile, 1)) != ALL_VALID for tile in range(len(reader.lengths)))

    def scene(self, window: Sequence[int] | None = None) -> Scene:
        """Decode the scene, or a window of it."""
        window = self.tiling.checked(window)
        data = np.empty((self.header.shape[0], *window[2:]), np.float32)
        nan = np.empty(data.shape, bool)
        for place, part, kinds in self.strips(window):
            data[place.inside(window)] = part
            nan[place.inside(window)] = kinds == NOT_A_NUMBER
        like = self.like()
        moved = like.georeference.shifted(window[0], window[1]) if like.georeference else None
        return like.with_data(data, valid=None, nan=nan, georeference=moved)

    def like(self) -> Scene:
        """Make a scene of one sample with the metadata of the whole."""
        header = self.header
        return Scene(
            np.full((header.shape[0], 1, 1), np.nan, np.float32), header.quantity, header.bands,
            native_bits=header.native_bits, nodata=header.nodata, dtype=header.dtype, **self.fields,
        )  # fmt: skip


def _paste(target: np.ndarray, target_window: Window, part: np.ndarray, window: Window) -> None:
    """Copy the overlap of two windows; the last two axes are rows and columns."""
    shared = target_window.overlap(window)
    if shared.height > 0 and shared.width > 0:
        target[shared.inside(target_window)] = part[shared.inside(window)]
