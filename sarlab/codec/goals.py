"""Goals: the quality at which a file has a wanted rate, PSNR or largest error.

`solve` is the one search for it. The encoder of a learned codec calls it with estimates; `Search` calls it with whole
files of any codec. The tolerances of `Search` are 1 % of the rate and 0.02 dB of PSNR. A largest error is never
exceeded, and reached within 2 % if the codec allows it: a scale with steps (AVIF, WebP, ZFP) gives the nearest step,
and the qualities of OpenJPEG lie 0.08 dB (0.5 % of the bits) apart, further on small images. An error-bounded codec
takes the error as its quality.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sarlab.codec.protocol import Codec, bound_quality, quality_bound
from sarlab.errors import CodecError
from sarlab.scenes.radiometry import to_db
from sarlab.scenes.scene import Scene

#: Kinds of goals, each with its value in words.
KINDS = {
    "quality": "quality {:.4g}", "bpp": "{:.4g} bpp", "psnr": "{:.4g} dB of PSNR",
    "max_error_db": "a largest error of {:.4g} dB", "lossless": "no loss",
}  # fmt: skip
#: Tolerances of `Search` in the units of `Search.score`: octaves of rate; dB; dB of the largest error.
TOLERANCE = {"bpp": np.log2(1.01), "psnr": 0.02, "max_error_db": 20 * np.log10(1.02)}
#: By how much a score rises from one default quality of a codec to the next, about.
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


class OutOfReach(Exception):
    """The scale of qualities ends before the goal; carries its end and the score there."""

    def __init__(self, quality: float, score: float):
        super().__init__(quality, score)
        self.quality, self.score = quality, score


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


# --- whole files ------------------------------------------------------------------------------------------------------


@dataclass
class Trial:
    """A file, and what was measured of it."""

    quality: float
    data: bytes
    encode_seconds: float
    #: In dB; None until needed.
    decoded: Scene | None = None
    decode_seconds: float = float("nan")
    scores: dict[str, float] = field(default_factory=dict)


class Search:
    """Files of one codec for one scene of any real quantity; each is made once, whatever the number of goals.

    `clip` maps bands to their clip range (low, high) in dB; PSNR goals need it.
    """

    def __init__(self, codec: Codec, scene: Scene, clip: Mapping[str, tuple[float, float]] | None = None):
        self.codec, self.scene, self.clip = codec, scene, clip
        self.scene_db = to_db(scene)
        self.samples = int(np.prod(scene.shape))
        self._trials: dict[float, Trial] = {}

    def trial(self, quality: float) -> Trial:
        """Make the file at `quality`."""
        if quality not in self._trials:
            start = time.perf_counter()
            data = self.codec.compress(self.scene, quality=quality)
            self._trials[quality] = Trial(quality, data, time.perf_counter() - start)
        return self._trials[quality]

    def decode(self, trial: Trial) -> Scene:
        """Decode a file to dB."""
        if trial.decoded is None:
            start = time.perf_counter()
            decoded = self.codec.decompress(trial.data)
            trial.decode_seconds = time.perf_counter() - start
            trial.decoded = to_db(decoded)
        return trial.decoded

    def bpp(self, trial: Trial) -> float:
        """Bits of the whole file per pixel and band."""
        return 8 * len(trial.data) / self.samples

    def score(self, trial: Trial, kind: str) -> float:
        """Measure a file on a scale that rises with quality: octaves of bpp, dB of PSNR, −20·log10(error / dB)."""
        if kind not in trial.scores:
            if kind == "bpp":
                trial.scores[kind] = float(np.log2(self.bpp(trial)))
            else:
                trial.scores["psnr"], trial.scores["max_error_db"] = self._errors(self.decode(trial))
        return trial.scores[kind]

    def _errors(self, decoded: Scene) -> tuple[float, float]:
        squares, count, worst = 0.0, 0, 0.0
        for index, band in enumerate(self.scene_db.bands):
            valid = self.scene_db.valid[index]
            x, y = (scene.data[index][valid].astype(np.float64) for scene in (self.scene_db, decoded))
            low, high = self.clip[band] if self.clip else (0.0, float("nan"))
            worst, count = max(worst, float(np.abs(x - y).max(initial=0))), count + x.size
            squares += float(np.square((np.clip(x, low, high) - np.clip(y, low, high)) / (high - low)).sum())
        return _minus_db(squares / max(count, 1), 10), _minus_db(worst, 20)

    def find(self, goal: Goal) -> Trial:
        """Make the file that meets `goal`. Raises a `CodecError` with the limit of the codec on this scene."""
        kind, scale = goal.kind, self.codec.capabilities.quality
        if kind == "quality":
            return self.trial(goal.value)
        if not self.scene.valid.any():
            raise CodecError("no sample is valid: all files are equal")
        if kind == "psnr" and self.clip is None:
            raise CodecError("a PSNR goal needs the clip range of each band")
        if kind == "max_error_db" and self.codec.capabilities.error_bounded:
            return self.trial(scale.checked(bound_quality(goal.value), self.codec.name))
        known = [trial for trial in self._trials.values() if kind == "bpp" or trial.decoded is not None]
        scores = {trial.quality: self.score(trial, kind) for trial in known}
        wanted = goal.value if kind == "psnr" else (np.log2 if kind == "bpp" else bound_quality)(goal.value)
        try:
            quality = solve(
                lambda quality: self.score(self.trial(quality), kind), float(wanted),
                sorted({scale.low, *scale.grid, scale.high}), tolerance=TOLERANCE[kind], slope=SLOPES[kind],
                step=scale.step, resolution=5e-5 * (scale.high - scale.low), scores=scores, below=kind != "max_error_db",
            )  # fmt: skip
        except OutOfReach as end:
            reached = {"bpp": 2**end.score, "psnr": end.score, "max_error_db": quality_bound(end.score)}[kind]
            raise CodecError(
                f"{self.codec.name} cannot reach {goal.text()} here; it ends at {goal.text(reached)} "
                f"(quality {end.quality:g})"
            ) from None
        if kind == "max_error_db":
            met = [self.trial(q) for q, score in scores.items() if score >= wanted]
            return min(met, key=lambda trial: len(trial.data))
        return self.trial(quality)


def _minus_db(value: float, factor: float) -> float:
    return float("inf") if value == 0 else float(-factor * np.log10(value))
