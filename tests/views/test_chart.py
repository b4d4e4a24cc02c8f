"""Charts: the numbers in the page are those of the tables, with their intervals; every control has a name."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from sarlab.errors import ResultsError
from sarlab.lab.operating_points import Threshold, recommend
from sarlab.lab.results import Tables, tables
from sarlab.views import chart, operating
from sarlab.views.chart import Axis, Chart, Line, Series, line_of, places_of
from sarlab.views.style import BLUE, DASHED, GREEN, Look


@pytest.fixture(scope="module")
def book(synthetic, tmp_path_factory):
    """Tables of a book with networks, codecs, limits and pictures."""
    root = tmp_path_factory.mktemp("charts")
    synthetic.write(root, codecs=True)
    return tables(root)


@pytest.fixture(scope="module")
def nothing(tmp_path_factory):
    return Tables(tmp_path_factory.mktemp("none"), pd.DataFrame(), pd.DataFrame(), pd.DataFrame(), {})


def packed(drawn):
    """What the script of a chart reads."""
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', drawn.markup())[1])


# --- the figure -------------------------------------------------------------------------------------------------------


def made(**keywords):
    line = Line(
        {"bpp": [0.5, 1.0]}, {"psnr": [30.12345, np.nan]}, {"psnr": [29.0, np.nan]}, {"psnr": [31.0, np.nan]}, "95 %"
    )
    series = [
        Series(Look("a <b>", BLUE, "o"), "codecs", {("here", "VV"): line}),
        Series(Look("c", GREEN, "s", hollow=True, dash=DASHED), "limits", {}, on=False, bound=True),
    ]  # fmt: skip
    axes = {
        "x": [Axis("bpp", "bit per pixel")],
        "y": [Axis("psnr", "PSNR (dB)", better="higher"), Axis("ssim", "SSIM")],
    }
    return Chart(series, **{**axes, "places": ["here", "there"], "bands": ["VV"], **keywords})


def test_values_are_rounded_and_gaps_are_null():
    first, second = packed(made())["series"]
    assert first["points"] == [
        [{"x": {"bpp": [0.5, 1.0]}, "y": {"psnr": [30.12, None]}, "low": {"psnr": [29.0, None]}, "high": {"psnr": [31.0, None]}, "over": "95 %"}],
        [None],
    ]  # fmt: skip
    assert (first["color"], first["dash"]) == (f"var(--sl-series-1, {BLUE})", "")
    assert second["bound"]
    assert second["dash"] == DASHED


def test_every_control_has_a_name_and_nothing_is_loaded():
    html = made()._repr_html_()
    assert re.findall(r'aria-pressed="(\w+)"', made().markup()) == ["true", "false"]
    assert re.findall(r"<label[^>]*>(\w[\w ]*) <select", html) == ["scenes", "band", "upward", "to the right"]
    assert "<label hidden>band" in html, "a menu of one entry is none"
    assert "a &lt;b&gt;" in html
    assert html.count("</script>") == 2, "a name with a bracket ends no script"
    assert not re.search(r"https?://(?!www\.w3\.org)|@import|url\((?!#)", html)
    assert "fixed figures of this page" in html
    assert "more: limits" in html


def test_a_chart_of_nothing_is_refused():
    with pytest.raises(ResultsError, match="at least one"):
        made(places=[])


# --- its points -------------------------------------------------------------------------------------------------------


def test_points_of_some_of_the_scenes_only_are_left_out():
    rows = pd.DataFrame(
        [("a", 20, 0.1, 21.0), ("b", 20, 0.3, 23.0), ("a", 30, 1.0, 30.0)], columns=["scene", "target", "bpp", "psnr_db"]
    )  # fmt: skip
    line = line_of(rows.assign(acquisition=rows["scene"], native_bits=16), "target", "bpp", ["psnr_db", "unknown"])
    assert list(line.x["bpp"]) == pytest.approx([0.2])
    assert list(line.x["cr"]) == pytest.approx([80])
    assert line.y["psnr_db"] == [22.0]
    assert "unknown" not in line.y
    assert line.over == "range over 2 passes"


def test_the_menu_has_the_means_first_and_few_scenes_alone(book, monkeypatch):
    rows = book.codecs
    assert list(places_of(rows)) == ["test scene: mosaic-test", "other passes, mean of 3", "patch-1", "patch-2", "patch-3"]  # fmt: skip
    monkeypatch.setattr(chart, "MOST_ROWS", 10)
    assert list(places_of(rows)) == ["test scene: mosaic-test", "other passes, mean of 3"]
    assert list(places_of(rows.assign(split="else"))) == ["all scenes"]


def test_codecs_of_the_chart_have_the_numbers_of_the_table(book, synthetic):
    data = packed(chart.codecs_chart(book))
    assert [axis["name"] for axis in data["x"]] == ["bpp", "cr", "ratio"]
    by_name = {entry["name"]: entry for entry in data["series"]}
    assert next(iter(by_name)) == "lapped (sarlab)", "fewest bits first"
    rows = synthetic.codecs().query("codec == 'hevc12' and scene == 'mosaic-test' and band == 'VV'")
    line = by_name["HEVC 12 bit"]["points"][0][0]
    assert line["x"]["bpp"] == pytest.approx(rows["bpp"], rel=1e-3)
    assert line["x"]["cr"] == pytest.approx(rows["measured_cr"], rel=1e-3)
    assert line["y"]["bias_db"] == pytest.approx(rows["bias_db"], rel=1e-3)
    assert line["low"] == {}, "one acquisition gives no interval"
    pooled = by_name["HEVC 12 bit"]["points"][1][0]
    assert pooled["over"] == "range over 3 passes"
    assert len(pooled["low"]["ssim"]) == len(pooled["y"]["ssim"])
    assert "ratio" not in line["x"]
    assert by_name[chart.LIMIT]["points"][0][0]["y"].keys() == {"psnr_db"}


def test_networks_of_the_chart_have_the_numbers_of_the_runs(book):
    drawn = chart.networks_chart(book)
    on = [one.look.label for one in drawn.series if one.on]
    networks = {f"{name}{start}" for name in ("plain", "residual", "attention") for start in ("", ", KLT start")}
    assert set(on) == {
        "KLT",
        *networks,
        "lapped (sarlab)",
        "HEVC 12 bit",
        "JPEG 2000",
        chart.LIMIT,
        chart.FLOOR,
    }
    rows = book.runs.query("architecture == 'klt' and scene == 'mosaic-test' and band == 'VH'").sort_values("bpp")
    line = next(one for one in drawn.series if one.look.label == "KLT").lines["test scene: mosaic-test", "VH"]
    order = np.argsort(line.x["bpp"])
    assert np.array(line.x["ratio"])[order] == pytest.approx(rows["dimension_ratio"])
    assert np.array(line.y["psnr_db"])[order] == pytest.approx(rows["psnr_db"])


def test_edges_are_held_against_their_noise_floor(book):
    codecs, runs = (
        rows.assign(epi_roa_floor=np.where(rows["scene"] == "mosaic-test", 0.7, 0.4))
        for rows in (book.codecs, book.runs)
    )
    drawn = chart.codecs_chart(Tables(book.root, runs, book.history, codecs, book.manifest))
    floor = next(one for one in drawn.series if one.look.label == chart.FLOOR)
    assert (floor.on, floor.bound) == (True, True)
    line = floor.lines["test scene: mosaic-test", "VV"]
    assert set(line.y) == {"epi_roa"}
    assert line.y["epi_roa"] == pytest.approx([0.7, 0.7])
    here = codecs[(codecs["scene"] == "mosaic-test") & (codecs["band"] == "VV")]
    assert min(line.x["bpp"]) <= here["bpp"].min()
    assert max(line.x["bpp"]) >= here["bpp"].max()
    bare = Tables(book.root, book.runs.drop(columns="epi_roa_floor", errors="ignore"), book.history,
                  book.codecs.drop(columns="epi_roa_floor", errors="ignore"), book.manifest)  # fmt: skip
    without = chart.codecs_chart(bare)
    assert chart.FLOOR not in [one.look.label for one in without.series]


def test_quantized_networks_are_drawn_at_their_coded_rate(book):
    runs = book.runs[(book.runs["architecture"] == "residual") & (book.runs["init"] == "klt")]
    coded = runs.assign(quantizer="a4", bits=4, coded_bpp=runs["bpp"] / 5, run_id=runs["run_id"] + "-a4")
    both = Tables(book.root, pd.concat([book.runs, coded]), book.history, book.codecs, book.manifest)
    series = {one.look.label: one for one in chart.networks_chart(both).series}
    quantized = series["residual, KLT start, a4"]
    assert not quantized.on
    place = ("test scene: mosaic-test", "VV")
    assert quantized.lines[place].x["bpp"] == pytest.approx(series["residual, KLT start"].lines[place].x["bpp"] / 5)


@pytest.mark.parametrize("show", [chart.codecs_chart, chart.networks_chart, operating.panel])
def test_without_tables_there_is_no_chart(nothing, show):
    assert show(nothing) is None


# --- the panel --------------------------------------------------------------------------------------------------------


def test_points_of_the_panel_are_those_of_the_command_line(book):
    points = operating.points_of(book.runs, book.codecs)
    html = operating.panel(book).data
    packed_points = json.loads(re.search(r'<script type="application/json">(.*?)</script>', html)[1])["points"]
    assert [point["name"] for point in packed_points] == [point.name for point in points]
    chosen = recommend(points, [Threshold("psnr_db", "min", 30.0)]).chosen
    meets = [point for point in packed_points if point["bounds"].get("psnr_db", 0) >= 30 - 0.02]
    assert max(point["cr"] for point in meets) == pytest.approx(chosen.cr, abs=0.001)
    found = operating.furthest(points).set_index("wanted")
    assert found.loc[30.0, "ratio"] == pytest.approx(chosen.cr)
