"""What bounds a training step: measured steps beside the roofline of the device they ran on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from sarlab.views.text import Prose, label, listing, number, significant

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

#: What a step waits for, in words.
BOUNDS = {"arithmetic": "multiplications", "memory": "memory", "launches": "the start of its kernels"}


def text(tables: Tables) -> Prose:
    """What the device can do at most, and what that makes of a step; empty where nothing was measured."""
    table = tables.table("roofline")
    if table.empty:
        return Prose()
    about = [f"Measured on {listing(sorted({str(name) for name in table['device']}))}:"]
    parts = []
    for precision, rows in table.groupby("precision", sort=True):
        peak, bandwidth = rows["flops_per_s"].median(), rows["bytes_per_s"].median()
        parts.append(
            f"{significant(peak / 1e12)} TFLOP/s in {precision}, copies at {significant(bandwidth / 1e9)} GB/s"
        )
    about.append(f"large products of matrices run at {listing(parts)}.")
    about.append(f"Starting a kernel takes {significant(table['launch_s'].median() * 1e6, 2)} µs.")
    most = table.loc[table["utilization"].astype(float).idxmax()]
    waits = table["bound"].mode()
    about.append(
        f"The most that a training step made of the peak is {number(100 * float(most['utilization']), 1)} %, "
        f"and what bounds most of these networks is {BOUNDS.get(str(waits.iloc[0]), str(waits.iloc[0]))}."
    )
    return Prose(" ".join(about))


def steps_table(tables: Tables) -> Prose:
    """Each measured step with its shares of the peak and of the roofline, as a table; empty where nothing was measured."""
    table = tables.table("roofline")
    if table.empty:
        return Prose()
    head = "| network | width | precision | ms a step | GFLOP a step | GB a step | % of the peak | % of the roofline | bound by |"
    body = [
        f"| {label(str(row['architecture']), str(row['init']))}{_graphs(row)} | {row['width']} | {row['precision']} "
        f"| {significant(1e3 * row['seconds'])} | {significant(row['flops'] / 1e9)} | {significant(row['bytes'] / 1e9)} "
        f"| {number(100 * row['utilization'], 1)} | {number(100 * row['of_roofline'], 1)} "
        f"| {BOUNDS.get(str(row['bound']), str(row['bound']))} |"
        for _, row in table.iterrows()
    ]
    sizes = table[["batch_size", "patch_size"]].drop_duplicates()
    steps = listing([f"{row['batch_size']} patches of {row['patch_size']}²" for _, row in sizes.iterrows()])
    note = (
        f"Steps of {steps}. The share of the peak is the model FLOPs utilization: multiplications and additions of "
        "convolutions, products and attention, forwards and backwards, over what the device does of them in that time. The "
        "roofline is the time of those operations at the peak or of the step's bytes at the bandwidth, whichever is longer."
    )
    return Prose("\n".join([head, "|---|---:|---|---:|---:|---:|---:|---:|---|", *body]), note)


def _graphs(row: pd.Series) -> str:
    return ", as a CUDA graph" if str(row["graphs"]) == "True" else ""
