"""Claims about training: width and data, memory, stability."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.views import trainings
from sarlab.views.claims_old.parts import Part, compared, concluded
from sarlab.views.claims_old.verdict import (
    DEPENDS,
    HELD,
    OPEN,
    REFUTED,
    Difference,
    Verdict,
    claim,
    main_shapes,
    networks,
    together,
    unmeasured,
    widest,
)
from sarlab.views.summary import is_true, measured
from sarlab.views.text import listing, number, ratio, span

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

#: Memory in GB that the guide states for batches of 16, 8 and 4, and the card it speaks of.
STATED_GB, CARD_GB = {16: 4.0, 8: 2.5, 4: 1.5}, 8.0
#: Ratio from which on the guide expects trouble, and the deviation over seeds in dB below which nobody would notice it.
HIGH, STABLE_DB = 32.0, 0.5
#: Loss in dB on other scenes from which on a wider network overfits.
NOTICED_DB = 0.1
#: Trainings without a collapse that say something about how often there is one.
MANY_TRAININGS = 10
#: Width that the guide recommends at least.
WIDE = 64
STUDY = "the study trainings (plan cpu)"


@claim(10, "A width of 64 to 128 is a good start on 8 GB; wider overfits with little data.",
       "short trainings from scratch over width, on all patches and on one of them: PSNR on other scenes, and how far it falls behind that on the training scenes",
       "architectures")  # fmt: skip
def width(tables: Tables) -> Verdict:
    rows = trainings.study(tables, "width")
    if rows.empty or not (rows["width"] >= WIDE).any() or not (rows["width"] < WIDE).any():
        return unmeasured(STUDY)
    narrow, wide = int(rows.loc[rows["width"] < WIDE, "width"].max()), WIDE
    held = rows[rows["split"] != "train"]
    gain = {kind: across(held[held["patches"] == kind], "width", wide, narrow) for kind in ("all", "one")}
    gaps = rows.assign(kind=np.where(rows["split"] == "train", "train", "held"))
    behind = gaps.groupby(["patches", "width", "seed", "kind"])["psnr_db"].mean().unstack("kind")
    behind = (behind["train"] - behind["held"]).groupby(["patches", "width"]).mean()
    overfit = f"with one patch {wide} channels are worse elsewhere by more than {NOTICED_DB:g} dB"
    parts = [
        compared(f"with all patches {wide} channels are better than {narrow}", gain["all"], trainings=2),
        compared(overfit, gain["one"], -NOTICED_DB, more=False, trainings=2),
    ]
    figure = (
        f"{wide} against {narrow} channels: {gain['all'].text()} with all patches, {gain['one'].text()} with one; "
        f"learned from one patch, PSNR there minus that of other scenes is {number(behind['one'].iloc[0])} to {number(behind['one'].iloc[-1])} dB "
        f"from {narrow_wide(behind)}"
    )
    spans = [f"{item.span()} with {kind}" for kind, item in (("all", gain["all"]), ("one", gain["one"])) if item.span()]
    return concluded(parts, figure, f"interval: {', '.join(spans)}" if spans else "")


def narrow_wide(behind: pd.Series) -> str:
    """``16 to 96 channels``."""
    widths = behind["one"].index
    return f"{int(widths.min())} to {int(widths.max())} channels"


def across(rows: pd.DataFrame, by: str, first: object, second: object) -> Difference:
    """Paired difference of PSNR between two values of a column of the study, by scene and seed."""
    keys = ["seed", "scene"]
    sides = [rows[rows[by] == value].set_index(keys)[["psnr_db", "acquisition"]] for value in (first, second)]
    joined = sides[0].join(sides[1]["psnr_db"].rename("_other"), how="inner")
    if joined.empty:
        return Difference(np.nan, np.nan, np.nan, 0, 0)
    return widest(joined["psnr_db"] - joined["_other"], joined["acquisition"], ["seed"])


@claim(15, "The memory formula is right, and batches of 16, 8 and 4 take 4, 2.5 and 1.5 GB.",
       "what the formula gives for the guide's own case; peaks of a training step of 256×256 images, beside the formula, the guide's figures and a count by shapes",
       "architectures")  # fmt: skip
def memory_formula(tables: Tables) -> Verdict:
    stated = {batch: guide_memory(batch, 256 * 256, 5e6) for batch in STATED_GB}
    own = [abs(stated[batch] / STATED_GB[batch] - 1) for batch in STATED_GB]
    figure = f"for its own case the formula gives {', '.join(number(stated[b], 2) for b in STATED_GB)} GB"
    right = [max(own) < 0.15]
    rows = memory(tables)
    if len(rows):
        figure += (
            f"; measured {', '.join(number(v, 2) for v in rows['used_gb'])} GB at batches of "
            f"{', '.join(str(int(b)) for b in rows['batch_size'])}, {span(rows['used_gb'] / rows['formula_gb'], number)} times "
            f"the formula and {span(rows['used_gb'] / rows['stated_gb'], lambda v: number(v, 2))} times what is stated"
        )
        right.append(bool((rows["used_gb"] / rows["formula_gb"] - 1).abs().max() < 0.15))
        by_shapes = span(rows["estimated_mb"] / 1e3 / rows["used_gb"], lambda v: number(v, 2))
        interval = (
            f"each the peak of one process, so no interval; a count by shapes gives {by_shapes} of what was measured"
        )
        return Verdict(HELD if all(right) else REFUTED, figure, interval)
    return Verdict(HELD if all(right) else REFUTED, figure)


def memory(tables: Tables) -> pd.DataFrame:
    """Peaks of a training step at the guide's batches: ``used_gb``, what the formula gives, what the guide states."""
    rows = trainings.study(tables, "memory", measured=False)
    if rows.empty or "peak_mb" not in rows:
        return pd.DataFrame()
    rows = rows.sort_values("batch_size", ascending=False)
    formula = [guide_memory(r.batch_size, r.patch_size**2, r.parameters) for r in rows.itertuples()]
    return rows.assign(
        used_gb=(rows["peak_mb"] - rows["process_mb"]) / 1e3,
        formula_gb=formula,
        stated_gb=rows["batch_size"].map(STATED_GB).astype(float),
    )


