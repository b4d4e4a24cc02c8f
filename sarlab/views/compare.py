"""Pictures of one place side by side or under a border that moves: self-contained HTML, without a kernel, a server or a library.

Pictures are inlined as data URIs, so that a page works from ``file://``. Left and right show any two of the original, its
reconstructions and their errors, under one zoom and one corner. Without scripts all pictures stand side by side.
"""

from __future__ import annotations

import hashlib
import html
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sarlab.errors import ResultsError
from sarlab.views import select
from sarlab.views.style import THEME, data_uri, name_of, number, ratio

if TYPE_CHECKING:
    from sarlab.lab.results import Tables

#: Gray levels of a picture in a page. 64 of them over 30 dB err by 0.14 dB (root mean square): less than the eye sees.
LEVELS = 64
#: Bytes above which a picture takes half the levels, so that a pair stays below 100 kB of page.
BUDGET = 34_000

#: How the picture is handled, for captions.
HANDLING = (
    "Drag the border or give it the arrow keys. Click the picture, then turn the wheel, pinch, or press + and \u2212 to zoom; drag "
    "or use the arrow keys to move; press zero to see all of it again."
)

_ASSETS = Path(__file__).resolve().parents[1] / "assets" / "views"


def encode(gray: np.ndarray, levels: int = LEVELS) -> bytes:
    """Picture (height, width) of uint8 as lossless WebP of `levels` grays, halved down to 16 until it fits the budget.

    What is shown is not compressed a second time, only rounded.
    """
    from PIL import Image

    if gray.dtype != np.uint8 or gray.ndim != 2 or gray.size == 0:
        raise ResultsError(f"a picture is a (height, width) array of uint8, not {gray.dtype} {gray.shape}")
    while True:
        coarse = np.round(np.round(gray * ((levels - 1) / 255)) * (255 / (levels - 1))).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(coarse).convert("RGB").save(buffer, "WEBP", lossless=True, quality=60, method=4)
        if len(buffer.getvalue()) <= BUDGET or levels <= 16:
            return buffer.getvalue()
        levels //= 2


@dataclass(frozen=True, eq=False)
class Variant:
    """A reconstruction that the original is compared with.

    Parameters
    ----------
    label : str
        Ratio, on the buttons: ``"16×"``.
    gray : ndarray of uint8, shape (height, width)
    series : str
        Network or codec: what stays the same from one label to the next.
    facts : mapping of str to str
        Shown beside the picture: quantity → value with unit.
    written : str
        On the picture, in a few words.
    """

    label: str
    gray: np.ndarray
    series: str
    facts: Mapping[str, str] = field(default_factory=dict)
    written: str = ""

    @property
    def title(self) -> str:
        """Series and label in one line."""
        return f"{self.series} · {self.label}"


