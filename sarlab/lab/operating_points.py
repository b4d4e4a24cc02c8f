"""Operating points: measured ways to compress, what each keeps at worst, and the highest compression within thresholds.

    rows of runs ─┐
                  ├─▶ points (one per network and quantizer, or codec and setting) ─▶ thresholds ─▶ recommendation
    rows of codecs┘

A threshold is met *with confidence* if the unfavorable end of the 95 % interval over acquisitions meets it on every
band. With fewer than five acquisitions there is no interval, and the worst scene has to meet it.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sarlab.errors import ResultsError
from sarlab.metrics import metrics
from sarlab.metrics.intervals import LEAST_OBSERVATIONS, interval

#: Metrics that a recommendation reports besides those of the thresholds.
REPORTED = ("psnr_db", "epi_roa", "enl_ratio", "bias_db", "rmse_k8_db", "rmse_k32_db")
#: Losses: column → (words, whether the column counts what is kept, unit).
LOST = {
    "rmse_db": ("error of a pixel", False, "dB"),
    "rmse_k8_db": ("error of 8×8 means", False, "dB"),
    "epi_roa": ("edges", True, "%"),
    "targets_kept": ("point targets", True, "%"),
    "lost_power_band8": ("finest detail", False, "%"),
}
NETWORK_KEYS = ("architecture", "init", "spatial_reduction", "latent_channels", "width", "depth", "quantizer")
CODEC_KEYS = ("codec", "target", "target_value")
#: Setting of a codec in words.
SETTING = {"psnr": "{:g} dB", "bpp": "{:g} bpp", "quality": "quality {:g}", "max_error_db": "{:g} dB of largest error"}
#: The guide's use cases: name, threshold of PSNR in dB, and the ratio it suggests.
USE_CASES = {
    "archive": ("high quality archive", 35.0, 8),
    "bandwidth": ("bandwidth constrained", 30.0, 16),
    "extreme": ("extreme constraint", 27.0, 32),
    "preview": ("preview, thumbnail", 24.0, 64),
}
#: Files are made to meet a value within what `sarlab.peers.search` tolerates: that counts as met.
TOLERANCE = {"psnr_db": 0.02}


class Threshold(NamedTuple):
    """A limit ``"min"`` or ``"max"`` on the column of one metric."""

    metric: str
    side: str
    value: float

    @property
    def of_magnitude(self) -> bool:
        """True for ``max`` of a column that is 0 for a perfect reconstruction: it limits the magnitude."""
        return self.side == "max" and self.metric in metrics and metrics[self.metric].better == "zero"

    @property
    def text(self) -> str:
        """For people: ``psnr_db ≥ 30``."""
        name = f"|{self.metric}|" if self.of_magnitude else self.metric
        return f"{name} {'≥' if self.side == 'min' else '≤'} {self.value:g}"

    def margin(self, rows: pd.DataFrame) -> float:
        """Distance from the threshold at worst: negative if it is missed, NaN if nothing is known."""
        values = rows[self.metric].abs() if self.of_magnitude else rows[self.metric]
        gained = (values - self.value if self.side == "min" else self.value - values).astype(float)
        gained = gained[np.isfinite(gained)]
        groups = rows.loc[gained.index, "acquisition"].astype(str)
        return float(gained.min()) if groups.nunique() < LEAST_OBSERVATIONS else interval(gained, groups).low


def parse_threshold(text: str, side: str, columns: Collection[str]) -> Threshold:
    """Parse ``psnr=30``. Short names are allowed: ``psnr``, ``bias``, ``rmse_8x8_db``."""
    name, _, number = text.partition("=")
    if not re.fullmatch(r"\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?\s*", number, re.IGNORECASE):
        raise ResultsError(f"'{text}' is not a threshold; write name=number, such as psnr=30")
    value, name = float(number), re.sub(r"_(\d+)x\1(?=_|$)", r"_k\1", name.strip())
    for candidate in (name, f"{name}_db"):
        if candidate in columns:
            return Threshold(candidate, side, value)
    measured = sorted(set(columns) & set(metrics))
    likely = [column for column in measured if column.startswith(name[:4])] or get_close_matches(name, measured)
    hint = f"did you mean {', '.join(likely[:4])}?" if likely else f"known: {', '.join(measured)}"
    raise ResultsError(f"no column '{name}' in these results; {hint}")


def use_case(name: str) -> tuple[Threshold, ...]:
    """Thresholds of one of `USE_CASES`."""
    return (Threshold("psnr_db", "min", USE_CASES[name][1]),)


@dataclass(frozen=True, eq=False)
class Point:
    """A measured ``"network"`` or ``"codec"`` on a curve (`series`): command that uses it, a row per scene and band, rates."""

    kind: str
    series: str
    name: str
    command: str
    rows: pd.DataFrame
    rates: pd.Series

    @cached_property
    def bpp(self) -> float:
        """Bits per pixel and band over all rows."""
        return float(np.average(self.rates, weights=self._filled("pixels", 1.0)))

    @cached_property
    def cr(self) -> float:
        """Compression ratio against the recorded product, over all rows."""
        return float(np.average(self._filled("native_bits", 16.0), weights=self._filled("pixels", 1.0))) / self.bpp

    def _filled(self, name: str, default: float) -> pd.Series:
        return self.rows[name].fillna(default) if name in self.rows else pd.Series(default, self.rows.index)

    def mean(self, metric: str) -> float:
        """Mean over acquisitions and bands."""
        known = metric in self.rows
        return float(self.rows.groupby("acquisition")[metric].mean().mean()) if known else float("nan")

    def lost(self) -> dict[str, float]:
        """Losses in the words and units of `LOST`; those that were not measured are skipped."""
        found = {}
        for name, (words, kept, unit) in LOST.items():
            mean = self.mean(name)
            if name == "targets_kept" and {name, "targets"} <= set(self.rows):
                # the share of the targets of all scenes together, because a scene may have one or two only
                known = self.rows[self.rows[name].notna() & (self.rows["targets"] > 0)]
                mean = np.average(known[name], weights=known["targets"]) if len(known) else np.nan
            value = 1 - mean if kept else mean
            if np.isfinite(value):
                found[f"{words} ({unit})"] = float(np.clip(100 * value, 0, 100)) if unit == "%" else value
        return found

    def margin(self, threshold: Threshold) -> float:
        """Smallest margin over the bands."""
        if threshold.metric not in self.rows:
            return float("nan")
        found = [threshold.margin(rows) for _, rows in self.rows.groupby("band", sort=False)]
        return min(found) if not np.isnan(found).any() else float("nan")

    def sure(self, threshold: Threshold) -> float:
        """Value of its metric that is met with confidence: a lower or an upper limit."""
        return threshold.value + (1 if threshold.side == "min" else -1) * self.margin(threshold)

    def missed(self, thresholds: Sequence[Threshold]) -> list[Threshold]:
        """Thresholds that it does not meet with confidence."""
        # an unknown margin (NaN) is no margin
        return [limit for limit in thresholds if not self.margin(limit) >= -TOLERANCE.get(limit.metric, 0.0)]

    def shortfall(self, thresholds: Sequence[Threshold]) -> tuple[int, float]:
        """Number of thresholds that it misses, and their relative distances; unknown ones are missed by all of it."""
        missed = self.missed(thresholds)
        shares = [-self.margin(threshold) / max(abs(threshold.value), 1e-9) for threshold in missed]
        return len(missed), float(np.nan_to_num(shares, nan=1.0).sum())

    @property
    def certain(self) -> str:
        """Source of the confidence, in words."""
        counts = self.rows[["scene", "acquisition"]].nunique()
        counted = " of ".join(f"{count} {name}{'s' * (count != 1)}" for name, count in counts.items())
        if counts["acquisition"] < LEAST_OBSERVATIONS:
            return f"{counted}: too few for an interval: the worst scene and band decide"
        return f"{counted}: the unfavorable end of the 95 % interval of the worst band decides"


def operating_points(runs: pd.DataFrame, codecs: pd.DataFrame, *, simulated: bool = False) -> list[Point]:
    """Points of the rows of runs and of ``sarlab evaluate``, highest compression first, on recorded or simulated scenes."""
    found = [*_networks(_kept(runs, simulated)), *_codecs(_kept(codecs, simulated))]
    return sorted(found, key=lambda point: (-point.cr, point.name))


def whole(points: Sequence[Point]) -> list[Point]:
    """Points that were measured on every scene and band that others of their kind were, so that they compare."""
    bands = [len(point.rows[["scene", "band"]].drop_duplicates()) for point in points]
    most = dict(sorted((point.kind, count) for point, count in zip(points, bands, strict=True)))
    return [point for point, count in zip(points, bands, strict=True) if count == most[point.kind]]


def _kept(rows: pd.DataFrame, simulated: bool) -> pd.DataFrame:
    if not {"bpp", "band"} <= set(rows):
        return rows.iloc[:0]
    kept = rows[(rows["bpp"] > 0) & (rows["psnr_db"].notna() if "psnr_db" in rows else True)]
    kept = kept[kept["simulated"] == simulated] if "simulated" in kept else kept.iloc[: 0 if simulated else None]
    # A scene without a stated acquisition is an acquisition of its own.
    stated = kept["acquisition"].replace("", np.nan) if "acquisition" in kept else pd.Series(np.nan, kept.index, object)
    return kept.assign(acquisition=stated.fillna(kept["scene"]))


def _networks(rows: pd.DataFrame) -> Iterator[Point]:
    if rows.empty or not set(NETWORK_KEYS) <= set(rows):
        return
    coded = rows["coded_bpp"].fillna(rows["bpp"]) if "coded_bpp" in rows else rows["bpp"]
    for key, group in rows.groupby(list(NETWORK_KEYS), sort=False, dropna=False):
        architecture, init, reduction, channels, _, _, quantizer = key
        start = "" if architecture == "klt" else f" ({'from the KLT' if init == 'klt' else 'from scratch'})"
        series, run_id = f"{architecture}{start}, {quantizer}", group["run_id"].iloc[0] if "run_id" in group else ""
        name = f"{series}, stride {int(reduction)}, {int(channels)} channels"
        command = f'python: sarlab.lab.experiment.load_network("runs/{run_id}")'
        yield Point("network", series, name, command, group, coded.loc[group.index])


def _codecs(rows: pd.DataFrame) -> Iterator[Point]:
    if rows.empty or not set(CODEC_KEYS) <= set(rows):
        return
    for (codec, kind, value), group in rows.groupby(list(CODEC_KEYS), sort=False):
        option = f"--{kind.replace('_', '-')} {value:g}"
        command = f"sarlab evaluate --scenes IN.tif --codecs {codec} {option} --out rows.csv --save-files DIR"
        if "family" in group and group["family"].iloc[0] == "learned" and kind != "max_error_db":
            command = f"sarlab compress IN.tif OUT.sarl --codec {codec} {option}"
        name = f"{codec} at {SETTING.get(kind, kind + ' {:g}').format(value)}"
        yield Point("codec", codec, name, command, group, group["bpp"])


class Recommendation(NamedTuple):
    """The point of highest compression that meets all thresholds, if any, and the next points of its curve.

    `closest` is the point that misses fewest thresholds, and those by least.
    """

    thresholds: tuple[Threshold, ...]
    chosen: Point | None
    closest: Point
    further: Point | None
    gentler: Point | None

    @property
    def between(self) -> str:
        """Command that measures more points between the chosen one and the next; empty if there is no such setting."""
        if self.chosen is None or self.further is None or self.chosen.kind != "codec":
            return ""
        ends = [point.rows[["target", "target_value"]].iloc[0] for point in (self.further, self.chosen)]
        (kind, first), (other, last) = ends
        goals = f"--codecs {self.chosen.series} --{kind.replace('_', '-')} {first:g}:{last:g}:6"
        return f"sarlab evaluate --scenes IN.tif {goals} --out finer.csv" if kind == other else ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "thresholds": [threshold.text for threshold in self.thresholds],
            "recommended": self._described(self.chosen),
            "closest": self._described(self.closest) if self.chosen is None else None,
            "one_step_further": self._described(self.further),
            "one_step_gentler": self._described(self.gentler),
            "measure_between": self.between or None,
        }

    def _described(self, point: Point | None) -> dict[str, Any] | None:
        if point is None:
            return None
        measured = {name: point.mean(name) for name in [*(limit.metric for limit in self.thresholds), *REPORTED]}
        sure = {limit.metric: point.sure(limit) for limit in self.thresholds}
        figures = {"measured": measured, "with_confidence": sure, "lost": point.lost()}
        return {
            "kind": point.kind, "name": point.name, "command": point.command,
            "compression_ratio": round(point.cr, 3), "bpp": round(point.bpp, 4),
            **{key: {k: round(v, 4) for k, v in values.items() if np.isfinite(v)} for key, values in figures.items()},
            "misses": [threshold.text for threshold in point.missed(self.thresholds)],
            "scenes": int(point.rows["scene"].nunique()), "acquisitions": int(point.rows["acquisition"].nunique()),
        }  # fmt: skip


def recommend(points: Sequence[Point], thresholds: Sequence[Threshold]) -> Recommendation:
    """Choose the point of highest measured ratio that meets all thresholds with confidence, among those of `whole`."""
    if not points:
        raise ResultsError("no measured operating points; run 'sarlab report', or give --rows of 'sarlab evaluate'")
    points = whole(points)
    passing = [point for point in points if not point.missed(thresholds)]
    chosen = max(passing, key=lambda point: point.cr, default=None)
    closest, further, gentler = min(points, key=lambda point: point.shortfall(thresholds)), None, None
    if chosen is not None:
        series = sorted((p for p in points if (p.kind, p.series) == (chosen.kind, chosen.series)), key=lambda p: p.cr)
        padded = [None, *series, None]
        gentler, _, further = padded[padded.index(chosen) - 1 :][:3]
    return Recommendation(tuple(thresholds), chosen, closest, further, gentler)
