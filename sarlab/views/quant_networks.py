"""Networks with quantized latents: quantized after training, and with the quantizer in training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.views import listing, style
from sarlab.views.figure import Figure, Panel
from sarlab.views.quant_rows import COMMAND, look_of_label, loss, paired, scheme_of, spoken
from sarlab.views.summary import spread
from sarlab.views.text import Html, Prose, label, missing, number, ratio

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

#: Gains smaller than this are called none.
NOTHING = 0.01


def networks(tables: Tables) -> Figure:
    """Loss of networks with few bits over the ratio: quantized after training, and with the quantizer in training."""
    rows = paired(tables.runs)
    rows = rows[pd.to_numeric(rows["bits"], errors="coerce") <= 4] if len(rows) else rows
    if rows.empty:
        return Figure.nothing("networks with a quantizer of 4 bits or less", COMMAND)
    series = list(dict.fromkeys(zip(rows["architecture"], rows["init"], strict=True)))[:4]
    labels = sorted(rows["quantizer"].unique(), key=lambda name: (scheme_of(name), name))
    looks = {name: look_of_label(name) for name in labels}
    panels = [_network_panel(rows, name, init, looks) for name, init in series]
    return Figure(
        panels, key=list(looks.values()), narrowest=300, title=_network_title(rows),
        caption="Against the same training in float32, mean over bands of the test scenes and seeds. Filled: the weights of the float32 "
        "run, quantized afterwards. Hollow: the quantizer stood between encoder and decoder during training. All are "
        f"measured with real rounding. {_seeds(rows)}",
    )  # fmt: skip


def _network_panel(rows: pd.DataFrame, architecture: str, init: str, looks: dict) -> Panel:
    part = rows[(rows["architecture"] == architecture) & (rows["init"] == init)]
    lines = []
    with style.style():
        drawing, ax = style.axes(4.2, 3.0)
        ax.set_title(f"{label(architecture, init)}: loss of PSNR (dB)")
        ax.set_xscale("log", base=2)
        for name, look in looks.items():
            line = part[part["quantizer"] == name].groupby("dimension_ratio")["loss_db"].mean()
            if line.empty:
                continue
            ax.plot(line.index, line.to_numpy(), **look.line)
            values = ", ".join(f"{loss(v)} dB at {ratio(at)}" for at, v in line.items())
            lines.append(f"{look.label}: {values}")
        ax.set_ylim(min(0.0, ax.get_ylim()[0]), None)
        ticks = sorted(part["dimension_ratio"].unique())
        ax.set_xticks(ticks, [ratio(t) for t in ticks])
        ax.minorticks_off()
        ax.set_xlabel("compression ratio (values in ÷ values out)")
    return Panel(drawing, f"Loss of PSNR of {label(architecture, init)}. {'; '.join(lines)}.")


def _network_title(rows: pd.DataFrame) -> str:
    gains = trained_gains(rows)
    if gains.empty:
        return "What few bits cost networks"
    mean = gains["gain_db"].mean()
    if abs(mean) < NOTHING:
        return f"Training with the quantizer buys nothing here: it changes the loss by {loss(-mean)} dB on average"
    verb = "takes" if mean > 0 else "adds"
    where = "off" if mean > 0 else "to"
    return f"Training with the quantizer {verb} {loss(abs(mean))} dB {where} the loss on average"


def trained_gains(rows: pd.DataFrame) -> pd.DataFrame:
    """``gain_db`` of every trained quantizer over the same one after training, by series, ratio and seed."""
    keys = ["architecture", "init", "dimension_ratio", "seed", "scene", "band", "bits"]
    rows = rows.assign(scheme=rows["quantizer"].map(scheme_of), view=rows["quantizer_training"].fillna("none"))
    post = rows[rows["view"] == "none"].groupby([*keys, "scheme"])["loss_db"].mean()
    trained = rows[rows["view"] != "none"]
    joined = trained.join(post.rename("post_db"), on=[*keys, "scheme"])
    return joined.assign(gain_db=joined["post_db"] - joined["loss_db"]).dropna(subset=["gain_db"])


def _seeds(rows: pd.DataFrame) -> str:
    count = rows["seed"].nunique()
    return "One seed: no interval can be stated." if count == 1 else f"{count} seeds."


def networks_table(tables: Tables) -> Html | Prose:
    """Loss of every quantizer that networks were run with, at each ratio."""
    rows = paired(tables.runs)
    if rows.empty:
        return missing("networks with a quantizer", COMMAND)
    ratios = sorted(rows["dimension_ratio"].unique())
    body = []
    for (architecture, init, name), group in rows.groupby(["architecture", "init", "quantizer"], sort=False):
        cells = []
        for at in ratios:
            found = group[group["dimension_ratio"] == at]
            mean, low, high, *_ = spread(found["loss_db"], found["acquisition"], found["seed"])[0]
            cells.append("" if not np.isfinite(mean) else loss(mean) + (f" ± {loss((high - low) / 2)}" if np.isfinite(low) else ""))  # fmt: skip
        body.append([label(architecture, init), spoken(name), *cells])
    return listing.table(
        ["network", "quantizer", *(ratio(at) for at in ratios)], body, left=2, wrap=(0, 1),
        caption="Loss of PSNR in dB against the same training in float32, mean over bands and scenes (± half the 95 % interval, or half the range of fewer than five)",
    )  # fmt: skip


def trained_text(tables: Tables) -> Prose:
    """Whether training with the quantizer pays, by the way it is shown."""
    rows = paired(tables.runs)
    gains = trained_gains(rows) if len(rows) else pd.DataFrame()
    if gains.empty:
        return missing("networks that were trained with a quantizer", COMMAND)
    lines = []
    for name, group in gains.groupby("quantizer", sort=False):
        better = int((group.groupby(["dimension_ratio", "architecture", "init"])["gain_db"].mean() > 0).sum())
        of = group.groupby(["dimension_ratio", "architecture", "init"]).ngroups
        lines.append(
            f"{spoken(name).capitalize()}: {number(group['loss_db'].mean(), 2)} dB instead of "
            f"{number(group['post_db'].mean(), 2)} dB; better at {better} of {of} points."
        )
    return Prose("\n".join(f"- {line}" for line in lines))
