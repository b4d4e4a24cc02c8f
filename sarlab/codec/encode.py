"""Encode a scene in bounded memory: sample it, choose the quality, then code run after run of tiles.

A scene of up to `SMALL` samples is analyzed once and as a whole, and the search for a quality codes all of it. A larger
scene is represented by windows of a fixed size, and analyzed piece by piece while it is written.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from sarlab.codec.container import QUALITY_UNIT, Header, StreamWriter, scene_metadata
from sarlab.codec.goals import Goal, OutOfReach, solve
from sarlab.codec.levels import fit_levels, native_levels
from sarlab.codec.model_store import BUILT_IN, RATES, load_model
from sarlab.codec.pieces import Piece, PieceJob, Source, analyze, make_job, sample_windows
from sarlab.codec.radiometry import CURVE_SIZE, fit_curves
from sarlab.codec.tile_model import QuantizedTile, TileModel
from sarlab.codec.tiles import Tiling, Window, borders_of, encode_tile, inside, mask_size
from sarlab.codec.workers import Workers
from sarlab.errors import CodecError
from sarlab.scenes.scene import Scene

DEFAULT_TILE = 512
#: Largest scene, in samples of all bands, that is analyzed as a whole.
SMALL = 1 << 22
#: Tolerances of the estimates: octaves of rate, dB of PSNR.
TOLERANCE = {"bpp": 0.008, "psnr": 0.02}
#: A file whose rate is off by more than this share is made again, up to this number of times in all.
RATE_TOLERANCE, MOST_TRIES = 0.012, 4
#: Mean number of bytes that end the code of a tile.
_TAIL = 1.0


class RunOrder(NamedTuple):
    """Neighboring tiles within one piece, for a worker to code."""

    job: PieceJob
    windows: list[Window]
    quality: float
    side: bytes


def code_run(order: RunOrder) -> list[tuple[bytes, int]]:
    """Code the tiles of a run: payload and latent checksum of each."""
    piece = analyze(order.job)
    model = load_model(order.job.model).for_scene(*piece.extent)
    side = model.parse_side(order.side, len(order.job.levels.bands))
    coded = []
    for window in order.windows:
        quantized = model.quantize(piece.latent(window), piece.active(window), order.quality, side)
        coded.append(_code_tile(model, piece, window, quantized, order.quality, side))
    return coded


def _code_tile(
    model: TileModel, piece: Piece, window: Window, quantized: QuantizedTile, quality: float, side: object
) -> tuple[bytes, int]:
    valid, flat = piece.mask(window), piece.flat(window)
    borders = borders_of(window, *piece.extent)
    return encode_tile(model, quantized, valid, flat, piece.sides(window), borders, quality, side)


class SceneSample:
    """Analyzed pieces that represent a scene.

    Parameters
    ----------
    model : TileModel
    pieces : sequence of Piece
    parts : sequence of (Piece, window)
        Parts that are coded on their own: the tiles of a piece that is the whole scene, or the sample windows.
    samples, count : int
        Samples of the scene, all bands; its tiles.
    overhead : int
        Bytes of a file before its payloads, without the side information of the model.
    """

    def __init__(
        self,
        model: TileModel,
        pieces: Sequence[Piece],
        parts: Sequence[tuple[Piece, Window]],
        samples: int,
        overhead: int,
        count: int,
    ):
        self.model, self.pieces, self.parts, self.overhead, self.count = model, pieces, parts, overhead, count
        self._latents = [(piece.latent(window), piece.active(window)) for piece, window in parts]
        self.samples, self.share = samples, samples / sum(piece.x.size for piece in pieces)
        self.coded = any(piece.coded(piece.window).any() for piece in pieces)
        self._mask_bytes = sum(mask_size(piece.mask(window), piece.flat(window)) for piece, window in parts)
        self._sides: dict[float, bytes] = {}
        self._last: tuple[float, list[QuantizedTile]] | None = None

    def side(self, quality: float) -> bytes:
        """Side information of the model for the whole file."""
        if quality not in self._sides:
            # From whole pieces, so that it does not depend on the size of tiles.
            pairs = [(piece.latent(piece.window), piece.active(piece.window)) for piece in self.pieces]
            self._sides[quality] = self.model.fit_side(pairs, quality)
        return self._sides[quality]

    def parsed_side(self, quality: float) -> object:
        """The same, parsed."""
        return self.model.parse_side(self.side(quality), len(self.pieces[0].x))

    def radiometry(self, quality: float) -> bytes:
        """Curves that make the sums of intensity of decoded samples right; see `sarlab.codec.radiometry`."""
        pairs = [(piece.x, x_hat, piece.coded(piece.window), where) for piece, x_hat, where in self._decoded(quality)]
        return fit_curves(pairs)

    def tiles(self, quality: float) -> Iterator[tuple[Piece, Window, QuantizedTile]]:
        """Yield the parts, quantized; one after the other if those of this quality are not kept."""
        kept = self._last[1] if self._last is not None and self._last[0] == quality else None
        side = self.parsed_side(quality)
        for number, ((piece, window), (y, active)) in enumerate(zip(self.parts, self._latents, strict=True)):
            yield piece, window, kept[number] if kept else self.model.quantize(y, active, quality, side)

    def bytes(self, quality: float) -> float:
        """Estimate the size of the file."""
        if self._last is None or self._last[0] != quality:
            self._last = quality, [quantized for _, _, quantized in self.tiles(quality)]
        bits = sum(quantized.bits for quantized in self._last[1])
        fixed = self.overhead + len(self.side(quality)) + self.count * _TAIL
        return fixed + self.share * (bits / 8 + self._mask_bytes)

    def psnr(self, quality: float) -> float:
        """PSNR in dB of normalized samples, over the valid samples of the pieces; the peak is a normalized unit."""
        squares = count = 0.0
        for piece, x_hat, where in self._decoded(quality):
            coded = piece.coded(piece.window)
            errors = piece.x[coded] - x_hat[(slice(None), *where)][coded]
            squares += float(np.square(errors, dtype=np.float64).sum())
            count += int(piece.mask(piece.window).sum())
        return float("inf") if squares == 0 else -10 * math.log10(squares / max(count, 1))

    def _decoded(self, quality: float) -> Iterator[tuple[Piece, np.ndarray, tuple[slice, slice]]]:
        """Pieces, their decoded samples with the margin, and the place of the piece in them."""
        side = self.parsed_side(quality)
        for piece in self.pieces:
            latent = self.model.quantize(piece.y, piece.active(piece.wide), quality, side).latent
            x_hat = self.model.synthesize(latent, quality, side, borders_of(piece.wide, *piece.extent))
            yield piece, x_hat[:, : piece.wide[2], : piece.wide[3]], inside(piece.window, piece.wide)


def find_quality(model: TileModel, sample: SceneSample, goal: Goal, near: float | None = None) -> float:
    """Find the quality, a multiple of 1/256, at which the estimates meet `goal`; the search begins at `near`.

    Raises
    ------
    CodecError
        Out of reach; the message states the limit.
    """
    low, high = model.lowest, model.highest
    if goal.kind == "quality":
        if not low <= goal.value <= high:
            raise CodecError(f"quality {goal.value:g} is outside [{low:g}, {high:g}] of model '{model.name}'")
        return _stored(goal.value)
    if not sample.coded:
        return (low + high) / 2  # nothing to code: every quality gives the same file
    # A rate is searched along the rates that the codec has on Sentinel-1, on which those of other scenes are nearly linear.
    qualities, scale = np.array([low, high]), np.array([low, high])
    wanted, slope, score = goal.value, 0.8, sample.psnr
    if goal.kind == "bpp":
        qualities, scale = _typical_rates(model)
        wanted, slope = math.log2(goal.value), 1.0
        score = lambda quality: math.log2(8 * sample.bytes(quality) / sample.samples)  # noqa: E731
    elif goal.kind != "psnr":
        raise CodecError(f"learned codecs meet a quality, a rate or a PSNR, not {goal.text()}")

    def quality_at(place: float) -> float:
        return _stored(float(np.interp(place, scale, qualities)))

    start = wanted if near is None else float(np.interp(near, qualities, scale))
    try:
        place = solve(
            lambda place: score(quality_at(place)), wanted, (float(scale[0]), float(scale[-1])),
            tolerance=TOLERANCE[goal.kind], resolution=TOLERANCE[goal.kind], guess=(start, slope),
        )  # fmt: skip
        return quality_at(place)
    except OutOfReach as end:
        reached = goal.text(2**end.score if goal.kind == "bpp" else end.score)
        raise CodecError(
            f"{goal.text()} cannot be reached on this scene: the scale ends at quality {quality_at(end.quality):g} "
            f"with {reached}"
        ) from None


def _stored(quality: float) -> float:
    return round(quality * QUALITY_UNIT) / QUALITY_UNIT


def _typical_rates(model: TileModel) -> tuple[np.ndarray, np.ndarray]:
    """Qualities and log2 of bits per pixel on Sentinel-1: those of the model's codec, or of any."""
    codecs = {codec.model: codec for codec in BUILT_IN.values()}
    grid = codecs.get(model.name, BUILT_IN["factorized"]).grid
    highest = RATES[-1] + (model.highest - grid[-1]) / 6.02
    rates = [RATES[0] / 256, *RATES, highest]
    return np.array([model.lowest, *grid, model.highest]), np.log2(rates)


