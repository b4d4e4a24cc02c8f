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
from sarlab.files import write_text
from sarlab.views import select
from sarlab.views.figure import THEME
from sarlab.views.style import name_of
from sarlab.views.svg import data_uri
from sarlab.views.text import number, ratio

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


def encode(gray: np.ndarray, levels: int = LEVELS, budget: int = BUDGET) -> bytes:
    """Picture as lossless WebP of `levels` grays: what is shown is not compressed a second time, only rounded.

    Parameters
    ----------
    gray : ndarray of uint8, shape (height, width)
    levels : int
        Halved, down to 16, until the picture fits the budget.
    budget : int
        Bytes.
    """
    from PIL import Image

    gray = np.asarray(gray)
    if gray.dtype != np.uint8 or gray.ndim != 2 or gray.size == 0:
        raise ResultsError(f"a picture is a (height, width) array of uint8, not {gray.dtype} {gray.shape}")
    while True:
        coarse = np.round(np.round(gray * ((levels - 1) / 255)) * (255 / (levels - 1))).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(coarse).convert("RGB").save(buffer, "WEBP", lossless=True, quality=60, method=4)
        if len(buffer.getvalue()) <= budget or levels <= 16:
            return buffer.getvalue()
        levels //= 2


@dataclass(frozen=True, eq=False)
class Variant:
    """What the original is compared with.

    Parameters
    ----------
    label : str
        Ratio or rate, on the buttons: ``"16×"``.
    gray : ndarray of uint8, shape (height, width)
    name : str
        More about it, beside the label.
    facts : mapping of str to str
        Shown beside the picture: quantity → value with unit.
    series : str
        Network or codec, where several are shown: what stays the same from one label to the next.
    written : str
        On the picture, in a few words; default: the title.
    """

    label: str
    gray: np.ndarray
    name: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    series: str = ""
    written: str = ""

    @property
    def title(self) -> str:
        """Series, label and name in one line."""
        return " · ".join(dict.fromkeys(part for part in (self.series, self.label, self.name) if part))


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
    choice : str
        What the buttons choose.
    steps : sequence of str
        Labels in the order of the buttons; default: as they come.
    first : int
        Which variant is on the right at first.
    left : int, optional
        Which is on the left at first; default: the original.
    facts : mapping of str to str
        About the original.
    levels : int
        Gray levels of the pictures in the page.
    """

    def __init__(
        self, original: np.ndarray, variants: Sequence[Variant], *, clip: tuple[float, float] = (0.0, 1.0), title: str = "",
        caption: str = "", choice: str = "compression ratio", steps: Sequence[str] = (), first: int = 0,
        left: int | None = None, facts: Mapping[str, str] | None = None, levels: int = LEVELS,
    ):  # fmt: skip
        if not variants:
            raise ResultsError("a comparison needs at least one reconstruction")
        for variant in variants:
            if variant.gray.shape != original.shape:
                raise ResultsError(
                    f"'{variant.label}' is {variant.gray.shape} and the original {original.shape}: shapes must agree"
                )
        self.original, self.variants, self.clip = original, tuple(variants), clip
        self.title, self.caption, self.choice = title, caption, choice
        self.steps = list(dict.fromkeys([*steps, *(variant.label for variant in variants)]))
        self.series = list(dict.fromkeys(variant.series for variant in variants))
        self.first, self.left, self.facts, self.levels = first, left, dict(facts or {}), levels

    @property
    def span(self) -> float:
        """Error in dB that has the full color: a fifth of the range of gray."""
        low, high = self.clip
        return float(max(round((high - low) / 5), 1))

    @property
    def alt(self) -> str:
        """The comparison in words."""
        entries = []
        for variant in self.variants:
            facts = ", ".join(f"{name} {value}" for name, value in variant.facts.items())
            entries.append(": ".join(part for part in (variant.title, facts) if part))
        return f"{self.title or 'Original and reconstructions'}. {'; '.join(entries)}."

    @property
    def legend(self) -> str:
        """What gray and color mean, and how exact the pictures in the page are."""
        low, high = self.clip
        return (
            f"Gray from {number(low)} to {number(high)} dB in every picture, rounded to {(high - low) / (self.levels - 1):.2g} dB. "
            f"Errors: white none, orange {self.span:g} dB or more too bright, violet as much too dark."
        )

    def __repr__(self) -> str:
        return f"<Comparison: {self.alt}>"

    def _repr_html_(self) -> str:
        return f"<style>{_asset('compare.css')}</style>{self.markup()}<script>{_asset('compare.js')}</script>"

    def data(self) -> dict[str, Any]:
        """What the script needs to know: labels of the pictures, and which picture a series has at a step."""
        table: list[list[int | None]] = [[None] * len(self.steps) for _ in self.series]
        for index, variant in enumerate(self.variants, start=1):
            table[self.series.index(variant.series)][self.steps.index(variant.label)] = index
        labels = ["original", *(variant.written or variant.title for variant in self.variants)]
        return {"labels": labels, "steps": self.steps, "table": table, "clip": list(self.clip), "span": self.span}

    def markup(self) -> str:
        """The figure without style and script."""
        pictures = [encode(gray, self.levels) for gray in (self.original, *(v.gray for v in self.variants))]
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
        facts = _facts(0, "original", self.facts) if self.facts else ""
        facts += "".join(_facts(i, v.title, v.facts) for i, v in enumerate(self.variants, start=1))
        payload = json.dumps(self.data(), separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
        pane = '<div class="sl-pane"><canvas role="img"></canvas><span class="sl-tag" aria-hidden="true"></span></div>'
        sides = self._side("left", self.left) + self._side("right", self.first)
        return (
            f'<figure class="sl-compare" role="group" aria-label="{_text(self.alt)}" style="{THEME}">'
            + (f'<p class="sl-title">{_text(self.title)}</p>' if self.title else "")
            + f'<fieldset class="sl-controls"{" hidden" if len(self.steps) == 1 else ""}><legend>{_text(self.choice)}</legend>'
            f'{choices}</fieldset><div class="sl-sides">{sides}</div><div class="sl-row"><div><div class="sl-layers">{layers}</div>'
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
        chosen = None if variant is None else self.variants[variant]
        row = None if chosen is None else self.series.index(chosen.series)
        step = (chosen or self.variants[self.first]).label
        whats = '<option value="">original</option>' + "".join(
            f'<option value="{i}"{" selected" if i == row else ""}>{_text(series or "reconstruction")}</option>'
            for i, series in enumerate(self.series)
        )
        steps = "".join(
            f'<option value="{i}"{" selected" if label == step else ""}>{_text(label)}</option>'
            for i, label in enumerate(self.steps)
        )
        return (
            f'<fieldset class="sl-controls sl-side"><legend>{name}</legend>'
            f'<select class="sl-what" aria-label="{name}: picture">{whats}</select> '
            f'<select class="sl-step" aria-label="{name}: {_text(self.choice)}">{steps}</select> '
            '<label><input type="checkbox" class="sl-error"> its error</label></fieldset>'
        )

    def save(self, path: str | Path) -> Path:
        """Write a page of its own (``.html``) that needs nothing else."""
        path = Path(path)
        if path.suffix != ".html":
            raise ResultsError(f"{path}: a comparison is saved as .html")
        head = (
            "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        )
        write_text(path, f"{head}<title>{_text(self.title or 'Comparison')}</title>{self._repr_html_()}</html>\n")
        return path


def _facts(index: int, title: str, facts: Mapping[str, str]) -> str:
    rows = "".join(f"<div><dt>{_text(k)}</dt><dd>{_text(v)}</dd></div>" for k, v in facts.items())
    return (
        f'<dl class="sl-facts" data-of="{index}"><div><dt class="sl-head">{_text(title)}</dt><dd></dd></div>{rows}</dl>'
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
        gray, variants, clip=(float(about["clip_low"]), float(about["clip_high"])), steps=steps, choice="ratio",
        first=place.get((chosen["right"], ratio(at)), 0), left=place.get((chosen["left"], ratio(at))),
        title=f"{scene}, band {band}", levels=LEVELS,
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
    return Variant(step, gray, "", facts, series, written)


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
