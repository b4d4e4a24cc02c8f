"""Files of any codec that meet a goal: a rate, a PSNR or a largest error.

Tolerances are 1 % of the rate and 0.02 dB of PSNR. A largest error is never exceeded, and reached within 2 % if the codec
allows it: a scale with steps (AVIF, WebP, ZFP) gives the nearest step, and the qualities of OpenJPEG lie 0.08 dB (0.5 % of
the bits) apart, further on small images. An error-bounded codec takes the error as its quality.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from sarlab.codec.goals import SLOPES, Goal, OutOfReach, solve
from sarlab.errors import CodecError
from sarlab.peers.protocol import Codec, bound_quality, quality_bound
from sarlab.scenes.radiometry import to_db
from sarlab.scenes.scene import Scene

#: Tolerances in the units of `Search.score`: octaves of rate; dB; dB of the largest error.
TOLERANCE = {"bpp": np.log2(1.01), "psnr": 0.02, "max_error_db": 20 * np.log10(1.02)}


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
