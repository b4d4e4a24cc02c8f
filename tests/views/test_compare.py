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
from sarlab.views.compare import LEVELS, Variant, codecs, encode, networks, slider


def speckled(side=24, looks=4.4, seed=0):
    return to_gray(10 * np.log10(np.random.default_rng(seed).gamma(looks, 1 / looks, (side, side))), (-15, 8))


def decoded(uri):
    data = base64.b64decode(uri.removeprefix("data:image/webp;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("L")).astype(int)


def packed(shown):
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', shown.data)[1])


def test_pictures_are_off_by_half_a_level_at_most_and_the_most_speckled_pair_stays_below_100_kilobytes():
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.abs(decoded(encode(gray)) - gray).max() <= np.ceil(255 / (LEVELS - 1) / 2)
    assert (decoded(encode(gray, 256)) == gray).all()
    variant = Variant("16×", speckled(240, looks=1, seed=1), "plain")
    assert len(slider(speckled(240, looks=1), [variant], (0, 1), "speckle").data) <= 100_000


class Elements(HTMLParser):
    """Start tags with their attributes; fails unless every tag is closed in order."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in ("img", "input", "br", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


def test_markup_is_whole_every_control_has_a_name_and_the_script_finds_every_picture():
    steps = {"jpeg": ("16×", "8×"), "<b>": ("32×", "16×", "8×")}
    variants = [
        Variant(step, speckled(seed=len(series)), series, {"PSNR": "30 dB", "a <b>": "1 & 2"}, f"{series} {step}")
        for series, ratios in steps.items()
        for step in ratios
    ]
    shown = slider(speckled(), variants, (-25, 5), 'a "scene"', right=3, left=0)
    html, found, elements = shown.data, packed(shown), Elements(shown.data)
    assert found["steps"] == ["8×", "16×", "32×"]
    assert found["table"] == [[2, 1, None], [5, 4, 3]]
    assert found["labels"] == ["original", *(v.written for v in variants)]
    assert (found["clip"], found["span"]) == ([-25, 5], 6)
    selected = re.findall(r"<option value=\"(\w*)\" selected>([^<]*)", html)
    assert selected == [("0", "jpeg"), ("1", "16×"), ("1", "&lt;b&gt;"), ("1", "16×")]
    assert html.count("<script") == 2, "a name with a bracket ends no script"
    assert "rounded to 0.48 dB" in html
    for image, gray in zip(elements.all("img"), [speckled(), *(variant.gray for variant in variants)], strict=True):
        assert image["alt"]
        assert np.abs(decoded(image["src"]) - gray).max() <= 3
    assert not re.search(r"https?://|@import|url\(", html), "nothing is loaded"
    inputs = elements.all("input")
    assert [i["type"] for i in inputs] == ["radio"] * 3 + ["checkbox", "checkbox", "range", "checkbox"]
    assert inputs[5]["aria-label"]
    assert all(select["aria-label"] for select in elements.all("select"))
    assert elements.all("figure")[0]["aria-label"].startswith('a "scene". jpeg · 16×: PSNR 30 dB, a <b> 1 & 2; ')
    other = Elements(slider(speckled(seed=5), variants, (0, 1), "other").data)
    assert {i["name"] for i in other.all("input")[:1]} != {i["name"] for i in inputs[:1]}, "two sliders on one page"


def test_published_pictures_of_codecs_and_networks(filled):
    shown = codecs(filled, left="jpeg2000", right="lapped")
    assert packed(shown)["steps"] == ["16×", "32×", "64×"]
    names = {"0": "JPEG 2000", "1": "lapped (sarlab)"}
    selected = re.findall(r'<option value="(\d)" selected>([^<]*)', shown.data)
    assert selected == [("0", names["0"]), ("1", "32×"), ("1", names["1"]), ("1", "32×")]
    shown = networks(filled, ["KLT", "residual, KLT start"])
    assert packed(shown)["steps"] == ["4×", "8×", "16×", "32×"]
    assert "mosaic-test, band VV" in shown.data
    files = filled.table("examples").query("kind == 'reconstruction' and band == 'VV' and run_id.str.startswith('klt')")
    whole = np.asarray(Image.open(filled.image(files["file"].iloc[0])))
    first = Elements(shown.data).all("img")[1]["src"]
    assert np.abs(decoded(first) - whole[:, 8:152]).max() <= np.ceil(255 / 15 / 2), "the middle"
    assert "mosaic-test, band VH" in networks(filled, ["KLT"], scene="mosaic-test", band="VH").data


@pytest.mark.parametrize("compare", [codecs, lambda t: networks(t, ["KLT"])])
def test_without_pictures_there_is_no_slider(empty, compare):
    assert compare(empty) is None
