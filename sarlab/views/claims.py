"""The guide's claims: for each a predicate that judges it from the tables of the book, and the table of the verdicts.

A predicate returns readings, which `conclude` makes a verdict of. It publishes none without satellite passes, and none
on networks that have not all converged.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from sarlab.errors import ResultsError
from sarlab.lab.operating_points import USE_CASES
from sarlab.lab.results import settling_steps
from sarlab.metrics.bounds import shannon_lower_bound
from sarlab.metrics.intervals import Interval, interval
from sarlab.specs import CONVERGED_BELOW_DB
from sarlab.views import page, select
from sarlab.views.page import number

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

HELD, REFUTED, DEPENDS, OPEN, UNMEASURED = "held", "refuted", "depends", "inconclusive", "not measured"
OUTCOMES = (HELD, REFUTED, DEPENDS, OPEN, UNMEASURED)
MARKS = dict(zip(OUTCOMES, "✓✗◐?–", strict=True))
#: Trainings from different seeds that a verdict about networks needs.
LEAST_SEEDS = 3


class Evidence(NamedTuple):
    """Observations behind a verdict: satellite passes, seeds and steps of trainings, whether all converged; 0 where there are none."""

    passes: int = 0
    seeds: int = 0
    steps: int = 0
    converged: bool = True
    other: str = ""

    @classmethod
    def of(cls, rows: pd.DataFrame, *, trained: bool = False) -> Evidence:
        """Evidence of rows of a table, which hold trained networks or not."""
        passes = int(select.passes(rows["acquisition"]).nunique()) if len(rows) else 0
        steps = int(np.nan_to_num(select.numbers(rows, "steps").max())) if trained else 0
        return cls(passes, rows["seed"].nunique(), steps, select.converged(rows)) if trained else cls(passes)

    def __str__(self) -> str:
        counts = ((self.passes, "pass", "passes"), (self.seeds, "seed", "seeds"))
        parts = [f"{n} {one if n == 1 else several}" for n, one, several in counts if n]
        parts += [f"trainings {'converged' if self.converged else 'not converged'}"] if self.seeds else []
        return ", ".join(filter(None, (*parts, self.other)))


class Reading(NamedTuple):
    """One sense of a claim, with its outcome, and for an open one what would settle it."""

    text: str
    outcome: str
    settle: str = ""


@dataclass(frozen=True)
class Verdict:
    """Outcome of a claim with the numbers that it rests on; refused without evidence, or on networks that have not converged."""

    outcome: str
    measured: str
    readings: tuple[Reading, ...] = ()
    evidence: Evidence = Evidence()  # noqa: RUF009
    settle: str = ""

    def __post_init__(self) -> None:
        if self.outcome in (HELD, REFUTED, DEPENDS):
            if not (self.evidence.passes or self.evidence.other):
                raise ResultsError(f"a verdict needs satellite passes or a stated other source: {self.measured}")
            if not self.evidence.converged:
                raise ResultsError(f"a verdict on trainings needs all of them converged: {self.measured}")


def conclude(
    readings: Iterable[Reading], evidence: Evidence | pd.DataFrame, measured: str = "", *, outcome: str = ""
) -> Verdict:
    """Verdict on all readings of a claim together, or `outcome`; inconclusive on networks that have not converged.

    `evidence` may be rows of trained networks; `measured`, for the table, is by default the first reading and a decisive one.
    """
    readings = tuple(reading for reading in readings if reading.outcome != UNMEASURED)
    need(readings, "the same networks in both variants")
    evidence = Evidence.of(evidence, trained=True) if isinstance(evidence, pd.DataFrame) else evidence
    outcome = outcome or together([reading.outcome for reading in readings])
    decisive = [reading.text for reading in readings if reading.outcome == outcome]
    measured = measured or "; ".join(dict.fromkeys([readings[0].text, *decisive[:1]]))
    settle = "; ".join(dict.fromkeys(r.settle for r in readings if r.settle)) if outcome == OPEN else ""
    if not evidence.converged:
        steps = page.significant(settling_steps(evidence.steps))
        outcome, settle = OPEN, f"not converged: trainings of {steps} steps would settle it"
    return Verdict(outcome, measured, readings, evidence, settle)


def together(outcomes: Sequence[str]) -> str:
    """Outcome of several readings: that of all, or it depends; an open one leaves it open."""
    kinds = set(outcomes)
    if len(kinds) == 1:
        return kinds.pop()
    return DEPENDS if {HELD, REFUTED} <= kinds or DEPENDS in kinds else OPEN


class Claim(NamedTuple):
    """A claim: what the guide states, its number, the page that measures it, and the predicate."""

    number: int
    text: str
    guide: str
    page: str
    predicate: Callable[[Tables], Verdict]

    def judge(self, t: Tables) -> Verdict:
        """Verdict on tables; "not measured" if they lack what the predicate needs."""
        try:
            return self.predicate(t)
        except Missing as missing:
            return Verdict(UNMEASURED, f"needs {missing}")


class Missing(ResultsError):
    """The tables lack what a claim needs."""


def need(there: object, what: str) -> None:
    """Stop judging a claim unless what it needs was measured."""
    if not there:
        raise Missing(what)


claims: dict[int, Claim] = {}


def claim(number: int, text: str, guide: str, page: str) -> Callable[[Callable[[Tables], Verdict]], Claim]:
    """Register the decorated predicate under the number of its claim."""
    return lambda predicate: claims.setdefault(number, Claim(number, text, guide, page, predicate))


def verdicts(t: Tables) -> dict[int, Verdict]:
    """Verdict of every claim, by its number."""
    return {number: claims[number].judge(t) for number in sorted(claims)}


# --- rows and differences ------------------------------------------------------------------------------------------------


def networks(t: Tables, *, init: str = "scratch", quantized: bool = False, curve: str = "dedicated") -> pd.DataFrame:
    """Trained networks of one start on recorded scenes, first band, unquantized or quantized."""
    rows = select.measured(t.runs)
    if rows.empty:
        return rows
    rows = rows[(rows["architecture"] != "klt") & (rows["init"] == init) & ((rows["quantizer"] != "f32") == quantized)]
    for column, wanted, usual in (("curve", curve, "dedicated"), ("loss_name", "mse", "mse")):
        rows = rows[rows[column].astype(object).fillna(usual) == wanted] if column in rows else rows
    return rows


def shares(values: bool | Iterable[bool], text: str) -> Reading:
    """Reading that holds at all of several places, at some or at none."""
    held = np.atleast_1d(np.asarray(values, bool))
    outcome = HELD if held.all() else DEPENDS if held.any() else REFUTED
    return Reading(f"{text} ({held.sum()} of {len(held)})" if len(held) > 1 else text, outcome)


def compared(
    text: str, rows: pd.DataFrame, by: str, first: object, second: object, metric: str = "psnr_db", *,
    pair: Sequence[str] = ("seed", "scene"), limit: float = 0.0, more: bool = True, digits: int = 2,
) -> Reading:  # fmt: skip
    """Reading that a metric at one value of a column exceeds that at another by more than `limit` (or less, if not `more`).

    Rows are paired by the columns `pair`. The difference counts with the wider of its intervals over passes and over
    trainings; it decides if the whole interval is on one side of the limit and there are trainings from enough seeds. A
    difference in dB within what a converged training may still gain counts as none.
    """
    keys = [name for name in pair if name in rows]
    sides = [rows[rows[by] == value].drop_duplicates(keys).set_index(keys) for value in (first, second)]
    gap = (select.numbers(sides[0], metric) - select.numbers(sides[1], metric)).dropna()
    if gap.empty:
        return Reading(text, UNMEASURED)
    about = sides[0].loc[gap.index].reset_index()
    trainings = about[[name for name in keys if name not in ("scene", "band")]].astype(str).agg("/".join, axis=1)
    found = {"passes": interval(gap, select.passes(about["acquisition"])), "trainings": interval(gap, trainings)}
    over = max(found, key=lambda name: np.nan_to_num(found[name].high - found[name].low))
    shown = {**found[over]._asdict(), "mean": found["passes"].mean, "over": over}
    unit = "dB" if metric.endswith("_db") else ""
    text = f"{text} {page.interval(shown, digits if unit else 3, unit=unit, sign=True)}"
    if about["seed"].nunique() < LEAST_SEEDS:
        return Reading(text, OPEN, f"trainings from {LEAST_SEEDS} seeds")
    if unit and not limit and max(-shown["low"], shown["high"]) < CONVERGED_BELOW_DB:
        return Reading(text, REFUTED)
    if shown["low"] > limit or shown["high"] < limit:
        return Reading(text, HELD if (shown["low"] > limit) == more else REFUTED)
    return Reading(text, OPEN, "more passes and seeds: the interval contains the limit")


# --- claims about images: PSNR over the ratio, speckle, the order of loss, limits ----------------------------------------

DOMAINS = {"psnr_db": "dB", "psnr_amplitude": "amplitude", "psnr_intensity": "intensity"}
GUIDE = {4.0: 45.0, 8.0: 40.0, 16.0: 35.0, 32.0: 30.0, 64.0: 25.0, 128.0: 20.0}
#: A value of the guide is met within this many dB; a codec approaches a limit within this factor of its rate.
NEAR_DB, NEAR_RATE = 2.0, 1.25
#: Rate in bits per pixel below which headers are most of a file.
LEAST_BPP = 0.1


def best(rows: pd.DataFrame, metric: str) -> pd.Series:
    """Mean of the best architecture at each ratio."""
    points = select.means(rows, metric, ["architecture", "dimension_ratio"])
    return points.groupby("dimension_ratio")["mean"].max().dropna()


def at_ratios(values: pd.Series, digits: int = 1) -> str:
    """``31.2 at 4×, 27.0 at 8×``."""
    return ", ".join(f"{number(v, digits)} at {page.ratio(at)}" for at, v in values.items())


@claim(1, "PSNR falls from 4× to 128×, with a knee.", "45, 40, 35, 30, 25, 20 dB", "rate_distortion")
def psnr_over_ratio(t: Tables) -> Verdict:
    rows, readings = select.main_line(networks(t)), []
    curves = {name: best(rows, column).reindex([*GUIDE]).dropna() for column, name in DOMAINS.items()}
    need(len(curves["dB"]) >= 3, "networks from scratch at several ratios")
    for name, curve in curves.items():
        near = (curve - curve.index.map(GUIDE)).abs() <= NEAR_DB
        outcome = HELD if near.all() else REFUTED if near.mean() < 0.5 else DEPENDS
        text = f"PSNR in {name} within {NEAR_DB:g} dB at {near.sum()} of {len(near)} ratios"
        readings += [Reading(text, outcome)] if len(near) else []
    missed = {reading.outcome for reading in readings} == {REFUTED}
    costs = -np.diff(curves["dB"]) / np.diff(np.log2(curves["dB"].index))
    knee = bool((costs[1:] > 1.5 * costs[:-1]).any())
    readings.append(shares(knee, "a knee, where a doubling costs half as much again as the one before"))
    measured = f"{at_ratios(curves['dB'])} (dB); {number(costs.mean())} dB per doubling"
    return conclude(readings, rows, measured, outcome=REFUTED if missed else "")


@claim(17, "Each use case has a ratio and a quality.", "8× > 35 dB, 16× > 30, 32× > 27, 64× > 24", "operating_point")
def use_cases(t: Tables) -> Verdict:
    rows, readings, shown = select.main_line(networks(t)), [], []
    wanted = {float(at): limit for _, limit, at in USE_CASES.values()}
    for column, name in DOMAINS.items():
        curve = best(rows, column).reindex([*wanted]).dropna()
        if len(curve):
            readings.append(shares(curve > curve.index.map(wanted), f"met with PSNR in {name}"))
            shown.append(f"in {name} {at_ratios(curve)}")
    need(readings, "networks from scratch at several ratios")
    return conclude(readings, rows, f"PSNR (dB) {'; '.join(shown)}")


@claim(18, "8× may be the sweet spot.", "4→8× costs 1 dB, 8→16× costs 5 dB", "operating_point")
def sweet_spot(t: Tables) -> Verdict:
    rows = select.main_line(networks(t))
    rows = rows[rows["dimension_ratio"].isin((4.0, 8.0, 16.0))]
    need(rows["dimension_ratio"].nunique() == 3, "networks from scratch at 4×, 8× and 16×")
    at = rows.pivot_table("psnr_db", ["architecture", "seed", "scene", "acquisition"], "dimension_ratio").dropna()
    first, second = at[4.0] - at[8.0], at[8.0] - at[16.0]
    both = pd.concat([(2 * first).rename("cost_db").reset_index(), second.rename("cost_db").reset_index()], keys=[1, 2])
    both, pair = both.reset_index(level=0, names="step"), ("architecture", "seed", "scene")
    excess = compared("second doubling minus twice the first", both, "step", 2, 1, "cost_db", pair=pair)
    measured = f"4→8× costs {number(first.mean())} dB, 8→16× costs {number(second.mean())} dB"
    return conclude([excess], rows, measured)


@claim(2, "Speckle can be compressed; SAR compresses well.", "speckle high, structure low entropy", "scene_entropy")
def speckle_compresses(t: Tables) -> Verdict:
    entropy = t.table("scene_entropy", ["grid", "kind", "looks", "jpegls_bpp", "acquisition"])
    files = t.table("reflectivity", ["correlation", "measured_cr", "rmse_clean_db", "scene"])
    fine, relative = (entropy[entropy["grid"] == name] for name in ("0.1 dB", "1/8 standard deviation"))
    files = files[files["correlation"] == 0]
    bits = relative.groupby("kind")["jpegls_bpp"].agg(["min", "max"]).reindex(["radar", "optical"])
    need(bits["min"].notna().all() and len(files), "the studies scene_entropy and reflectivity")
    single = fine[(fine["kind"] == "simulated") & (fine["looks"] == 1)]["jpegls_bpp"].mean()
    share = 1 - fine[fine["kind"] == "speckle-free"]["jpegls_bpp"].mean() / single
    recorded = files.groupby("scene")["rmse_clean_db"].max()  # of the mildest compression, which keeps all speckle
    closer = files[files["measured_cr"] >= 16].groupby("scene")["rmse_clean_db"].min() < recorded
    radar, optical = (page.span(bits.loc[kind], lambda v: number(v, 2)) for kind in bits.index)
    lossless = f"lossless: {number(100 * share, 0)} % of the bits of a single-look scene are speckle"
    equal = f"lossless at equal precision: radar takes {radar} bpp, optical images {optical} bpp"
    readings = [
        shares(closer, "lossy: 16× files can be closer to the speckle-free scene than the recorded image is"),
        shares(share < 0.5, lossless), shares(bits["min"]["radar"] < bits["max"]["optical"], equal),
    ]  # fmt: skip
    passes = Evidence.of(entropy[entropy["kind"] == "radar"]).passes
    evidence = Evidence(passes, other=f"{len(closer)} simulated scenes")
    return conclude(readings, evidence, "; ".join(reading.text for reading in readings[:2]))


@claim(19, "First lost: noise and texture; last: edges and objects.", "an order, no number", "fidelity")
def order_of_loss(t: Tables) -> Verdict:
    rows = select.main_line(networks(t))
    kinds, ends = ("edge", "target", "homogeneous", "texture"), ["lost_power_band8", "lost_power_band1"]
    columns = [*ends, "epi_roa", *(f"rmse_{kind}_db" for kind in kinds)]
    need(len(rows) and set(columns) <= set(rows), "networks from scratch with errors by frequency")
    lost = rows.groupby("dimension_ratio")[columns].mean().clip(upper=pd.Series(1.0, ends).reindex(columns), axis=1)
    structure, ground = (lost[[f"rmse_{kind}_db" for kind in part]].mean(axis=1) for part in (kinds[:2], kinds[2:]))
    readings = [
        shares(lost[ends[0]] > lost[ends[1]], "fine detail loses more of its power than coarse, by ratio"),
        shares(1 - lost["epi_roa"] < lost[ends[0]], "edges lose less than the finest detail, by ratio"),
        shares(structure < ground, "in dB, edges and targets err less than ground without them, by ratio"),
    ]
    fine, coarse = (at_ratios(100 * lost[end].iloc[[0, -1]], 0) for end in ends)
    measured = f"power lost at the finest detail: {fine} (%); at the coarsest: {coarse} (%)"
    return conclude(readings, rows, measured)


@claim(5, "No codec beats R(D); networks approach it.", "a bound, no number", "limits")
def bound(t: Tables) -> Verdict:
    columns = ["correlation", "looks", "rmse_db", "bpp"]
    white = t.table("reflectivity", columns).query("correlation == 0").dropna(subset=columns)
    found = rates_over_limit(t.table("limits", ["limit", "scene", "band", "psnr_db", "bpp"]), t.codecs)
    need(len(found) and len(white), "codecs and limits of the same scenes")
    least = np.array([shannon_lower_bound(*row) for row in white[["rmse_db", "looks"]].to_numpy()])
    quotient = (white["bpp"] / least)[least >= LEAST_BPP].min()
    learned = set(t.codecs.loc[t.codecs["family"] == "learned", "codec"])
    means = found.groupby("codec")["log"].mean()
    chosen = means[means.index.isin(learned) | (not learned & set(means.index))].idxmin()
    point = select.means(found[found["codec"] == chosen], "log", "codec").iloc[0]
    mean, low, high = (float(np.exp(point[end])) for end in ("mean", "low", "high"))
    over = Interval(mean, low, high, int(point["n"]), str(point["kind"]))
    name = page.name_of(chosen)
    near = f"{name} takes {page.interval(over, 2)} times the rate of Gaussian water-filling (near: ≤ {NEAR_RATE:g})"
    theorem = f"a theorem; on simulated speckle no file takes less than {number(quotient, 2)} times the Shannon bound"
    return conclude([shares(over.mean <= NEAR_RATE, near), shares(quotient >= 1, theorem)], Evidence.of(found))


def rates_over_limit(limits: pd.DataFrame, codecs: pd.DataFrame) -> pd.DataFrame:
    """Logarithm of each file's rate over that of Gaussian water-filling on its scene at its PSNR: column ``log``."""
    limits = limits[(limits["limit"] == "rwf") & (limits["bpp"] > 0)]
    lines, parts = dict(list(limits.groupby(["scene", "band"]))), []
    for key, rows in select.measured(codecs, band=None).groupby(["scene", "band"]) if len(codecs) else ():
        if key in lines:
            rate = rows["bpp_content"] if "bpp_content" in rows else rows["bpp"]
            least = select.interpolate(rows["psnr_db"], lines[key]["psnr_db"], np.log(lines[key]["bpp"]))
            parts.append(rows.assign(log=np.log(rate.where(rate > LEAST_BPP)) - least).dropna(subset=["log"]))
    return pd.concat(parts) if parts else pd.DataFrame()


