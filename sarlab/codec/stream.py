"""The two directions of a file: encode a scene in bounded memory; decode it, a window of it, or a preview.

    source ──▶ window ──analyze──▶ latent ──▶ payload of a tile ──▶ container ──▶ latent ──synthesize──▶ strip ──▶ scene

A scene of up to `SMALL` samples is analyzed once and as a whole, and the search for a quality codes all of it. A larger
scene is represented by windows of a fixed size, and analyzed piece by piece while it is written.
"""

from __future__ import annotations

import io
import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, TypeVar

import numpy as np

from sarlab.codec.container import QUALITY_UNIT, Header, StreamReader, write_container
from sarlab.codec.entropy import Cursor, varint
from sarlab.codec.goals import SLOPES, Goal, OutOfReach, solve
from sarlab.codec.levels import CURVE_SIZE, LEVEL_WINDOW, Levels, correction, fit_curves, fit_levels, unpack_curves
from sarlab.codec.metadata import scene_fields, scene_metadata
from sarlab.codec.model_store import QUALITIES, RATES, find_model, load_model
from sarlab.codec.tiles import (
    ALL_VALID,
    CODED,
    NOT_A_NUMBER,
    Piece,
    TileModel,
    Tiling,
    Window,
    analyze,
    blocks,
    checksum,
    decode_tile,
    encode_tile,
    first_mode,
    measured,
    reduced,
)
from sarlab.errors import BitstreamError, CodecError
from sarlab.scenes.radiometry import infinite_samples
from sarlab.scenes.scene import Scene

DEFAULT_TILE = 512
#: Most samples that a file may declare, in all or per byte of its size, whichever is more; `any_size` lifts the limit.
FREE_SAMPLES, LIKELY_SAMPLES = 1 << 30, 1 << 10
#: Largest scene, in samples of all bands, that is analyzed as a whole.
SMALL = 1 << 22
#: Largest file, likewise, that is read at once; windows of larger ones are read as needed, up to three times.
AT_ONCE = 1 << 24
#: Side of the sample windows of a larger scene, and their fewest and largest number.
SAMPLE_SIDE, FEWEST_WINDOWS, MOST_WINDOWS = 192, 48, 256
#: Tolerances of the search: octaves of rate, dB of PSNR.
TOLERANCE = {"bpp": 0.008, "psnr": 0.02}
#: A file whose rate is off by more than this share is made again, up to this number of times in all.
RATE_TOLERANCE, MOST_TRIES = 0.012, 4
#: Side of the blocks of samples that a preview averages.
PREVIEW = 8
#: MiB of blocks that GDAL may cache in a process; its own default is 5 % of the machine's memory.
CACHE_MIB = 64
#: Fate of the samples that `SceneFile.census` counts.
CHANGES = {
    "below the floor": "samples below the floor were replaced by it",
    "infinite": "infinite samples become NaN",
    "beyond float32": "samples beyond float32 become its largest or smallest number",
}

J = TypeVar("J")
R = TypeVar("R")


# --- threads and sources ----------------------------------------------------------------------------------------------


def threads(workers: int) -> int:
    """Number of threads for `workers`; 0 stands for all processors that this process may use."""
    if workers < 0:
        raise CodecError(f"the number of workers must be positive (or 0 for all processors), not {workers}")
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return workers or len(usable)


def ordered(work: Callable[[J], R], jobs: Iterable[J], workers: int) -> Iterator[R]:
    """Yield results in the order of `jobs`, which are drawn as needed: at most two ahead for each thread.

    Threads share the cores well, because compiled code and NumPy do not hold the lock of the interpreter. With one worker,
    everything runs in the calling thread.
    """
    if workers == 1:
        yield from map(work, jobs)
        return
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for job in jobs:
                waiting.append(pool.submit(work, job))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


