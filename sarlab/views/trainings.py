"""Rows for questions about networks: depth, shapes and seeds among the runs, and the study of small trainings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.views.summary import bands

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

#: What makes the results that only the cut plan has.
COMMAND = "sarlab sweep report && sarlab report --plan report"
#: Two networks count as equal in multiplications within this share.
MATCHED = 0.1
#: Ratio at which one thing at a time is varied.
REFERENCE = 16.0
#: Mark of the networks of three layers, whose other columns look like those of four.
FOLDED = "depth: 3 layers"


def study(tables: Tables, sweep: str, *, measured: bool = True) -> pd.DataFrame:
    """Rows of one sweep of the study ``trainings``, of its first band; empty where the study was not run.

    Parameters
    ----------
    tables : Tables
    sweep : {"width", "steps", "positions", "memory"}
    measured : bool
        Only rows with a PSNR.
    """
    rows = tables.table("trainings")
    if rows.empty or "sweep" not in rows:
        return pd.DataFrame()
    rows = rows[rows["sweep"] == sweep]
    if not measured or rows.empty:
        return rows
    rows = rows.dropna(subset=["psnr_db"])
    return rows[rows["band"] == bands(rows)[0]] if len(rows) else rows


def matched(rows: pd.DataFrame) -> pd.DataFrame:
    """Plain networks at the reference ratio that have the steps, batch and multiplications of most of them."""
    rows = rows[(rows["architecture"] == "plain") & (rows["dimension_ratio"] == REFERENCE)] if len(rows) else rows
    if rows.empty:
        return rows
    rows = rows[rows["steps"] == rows["steps"].mode().iloc[0]]
    macs = rows["macs_per_pixel"].astype(float)
    return rows[(macs / macs.median() - 1).abs() <= MATCHED]


def depths(rows: pd.DataFrame) -> pd.DataFrame:
    """Networks of one latent shape and equal multiplications that differ in ``layers``, those on the way down."""
    rows = matched(rows)
    if rows.empty:
        return rows.assign(layers=[])
    rows = rows[rows["spatial_reduction"] == 16]
    layers = 4 + 3 * rows["depth"].astype(int)
    return rows.assign(layers=np.where(folded(rows), 3, layers))


def shapes(rows: pd.DataFrame) -> pd.DataFrame:
    """Networks of one ratio and equal multiplications that differ in the shape of their latent."""
    rows = matched(rows)
    if rows.empty:
        return rows
    # The pyramid without unstrided layers stands for its shape; where none of it fits the multiplications, the next.
    least = rows.groupby("spatial_reduction")["depth"].transform("min")
    rows = rows[rows["depth"] == least]
    return rows[~folded(rows)]


def folded(rows: pd.DataFrame) -> np.ndarray:
    """Which rows are of networks that fold the image before their first layer."""
    if "experiment" not in rows:
        return np.zeros(len(rows), bool)
    return (rows["experiment"].astype(str) == FOLDED).to_numpy()


def shape_name(reduction: float, channels: float) -> str:
    """Shape of the latent of 256×256 pixels: ``16×16×16``."""
    side = int(256 // reduction)
    return f"{side}×{side}×{int(channels)}"


def gradients(tables: Tables, rows: pd.DataFrame) -> pd.DataFrame:
    """Gradient norm of the first layer over that of the last, by training: the middle of what was looked at.

    Returns
    -------
    DataFrame
        Columns run_id, share.
    """
    columns = [name for name in tables.history if name.startswith("gradient_norm/model.")]
    found = []
    for run_id in rows["run_id"].unique():
        looked = tables.history[tables.history["run_id"] == run_id][columns].dropna(how="all").dropna(axis=1, how="all")
        down = sorted((name for name in looked if ".g_a." in name), key=_position)
        up = sorted((name for name in looked if ".g_s." in name), key=_position)
        if down and up:
            found.append((run_id, float((looked[down[0]] / looked[up[-1]]).median())))
    return pd.DataFrame(found, columns=["run_id", "share"])


def _position(name: str) -> list[int]:
    return [int(part) for part in name.split(".") if part.isdigit()]