def _check_whole(first: Scene, windows: Sequence[Scene]) -> None:
    """Refuse scenes that cannot be coded without loss."""
    if first.quantity == "complex" or not np.issubdtype(np.dtype(first.dtype), np.integer):
        raise CodecError(
            f"lossless coding takes whole numbers, and the samples are {first.quantity} of type {first.dtype}; bound the "
            "error instead with --max-error-db"
        )
    largest = max(float(np.abs(window.data[window.valid]).max(initial=0)) for window in windows)
    if largest >= 1 << 24:
        raise CodecError(f"lossless coding takes whole numbers below 2^24, and the scene has {largest:.0f}")


class Encoder:
    """Encode one scene with one model, given by its file; see `sarlab.codec.api.compress` for the options."""

    def __init__(
        self,
        source: Source,
        model: Path,
        *,
        tile: int = DEFAULT_TILE,
        workers: int = 1,
        metadata: bool = True,
        radiometric: bool = False,
        lossless: bool = False,
        exact: bool = False,
        effort: str = "default",
    ):
        bands, height, width = source.shape
        self.samples, self.radiometric = bands * height * width, radiometric
        small = self.samples <= SMALL
        self.workers = Workers(1 if small else workers)
        self.source, self.path, self.model = (
            source,
            model,
            load_model(model).for_scene(height, width).with_effort(effort),
        )
        self.tiling = Tiling(height, width, tile, self.model.stride)
        windows = [(0, 0, height, width)] if small else sample_windows(self.tiling)
        first = source.read((0, 0, 1, 1))
        looked = [source.read(window) for window in windows]
        if lossless:
            _check_whole(first, looked)
        self.levels = levels = native_levels(first) if lossless else fit_levels(looked, everything=small)
        # A rounding to whole numbers would add to a bounded error.
        dtype = "float32" if exact and not lossless else levels.dtype
        del looked
        margin = 0 if small else self.model.synthesis_reach
        pieces = [analyze(self._job(window, margin)) for window in windows]
        self._whole = pieces[0] if small else None
        self._header = Header(
            self.model.name, self.model.hash, 0.0, source.shape, levels.bands, levels.centers, levels.quantity,
            dtype, tile,
            native_bits=first.native_bits,
            floors=levels.stored_floors,
            flats=levels.stored_flats,
            nodata=first.nodata,
            native=lossless,
            metadata=scene_metadata(first, source.georeference) if metadata else {},
        )  # fmt: skip
        overhead = StreamWriter(io.BytesIO(), self._header).overhead
        if radiometric:
            overhead += CURVE_SIZE * bands + 1
        parts = (
            [(pieces[0], window) for window in self._windows()]
            if small
            else [(piece, piece.window) for piece in pieces]
        )
        count = self.tiling.rows * self.tiling.columns
        self.sample = SceneSample(self.model, pieces, parts, self.samples, overhead, count)

    def _job(self, window: Window, margin: int = 0) -> PieceJob:
        return make_job(self.source, self.model, self.path, self.levels, self.tiling, window, margin)

    def write(self, file: BinaryIO, goal: Goal) -> Header:
        """Write the container that meets `goal` to a seekable binary file, and return its header."""
        quality = find_quality(self.model, self.sample, goal)
        start = file.tell()
        for attempt in range(MOST_TRIES):
            curves = self.sample.radiometry(quality) if self.radiometric else b""
            header = replace(self._header, quality=quality, side=self.sample.side(quality), radiometry=curves)
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

    def _corrected(self, quality: float, wanted: float, size: int) -> float:
        """Quality after a file of `size` bytes: an estimate is off by a factor that hardly depends on quality."""
        fixed = self.sample.overhead
        factor = max(wanted - fixed, 1) / max(size - fixed, 1)
        aim = fixed + max(self.sample.bytes(quality) - fixed, 1) * factor
        try:
            return find_quality(self.model, self.sample, Goal("bpp", 8 * aim / self.samples), near=quality)
        except CodecError:
            return quality

    def _write(self, file: BinaryIO, header: Header) -> None:
        with StreamWriter(file, header) as writer:
            if self._whole is not None:
                side = self.model.parse_side(header.side, len(self.levels.bands))
                for piece, window, quantized in self.sample.tiles(header.quality):
                    writer.append(*_code_tile(self.model, piece, window, quantized, header.quality, side))
                return
            with self.workers as workers:
                for run in workers.map(code_run, self._orders(header)):
                    for payload, check in run:
                        writer.append(payload, check)

    def _windows(self) -> list[Window]:
        tiling = self.tiling
        return [tiling.window(row, column) for row in range(tiling.rows) for column in range(tiling.columns)]

    def _orders(self, header: Header) -> Iterator[RunOrder]:
        tiling = self.tiling
        for row in range(tiling.rows):
            for column, count in tiling.runs(row):
                windows = [tiling.window(row, c) for c in range(column, column + count)]
                job = self._job(tiling.window(row, column, count))
                yield RunOrder(job, windows, header.quality, header.side)