class MemorySource:
    """A scene in memory that is read in windows, in its native quantity."""

    def __init__(self, scene: Scene):
        infinite = infinite_samples(scene.data)
        self._infinite = int(infinite.sum())
        if self._infinite:
            data = np.where(infinite, np.array(np.nan, scene.data.dtype), scene.data)
            nan = None if scene.nan is None else scene.nan | infinite
            scene = scene.with_data(data, valid=scene.valid & ~infinite, nan=nan)
        self.scene, self.shape, self.georeference = scene, scene.shape, scene.georeference
        self.name = f"scene '{scene.name}'"

    def read(self, window: Window) -> Scene:
        return self.scene.window(*window)

    def changed(self) -> list[str]:
        """Say which samples do not come back as they are."""
        return [f"{self._infinite} {CHANGES['infinite']}"] if self._infinite else []

    def close(self) -> None: ...


class FileSource:
    """A scene in a file, likewise; one thread reads at a time."""

    def __init__(self, path: str | Path, quantity: str = "auto", **options: Any):
        from sarlab.scenes.readers import open_scene

        self._lock, self._limit = Lock(), nullcontext if str(path).lower().endswith(".npy") else cache_limit
        with self._limit():
            self.file = open_scene(path, quantity, allow_empty=True, **options)
        self.shape, self.georeference, self.name = self.file.shape, self.file.georeference, self.file.text
        self._scene: Scene | None = None

    def read(self, window: Window) -> Scene:
        with self._lock, self._limit():
            if math.prod(self.shape) > AT_ONCE or self._limit is nullcontext:  # a mapped array is in memory already
                return self.file.read(window)
            self._scene = self._scene or self.file.read()
        return self._scene.window(*window)

    def changed(self) -> list[str]:
        """Say which samples and nodata values of the file do not come back as they are."""
        with self._lock, self._limit():
            counts = self.file.census(seen=True)
        first, *others = self.file.nodata_values or ("",)
        nodata = [f"the nodata value {first} of a band stands for {', '.join(others)} of others, too"] if others else []
        return nodata + [f"{count} {CHANGES[kind]}" for kind, count in counts.items() if count]

    def close(self) -> None:
        self.file.close()


@contextmanager
def cache_limit() -> Iterator[None]:
    """Keep the cache of GDAL small."""
    import rasterio

    with rasterio.Env(GDAL_CACHEMAX=CACHE_MIB):
        yield


Source = MemorySource | FileSource


# --- encoding ---------------------------------------------------------------------------------------------------------


