"""Rows of evaluated codecs: which are shown, what they are called, how they look, and the points of their curves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.metrics.intervals import interval
from sarlab.views.style import BLUE, GREEN, MUTED, OCHRE, PURPLE, VERMILION, Look
from sarlab.views.summary import is_true

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

#: The codec that the others are held against.
ANCHOR = "jpeg2000"
#: Color by kind of codec.
FAMILIES = {"wavelet": BLUE, "video": VERMILION, "transform": GREEN, "predictive": PURPLE, "learned": OCHRE}
MARKERS = ("o", "s", "^", "D", "v")
#: Codec → (name for people, place among the markers of its family).
NAMES = {
    "jpeg2000": ("JPEG 2000", 0), "htj2k": ("HTJ2K", 1), "sperr": ("SPERR", 2),
    "hevc12": ("HEVC 12 bit", 1), "vvc10": ("VVC 10 bit", 3), "avif12": ("AVIF 12 bit", 2), "avif10": ("AVIF 10 bit", 0),
    "avif": ("AVIF 8 bit", 4), "webp": ("WebP", 0), "jpegxl": ("JPEG XL", 2), "jpeg": ("JPEG", 4),
    "jpeg12": ("JPEG 12 bit", 1), "klt": ("KLT + range coder", 3), "dct": ("DCT + range coder", 0), "zfp": ("ZFP", 1),
    "jpegls": ("JPEG-LS near-lossless", 3), "sz3": ("SZ3", 4), "lerc": ("LERC", 1),
    "factorized": ("factorized, learned", 0), "lapped": ("lapped, learned", 2), "klt8": ("KLT 8×8, range coded", 1),
}  # fmt: skip


def name_of(codec: str) -> str:
    """Name of a codec for people; a codec of the user's own keeps its name."""
    return NAMES.get(codec, (codec, 0))[0]


def look_of(codec: str, family: str) -> Look:
    """Look of a codec: color by its kind, marker within the kind; hollow where its error is bounded."""
    place = NAMES[codec][1] if codec in NAMES else sum(map(ord, codec)) % len(MARKERS)
    return Look(name_of(codec), FAMILIES.get(family, MUTED), MARKERS[place], width=1.5)


def looks_of(rows: pd.DataFrame) -> dict[str, Look]:
    """Look of every codec of a table, those of one kind together."""
    order = [*FAMILIES, ""]
    families = rows.drop_duplicates("codec").set_index("codec")["family"].astype(str)
    chosen = sorted(families.index, key=lambda c: (order.index(families[c]) if families[c] in order else 99, str(c)))
    return {str(codec): look_of(str(codec), families[codec]) for codec in chosen}


def family_of(rows: pd.DataFrame, codec: str) -> str:
    """Kind of a codec, as its rows say."""
    return str(rows.loc[rows["codec"] == codec, "family"].iloc[0])


def evaluated(tables: Tables) -> pd.DataFrame:
    """Rows of the whole list of codecs where the book has them, else of the short one; those with a rate only."""
    for rows in (tables.table("codecs_all"), tables.codecs):
        if {"codec", "band", "split", "bpp", "psnr_db", "target_value"} <= set(rows):
            known = rows.dropna(subset=["bpp", "psnr_db"])
            known = known[np.isfinite(known["psnr_db"].astype(float))]
            if len(known):
                return known.copy()
    return pd.DataFrame()


def bands(rows: pd.DataFrame) -> list[str]:
    """Bands in the order of the table."""
    return [str(band) for band in rows["band"].unique()]


def shown(rows: pd.DataFrame, *, band: str | None = None, split: str = "test") -> pd.DataFrame:
    """Rows of one band and split; a table without that split gives what it has.

    Parameters
    ----------
    rows : DataFrame
    band : str, optional
        Default: the first.
    split : {"test", "independent"}
    """
    if rows.empty:
        return rows
    rows = rows[rows["band"] == (band or bands(rows)[0])]
    of_split = rows[rows["split"] == split]
    return of_split if len(of_split) or split != "test" else rows