def guide_memory(batch: float, pixels: float, parameters: float) -> float:
    """The guide's `estimate_memory`, in GB, at 32 bits."""
    return 4e-9 * (batch * pixels + parameters + 2 * batch * parameters + 2 * parameters)


@claim(16, "High ratios train less stably and collapse; starting from lower ratios helps.",
       "trainings from scratch that collapsed, and spread over seeds, by ratio; PSNR of a warm start minus that of a training of its own",
       "architectures")  # fmt: skip
def stability(tables: Tables) -> Verdict:
    rows = main_shapes(networks(tables))
    spread = spread_over_seeds(rows)
    halves = [spread[spread.index >= HIGH].sum(), spread[spread.index < HIGH].sum()]
    if any(half["degrees"] < 2 for half in halves):
        return unmeasured("trainings from scratch of three seeds at several ratios (plan cpu or full)")
    from scipy.stats import chi2, f

    high, low = (float(np.sqrt(half["squares"] / half["degrees"])) for half in halves)
    degrees = [float(half["degrees"]) for half in halves]
    most = high * float(np.sqrt(degrees[0] / chi2.ppf(0.025, degrees[0])))
    more = (high / max(low, 1e-9)) ** 2 / f.ppf([0.975, 0.025], *degrees)
    runs = rows.drop_duplicates("run_id")
    lost = is_true(runs["collapsed"])
    count, of = int(lost[runs["dimension_ratio"] >= HIGH].sum()), int((runs["dimension_ratio"] >= HIGH).sum())
    figure = (
        f"{count} of {of} trainings from {ratio(HIGH)} on collapsed, {int(lost.sum()) - count} of {len(runs) - of} below; "
        f"spread over seeds {number(high, 2)} dB there, {number(low, 2)} dB below"
    )
    warm = warm_start(tables)
    if warm.pairs:
        figure += f"; a warm start in fewer steps brings {warm.text()}" + (f" ({warm.span()})" if warm.span() else "")
    intervals = f"95 %: deviation at high ratios at most {number(most, 2)} dB, {span(np.sqrt(more), lambda v: number(v, 1))} times that at low ones"
    if not count:
        intervals += f"; at most {number(100 * (1 - 0.05 ** (1 / of)), 0)} % of such trainings collapse"
    below = int(lost.sum()) - count
    steady = most < STABLE_DB and of >= MANY_TRAININGS
    parts = [
        Part("high ratios collapse more often", HELD if count > below else REFUTED if of >= MANY_TRAININGS else OPEN,
             "" if count > below or of >= MANY_TRAININGS else f"{MANY_TRAININGS - of} more trainings from {ratio(HIGH)} on"),
        Part("their results spread more", HELD if more[0] > 1 else REFUTED if steady else OPEN,
             "" if more[0] > 1 or steady else f"more seeds, until the deviation is surely below {STABLE_DB:g} dB"),
    ]  # fmt: skip
    if warm.pairs:
        parts.append(compared("a warm start helps", warm))
    # Collapse is what the claim is about; less stable without it is another matter, and the remedy decides nothing alone.
    outcome = HELD if count > below else DEPENDS if more[0] > 1 else together([part.outcome for part in parts[:2]])
    return concluded(parts, figure, intervals, outcome=outcome)