def sample_windows(tiling: Tiling) -> list[Window]:
    """Choose windows spread over a scene, always the same ones."""
    count = min(max(FEWEST_WINDOWS, math.prod(tiling.extent) >> 20), MOST_WINDOWS)
    places = []
    for length, other in (tiling.extent, tiling.extent[::-1]):
        side = min(SAMPLE_SIDE, length)
        number = max(1, min(length // side, round((count * length / other) ** 0.5)))
        # Irrational steps within each share keep the windows from aligning with a pattern of the scene.
        shares = (np.arange(number) + (0.5 + np.arange(number) * 0.6180339887) % 1) / number
        unit = tiling.stride
        places.append([(int((length - side) * share) // unit * unit, side) for share in shares])
    return [Window(row, column, height, width) for row, height in places[0] for column, width in places[1]]


class Encoder:
    """Encode one scene with one model, given by its file; see `sarlab.codec.api.compress` for the options."""

    def __init__(
        self, source: Source, model: Path, *, tile: int = DEFAULT_TILE, workers: int = 1, metadata: bool = True,
        tags: bool = True, radiometric: bool = False, lossless: bool = False, bound: float = 0.0, rate: float = math.inf,
        effort: str = "default",
    ):  # fmt: skip
        bands, height, width = source.shape
        self.samples, self.radiometric, self.effort = bands * height * width, radiometric, effort
        self.whole, self.workers = self.samples <= SMALL, threads(workers)
        self.model = load_model(model).for_scene(height, width).with_effort(effort)
        self.tiling = tiling = Tiling(height, width, tile, self.model.stride)
        windows = [tiling.checked()] if self.whole else sample_windows(tiling)
        first = source.read(Window(0, 0, 1, 1))
        looked = [source.read(window) for window in windows]
        self.levels = levels = Levels.of_integers(first) if lossless else fit_levels(looked, self.whole, rate)
        if lossless:
            _check_whole(first, looked, levels if metadata else replace(levels, packing=None))
        del looked
        self._analyze = partial(analyze, source.read, levels.normalized, self.model, tiling)
        #: Analyzed pieces that represent the scene, and the parts of them that are coded on their own.
        self.pieces = [self._analyze(window, 0 if self.whole else self.model.synthesis_reach) for window in windows]
        self.parts: list[tuple[Piece, Window]] = [(piece, piece.window) for piece in self.pieces]
        if self.whole:
            self.parts = [(self.pieces[0], window) for window in tiling.tiles()]
        self.share = self.samples / sum(piece.x.size for piece in self.pieces)
        self.coded = any((piece.kinds(piece.window) == CODED).any() for piece in self.pieces)
        self._header = Header(
            self.model.name, self.model.hash[:4], 0.0, source.shape, levels.bands, levels.centers, levels.quantity,
            # A rounding to whole numbers, or to float16, would add to a bounded error.
            "float32" if bound and levels.dtype != "float64" else levels.dtype,
            tile, first.native_bits, levels.floors, levels.flats, first.nodata,
            scene_metadata(first, source.georeference, source.shape[1:], tags=tags) if metadata else {}, native=lossless,
        )  # fmt: skip
        self._headers: dict[float, Header] = {}
        self._sides: dict[float, Any] = {}
        self._coded: dict[tuple[float, float], list[tuple[bytes, int]]] = {}
        #: Factor on the weight of a bit against errors.
        self.weight = 1.0
        self._scores: dict[str, dict[float, float]] = {"bpp": {}, "psnr": {}}

    def header(self, quality: float) -> Header:
        """Header of the file at a quality, with room for the curves that correct mean intensity."""
        if quality not in self._headers:
            # From whole pieces, so that it does not depend on the size of tiles.
            pairs = [(piece.latent(piece.window), piece.active(piece.window)) for piece in self.pieces]
            room = bytes(CURVE_SIZE * self._header.shape[0]) if self.radiometric else b""
            side = self.model.fit_side(pairs, quality)
            self._headers[quality] = replace(self._header, quality=quality, side=side, radiometry=room)
            self._sides[quality] = self.model.parse_side(side, self._header.shape[0])
        return self._headers[quality]

    def _costed(self, quality: float) -> tuple[TileModel, Any]:
        """The model at the present weight of a bit, and the side information."""
        self.header(quality)
        model = self.model if self.weight == 1 else self.model.with_effort(self.effort, self.weight)
        return model, self._sides[quality]

    def _tile(self, piece: Piece, window: Window, quality: float) -> tuple[bytes, int]:
        """Payload of a tile, and the checksum of its latent."""
        (model, side), borders = self._costed(quality), window.borders(self.tiling.extent)
        parts = piece.latent(window), piece.kinds(window), piece.sides(window)
        return encode_tile(model, *parts, borders, quality, side)

    def tiles(self, quality: float) -> list[tuple[bytes, int]]:
        """The parts, coded."""
        if (quality, self.weight) not in self._coded:
            self._coded[quality, self.weight] = [self._tile(*part, quality) for part in self.parts]
        return self._coded[quality, self.weight]

    def bytes(self, quality: float) -> float:
        """Size of the file: an estimate for a large scene."""
        file, header = io.BytesIO(), self.header(quality)
        if self.whole:
            self._write(file, header)
            return file.tell()
        return header.overhead + self.share * sum(len(payload) for payload, _ in self.tiles(quality))

    def psnr(self, quality: float) -> float:
        """PSNR in dB of normalized samples, over the valid samples of the pieces; the peak is a normalized unit."""
        squares, count = 0.0, 0
        for x, x_hat, kinds, where in self._decoded(quality):
            coded = kinds == CODED
            squares += float(np.square(x[coded] - x_hat[where][coded], dtype=np.float64).sum())
            count += int(measured(kinds).sum())
        return float("inf") if squares == 0 else -10 * math.log10(squares / max(count, 1))

    def _decoded(self, quality: float) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, Any]]:
        """Of each piece: samples, decoded samples with a margin, kinds, and the place of the samples in the decoded ones."""
        model, side = self._costed(quality)
        for piece in self.pieces:
            latent, _ = model.quantize(piece.y, piece.active(piece.wide), quality, side)
            x_hat = model.synthesize(latent, quality, side, piece.wide.borders(self.tiling.extent))
            x_hat = x_hat[:, : piece.wide.height, : piece.wide.width]
            yield piece.x, x_hat, piece.kinds(piece.window), piece.window.inside(piece.wide)

    def find_quality(self, goal: Goal) -> float:
        """Find the quality, a multiple of 1/256, at which the estimates meet `goal`. Raises a `CodecError` with the limit."""
        low, high, name = self.model.lowest, self.model.highest, self.model.name
        if goal.kind == "quality":
            if not low <= goal.value <= high:
                raise CodecError(f"quality {goal.value:g} is outside [{low:g}, {high:g}] of model '{name}'")
            return round(goal.value * QUALITY_UNIT) / QUALITY_UNIT
        if not self.coded:
            return (low + high) / 2  # nothing to code: every quality gives the same file
        wanted, score, known = goal.value, self.psnr, QUALITIES
        if goal.kind == "bpp":
            wanted, known = math.log2(goal.value), RATES
            score = lambda quality: math.log2(8 * self.bytes(quality) / self.samples)  # noqa: E731
        try:
            return solve(
                score, wanted, [low, *QUALITIES, high], tolerance=TOLERANCE[goal.kind], slope=SLOPES[goal.kind],
                start=float(np.interp(goal.value, known, range(1, len(QUALITIES) + 1))), step=1 / QUALITY_UNIT,
                scores=self._scores[goal.kind],
            )  # fmt: skip
        except OutOfReach as end:
            reached = goal.text(2**end.score if goal.kind == "bpp" else end.score)
            last = f"quality {end.quality:g}, the last one, gives {reached}"
            raise CodecError(f"{goal.text()} cannot be reached on this scene: {last}") from None

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
            if self.radiometric:
                sample = ((x, x_hat, kinds == CODED, where) for x, x_hat, kinds, where in self._decoded(quality))
                header = replace(header, radiometry=fit_curves(sample))
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
        def code(window: Window) -> tuple[bytes, int]:
            return self._tile(self._analyze(window), window, header.quality)

        every = self.tiles(header.quality) if self.whole else ordered(code, self.tiling.tiles(), self.workers)
        write_container(file, header, every)


def _check_whole(first: Scene, windows: Sequence[Scene], levels: Levels) -> None:
    """Refuse scenes that cannot be coded without loss: their samples, or with scale and offset the integers of the file."""
    scaled = bool(levels.packing) and first.dtype.startswith(("int", "uint"))
    if not (first.integer or scaled) or first.quantity == "complex":
        raise CodecError(
            f"lossless coding takes whole numbers, and the samples are {first.quantity} of type {first.dtype}; bound the "
            "error instead with --max-error-db"
        )
    bits = 22 if scaled else 24  # scaled samples are float32, whose rounding must stay below half a number
    largest = max(float(np.abs(levels.normalized(window)[0]).max()) for window in windows)
    if largest >= 1 << bits:
        raise CodecError(f"lossless coding takes whole numbers below 2^{bits}, and the scene has {largest:.0f}")


# --- decoding ---------------------------------------------------------------------------------------------------------


class Decoder:
    """Decode one container; see `sarlab.codec.api.decompress` for the options."""

    def __init__(
        self, reader: StreamReader, *, workers: int = 1, model: str | Path | None = None, radiometric: bool = False,
        preview: int = 1, any_size: bool = False,
    ):  # fmt: skip
        self.reader, self.header, self._workers, self._any_size = reader, reader.header, threads(workers), any_size
        header, self.scale = self.header, preview
        self._curves = unpack_curves(header.radiometry, header.shape[0]) if radiometric else ()
        if preview not in (1, PREVIEW) or (preview != 1 and radiometric):
            raise CodecError(
                f"a preview has one sample in {PREVIEW}×{PREVIEW} (--preview {PREVIEW}), and no --radiometric"
            )
        if radiometric and not self._curves:
            raise CodecError(f"{reader.name} was compressed without --radiometric; decompress it without, too")
        self.model = find_model(header.model, header.model_hash, model).for_scene(*header.shape[1:])
        if preview != 1 and not self.model.low:
            raise CodecError(f"{reader.name}: files of model '{header.model}' have no preview; leave out --preview")
        if not self.model.lowest <= header.quality <= self.model.highest:
            raise BitstreamError(
                f"{reader.name}: the header is damaged: model '{header.model}' has no quality {header.quality:g}"
            )
        self.side = self.model.parse_side(header.side, header.shape[0])
        self.fields = scene_fields(header.metadata, header.shape)
        self.levels = Levels.of_header(header, self.fields["profile"])
        self.tiling = Tiling(header.shape[1], header.shape[2], header.tile, self.model.stride)
        self._reach = self.model.synthesis_reach
        # Larger blocks reach far enough for the mean around a sample.
        if self._curves and self.model.stride < LEVEL_WINDOW:
            self._reach += blocks(LEVEL_WINDOW // 2, self.model.stride)

    def window(self, window: Sequence[int] | None = None) -> Window:
        """Check a window, by default the whole scene, before any memory is taken for it."""
        if window and self.scale != 1:
            raise CodecError("a preview is of the whole scene; decompress without --window")
        window = self.tiling.checked(window)
        samples = self.header.shape[0] * window.height * window.width
        if samples > max(FREE_SAMPLES, LIKELY_SAMPLES * self.reader.size) and not self._any_size:
            raise BitstreamError(
                f"{self.reader.name}: {self.reader.size} bytes declare {samples} samples, as a file does that is made to exhaust "
                "a machine; decode a window, or allow it with any_size (--any-size)"
            )
        return window

    def strips(self, window: Window) -> Iterator[tuple[Window, np.ndarray, np.ndarray]]:
        """Decode a window in pieces: their windows at this scale, native samples (NaN where invalid), and their kinds."""
        return ordered(self._synthesized, self._parts(window), self._workers)

    def _parts(self, window: Window) -> Iterator[tuple[Window, Window, np.ndarray, np.ndarray]]:
        """Parts of a window, one per tile, as soon as the tiles that they depend on are decoded.

        Yields the part, the window that its latent covers, the latent in its smallest integer type, and the kinds of samples.
        """
        tiling, reach, stride = self.tiling, self._reach, self.model.stride
        places = list(product(*tiling.tiles_of(window, reach)))
        read = self.reader.payload if self.scale == 1 else self._low_part
        payloads = ((place, read(place[0] * tiling.columns + place[1])) for place in places)
        decoded = zip(places, ordered(lambda job: self._tile(*job), payloads, self._workers), strict=True)
        tiles: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}
        for row, column in product(*tiling.tiles_of(window)):
            core = tiling.window(row, column).overlap(window)
            wide = core.blocks(stride).grown(reach, tiling.latent_shape)
            needed = list(product(*tiling.tiles_of(core, reach)))
            for place in [place for place in tiles if place[0] < needed[0][0]]:
                del tiles[place]
            while not tiles.keys() >= set(needed):
                tiles.update([next(decoded)])
            found = [tiles[place] for place in needed]
            latent = np.zeros((*found[0][0].shape[:2], *wide[2:]), np.result_type(*(own for own, _ in found)))
            kinds = np.empty((self.header.shape[0], *core[2:]), np.uint8)
            for place, (own, own_kinds) in zip(needed, found, strict=True):
                covered = tiling.window(*place)
                _paste(latent, wide, own, covered.blocks(stride))
                _paste(kinds, core, own_kinds, covered)
            yield core, Window(*(stride * length for length in wide)), latent, kinds

    def _tile(self, place: tuple[int, int], payload: bytes) -> tuple[np.ndarray, np.ndarray]:
        """Decode the tile at (row, column): its latent in the smallest integer type, and the kinds of its samples.

        The checksum covers the whole latent, so that of a preview is not verified.
        """
        header, number, window = self.header, place[0] * self.tiling.columns + place[1], self.tiling.window(*place)
        try:
            latent, kinds = decode_tile(
                self.model, payload, (header.shape[0], *window[2:]), window.borders(self.tiling.extent), header.quality,
                self.side, low=self.scale != 1,
            )  # fmt: skip
            if self.scale == 1 and checksum(latent) != self.reader.check(number):
                raise BitstreamError("the decoded latent is not the one that was coded: its checksum is wrong")
        except BitstreamError as error:
            where = f"tile {number} (row {place[0]}, column {place[1]})"
            raise BitstreamError(f"{self.reader.name}: {where}: {error}") from None
        largest = max(int(latent.max(initial=0)), -int(latent.min(initial=0)))
        return latent.astype(np.int8 if largest < 128 else np.int16 if largest < 1 << 15 else np.int32), kinds

    def _synthesized(
        self, part: tuple[Window, Window, np.ndarray, np.ndarray]
    ) -> tuple[Window, np.ndarray, np.ndarray]:
        """Synthesize native samples of a window, NaN where missing; returns their kinds too."""
        core, wide, latent, kinds = part
        x = np.zeros(kinds.shape, np.float32)
        if (kinds == CODED).any():
            x_hat = self.model.synthesize(latent, self.header.quality, self.side, wide.borders(self.tiling.extent))
            # Blocks at the far borders may extend beyond the scene.
            x_hat = x_hat[:, : self.header.shape[1] - wide.row, : self.header.shape[2] - wide.column]
            if self._curves:
                x_hat = x_hat + correction(x_hat, self._curves)
            x = x_hat[core.inside(wide)]
        if self.scale != 1:
            x, kinds = reduced(x, kinds, self.scale)
        return core.blocks(self.scale), self.levels.restored(x, kinds), kinds

    @property
    def may_be_invalid(self) -> bool:
        """Some tile has missing samples; reads the beginning of every payload."""
        reader = self.reader
        return any(first_mode(reader.payload_start(tile, 1)) != ALL_VALID for tile in range(len(reader.lengths)))

    def scene(self, window: Sequence[int] | None = None) -> Scene:
        """Decode the scene, or a window of it."""
        window = self.window(window)
        whole = window.blocks(self.scale)
        data = np.empty((self.header.shape[0], *whole[2:]), np.float32)
        nan = np.empty(data.shape, bool)
        for place, part, kinds in self.strips(window):
            data[place.inside(whole)] = part
            nan[place.inside(whole)] = kinds == NOT_A_NUMBER
        return self.like(window).with_data(data, valid=None, nan=nan)

    def like(self, window: Window) -> Scene:
        """Make a scene of one sample with the metadata of a window."""
        header, reference = self.header, self.fields["georeference"]
        moved = reference.shifted(window.row, window.column, self.scale) if reference else None
        return Scene(
            np.full((header.shape[0], 1, 1), np.nan, np.float32), header.quantity, header.bands,
            native_bits=header.native_bits, nodata=header.nodata, dtype=header.dtype,
            **self.fields | {"georeference": moved},
        )  # fmt: skip

    def _low_part(self, tile: int) -> bytes:
        """The beginning of a payload: masks, and the streams of the low part, each after its length."""
        bands, data, end = self.header.shape[0], self.reader.payload_start(tile, 64), 1
        masks = (0, 1, bands, 0)[first_mode(data)] + bands * ((data[0] >> 2 & 1) + (data[0] >> 7))
        for _ in range(masks + bands):
            data = self.reader.payload_start(tile, end + 5) if end + 5 > len(data) else data
            size = Cursor(data[end : end + 5].ljust(5, b"\0")).varint()
            end += len(varint(size)) + size
        return self.reader.payload_start(tile, end) if end > len(data) else data


def _paste(target: np.ndarray, target_window: Window, part: np.ndarray, window: Window) -> None:
    """Copy the overlap of two windows; the last two axes are rows and columns."""
    shared = target_window.overlap(window)
    if shared.height > 0 and shared.width > 0:
        target[shared.inside(target_window)] = part[shared.inside(window)]
