"""Encode a scene in bounded memory: sample it, choose the quality, then code run after run of tiles.

A scene of up to `SMALL` samples is analyzed once and as a whole, and the search for a quality codes all of it. A larger
scene is represented by windows of a fixed size, and analyzed piece by piece while it is written.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sarlab.codec.container import QUALITY_UNIT, Header, StreamWriter
from sarlab.codec.goals import SLOPES, Goal, OutOfReach, solve
from sarlab.codec.levels import fit_levels, native_levels
from sarlab.codec.metadata import scene_metadata
from sarlab.codec.model_store import BUILT_IN, RATES, load_model
from sarlab.codec.pieces import Piece, Source, Workers, analyze, sample_windows
from sarlab.codec.radiometry import CURVE_SIZE, fit_curves
from sarlab.codec.tile_model import QuantizedTile
from sarlab.codec.tiles import Tiling, Window, encode_tile
from sarlab.errors import CodecError
from sarlab.scenes.scene import Scene

DEFAULT_TILE = 512
#: Largest scene, in samples of all bands, that is analyzed as a whole.
SMALL = 1 << 22
#: Tolerances of the search: octaves of rate, dB of PSNR.
TOLERANCE = {"bpp": 0.008, "psnr": 0.02}
#: A file whose rate is off by more than this share is made again, up to this number of times in all.
RATE_TOLERANCE, MOST_TRIES = 0.012, 4


class Encoder:
    """Encode one scene with one model, given by its file; see `sarlab.codec.api.compress` for the options."""

    def __init__(
        self, source: Source, model: Path, *, tile: int = DEFAULT_TILE, workers: int = 1, metadata: bool = True,
        tags: bool = True, radiometric: bool = False, lossless: bool = False, exact: bool = False, effort: str = "default",
    ):  # fmt: skip
        bands, height, width = source.shape
        self.samples, self.radiometric = bands * height * width, radiometric
        self.whole = self.samples <= SMALL
        self.workers = Workers(min(workers, 1) or 1 if self.whole else workers)
        self.model = load_model(model).for_scene(height, width).with_effort(effort)
        self.tiling = tiling = Tiling(height, width, tile, self.model.stride)
        windows = [tiling.checked()] if self.whole else sample_windows(tiling)
        first = source.read(Window(0, 0, 1, 1))
        looked = [source.read(window) for window in windows]
        if lossless:
            _check_whole(first, looked)
        levels = native_levels(first) if lossless else fit_levels(looked, everything=self.whole)
        del looked
        self._analyze = partial(analyze, source, self.model, levels, tiling)
        #: Analyzed pieces that represent the scene, and the parts of them that are coded on their own.
        self.pieces = [self._analyze(window, 0 if self.whole else self.model.synthesis_reach) for window in windows]
        self.parts: list[tuple[Piece, Window]] = [(piece, piece.window) for piece in self.pieces]
        if self.whole:
            self.parts = [(self.pieces[0], window) for row in tiling.runs() for window in row]
        self.share = self.samples / sum(piece.x.size for piece in self.pieces)
        self.coded = any(piece.coded(piece.window).any() for piece in self.pieces)
        # A rounding to whole numbers would add to a bounded error.
        dtype = "float32" if exact and not lossless else levels.dtype
        self._header = Header(
            self.model.name, self.model.hash[:4], 0.0, source.shape, levels.bands, levels.centers, levels.quantity, dtype,
            tile, first.native_bits, levels.stored_floors, levels.stored_flats, first.nodata,
            scene_metadata(first, source.georeference, source.shape[1:], tags=tags) if metadata else {}, native=lossless,
        )  # fmt: skip
        self._headers: dict[float, Header] = {}
        self._coded: dict[tuple[float, float], list[tuple[bytes, int]]] = {}
        #: Factor on the weight of a bit against errors.
        self.weight = 1.0
        self._scores: dict[str, dict[float, float]] = {"bpp": {}, "psnr": {}}

    def header(self, quality: float) -> Header:
        """Header of the file at a quality."""
        header = self._plain_header(quality)
        if not self.radiometric:
            return header
        decoded = self._decoded(quality)
        curves = fit_curves((piece.x, x_hat, piece.coded(piece.window), where) for piece, x_hat, where in decoded)
        return replace(header, radiometry=curves)

    def _plain_header(self, quality: float) -> Header:
        """The same with room for the curves that correct mean intensity."""
        if quality not in self._headers:
            # From whole pieces, so that it does not depend on the size of tiles.
            pairs = [(piece.latent(piece.window), piece.active(piece.window)) for piece in self.pieces]
            room = bytes(CURVE_SIZE * self._header.shape[0]) if self.radiometric else b""
            side = self.model.fit_side(pairs, quality)
            self._headers[quality] = replace(self._header, quality=quality, side=side, radiometry=room)
        return self._headers[quality]

    def _side(self, quality: float) -> Any:
        return self.model.parse_side(self._plain_header(quality).side, self._header.shape[0])

    def _quantized(self, y: np.ndarray, active: np.ndarray, quality: float, side: Any) -> QuantizedTile:
        model = self.model if self.weight == 1 else self.model.with_weight(self.weight)
        return model.quantize(y, active, quality, side)

    def _tile(self, piece: Piece, window: Window, quality: float, side: Any) -> tuple[bytes, int]:
        """Payload of a tile, and the checksum of its latent."""
        quantized = self._quantized(piece.latent(window), piece.active(window), quality, side)
        masks = piece.mask(window), piece.flat(window), piece.sides(window)
        borders = window.borders(self.tiling.extent)
        return encode_tile(self.model, quantized, *masks, borders, quality, side, piece.nan(window))

    def tiles(self, quality: float) -> list[tuple[bytes, int]]:
        """The parts, coded."""
        if (quality, self.weight) not in self._coded:
            side = self._side(quality)
            coded = [self._tile(piece, window, quality, side) for piece, window in self.parts]
            self._coded[quality, self.weight] = coded
        return self._coded[quality, self.weight]

    def bytes(self, quality: float) -> float:
        """Size of the file: an estimate for a large scene."""
        file, header = io.BytesIO(), self._plain_header(quality)
        if self.whole:
            self._write(file, header)
            return file.tell()
        coded = sum(len(payload) for payload, _ in self.tiles(quality))
        return StreamWriter(file, header).overhead + self.share * coded

    def psnr(self, quality: float) -> float:
        """PSNR in dB of normalized samples, over the valid samples of the pieces; the peak is a normalized unit."""
        squares = count = 0.0
        for piece, x_hat, where in self._decoded(quality):
            coded = piece.coded(piece.window)
            errors = piece.x[coded] - x_hat[where][coded]
            squares += float(np.square(errors, dtype=np.float64).sum())
            count += int(piece.mask(piece.window).sum())
        return float("inf") if squares == 0 else -10 * math.log10(squares / max(count, 1))

    def _decoded(self, quality: float) -> Iterator[tuple[Piece, np.ndarray, Any]]:
        """Pieces, their decoded samples with the margin, and the place of the piece in them."""
        side = self._side(quality)
        for piece in self.pieces:
            latent = self._quantized(piece.y, piece.active(piece.wide), quality, side).latent
            x_hat = self.model.synthesize(latent, quality, side, piece.wide.borders(self.tiling.extent))
            yield piece, x_hat[:, : piece.wide[2], : piece.wide[3]], piece.window.inside(piece.wide)

    def find_quality(self, goal: Goal) -> float:
        """Find the quality, a multiple of 1/256, at which the estimates meet `goal`. Raises a `CodecError` with the limit."""
        low, high, name = self.model.lowest, self.model.highest, self.model.name
        if goal.kind == "quality":
            if not low <= goal.value <= high:
                raise CodecError(f"quality {goal.value:g} is outside [{low:g}, {high:g}] of model '{name}'")
            return round(goal.value * QUALITY_UNIT) / QUALITY_UNIT
        if not self.coded:
            return (low + high) / 2  # nothing to code: every quality gives the same file
        if goal.kind not in self._scores:
            raise CodecError(f"learned codecs meet a quality, a rate or a PSNR, not {goal.text()}")
        grid = next((codec.grid for codec in BUILT_IN.values() if codec.model == name), BUILT_IN["lapped"].grid)
        if goal.kind == "bpp":
            wanted, start = math.log2(goal.value), float(np.interp(goal.value, RATES, range(1, len(RATES) + 1)))
            score = lambda quality: math.log2(8 * self.bytes(quality) / self.samples)  # noqa: E731
        else:
            wanted, start, score = goal.value, float(np.interp(goal.value, grid, range(1, len(grid) + 1))), self.psnr
        try:
            return solve(
                score, wanted, [low, *grid, high], tolerance=TOLERANCE[goal.kind], slope=SLOPES[goal.kind], start=start,
                step=1 / QUALITY_UNIT, scores=self._scores[goal.kind],
            )  # fmt: skip
        except OutOfReach as end:
            reached = goal.text(2**end.score if goal.kind == "bpp" else end.score)
            raise CodecError(
                f"{goal.text()} cannot be reached on this scene: the scale ends at quality {end.quality:g} with {reached}"
            ) from None

    def write(self, file: BinaryIO, goal: Goal) -> Header:
        """Write the container that meets `goal` to a seekable binary file, and return its header."""
        start, aim = file.tell(), goal
        for _ in range(MOST_TRIES):
            self.weight = 1.0
            quality = self.find_quality(aim)
            if goal.kind == "bpp" and self.coded:
                self._tune(quality, aim.value)
            file.seek(start)
            file.truncate()
            header = self.header(quality)
            self._write(file, header)
            size, wanted = file.tell() - start, goal.value * self.samples / 8
            if goal.kind != "bpp" or self.whole or not self.coded or abs(size / wanted - 1) <= RATE_TOLERANCE:
                break
            # An estimate is off by a factor that hardly depends on quality.
            aim = Goal("bpp", goal.value * self.bytes(quality) / size)
        return header

    def _tune(self, quality: float, bpp: float) -> None:
        """Tune the weight of a bit if no quality meets a rate: in a flat spectrum, classes of all channels change at once."""
        wanted = bpp * self.samples / 8
        if abs(self.bytes(quality) / wanted - 1) <= RATE_TOLERANCE / 2:
            return

        def score(octaves: float) -> float:
            self.weight = 2.0**-octaves
            return math.log2(self.bytes(quality))

        try:
            octaves = solve(
                score, math.log2(wanted), (-2, 2), tolerance=TOLERANCE["bpp"] / 2, slope=0.5, resolution=0.01
            )
        except OutOfReach as end:
            octaves = end.quality
        self.weight = 2.0**-octaves

    def _write(self, file: BinaryIO, header: Header) -> None:
        with StreamWriter(file, header) as writer, self.workers as workers:
            side = self.model.parse_side(header.side, header.shape[0])

            def code(run: Sequence[Window]) -> list[tuple[bytes, int]]:
                piece = self._analyze(run[0]._replace(width=sum(window.width for window in run)))
                return [self._tile(piece, window, header.quality, side) for window in run]

            for run in [self.tiles(header.quality)] if self.whole else workers.map(code, self.tiling.runs()):
                for payload, check in run:
                    writer.append(payload, check)


def _check_whole(first: Scene, windows: Sequence[Scene]) -> None:
    """Refuse scenes that cannot be coded without loss."""
    if not first.integer or first.quantity == "complex":
        raise CodecError(
            f"lossless coding takes whole numbers, and the samples are {first.quantity} of type {first.dtype}; bound the "
            "error instead with --max-error-db"
        )
    largest = max(float(np.abs(window.data[window.valid]).max(initial=0)) for window in windows)
    if largest >= 1 << 24:
        raise CodecError(f"lossless coding takes whole numbers below 2^24, and the scene has {largest:.0f}")