# --- claims about latents and their bits ---------------------------------------------------------------------------------

QUANTIZED, STUDY = "quantized networks", "the study latent_bits"
LEVELS = 256
#: Losses in dB that the guide states, by bits.
GUIDE_DB = {16: (-np.inf, 0.1), 8: (0.5, 2.0), 4: (2.0, 5.0)}
#: Shares from which on a latent uses its whole range, and training with a quantizer makes a network robust.
WHOLE, ROBUST = 0.9, 0.5


def even(count: float) -> tuple[float, float]:
    """Share of levels in use and entropy in bits of so many values drawn evenly from all levels."""
    p = np.unique(np.random.default_rng(0).integers(LEVELS, size=int(count)), return_counts=True)[1] / int(count)
    return len(p) / LEVELS, float(-(p * np.log2(p)).sum())


def latent_bits(t: Tables) -> pd.DataFrame:
    """Rows of the study of KLT latents with a loss."""
    columns = [
        "loss_db", "scheme", "calibration", "granularity", "bits", "bytes", "values", "latent_range", "acquisition",
    ]  # fmt: skip
    return t.table("latent_bits", columns).dropna(subset=["loss_db"])


@claim(4, "Well-trained latents use the whole range.", "entropy close to its maximum", "entropy")
def whole_range(t: Tables) -> Verdict:
    rows = networks(t, quantized=True).reindex(columns=[*t.runs.columns.union(["level_usage", "latent_entropy"])])
    rows = rows.assign(count=rows["pixels"] / rows["spatial_reduction"] ** 2, all="")
    rows = rows[rows["quantizer"].isin(("u8", "u8t")) & (rows["count"] >= LEVELS) & rows["level_usage"].notna()]
    need(len(rows), f"{QUANTIZED} of 8 bits with at least {LEVELS} positions")
    reference = np.array([even(count) for count in rows["count"]]).T
    rows = rows.assign(levels=rows["level_usage"] / reference[0], entropy=rows["latent_entropy"] / reference[1])
    found = {name: select.means(rows, name, "all").iloc[0] for name in ("levels", "entropy")}
    readings = [
        Reading(f"{name} {page.interval(v, 2)} of evenly spread values", HELD if v["mean"] >= WHOLE else REFUTED)
        for name, v in found.items()
    ]
    failed = REFUTED if REFUTED in {reading.outcome for reading in readings} else ""
    return conclude(readings, rows, outcome=failed)


