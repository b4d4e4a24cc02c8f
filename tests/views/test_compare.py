"""Before/after slider: small, self-contained, true to its pictures."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from sarlab.errors import ResultsError
from sarlab.scenes.radiometry import to_gray
from sarlab.views.compare import LEVELS, Comparison, Variant, encode


def speckled(side=240, looks=4.4, seed=0):
    return to_gray(10 * np.log10(np.random.default_rng(seed).gamma(looks, 1 / looks, (side, side))), (-15, 8))


def test_pictures_are_off_by_half_a_level_at_most():
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    shown = np.asarray(Image.open(io.BytesIO(encode(gray))).convert("L")).astype(int)
    assert np.abs(shown - gray).max() <= np.ceil(255 / (LEVELS - 1) / 2)
    assert np.asarray(Image.open(io.BytesIO(encode(gray, 256))).convert("L")).tolist() == gray.tolist()


def test_a_pair_of_the_most_speckled_kind_stays_below_100_kilobytes():
    html = Comparison(speckled(looks=1), [Variant("16×", speckled(looks=1, seed=1), "plain")])._repr_html_()
    assert len(html) <= 100_000


@pytest.fixture
def comparison():
    facts = {"PSNR": "24.3 dB", "a <b>": "1 & 2"}
    variants = [
        Variant("8×", speckled(24, seed=1), "plain", facts),
        Variant("16×", speckled(24, seed=2), "plain", facts),
    ]
    return Comparison(speckled(24), variants, title='a "scene"', caption="where from", first=1)


class Elements(HTMLParser):
    """Start tags with their attributes, and whether every tag is closed in order."""

    VOID = ("img", "input", "br", "meta")

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


def test_markup_is_whole_and_every_control_has_a_name(comparison):
    elements = Elements(comparison.markup())
    assert elements.open == []
    assert all(image["alt"] for image in elements.all("img"))
    assert len(elements.all("img")) == 3
    inputs = elements.all("input")
    assert [i["type"] for i in inputs] == ["radio", "radio", "checkbox", "checkbox", "range", "checkbox"]
    assert inputs[4]["aria-label"]
    assert all(select["aria-label"] for select in elements.all("select"))
    assert elements.all("figure")[0]["aria-label"].startswith('a "scene". plain · 8×: PSNR 24.3 dB')


def test_nothing_is_loaded_from_anywhere(comparison):
    html = comparison._repr_html_()
    assert all(url.startswith("data:image/webp;base64,") for url in re.findall(r'src="([^"]*)"', html))
    assert not re.search(r"https?://|@import|url\(", html)


def test_pictures_in_the_page_are_those_that_were_given(comparison):
    stored = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("L"))
        for data in re.findall(r'src="data:image/webp;base64,([^"]*)"', comparison.markup())
    ]
    given = [comparison.original, *(variant.gray for variant in comparison.variants)]
    assert all(np.abs(s.astype(int) - g).max() <= 3 for s, g in zip(stored, given, strict=True))


def data(comparison):
    """What the script of a comparison reads."""
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', comparison.markup())[1])


def test_the_script_finds_every_picture_by_series_and_step():
    steps = {"jpeg": ("1 bpp", "2 bpp"), "<b>": ("0.5 bpp", "1 bpp", "2 bpp")}
    variants = [
        Variant(step, speckled(24), series, {"PSNR": "30 dB"}, f"{series} {step}")
        for series, rates in steps.items()
        for step in rates
    ]
    made = Comparison(speckled(24), variants, clip=(-25, 5), steps=["0.5 bpp", "1 bpp"], first=3, left=0)
    found = data(made)
    assert found["steps"] == ["0.5 bpp", "1 bpp", "2 bpp"]
    assert found["table"] == [[None, 1, 2], [3, 4, 5]]
    assert found["labels"] == ["original", *(v.written for v in variants)]
    assert (found["clip"], found["span"]) == ([-25, 5], 6)
    selected = re.findall(r"<option value=\"(\w*)\" selected>([^<]*)", made.markup())
    assert selected == [("0", "jpeg"), ("1", "1 bpp"), ("1", "&lt;b&gt;"), ("1", "1 bpp")]
    assert made.markup().count("<script") == 1, "a name with a bracket ends no script"


def test_gray_levels_are_said(comparison):
    assert "rounded to 0.48 dB" in Comparison(speckled(24), comparison.variants, clip=(-25, 5)).legend


def test_two_sliders_on_one_page_have_buttons_of_their_own(comparison):
    other = Comparison(speckled(24, seed=5), comparison.variants)
    groups = {re.search(r'type="radio" name="([^"]+)"', c.markup())[1] for c in (comparison, other)}
    assert len(groups) == 2


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ResultsError, match="at least one"):
        Comparison(speckled(8), [])
    with pytest.raises(ResultsError, match=r"\(8, 8\).*\(9, 9\)"):
        Comparison(speckled(9), [Variant("x", speckled(8), "plain")])
    with pytest.raises(ResultsError, match="float64"):
        encode(np.zeros((4, 4)))
