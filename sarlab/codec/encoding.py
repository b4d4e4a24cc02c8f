"""Scene → container, in bounded memory: sample, quality, then run after run of tiles."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from sarlab.codec.analysis import Job, Piece, analyze, make_job, sample_windows
from sarlab.codec.bitstream import StreamWriter
from sarlab.codec.header import Header
from sarlab.codec.learned import load_model
from sarlab.codec.levels import fit_levels
from sarlab.codec.metadata import scene_metadata
from sarlab.codec.parallel import Workers
from sarlab.codec.rates import Goal, OutOfReach, Sample, find_quality, solve
from sarlab.codec.sources import Source
from sarlab.codec.tilecoder import encode_tile
from sarlab.codec.tiling import Tiling, Window

DEFAULT_TILE = 512
#: Scenes of up to this many samples (all bands) are analyzed once and whole, and searched whole.
SMALL = 1 << 22
#: A file that misses a wanted rate by more than this share is made again, and how often.
RATE_TOLERANCE, MOST_TRIES = 0.012, 4


class Order(NamedTuple):
    """What a worker codes: windows of neighboring tiles within one job."""

    job: Job
    windows: list[Window]
    quality: float
    side: bytes


def code_run(order: Order) -> list[tuple[bytes, int]]:
    """Payload and latent checksum of every tile of a run."""
    return list(_coded(order, analyze(order.job)))


def _coded(order: Order, piece: Piece) -> Iterator[tuple[bytes, int]]:
    model = load_model(order.job.model)
    side = model.parse_side(order.side, len(order.job.levels.bands))
    for window in order.windows:
        active = piece.active(window)
        quantized = model.quantize(piece.latent(window), active, order.quality, side)
        valid, flat = piece.mask(window), piece.flat(window)
        yield encode_tile(model, quantized, valid, flat, piece.sides(window), order.quality, side)


class Encoder:
    """Codes one scene with one model.

    Parameters
    ----------
    source : Source
    model : Path
        File of the model.
    tile : int
        Side of a tile in samples.
    workers : int
        Processes for a large scene; 0 for all processors where that is worth it.
    metadata : bool
        Store names, tags and georeference.
    radiometric : bool
        Store what makes radiometric decoding exact.
    """

    def __init__(
        self,
        source: Source,
        model: Path,
        *,
        tile: int = DEFAULT_TILE,
        workers: int = 1,
        metadata: bool = True,
        radiometric: bool = False,
    ):
        bands, height, width = source.shape
        self.radiometric = radiometric
        self.workers = Workers(workers, bands * height * width)
        self.source, self.path, self.model = source, model, load_model(model)
        self.tiling = Tiling(height, width, tile, self.model.stride)
        self.samples = bands * height * width
        small = self.samples <= SMALL
        windows = [(0, 0, height, width)] if small else sample_windows(self.tiling)
        first = source.read((0, 0, 1, 1))
        looked = [source.read(window) for window in windows]
        self.levels = fit_levels(looked, self.model.normalizers, self.model.stride, everything=small)
        del looked
        margin = 0 if small else self.model.synthesis_reach
        pieces = [analyze(self._job(window, margin)) for window in windows]
        self._whole = pieces[0] if small else None
        levels = self.levels
        self._header = Header(
            self.model.name, self.model.hash, 0.0, source.shape, levels.bands, levels.quantity, levels.dtype, tile,
            native_bits=first.native_bits,
            normalizers=None if levels.own else tuple((n.low, n.high) for n in levels.normalizers),
            floors=levels.stored_floors,
            flats=levels.stored_flats,
            nodata=first.nodata,
            metadata=scene_metadata(first, source.georeference) if metadata else {},
        )  # fmt: skip
        overhead = StreamWriter(io.BytesIO(), self._header).overhead
        if radiometric:
            overhead += self.model.radiometry_size(bands) + 1
        parts = (
            [(pieces[0], window) for window in self._windows()]
            if small
            else [(piece, piece.window) for piece in pieces]
        )
        self.sample = Sample(self.model, pieces, parts, self.samples, overhead, self.tiling.rows * self.tiling.columns)

    def _job(self, window: Window, margin: int = 0) -> Job:
        return make_job(self.source, self.model, self.path, self.levels, self.tiling, window, margin)

    def write(self, file: BinaryIO, goal: Goal) -> Header:
        """Write the container that meets `goal` into a binary file that can seek; returns its header."""
        quality = find_quality(self.model, self.sample, goal)
        start = file.tell()
        for attempt in range(MOST_TRIES):
            header = replace(self._header, quality=quality, side=self._side(quality))
            file.seek(start)
            file.truncate()
            self._write(file, header)
            size = file.tell() - start
            if goal.kind != "bpp" or not self.sample.coded or attempt == MOST_TRIES - 1:
                break
            wanted = goal.value * self.samples / 8
            if abs(size / wanted - 1) <= RATE_TOLERANCE:
                break
            again = self._corrected(quality, wanted, size)
            if again == quality:
                break
            quality = again
        return header

    def _side(self, quality: float) -> bytes:
        if not self.radiometric:
            return self.sample.side(quality)
        return self.sample.radiometry(quality, np.array([n.width for n in self.levels.normalizers]))

    def _corrected(self, quality: float, wanted: float, size: int) -> float:
        """Quality after a file of `size` bytes, because an estimate is off by a factor that hardly depends on quality."""
        sample, fixed = self.sample, self.sample.overhead
        factor = max(wanted - fixed, 1) / max(size - fixed, 1)
        aim = max(sample.bytes(quality) - fixed, 1) * factor
        try:
            return solve(
                lambda q: math.log2(max(sample.bytes(q) - fixed, 1)),
                math.log2(aim),
                self.model.lowest,
                self.model.highest,
            )
        except OutOfReach:
            return quality

    def _write(self, file: BinaryIO, header: Header) -> None:
        with StreamWriter(file, header) as writer:
            if self._whole is not None:
                order = Order(self._job((0, 0, 1, 1)), self._windows(), header.quality, header.side)
                for payload, check in _coded(order, self._whole):
                    writer.append(payload, check)
                return
            with self.workers as workers:
                for run in workers.map(code_run, self._orders(header)):
                    for payload, check in run:
                        writer.append(payload, check)

    def _windows(self) -> list[Window]:
        tiling = self.tiling
        return [tiling.window(row, column) for row in range(tiling.rows) for column in range(tiling.columns)]

    def _orders(self, header: Header) -> Iterator[Order]:
        tiling = self.tiling
        for row in range(tiling.rows):
            for column, count in tiling.runs(row):
                windows = [tiling.window(row, c) for c in range(column, column + count)]
                job = self._job(tiling.window(row, column, count))
                yield Order(job, windows, header.quality, header.side)