@claim(11, "Quantizing the latent costs little PSNR.", "float16 < 0.1 dB, int8 0.5–2 dB, int4 2–5 dB", "quantizers")
def losses(t: Tables) -> Verdict:
    rows, readings = latent_bits(t), []
    rows = rows[(rows["scheme"] == "float16") | ((rows["scheme"] == "affine") & (rows["calibration"] == "minmax"))]
    for bits, (low, high) in GUIDE_DB.items():
        need((rows["bits"] == bits).any(), STUDY)
        loss = rows[rows["bits"] == bits].groupby(["dimension_ratio", "granularity"])["loss_db"].mean()
        inside = loss.between(low, high)
        span = page.span(loss, lambda v: number(v, 3 if abs(v) < 0.1 else 2))
        outcome = HELD if inside.all() else DEPENDS if inside.any() else REFUTED
        readings.append(Reading(f"{bits} bits {span} dB ({inside.sum()} of {len(loss)} as stated)", outcome))
    measured = f"{', '.join(reading.text for reading in readings)}, by ratio and range"
    return conclude(readings, Evidence.of(rows), measured)


@claim(12, "Min-max quantization as written works for any number of bits.", "uint8 for any bits", "quantizers")
def as_written(t: Tables) -> Verdict:
    rows = latent_bits(t)
    guide = rows[rows["scheme"] == "guide"]
    wide, narrow = guide[guide["bits"] > 8], guide[guide["bits"] < 8]
    need(len(wide) and len(narrow), STUDY)
    same = rows[(rows["scheme"] == "affine") & (rows["granularity"] == "tensor") & (rows["bits"] == wide["bits"].min())]
    stored, span = (8 * narrow["bytes"] / narrow["values"]).min(), page.span(wide["loss_db"], number)
    works = wide["loss_db"].min() <= same["loss_db"].max() + 1
    least = narrow["bits"].min()
    readings = [
        shares(works, f"above 8 bits it loses {span} dB"),
        shares(stored <= least + 0.5, f"{least:g} bits are stored in {number(stored, 0)}"),
    ]
    return conclude(readings, Evidence.of(guide), "; ".join(reading.text for reading in readings))


