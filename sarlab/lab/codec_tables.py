"""Tables about codecs: what each supports, and Bjøntegaard differences of evaluated rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from sarlab.codec.codec import codecs
from sarlab.errors import ResultsError

#: Codecs that the others are held against.
ANCHORS = ("jpeg2000", "hevc12")
#: PSNR interval of the protocol for Sentinel-1 (W about 28 to 30 dB), and its targets.
PSNR_INTERVAL = (25.0, 40.0)
PSNR_TARGETS = "25:40:11"


def codec_table() -> list[dict[str, Any]]:
    """What every registered codec supports, in plain values."""
    rows = []
    for name in codecs:
        codec = codecs[name]
        capabilities, scale = codec.capabilities, codec.capabilities.quality
        ok, reason = codec.available()
        rows.append(
            {
                "name": name, "family": codec.family, "available": ok, "reason": reason,
                "version": codec.version() if ok else "", "domain": codec.domain, "bits": capabilities.bits,
                "lossless": capabilities.lossless, "error_bounded": capabilities.error_bounded,
                "bands": capabilities.bands, "deterministic": capabilities.deterministic, "trained": capabilities.trained,
                "quality": scale.meaning, "quality_low": scale.low, "quality_high": scale.high,
                "quality_step": scale.step, "grid": list(scale.grid), "about": (codec.__doc__ or "").strip().split("\n")[0],
            }
        )  # fmt: skip
    return rows


def bd_rows(
    rows: pd.DataFrame,
    *,
    metrics: Sequence[str] = ("psnr_db",),
    anchors: Sequence[str] = ANCHORS,
    interval: tuple[float, float] | None = None,
) -> pd.DataFrame:
    """BD-rate and BD-quality of evaluated codecs against anchors, per band.

    Rows at PSNR targets are used where there are any: by the protocol, curves are compared at matched PSNR. Others are
    used as they are, and the reason column says so.

    Parameters
    ----------
    rows : DataFrame
        Of `sarlab.lab.evaluate.evaluate`.
    metrics : sequence of str
        Columns that are monotone in the rate.
    anchors : sequence of str
        Codecs; those that are not in the table are left out.
    interval : (low, high), optional
        Of the metric. Default for ``psnr_db`` 25 to 40 dB, for others what both curves share.

    Returns
    -------
    DataFrame
        Columns of `sarlab.metrics.bd.bd_table` and ``band``.
    """
    from sarlab.metrics.bd import bd_table

    present = [anchor for anchor in anchors if anchor in set(rows["codec"])]
    if not present:
        raise ResultsError(
            f"the table has none of the anchors {', '.join(anchors)}; evaluate one of them on the same scenes"
        )
    matched = rows[rows["target"] == "psnr"]
    note = "" if len(matched) else "not at matched PSNR"
    used = (matched if len(matched) else rows).dropna(subset=["bpp"])
    if used.empty:
        raise ResultsError("the table has no row with a rate")
    tables = []
    for band, part in used.groupby("band", sort=False):
        for anchor in present:
            for metric in metrics:
                if anchor not in set(part["codec"]):
                    continue
                stated = interval or (PSNR_INTERVAL if metric == "psnr_db" else None)
                table = bd_table(part, anchor=anchor, metric=metric, interval=stated)
                table.insert(0, "band", band)
                tables.append(table[table["codec"] != anchor])
    if not tables or not sum(map(len, tables)):
        raise ResultsError("the table has no codec beside the anchor")
    result = pd.concat(tables, ignore_index=True)
    if note:
        result["reason"] = [f"{note}; {reason}" if reason else note for reason in result["reason"]]
    return result
