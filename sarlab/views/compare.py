"""Before/after slider: one self-contained piece of HTML, without a kernel, a server or a library.

Pictures are inlined as data URIs, so that a page works from ``file://``. All pictures of a slider lie in one stage, one
above the other. Without scripts they stand side by side.
"""

from __future__ import annotations

import hashlib
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from sarlab.errors import ResultsError
from sarlab.files import write_text
from sarlab.views.figure import THEME
from sarlab.views.svg import data_uri

#: Gray levels of a picture in a page. 64 of them over 30 dB err by 0.14 dB (root mean square): less than the eye sees.
LEVELS = 64
#: Bytes above which a picture takes half the levels, so that a pair stays below 100 kB of page.
BUDGET = 34_000

_ASSETS = Path(__file__).resolve().parents[1] / "assets" / "views"


def to_gray(image_db: np.ndarray, clip: tuple[float, float]) -> np.ndarray:
    """Picture of an image in dB.

    Parameters
    ----------
    image_db : ndarray, shape (height, width), float
        NaN (no measurement) becomes black.
    clip : (low, high)
        In dB, shown as black and white.

    Returns
    -------
    ndarray of uint8, shape (height, width)
    """
    low, high = clip
    with np.errstate(invalid="ignore"):
        unit = np.clip((np.asarray(image_db, float) - low) / (high - low), 0, 1)
    return np.round(255 * np.nan_to_num(unit, nan=0.0)).astype(np.uint8)


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
        On the button and on the picture: ``"16×"``.
    gray : ndarray of uint8, shape (height, width)
    name : str
        Which network or codec.
    facts : mapping of str to str
        Shown beside the picture: quantity → value with unit.
    """

    label: str
    gray: np.ndarray
    name: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


class Comparison:
    """Slider between an original and one of several reconstructions.

    Parameters
    ----------
    original : ndarray of uint8, shape (height, width)
    variants : sequence of Variant
        At least one, all of the original's shape.
    title, caption : str
    choice : str
        What the buttons choose.
    first : int
        Which variant is shown at first.
    """

    def __init__(
        self, original: np.ndarray, variants: Sequence[Variant], *, title: str = "", caption: str = "",
        choice: str = "compression ratio", first: int = 0,
    ):  # fmt: skip
        if not variants:
            raise ResultsError("a comparison needs at least one reconstruction")
        for variant in variants:
            if variant.gray.shape != original.shape:
                raise ResultsError(
                    f"'{variant.label}' is {variant.gray.shape} and the original {original.shape}: shapes must agree"
                )
        self.original, self.variants = original, tuple(variants)
        self.title, self.caption, self.choice, self.first = title, caption, choice, first

    @property
    def alt(self) -> str:
        """The comparison in words."""
        entries = []
        for variant in self.variants:
            facts = ", ".join(f"{name} {value}" for name, value in variant.facts.items())
            entries.append(": ".join(part for part in (variant.label, facts) if part))
        return f"{self.title or 'Original and reconstructions'}. {'; '.join(entries)}."

    def __repr__(self) -> str:
        return f"<Comparison: {self.alt}>"

    def _repr_html_(self) -> str:
        return f"<style>{_asset('compare.css')}</style>{self.markup()}<script>{_asset('compare.js')}</script>"

    def markup(self) -> str:
        """The figure without style and script."""
        height, width = self.original.shape
        pictures = [encode(self.original), *(encode(variant.gray) for variant in self.variants)]
        group = "sl-" + hashlib.sha256(b"".join(pictures) + self.title.encode()).hexdigest()[:10]
        size = f'width="{width}" height="{height}"'

        def layer(data: bytes, label: str, alt: str) -> str:
            return (
                f'<div class="sl-layer" data-label="{_text(label)}"><img src="{data_uri(data, "image/webp")}" {size} '
                f'alt="{_text(alt)}"><span>{_text(label)}</span></div>'
            )

        layers = [layer(pictures[0], "original", f"Original, {height}×{width} pixels")]
        layers += [
            layer(
                data, variant.label, f"Reconstruction at {variant.label}{', ' + variant.name if variant.name else ''}"
            )
            for data, variant in zip(pictures[1:], self.variants, strict=True)
        ]
        choices = "".join(
            f'<label class="sl-choice"><input type="radio" name="{group}" value="{index}"'
            f"{' checked' if index == self.first else ''}><span>{_text(variant.label)}</span></label>"
            for index, variant in enumerate(self.variants)
        )
        facts = "".join(self._facts(variant) for variant in self.variants)
        return (
            f'<figure class="sl-compare" role="group" aria-label="{_text(self.alt)}" style="{THEME}">'
            + (f'<p class="sl-title">{_text(self.title)}</p>' if self.title else "")
            + f'<fieldset class="sl-controls"{" hidden" if len(self.variants) == 1 else ""}><legend>{_text(self.choice)}</legend>'
            f'{choices}</fieldset><div class="sl-row"><div><div class="sl-stage">{"".join(layers)}'
            '<span class="sl-tag sl-tag-left" aria-hidden="true">original</span>'
            '<span class="sl-tag sl-tag-right" aria-hidden="true"></span><span class="sl-divider"></span></div>'
            '<div class="sl-controls"><input type="range" min="0" max="100" value="50" step="1" '
            'aria-label="Border between original and reconstruction">'
            '<label class="sl-check"><input type="checkbox" class="sl-difference"> '
            "absolute difference instead, three times as bright</label></div></div>"
            f"<div>{facts}</div></div>"
            + (f"<figcaption>{_text(self.caption)}</figcaption>" if self.caption else "")
            + "</figure>"
        )

    @staticmethod
    def _facts(variant: Variant) -> str:
        head = " · ".join(part for part in (variant.label, variant.name) if part)
        rows = "".join(f"<div><dt>{_text(k)}</dt><dd>{_text(v)}</dd></div>" for k, v in variant.facts.items())
        return f'<dl class="sl-facts"><div><dt class="sl-head">{_text(head)}</dt><dd></dd></div>{rows}</dl>'

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


def _text(value: str) -> str:
    return html.escape(str(value), quote=True)


@cache
def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
