"""Images of one PSNR side by side, what else is measured on them, and one file's PSNR in three domains."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.views import limits, style
from sarlab.views.codec_rows import bands, curve, evaluated, name_of, shown, where
from sarlab.views.figure import Figure, Panel
from sarlab.views.limit_figures import COMMAND, RATE
from sarlab.views.listing import table
from sarlab.views.scenes import show
from sarlab.views.style import BLUE, GRAY, GREEN, VERMILION, Look
from sarlab.views.summary import is_true
from sarlab.views.text import Html, Prose, missing, number
from sarlab.views.text import listing as words

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

#: What each image is called.
NAMES = {
    "recorded": "recorded", "clean": "without its speckle", "offset": "darker", "noise": "noise added", "blur": "blurred",
    "redraw": "another acquisition",
}  # fmt: skip
#: Columns of the table: (column, heading, digits).
COLUMNS = (
    ("psnr_db", "PSNR (dB)", 1), ("psnr_amplitude", "PSNR, ampli­tude", 1), ("ssim", "SSIM", 2), ("rmse_k8_db", "error 8×8 (dB)", 2), ("bias_db", "bias (dB)", 2), ("enl_ratio", "looks ratio", 2),
    ("epi_roa", "edges", 2), ("targets_kept", "targets kept", 2), ("targets_invented", "invented", 2),
)  # fmt: skip
CLEAN_COLUMNS = (("psnr_clean_db", "PSNR to clean", 1), ("epi_roa_clean", "edges to clean", 2))
#: Domain → (column, color, marker).
DOMAINS = {"dB": ("psnr_db", BLUE, "o"), "amplitude": ("psnr_amplitude", VERMILION, "s"), "intensity": ("psnr_intensity", GREEN, "^")}  # fmt: skip


def label(image: str) -> str:
    """Name of an image for people."""
    return NAMES.get(image, name_of(image))


def chosen(tables: Tables, *, simulated: bool) -> pd.DataFrame:
    """Rows of the simulated or of the recorded scene."""
    rows = tables.table("equal_psnr")
    if rows.empty or "image" not in rows:
        return rows.iloc[:0]
    return rows[is_true(rows["simulated"]) == simulated]


def pictures(tables: Tables, *, simulated: bool) -> Figure:
    """The same detail of every image: those of one PSNR first, then what has its own.

    Parameters
    ----------
    tables : Tables
    simulated : bool
        The simulated scene, where the scene without its speckle is known; else the recorded one.
    """
    rows = chosen(tables, simulated=simulated)
    rows = rows.dropna(subset=["picture"]) if "picture" in rows else rows.iloc[:0]
    if rows.empty:
        return Figure.nothing("images of one PSNR", COMMAND)
    clip = (float(rows["clip_low"].iloc[0]), float(rows["clip_high"].iloc[0]))
    target = float(rows["target_db"].iloc[0])
    others = ("recorded", "redraw")
    ordered = pd.concat(
        [rows[rows["image"] == "recorded"], rows[~rows["image"].isin(others)], rows[rows["image"] == "redraw"]]
    )
    panels = [_picture(row, clip) for row in ordered.itertuples()]
    same = int((~ordered["image"].isin(others)).sum())
    kind = "Simulated" if simulated else "Recorded"
    return Figure(
        panels, narrowest=130, title=f"{number_word(same)} images as far from the recorded one as PSNR can tell: {number(target)} dB each",
        caption=f"{kind}: {ordered['scene'].iloc[0]}, band {ordered['band'].iloc[0]}, {_looks(ordered)}; a detail of each, gray from "
        f"{number(clip[0], 0)} to {number(clip[1], 0)} dB. The PSNR aimed at is that of "
        + ("the scene without its speckle." if simulated else "the speckle floor of the nominal looks.")
        + " Another acquisition (the same ground under newly drawn speckle"
        + (")" if simulated else "; here the ground is only estimated, by a Lee filter)")
        + " has a lower one.",
    )  # fmt: skip


def _picture(row: object, clip: tuple[float, float]) -> Panel:
    from matplotlib.figure import Figure as Drawing

    image = decode(str(row.picture), clip)  # type: ignore[attr-defined]
    name, psnr = label(str(row.image)), float(row.psnr_db)  # type: ignore[attr-defined]
    with style.style():
        drawing = Drawing(figsize=(1.7, 1.95), layout="constrained")
        ax = drawing.subplots()
        ax.set_title(name, fontsize=8.5)
        show(ax, image, clip, GRAY)
        ax.set_xlabel(f"{number(psnr)} dB" if np.isfinite(psnr) else "the original", fontsize=8)
    return Panel(drawing, f"{name}: {number(psnr)} dB." if np.isfinite(psnr) else f"{name}.")


def decode(text: str, clip: tuple[float, float]) -> np.ndarray:
    """Picture of a table as dB values, shape (height, width)."""
    from PIL import Image

    gray = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("L"), float)
    return clip[0] + gray / 255 * (clip[1] - clip[0])


def listing(tables: Tables, *, simulated: bool) -> Html | Prose:
    """What else is measured on the images of one PSNR."""
    rows = chosen(tables, simulated=simulated)
    if rows.empty:
        return missing("images of one PSNR", COMMAND)
    columns = [*COLUMNS, *(CLEAN_COLUMNS if simulated else ())]
    columns = [column for column in columns if column[0] in rows]
    body = []
    for row in rows[rows["image"] != "recorded"].to_dict("records"):
        amount = _amount(row)
        name = html.escape(label(row["image"])) + (f"<br><small>{amount}</small>" if amount else "")
        body.append([name, *(number(row[column], digits) for column, _, digits in columns)])
    kind = "simulated scene" if simulated else "recorded scene"
    return table(
        ["image", *(heading for _, heading, _ in columns)],
        body,
        caption=f"The images above, {kind}: what PSNR does not see",
    )


def _amount(row: dict) -> str:
    if pd.notna(row.get("bpp")):
        return f"{number(row['bpp'], 2)} bit per pixel"
    amount = row.get("amount")
    units = {"offset": "dB darker", "noise": "dB of noise", "blur": "pixels of blur"}
    return f"{number(amount)} {units[row['image']]}" if pd.notna(amount) and row["image"] in units else ""


def domains(tables: Tables, codecs: tuple[str, ...] = ("jpeg2000", "jpegls")) -> Figure:
    """PSNR of the same files in dB, in amplitude and in intensity, over the rate."""
    rows = shown(evaluated(tables))
    known = [codec for codec in codecs if codec in set(rows["codec"])] if len(rows) else []
    if not known:
        return Figure.nothing("evaluated codecs", COMMAND)
    known_limits = tables.table("limits")
    panels, gaps = [], []
    for codec in known:
        part = rows[rows["codec"] == codec]
        spoken = []
        with style.style():
            drawing, ax = style.axes(3.8, 2.9)
            ax.set_title(f"{name_of(codec)}: PSNR (dB)")
            for domain, (column, color, marker) in DOMAINS.items():
                points = curve(part, column)
                ax.plot(points["bpp"], points["mean"], color=color, marker=marker, markersize=4)
                at = points[np.isclose(points["target_value"], 26)]
                spoken += [
                    f"{domain}: {number(m)} dB at {b:.2g} bpp" for m, b in zip(at["mean"], at["bpp"], strict=True)
                ]
            ax.set_xlim(0, part["bpp"].astype(float).max() * 1.03)
            ax.set_xlabel(RATE)
            bound = limits.draw(
                ax, known_limits, scene=str(rows["scene"].iloc[0]), band=bands(rows)[0], which=("rwf",), label=False
            )
            spoken += [bound] if bound else []
        panels.append(Panel(drawing, f"{name_of(codec)}, PSNR over {RATE}. {'; '.join(spoken)}."))
        at = part[np.isclose(part["target_value"].astype(float), 26)]
        gaps += [at[[c for c, _, _ in DOMAINS.values()]].astype(float).mean().to_numpy()]
    first = gaps[0]
    return Figure(
        panels, narrowest=260, key=[Look(f"of {domain}", color, marker) for domain, (_, color, marker) in DOMAINS.items()]
        + (limits.looks(("rwf",)) if len(known_limits) else []),
        title=f"One file of {name_of(known[0])} has a PSNR of {number(first[0])}, {number(first[1])} or {number(first[2])} dB, by the domain it is computed in",
        caption=f"{where(rows)}. Each PSNR against the width of the same clip range, in its own domain. In intensity bright samples count most, "
        "in dB all count alike." + (f" {limits.meaning(('rwf',))} It is known for the PSNR of dB." if len(known_limits) else ""),
    )  # fmt: skip


#: What the sentences compare: (column, words, digits).
DIFFERENCES = (
    ("targets_kept", "the share of point targets kept", 2), ("epi_roa", "the agreement of edges", 2),
    ("bias_db", "the bias in dB", 2), ("rmse_k8_db", "the error in dB after averaging 8×8", 2), ("enl_ratio", "the ratio of looks", 1),
)  # fmt: skip


def text(tables: Tables) -> Prose:
    """What the images of one PSNR differ in, in sentences."""
    lines = []
    for simulated in (True, False):
        rows = chosen(tables, simulated=simulated)
        rows = rows[~rows["image"].isin(("recorded", "redraw"))] if len(rows) else rows
        parts = []
        for column, what, digits in DIFFERENCES:
            values = pd.to_numeric(rows[column], errors="coerce") if column in rows else pd.Series(dtype=float)
            if values.notna().sum() < 2:
                continue
            low, high = values.idxmin(), values.idxmax()
            parts.append(
                f"{what} from {number(values[low], digits)} ({label(rows.loc[low, 'image'])}) to "
                f"{number(values[high], digits)} ({label(rows.loc[high, 'image'])})"
            )
        if parts:
            lines.append(
                f"**On the {'simulated' if simulated else 'recorded'} scene**, at one PSNR, go {words(parts)}."
            )
    redraw = chosen(tables, simulated=True)
    redraw = redraw[redraw["image"] == "redraw"] if len(redraw) else redraw
    if len(redraw):
        row = redraw.iloc[0]
        lines.append(
            f"**Another acquisition of the very same ground** scores {number(row['psnr_db'])} dB, "
            f"{number(row['target_db'] - row['psnr_db'])} dB less than the scene without its speckle: the squared distance of two "
            "speckle patterns is twice that of one from none."
        )
    return Prose("\n".join(f"- {line}" for line in lines)) if lines else missing("images of one PSNR", COMMAND)


def number_word(count: int) -> str:
    """Count as the first word of a sentence."""
    words = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")
    return words[count] if count < len(words) else str(count)


def _looks(rows: pd.DataFrame) -> str:
    looks = float(rows["looks"].astype(float).iloc[0])
    return f"{looks:g} looks" if np.isfinite(looks) else "looks unknown"
