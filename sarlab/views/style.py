"""The look of series, axes and numbers that all pages share, and figures as inline SVG.

Every color here stands for a CSS variable: `to_svg` writes it as ``var(--sl-…, color)``, so that a page can show the
same figure on light and on dark paper. Series differ by marker and line style as well as by color, and the colors stay
apart for the color-blind (after the palette of Okabe and Ito, darkened to 3:1 against white).
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

INK, MUTED, GRID, PAPER = "#1f2630", "#5d6875", "#dde3e9", "#fefefe"
#: Text of pictures that cannot follow the theme of a page: legible on white and on black.
ANY_PAGE = "#828d99"
BLUE, VERMILION, GREEN, PURPLE, OCHRE = "#0b69b3", "#c4500a", "#00795c", "#a8478b", "#8a6500"
SERIES = (BLUE, VERMILION, GREEN, PURPLE, OCHRE)
#: Further colors, so that no two codecs share one; `sarlab.css` has the dark variant of each.
MORE = (
    "#7a4a32", "#0a7d8c", "#5b4bb7", "#5f6b2d", "#b3283a", "#2f4f8f", "#4d7c0f", "#be185d", "#475569", "#7b3fb5",
    "#86720a", "#c2255c", "#6d5560", "#37705e", "#8b1a8b",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

#: Color → the CSS variable that replaces it in a page.
VARIABLES = {
    INK: "--sl-ink", MUTED: "--sl-muted", GRID: "--sl-grid", PAPER: "--sl-paper",
    **{color: f"--sl-series-{index}" for index, color in enumerate((*SERIES, *MORE), start=1)},
}  # fmt: skip

#: Codec or architecture → name for people, color, marker: the only place where a series gets its look.
LOOKS: dict[str, tuple[str, str, str]] = {
    "lapped": ("lapped (sarlab)", VERMILION, "o"), "factorized": ("factorized (sarlab)", MORE[4], "v"),
    "klt8": ("KLT 8×8 (sarlab)", MORE[3], "D"), "predictive": ("predictive (sarlab)", MORE[14], "^"), "jpeg2000": ("JPEG 2000", BLUE, "s"), "htj2k": ("HTJ2K", MORE[5], "X"),
    "sperr": ("SPERR", MORE[6], "^"), "hevc12": ("HEVC 12 bit", GREEN, "^"), "vvc10": ("VVC 10 bit", MORE[13], "D"),
    "avif12": ("AVIF 12 bit", PURPLE, "P"), "webp": ("WebP", MORE[12], "v"), "jpegxl": ("JPEG XL", OCHRE, "D"),
    "jpeg": ("JPEG", MORE[0], "X"), "jpeg12": ("JPEG 12 bit", MORE[7], "s"), "jpegls": ("JPEG-LS near-lossless", MORE[1], "v"),
    "sz3": ("SZ3", MORE[2], "P"), "lerc": ("LERC", MORE[8], "s"), "zfp": ("ZFP", INK, "X"),
    "klt": ("KLT", MUTED, ""), "plain": ("plain", MORE[9], "o"), "residual": ("residual", MORE[10], "s"),
    "attention": ("attention", MORE[11], "^"), "guide": ("the guide", INK, ""),
}  # fmt: skip
#: Series that are neither: classes of ground, references, limits, domains. They stand beside few others and share colors.
OTHERS: dict[str, tuple[str, str, str]] = {
    "homogeneous ground": ("homogeneous ground", INK, "o"), "texture": ("texture", OCHRE, "v"),
    "edges": ("edges", GREEN, "^"), "point targets": ("point targets", VERMILION, "s"),
    "recorded": ("recorded image", INK, ""), "clean": ("scene without speckle", GREEN, "D"), "lee": ("Lee filter", PURPLE, "^"),
    "original": ("original", INK, "o"), "redraw": ("new speckle", MUTED, "D"), "second date": ("second date", GREEN, "s"),
    "rwf": ("Gaussian reference", INK, ""), "scalar": ("ideal scalar quantizers", MUTED, ""),
    "shannon": ("Shannon lower bound of the speckle", INK, ""), "intensity": ("intensity", GREEN, "^"),
    "dB": ("dB", BLUE, "o"), "amplitude": ("amplitude", VERMILION, "s"),
}  # fmt: skip

#: Color maps: intensity, and signed error (blue, white, orange: the color-blind tell them apart).
GRAY, SIGNED = "gray", "PuOr_r"

_RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 9, "text.color": INK, "image.interpolation": "none",
    "axes.labelcolor": MUTED, "axes.labelsize": 8.5, "axes.edgecolor": MUTED, "axes.linewidth": 0.7, "axes.titlesize": 9.5,
    "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.titlepad": 8, "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True, "axes.unicode_minus": True,
    "axes.facecolor": "none", "figure.facecolor": "none", "savefig.facecolor": "none", "grid.color": GRID,
    "grid.linewidth": 0.7, "lines.linewidth": 1.7, "lines.solid_capstyle": "round", "svg.fonttype": "none",
    "svg.hashsalt": "sarlab", **{f"{axis}tick.{what}": value for axis in "xy" for what, value in (
        ("color", MUTED), ("labelsize", 8.5), ("major.size", 0), ("minor.size", 0))},
}  # fmt: skip


@contextmanager
def style(text: str = "") -> Iterator[None]:
    """Draw within this context, with all text in one color if given; figures keep their look when saved outside of it."""
    import matplotlib

    names = ("text.color", "axes.labelcolor", "axes.titlecolor", "axes.edgecolor", "xtick.color", "ytick.color")
    plain = {**dict.fromkeys(names, text), "grid.color": text, "grid.alpha": 0.3} if text else {}
    with matplotlib.rc_context(_RC | plain):
        yield


#: Dashes of lines in SVG → those of matplotlib.
CONTINUOUS, DASHED, DOTTED = "", "4 2.5", "1.5 2.5"
_DASHES: dict[str, Any] = {CONTINUOUS: "-", DASHED: (0, (3.2, 2)), DOTTED: (0, (1, 2))}


@dataclass(frozen=True)
class Look:
    """Color, marker and line of a series; `hollow` markers are filled with paper."""

    label: str
    color: str
    marker: str
    hollow: bool = False
    width: float = 1.7
    dash: str = CONTINUOUS

    @property
    def css(self) -> str:
        """Color in a page, which follows its theme."""
        return f"var({VARIABLES[self.color]}, {self.color})"

    @property
    def line(self) -> dict[str, Any]:
        """Keywords for ``Axes.plot``."""
        return {
            "color": self.color, "linewidth": self.width, "linestyle": _DASHES[self.dash], "marker": self.marker or None, "markersize": 5.5,
            "markerfacecolor": PAPER if self.hollow else self.color, "markeredgecolor": self.color, "markeredgewidth": 1.3,
        }  # fmt: skip


def name_of(key: str) -> str:
    """Name of a codec or architecture for people; one that the package does not know keeps its name."""
    return (LOOKS | OTHERS).get(key, (key,))[0]


def look(series: str, kind: str = "", among: Sequence[str] = ()) -> Look:
    """Look of a series: color and marker by codec or architecture, line by `kind`.

    Parameters
    ----------
    series : str
        Key of `LOOKS` or `OTHERS`, its name for people, or either followed by ``", …"``; others get a color of their own.
    kind : {"", "dashed", "dotted", "thin"}
        Of the line. Networks that start from the KLT have hollow markers.
    among : sequence of str
        All series of the figure, so that those without an entry in `LOOKS` get different colors.
    """
    known = LOOKS | OTHERS
    by_name = {name: key for key, (name, _, _) in known.items()}

    def key_of(text: str) -> str:
        text = text if text in known or text in by_name else text.partition(",")[0]
        return by_name.get(text, text)

    key = key_of(series)
    if key in known:
        _, color, marker = known[key]
        label = name_of(key) + series.removeprefix(key).removeprefix(name_of(key))
    else:
        taken = {known[other][1] for other in map(key_of, among) if other in known}
        free = [color for color in (*SERIES, *MORE) if color not in taken] or SERIES
        others = [name for name in among if key_of(name) not in known]
        own = (i for i, name in enumerate(others) if series == name or series.startswith(f"{name},"))
        place = next(own, sum(map(ord, series)))
        label, color, marker = series, free[place % len(free)], MARKERS[place % len(MARKERS)]
    hollow = kind == "dashed" or "KLT start" in series
    width = {"thin": 0.6, "dotted": 0.9}.get(kind, 1.7)
    return Look(label, color, marker, hollow, width, {"dashed": DASHED, "dotted": DOTTED}.get(kind, CONTINUOUS))


def number(value: float | None, digits: int = 1, *, sign: bool = False) -> str:
    """Number for people: fixed digits, a true minus sign, an explicit plus where `sign`; a dash for NaN and None."""
    if value is None or not np.isfinite(value):
        return "–"
    text = f"{abs(value):.{digits}f}"
    negative = value < 0 and float(text) != 0
    return ("\u2212" if negative else "+" if sign and float(text) != 0 else "") + text


def ratio(value: float) -> str:
    """Compression ratio: 16×, 3.5×."""
    return f"{value:.0f}×" if np.isclose(value, round(value), atol=0.05) else f"{value:.1f}×"


def significant(value: float, digits: int = 3) -> str:
    """Number with significant digits and thousands separated by thin spaces: 1 234 000, 0.0123."""
    if value is None or not np.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    # In scientific notation a value that is rounded up to the next power of ten carries its new exponent.
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])
    rounded = round(value, digits - 1 - exponent)
    return f"{rounded:,.{max(0, digits - 1 - exponent)}f}".replace(",", "\u202f").replace("-", "\u2212")


def compact(value: float) -> str:
    """Large number in three digits: 420 k, 1.23 M."""
    if value is None or not np.isfinite(value):
        return "–"
    for size, mark in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * size:
            return f"{significant(value / size)}\u202f{mark}"
    return significant(value)


def span(values: Iterable[float], form: Callable[[float], str] = significant) -> str:
    """``a to b``, or ``a`` where both read the same."""
    values = [value for value in values if np.isfinite(value)]
    low, high = (form(min(values)), form(max(values))) if values else ("–", "–")
    return low if low == high else f"{low} to {high}"


def listing(items: Iterable[str]) -> str:
    """``a, b and c``."""
    items = list(items)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


_FONT = re.compile(r"font:\s*((?:(?:normal|bold|italic|oblique|\d00)\s+)*)([\d.]+)px[^;\"]*")
_EMBEDDED = re.compile(r"data:image/png;base64,\s*([A-Za-z0-9+/=\s]+)")
_PATH = re.compile(r' (d|x|y)="([^"]*)"')
_DECIMALS = re.compile(r"-?\d+\.\d{3,}")
_COLOR = re.compile("|".join(VARIABLES), re.IGNORECASE)


def to_svg(figure: Figure, alt: str) -> str:
    """Return a figure as inline SVG that scales with the page and follows its theme; `alt` describes it in words."""
    from PIL import Image

    buffer = io.StringIO()
    with style():
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))  # the same text for the same figure
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r"font-family: [^;\"]*", "font-family: var(--sl-font, system-ui, sans-serif)", text)
    text = re.sub(r' transform="rotate\(-0 [^)]*\)"', "", text)
    text = _FONT.sub(r"font: \1\2px var(--sl-font, system-ui, sans-serif)", text)
    text = _COLOR.sub(lambda m: f"var({VARIABLES[m[0].lower()]}, {m[0].lower()})", text)
    text = _EMBEDDED.sub(lambda m: webp(Image.open(io.BytesIO(base64.b64decode(m[1])))), text)
    text = _PATH.sub(lambda m: f' {m[1]}="{_DECIMALS.sub(lambda n: f"{float(n[0]):.2f}", m[2])}"', text)
    text = _unique_ids(text)
    box = re.findall(r'viewBox="([^"]+)"', text)[0]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
        f'aria-label="{html.escape(alt, quote=True)}" viewBox="{box}" '
        f'style="width:100%;max-width:{max(1.5 * float(box.split()[2]), 440):.0f}px;height:auto;overflow:visible">'
    )
    return re.sub(r">\s+<", "><", re.sub(r"<svg[^>]*>", lambda _: head, text, count=1)).strip()


def webp(image: Image) -> str:
    """Data URI of a picture as lossless WebP, without an alpha channel where it is opaque."""
    image, buffer = image.convert("RGBA"), io.BytesIO()
    opaque = image.getchannel("A").getextrema() == (255, 255)
    image.convert("RGB" if opaque else "RGBA").save(buffer, "WEBP", lossless=True, quality=80, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _unique_ids(text: str) -> str:
    """Drop identifiers that nothing refers to and make the others unique among all figures of a page."""
    used = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'href="#([^"]+)"', text))
    mark = hashlib.sha256(text.encode()).hexdigest()[:8]
    text = re.sub(r' id="([^"]+)"', lambda m: f' id="{m[1]}-{mark}"' if m[1] in used else "", text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#\1-{mark})", text)
    return re.sub(r'href="#([^"]+)"', rf'href="#\1-{mark}"', text)