class Comparison:
    """Any two of an original, its reconstructions and their errors.

    Parameters
    ----------
    original : ndarray of uint8, shape (height, width)
    variants : sequence of Variant
        At least one, all of the original's shape.
    clip : (low, high)
        In dB, what black and white mean in all pictures.
    title, caption : str
    steps : sequence of str
        Labels in the order of the buttons; default: as they come.
    first, left : int
        Which variant is on the right at first, and which on the left; `left` None is the original.
    """

    def __init__(
        self, original: np.ndarray, variants: Sequence[Variant], *, clip: tuple[float, float] = (0.0, 1.0), title: str = "",
        caption: str = "", steps: Sequence[str] = (), first: int = 0, left: int | None = None,
    ):  # fmt: skip
        if not variants:
            raise ResultsError("a comparison needs at least one reconstruction")
        for variant in variants:
            if variant.gray.shape != original.shape:
                raise ResultsError(
                    f"'{variant.label}' is {variant.gray.shape} and the original {original.shape}: shapes must agree"
                )
        self.original, self.variants, self.clip = original, tuple(variants), clip
        self.title, self.caption, self.first, self.left = title, caption, first, left
        self.steps = list(dict.fromkeys([*steps, *(variant.label for variant in variants)]))
        self.series = list(dict.fromkeys(variant.series for variant in variants))

    @property
    def span(self) -> float:
        """Error in dB that has the full color: a fifth of the range of gray."""
        low, high = self.clip
        return float(max(round((high - low) / 5), 1))

    @property
    def alt(self) -> str:
        """The comparison in words."""
        facts = [", ".join(f"{name} {value}" for name, value in variant.facts.items()) for variant in self.variants]
        entries = (": ".join(filter(None, (v.title, fact))) for v, fact in zip(self.variants, facts, strict=True))
        return f"{self.title or 'Original and reconstructions'}. {'; '.join(entries)}."

    @property
    def legend(self) -> str:
        """What gray and color mean, and how exact the pictures in the page are."""
        low, high = self.clip
        return (
            f"Gray from {number(low)} to {number(high)} dB in every picture, rounded to {(high - low) / (LEVELS - 1):.2g} dB. "
            f"Errors: white none, orange {self.span:g} dB or more too bright, violet as much too dark."
        )

    def __repr__(self) -> str:
        return f"<Comparison: {self.alt}>"

    def _repr_html_(self) -> str:
        return f"<style>{_asset('compare.css')}</style>{self.markup()}<script>{_asset('compare.js')}</script>"

    def markup(self) -> str:
        """The figure without style and script."""
        pictures = [encode(gray) for gray in (self.original, *(v.gray for v in self.variants))]
        group = "sl-" + hashlib.sha256(b"".join(pictures) + self.title.encode()).hexdigest()[:10]
        height, width = self.original.shape
        words = [f"Original, {height}×{width} pixels", *(f"Reconstruction: {v.title}" for v in self.variants)]
        layers = "".join(
            f'<div class="sl-layer"><img src="{data_uri(data, "image/webp")}" width="{width}" height="{height}" '
            f'alt="{_text(alt)}"><span>{_text(alt)}</span></div>'
            for data, alt in zip(pictures, words, strict=True)
        )
        choices = "".join(
            f'<label class="sl-choice"><input type="radio" name="{group}" value="{step}"><span>{_text(label)}</span></label>'
            for step, label in enumerate(self.steps)
        )
        table: list[list[int | None]] = [[None] * len(self.steps) for _ in self.series]
        facts = ""
        for index, variant in enumerate(self.variants, start=1):
            table[self.series.index(variant.series)][self.steps.index(variant.label)] = index
            rows = "".join(f"<div><dt>{_text(k)}</dt><dd>{_text(v)}</dd></div>" for k, v in variant.facts.items())
            head = f'<div><dt class="sl-head">{_text(variant.title)}</dt><dd></dd></div>'
            facts += f'<dl class="sl-facts" data-of="{index}">{head}{rows}</dl>'
        labels = ["original", *(variant.written or variant.title for variant in self.variants)]
        data = {"labels": labels, "steps": self.steps, "table": table, "clip": list(self.clip), "span": self.span}
        payload = json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
        pane = '<div class="sl-pane"><canvas role="img"></canvas><span class="sl-tag" aria-hidden="true"></span></div>'
        return (
            f'<figure class="sl-compare" role="group" aria-label="{_text(self.alt)}" style="{THEME}">'
            + (f'<p class="sl-title">{_text(self.title)}</p>' if self.title else "")
            + f'<fieldset class="sl-controls"{" hidden" if len(self.steps) == 1 else ""}><legend>ratio</legend>{choices}</fieldset>'
            f'<div class="sl-sides">{self._side("left", self.left)}{self._side("right", self.first)}</div>'
            f'<div class="sl-row"><div><div class="sl-layers">{layers}</div>'
            '<div class="sl-stage" tabindex="0" role="group" aria-label="Pictures: plus and minus zoom, arrow keys move">'
            f'{pane}{pane}<span class="sl-divider"></span></div><div class="sl-tools"><input type="range" class="sl-border" '
            'min="0" max="100" value="50" step="1" aria-label="Border between the left and the right picture">'
            '<button type="button" class="sl-out" aria-label="Zoom out">\u2212</button>'
            '<output class="sl-zoomed" aria-label="Zoom">1×</output>'
            '<button type="button" class="sl-in" aria-label="Zoom in">+</button>'
            '<button type="button" class="sl-whole">all of it</button>'
            '<label><input type="checkbox" class="sl-pair"> side by side</label></div></div>'
            f'<div class="sl-about" aria-live="polite">{facts}</div></div>'
            f"<figcaption>{_text(' '.join(filter(None, (self.caption, self.legend, HANDLING))))}</figcaption>"
            f'<script type="application/json">{payload}</script></figure>'
        )

    def _side(self, name: str, variant: int | None) -> str:
        series = None if variant is None else self.variants[variant].series
        step = self.variants[self.first if variant is None else variant].label
        whats = [("", "original", False), *((i, one, one == series) for i, one in enumerate(self.series))]
        menus = (
            ("what", "picture", whats),
            ("step", "ratio", [(i, one, one == step) for i, one in enumerate(self.steps)]),
        )
        selects = " ".join(
            f'<select class="sl-{kind}" aria-label="{name}: {about}">'
            + "".join(f'<option value="{i}"{" selected" * on}>{_text(text)}</option>' for i, text, on in options)
            + "</select>"
            for kind, about, options in menus
        )
        return (
            f'<fieldset class="sl-controls sl-side"><legend>{name}</legend>{selects} '
            '<label><input type="checkbox" class="sl-error"> its error</label></fieldset>'
        )


