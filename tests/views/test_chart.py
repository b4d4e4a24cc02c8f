"""Charts: the numbers in the page are those of the tables, with their intervals; every control has a name."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sarlab.lab.operating_points import Threshold, recommend
from sarlab.views import chart, compare, operating
from sarlab.views.chart import Axis, Series, line_of, places_of
from sarlab.views.style import BLUE, DASHED, GREEN, Look


def test_a_line_has_rounded_means_over_passes_of_points_with_all_scenes(packed):
    rows = pd.DataFrame({
        "scene": ["a", "b", "a", "b", "a"], "target": [20, 20, 30, 30, 40], "bpp": [0.25, 0.75, 1, 1, 2], "native_bits": 16,
        "psnr_db": [29.12345, 31, np.nan, np.nan, 40],
    })  # fmt: skip
    line = line_of(rows.assign(acquisition=rows["scene"]), "target", "bpp", ["psnr_db", "unknown"])
    assert line == {
        "x": {"bpp": [0.5, 1.0], "cr": [32.0, 16.0]}, "y": {"psnr_db": [30.06, None]}, "low": {"psnr_db": [29.1, None]},
        "high": {"psnr_db": [31.0, None]}, "over": "range over 2 passes",
    }  # fmt: skip
    series = [
        Series(Look("a <b>", BLUE, "o"), "codecs", {("here", "VV"): line}),
        Series(Look("c", GREEN, "s", hollow=True, dash=DASHED), "limits", {}, on=False, bound=True),
    ]
    axes = [Axis("bpp", "bit per pixel")], [Axis("psnr_db", "PSNR (dB)", better="higher"), Axis("ssim", "SSIM")]
    drawn = chart.chart(series, *axes, ["here", "there"], ["VV"], "Made up")
    first, second = packed(drawn)["series"]
    assert first["points"] == [[line], [None]]
    assert (first["color"], first["dash"], second["dash"]) == (f"var(--sl-series-1, {BLUE})", "", DASHED)
    assert "<label hidden>band" in drawn.data, "a menu of one entry is none"
    assert "a &lt;b&gt;" in drawn.data
    assert drawn.data.count("</script>") == 2, "a name with a bracket ends no script"


def test_the_menu_has_the_means_first_and_scenes_alone_if_asked(filled):
    rows = filled.codecs
    means = ["test scene: mosaic-test", "other passes, mean of 3"]
    assert list(places_of(rows, alone=True)) == [*means, "patch-1", "patch-2", "patch-3"]
    assert list(places_of(rows, alone=False)) == means
    assert list(places_of(rows.assign(split="else"), alone=False)) == ["all scenes"]


def test_codecs_of_the_chart_have_the_numbers_of_the_table(filled, synthetic, packed):
    data = packed(chart.interactive(filled, networks=False))
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


def test_networks_and_the_noise_floor_of_edges_have_the_numbers_of_the_tables(filled, packed):
    codecs, runs = (
        rows.assign(epi_roa_floor=np.where(rows["scene"] == "mosaic-test", 0.7, 0.4))
        for rows in (filled.codecs, filled.runs)
    )
    klt_start = runs[(runs["architecture"] == "residual") & (runs["init"] == "klt")]
    coded = klt_start.assign(quantizer="a4", bits=4, coded_bpp=klt_start["bpp"] / 5, run_id=klt_start["run_id"] + "-a4")
    shown = chart.interactive(replace(filled, runs=pd.concat([runs, coded]), codecs=codecs), networks=True)
    every = {one["name"]: one for one in packed(shown)["series"]}
    on = set(re.findall(r'aria-pressed="true">.*?</svg>([^<]*)<', shown.data, re.DOTALL))
    networks = {f"{name}{start}" for name in ("plain", "residual", "attention") for start in ("", ", KLT start")}
    assert on == {"KLT", *networks, "lapped (sarlab)", "HEVC 12 bit", "JPEG 2000", chart.LIMIT, chart.FLOOR}

    here = runs.query("scene == 'mosaic-test' and band == 'VV'")
    rows, line = here.query("architecture == 'klt'").sort_values("bpp"), every["KLT"]["points"][0][0]
    order = np.argsort(line["x"]["bpp"])
    assert np.array(line["x"]["ratio"])[order] == pytest.approx(rows["dimension_ratio"])
    assert np.array(line["y"]["psnr_db"])[order] == pytest.approx(rows["psnr_db"], rel=1e-3)
    rates = [every[f"residual, KLT start{end}"]["points"][0][0]["x"]["bpp"] for end in ("", ", a4")]
    assert rates[1] == pytest.approx(np.array(rates[0]) / 5, rel=1e-3), "quantized networks at their coded rate"

    floor = every[chart.FLOOR]
    assert floor["bound"]
    assert floor["points"][0][0]["y"] == {"epi_roa": [0.7, 0.7]}
    rates = pd.concat(
        [codecs.query("scene == 'mosaic-test' and band == 'VV'"), here, coded.loc[coded.index.isin(here.index)]]
    )["bpp"]
    assert floor["points"][0][0]["x"]["bpp"] == pytest.approx([rates.min(), rates.max()], rel=1e-3)


def test_without_tables_there_is_no_chart_no_panel_and_no_slider(empty):
    charts = [chart.interactive(empty, networks=networks) for networks in (True, False)]
    assert {*charts, operating.panel(empty), compare.codecs(empty), compare.networks(empty, ["KLT"])} == {None}


def test_points_of_the_panel_are_those_of_the_command_line(filled, packed):
    points = operating.points_of(filled.runs, filled.codecs)
    packed_points = packed(operating.panel(filled))["points"]
    assert [(point["command"], point["cr"]) for point in packed_points] == [(p.command, round(p.cr, 3)) for p in points]
    chosen = recommend(points, [Threshold("psnr_db", "min", 30.0)]).chosen
    meets = [point for point in packed_points if point["bounds"].get("psnr_db", 0) >= 30 - 0.02]
    assert max(point["cr"] for point in meets) == pytest.approx(chosen.cr, abs=0.001)
    found = operating.furthest(points).set_index("wanted")
    assert found.loc[30.0, "ratio"] == pytest.approx(chosen.cr)
