"""Rows about quantizers: bits a value, losses against float32, and how each scheme is named and drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from sarlab.views.style import BLUE, GREEN, INK, MUTED, OCHRE, PURPLE, VERMILION, Look
from sarlab.views.summary import measured
from sarlab.views.text import number

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

COMMAND = "make book"


class Scheme(NamedTuple):
    """A family of quantizers that differ in bits.

    Parameters
    ----------
    key : str
    scheme, granularity, calibration : str
        As in a `QuantizerSpec`.
    coded : bool
        Whether its bits are those after range coding.
    look : Look
    """

    key: str
    scheme: str
    granularity: str
    calibration: str
    coded: bool
    look: Look


#: Families of the study in the order in which they are named.
SCHEMES = (
    Scheme("tensor", "affine", "tensor", "minmax", False, Look("one range for all, min-max", VERMILION, "s")),
    Scheme("minmax", "affine", "channel", "minmax", False, Look("range per channel, min-max", OCHRE, "D")),
    Scheme("mse", "affine", "channel", "mse", False, Look("range per channel, least error", PURPLE, "v")),
    Scheme("fsq", "fsq", "channel", "mse", False, Look("bounded by tanh (FSQ)", MUTED, "^")),
    Scheme("allocated", "allocated", "channel", "mse", False, Look("bits allocated", GREEN, "^")),
    Scheme("companded", "companded", "channel", "mse", False, Look("bits allocated, companded", BLUE, "o")),
    Scheme("trellis", "trellis", "channel", "mse", False, Look("trellis, bits allocated", INK, "D")),
    Scheme("coded", "affine", "tensor", "minmax", True, Look("one step for all, range-coded", INK, "s", hollow=True)),
)  # fmt: skip
BY_KEY = {scheme.key: scheme for scheme in SCHEMES}


def study(tables: Tables) -> pd.DataFrame:
    """Means over scenes and bands of the table ``latent_bits``, with ``fixed_bits`` and ``coded_bits`` a value.

    Returns
    -------
    DataFrame
        One row per ratio and quantizer; empty where the study was not run.
    """
    rows = tables.table("latent_bits")
    if rows.empty or "loss_db" not in rows:
        return pd.DataFrame()
    rows = rows.assign(
        fixed_bits=8 * rows["bytes"] / rows["values"],
        coded_bits=8 * pd.to_numeric(rows.get("coded_bytes", np.nan), errors="coerce") / rows["values"],
    )
    keys = ["dimension_ratio", "spatial_reduction", "latent_channels", "scheme", "granularity", "calibration", "bits", "quantizer"]  # fmt: skip
    numeric = [name for name in rows if name not in keys and pd.api.types.is_numeric_dtype(rows[name])]
    return rows.groupby(keys, sort=False, as_index=False)[numeric].mean()


def family(rows: pd.DataFrame, key: str, *, at: float | None = None) -> pd.DataFrame:
    """Rows of a family (at one ratio), with ``x``, its bits a value as they are counted, ascending."""
    wanted = BY_KEY[key]
    chosen = (
        (rows["scheme"] == wanted.scheme)
        & (rows["granularity"] == wanted.granularity)
        & (rows["calibration"] == wanted.calibration)
    )
    if at is not None:
        chosen &= rows["dimension_ratio"] == at
    found = rows[chosen]
    x = found["coded_bits" if wanted.coded else "fixed_bits"]
    return found.assign(x=x).dropna(subset=["x"]).sort_values(["dimension_ratio", "x"])


def loss_at(rows: pd.DataFrame, key: str, at: float, bits: float) -> float:
    """Loss in dB of a family at a ratio and bits a value, interpolated in its logarithm; NaN outside what was measured."""
    line = family(rows, key, at=at)
    line = line[line["loss_db"] > 0]
    if line.empty or not line["x"].min() - 0.1 <= bits <= line["x"].max() + 0.1:
        return float("nan")
    return float(np.exp(np.interp(bits, line["x"], np.log(line["loss_db"]))))


def bits_for(rows: pd.DataFrame, key: str, at: float, loss: float) -> float:
    """Bits a value at which a family loses `loss` dB, interpolated; NaN where none of its measured ones gets there."""
    line = family(rows, key, at=at)
    line = line[line["loss_db"] > 0].sort_values("loss_db")
    if line.empty or not line["loss_db"].min() <= loss <= line["loss_db"].max():
        return float("nan")
    return float(np.interp(np.log(loss), np.log(line["loss_db"]), line["x"]))


#: What must agree between a run with a quantizer and its sibling without.
PAIRED_BY = (
    *("architecture", "init", "spatial_reduction", "latent_channels", "width", "depth", "steps", "batch_size"),
    *("patch_size", "seed", "scene", "band", "split", "curve"),
)


def paired(runs: pd.DataFrame, *, split: str | None = "test") -> pd.DataFrame:
    """Rows of networks with a quantizer, each with ``loss_db`` against the same training in float32.

    Runs without such a sibling are left out.
    """
    rows = measured(runs, split=split)
    rows = rows[rows["architecture"] != "klt"]
    rows = rows.assign(curve=rows["curve"].fillna("dedicated") if "curve" in rows else "dedicated")
    plain = rows[rows["quantizer"] == "f32"].drop_duplicates(list(PAIRED_BY)).set_index(list(PAIRED_BY))["psnr_db"]
    others = rows[rows["quantizer"] != "f32"]
    if plain.empty or others.empty:
        return others.iloc[:0].assign(loss_db=[])
    joined = others.join(plain.rename("plain_psnr_db"), on=list(PAIRED_BY))
    joined = joined.assign(loss_db=joined["plain_psnr_db"].astype(float) - joined["psnr_db"].astype(float))
    return joined.dropna(subset=["loss_db"])


VIEWS = {
    "none": "after training",
    "noise": "noise in training",
    "ste": "rounding in training",
    "mixed": "noise, then rounding in training",
    "guide-noise": "the guide's noise in training",
}
NAMES = {
    "affine": "range per channel",
    "allocated": "bits allocated",
    "companded": "bits allocated, companded",
    "trellis": "trellis, bits allocated",
    "lsq": "learned steps",
    "fsq": "bounded by tanh (FSQ)",
    "guide": "the guide's code",
    "float16": "float16",
    "bfloat16": "bfloat16",
}


def scheme_of(label: str) -> str:
    """Scheme that a quantizer's label (``c4-ste``) stands for."""
    head = label.partition("-")[0]
    names = {"u": "affine", "a": "allocated", "c": "companded", "f": "float16", "bf": "bfloat16"}
    stem = head.rstrip("t").rstrip("0123456789")
    return names.get(stem, stem)


