"""Operating points: measured ways to compress, what each keeps at worst, and the furthest one that a reader may go.

    rows of runs ─┐
                  ├─▶ points (one a network and quantizer, or codec and setting) ─▶ thresholds ─▶ recommendation
    rows of codecs┘

A threshold is met *with confidence* if it is met on every band by the unfavorable end of the 95 % interval over
acquisitions; with fewer than three acquisitions there is no interval, and the worst scene has to meet it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sarlab.lab.thresholds import FEWEST_ACQUISITIONS, Threshold

#: What a recommendation tells beside what it was asked for.
TOLD = ("psnr_db", "epi_roa", "enl_ratio", "bias_db", "rmse_k8_db", "rmse_k32_db")
#: What is lost: column → (words, whether the column counts what is kept, unit).
LOST = {
    "rmse_db": ("error of a pixel", False, "dB"),
    "rmse_k8_db": ("error of 8×8 means", False, "dB"),
    "epi_roa": ("edges", True, "%"),
    "targets_kept": ("point targets", True, "%"),
    "lost_power_band8": ("finest detail", False, "%"),
}
NETWORK_KEYS = ("architecture", "init", "spatial_reduction", "latent_channels", "width", "depth", "quantizer")
CODEC_KEYS = ("codec", "target", "target_value")
#: How the setting of a codec is called.
SETTING = {"psnr": "{:g} dB", "bpp": "{:g} bpp", "quality": "quality {:g}", "max_error_db": "{:g} dB of largest error"}


@dataclass(frozen=True, eq=False)
class Point:
    """One measured way to compress.

    Parameters
    ----------
    kind : {"network", "codec"}
    series, name : str
        What stays the same along its curve, and the point itself.
    command : str
        To use it.
    cr, bpp : float
        Compression ratio against the recorded product and bits per pixel and band: mean of bits over scenes.
    rows : DataFrame
        Its rows, one per scene and band.
    """

    kind: str
    series: str
    name: str
    command: str
    cr: float
    bpp: float
    rows: pd.DataFrame

    def mean(self, metric: str) -> float:
        """Mean over acquisitions and bands."""
        if metric not in self.rows:
            return float("nan")
        values = pd.to_numeric(self.rows[metric], errors="coerce")
        return float(values.groupby(self.rows["acquisition"].astype(str)).mean().mean())

    def lost(self) -> dict[str, float]:
        """What is lost, in the words and units of `LOST`; what was not measured is left out."""
        found = {}
        for name, (words, kept, unit) in LOST.items():
            mean = self._of_all_targets() if name == "targets_kept" else self.mean(name)
            value = 1 - mean if kept else mean
            if np.isfinite(value):
                found[f"{words} ({unit})"] = float(np.clip(100 * value, 0, 100)) if unit == "%" else value
        return found

    def _of_all_targets(self) -> float:
        """Share of the point targets of all scenes together that is kept: a scene may have one or two only."""
        if not {"targets", "targets_kept"} <= set(self.rows):
            return float("nan")
        count = pd.to_numeric(self.rows["targets"], errors="coerce")
        kept = count * pd.to_numeric(self.rows["targets_kept"], errors="coerce")
        return float(kept.sum() / count[kept.notna()].sum()) if kept.notna().any() else float("nan")

    def sure(self, threshold: Threshold) -> float:
        """Value of its metric that is met with confidence: at least so much, or at most."""
        return threshold.value + (1 if threshold.side == "min" else -1) * self.margin(threshold)

    @property
    def pictures(self) -> int:
        """Bands of scenes that it was measured on."""
        return len(self.rows[["scene", "band"]].drop_duplicates())

    @property
    def certain(self) -> str:
        """Where the confidence comes from, in words."""
        scenes, acquisitions = self.rows["scene"].nunique(), self.rows["acquisition"].nunique()
        counted = f"{scenes} scene{'s' * (scenes != 1)} of {acquisitions} acquisition{'s' * (acquisitions != 1)}"
        if acquisitions < FEWEST_ACQUISITIONS:
            return f"{counted}: too few for an interval, so the worst scene and band count"
        return f"{counted}: the unfavorable end of the 95 % interval of the worst band counts"

    def margin(self, threshold: Threshold) -> float:
        """Smallest margin over the bands."""
        if threshold.metric not in self.rows:
            return float("nan")
        found = [
            threshold.margin(
                pd.to_numeric(rows[threshold.metric], errors="coerce").to_numpy(), list(rows["acquisition"])
            )
            for _, rows in self.rows.groupby("band", sort=False)
        ]
        return min(found) if not np.isnan(found).any() else float("nan")

    def missed(self, thresholds: Sequence[Threshold]) -> list[Threshold]:
        """Thresholds that it does not meet with confidence."""
        return [threshold for threshold in thresholds if not threshold.met(self.margin(threshold))]

    def shortfall(self, thresholds: Sequence[Threshold]) -> tuple[int, float]:
        """How many thresholds it misses, and by how much of their values; what is unknown is missed by all of it."""
        missed = self.missed(thresholds)
        shares = [-self.margin(threshold) / max(abs(threshold.value), 1e-9) for threshold in missed]
        return len(missed), sum(share if np.isfinite(share) else 1.0 for share in shares)


def operating_points(runs: pd.DataFrame, codecs: pd.DataFrame, *, simulated: bool = False) -> list[Point]:
    """All points of the tables, furthest compression first.

    Parameters
    ----------
    runs : DataFrame
        Rows of networks; may be empty.
    codecs : DataFrame
        Rows of ``sarlab evaluate``; may be empty.
    simulated : bool
        Of simulated scenes instead of recorded ones: the two never mix.
    """
    points = [*_networks(_kept(runs, simulated)), *_codecs(_kept(codecs, simulated))]
    return sorted(points, key=lambda point: (-point.cr, point.name))


def whole(points: Sequence[Point]) -> list[Point]:
    """Points that were measured on every scene and band that others of their kind were: the rest had it easier, or harder."""
    most: dict[str, int] = {}
    for point in points:
        most[point.kind] = max(most.get(point.kind, 0), point.pictures)
    return [point for point in points if point.pictures == most[point.kind]]


def _kept(rows: pd.DataFrame, simulated: bool) -> pd.DataFrame:
    if not {"psnr_db", "bpp", "band"} <= set(rows):
        return rows.iloc[:0]
    known = pd.to_numeric(rows["psnr_db"], errors="coerce").notna() & pd.to_numeric(rows["bpp"], errors="coerce").gt(0)
    is_simulated = (
        rows["simulated"].astype(str).str.lower().isin(("true", "1", "1.0")) if "simulated" in rows else False
    )
    kept = rows[known & (is_simulated == simulated)]
    if "acquisition" not in kept:
        kept = kept.assign(acquisition="")
    # Scenes without a stated acquisition are acquisitions of their own.
    return kept.assign(
        acquisition=kept["acquisition"].fillna("").where(kept["acquisition"].fillna("") != "", kept["scene"])
    )


def _networks(rows: pd.DataFrame) -> Iterable[Point]:
    if rows.empty or not set(NETWORK_KEYS) <= set(rows):
        return
    coded = rows.get("coded_bpp", pd.Series(np.nan, rows.index))
    rows = rows.copy().assign(_bpp=coded.fillna(rows["bpp"]).astype(float))
    for key, group in rows.groupby(list(NETWORK_KEYS), sort=False, dropna=False):
        parts = dict(zip(NETWORK_KEYS, key, strict=True))
        start = (
            ""
            if parts["architecture"] == "klt"
            else f" ({'from the KLT' if parts['init'] == 'klt' else 'from scratch'})"
        )
        series = f"{parts['architecture']}{start}, {parts['quantizer']}"
        shape = f"stride {int(parts['spatial_reduction'])}, {int(parts['latent_channels'])} channels"
        run_id = str(group["run_id"].iloc[0]) if "run_id" in group else ""
        command = f'python: sarlab.lab.experiment.load_network("runs/{run_id}")'
        yield _point("network", series, f"{series}, {shape}", command, group, group["_bpp"])


def _codecs(rows: pd.DataFrame) -> Iterable[Point]:
    if rows.empty or not set(CODEC_KEYS) <= set(rows):
        return
    for (codec, kind, value), group in rows.groupby(list(CODEC_KEYS), sort=False):
        option = f"--{str(kind).replace('_', '-')} {float(value):g}"
        learned = "family" in group and group["family"].iloc[0] == "learned"
        command = (
            f"sarlab compress IN.tif OUT.sarl --codec {codec} {option}"
            if learned and kind != "max_error_db"
            else f"sarlab evaluate --scenes IN.tif --codecs {codec} {option} --out rows.csv --save-files DIR"
        )
        name = f"{codec} at {SETTING.get(str(kind), str(kind) + ' {:g}').format(float(value))}"
        yield _point("codec", str(codec), name, command, group, group["bpp"].astype(float))


def _point(kind: str, series: str, name: str, command: str, rows: pd.DataFrame, bpp: pd.Series) -> Point:
    pixels = (
        pd.to_numeric(rows["pixels"], errors="coerce").fillna(1.0) if "pixels" in rows else pd.Series(1.0, rows.index)
    )
    native = pd.to_numeric(rows["native_bits"], errors="coerce").fillna(16.0) if "native_bits" in rows else 16.0
    bits = float((bpp * pixels).sum())
    return Point(kind, series, name, command, float((native * pixels).sum()) / bits, bits / float(pixels.sum()), rows)