def spread_over_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """Standard deviation of PSNR over seeds, pooled over architectures, by ratio, with its degrees of freedom."""
    if rows.empty:
        return pd.DataFrame(columns=["deviation", "degrees"])
    runs = rows.groupby(["architecture", "dimension_ratio", "seed"])["psnr_db"].mean()
    groups = runs.groupby(["dimension_ratio", "architecture"])
    squares, degrees = groups.var(ddof=1) * (groups.size() - 1), groups.size() - 1
    enough = degrees[degrees > 1].index
    pooled = pd.DataFrame({"squares": squares[enough], "degrees": degrees[enough]}).groupby(level=0).sum()
    return pooled.assign(deviation=np.sqrt(pooled["squares"] / pooled["degrees"]))


def warm_start(tables: Tables) -> Difference:
    """PSNR of networks that start from the one of twice the channels, minus those trained on their own, at equal ratio."""
    own, warm = networks(tables), networks(tables, curve="progressive")
    if own.empty or warm.empty:
        return Difference(np.nan, np.nan, np.nan, 0, 0)
    keys = ["architecture", "spatial_reduction", "latent_channels", "width", "depth", "seed", "scene"]
    warm = warm[warm["latent_channels"] < warm["latent_channels"].max()]
    joined = warm.set_index(keys)[["psnr_db", "acquisition"]].join(
        own.drop_duplicates(keys).set_index(keys)["psnr_db"].rename("_own"), how="inner"
    )
    if joined.empty:
        return Difference(np.nan, np.nan, np.nan, 0, 0)
    return widest(
        joined["psnr_db"] - joined["_own"], joined["acquisition"], ["architecture", "latent_channels", "seed"]
    )


@claim(22, "A GPU of 8 GB is enough at batches of 8 to 16.",
       "largest measured peak of memory of the runs, and of a training step of 16 images of 256×256 with 64 channels", "architectures")  # fmt: skip
def card(tables: Tables) -> Verdict:
    rows = measured(tables.runs)
    rows = rows[(rows["architecture"] != "klt") & (rows["batch_size"] >= 8)] if len(rows) else rows
    peaks = (
        pd.to_numeric(rows["peak_memory_mb"], errors="coerce").dropna() / 1e3 if len(rows) else pd.Series(dtype=float)
    )
    steps = memory(tables)
    if peaks.empty and steps.empty:
        return unmeasured("trainings with batches of 8 or more")
    parts, most = [], []
    if len(peaks):
        most.append(peaks.max())
        parts.append(f"runs take at most {number(peaks.max())} GB, in batches of up to {int(rows['batch_size'].max())}")
    if len(steps):
        top = steps.iloc[0]
        most.append(float(top["peak_mb"]) / 1e3)
        parts.append(
            f"a step of {int(top['batch_size'])} images with {int(top['width'])} channels {number(most[-1])} GB, process included"
        )
    devices = [str(name) for part in (rows, steps) if "device" in part for name in part["device"].dropna().unique()]
    where = f", on {listing(list(dict.fromkeys(devices)))}" if devices else ""
    interval = f"the largest of all{where}; no sample, so no interval"
    return Verdict(HELD if max(most) < CARD_GB else REFUTED, "; ".join(parts), interval)
