"""The quality that meets a goal: a rate or a PSNR, found on analyzed pieces of a scene."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sarlab.codec.analysis import Piece
from sarlab.codec.header import QUALITY_UNIT
from sarlab.codec.learned import TileModel
from sarlab.codec.mask import encode_masks
from sarlab.codec.rangecoder import RangeEncoder
from sarlab.codec.tiling import Window, inside
from sarlab.errors import CodecError

KINDS = ("quality", "bpp", "psnr")
#: Bytes that ending a tile's code costs, on average.
_TAIL = 1.0


@dataclass(frozen=True)
class Goal:
    """What a file shall have.

    Parameters
    ----------
    kind : {"quality", "bpp", "psnr"}
        The codec's own scale; bit of the whole file per pixel and band; PSNR of dB in the clip range of the
        normalizers, in dB.
    value : float
    """

    kind: str
    value: float

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise CodecError(f"unknown goal '{self.kind}'; use one of {', '.join(KINDS)}")
        if not math.isfinite(self.value) or (self.kind == "bpp" and self.value <= 0):
            raise CodecError(
                f"{self.kind} must be a number{' above zero' if self.kind == 'bpp' else ''}, not {self.value}"
            )


class Sample:
    """Analyzed pieces that stand for a scene.

    Parameters
    ----------
    model : TileModel
    pieces : sequence of Piece
    parts : sequence of (Piece, window)
        What is coded by itself: the tiles of a piece that is all of the scene, or the windows of a sample.
    samples : int
        Samples of the whole scene, all bands.
    overhead : int
        Bytes of a file before its payloads, without the model's side information.
    tiles : int
        Tiles of the whole scene.
    """

    def __init__(
        self, model: TileModel, pieces: Sequence[Piece], parts: Sequence[tuple[Piece, Window]], samples: int, overhead: int, tiles: int
    ):  # fmt: skip
        self.model, self.pieces, self.overhead, self.tiles = model, pieces, overhead, tiles
        self._parts = [(piece.latent(window), piece.active(window)) for piece, window in parts]
        looked = sum(piece.x.size for piece in pieces)
        self.share = samples / looked
        self.valid = any(piece.mask(piece.window).any() for piece in pieces)
        self.coded = any(piece.coded(piece.window).any() for piece in pieces)
        self._mask_bytes = sum(_mask_bytes(piece, window) for piece, window in parts) if self.valid else 0
        self._sides: dict[float, bytes] = {}

    def side(self, quality: float) -> bytes:
        """The model's side information for the whole file."""
        if quality not in self._sides:
            # Of whole pieces, so that it does not depend on the size of tiles.
            pairs = [(piece.latent(piece.window), piece.active(piece.window)) for piece in self.pieces]
            self._sides[quality] = self.model.fit_side(pairs, quality)
        return self._sides[quality]

    def radiometry(self, quality: float, widths: np.ndarray) -> bytes:
        """Side information that makes the correction of means exact; see `TileModel.fit_radiometry`."""
        sample = []
        for piece in self.pieces:
            latent = self.model.quantize(piece.y, active_around(piece), quality, None).latent
            sample.append((latent, piece.x, piece.coded(piece.window), inside(piece.window, piece.wide)))
        return self.model.fit_radiometry(sample, widths, quality)

    def bytes(self, quality: float) -> float:
        """Estimated size of the file."""
        side = self.side(quality)
        known = self.model.parse_side(side, len(self.pieces[0].x))
        bits = sum(self.model.quantize(y, active, quality, known).bits for y, active in self._parts)
        return self.overhead + len(side) + self.tiles * _TAIL + self.share * (bits / 8 + self._mask_bytes)

    def psnr(self, quality: float) -> float:
        """PSNR of normalized samples clipped to [0, 1], in dB, over all valid samples of the pieces."""
        known = self.model.parse_side(self.side(quality), len(self.pieces[0].x))
        squares = count = 0.0
        for piece in self.pieces:
            active = active_around(piece)
            latent = self.model.quantize(piece.y, active, quality, known).latent
            x_hat = self.model.synthesize(latent, quality)[(slice(None), *inside(piece.window, piece.wide))]
            coded = piece.coded(piece.window)
            errors = np.clip(piece.x, 0, 1)[coded] - np.clip(x_hat, 0, 1)[coded]
            squares += float(np.square(errors, dtype=np.float64).sum())
            count += int(piece.mask(piece.window).sum())
        return float("inf") if squares == 0 else -10 * math.log10(squares / max(count, 1))