@claim(13, "QuantizationNoise(bits) simulates the quantizer.", "noise of step 1 / (2^bits − 1)", "quantizers")
def noise_matches(t: Tables) -> Verdict:
    rows = latent_bits(t)
    ranges = rows.loc[rows["scheme"] == "float32", "latent_range"].dropna()
    need(len(ranges), STUDY)
    measured = f"the true step is {page.span(ranges, number)} times that of the noise, which assumes a range of 1"
    return conclude([shares(ranges.between(0.8, 1.25), "steps agree within a quarter")], Evidence.of(rows), measured)


@claim(14, "16×16×16 at 8 bits compresses 64×.", "64×", "quantizers")
def total_ratio(t: Tables) -> Verdict:
    rows = select.measured(t.runs)
    rows = rows[(rows["latent_channels"] == 16) & (rows["spatial_reduction"] == 16) & (rows["bits"] == 8)]
    sizes = {"against float32": "nominal_cr", "file against 16-bit samples": "measured_cr", "range-coded": "coded_cr"}
    means = {name: 1 / (1 / select.numbers(rows, column)).mean() for name, column in sizes.items()}
    means = {name: mean for name, mean in means.items() if np.isfinite(mean)}
    need(means, QUANTIZED)
    readings = [shares(np.isclose(mean, 64, rtol=0.05), f"{name} {number(mean)}×") for name, mean in means.items()]
    return conclude(readings, Evidence.of(rows), ", ".join(reading.text for reading in readings))


