"""Colors, type and axes that all figures share.

Every color here stands for a CSS variable: `sarlab.views.svg` writes it as ``var(--sl-…, color)``, so that a page can
show the same figure on light and on dark paper. Series differ by marker and line style as well as by color, and the
colors stay apart for the color-blind (after the palette of Okabe and Ito, darkened to 3:1 against white).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID, PAPER = "#1f2630", "#5d6875", "#dde3e9", "#fefefe"
BLUE, VERMILION, GREEN, PURPLE, OCHRE = "#0b69b3", "#c4500a", "#00795c", "#a8478b", "#8a6500"
SERIES = (BLUE, VERMILION, GREEN, PURPLE, OCHRE)
#: Further colors, so that no two codecs share one; `sarlab.css` has the dark variant of each.
MORE = (
    "#7a4a32", "#0a7d8c", "#5b4bb7", "#5f6b2d", "#b3283a", "#2f4f8f", "#4d7c0f", "#be185d", "#475569", "#7b3fb5",
    "#86720a", "#c2255c", "#6d5560", "#37705e",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

#: Color → the CSS variable that replaces it in a page.
VARIABLES = {
    INK: "--sl-ink",
    MUTED: "--sl-muted",
    GRID: "--sl-grid",
    PAPER: "--sl-paper",
    **{color: f"--sl-series-{index}" for index, color in enumerate((*SERIES, *MORE), start=1)},
}

#: Codec or architecture → name for people, color, marker: the only place where a series gets its look.
LOOKS: dict[str, tuple[str, str, str]] = {
    "lapped": ("lapped (sarlab)", VERMILION, "o"), "factorized": ("factorized (sarlab)", MORE[4], "v"),
    "klt8": ("KLT 8×8 (sarlab)", MORE[3], "D"), "jpeg2000": ("JPEG 2000", BLUE, "s"), "htj2k": ("HTJ2K", MORE[5], "X"),
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
    "rwf": ("Gaussian reference", INK, ""), "scalar": ("same, scalar quantizers", MUTED, ""),
    "shannon": ("Shannon lower bound of the speckle", INK, ""), "intensity": ("intensity", GREEN, "^"),
    "dB": ("dB", BLUE, "o"), "amplitude": ("amplitude", VERMILION, "s"),
}  # fmt: skip

#: Architectures of the package in the order in which they are named; others follow in the order of their names.
ARCHITECTURES = ("klt", "plain", "residual", "attention")

#: Color maps: intensity, and signed error (blue, white, orange: the color-blind tell them apart).
GRAY, SIGNED = "gray", "PuOr_r"

_RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 8.5,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.7,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.linewidth": 1.7,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",
    "svg.hashsalt": "sarlab",
    "image.interpolation": "none",
}


@contextmanager
def style() -> Iterator[None]:
    """Draw within this context; figures keep their look when they are saved outside of it."""
    import matplotlib

    with matplotlib.rc_context(_RC):
        yield


def axes(width: float = 4.4, height: float = 3.1) -> tuple[Figure, Axes]:
    """One styled axes in a figure of its own (inches), outside pyplot: nothing is shown or kept by accident.

    Figures stay narrower than about five inches, because a phone scales them down to its own width.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


@dataclass(frozen=True)
class Look:
    """How a series is drawn.

    Parameters
    ----------
    label : str
    color : str
    marker : str
        Matplotlib marker; empty for none.
    hollow : bool
        Marker filled with paper, line dashed: networks trained from scratch.
    width : float
        Line width in points.
    dotted : bool
        Dots in place of a line or dashes.
    solid : bool
        A continuous line in spite of a hollow marker.
    """

    label: str
    color: str
    marker: str
    hollow: bool = False
    width: float = 1.7
    dotted: bool = False
    solid: bool = False

    @property
    def dash(self) -> str:
        """Dashes of the line in an SVG picture of 28 px; empty for a continuous line."""
        return "1.5 2.5" if self.dotted else "4 2.5" if self.hollow and not self.solid else ""

    @property
    def line(self) -> dict[str, Any]:
        """Keywords for ``Axes.plot``."""
        return {
            "color": self.color,
            "linewidth": self.width,
            "linestyle": (0, (1, 2)) if self.dotted else (0, (3.2, 2)) if self.dash else "-",
            "marker": self.marker or None,
            "markersize": 5.5,
            "markerfacecolor": PAPER if self.hollow else self.color,
            "markeredgecolor": self.color,
            "markeredgewidth": 1.3,
        }


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
    key = series if series in known or series in by_name else series.partition(",")[0]
    key = by_name.get(key, key)
    if key in known:
        _, color, marker = known[key]
        label = name_of(key) + series.removeprefix(key).removeprefix(name_of(key))
    else:
        own = (i for i, name in enumerate(among) if series == name or series.startswith(f"{name},"))
        place = next(own, sum(map(ord, series)))
        label, color, marker = series, (*SERIES, *MORE)[place % 19], MARKERS[place % len(MARKERS)]
    start = "KLT start" in series
    width = {"thin": 0.6, "dotted": 0.9}.get(kind, 1.7)
    hollow, dotted = start or kind == "dashed", kind == "dotted"
    return Look(label, color, marker, hollow=hollow, dotted=dotted, width=width, solid=start and kind != "dashed")