def curve(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Mean over scenes at each matched target: one row per codec and target, with the interval over acquisitions.

    Parameters
    ----------
    rows : DataFrame
        Of one band and split.
    column : str

    Returns
    -------
    DataFrame
        Columns codec, target_value, bpp, psnr_db (means), mean, low, high; rate ascending.
    """
    points, columns = [], ["codec", "target_value", "bpp", "psnr_db", "mean", "low", "high"]
    if column not in rows:
        return pd.DataFrame(columns=columns)
    rows = rows.assign(**{column: pd.to_numeric(rows[column], errors="coerce")}).dropna(subset=[column])
    for (codec, target), group in rows.groupby(["codec", "target_value"], sort=False):
        found = interval(group[column], group["acquisition"])
        points.append(
            {
                "codec": codec, "target_value": target, "bpp": group["bpp"].astype(float).mean(),
                "psnr_db": group["psnr_db"].astype(float).mean(), **found._asdict(),
            }
        )  # fmt: skip
    frame = pd.DataFrame(points, columns=columns)
    return frame.sort_values(["codec", "bpp"], ignore_index=True)


def at_target(points: pd.DataFrame, target: float) -> pd.DataFrame:
    """Points of one target, by codec."""
    return points[np.isclose(points["target_value"].astype(float), target)].set_index("codec")


def where(rows: pd.DataFrame) -> str:
    """Which scenes and band rows are of, whether recorded or simulated, in words for a caption."""
    scenes = [str(scene) for scene in rows["scene"].unique()]
    simulated = is_true(rows["simulated"]) if "simulated" in rows else pd.Series([False])
    kind = "Simulated" if simulated.all() else "Recorded and simulated mixed" if simulated.any() else "Recorded"
    listed = ", ".join(scenes[:3]) + (f" and {len(scenes) - 3} more" if len(scenes) > 3 else "")
    return f"{kind}: {listed}, band {', '.join(bands(rows))}"


def present(rows: pd.DataFrame, wanted: Iterable[str]) -> list[str]:
    """Codecs among `wanted` that the table has, in the order wanted."""
    known = set(rows["codec"]) if "codec" in rows else set()
    return [codec for codec in wanted if codec in known]


def with_learned(rows: pd.DataFrame, wanted: Iterable[str]) -> list[str]:
    """`present`, and of the learned codecs the one that needs the fewest bits."""
    found = present(rows, wanted)
    learned = list(rows.loc[rows["family"] == "learned", "codec"].unique()) if "family" in rows else []
    best = order_by_rate(rows, learned)[:1]
    return found + [codec for codec in best if codec not in found]


def relative_rate(rows: pd.DataFrame, anchor: str = ANCHOR) -> pd.DataFrame:
    """Rate at each target as a share of the anchor's, mean over scenes: columns codec, target_value, share.

    The geometric mean, because shares are ratios.
    """
    keys = ["scene", "band", "target_value"]
    base = rows[rows["codec"] == anchor].set_index(keys)["bpp"].astype(float)
    base = base[~base.index.duplicated()]
    joined = rows[[*keys, "codec", "bpp"]].join(base.rename("anchor_bpp"), on=keys).dropna(subset=["anchor_bpp"])
    joined = joined.assign(log=np.log(joined["bpp"].astype(float) / joined["anchor_bpp"]))
    mean = joined.groupby(["codec", "target_value"], as_index=False, sort=False)["log"].mean()
    return mean.assign(share=np.exp(mean["log"]))[["codec", "target_value", "share"]]


def order_by_rate(rows: pd.DataFrame, codecs: Sequence[str], anchor: str = ANCHOR) -> list[str]:
    """Codecs by their mean share of the anchor's rate, the smallest first."""
    means = relative_rate(rows, anchor).groupby("codec")["share"].mean()
    return sorted(codecs, key=lambda codec: means.get(codec, np.inf))
