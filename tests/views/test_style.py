"""Colors that can be read on both papers, labels that do not touch, looks that differ."""

import re
from pathlib import Path

import numpy as np
import pytest

from sarlab.views import style

CSS = Path(__file__).resolve().parents[2] / "book" / "_static" / "sarlab.css"
DARK_PAPER = "#121212"


def luminance(color):
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(one, other):
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_contrast_of_black_on_white_is_21():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("color", [*style.SERIES, style.INK, style.MUTED])
def test_colors_stand_out_on_white(color):
    assert contrast(color, "#ffffff") >= 3


def test_dark_pages_have_a_brighter_color_for_every_series():
    dark = re.search(r'html\[data-theme="dark"\] \{(.*?)\}', CSS.read_text(), re.DOTALL)[1]
    colors = dict(re.findall(r"(--sl-series-\d+): (#\w{6})", dark))
    assert set(colors) == {name for name in style.VARIABLES.values() if "series" in name}
    for name, color in colors.items():
        assert contrast(color, DARK_PAPER) >= 4.5, name