def _text(value: str) -> str:
    return html.escape(str(value), quote=True)


@cache
def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


#: Columns of a row → name, digits and unit of the facts beside a picture.
_FACTS = {
    "bpp": ("file", 3, " bpp"), "measured_cr": ("÷ 16-bit samples", 1, "×"), "psnr_db": ("PSNR", 1, " dB"),
    "rmse_k8_db": ("error of 8×8 means", 2, " dB"), "epi_roa": ("edges kept", 2, " of 1"),
    "enl_ratio": ("looks after ÷ before", 2, ""), "bias_db": ("bias", 2, " dB"), "peak_error_db": ("largest error", 1, " dB"),
}  # fmt: skip
#: Side in pixels of the detail that is cut from the published pictures of networks.
DETAIL = 144


def pictures(
    t: Tables, *, codecs: Sequence[str] | None = None, networks: Sequence[str] | None = None, at: float = 16,
    left: str = "", right: str = "", scene: str = "", band: str = "",
) -> Comparison | None:  # fmt: skip
    """Slider over the published pictures of codecs and networks on one scene, at the ratios that both were made for.

    Parameters
    ----------
    t : Tables
    codecs, networks : sequence of str, optional
        Names of codecs, and of `sarlab.views.select.network`, in the order of the menus; default: all. The ratio of a
        codec is that of its file to the product's samples, the ratio of a network that of values.
    at : float
        Ratio at first.
    left, right : str
        Series at first; default: the original, and the first series.
    scene, band : str
        Default: those of the pictures of the codecs, else the first.
    """
    made, index = (
        t.table("pictures", ["codec", "scene", "band", "picture"]),
        t.table("examples", ["run_id", "scene", "kind"]),
    )
    made = made.dropna(subset=["picture"])
    made = made[(made["scene"] == scene) & (made["band"] == band)] if scene else made
    originals = made[made["codec"] == "original"]
    variants: list[Variant] = []
    if len(originals):
        about = originals.iloc[0]
        scene, band, corner = about["scene"], about["band"], (int(about["top"]), int(about["left"]))
        gray = decode(about["picture"])
        rows = made[made["codec"] != "original"]
        for name in codecs if codecs is not None else rows["codec"].unique():
            for _, row in rows[rows["codec"] == name].sort_values("target_value", ascending=False).iterrows():
                step = 2.0 ** round(float(np.log2(about["native_bits"] / row["target_value"])))
                variants.append(_variant(row, ratio(step), name_of(name), decode(row["picture"])))
    elif len(index):
        first = index[index["scene"] == scene] if scene else index
        scene, band = first["scene"].iloc[0], band or str(first["band"].iloc[-1])
        corner = (0, 0)
    index = index[(index["scene"] == scene) & (index["band"] == band)] if len(index) else index
    if len(index):
        about = index[index["kind"] == "original"].iloc[0]
        whole = _read(t, about["file"])
        rows = select.main_line(select.measured(t.runs, band=band))
        rows = rows[(rows["scene"] == scene) & rows["run_id"].isin(index["run_id"])]
        rows = rows.assign(series=select.network(rows)).drop_duplicates(["series", "dimension_ratio"])
        top, start = (max(0, (side - DETAIL) // 2) for side in whole.shape)
        if len(originals):
            height, width = (int(originals.iloc[0][name]) for name in ("height", "width"))
            top, start = (
                corner[0] - max(0, (height - len(whole)) // 2),
                corner[1] - max(0, (width - whole.shape[1]) // 2),
            )
        side = gray.shape[0] if len(originals) else min(DETAIL, *whole.shape)
        if not len(originals):
            gray = whole[top : top + side, start : start + side]
        for name in networks if networks is not None else rows["series"].unique():
            for _, row in rows[rows["series"] == name].sort_values("dimension_ratio").iterrows():
                found = index[(index["run_id"] == row["run_id"]) & (index["kind"] == "reconstruction")].iloc[0]
                cut = _read(t, found["file"])[top : top + side, start : start + side]
                if cut.shape == gray.shape:
                    variants.append(_variant(row, ratio(row["dimension_ratio"]), name, cut, " fewer values"))
    if not variants:
        return None
    names = list(dict.fromkeys(variant.series for variant in variants))
    chosen = {end: name_of(name) if name else "" for end, name in (("left", left), ("right", right or names[0]))}
    steps = sorted({variant.label for variant in variants}, key=lambda text: float(text.rstrip("×")))
    place = {(variant.series, variant.label): i for i, variant in enumerate(variants)}
    return Comparison(
        gray, variants, clip=(float(about["clip_low"]), float(about["clip_high"])), steps=steps,
        first=place.get((chosen["right"], ratio(at)), 0), left=place.get((chosen["left"], ratio(at))),
        title=f"{scene}, band {band}",
        caption=f"{gray.shape[0]}×{gray.shape[1]} pixels at full resolution; the numbers are those of the whole band. The ratio of a "
        "codec is that of its file to 16-bit samples, the ratio of a network that of values in to values of the latent.",
    )  # fmt: skip


def _variant(row: Any, step: str, series: str, gray: np.ndarray, suffix: str = "") -> Variant:
    facts = {
        name: f"{number(float(row[column]), digits)}{unit}"
        for column, (name, digits, unit) in _FACTS.items()
        if column in row and np.isfinite(row[column])
    }
    written = " · ".join(
        (series, step + suffix, f"{number(float(row['bpp']), 2)} bpp", f"{number(float(row['psnr_db']), 1)} dB")
    )
    return Variant(step, gray, series, facts, written)


def decode(text: str) -> np.ndarray:
    """Grays of a picture that a table holds as base64, shape (height, width)."""
    import base64

    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("L"))


def _read(t: Tables, file: str) -> np.ndarray:
    """8-bit picture of ``results/images``."""
    from PIL import Image

    with Image.open(t.image(str(file))) as image:
        return np.asarray(image.convert("L"))
