"""Matplotlib figures as inline SVG: text stays text, colors become CSS variables, rasters become small WebP images."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
from typing import TYPE_CHECKING

import numpy as np

from sarlab.views.style import VARIABLES, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FONT = re.compile(r"font:\s*((?:(?:normal|bold|italic|oblique|\d00)\s+)*)([\d.]+)px[^;\"]*")
_EMBEDDED = re.compile(r"data:image/png;base64,\s*([A-Za-z0-9+/=\s]+)")
_PATH = re.compile(r' (d|x|y)="([^"]*)"')
_DECIMALS = re.compile(r"-?\d+\.\d{3,}")
_COLOR = re.compile("|".join(VARIABLES), re.IGNORECASE)


def to_svg(figure: Figure, alt: str) -> str:
    """Inline SVG of a figure that scales with the page and follows its theme.

    Parameters
    ----------
    figure : matplotlib Figure
    alt : str
        What the figure shows, in words.

    Returns
    -------
    str
        An ``<svg role="img">`` element, the same text for the same figure.
    """
    buffer = io.StringIO()
    with style():
        figure.savefig(
            buffer, format="svg", transparent=True,
            metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")),
        )  # fmt: skip
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"font-family: [^;\"]*", "font-family: var(--sl-font, system-ui, sans-serif)", text)
    text = re.sub(r' transform="rotate\(-0 [^)]*\)"', "", text)
    text = _FONT.sub(r"font: \1\2px var(--sl-font, system-ui, sans-serif)", text)
    text = _COLOR.sub(lambda m: f"var({VARIABLES[m[0].lower()]}, {m[0].lower()})", text)
    text = _EMBEDDED.sub(lambda m: _shrunk(base64.b64decode(m[1])), text)
    text = _PATH.sub(lambda m: f' {m[1]}="{_DECIMALS.sub(lambda n: f"{float(n[0]):.2f}", m[2])}"', text)
    text = _unique_ids(text)
    box = re.search(r'viewBox="([^"]+)"', text)
    width = float(box[1].split()[2]) if box else 320.0
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
        f'aria-label="{html.escape(alt, quote=True)}" viewBox="{box[1] if box else "0 0 320 240"}" '
        f'style="width:100%;max-width:{max(1.5 * width, 440):.0f}px;height:auto;overflow:visible">'
    )
    return re.sub(r">\s+<", "><", re.sub(r"<svg[^>]*>", lambda _: head, text, count=1)).strip()


def _shrunk(png: bytes) -> str:
    """Data URI of an embedded raster, in gray where it is gray."""
    from PIL import Image

    image = Image.open(io.BytesIO(png)).convert("RGBA")
    values = np.asarray(image)
    if (values[..., 3] == 255).all():
        image = image.convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=True, quality=80, method=4)
    return data_uri(buffer.getvalue(), "image/webp")


def data_uri(data: bytes, kind: str) -> str:
    """`data` as a data URI of MIME type `kind`."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _unique_ids(text: str) -> str:
    """Drop identifiers that nothing refers to and make the others unique among all figures of a page."""
    used = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'href="#([^"]+)"', text))
    mark = hashlib.sha256(text.encode()).hexdigest()[:8]
    text = re.sub(r' id="([^"]+)"', lambda m: f' id="{m[1]}-{mark}"' if m[1] in used else "", text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#\1-{mark})", text)
    return re.sub(r'href="#([^"]+)"', rf'href="#\1-{mark}"', text)
