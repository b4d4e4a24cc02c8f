"""Select rows of tidy tables and average them: the one place that decides which rows a figure, a title and a sentence use.

An observation is one satellite pass. Slices of one data take and scenes within it share orbit, weather and season, so
they are averaged before an interval is taken (`sarlab.metrics.intervals.interval`).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from sarlab.lab.results import settling_steps
from sarlab.metrics import metrics
from sarlab.metrics.intervals import interval

#: The codec that the book recommends, and the one that others are compared with.
FLAGSHIP, ANCHOR = "lapped", "jpeg2000"
#: Range of PSNR in dB over which Bjøntegaard differences are taken.
BD_RANGE = (25.0, 40.0)
#: Columns that rows of `measured` have even if there are none.
KEYS = ("codec", "family", "scene", "band", "split", "acquisition", "target_value", "bpp", "measured_cr", "psnr_db")
#: Slices of one pass start within so many seconds of their neighbor.
SAME_PASS = 1800.0

#: Columns that make a training: two rows that agree in them come from the same weights, unless a quantizer was trained along.
TRAINING = [
    "architecture", "init", "spatial_reduction", "latent_channels", "width", "depth", "stem", "steps", "batch_size", "patch_size",
    "optimizer", "loss_name", "training_scenes", "curve", "seed",
]  # fmt: skip

_START = re.compile(r"^(S1[A-D])_.*?(\d{8}T\d{6})")
#: Labels of columns that are no metrics.
_LABELS = {
    "bpp": "bits per pixel of the file", "coded_bpp": "bits per pixel of the file", "rate": "bits per pixel of the file",
    "measured_cr": "compression ratio to the product's samples",
    "measured_cr_lossless": "compression ratio against the best lossless file",
    "dimension_ratio": "values in ÷ values out", "gain_over_klt_db": "gain over the KLT (dB)",
    "steps": "training steps", "step": "training step", "train_seconds": "training time (s)",
    "validation_db": "validation PSNR (dB)", "encode_seconds": "encoding time (s)", "decode_seconds": "decoding time (s)",
    "epi_roa": "edges kept (1 = all)", "enl_ratio": "looks after ÷ before", "bias_db": "radiometric bias (dB)",
    "bias_brightness_worst_db": "largest bias of a brightness class (dB)", "rmse_k8_db": "error of 8×8 means (dB)", "rmse_k32_db": "error of 32×32 means (dB)",
}  # fmt: skip


def label(column: str) -> str:
    """Name of a column with its unit, for axes and headers."""
    if column in _LABELS or column not in metrics:
        return _LABELS.get(column, column)
    metric = metrics[column]
    return metric.label if metric.unit == "1" else f"{metric.label} ({metric.unit})"


def better(column: str) -> str:
    """Note on the better direction of a metric, for a panel: ``"↑ better"``."""
    notes = {"higher": "↑ better", "lower": "↓ better", "zero": "0 is best", "one": "1 is best"}
    return notes.get(metrics[column].better, "") if column in metrics else ""


def passes(acquisitions: pd.Series) -> pd.Series:
    """Satellite pass of each acquisition: slices of one platform that start within half an hour of each other are one."""
    found = {name: _START.match(name) for name in acquisitions.dropna().astype(str).unique()}
    starts = sorted((m[1], pd.Timestamp(m[2]), name) for name, m in found.items() if m)
    names = {name: name for name in found}
    for (platform, start, name), (after, then, following) in itertools.pairwise(starts):
        if platform == after and (then - start).total_seconds() <= SAME_PASS:
            names[following] = names[name]
    return acquisitions.astype(str).map(names).fillna(acquisitions.astype(str))


def measured(rows: pd.DataFrame, *, split: str = "", band: str | None = "", simulated: bool = False) -> pd.DataFrame:
    """Select rows with a PSNR, of recorded (or `simulated`) scenes, one band and one split.

    Without rows of the `split`, ``"test"`` or ``"independent"``, all are returned. `band` is by default the first of the
    table, and None for all.
    """
    if "architecture" in rows and "curve" not in rows:
        rows = rows.assign(curve="dedicated")
    if rows.empty:
        return rows.reindex(columns=list(dict.fromkeys([*rows, *KEYS])))
    kept = rows[np.isfinite(numbers(rows, "psnr_db"))]
    if "simulated" in kept:
        chosen = kept[kept["simulated"].astype(bool) == simulated]
        kept = chosen if len(chosen) or simulated else kept
    if band is not None and len(kept):
        kept = kept[kept["band"] == (band or kept["band"].iloc[0])]
    of_split = kept[kept["split"] == split] if split else kept
    return of_split if len(of_split) else kept


def numbers(rows: pd.DataFrame, column: str) -> pd.Series:
    """A column as floats; NaN where the table has no such column."""
    return pd.to_numeric(rows[column], errors="coerce") if column in rows else pd.Series(np.nan, rows.index)


def means(
    rows: pd.DataFrame, y: str, by: str | Sequence[str], *, x: Sequence[str] = (), complete: bool = False
) -> pd.DataFrame:
    """Average a column per group over passes, with the interval: what a marker, a title and a sentence share.

    Compression ratios (columns with ``_cr``) are averaged as sizes: the ratio of all passes is that of their mean rate.

    Parameters
    ----------
    rows : DataFrame
    y : str
        Column to average.
    by : str or sequence of str
        Columns whose values make a group.
    x : sequence of str
        Further columns to average in the same way.
    complete : bool
        Drop groups that lack one of the scenes of `rows`: their mean would be one of other scenes.

    Returns
    -------
    DataFrame
        `by`, `x`, ``mean``, ``low``, ``high``, ``n``, ``kind`` (``"95 %"``, ``"range"`` or ``""``), ``over`` (``"passes"``,
        or ``"seeds"`` where all rows of a group are of one pass), ``scenes``.
    """
    by = [by] if isinstance(by, str) else list(by)
    columns = [*by, *x, "mean", "low", "high", "n", "kind", "over", "scenes"]
    if rows.empty or y not in rows or any(name not in rows for name in by):
        return pd.DataFrame(columns=columns)
    power = {name: -1 if "_cr" in name else 1 for name in (y, *x)}
    rows = rows.assign(
        **{name: numbers(rows, name) ** power[name] for name in power}, _pass=passes(rows["acquisition"])
    )
    rows = rows[np.isfinite(rows[y])]
    every, points = rows["scene"].nunique(), []
    for keys, group in rows.groupby(by, sort=False, observed=True):
        scenes = group["scene"].nunique()
        if complete and scenes < every:
            continue
        found, over = interval(group[y], group["_pass"]), "passes"
        if found.n == 1 and "seed" in group and (by_seed := interval(group[y], group["seed"])).n > 1:
            found, over = by_seed, "seeds"
        if power[y] < 0:
            found = found._replace(
                mean=1 / found.mean, low=1 / found.high, high=1 / found.low if found.low > 0 else np.inf
            )
        along = [float(group.groupby("_pass")[name].mean().mean()) ** power[name] for name in x]
        points.append((*keys, *along, *found, over, scenes))
    return pd.DataFrame(points, columns=columns)


def bars(points: pd.DataFrame) -> str:
    """Meaning of the intervals of `means`, as a sentence of a caption: never more than was computed."""
    known = points[points["kind"] != ""] if len(points) else points
    parts = []
    for (kind, over), group in known.groupby(["kind", "over"]) if len(known) else ():
        low, high = int(group["n"].min()), int(group["n"].max())
        count = str(high) if low == high else f"{low} to {high}"
        parts.append(f"{'95 % interval (Student) over' if kind == '95 %' else 'range of'} {count} {over}")
    if parts:
        return f"Bars: {'; '.join(sorted(parts))}."
    return "Each value is of one pass and one seed: no interval." if len(points) else ""


def where(rows: pd.DataFrame) -> str:
    """Scenes, passes and band of rows, for a caption."""
    if rows.empty:
        return ""
    scenes = [str(name) for name in rows["scene"].unique()]
    count = passes(rows["acquisition"]).nunique()
    named = ", ".join(scenes) if len(scenes) < 3 else f"{len(scenes)} scenes"
    simulated = "simulated, " if "simulated" in rows and rows["simulated"].astype(bool).all() else ""
    bands = ", ".join(str(band) for band in rows["band"].unique())
    return f"{named} ({simulated}{count} {'pass' if count == 1 else 'passes'}), band {bands}."


def interpolate(wanted: Any, x: Any, y: Any) -> np.ndarray:
    """`y` at the `wanted` values of `x`, linearly between neighbors; NaN outside of what was measured."""
    wanted, x, y = (np.asarray(values, float) for values in (wanted, x, y))
    known = np.isfinite(x) & np.isfinite(y)
    if known.sum() < 2:
        return np.full(wanted.shape, np.nan)
    order = np.argsort(x[known])
    return np.interp(wanted, x[known][order], y[known][order], left=np.nan, right=np.nan)


def at(points: pd.DataFrame, x: str, values: Sequence[float], columns: Sequence[str]) -> pd.DataFrame:
    """Columns of a curve at given values of `x`, interpolated over log2(x); NaN outside of what was measured."""
    along = np.log2(points[x].astype(float))
    found = {name: interpolate(np.log2(values), along, points[name]) for name in columns}
    return pd.DataFrame({x: np.asarray(values, float), **found})


def flagship(rows: pd.DataFrame) -> str:
    """Codec that the book recommends: `FLAGSHIP`, or where the table lacks it the learned codec with the smallest files."""
    if rows.empty or FLAGSHIP in set(rows["codec"]):
        return FLAGSHIP
    learned = rows[rows["family"] == "learned"]
    return str(numbers(learned, "bpp").groupby(learned["codec"]).mean().idxmin()) if len(learned) else FLAGSHIP


def comparable(runs: pd.DataFrame) -> pd.DataFrame:
    """Unquantized runs that a comparison of shapes, depths or architectures may use.

    Kept are trainings of one ratio for squared error where there are any and, of an architecture, start and ratio, those
    with the most training scenes and then the most steps.
    """
    if runs.empty:
        return runs
    rows = runs[numbers(runs, "bits").fillna(32) == numbers(runs, "bits").fillna(32).max()]
    for column, usual in (("curve", "dedicated"), ("loss_name", "mse")):
        if column in rows and (alone := rows[column].astype(object).fillna(usual) == usual).any():
            rows = rows[alone]
    for column in ("training_scenes", "steps"):
        if column in rows:
            most = rows.groupby(["architecture", "init", "dimension_ratio"])[column].transform("max")
            rows = rows[most.isna() | (rows[column] == most)]
    return rows


def main_line(runs: pd.DataFrame) -> pd.DataFrame:
    """One configuration per architecture, initialization and ratio, unquantized: what comparisons of networks rest on.

    Of `comparable` runs: the commonest spatial reduction of a ratio, the commonest depth and stem of an architecture, and its
    commonest width at a ratio.
    """
    rows, series = comparable(runs), ["architecture", "init"]
    groups = (
        ("spatial_reduction", ["dimension_ratio"]), ("depth", series), ("stem", series), ("width", [*series, "dimension_ratio"]),
    )  # fmt: skip
    for column, among in groups:
        if column in rows and len(rows):
            usual = rows.groupby(among)[column].transform(lambda v: v.mode().iloc[0] if len(v.mode()) else np.nan)
            rows = rows[usual.isna() | (rows[column] == usual)]
    return rows


def along(runs: pd.DataFrame, column: str) -> pd.DataFrame:
    """Runs of the main line and those that differ from it in one column alone, such as the steps or the loss.

    Only architectures, starts and ratios for which the column has several values are kept; quantized runs are not.
    """
    if runs.empty or column not in runs:
        return runs.iloc[:0]
    keys = [name for name in TRAINING if name in runs and name not in (column, "seed")]
    found = runs[numbers(runs, "bits") == 32].merge(main_line(runs)[keys].drop_duplicates(), on=keys)
    several = found.groupby(["architecture", "init", "dimension_ratio"])[column].transform("nunique") > 1
    return found[several.astype(bool)]


def network(rows: pd.DataFrame) -> pd.Series:
    """Name of the network of each row: ``"residual"``, ``"residual, KLT start"`` or ``"KLT"``."""
    start = np.where((rows["init"] == "klt") & (rows["architecture"] != "klt"), ", KLT start", "")
    return rows["architecture"].replace("klt", "KLT") + start


def converged(runs: pd.DataFrame) -> bool:
    """True if there are trained networks and all of them converged."""
    trained = runs[runs["architecture"] != "klt"] if len(runs) else runs
    return len(trained) > 0 and bool(_known_converged(trained).all())


def _known_converged(runs: pd.DataFrame) -> pd.Series:
    return runs.reindex(columns=["converged"])["converged"].eq(True).fillna(False)


def trainings(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per training: runs that quantize the latent of another run share its weights, as do the ratios of a nested curve."""
    if runs.empty:
        return runs
    rows = runs[runs["architecture"] != "klt"].drop_duplicates("run_id")
    along = rows["quantizer"].where(rows["quantizer_training"].fillna("none") != "none", "")
    nested = rows["curve"] == "nested" if "curve" in rows else pd.Series(False, rows.index)
    made = rows.assign(quantizer=along, latent_channels=rows["latent_channels"].mask(nested, 0))
    return rows[~made.duplicated([*(name for name in TRAINING if name in rows), "quantizer"])]