@claim(20, "Training with quantization noise makes the network robust.", "no number", "quantizers")
def robust(t: Tables) -> Verdict:
    same = [
        "architecture", "init", "spatial_reduction", "latent_channels", "width", "depth", "steps", "seed", "scene", "band",
    ]  # fmt: skip
    rows = select.measured(t.runs)
    rows = rows[rows["architecture"] != "klt"]
    plain = rows[rows["quantizer"] == "f32"].drop_duplicates(same)[[*same, "psnr_db"]]
    rows = rows[rows["quantizer"] != "f32"].merge(plain.rename(columns={"psnr_db": "unquantized"}))
    scheme = rows["quantizer"].astype(str).str.partition("-")[0] if len(rows) else ""
    rows = rows.assign(loss_db=rows["unquantized"] - rows["psnr_db"], scheme=scheme)
    seen = rows[rows["quantizer_training"].isin(("noise", "ste", "mixed"))]
    after = rows[rows["quantizer_training"] == "none"].merge(seen[[*same, "scheme"]].drop_duplicates())
    need(len(after), "the same quantizer after training and in it")
    whole, rows, readings = after["loss_db"].mean(), pd.concat([after, seen]), []
    for kind in seen["quantizer_training"].unique():
        name, sides = "rounding" if kind == "ste" else kind, (rows, "quantizer_training", "none", kind, "loss_db")
        for text, limit in (("in training removes", 0.0), ("removes more than half:", ROBUST * whole)):
            readings += [compared(f"{name} {text}", *sides, pair=(*same, "scheme"), limit=limit, digits=3)]
    measured = f"{'; '.join(reading.text for reading in readings[::2])} of {number(whole, 3)} dB"
    return conclude(readings, rows, measured)


