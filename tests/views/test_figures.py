"""Figure functions: what is drawn is what was computed, in colors that differ, with words for those who cannot see it."""

import re

import numpy as np
import pandas as pd
import pytest

from sarlab.views import figures, page, select
from sarlab.views.style import LOOKS, VARIABLES, look


@pytest.fixture(scope="module")
def codecs(synthetic):
    return select.measured(synthetic.codecs(), split="test")


def test_no_two_codecs_share_a_color_and_every_color_has_a_dark_variant(synthetic):
    from sarlab.lab.results import shared_folder

    colors = [color for name, (_, color, _) in LOOKS.items() if name != "guide"]
    assert len(set(colors)) == len(colors)
    css = (shared_folder("book") / "_static" / "sarlab.css").read_text()
    dark = css[css.index('data-theme="dark"') :]
    named = {VARIABLES[color] for color in colors} - {"--sl-ink", "--sl-muted"}
    assert all(f"{name}:" in dark for name in named), "ink and muted follow the theme of the page"


def test_curves_draw_the_means_and_say_them(codecs):
    figure = figures.curves(codecs, "bpp", ["psnr_db", "rmse_k8_db"], "codec", at="target_value")
    assert len(figure.panels) == 2
    ax = figure.panels[0].drawing.axes[0]
    points = select.means(codecs, "psnr_db", ["codec", "target_value"], x=["bpp"])
    drawn = {tuple(np.round(line.get_ydata(), 6)) for line in ax.get_lines()}
    for _, line in points.groupby("codec"):
        assert tuple(np.round(line.sort_values("bpp")["mean"], 6)) in drawn
    assert "JPEG 2000: 20.00 at 0.06" in figure.panels[0].alt
    assert {one.label for one in figure.key} == {look(codec).label for codec in codecs["codec"].unique()}


def test_styles_of_a_series_have_its_color_and_entries_of_their_own(codecs):
    rows = pd.concat([codecs.assign(bits="8 bits"), codecs.assign(bits="4 bits", psnr_db=codecs["psnr_db"] - 1)])
    figure = figures.curves(
        rows, "bpp", "psnr_db", "codec", at="target_value", style="bits", kinds={"4 bits": "dashed"}
    )
    labels = [one.label for one in figure.key]
    assert len(labels) == len(set(labels)) == 2 * codecs["codec"].nunique()
    assert len({one.color for one in figure.key}) == codecs["codec"].nunique()


def test_facets_average_only_their_own_scenes(synthetic):
    rows = select.measured(synthetic.codecs())
    figure = figures.curves(rows, "bpp", "psnr_db", "codec", at="target_value", facet="split")
    assert len(figure.panels) == 2
    assert all(len(panel.drawing.axes[0].get_lines()) >= rows["codec"].nunique() for panel in figure.panels)


def test_points_show_their_values_with_intervals():
    found = pd.DataFrame({
        "codec": ["lapped", "jpeg"], "mean": [-25.0, 30.0], "low": [-27.0, 28.0], "high": [-23.0, 33.0], "n": 3, "kind": "range",
        "over": "passes",
    })  # fmt: skip
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


def test_text_in_figures_is_at_least_nine_pixels_where_a_panel_is_narrowest(codecs):
    figure = figures.curves(codecs, "bpp", "psnr_db", "codec", at="target_value")
    svg = figure._repr_html_()
    wide = float(re.search(r'viewBox="0 0 ([\d.]+)', svg[svg.index('role="img"') :])[1])
    smallest = min(float(size) for size in re.findall(r"font(?:-size)?: (?:\w+ )*([\d.]+)px", svg))
    assert smallest * figures.NARROWEST / wide >= 9


def test_numbers_and_intervals_are_written_as_people_do():
    point = pd.DataFrame(
        {"mean": [-0.2], "low": [-0.3], "high": [-0.1], "n": [4], "kind": ["range"], "over": ["passes"]}
    )
    assert page.interval(point, 1, unit="dB") == "−0.2\u00a0dB (−0.3 to −0.1, range of 4 passes)"
    assert page.interval(point.iloc[:0]) == page.interval(None) == "–"
    assert page.interval(point.assign(kind="", n=1, low=np.nan, high=np.nan)) == "−0.2 (one pass)"
    html = page.table(pd.DataFrame({"codec": ["a"], "PSNR (dB)": [np.nan]}), caption="One")._repr_html_()
    assert re.search(r'<td style="text-align:right">–</td>', html)
    assert page.note("Missing.", unless=[1]) is None
    assert "Missing." in page.note("Missing.", unless=[]).text


def test_series_without_a_look_of_their_own_differ_within_a_figure():
    names = [f"{n}×" for n in (4, 8, 16, 32, 64, 128)]
    rows = pd.DataFrame([{"ratio": n, "x": x, "mean": x, "low": x, "high": x} for n in names for x in (1.0, 2.0)])
    drawn = figures.curves(rows.assign(kind="", n=1, over="passes"), "x", "psnr_db", "ratio")
    assert len({(each.color, each.marker) for each in drawn.key}) == len(names)


def test_level_lines_of_a_metric_stay_in_its_panel(codecs):
    figure = figures.curves(
        codecs, "bpp", ["psnr_db", "rmse_k8_db"], "codec", at="target_value",
        lines={"psnr_db": {"original": 31.5}, "everywhere": 1.0},
    )  # fmt: skip
    assert "original at 31.50" in figure.panels[0].alt
    assert "everywhere" not in figure.panels[0].alt
    assert "everywhere at 1.00" in figure.panels[1].alt
    assert "original" not in figure.panels[1].alt