def convergence(runs: pd.DataFrame) -> dict[str, Any]:
    """Number of trainings of `runs` (``trainings``), how many converged, and the steps (``settled_by``) of the others that would tell."""
    rows = trainings(runs)
    done = _known_converged(rows)
    steps = {settling_steps(value) for value in numbers(rows[~done], "steps").dropna()}
    return {"trainings": len(rows), "converged": int(done.sum()), "settled_by": sorted(steps)}


def against(rows: pd.DataFrame, reference: pd.DataFrame, columns: Sequence[str], by: Sequence[str]) -> pd.DataFrame:
    """Subtract from columns of rows those of the reference that agrees in the columns `by`, on the same scene and band.

    Returns
    -------
    DataFrame
        The rows that have a reference, with the difference of each column as ``<column>_gain``.

    Raises
    ------
    ValueError
        If a row has several references: their mean would mix what the comparison keeps apart.
    """
    if rows.empty or reference.empty:
        return rows.iloc[:0].assign(**{f"{column}_gain": np.nan for column in columns})
    keys = [name for name in (*by, "scene", "band") if name in rows and name in reference]
    if reference.duplicated(keys).any():
        raise ValueError(f"several references agree in {', '.join(keys)}")
    found = rows.merge(reference[[*keys, *columns]], on=keys, suffixes=("", "_reference"))
    return found.assign(**{f"{c}_gain": numbers(found, c) - numbers(found, f"{c}_reference") for c in columns})


