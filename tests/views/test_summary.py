"""Means and intervals against closed forms; which rows make a curve."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sarlab.views import summary


def rows(**columns):
    length = max(len(v) for v in columns.values() if isinstance(v, list))
    base = {
        "architecture": "plain", "init": "klt", "dimension_ratio": 16.0, "spatial_reduction": 16, "width": 32, "depth": 1,
        "bits": 32, "seed": 0, "scene": "a", "band": "VV", "split": "test", "acquisition": "x", "simulated": False,
        "bpp": 2.0, "psnr_db": 25.0, "gain_over_klt_db": 0.1,
    }  # fmt: skip
    return pd.DataFrame({name: columns.get(name, [value] * length) for name, value in base.items()})


def test_intervals_go_over_acquisitions_or_else_over_seeds():
    assert summary.spread([1, 1, 1, 5], ["a", "a", "a", "b"], [0] * 4) == (
        (3, 1, 5, 2, "range"),
        "range over 2 acquisitions",
    )
    values = [24.0, 24.4, 25.1, 24.2, 24.9]
    found, words = summary.spread(values, ["a"] * 5, range(5))
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert words == "95 % interval over seeds"
    found, words = summary.spread([1.0, np.nan], ["a", "b"], [0, 0])
    assert (found.mean, found.n, words) == (1, 1, "")


@given(st.floats(-9, 9), st.floats(-40, 40), st.lists(st.sampled_from([4, 8, 16, 32, 64]), min_size=2, unique=True))
def test_slope_of_a_straight_line_is_found(slope, offset, ratios):
    values = [offset + slope * np.log2(r) for r in ratios]
    assert summary.per_doubling(ratios, values) == pytest.approx(slope, abs=1e-8)


def test_steps_are_counted_for_each_doubling():
    found = summary.steps([32, 4, 8], [20.0, 32.0, 28.0])
    assert found == [summary.Step(4, 8, -4.0), summary.Step(8, 32, -4.0)]
    assert not summary.bends(found)
    assert summary.bends(summary.steps([4, 8, 16], [32.0, 27.0, 25.0]))
    assert summary.steps([4], [1.0]) == []


def test_one_ratio_has_no_slope():
    assert np.isnan(summary.per_doubling([16], [25.0]))


def test_unmeasured_and_simulated_rows_stand_back():
    table = rows(psnr_db=[25.0, np.nan, 26.0], simulated=["False", "False", "True"])
    assert list(summary.measured(table)["psnr_db"]) == [25.0]
    only = rows(psnr_db=[25.0, 26.0], simulated=[True, True])
    assert len(summary.measured(only)) == 2


def test_main_line_keeps_one_configuration_per_point():
    table = rows(
        architecture=["klt", "plain", "plain", "plain", "plain", "plain"],
        dimension_ratio=[16.0] * 6,
        spatial_reduction=[16, 16, 16, 8, 16, 16],
        width=[32, 32, 32, 32, 64, 32],
        depth=[1, 1, 1, 1, 1, 3],
        bits=[32, 32, 8, 32, 32, 32],
        psnr_db=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    )
    assert list(summary.main_line(table)["psnr_db"]) == [1.0, 2.0]


def test_main_line_keeps_both_starts_of_an_architecture_though_their_sizes_differ():
    table = rows(
        architecture=["plain"] * 3,
        init=["klt", "klt", "scratch"],
        dimension_ratio=[16.0, 8.0, 16.0],
        spatial_reduction=[16] * 3,
        width=[16, 16, 32],
        depth=[1, 1, 0],
        psnr_db=[1.0, 2.0, 3.0],
    )
    assert list(summary.main_line(table)["psnr_db"]) == [1.0, 2.0, 3.0]


def test_curve_orders_series_and_averages_scenes():
    table = rows(
        architecture=["residual", "plain", "klt", "plain", "plain"],
        init=["klt", "klt", "klt", "scratch", "klt"],
        scene=["a", "a", "a", "a", "b"],
        acquisition=["x", "x", "x", "x", "y"],
        psnr_db=[27.0, 24.0, 22.0, 21.0, 26.0],
    )
    points = summary.curve(table, "psnr_db")
    series = list(zip(points["architecture"], points["init"], points["mean"], strict=True))
    assert series == [
        ("klt", "klt", 22.0), ("plain", "scratch", 21.0), ("plain", "klt", 25.0), ("residual", "klt", 27.0)
    ]  # fmt: skip
    assert points.loc[2, "scenes"] == 2


def test_curve_of_nothing_has_its_columns():
    assert list(summary.curve(rows(psnr_db=[np.nan]), "psnr_db"))[:3] == ["architecture", "init", "dimension_ratio"]


def test_front_pages_speak_of_sixteen_or_of_the_middle():
    assert summary.reference_ratio(rows(dimension_ratio=[4.0, 16.0, 64.0])) == 16
    assert summary.reference_ratio(rows(dimension_ratio=[4.0, 8.0, 32.0])) == 8


def test_best_prefers_networks_to_the_klt():
    points = summary.curve(rows(architecture=["klt", "plain"], psnr_db=[30.0, 20.0]), "psnr_db")
    assert summary.best(points, 16.0)["architecture"] == "plain"
    assert summary.best(points, 16.0, network=False)["architecture"] == "klt"
    assert summary.best(points, 99.0) is None