# --- claims about networks and their training ----------------------------------------------------------------------------

SCRATCH = "plain, residual and attention networks from scratch"
SHAPES = "latents of several shapes at one ratio"
#: Memory in GB that the guide states by batch size, and its card.
STATED_GB, CARD_GB = {16: 4.0, 8: 2.5, 4: 1.5}, 8.0
#: Gain in dB that counts as the guide's two, and the ratio that counts as high.
TWO_DB, HIGH = 1.5, 32.0
THRESHOLDS = (20.0, 22.0, 24.0, 26.0, 28.0, 30.0)
PAIR = ("dimension_ratio", "spatial_reduction", "steps", "seed", "scene")


def shapes(rows: pd.DataFrame) -> pd.DataFrame:
    """Networks of one architecture and equal steps at 16× that differ in the shape of their latent, with most seeds.

    Multiplications are equal if there are several shapes of those, else the width is.
    """
    rows = rows[(rows["dimension_ratio"] == 16) & ~rows["experiment"].astype(str).str.startswith("depth")]
    if rows.empty:
        return rows
    rows = rows[rows["architecture"] == rows.groupby("architecture")["spatial_reduction"].nunique().idxmax()]
    for column in ("stem", "steps"):
        if column in rows and rows[column].notna().any():
            rows = rows[rows[column] == rows[column].mode().iloc[0]]
    equal = rows[(rows["macs_per_pixel"] / rows["macs_per_pixel"].median() - 1).abs() <= 0.1]
    several = equal["spatial_reduction"].nunique() > 1
    rows = equal if several else rows[rows["width"] == rows["width"].mode().iloc[0]]
    seeds = rows.groupby("spatial_reduction")["seed"].transform("nunique")
    return rows[seeds == seeds.max()]


def budget(rows: pd.DataFrame) -> str:
    """Phrase for what two architectures share: operations within 15 %, or the width."""
    found = rows.groupby("architecture")[["macs_per_pixel", "width"]].median()
    equal = found["macs_per_pixel"].max() <= 1.15 * found["macs_per_pixel"].min()
    return "at equal operations" if equal else "at equal width" if found["width"].nunique() == 1 else "at unequal size"


@claim(3, "Spend spatial resolution on edges, not on speckle.", "16×16, moderate channels", "latent_design")
def resolution_for_edges(t: Tables) -> Verdict:
    rows = shapes(networks(t))
    need(rows["spatial_reduction"].nunique() > 1, SHAPES)
    ends = rows["spatial_reduction"].min(), rows["spatial_reduction"].max()
    name = "one position per {:g}×{:g} against {:g}×{:g} pixels".format(*np.repeat(ends, 2))
    edges = compared(f"{name}: edges kept", rows, "spatial_reduction", *ends, "epi_roa")
    fine = compared("finest detail lost", rows, "spatial_reduction", *ends, "lost_power_band8", limit=-0.1)
    return conclude([edges, fine], rows)


@claim(6, "16×16 latents suit SAR better than 8×8 with more channels.", "16×16 with 16 to 64 channels", "latent_design")
def shape(t: Tables) -> Verdict:
    rows = shapes(networks(t))
    need({16, 32} <= set(rows["spatial_reduction"]), SHAPES)
    readings = [
        compared("16×16×16 against 8×8×64: PSNR", rows, "spatial_reduction", 16, 32),
        compared("edges kept", rows, "spatial_reduction", 16, 32, "epi_roa"),
        compared("error at targets", rows, "spatial_reduction", 16, 32, "rmse_target_db", more=False),
    ]
    return conclude(readings, rows)


