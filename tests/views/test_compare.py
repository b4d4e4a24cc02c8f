"""Before/after slider: small, self-contained, true to its pictures."""

import base64
import io
import re

import numpy as np
from PIL import Image

from sarlab.scenes.radiometry import to_gray
from sarlab.views.compare import LEVELS, Variant, codecs, encode, networks, slider


def speckled(side=24, looks=4.4, seed=0):
    return to_gray(10 * np.log10(np.random.default_rng(seed).gamma(looks, 1 / looks, (side, side))), (-15, 8))


def decoded(uri):
    data = base64.b64decode(uri.removeprefix("data:image/webp;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("L")).astype(int)


def test_pictures_are_off_by_half_a_level_at_most_and_the_most_speckled_pair_stays_below_100_kilobytes():
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.abs(decoded(encode(gray)) - gray).max() <= np.ceil(255 / (LEVELS - 1) / 2)
    assert (decoded(encode(gray, 256)) == gray).all()
    variant = Variant("16×", speckled(240, looks=1, seed=1), "plain")
    assert len(slider(speckled(240, looks=1), [variant], (0, 1), "speckle").data) <= 100_000


def test_the_script_finds_every_picture_by_series_and_step_and_names_end_no_script(packed):
    steps = {"jpeg": ("16×", "8×"), "<b>": ("32×", "16×", "8×")}
    variants = [
        Variant(step, speckled(seed=len(series)), series, {"PSNR": "30 dB", "a <b>": "1 & 2"}, f"{series} {step}")
        for series, ratios in steps.items()
        for step in ratios
    ]
    shown = slider(speckled(), variants, (-25, 5), 'a "scene"', right=3, left=0)
    html, found = shown.data, packed(shown)
    assert found["steps"] == ["8×", "16×", "32×"]
    assert found["table"] == [[2, 1, None], [5, 4, 3]]
    assert found["labels"] == ["original", *(v.written for v in variants)]
    assert (found["clip"], found["span"]) == ([-25, 5], 6)
    selected = re.findall(r"<option value=\"(\w*)\" selected>([^<]*)", html)
    assert selected == [("0", "jpeg"), ("1", "16×"), ("1", "&lt;b&gt;"), ("1", "16×")]
    assert (html.count("<script"), html.count("rounded to 0.48 dB")) == (2, 1)
    for uri, gray in zip(re.findall(r'src="([^"]*)"', html), [speckled(), *(v.gray for v in variants)], strict=True):
        assert np.abs(decoded(uri) - gray).max() <= 3
    assert "a &#34;scene&#34;. jpeg · 16×: PSNR 30 dB, a &lt;b&gt; 1 &amp; 2; " in html
    other = slider(speckled(seed=5), variants, (0, 1), "other").data
    assert len({re.search(r'type="radio" name="([^"]+)"', each)[1] for each in (html, other)}) == 2, "on one page"


def test_published_pictures_of_codecs_and_networks(filled, packed):
    shown = codecs(filled, left="jpeg2000", right="lapped")
    assert packed(shown)["steps"] == ["16×", "32×", "64×"]
    selected = re.findall(r'<option value="\d" selected>([^<]*)', shown.data)
    assert selected == ["JPEG 2000", "32×", "lapped (sarlab)", "32×"]
    shown = networks(filled, ["KLT", "residual, KLT start"])
    assert packed(shown)["steps"] == ["4×", "8×", "16×", "32×"]
    assert "mosaic-test, band VV" in shown.data
    files = filled.table("examples").query("kind == 'reconstruction' and band == 'VV' and run_id.str.startswith('klt')")
    whole = np.asarray(Image.open(filled.image(files["file"].iloc[0])))
    first = decoded(re.findall(r'src="([^"]*)"', shown.data)[1])
    assert np.abs(first - whole[:, 8:152]).max() <= np.ceil(255 / 15 / 2), "the middle"
    assert "mosaic-test, band VH" in networks(filled, ["KLT"], scene="mosaic-test", band="VH").data