def bd_rates(rows: pd.DataFrame, *, rate: str = "bpp", **options: Any) -> pd.DataFrame:
    """Bjøntegaard difference in rate of every codec against `ANCHOR`, in percent, over passes.

    Parameters
    ----------
    rows : DataFrame
        Of one band.
    rate : str
        Column of the rate.
    options
        As for `sarlab.metrics.rate.bd_table`; the default range is `BD_RANGE`.

    Returns
    -------
    DataFrame
        ``codec`` and the columns of `means` with ``reason``, the smallest rate first.
    """
    from sarlab.metrics.rate import bd_table

    columns = ["codec", "mean", "low", "high", "n", "kind", "over", "scenes", "reason"]
    if rows.empty or ANCHOR not in set(rows["codec"]):
        return pd.DataFrame(columns=columns)
    rows = rows.assign(acquisition=passes(rows["acquisition"]))
    found = bd_table(rows, anchor=ANCHOR, rate=rate, **{"interval": BD_RANGE, **options})
    names = {"bd_rate_percent": "mean", "bd_rate_low": "low", "bd_rate_high": "high", "acquisitions": "n"}
    found = found[found["codec"] != ANCHOR].rename(columns=names)
    kind = np.where(found["low"].isna(), "", np.where(found["n"] < 5, "range", "95 %"))
    return found.assign(kind=kind, over="passes")[columns].sort_values("mean", ignore_index=True)