def spoken(label: str) -> str:
    """A quantizer's label in words: ``c4-ste`` → ``bits allocated, companded, 4 bits, rounding in training``."""
    head, _, view = label.partition("-")
    scheme = scheme_of(label)
    bits = "".join(c for c in head if c.isdigit()) if scheme not in ("float16", "bfloat16") else ""
    name = "one range for all" if scheme == "affine" and head.endswith("t") else NAMES.get(scheme, scheme)
    parts = [name, f"{bits} bits" if bits else "", VIEWS.get(view, view) if view else "after training"]
    return ", ".join(part for part in parts if part)


def short(label: str) -> str:
    """A quantizer's label in few words, for keys: ``c4-ste`` → ``companded 4 bit, rounding in training``."""
    name = spoken(label).replace("range per channel", "per channel").partition(", ")[0]
    head, _, seen = label.partition("-")
    name = scheme_of(head) if scheme_of(head) in ("companded", "trellis") else name
    count = "".join(c for c in head if c.isdigit())
    seen = {"mixed": "both in training", "guide-noise": "guide's noise"}.get(seen, VIEWS.get(seen, seen))
    return f"{name} {count} bit{f', {seen}' if seen else ''}"


def look_of_label(label: str) -> Look:
    """Look of a quantizer in a figure of networks: color by scheme, hollow where training saw it."""
    colors = {"affine": PURPLE, "allocated": GREEN, "companded": BLUE, "trellis": INK}
    colors |= {"lsq": VERMILION, "fsq": MUTED, "guide": OCHRE}
    view = label.partition("-")[2]
    marker = {"": "o", "noise": "s", "ste": "^", "mixed": "D", "guide-noise": "v"}.get(view, "o")
    return Look(short(label), colors.get(scheme_of(label), INK), marker, hollow=bool(view), width=1.5)


def loss(value: float) -> str:
    """A loss for people: two digits, three below 0.1."""
    return number(value, 2 if abs(value) >= 0.0995 else 3)