def active_around(piece: Piece) -> np.ndarray:
    """Active columns of a piece with its margin."""
    return piece.active(piece.wide)


def find_quality(model: TileModel, sample: Sample, goal: Goal) -> float:
    """Quality that meets `goal` by the sample's estimate, a multiple of 1/256.

    Raises
    ------
    CodecError
        Out of reach; the message says what can be reached.
    """
    if goal.kind == "quality":
        if not model.lowest <= goal.value <= model.highest:
            raise CodecError(
                f"quality {goal.value:g} is outside [{model.lowest:g}, {model.highest:g}] of model '{model.name}'"
            )
        return _rounded(goal.value)
    if not sample.coded:
        return _rounded((model.lowest + model.highest) / 2)  # nothing to code: every quality gives the same file
    if goal.kind == "bpp":
        samples = sample.share * sum(piece.x.size for piece in sample.pieces)
        score, wanted = (lambda quality: math.log2(8 * sample.bytes(quality) / samples)), math.log2(goal.value)
    else:
        score, wanted = sample.psnr, goal.value
    try:
        return solve(score, wanted, model.lowest, model.highest)
    except OutOfReach as end:
        shown = f"{2**end.score:.4g} bpp" if goal.kind == "bpp" else f"{end.score:.4g} dB"
        unit = "bpp" if goal.kind == "bpp" else "dB of PSNR"
        raise CodecError(
            f"{goal.value:g} {unit} cannot be reached on this scene: at quality {end.quality:g}, the end of the scale, it is {shown}"
        ) from None


class OutOfReach(Exception):
    """`solve` has come to an end of the scale."""

    def __init__(self, quality: float, score: float):
        super().__init__(quality, score)
        self.quality, self.score = quality, score


def solve(score: Callable[[float], float], wanted: float, low: float, high: float, *, tolerance: float = 2e-3) -> float:
    """Quality in [low, high], a multiple of 1/256, at which a rising `score` is nearest to `wanted`.

    Steps of growing width from the middle of the lower two thirds, where most goals lie, until the goal is between two
    qualities; then false position, with a bisection every third time.

    Raises
    ------
    OutOfReach
    """
    here = _rounded(low + (high - low) / 3)
    value = score(here)
    direction, step = (1 if value < wanted else -1), 6.0
    while True:
        end = high if direction > 0 else low
        if here == end:
            raise OutOfReach(here, value)
        there = min(here + step, end) if direction > 0 else max(here - step, end)
        beyond = score(there)
        if (beyond >= wanted) if direction > 0 else (beyond <= wanted):
            break
        here, value, step = there, beyond, 1.5 * step
    (low, at_low), (high, at_high) = sorted([(here, value), (there, beyond)])
    for attempt in range(40):
        if high - low <= 1 / QUALITY_UNIT or min(abs(at_low - wanted), abs(at_high - wanted)) <= tolerance:
            break
        spread = at_high - at_low
        share = (wanted - at_low) / spread if spread > 0 and attempt % 3 < 2 else 0.5
        middle = _rounded(low + min(max(share, 0.02), 0.98) * (high - low))
        middle = min(max(middle, low + 1 / QUALITY_UNIT), high - 1 / QUALITY_UNIT)
        value = score(middle)
        if value < wanted:
            low, at_low = middle, value
        else:
            high, at_high = middle, value
    return low if abs(at_low - wanted) < abs(at_high - wanted) else high


def _rounded(quality: float) -> float:
    return round(quality * QUALITY_UNIT) / QUALITY_UNIT


def _mask_bytes(piece: Piece, window: Window) -> int:
    encoder, flat = RangeEncoder(), piece.flat(window)
    encode_masks(encoder, piece.mask(window))
    if flat is not None:
        encode_masks(encoder, ~flat)
    return len(encoder.finish())