@claim(7, "Four to five layers are the right depth.", "4–5 layers", "architectures")
def depth(t: Tables) -> Verdict:
    rows = networks(t)
    rows = rows[(rows["dimension_ratio"] == 16) & (rows["spatial_reduction"] == 16)]
    usual = np.where(rows["experiment"] == "depth: 3 layers", 3, 4 + 3 * rows["depth"])
    rows = rows.assign(layers=select.numbers(rows, "layers").fillna(pd.Series(usual, rows.index)))
    counts = rows.groupby("architecture")["layers"].nunique()
    rows = rows[rows["architecture"] == (counts.idxmax() if len(counts) else "")]
    right = rows["layers"].between(4, 5)
    others = sorted(rows.loc[~right, "layers"].unique())
    need(right.any() and others, "one shape at several depths")
    rows = rows.assign(layers=rows["layers"].where(~right, 4))
    readings = [compared(f"4 or 5 against {n:g} layers: PSNR", rows, "layers", 4, n, pair=PAIR) for n in others]
    return conclude(readings, rows, "; ".join(reading.text for reading in readings))


@claim(8, "Residual blocks gain 2 dB, or double the ratio at equal quality.", "16×: 30 → 32 dB", "architectures")
def residual_gain(t: Tables) -> Verdict:
    rows = select.main_line(networks(t))
    at = rows[(rows["dimension_ratio"] == 16) & rows["architecture"].isin(("plain", "residual"))]
    pairs = rows["architecture"].astype(str) + rows["dimension_ratio"].map(" {:g}".format).astype(str)
    twice = rows[pairs.isin(("plain 16", "residual 32"))]
    sides = "architecture", "residual", "plain"
    gain = compared(f"{budget(at)}: PSNR", at, *sides, limit=TWO_DB)
    double = compared("at twice the ratio: PSNR", twice, *sides)
    outcome = HELD if double.outcome == HELD else ""
    return conclude([gain, double], pd.concat([at, twice]), outcome=outcome)


@claim(9, "Attention preserves edges better, at little cost.", "no number", "architectures")
def attention(t: Tables) -> Verdict:
    rows = select.main_line(networks(t))
    rows = rows[rows["architecture"].isin(("attention", "residual"))]
    need(rows["architecture"].nunique() == 2, SCRATCH)
    sides = "architecture", "attention", "residual"
    readings = [
        compared(f"{budget(rows)}: edges kept", rows, *sides, "epi_roa", pair=PAIR),
        compared("error at edges", rows, *sides, "rmse_edge_db", pair=PAIR, more=False),
        compared("PSNR", rows, *sides, pair=PAIR),
    ]
    costs = t.table("cost", ["sweep", "value", "architecture", "macs_per_pixel"]).query("sweep == 'width'")
    macs = costs.pivot_table("macs_per_pixel", "value", "architecture")
    if {"attention", "residual"} <= set(macs):
        added = 100 * (macs["attention"] / macs["residual"] - 1).mean()
        readings.append(shares(added <= 25, f"{number(added, 0)} % more operations at equal width"))
    failed = REFUTED if readings[0].outcome == REFUTED else ""  # edges are what it is for
    return conclude(readings, rows, outcome=failed)


@claim(10, "64 to 128 channels are a good start; wider overfits with little data.", "64–128 channels", "architectures")
def width(t: Tables) -> Verdict:
    rows = t.table("trainings", ["sweep", "psnr_db", "width", "split", "patches", "band", "seed"])
    rows = rows[(rows["sweep"] == "width") & rows["psnr_db"].notna() & (rows["split"] != "train")]
    rows = rows[rows["band"] == rows["band"].head(1).squeeze()]
    narrow = rows.loc[rows["width"] < 64, "width"].max()
    need((rows["width"] == 64).any() and np.isfinite(narrow), "the study trainings")
    every, one = (rows[rows["patches"] == kind] for kind in ("all", "one"))
    readings = [
        compared(f"64 against {narrow:g} channels, all patches: PSNR", every, "width", 64, narrow),
        compared("one patch: PSNR", one, "width", 64, narrow, more=False),
    ]
    return conclude(readings, rows)


@claim(15, "The memory formula, and batches of 16, 8 and 4.", "4, 2.5 and 1.5 GB", "scale")
def memory_formula(t: Tables) -> Verdict:
    own = [guide_memory(batch, 256 * 256, 5e6) for batch in STATED_GB]
    off = max(abs(gb / stated - 1) for gb, stated in zip(own, STATED_GB.values(), strict=True))
    shown = f"formula for the guide's example: {', '.join(number(gb, 2) for gb in own)} GB"
    readings, rows = [shares(off < 0.15, shown)], peaks(t).sort_values("batch_size", ascending=False)
    if len(rows):
        used = (rows["peak_mb"] - rows["process_mb"]) / 1e3
        formula = [guide_memory(row.batch_size, row.patch_size**2, row.parameters) for row in rows.itertuples()]
        shown += f"; measured {', '.join(number(gb, 2) for gb in used)} GB"
        readings.append(shares((used / formula - 1).abs().max() < 0.15, "peaks within 15 % of the formula"))
    return conclude(readings, Evidence(other=f"arithmetic, {len(rows)} processes on a CPU (no CUDA memory)"), shown)


def peaks(t: Tables) -> pd.DataFrame:
    """Peaks of a training step of 256×256 images, by batch size, each measured in a fresh process."""
    rows = t.table("trainings", ["sweep", "peak_mb", "process_mb", "batch_size", "patch_size", "parameters"])
    return rows[rows["sweep"] == "memory"].dropna(subset=["peak_mb"])


