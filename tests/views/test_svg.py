"""Inline SVG: well-formed, themed, free of anything that another figure or machine could disturb."""

import base64
import io
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from sarlab.views import style
from sarlab.views.svg import to_svg


def drawing(raster=None):
    with style.style():
        figure, ax = style.axes()
        ax.set_title("quantity (dB)")
        if raster is None:
            ax.plot([1, 2, 3], [3, 1, 2], color=style.BLUE, marker="o")
        else:
            ax.imshow(raster, cmap="gray", vmin=0, vmax=255)
    return figure


@pytest.fixture(scope="module")
def svg():
    return to_svg(drawing(), 'a "quoted" <line>')


def test_is_well_formed_and_named(svg):
    root = ET.fromstring(svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'a "quoted" <line>'
    assert "<metadata" not in svg


def test_text_stays_text_in_the_font_of_the_page(svg):
    assert "quantity (dB)" in "".join(ET.fromstring(svg).itertext())
    assert "DejaVu" not in svg


def test_colors_follow_the_page(svg):
    for color, variable in style.VARIABLES.items():
        assert not re.search(rf"(?<!, ){color}", svg), f"{color} is fixed"
        assert color not in svg or f"var({variable}, {color})" in svg
    assert f"var(--sl-series-1, {style.BLUE})" in svg


def test_asks_for_nothing_outside_the_page(svg):
    assert set(re.findall(r"https?://[^\"'\s)]+", svg)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_same_figure_same_text_and_identifiers_of_two_figures_differ():
    first, again, other = to_svg(drawing(), "x"), to_svg(drawing(), "x"), to_svg(drawing(np.eye(8)), "x")
    assert first == again
    ids = [set(re.findall(r' id="([^"]+)"', text)) for text in (first, other)]
    assert ids[0]
    assert not ids[0] & ids[1]
    for text in (first, other):
        assert set(re.findall(r"url\(#([^)]+)\)", text)) <= set(re.findall(r' id="([^"]+)"', text))


def test_rasters_are_embedded_without_loss_at_their_own_size():
    raster = np.random.default_rng(0).integers(0, 256, (20, 20)).astype(float)
    svg = to_svg(drawing(raster), "x")
    data = re.search(r"data:image/webp;base64,([A-Za-z0-9+/=]+)", svg)[1]
    stored = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
    assert stored.shape == (20, 20, 3)
    upright = min(np.abs(stored[::step, :, 0] - raster).max() for step in (1, -1))
    assert upright <= 1
