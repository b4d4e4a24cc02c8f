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

from sarlab.codec.protocol import Codec, bound_quality
from sarlab.errors import CodecError
from sarlab.scenes.radiometry import to_db
from sarlab.scenes.scene import Scene

KINDS = ("quality", "bpp", "psnr", "max_error_db", "lossless")
#: Tolerances of `Search` in the units of `Search.score`: octaves of rate; dB; dB of the largest error.
TOLERANCE = {"bpp": np.log2(1.01), "psnr": 0.02, "max_error_db": 20 * np.log10(1.02)}
MOST_TRIALS = 24


@dataclass(frozen=True)
class Goal:
    """A property that a file shall have."""

    #: "quality" on the codec's own scale; "bpp", bits per pixel and band of the whole file; "psnr" of dB within the
    #: clip range, in dB; "max_error_db", the largest error in dB.
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
        value = self.value if value is None else value
        return {
            "quality": f"quality {value:.4g}",
            "bpp": f"{value:.4g} bpp",
            "psnr": f"{value:.4g} dB of PSNR",
            "max_error_db": f"a largest error of {value:.4g} dB",
            "lossless": "no loss",
        }[self.kind]


class OutOfReach(Exception):
    """The scale of qualities ends before the goal; carries its end and the score there."""

    def __init__(self, quality: float, score: float):
        super().__init__(quality, score)
        self.quality, self.score = quality, score


def solve(
    score: Callable[[float], float],
    wanted: float,
    knots: Sequence[float],
    *,
    tolerance: float,
    step: float = 0.0,
    resolution: float = 0.0,
    guess: tuple[float, float] | None = None,
    scores: dict[float, float] | None = None,
    below: bool = True,
) -> float:
    """Find the quality at which a rising `score` is nearest to `wanted`.

    The goal is bracketed: by bisection of the knots, or from a guess outwards. False position follows, with a bisection
    every third time.

    Parameters
    ----------
    score : callable
        Quality → score, expensive.
    wanted : float
    knots : sequence of float
        Qualities, ascending; the first and the last are the ends of the scale.
    tolerance : float
        Of the score.
    step, resolution : float
        Qualities are multiples of a step, if it is not 0; the search ends at a bracket within the resolution.
    guess : (quality, slope), optional
        Where to begin, and by how much the score rises there with quality.
    scores : dict, optional
        Known scores by quality; those found are added.
    below : bool
        Accept a score below `wanted`.

    Raises
    ------
    OutOfReach
    """
    scores = {} if scores is None else scores
    first, end = knots[0], knots[-1]

    def at(quality: float) -> float:
        if quality not in scores:
            scores[quality] = score(quality)
        return scores[quality]

    def met(quality: float) -> bool:
        return abs(at(quality) - wanted) <= tolerance and (below or at(quality) >= wanted)

    def on_grid(quality: float) -> float:
        return first + step * round((quality - first) / step) if step else quality

    lower = upper = None
    if guess is None:
        lower, upper = _bisected(at, wanted, knots, scores)
    else:
        quality, slope = guess
        while lower is None or upper is None:
            quality = min(max(on_grid(quality), first), end)
            if met(quality):
                return quality
            short = wanted - at(quality)
            if short > 0:
                lower = quality
            else:
                upper = quality
            if quality == (end if short > 0 else first):
                break
            # A little further than the slope suggests, to come out on the other side.
            quality += math.copysign(max(1.25 * abs(short) / slope, step), short)
            slope /= 1.5
    if upper is None or (lower is None and below):
        last = lower if upper is None else upper
        assert last is not None  # one of the two is always known
        if met(last):
            return last
        raise OutOfReach(last, at(last))
    if lower is None:
        return upper
    resolution = max(step, resolution)
    for attempt in range(MOST_TRIALS):
        if met(upper) or met(lower) or upper - lower <= resolution * (1 + 1e-9):
            break
        low, high = at(lower), at(upper)
        share = (wanted - low) / (high - low) if attempt % 3 < 2 and math.isfinite(high - low) else 0.5
        middle = lower + min(max(share, 0.05), 0.95) * (upper - lower)
        if step:
            middle = min(max(on_grid(middle), lower + step), upper - step)
        if at(middle) < wanted:
            lower = middle
        else:
            upper = middle
    # Encoders are not quite monotone: a quality tried on the way may fit better than the last two.
    return min((q for q in scores if below or scores[q] >= wanted), key=lambda q: abs(scores[q] - wanted))


def _bisected(
    at: Callable[[float], float], wanted: float, knots: Sequence[float], scores: Mapping[float, float]
) -> tuple[float | None, float | None]:
    """Neighboring known qualities with scores below, and at or above, the wanted one; None if there is none."""
    first, last = -1, len(knots)
    while last - first > 1:
        middle = min(len(knots) // 2, last - 1) if (first, last) == (-1, len(knots)) else (first + last) // 2
        if at(knots[middle]) < wanted:
            first = middle
        else:
            last = middle
    lower = knots[first] if first >= 0 else None
    upper = knots[last] if last < len(knots) else None
    # Scores known from earlier searches narrow the bracket.
    between = [q for q in sorted(scores) if (lower is None or q > lower) and (upper is None or q < upper)]
    if lower is not None:
        lower = max([q for q in between if scores[q] < wanted], default=lower)
    if upper is not None:
        above = [q for q in between if scores[q] >= wanted and (lower is None or q > lower)]
        upper = min(above, default=upper)
    return lower, upper


# --- whole files
# -------------------------------------------------------------------------------------------------------


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
            worst = max(worst, float(np.abs(x - y).max(initial=0)))
            if self.clip is not None:
                low, high = self.clip[band]
                squares += float(np.square((np.clip(x, low, high) - np.clip(y, low, high)) / (high - low)).sum())
            count += x.size
        psnr = float("nan") if self.clip is None else _minus_db(squares / max(count, 1), 10)
        return psnr, _minus_db(worst, 20)

    def find(self, goal: Goal) -> Trial:
        """Make the file that meets `goal`.

        Raises
        ------
        CodecError
            The codec cannot reach it on this scene; the message states its limit.
        """
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
                lambda quality: self.score(self.trial(quality), kind),
                float(wanted),
                sorted({scale.low, *scale.grid, scale.high}),
                tolerance=TOLERANCE[kind],
                step=scale.step,
                resolution=5e-5 * (scale.high - scale.low),
                scores=scores,
                below=kind != "max_error_db",
            )
        except OutOfReach as end:
            reached = {"bpp": 2**end.score, "psnr": end.score, "max_error_db": 10 ** (-end.score / 20)}[kind]
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