def guide_memory(batch: float, pixels: float, parameters: float) -> float:
    """The guide's `estimate_memory` in GB at 32 bits."""
    return 4e-9 * (batch * pixels + parameters + 2 * batch * parameters + 2 * parameters)


@claim(16, "High ratios train less stably and may collapse; a warm start helps.", "64×: may collapse", "training")
def stability(t: Tables) -> Verdict:
    rows = select.main_line(networks(t))
    keys = ["architecture", "dimension_ratio", "seed"]
    need(len(rows), SCRATCH)
    runs = rows.groupby(keys).agg(psnr=("psnr_db", "mean"), collapsed=("collapsed", "max")).reset_index()
    runs["high"] = runs["dimension_ratio"] >= HIGH
    spread = runs.groupby(["high", *keys[:2]])["psnr"].var().groupby("high").mean() ** 0.5
    need(spread.notna().sum() == 2, "trainings of several seeds at several ratios")
    lost = runs.groupby("high")["collapsed"].agg(["sum", "count", "mean"]).astype(float)
    counts = " and ".join("{:g} of {:g}".format(*lost.loc[high, ["sum", "count"]]) for high in (True, False))
    deviations = " and ".join(number(spread[high], 2) for high in (True, False))
    outcome = HELD if lost["mean"][True] > lost["mean"][False] else REFUTED
    collapse = Reading(f"collapsed from 32× on and below: {counts}", outcome)
    readings = [collapse, shares(spread[True] > 2 * spread[False], f"spread over seeds {deviations} dB")]
    warm = networks(t, curve="progressive")
    starts = pd.concat([rows.assign(start="own"), warm[warm["steps"] < warm["steps"].max()].assign(start="warm")])
    readings.append(compared("warm start: PSNR", starts, "start", "warm", "own", pair=(*keys, "scene")))
    outcome = HELD if collapse.outcome == HELD else together([reading.outcome for reading in readings[:2]])
    return conclude(readings, rows, outcome=outcome)


@claim(21, "A better architecture passes at twice the ratio.", "32×: 31 dB with residual", "architectures")
def twice_the_ratio(t: Tables) -> Verdict:
    rows = select.main_line(networks(t))
    points, readings = select.means(rows, "psnr_db", ["architecture", "dimension_ratio"]), []
    for threshold in THRESHOLDS:
        reached = points[points["mean"] >= threshold].groupby("architecture")["dimension_ratio"].max()
        if "plain" in reached and len(reached) > 1:
            ratios = f"{page.ratio(reached['plain'])} and {page.ratio(reached.max())}"
            text = f"{threshold:g} dB: plain and the best network reach {ratios}"
            readings.append(shares(reached.max() >= 2 * reached["plain"], text))
    twice = sum(reading.outcome == HELD for reading in readings)
    measured = f"twice the ratio at {twice} of {len(readings)} thresholds of PSNR"
    return conclude(readings, rows, measured)


@claim(22, "A GPU of 8 GB is enough at batches of 8 to 16.", "8 GB", "scale")
def card(t: Tables) -> Verdict:
    runs = t.runs[(t.runs["architecture"] != "klt") & (t.runs["batch_size"] >= 8)]
    gb = runs.groupby("batch_size")["peak_memory_mb"].max().dropna() / 1e3
    known = {f"a run with batches of {batch:g}": peak for batch, peak in gb.items()}
    steps = [row for row in peaks(t).itertuples() if row.batch_size >= 8]
    known |= {f"a step of {row.batch_size:g} images of 256×256": row.peak_mb / 1e3 for row in steps}
    need(known, "trainings with batches of 8 or more")
    devices = page.listing(dict.fromkeys(str(name) for name in runs["device"].dropna())) or "a CPU"
    readings = [shares(peak < CARD_GB, f"{name}: {number(peak)} GB") for name, peak in known.items()]
    measured = f"at most {number(max(known.values()))} GB"
    return conclude(readings, Evidence(other=f"peak memory of processes on {devices}"), measured)


# --- the page ------------------------------------------------------------------------------------------------------------


def overview(found: dict[int, Verdict]) -> page.HTML:
    """One row per claim: the guide's number, what was measured with its readings folded, the verdict, the page."""
    rows = []
    for n, verdict in found.items():
        item, text = claims[n], html.escape
        readings = "".join(f"<li>{MARKS[r.outcome]} {text(r.text)}: {r.outcome}</li>" for r in verdict.readings)
        details = f"<details><summary>{text(str(verdict.evidence))}</summary><ul>{readings}</ul></details>"
        rows.append({
            "claim": f'<a id="claim-{n}"></a>{n}. {text(item.text)} <a href="{item.page}.html">Measured here.</a>',
            "verdict": f"<strong>{MARKS[verdict.outcome]} {verdict.outcome}</strong><br><small>{text(verdict.settle)}</small>",
            "the guide": text(item.guide), "measured": text(verdict.measured) + (details if readings else ""),
        })  # fmt: skip
    caption = "Claims of the guide and their verdicts, computed from the tables of this book"
    return page.table(pd.DataFrame(rows), 0, left=4, wrap=list(rows[0]), markup=list(rows[0]), caption=caption)
