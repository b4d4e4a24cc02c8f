"""Before/after slider: small, self-contained, true to its pictures."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from sarlab.scenes.radiometry import to_gray
from sarlab.views.compare import LEVELS, Comparison, Variant, codecs, encode, networks


def speckled(side=240, looks=4.4, seed=0):
    return to_gray(10 * np.log10(np.random.default_rng(seed).gamma(looks, 1 / looks, (side, side))), (-15, 8))


def decoded(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("L")).astype(int)


def test_pictures_are_off_by_half_a_level_at_most():
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.abs(decoded(encode(gray)) - gray).max() <= np.ceil(255 / (LEVELS - 1) / 2)
    assert (decoded(encode(gray, 256)) == gray).all()


def test_a_pair_of_the_most_speckled_kind_stays_below_100_kilobytes():
    variant = Variant("16×", speckled(looks=1, seed=1), "plain")
    assert len(Comparison(speckled(looks=1), [variant], (0, 1), "speckle")._repr_html_()) <= 100_000


@pytest.fixture
def comparison():
    facts = {"PSNR": "24.3 dB", "a <b>": "1 & 2"}
    variants = [Variant(f"{n}×", speckled(24, seed=n), "plain", facts) for n in (8, 16)]
    return Comparison(speckled(24), variants, (0.0, 1.0), 'a "scene"', "where from", first=1)


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


def test_markup_is_whole_every_control_has_a_name_and_pictures_are_those_that_were_given(comparison):
    html = comparison._repr_html_()
    elements = Elements(html)
    assert elements.open == []
    assert len(elements.all("img")) == 3
    assert all(image["alt"] for image in elements.all("img"))
    assert all(url.startswith("data:image/webp;base64,") for url in re.findall(r'src="([^"]*)"', html))
    assert not re.search(r"https?://|@import|url\(", html), "nothing is loaded"
    inputs = elements.all("input")
    assert [i["type"] for i in inputs] == ["radio", "radio", "checkbox", "checkbox", "range", "checkbox"]
    assert inputs[4]["aria-label"]
    assert all(select["aria-label"] for select in elements.all("select"))
    assert elements.all("figure")[0]["aria-label"].startswith('a "scene". plain · 8×: PSNR 24.3 dB')
    given = [comparison.original, *(variant.gray for variant in comparison.variants)]
    for data, gray in zip(re.findall(r'src="data:image/webp;base64,([^"]*)"', html), given, strict=True):
        assert np.abs(decoded(base64.b64decode(data)) - gray).max() <= 3


def test_the_script_finds_every_picture_by_series_and_step():
    steps = {"jpeg": ("16×", "8×"), "<b>": ("32×", "16×", "8×")}
    variants = [
        Variant(step, speckled(24), series, {"PSNR": "30 dB"}, f"{series} {step}")
        for series, ratios in steps.items()
        for step in ratios
    ]
    made = Comparison(speckled(24), variants, (-25, 5), "two codecs", first=3, left=0)
    found = json.loads(re.search(r'<script type="application/json">(.*?)</script>', made._repr_html_())[1])
    assert found["steps"] == ["8×", "16×", "32×"]
    assert found["table"] == [[2, 1, None], [5, 4, 3]]
    assert found["labels"] == ["original", *(v.written for v in variants)]
    assert (found["clip"], found["span"]) == ([-25, 5], 6)
    selected = re.findall(r"<option value=\"(\w*)\" selected>([^<]*)", made._repr_html_())
    assert selected == [("0", "jpeg"), ("1", "16×"), ("1", "&lt;b&gt;"), ("1", "16×")]
    assert made._repr_html_().count("<script") == 2, "a name with a bracket ends no script"
    assert "rounded to 0.48 dB" in made.legend


def test_two_sliders_on_one_page_have_buttons_of_their_own(comparison):
    other = Comparison(speckled(24, seed=5), comparison.variants, (0, 1), "other")
    groups = {re.search(r'type="radio" name="([^"]+)"', c._repr_html_())[1] for c in (comparison, other)}
    assert len(groups) == 2


def test_published_pictures_of_codecs_and_networks(filled):
    shown = codecs(filled, left="jpeg2000", right="lapped")
    assert (shown.series, shown.steps) == (["JPEG 2000", "lapped (sarlab)"], ["16×", "32×", "64×"])
    assert [shown.variants[i].title for i in (shown.left, shown.first)] == ["JPEG 2000 · 32×", "lapped (sarlab) · 32×"]
    shown = networks(filled, ["KLT", "residual, KLT start"])
    assert (shown.title, shown.left, shown.steps) == ("mosaic-test, band VV", None, ["4×", "8×", "16×", "32×"])
    files = filled.table("examples").query("kind == 'reconstruction' and band == 'VV' and run_id.str.startswith('klt')")
    whole = np.asarray(Image.open(filled.image(files["file"].iloc[0])))
    assert (shown.variants[0].gray == whole[:, 8:152]).all(), "the middle"
    assert networks(filled, ["KLT"], scene="mosaic-test", band="VH").title == "mosaic-test, band VH"
