"""Goals: the quality at which a file has a wanted rate, PSNR or largest error, and the search for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sarlab.errors import CodecError

#: Kinds of goals, each with its value in words.
KINDS = {
    "quality": "quality {:.4g}", "bpp": "{:.4g} bpp", "psnr": "{:.4g} dB of PSNR",
    "max_error_db": "a largest error of {:.4g} dB", "lossless": "lossless coding",
}  # fmt: skip
#: By how much a score (octaves of rate, dB of PSNR, dB of the largest error) rises from one default quality of a codec to the next.
SLOPES = {"bpp": 0.57, "psnr": 2.5, "max_error_db": 2.5}
MOST_TRIALS = 24


@dataclass(frozen=True)
class Goal:
    """A property that a file shall have: one of `KINDS`, and its value.

    Quality is that of the codec's own scale; bpp counts the bits of the whole file per pixel and band; PSNR is that of dB
    within the clip range; a largest error is in dB.
    """

    kind: str
    value: float

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise CodecError(f"unknown goal '{self.kind}'; use one of {', '.join(KINDS)}")
        positive = self.kind in ("bpp", "max_error_db")
        if not math.isfinite(self.value) or (positive and self.value <= 0):
            raise CodecError(f"{self.kind} must be a number{' above zero' if positive else ''}, not {self.value}")

    def text(self, value: float | None = None) -> str:
        """The goal, or another value of its kind, in words."""
        return KINDS[self.kind].format(self.value if value is None else value)


@dataclass(eq=False)
class OutOfReach(Exception):
    """The scale of qualities ends before the goal; carries its end and the score there."""

    quality: float
    score: float


def solve(
    score: Callable[[float], float], wanted: float, knots: Sequence[float], *, tolerance: float, slope: float,
    start: float | None = None, step: float = 0.0, resolution: float = 0.0, scores: dict[float, float] | None = None,
    below: bool = True,
) -> float:  # fmt: skip
    """Find the quality at which a rising `score` is nearest to `wanted`. Raises `OutOfReach`.

    The search begins at a guess, goes outwards until the goal is between two qualities, and closes in by false position
    and bisection in turn.

    Parameters
    ----------
    score : callable
        Quality → score, expensive.
    knots : sequence of float
        Qualities, ascending, between which the score rises about evenly; the first and the last end the scale.
    tolerance, slope : float
        Of the score; its rise from one knot to the next, about.
    start : float, optional
        Where to begin, counted in knots; default the middle.
    step, resolution : float
        Qualities are multiples of a step, if it is not 0; the search ends at a bracket within the resolution.
    scores : dict, optional
        Known scores by quality; those found are added.
    below : bool
        Accept a score below `wanted`.
    """
    scores, places = {} if scores is None else scores, np.arange(len(knots))
    place = float(len(knots) // 2) if start is None else start
    lower: float | None = None
    upper: float | None = None
    for attempt in range(MOST_TRIALS):
        lower = max((q for q in scores if scores[q] < wanted), default=None)
        upper = min((q for q in scores if scores[q] >= wanted and (lower is None or q > lower)), default=None)
        known = [q for q in (lower, upper) if q is not None]
        if any(abs(scores[q] - wanted) <= tolerance and (below or q == upper) for q in known):
            break
        if len(known) == 1:
            if known[0] == knots[-1 if upper is None else 0]:
                break
            # A little further than the slope suggests, to come out on the other side.
            short = wanted - scores[known[0]]
            reach = max(1.25 * abs(short) / slope * 1.5**attempt, 0.02)
            place = float(np.interp(known[0], knots, places)) + math.copysign(reach, short)
        elif lower is not None and upper is not None:
            if upper - lower <= max(step, resolution) * (1 + 1e-9):
                break
            rise = scores[upper] - scores[lower]
            share = (wanted - scores[lower]) / rise if attempt % 2 and math.isfinite(rise) else 0.5
            ends = np.interp([lower, upper], knots, places)
            place = float(ends[0] + min(max(share, 0.05), 0.95) * (ends[1] - ends[0]))
        quality = float(np.interp(place, places, knots))
        if step:
            quality = knots[0] + step * round((quality - knots[0]) / step)
            if lower is not None and upper is not None:
                quality = min(max(quality, lower + step), upper - step)
        if quality in scores:
            break
        scores[quality] = score(quality)
    # Encoders are not quite monotone: a quality tried on the way may fit better than the last two.
    fitting = [q for q in scores if below or scores[q] >= wanted]
    best = min(fitting or scores, key=lambda q: abs(scores[q] - wanted))
    if (upper is None or (lower is None and below)) and not abs(scores[best] - wanted) <= tolerance:
        raise OutOfReach(best, scores[best])
    return best
