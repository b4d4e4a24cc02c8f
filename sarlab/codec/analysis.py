"""Analysis of pieces of a scene: window → samples, mask and latent, with all the halo they need."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sarlab.codec.learned import TileModel, load_model
from sarlab.codec.levels import Levels
from sarlab.codec.sources import Source, redeem
from sarlab.codec.tilecoder import CODED, MISSING, active_columns, blocks_of, dilated, fill_invalid, kinds_of
from sarlab.codec.tiling import FILL_REACH, Tiling, Window, blocks_covering, grown, inside, rounded_up

#: Side of the windows that stand for a large scene, and fewest and most of them.
SAMPLE_SIDE, FEWEST_WINDOWS, MOST_WINDOWS = 192, 48, 256


@dataclass(frozen=True, eq=False)
class Job:
    """A piece of a scene to analyze; can be sent to another process.

    Parameters
    ----------
    model : Path
        File of the model.
    levels : Levels
    tiling : Tiling
    core : (row, column, height, width)
        What is wanted; it begins on a multiple of the stride.
    outer : (row, column, height, width)
        What is read.
    ticket
        See `sarlab.codec.sources`.
    margin : int
        Latent positions around the core that are wanted too.
    """

    model: Path
    levels: Levels
    tiling: Tiling
    core: Window
    outer: Window
    ticket: Any
    margin: int = 0


@dataclass(frozen=True, eq=False)
class Piece:
    """An analyzed window.

    Attributes
    ----------
    window : (row, column, height, width)
        Samples that it stands for.
    wide : (row, column, height, width)
        Samples whose latent positions `y` holds: the window and its margin, rounded up to whole positions.
    y : ndarray of float32, shape (bands, channels, h, w)
    x : ndarray of float32, shape (bands, H, W)
        Normalized samples of `window`; anything where not valid.
    kinds : ndarray of uint8, shape (bands, H, W)
        Of the samples of `outer`; see `sarlab.codec.tilecoder`.
    blocks : ndarray of bool, shape (bands, h, w), or None
        The flat ones among the blocks of `outer`; None where the file has none.
    outer : (row, column, height, width)
    stride : int
    """

    window: Window
    wide: Window
    y: np.ndarray
    x: np.ndarray
    kinds: np.ndarray
    blocks: np.ndarray | None
    outer: Window
    stride: int

    def mask(self, window: Window) -> np.ndarray:
        """Valid samples of a part."""
        return np.asarray(self._kinds(window) != MISSING)

    def coded(self, window: Window) -> np.ndarray:
        """Samples of a part that the latent stands for."""
        return np.asarray(self._kinds(window) == CODED)

    def flat(self, window: Window) -> np.ndarray | None:
        """Flat blocks of a part that begins on a multiple of the stride."""
        if self.blocks is None:
            return None
        stride = self.stride
        at = inside(blocks_covering(window, stride), blocks_covering(self.outer, stride))
        return self.blocks[(slice(None), *at)]

    def _kinds(self, window: Window) -> np.ndarray:
        return self.kinds[(slice(None), *inside(window, self.outer))]

    def latent(self, window: Window) -> np.ndarray:
        """Latent of a part that begins on a multiple of the stride."""
        stride = self.stride
        return self.y[
            (slice(None), slice(None), *inside(blocks_covering(window, stride), blocks_covering(self.wide, stride)))
        ]

    def sides(self, window: Window) -> int:
        """Borders of a tile behind which the next row or column of blocks holds coded samples."""
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
        """Active latent columns of a tile."""
        return active_columns(self.coded(window), self.stride, self.sides(window))


def make_job(
    source: Source, model: TileModel, path: Path, levels: Levels, tiling: Tiling, core: Window, margin: int = 0
) -> Job:
    """Job for the window `core` and `margin` latent positions around it."""
    halo = rounded_up(model.analysis_reach, model.stride) + FILL_REACH + margin * model.stride
    outer = grown(core, halo, tiling.height, tiling.width)
    return Job(path, levels, tiling, core, outer, source.ticket(outer), margin)


def analyze(job: Job) -> Piece:
    """Read and analyze a window: what a worker process does."""
    model, tiling = load_model(job.model), job.tiling
    scene = redeem(job.ticket)
    x, valid = job.levels.normalized(scene)
    flat = job.levels.flat_blocks(scene, model.stride)
    kinds = valid.view(np.uint8) if flat is None else kinds_of(valid, flat, model.stride)
    coded = kinds == CODED
    wide = grown(job.core, job.margin * model.stride, tiling.height, tiling.width)
    reach = grown(wide, rounded_up(model.analysis_reach, model.stride), tiling.height, tiling.width)
    filled = fill_invalid(x, coded, model.neutral)[(slice(None), *inside(reach, job.outer))]
    padding = [(0, 0), *((0, -length % model.stride) for length in filled.shape[1:])]
    y = model.analyze(np.pad(filled, padding, mode="edge"))
    if not coded.all():
        # Columns far from coded samples are zero, also where the border of a tile makes some of them active.
        near = dilated(blocks_of(coded, model.stride))
        at = inside(blocks_covering(reach, model.stride), blocks_covering(job.outer, model.stride))
        y = y * near[(slice(None), *at)][:, None]
    whole = Piece(
        job.core, reach, y,
        x[(slice(None), *inside(job.core, job.outer))], kinds, flat, job.outer, model.stride,
    )  # fmt: skip
    return replace(whole, wide=wide, y=whole.latent(wide))


def sample_windows(tiling: Tiling) -> list[Window]:
    """Windows from all over a scene, always the same ones."""
    count = min(max(FEWEST_WINDOWS, tiling.height * tiling.width >> 20), MOST_WINDOWS)
    places = []
    for length, other in ((tiling.height, tiling.width), (tiling.width, tiling.height)):
        side = min(SAMPLE_SIDE, length)
        number = max(1, min(length // side, round((count * length / other) ** 0.5)))
        # Irrational steps within each share, so that the windows do not fall in with a pattern of the scene.
        shares = (np.arange(number) + (0.5 + np.arange(number) * 0.6180339887) % 1) / number
        unit = tiling.stride
        places.append([(int((length - side) * share) // unit * unit, side) for share in shares])
    return [(row, column, height, width) for row, height in places[0] for column, width in places[1]]
