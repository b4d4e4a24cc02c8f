"""From thresholds to the furthest measured point that meets them, with its neighbors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sarlab.errors import ResultsError
from sarlab.lab.operating_points import TOLD, Point, whole
from sarlab.lab.thresholds import Threshold

#: The guide's use cases, as thresholds of PSNR in dB and the ratio it suggests for them.
USE_CASES = {
    "archive": ("high quality archive", 35.0, 8),
    "bandwidth": ("bandwidth constrained", 30.0, 16),
    "extreme": ("extreme constraint", 27.0, 32),
    "preview": ("preview, thumbnail", 24.0, 64),
}


@dataclass(frozen=True, eq=False)
class Recommendation:
    """The furthest point that meets all thresholds, and its neighbors on the same curve.

    Parameters
    ----------
    thresholds : tuple of Threshold
    chosen : Point or None
        None where no measured point meets them.
    closest : Point or None
        Where none meets them: the one that misses fewest, and those by least.
    further, gentler : Point or None
        Next steps of the same series, to more and to less compression.
    """

    thresholds: tuple[Threshold, ...]
    chosen: Point | None
    closest: Point | None
    further: Point | None
    gentler: Point | None

    @property
    def between(self) -> str:
        """Command that measures more points between the chosen one and the next; empty where there is no such setting."""
        if self.chosen is None or self.further is None or self.chosen.kind != "codec":
            return ""
        kinds = [
            (point.rows["target"].iloc[0], float(point.rows["target_value"].iloc[0]))
            for point in (self.further, self.chosen)
        ]
        (kind, first), (other, last) = kinds
        if kind != other:
            return ""
        option = f"--{str(kind).replace('_', '-')} {first:g}:{last:g}:6"
        return f"sarlab evaluate --scenes IN.tif --codecs {self.chosen.series} {option} --out finer.csv"

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "thresholds": [threshold.text for threshold in self.thresholds],
            "recommended": self._described(self.chosen),
            "closest": self._described(self.closest) if self.chosen is None else None,
            "one_step_further": self._described(self.further),
            "one_step_gentler": self._described(self.gentler),
            "measure_between": self.between or None,
        }

    def _described(self, point: Point | None) -> Mapping[str, Any] | None:
        if point is None:
            return None
        names = dict.fromkeys([*(threshold.metric for threshold in self.thresholds), *TOLD])
        values = {name: point.mean(name) for name in names}
        return {
            "kind": point.kind,
            "name": point.name,
            "command": point.command,
            "compression_ratio": round(point.cr, 3),
            "bpp": round(point.bpp, 4),
            "measured": {name: round(value, 4) for name, value in values.items() if np.isfinite(value)},
            "with_confidence": {
                threshold.metric: round(point.sure(threshold), 4)
                for threshold in self.thresholds
                if np.isfinite(point.sure(threshold))
            },
            "lost": {name: round(value, 4) for name, value in point.lost().items()},
            "misses": [threshold.text for threshold in point.missed(self.thresholds)],
            "scenes": int(point.rows["scene"].nunique()),
            "acquisitions": int(point.rows["acquisition"].nunique()),
        }


def recommend(points: Sequence[Point], thresholds: Sequence[Threshold]) -> Recommendation:
    """Point of the highest measured ratio that meets all thresholds with confidence, among those of `whole`.

    Parameters
    ----------
    points : sequence of Point
    thresholds : sequence of Threshold

    Raises
    ------
    ResultsError
        If there are no points.
    """
    if not points:
        raise ResultsError("no measured operating points; run 'sarlab sweep' or 'sarlab evaluate' first")
    points = whole(points)
    passing = [point for point in points if not point.missed(thresholds)]
    chosen = max(passing, key=lambda point: point.cr, default=None)
    closest = min(points, key=lambda point: point.shortfall(thresholds))
    further = gentler = None
    if chosen is not None:
        series = sorted((p for p in points if (p.kind, p.series) == (chosen.kind, chosen.series)), key=lambda p: p.cr)
        at = next(i for i, point in enumerate(series) if point is chosen)
        further = series[at + 1] if at + 1 < len(series) else None
        gentler = series[at - 1] if at else None
    return Recommendation(tuple(thresholds), chosen, closest, further, gentler)


def use_case(name: str) -> tuple[Threshold, ...]:
    """Thresholds of one of the guide's use cases."""
    if name not in USE_CASES:
        raise ResultsError(f"unknown use case '{name}'; use {', '.join(USE_CASES)}")
    return (Threshold("psnr_db", "min", USE_CASES[name][1]),)
