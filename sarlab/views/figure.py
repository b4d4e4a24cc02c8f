"""Figure: one or more panels that carry their description in words and know how to be shown and saved."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sarlab.errors import ResultsError
from sarlab.files import write_bytes, write_text
from sarlab.views.style import PAPER, Look, style
from sarlab.views.svg import to_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MatplotlibFigure

#: Colors of the page around a figure: JupyterLab and the book name theirs differently, and a page that names none is light.
THEME = (
    "--sl-ink:var(--pst-color-text-base,var(--jp-content-font-color1,#1f2630));"
    "--sl-muted:var(--pst-color-text-muted,var(--jp-content-font-color2,#5d6875));"
    "--sl-paper:var(--pst-color-background,var(--jp-layout-color0,#fefefe));"
)


@dataclass(frozen=True)
class Panel:
    """One drawing.

    Parameters
    ----------
    drawing : matplotlib Figure
    alt : str
        What it shows, in words and numbers, for those who do not see it.
    """

    drawing: MatplotlibFigure
    alt: str


class Figure:
    """Panels side by side where there is room and one below the other on a phone.

    Parameters
    ----------
    panels : sequence of Panel
    title : str
        What the reader is to see, as a sentence.
    caption : str
        What is drawn: scenes, interval, conditions.
    key : sequence of Look
        Series that all panels share, explained once above them.
    narrowest : int
        Width in pixels below which panels move to the next row.
    """

    def __init__(
        self, panels: Sequence[Panel], *, title: str = "", caption: str = "", key: Sequence[Look] = (),
        narrowest: int = 260,
    ):  # fmt: skip
        self.panels, self.title, self.caption = tuple(panels), title, caption
        self.key, self.narrowest = tuple(key), narrowest

    @property
    def alt(self) -> str:
        """Description of the whole figure in words."""
        return " ".join(part for part in (self.title, *(panel.alt for panel in self.panels)) if part) or self.caption

    def __repr__(self) -> str:
        return f"<Figure: {self.alt}>"

    def _repr_html_(self) -> str:
        if not (self.panels or self.caption):
            return ""
        label = html.escape(self.title or self.alt, quote=True)
        grid = f"display:grid;gap:1rem 1.4rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,{self.narrowest}px),1fr))"
        parts = [
            f'<figure class="sl-figure" role="group" aria-label="{label}" style="{THEME}margin:1.2em 0;color:var(--sl-ink)">'
        ]
        if self.title:
            parts.append(f'<p class="sl-title" style="margin:0 0 .6em;font-weight:600">{html.escape(self.title)}</p>')
        if self.key:
            entries = "".join(_key_entry(look) for look in self.key)
            parts.append(
                f'<p class="sl-key" style="display:flex;flex-wrap:wrap;gap:.2em 1.1em;margin:0 0 .6em;font-size:.85em">{entries}</p>'
            )
        parts.append(f'<div class="sl-panels" style="{grid}">')
        parts += [f"<div>{to_svg(panel.drawing, panel.alt)}</div>" for panel in self.panels]
        parts.append("</div>")
        if self.caption:
            parts.append(
                '<figcaption style="margin:.6em 0 0;font-size:.85em;text-align:left;color:var(--sl-muted)">'
                f"{html.escape(self.caption)}</figcaption>"
            )
        parts.append("</figure>")
        return "".join(parts)

    def save(self, path: str | Path) -> Path:
        """Write the figure; the suffix decides the format.

        Parameters
        ----------
        path : str or Path
            ``.html`` (all panels, scalable), ``.png`` (panels in one row, on white) or ``.svg`` (one panel only).

        Raises
        ------
        ResultsError
            For another suffix, or SVG of several panels.
        """
        path = Path(path)
        if path.suffix == ".html":
            page = "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
            write_text(path, f"{page}<title>{html.escape(self.title or 'Figure')}</title>{self._repr_html_()}</html>\n")
        elif path.suffix == ".png" and self.panels:
            write_bytes(path, self.png())
        elif path.suffix == ".svg" and len(self.panels) == 1:
            write_text(path, to_svg(self.panels[0].drawing, self.panels[0].alt) + "\n")
        else:
            raise ResultsError(f"{path}: save a figure of {len(self.panels)} panels as .html or .png")
        return path

    def png(self, dpi: int = 130) -> bytes:
        """All panels in one row on white paper, as PNG."""
        from PIL import Image

        images = []
        for panel in self.panels:
            buffer = io.BytesIO()
            with style():
                # read back below, so hardly compressed
                panel.drawing.savefig(buffer, format="png", dpi=dpi, facecolor=PAPER, pil_kwargs={"compress_level": 1})
            images.append(Image.open(buffer).convert("RGB"))
        width, height = sum(image.width for image in images), max(image.height for image in images)
        sheet = Image.fromarray(np.full((height, width, 3), 254, np.uint8))
        left = 0
        for image in images:
            sheet.paste(image, (left, 0))
            left += image.width
        buffer = io.BytesIO()
        sheet.save(buffer, "PNG")
        return buffer.getvalue()


_SHAPES = {
    "o": '<circle cx="14" cy="6" r="3.6"/>',
    "s": '<rect x="10.6" y="2.6" width="6.8" height="6.8"/>',
    "^": '<path d="M14 1.6 18 9.4H10z"/>',
    "D": '<path d="M14 1.4 18.4 6 14 10.6 9.6 6z"/>',
    "v": '<path d="M14 10.4 18 2.6H10z"/>',
    "P": '<path d="M14 2V10M10 6H18" stroke-width="3"/>',
    "X": '<path d="M11 3 17 9M17 3 11 9" stroke-width="2.6"/>',
}


def swatch(look: Look) -> str:
    """Line and marker of a series as a small picture for a key."""
    from sarlab.views.style import VARIABLES

    color = f"var({VARIABLES[look.color]},{look.color})" if look.color in VARIABLES else look.color
    fill = "var(--sl-paper,#fefefe)" if look.hollow else color
    dash = f' stroke-dasharray="{look.dash}"' if look.dash else ""
    shape = _SHAPES.get(look.marker, "") if look.marker else ""
    return (
        f'<svg width="28" height="12" viewBox="0 0 28 12" aria-hidden="true" style="stroke:{color};fill:{fill};stroke-width:1.6">'
        f'<path d="M1 6H27" stroke-width="{look.width}"{dash}/>{shape}</svg>'
    )


def _key_entry(look: Look) -> str:
    """Line, marker and name of one series."""
    return (
        '<span style="display:inline-flex;align-items:center;gap:.4em;white-space:nowrap">'
        f"{swatch(look)}{html.escape(look.label)}</span>"
    )
