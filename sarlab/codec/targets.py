"""Targets: the quality at which a codec's real file has the wanted rate, PSNR or largest error.

The search encodes (and for errors decodes) whole files. Tolerances: 1 % of the bpp, 0.02 dB of PSNR; a largest error is
never exceeded and reached within 2 %, where the codec allows it: a knob with steps (AVIF, WebP, ZFP) gives the nearest
step, and OpenJPEG's qualities lie 0.08 dB (0.5 % of the bits) apart, further on small pictures. An error-bounded codec is
simply told the largest error.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from sarlab.codec.codec import Codec, bound_quality
from sarlab.errors import CodecError
from sarlab.scenes.radiometry import to_db
from sarlab.scenes.scene import Scene

KINDS = ("quality", "bpp", "psnr", "max_error_db")
#: In the units of `Search.score`: octaves of rate; dB; dB of the largest error.
TOLERANCE = {"bpp": np.log2(1.01), "psnr": 0.02, "max_error_db": 20 * np.log10(1.02)}
MAX_TRIALS = 24


@dataclass(frozen=True)
class Target:
    """What a file shall have.

    Parameters
    ----------
    kind : {"quality", "bpp", "psnr", "max_error_db"}
        Native quality of the codec; bit per pixel and band; PSNR of dB in the clip range, in dB; largest error in dB.
    value : float
    """

    kind: str
    value: float

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise CodecError(f"unknown target '{self.kind}'; use one of {', '.join(KINDS)}")
        if not np.isfinite(self.value) or (self.kind in ("bpp", "max_error_db") and self.value <= 0):
            raise CodecError(
                f"{self.kind} must be a number{' above zero' if self.kind != 'quality' else ''}, not {self.value}"
            )


@dataclass
class Trial:
    """One file.

    Attributes
    ----------
    quality : float
    data : bytes
    decoded : Scene or None
        In dB; None until it was needed.
    encode_seconds, decode_seconds : float
    """

    quality: float
    data: bytes
    encode_seconds: float
    decoded: Scene | None = None
    decode_seconds: float = float("nan")
    scores: dict[str, float] = field(default_factory=dict)


class Search:
    """Files of one codec for one scene, each made once whatever the number of targets.

    Parameters
    ----------
    codec : Codec
    scene : Scene
        Any real quantity.
    clip : mapping of band to (low, high), optional
        In dB; needed for PSNR targets.
    """

    def __init__(self, codec: Codec, scene: Scene, clip: Mapping[str, tuple[float, float]] | None = None):
        self.codec, self.scene, self.clip = codec, scene, clip
        self.scene_db = to_db(scene)
        self.samples = int(np.prod(scene.shape))
        self._trials: dict[float, Trial] = {}

    def trial(self, quality: float) -> Trial:
        """The file at `quality`."""
        if quality not in self._trials:
            start = time.perf_counter()
            data = self.codec.compress(self.scene, quality=quality)
            self._trials[quality] = Trial(quality, data, time.perf_counter() - start)
        return self._trials[quality]

    def decode(self, trial: Trial) -> Scene:
        """What a file decodes to, in dB."""
        if trial.decoded is None:
            start = time.perf_counter()
            decoded = self.codec.decompress(trial.data)
            trial.decode_seconds = time.perf_counter() - start
            trial.decoded = to_db(decoded)
        return trial.decoded

    def bpp(self, trial: Trial) -> float:
        """Bit of the whole file per pixel and band."""
        return 8 * len(trial.data) / self.samples

    def score(self, trial: Trial, kind: str) -> float:
        """The target's figure on a scale that rises with quality: octaves of bpp, dB of PSNR, −20·log10(error/dB)."""
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

    def find(self, target: Target) -> Trial:
        """The file that meets `target`.

        Raises
        ------
        CodecError
            The codec cannot reach it on this scene; the message says what it reaches.
        """
        if target.kind == "quality":
            return self.trial(target.value)
        if not self.scene.valid.any():
            raise CodecError("no sample is valid: every file is the same")
        if target.kind == "psnr" and self.clip is None:
            raise CodecError("a PSNR target needs the clip range of each band")
        scale = self.codec.capabilities.quality
        if target.kind == "max_error_db" and self.codec.capabilities.error_bounded:
            return self.trial(scale.checked(bound_quality(target.value), self.codec.name))
        rising: dict[str, Callable[[float], float]] = {
            "bpp": np.log2, "psnr": float, "max_error_db": lambda error: -20 * np.log10(error),
        }  # fmt: skip
        wanted = float(rising[target.kind](target.value))
        return self._nearest(target, self._bracket(target, wanted), wanted)

    def _bracket(self, target: Target, wanted: float) -> tuple[float | None, float | None]:
        """Neighboring known qualities whose scores lie below, and at or above, the wanted one; None where none does."""
        scale, kind = self.codec.capabilities.quality, target.kind
        knots = sorted({scale.low, *scale.grid, scale.high})
        first, last = -1, len(knots)
        start = 1 if len(knots) > 2 else 0
        guess = min(max(start, len(knots) // 2), last - 1)
        while last - first > 1:
            if self.score(self.trial(knots[guess]), kind) < wanted:
                first = guess
            else:
                last = guess
            guess = (first + last) // 2
        known = [
            (q, self.score(t, kind)) for q, t in sorted(self._trials.items()) if kind == "bpp" or t.decoded is not None
        ]
        lower = knots[first] if first >= 0 else None
        upper = knots[last] if last < len(knots) else None
        # Files made for earlier targets narrow it.
        inside = [(q, s) for q, s in known if (lower is None or q > lower) and (upper is None or q < upper)]
        lower = max([q for q, s in inside if s < wanted], default=lower) if lower is not None else None
        above = [q for q, s in inside if s >= wanted and (lower is None or q > lower)]
        upper = min(above, default=upper) if upper is not None else None
        return lower, upper

    def _nearest(self, target: Target, bracket: tuple[float | None, float | None], wanted: float) -> Trial:
        kind, tolerance, scale = target.kind, TOLERANCE[target.kind], self.codec.capabilities.quality
        lower, upper = bracket
        one_sided = kind == "max_error_db"
        if upper is None or (lower is None and not one_sided):
            known_end = lower if upper is None else upper
            assert known_end is not None  # of the two, one is always known
            end = self.trial(known_end)
            if abs(self.score(end, kind) - wanted) <= tolerance and not (one_sided and upper is None):
                return end
            raise CodecError(self._out_of_reach(target, end))
        if lower is None:
            return self.trial(upper)
        resolution = max(scale.step, 1e-4 * (scale.high - scale.low) / 2)
        for attempt in range(MAX_TRIALS):
            low, high = (self.score(self.trial(q), kind) for q in (lower, upper))
            if 0 <= high - wanted <= tolerance or (not one_sided and wanted - low <= tolerance):
                break
            if upper - lower <= resolution * (1 + 1e-9):
                break
            share = (wanted - low) / (high - low) if attempt % 3 < 2 and np.isfinite(high - low) else 0.5
            guess = lower + min(max(share, 0.05), 0.95) * (upper - lower)
            if scale.step:
                guess = scale.low + scale.step * round((guess - scale.low) / scale.step)
                guess = min(max(guess, lower + scale.step), upper - scale.step)
            if self.score(self.trial(guess), kind) < wanted:
                lower = guess
            else:
                upper = guess
        # Encoders are not quite monotone: a file made on the way may fit better than the last two.
        known = [trial for trial in self._trials.values() if kind == "bpp" or trial.decoded is not None]
        if one_sided:
            return min((t for t in known if self.score(t, kind) >= wanted), key=lambda trial: len(trial.data))
        return min(known, key=lambda trial: abs(self.score(trial, kind) - wanted))

    def _out_of_reach(self, target: Target, end: Trial) -> str:
        reached = {
            "bpp": lambda: f"{self.bpp(end):.4g} bpp",
            "psnr": lambda: f"{self.score(end, 'psnr'):.4g} dB of PSNR",
            "max_error_db": lambda: f"a largest error of {10 ** (-self.score(end, 'max_error_db') / 20):.4g} dB",
        }[target.kind]()
        wanted = {"bpp": "{:g} bpp", "psnr": "{:g} dB of PSNR", "max_error_db": "a largest error of {:g} dB"}[
            target.kind
        ]
        return f"{self.codec.name} cannot reach {wanted.format(target.value)} here; it ends at {reached} (quality {end.quality:g})"


def _minus_db(value: float, factor: float) -> float:
    return float("inf") if value == 0 else float(-factor * np.log10(value))
