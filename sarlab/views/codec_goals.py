"""The goals of the codec `lapped`: what was wanted, what was found, and whether that is met. All from the tables of its benchmarks."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from sarlab.views.codec_rows import name_of
from sarlab.views.listing import table
from sarlab.views.text import Html, Prose, missing, number

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

OURS, CORRECTED, ANCHOR, VIDEO = "lapped", "lapped --radiometric", "jpeg2000", "hevc12"
COMMAND = "python benchmarks/codec_goals.py --out book/results"
#: Interval of BD-rate in dB of PSNR on Sentinel-1, and the rates over which no codec may be better.
INTERVAL, RATES = (25.0, 40.0), (0.08, 3.0)
RATE_COLUMNS = ("scene", "band", "group", "acquisition", "codec", "target_value", "bpp", "psnr_db")
#: Groups of Sentinel-1 scenes; all others are other sensors or simulated.
SENTINEL1 = ("test", "independent", "ssl4eo")
#: Column → (name, what is better).
FIDELITY = {
    "epi_roa": ("edges kept (ratio of averages)", "higher"),
    "rmse_k8_db": ("error of 8×8 means", "lower"),
    "rmse_k32_db": ("error of 32×32 means", "lower"),
    "bias_brightness_worst_db": ("largest bias of a brightness class", "lower"),
}


class Goal(NamedTuple):
    """One line of the table.

    Attributes
    ----------
    what, wanted, found : str
    met : bool or None
        None where it was not measured.
    note : str
    """

    what: str
    wanted: str
    found: str
    met: bool | None
    note: str = ""


def rates(tables: Tables) -> pd.DataFrame:
    """Measured points of all codecs and scenes; those that could not be reached are left out."""
    rows = tables.table("codec_goal_rates", RATE_COLUMNS)
    return rows.dropna(subset=["bpp", "psnr_db"])


def bd_rates(tables: Tables) -> pd.DataFrame:
    """BD-rate against JPEG 2000 of every scene and band: columns scene, band, group, acquisition, codec, rate, reason.

    Over the interval of the protocol on Sentinel-1, over all that both curves share elsewhere.
    """
    from sarlab.metrics.rate import bd_rate

    found = []
    for (scene, band, group), rows in rates(tables).groupby(["scene", "band", "group"], sort=False):
        anchor = rows[rows["codec"] == ANCHOR]
        for codec, ours in rows[rows["codec"] != ANCHOR].groupby("codec", sort=False):
            difference = bd_rate(
                anchor["bpp"], anchor["psnr_db"], ours["bpp"], ours["psnr_db"],
                interval=INTERVAL if group in SENTINEL1 else None,
            )  # fmt: skip
            found.append((scene, band, group, rows["acquisition"].iloc[0], codec, difference.value, difference.reason))
    return pd.DataFrame(found, columns=["scene", "band", "group", "acquisition", "codec", "rate", "reason"])


def shares(tables: Tables) -> pd.DataFrame:
    """Bits of each codec at each of its points as a share of those of JPEG 2000 at the same PSNR.

    Returns
    -------
    DataFrame
        Columns scene, band, group, codec, bpp, psnr_db, share; only within the range of JPEG 2000's own points.
    """
    parts = []
    for _, rows in rates(tables).groupby(["scene", "band", "group"], sort=False):
        anchor = rows[rows["codec"] == ANCHOR].sort_values("psnr_db")
        if len(anchor) < 2:
            continue
        ours = rows[rows["codec"] != ANCHOR]
        psnr, known = ours["psnr_db"].to_numpy(float), anchor["psnr_db"].to_numpy(float)
        bits = np.exp(np.interp(psnr, known, np.log(anchor["bpp"].to_numpy(float))))
        inside = (psnr >= known[0] - 0.05) & (psnr <= known[-1] + 0.05)
        parts.append(ours.assign(share=ours["bpp"].to_numpy(float) / bits)[inside])
    columns = ["scene", "band", "group", "codec", "bpp", "psnr_db", "share"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def comparisons(tables: Tables, ours: str = CORRECTED) -> pd.DataFrame:
    """Every figure of fidelity at equal bytes beside that of the better peer: scene, band, target_value, metric, ours, peer, better.

    Errors of means and bias are what `--radiometric` is for, so it is on; with ``ours="lapped"`` it is off.
    """
    rows = tables.table("codec_goal_fidelity", ("scene", "band", "codec", "target_value", *FIDELITY))
    found = []
    for (scene, band, rate), part in rows.groupby(["scene", "band", "target_value"], sort=False):
        for metric, (_, direction) in FIDELITY.items():
            values = part.set_index("codec")[metric].astype(float).dropna()
            peers = values.reindex([ANCHOR, VIDEO]).dropna()
            if ours not in values or peers.empty:
                continue
            peer = peers.max() if direction == "higher" else peers.min()
            better = values[ours] > peer if direction == "higher" else values[ours] < peer
            found.append((scene, band, rate, metric, values[ours], peer, bool(better)))
    return pd.DataFrame(found, columns=["scene", "band", "target_value", "metric", "ours", "peer", "better"])


def goals(tables: Tables) -> list[Goal]:
    """All goals in order."""
    found = [*_rate_goals(tables), *_fidelity_goals(tables), *_bias_goals(tables), *_sensor_goals(tables)]
    return [*found, *_speed_goals(tables)] if found else []


def _rate_goals(tables: Tables) -> list[Goal]:
    differences = bd_rates(tables)
    ours = differences[(differences["codec"] == OURS)].dropna(subset=["rate"])
    test = ours[ours["group"] == "test"]
    if test.empty:
        return []
    real = ours[ours["group"].isin(SENTINEL1)]
    mean = real.groupby("band", sort=False)["rate"].mean()
    found = "; ".join(f"{row.band} {_percent(row.rate)}" for row in test.itertuples())
    wide = ", ".join(f"{band} {_percent(value)}" for band, value in mean.items())
    note = f"mean of {real['scene'].nunique()} scenes of {real['acquisition'].nunique()} acquisitions, fixed bytes of the smallest included: {wide}"
    rate = f"BD-rate against {name_of(ANCHOR)}, test scene"
    lines = [
        Goal(rate, f"≤ {_percent(limit)}", found, bool((test["rate"] <= limit).all()), note if limit == -20 else why)
        for limit, why in ((-20, ""), (-25, "where an ideal scalar quantizer on an ideal Gaussian transform stops"))
    ]
    bits = shares(tables)
    inside = bits[
        (bits["codec"] == OURS) & bits["group"].isin(SENTINEL1) & (bits["bpp"] >= RATES[0]) & (bits["bpp"] <= RATES[1])
    ]
    worst = inside.loc[inside["share"].idxmax()]
    lines.append(
        Goal(
            f"at no rate from {RATES[0]:g} to {RATES[1]:g} bpp worse than {name_of(ANCHOR)}, any scene", "≤ 0 %", _percent(100 * (worst["share"] - 1)),
            bool(worst["share"] <= 1), f"the worst of {len(inside)} files: {worst['scene']}, {worst['band']}, at {number(worst['bpp'], 2)} bpp",
        )
    )  # fmt: skip
    return lines


def _fidelity_goals(tables: Tables) -> list[Goal]:
    found, plain, lines = comparisons(tables), comparisons(tables, OURS), []
    for metric, (name, _) in FIDELITY.items():
        part = found[found["metric"] == metric]
        if part.empty:
            continue
        lost = part[~part["better"]]
        rates_lost = ", ".join(f"{rate:g}" for rate in sorted(lost["target_value"].unique()))
        off = plain[plain["metric"] == metric]
        note = f"with the bias corrected; uncorrected {int(off['better'].sum())} of {len(off)}"
        note += f"; not better at {rates_lost} bpp on some scene" if len(lost) else ""
        lines.append(
            Goal(
                f"{name}, at equal bytes", f"better than {name_of(ANCHOR)} and {name_of(VIDEO)} on every file",
                f"{len(part) - len(lost)} of {len(part)} files", lost.empty, note,
            )
        )  # fmt: skip
    return lines


def _bias_goals(tables: Tables) -> list[Goal]:
    columns = ("scene", "band", "mode", "target_value", "psnr_db", "bias_db", "bias_brightness_worst_db")
    rows = tables.table("codec_goal_radiometry", columns).dropna(subset=["psnr_db"])
    stored = rows[rows["mode"] == "stored"]
    if stored.empty:
        return []
    lines = []
    for column, name, limit in (
        ("bias_brightness_worst_db", "bias of every brightness class, corrected", 0.1),
        ("bias_db", "bias of the scene, corrected", 0.02),
    ):
        value = stored[column].abs()
        worst, over = stored.loc[value.idxmax()], stored[value > limit]
        learned = rows.loc[rows["mode"] == "learned", column].abs().max()
        off = rows.loc[rows["mode"] == "off", column].abs().max()
        note = (
            f"worst of {len(stored)} files: {worst['scene']}, {worst['band']}, at {worst['target_value']:g} bpp; {len(over)} above; without "
            f"what the file says {number(learned, 2)}, uncorrected {number(off, 2)} dB"
        )
        lines.append(Goal(name, f"≤ {limit:g} dB", f"{number(value.max(), 3)} dB", over.empty, note))
    paired = rows.pivot_table(index=["scene", "band", "target_value"], columns="mode", values="psnr_db")
    cost = (paired["off"] - paired["stored"]).groupby("target_value").mean()
    told = ", ".join(f"{number(value, 2)} dB at {rate:g}" for rate, value in cost.items())
    return [
        *lines,
        Goal("PSNR that the correction costs", "stated", f"{told} bpp", None if cost.isna().any() else True),
    ]


def _sensor_goals(tables: Tables) -> list[Goal]:
    found = bd_rates(tables)
    rows = found[(found["codec"] == OURS) & ~found["group"].isin(SENTINEL1)].dropna(subset=["rate"])
    if rows.empty:
        return []
    mean = rows.groupby("group", sort=False)["rate"].mean()
    told = "; ".join(f"{group} {_percent(value)}" for group, value in mean.items())
    return [
        Goal(
            f"other sensors and single look, BD-rate against {name_of(ANCHOR)}", "≤ 0 %", told, bool((rows["rate"] <= 0).all()),
            "without retraining; no real speckle of L band is at hand",
        )
    ]  # fmt: skip


def _speed_goals(tables: Tables) -> list[Goal]:
    rows = tables.table("codec_goal_speed", ("codec", "direction", "mpx_per_s", "bpp", "cores", "processor"))
    lines = []
    for direction in ("encode", "decode"):
        part = rows[rows["direction"] == direction].set_index("codec")["mpx_per_s"].astype(float)
        what, wanted = f"speed to {direction} near 0.5 bpp", "≥ 4 Mpixel/s"
        if OURS not in part:
            lines.append(Goal(what, wanted, "not measured", None))
            continue
        others = ", ".join(f"{name_of(codec)} {number(value, 1)}" for codec, value in part.items() if codec != OURS)
        note = f"{others}, on the same two cores; files read and written"
        lines.append(Goal(what, wanted, f"{number(part[OURS], 1)} Mpixel/s", bool(part[OURS] >= 4), note))
    why = "none was at hand when the weights were made"
    return [*lines, Goal("speed on an accelerator", "≥ 30 Mpixel/s", "not measured", None, why)]


def _percent(value: float) -> str:
    return f"{number(value, 1, sign=True)} %"


def goals_table(tables: Tables) -> Html | Prose:
    """Goals, what was found, and whether they are met."""
    lines = goals(tables)
    if not lines:
        return missing("measurements of the codec's goals", COMMAND)
    words = {True: "✓ met", False: "✗ missed", None: "open"}
    body = [
        [
            f"{html.escape(goal.what)}: {html.escape(goal.wanted)}",
            f"<strong>{words[goal.met]}</strong>, {html.escape(goal.found)}<br><small>{html.escape(goal.note)}</small>",
        ]
        for goal in lines
    ]
    met = sum(goal.met is True for goal in lines)
    caption = f"{met} of {len(lines)} goals met. Real files; none of the scenes was trained on."
    return table(["goal", "found"], body, caption=caption, left=2, wrap=(0, 1))


def summary(tables: Tables) -> Prose:
    """The main figures in one sentence."""
    test = bd_rates(tables)
    test = test[test["group"] == "test"].dropna(subset=["rate"])
    if test.empty:
        return missing("measurements of the codec's goals", COMMAND)
    parts = [
        f"{name_of(str(codec))} {_percent(part['rate'].mean())}" for codec, part in test.groupby("codec", sort=False)
    ]
    return Prose(
        f"Bits at equal PSNR on the test scene against {name_of(ANCHOR)}, mean of its bands: {', '.join(parts)}."
    )
