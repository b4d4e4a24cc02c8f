"""Colors that can be read on both papers, numbers as people write them, inline SVG that nothing can disturb."""

import base64
import io
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sarlab.peers import codecs
from sarlab.views import figures, style
from sarlab.views.style import compact, listing, number, ratio, significant, span, to_svg

CSS = Path(__file__).resolve().parents[2] / "book" / "_static" / "sarlab.css"
DARK_PAPER = "#121212"


def luminance(color):
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(one, other):
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_colors_stand_out_on_white_and_their_brighter_variants_on_dark_pages():
    dark = re.search(r'html\[data-theme="dark"\] \{(.*?)\}', CSS.read_text(), re.DOTALL)[1]
    colors = dict(re.findall(r"(--sl-series-\d+): (#\w{6})", dark))
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for color, variable in style.VARIABLES.items():
        if "series" in variable:
            assert contrast(color, "#ffffff") >= 3, variable
            assert contrast(colors[variable], DARK_PAPER) >= 4.5, variable
    assert min(contrast(color, "#ffffff") for color in (style.INK, style.MUTED)) >= 3


def test_no_two_codecs_share_a_color():
    colors = [color for name, (_, color, _) in style.LOOKS.items() if name != "guide"]
    assert len(set(colors)) == len(colors)
    lossy = [name for name in codecs if not codecs[name].capabilities.lossless]
    assert len({style.look(name, among=lossy).color for name in lossy}) == len(lossy), "in one figure"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (number(24.35, 1), "24.4"), (number(-0.04, 1, sign=True), "0.0"), (number(-0.06, 1), "−0.1"),
        (number(0.5, 2, sign=True), "+0.50"), (number(np.nan), "–"), (number(np.inf, sign=True), "–"), (number(None), "–"),
        (ratio(16.0), "16×"), (ratio(3.5), "3.5×"), (ratio(15.98), "16×"),
        (significant(1234567), "1\u202f230\u202f000"), (significant(0.012345), "0.0123"), (significant(41.02), "41.0"),
        (significant(-9.996), "−10.0"), (significant(0), "0"), (significant(np.nan), "–"),
        (compact(0), "0"), (compact(420_000), "420\u202fk"), (compact(1_234_567), "1.23\u202fM"), (compact(999_700), "1.00\u202fM"),
        (span([3.0, 3.0]), "3.00"), (span([5.0, np.nan, 3.0]), "3.00 to 5.00"), (span([]), "–"),
        (listing([]), ""), (listing(["a"]), "a"), (listing("ab"), "a and b"), (listing("abc"), "a, b and c"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_people_do(shown, expected):
    assert shown == expected


# --- SVG --------------------------------------------------------------------------------------------------------------


def drawing(raster=None):
    with figures.panel(title="quantity (dB)") as (figure, ax):
        if raster is None:
            ax.plot([1, 2, 3], [3, 1, 2], color=style.BLUE, marker="o")
        else:
            ax.imshow(raster, cmap="gray", vmin=0, vmax=255)
    return figure


def test_svg_is_well_formed_in_the_font_and_the_colors_of_the_page():
    svg = to_svg(drawing(), 'a "quoted" <line>')
    root = ET.fromstring(svg)
    assert (root.get("role"), root.get("aria-label")) == ("img", 'a "quoted" <line>')
    assert "quantity (dB)" in "".join(root.itertext())
    assert "DejaVu" not in svg
    outside = set(re.findall(r"https?://[^\"'\s)]+", svg))
    assert outside <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    for color, variable in style.VARIABLES.items():
        assert not re.search(rf"(?<!, ){color}", svg), f"{color} is fixed"
        assert color not in svg or f"var({variable}, {color})" in svg
    assert f"var(--sl-series-1, {style.BLUE})" in svg

    # the same figure gives the same text, and identifiers of two figures on one page differ
    other = to_svg(drawing(np.eye(8)), "x")
    assert to_svg(drawing(), 'a "quoted" <line>') == svg
    ids = [set(re.findall(r' id="([^"]+)"', text)) for text in (svg, other)]
    assert ids[0]
    assert not ids[0] & ids[1]
    for text, known in zip((svg, other), ids, strict=True):
        assert set(re.findall(r"url\(#([^)]+)\)", text)) <= known


def test_rasters_are_embedded_without_loss_at_their_own_size():
    raster = np.random.default_rng(0).integers(0, 256, (20, 20)).astype(float)
    data = re.search(r"data:image/webp;base64,([A-Za-z0-9+/=]+)", to_svg(drawing(raster), "x"))[1]
    stored = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
    assert stored.shape == (20, 20, 3)
    assert min(np.abs(stored[::step, :, 0] - raster).max() for step in (1, -1)) <= 1
