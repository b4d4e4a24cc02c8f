"""Pictures of one place side by side or under a border that moves: self-contained HTML, without a kernel, a server or a library.

Pictures are inlined as data URIs, so that a page works from ``file://``. Left and right show any two of the original, its
reconstructions and their errors, under one zoom and one corner. Without scripts all pictures stand side by side.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from IPython.display import HTML

from sarlab.views import select
from sarlab.views.style import name_of, number, ratio, webp
from sarlab.views.templates import render

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

#: Gray levels of a picture in a page. 64 of them over 30 dB err by 0.14 dB (root mean square): less than the eye sees.
LEVELS = 64
#: Characters above which a picture takes half the levels, so that a pair stays below 100 kB of page.
BUDGET = 45_000


def encode(gray: np.ndarray, levels: int = LEVELS) -> str:
    """Data URI of a picture (height, width) of uint8 in `levels` grays, halved down to 16 until it fits the budget.

    What is shown is not compressed a second time, only rounded.
    """
    from PIL import Image

    coarse = np.round(np.round(gray * ((levels - 1) / 255)) * (255 / (levels - 1))).astype(np.uint8)
    data = webp(Image.fromarray(coarse))
    return data if len(data) <= BUDGET or levels <= 16 else encode(gray, levels // 2)


class Variant(NamedTuple):
    """A reconstruction: ratio, picture (height, width) of uint8, network or codec, facts with units, words on the picture."""

    label: str
    gray: np.ndarray
    series: str
    facts: Mapping[str, str] = {}
    written: str = ""

    @property
    def title(self) -> str:
        """Series and label in one line."""
        return f"{self.series} · {self.label}"


def slider(
    original: np.ndarray, variants: Sequence[Variant], clip: tuple[float, float], title: str, caption: str = "",
    right: int = 0, left: int | None = None,
) -> HTML:  # fmt: skip
    """Any two of an original, its reconstructions and their errors.

    Parameters
    ----------
    original : ndarray of uint8, shape (height, width)
    variants : sequence of Variant
        At least one, all of the original's shape.
    clip : (low, high)
        In dB, what black and white mean in all pictures.
    title, caption : str
    right, left : int
        Variants that are shown at first; `left` None is the original.
    """
    height, width = original.shape
    words = [f"Original, {height}×{width} pixels", *(f"Reconstruction: {v.title}" for v in variants)]
    encoded = [encode(gray) for gray in (original, *(v.gray for v in variants))]
    steps = sorted({variant.label for variant in variants}, key=lambda text: float(text.rstrip("×")))
    series = list(dict.fromkeys(variant.series for variant in variants))
    place = {(variant.series, variant.label): index for index, variant in enumerate(variants, start=1)}
    low, high = clip
    span = float(max(round((high - low) / 5), 1))  # error in dB that has the full color
    data = {
        "labels": ["original", *(variant.written or variant.title for variant in variants)], "steps": steps,
        "table": [[place.get((name, step)) for step in steps] for name in series], "clip": [low, high], "span": span,
    }  # fmt: skip
    facts = [", ".join(f"{name} {value}" for name, value in variant.facts.items()) for variant in variants]
    alt = "; ".join(": ".join(filter(None, (v.title, fact))) for v, fact in zip(variants, facts, strict=True))
    legend = (
        f"Gray from {number(low)} to {number(high)} dB in every picture, rounded to {(high - low) / (LEVELS - 1):.2g} dB. "
        f"Error: white for none, orange for {span:g} dB or more too bright, violet for as much too dark."
    )
    return HTML(render(
        "compare", alt=f"{title}. {alt}.", title=title, caption=" ".join(filter(None, (caption, legend))), variants=variants,
        series=series, steps=steps, right=variants[right], left=None if left is None else variants[left], data=data,
        pictures=list(zip(encoded, words, strict=True)), height=height, width=width,
        group="sl-" + hashlib.sha256("".join([*encoded, title]).encode()).hexdigest()[:10],
    ))  # fmt: skip


#: Columns of a row → name, digits and unit of the facts beside a picture.
_FACTS = {
    "bpp": ("file", 3, " bpp"), "measured_cr": ("÷ 16-bit samples", 1, "×"), "psnr_db": ("PSNR", 1, " dB"),
    "rmse_k8_db": ("error of 8×8 means", 2, " dB"), "epi_roa": ("edges kept", 2, " of 1"),
    "enl_ratio": ("looks after ÷ before", 2, ""), "bias_db": ("bias", 2, " dB"), "peak_error_db": ("largest error", 1, " dB"),
}  # fmt: skip
#: Side in pixels of the detail that is cut from the published pictures of networks.
DETAIL = 144


def codecs(
    t: Tables, names: Sequence[str] | None = None, *, at: float = 32, left: str = "", right: str = ""
) -> HTML | None:
    """Compare the published pictures of codecs, by default all, on a detail of one scene.

    `at` is the ratio of a file to the product's samples at first; `left` and `right` are the codecs at first, by default
    the original and the first codec.
    """
    made = t.table("pictures", ["codec", "scene", "band", "picture"]).dropna(subset=["picture"])
    if made.empty:
        return None
    original, variants = made[made["codec"] == "original"].iloc[0], []
    made = made[made["codec"] != "original"].sort_values("target_value", ascending=False)
    for name in made["codec"].unique() if names is None else names:
        for _, row in made[made["codec"] == name].iterrows():
            step = 2.0 ** round(float(np.log2(original["native_bits"] / row["target_value"])))
            variants.append(_variant(row, ratio(step), name_of(name), _decode(row["picture"])))
    note = "The ratio of a codec is that of its file to 16-bit samples."
    return _slider(_decode(original["picture"]), variants, original, note, at, name_of(left), name_of(right))


def networks(t: Tables, names: Sequence[str], *, scene: str = "", band: str = "") -> HTML | None:
    """Compare the published pictures of networks, by names of `select.network`, on the middle of one scene, at 16× at first.

    By default, scene and band are those of the pictures of the codecs where networks have them, else the first.
    """
    index = t.table("examples", ["run_id", "scene", "band", "kind"])
    usual = t.table("pictures", ["scene", "band"]).head(1)
    for column, asked in (("scene", scene), ("band", band)):
        wanted = [asked] if asked else usual[column]
        index = index[index[column].isin(wanted if index[column].isin(wanted).any() else index[column].head(1))]
    if index.empty:
        return None
    original = index[index["kind"] == "original"].iloc[0]
    files = index[index["kind"] == "reconstruction"].set_index("run_id")["file"]
    rows = select.main_line(select.measured(t.runs, band=original["band"]))
    rows = rows[(rows["scene"] == original["scene"]) & rows["run_id"].isin(files.index)]
    rows = rows.assign(series=select.network(rows)).drop_duplicates(["series", "dimension_ratio"])
    variants = [
        _variant(row, ratio(row["dimension_ratio"]), name, _middle(t, files[row["run_id"]]), " fewer values")
        for name in names
        for _, row in rows[rows["series"] == name].sort_values("dimension_ratio").iterrows()
    ]
    note = "The ratio of a network is that of values in to values of the latent."
    return _slider(_middle(t, original["file"]), variants, original, note, 16)


def _slider(
    gray: np.ndarray, variants: Sequence[Variant], about: pd.Series, note: str, at: float, left: str = "", right: str = ""
) -> HTML | None:  # fmt: skip
    if not variants:
        return None
    place = {(variant.series, variant.label): i for i, variant in enumerate(variants)}
    usual = next((i for i, variant in enumerate(variants) if variant.label == ratio(at)), 0)
    size = f"{gray.shape[0]}×{gray.shape[1]} pixels at full resolution"
    clip, title = (float(about["clip_low"]), float(about["clip_high"])), f"{about['scene']}, band {about['band']}"
    first = place.get((right or variants[0].series, ratio(at)), usual)
    caption = f"{size}; the numbers are those of the whole band. {note}"
    return slider(gray, variants, clip, title, caption, first, place.get((left, ratio(at))))


def _variant(row: Any, step: str, series: str, gray: np.ndarray, suffix: str = "") -> Variant:
    facts = {
        name: f"{number(float(row[column]), digits)}{unit}"
        for column, (name, digits, unit) in _FACTS.items()
        if column in row and np.isfinite(row[column])
    }
    rate, psnr = f"{number(float(row['bpp']), 2)} bpp", f"{number(float(row['psnr_db']), 1)} dB"
    return Variant(step, gray, series, facts, " · ".join((series, step + suffix, rate, psnr)))


def _decode(text: str) -> np.ndarray:
    """Grays of a picture that a table holds as base64, shape (height, width)."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("L"))


def _middle(t: Tables, file: str) -> np.ndarray:
    """Middle of an 8-bit picture of ``results/images``."""
    from PIL import Image

    with Image.open(t.image(str(file))) as image:
        gray = np.asarray(image.convert("L"))
    top, left = (max(0, (side - DETAIL) // 2) for side in gray.shape)
    return gray[top : top + DETAIL, left : left + DETAIL]
