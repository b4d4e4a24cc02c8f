"""Figure functions: what is drawn is what was computed, in colors that differ, with words for those who cannot see it."""

import re

import numpy as np
import pandas as pd
import pytest

from sarlab.views import figures, select, style
from sarlab.views.figures import Figure, Panel
from sarlab.views.style import look


@pytest.fixture(scope="module")
def codecs(synthetic):
    return select.measured(synthetic.codecs(), split="test")


def test_curves_draw_the_means_and_say_them(codecs):
    lines = {"psnr_db": {"original": 31.5}, "everywhere": 1.0}
    figure = figures.curves(codecs, "bpp", ["psnr_db", "rmse_k8_db"], "codec", at="target_value", lines=lines)
    for text, panels in (("original at 31.50", [True, False]), ("where at 1.00", [False, True])):
        assert [text in panel.alt for panel in figure.panels] == panels, "level lines of a metric stay in its panel"
    points = select.means(codecs, "psnr_db", ["codec", "target_value"], x=["bpp"])
    drawn = {tuple(np.round(line.get_ydata(), 6)) for line in figure.panels[0].drawing.axes[0].get_lines()}
    for _, line in points.groupby("codec"):
        assert tuple(np.round(line.sort_values("bpp")["mean"], 6)) in drawn
    assert "JPEG 2000: 20.00 at 0.06" in figure.panels[0].alt
    assert {one.label for one in figure.key} == {look(codec).label for codec in codecs["codec"].unique()}
    svg = figure._repr_html_()
    wide = float(re.search(r'viewBox="0 0 ([\d.]+)', svg[svg.index('role="img"') :])[1])
    smallest = min(float(size) for size in re.findall(r"font(?:-size)?: (?:\w+ )*([\d.]+)px", svg))
    assert smallest * figures.NARROWEST / wide >= 9, "pixels, where a panel is narrowest"


def test_styles_of_a_series_have_its_color_and_entries_of_their_own(codecs):
    rows = pd.concat([codecs.assign(bits="8 bits"), codecs.assign(bits="4 bits", psnr_db=codecs["psnr_db"] - 1)])
    kinds = {"4 bits": "dashed"}
    figure = figures.curves(rows, "bpp", "psnr_db", "codec", at="target_value", style="bits", kinds=kinds)
    labels = [one.label for one in figure.key]
    assert len(labels) == len(set(labels)) == 2 * codecs["codec"].nunique()
    assert len({one.color for one in figure.key}) == codecs["codec"].nunique()


def test_points_show_their_values_with_intervals():
    found = {"codec": ["lapped", "jpeg"], "mean": [-25.0, 30.0], "low": [-27.0, 28.0], "high": [-23.0, 33.0]}
    found = pd.DataFrame(found).assign(n=3, kind="range", over="passes")
    figure = figures.points(found, "BD-rate", "codec", zero=True, unit=" %")
    assert "−25.0 % (−27.0 to −23.0)" in figure.alt
    assert figure.caption == "Bars: range of 3 passes."


@pytest.mark.parametrize(
    "draw",
    [
        lambda rows: figures.curves(rows, "bpp", "psnr_db", "codec", at="target_value", title="T"),
        lambda rows: figures.points(rows, "psnr_db", "codec", title="T"),
        lambda rows: figures.bars(rows, "codec", "psnr_db", title="T"),
        lambda rows: figures.images([], title="T"), lambda rows: figures.heat(pd.DataFrame(), title="T"),
    ],
)  # fmt: skip
def test_without_rows_nothing_is_shown(codecs, draw):
    assert draw(codecs.iloc[:0])._repr_html_() == ""


def test_bars_distributions_images_and_maps_have_words(codecs):
    bars = figures.bars(codecs.groupby("codec", as_index=False)["bpp"].mean(), "codec", "bpp")
    assert "JPEG 2000:" in bars.alt
    spread = figures.distribution({"a": np.arange(101.0), "b": [np.nan, 1.0]}, axis="dB")
    assert "a: median 50.0, 90 % between 5.00 and 95.0" in spread.alt
    picture = figures.images([("scene", np.arange(12.0).reshape(3, 4))], windows=[(0, 0, 2)])
    assert "3 by 4 pixels, with 1 numbered windows" in picture.alt
    assert "x: y 0.50" in figures.heat(pd.DataFrame({"y": [0.5]}, index=["x"])).alt


def test_series_without_a_look_of_their_own_differ_within_a_figure():
    names = [f"{n}×" for n in (4, 8, 16, 32, 64, 128)]
    rows = pd.DataFrame([{"ratio": n, "x": x, "mean": x, "low": x, "high": x} for n in names for x in (1.0, 2.0)])
    drawn = figures.curves(rows.assign(kind="", n=1, over="passes"), "x", "psnr_db", "ratio")
    assert len({(each.color, each.marker) for each in drawn.key}) == len(names)


def test_a_figure_is_described_and_follows_the_page_around():
    with figures.panel() as (drawing, ax):
        ax.plot([0, 1], [0, 1], color=style.VERMILION)
    panels = [Panel(drawing, "one panel"), Panel(drawing, "second <panel>")]
    looks = [look("klt"), look("plain, KLT start")]
    figure = Figure(panels, title="A & B", caption="Where from.", key=looks)
    assert figure.alt == "A & B one panel second <panel>"
    html = figure._repr_html_()
    assert 'role="group" aria-label="A &amp; B"' in html
    assert html.count('role="img"') == 2
    assert 'aria-label="second &lt;panel&gt;"' in html
    assert all(text in html for text in ("<figcaption", "Where from.", "plain, KLT start"))
    assert "--sl-ink:var(--pst-color-text-base,var(--jp-content-font-color1" in html
    assert re.search(r"<svg width=\"28\"[^>]*fill:var\(--sl-paper", html), "a KLT start is hollow in the key"
