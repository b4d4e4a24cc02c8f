"""Page of one run: headline, pictures, training, latent, distribution, numbers and provenance, one function per cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sarlab.views import figures, page, select
from sarlab.views.figures import Figure, Panel

if TYPE_CHECKING:
    from sarlab.lab.experiment import Outcome

#: Side in pixels of the detail, and number of channels of a latent that are shown.
DETAIL, CHANNELS = 128, 8
#: Columns of the table of numbers.
COLUMNS = [
    "scene", "band", "split", "bpp", "psnr_db", "rmse_db", "ssim", "epi_roa", "enl_ratio", "bias_db", "gain_over_klt_db",
]  # fmt: skip


def headline(outcome: Outcome) -> page.Markdown:
    """Ratio, PSNR on the test scenes by band, and gain over the KLT."""
    rows, first = outcome.rows[outcome.rows["split"] == "test"].dropna(subset=["psnr_db"]), outcome.rows.iloc[0]
    by_band = rows.groupby("band")["psnr_db"]
    levels = "; ".join(f"{band} {page.span(values, page.number)} dB" for band, values in by_band)
    gain = page.number(rows["gain_over_klt_db"].mean(), 2, sign=True)
    size = f"`{outcome.run_id}` has one latent value for {first.dimension_ratio:g} pixels."
    against = f" It differs from the KLT with the same latent by {gain} dB on average."
    end = against if first.architecture != "klt" else ""
    return page.Markdown(f"{size} PSNR on test scenes: {levels or '–'}.{end}")


def show(outcome: Outcome, what: str) -> Figure:
    """Draw a figure of a run: ``"scene"``, ``"history"``, ``"latent"`` or ``"histogram"``; of several bands, the first."""
    if what == "history":
        return history(outcome.history)
    name, _, _ = next(iter(outcome.examples)).rpartition("/")
    parts = (outcome.examples[f"{name}/{part}"] for part in ("original", "reconstruction", "latent"))
    original, restored, y = (part.astype("float32") for part in parts)
    if what == "latent":
        return latent(y)
    if what == "histogram":
        series = {"original": original, "reconstruction": restored}
        return figures.distribution(series, axis="dB", title="Histograms of original and reconstruction", caption=name)
    row = outcome.rows.set_index(outcome.rows["scene"] + "/" + outcome.rows["band"]).loc[name]
    return pictures(original, restored, (float(row["clip_low"]), float(row["clip_high"])), title=name)


def pictures(original: np.ndarray, restored: np.ndarray, clip: tuple[float, float], *, title: str = "") -> Figure:
    """Original, reconstruction and error in dB of a scene (height, width), and of the detail in its middle below."""
    error = restored - original
    top, left = (max(0, (side - DETAIL) // 2) for side in original.shape)
    size = min(float(np.nanpercentile(np.abs(error), 99)) if np.isfinite(error).any() else 1.0, 99.0)
    panels: list[Panel] = []
    for cut in (np.s_[:, :], np.s_[top : top + DETAIL, left : left + DETAIL]):
        panels += figures.images([("original", original[cut]), ("reconstruction", restored[cut])], clip=clip).panels
        panels += figures.images([("error", error[cut])], clip=(-size, size), signed=True).panels
    rms = page.number(float(np.sqrt(np.nanmean(error**2))), 2)
    caption = (
        f"Above the scene, below the {DETAIL}×{DETAIL} pixels in its middle. Black to white: {page.number(clip[0])} to "
        f"{page.number(clip[1])} dB. Error: violet too dark, orange too bright, full color at {page.number(size)} dB; root "
        f"mean square {rms} dB."
    )
    return Figure(panels, title=title, caption=caption, narrowest=165)


def history(rows: pd.DataFrame) -> Figure:
    """Validation PSNR, loss and gradient norm of a training over its steps; nothing for a transform in closed form."""
    panels: list[Panel] = []
    labels = {"loss": "training loss", "gradient_norm": "gradient norm"}
    for column in ("validation_db", *labels):
        line = rows.assign(mean=select.numbers(rows, column), series="run").dropna(subset=["mean"])
        if len(line) > 1:
            log = column in labels and bool((line["mean"] > 0).all())
            panels += figures.curves(line, "step", column, "series", labels=labels, log=False, log_y=log).panels
    if not panels:
        return Figure([], caption="Nothing was trained: this transform follows from the data in closed form.")
    kept = ""
    if rows["validation_db"].notna().any():
        best = rows.loc[rows["validation_db"].idxmax()]
        kept = f"Best on validation: step {best['step']:.0f}, {page.number(best['validation_db'], 2)} dB."
    return Figure(panels, title="Quality, loss and gradients over the steps", caption=kept, narrowest=figures.NARROWEST)


def latent(y: np.ndarray) -> Figure:
    """Strongest channels of a latent (channels, height, width) as pictures."""
    variance = y.reshape(len(y), -1).var(axis=1, dtype=float)
    order = np.argsort(-variance, kind="stable")
    share = np.cumsum(variance[order]) / max(variance.sum(), 1e-30)
    needed, dead = int((share < 0.99).sum() + 1), int((variance <= 1e-6 * max(variance.max(), 1e-30)).sum())
    scaled = [(f"channel {k}", (y[k] - y[k].mean()) / max(float(y[k].std()), 1e-12)) for k in order[:CHANNELS]]
    drawn = figures.images(scaled, clip=(-2.5, 2.5), unit="standard deviations")
    counts = f"{needed} of {len(y)} channels have 99 % of the variance; {dead} are dead."
    caption = f"{counts} Each channel in its own standard deviations, from −2.5 to 2.5."
    return Figure(drawn.panels, title="Strongest channels of the latent", caption=caption, narrowest=drawn.narrowest)


def table(outcome: Outcome) -> page.HTML:
    """Numbers of every scene and band."""
    rows = outcome.rows[[name for name in COLUMNS if name in outcome.rows]]
    return page.table(rows.rename(columns=select.label), 3, left=3, caption=f"All scenes and bands of {outcome.run_id}")


def provenance(outcome: Outcome) -> page.HTML:
    """Versions, hardware, seed and cost of the run."""
    manifest, row = outcome.manifest, outcome.rows.iloc[0]
    entries: dict[str, Any] = {
        "run": outcome.run_id, "scenes": f"{outcome.spec.scenes.source}: {manifest.get('data', {}).get('note', '')}",
        **{name: manifest.get(name) for name in ("device", "threads", "commit", "finished")}, **manifest.get("versions", {}),
        "parameters": page.significant(row.get("parameters", np.nan), 4), "multiplications per pixel": page.significant(row.get("macs_per_pixel", np.nan), 4),
        "training time (s)": page.number(row.get("train_seconds", np.nan)), "converged": row.get("converged"),
    }  # fmt: skip
    frame = pd.DataFrame({"what": list(entries), "value": [str(value) for value in entries.values()]})
    return page.table(frame, caption="Specification, machine and versions", left=2, wrap=["value"])
