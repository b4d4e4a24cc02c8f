"""Rates and the three ratios by hand; Bjøntegaard differences against closed forms and the package `bjontegaard`."""

import numpy as np
import pandas as pd
import pytest

from sarlab.errors import MetricError
from sarlab.metrics.intervals import interval
from sarlab.metrics.rate import bd_quality, bd_rate, bd_table, bits_per_pixel, measured_cr, measured_cr_lossless

RATES = np.geomspace(0.05, 4, 10)


def quality(rate):
    """A bent curve, about 6 dB a bit at high rate."""
    return 24 + 6 * rate + 2.5 * np.log2(1 + 8 * rate)


def test_rates_and_ratios_count_bands_and_the_whole_file():
    assert bits_per_pixel(1024, 64 * 64) == 2
    assert bits_per_pixel(1024, 64 * 64, bands=2) == 1
    assert measured_cr(1024, 64 * 64, bands=2, native_bits=16) == 16
    assert measured_cr(4296, 256 * 256, native_bits=16) == pytest.approx(2 * 65536 / 4296)
    assert measured_cr_lossless(1024, 5120) == 5
    for byte_count in (0, -1, float("nan")):
        with pytest.raises(MetricError, match="byte_count"):
            bits_per_pixel(byte_count, 100)
        with pytest.raises(MetricError, match="lossless_bytes"):
            measured_cr_lossless(1024, byte_count)


def test_a_constant_factor_of_rate_and_a_constant_offset_of_quality_are_their_differences():
    q = quality(RATES)
    result = bd_rate(RATES, q, 0.85 * RATES, q)
    assert result.value == pytest.approx(-15)
    assert (result.low, result.high) == pytest.approx((q[0], q[-1]))
    result = bd_quality(RATES, q, RATES, q + 0.7)
    assert result == pytest.approx((0.7, RATES[0], RATES[-1], result.reason))
    # metrics that fall with the rate work alike; order and points without a value do not matter
    rmse = 30 * 10 ** (-q / 20)
    assert bd_rate(RATES, rmse, 0.85 * RATES, rmse).value == pytest.approx(-15)
    rate, values = np.append(RATES, [5.0, np.nan, 0.0])[::-1], np.append(q, [np.nan, 70.0, 20.0])[::-1]
    assert bd_rate(RATES, q, 0.85 * rate, values).value == pytest.approx(-15)
    assert bd_rate(RATES[:8], q[:8], 0.85 * RATES[:8], q[:8]).value == pytest.approx(-15)


@pytest.mark.parametrize("seed", range(3))
def test_against_the_bjontegaard_package(seed):
    bjontegaard = pytest.importorskip("bjontegaard")
    rng = np.random.default_rng(seed)
    anchor, test = (np.sort(rng.uniform(0.05, 3, 15)) for _ in range(2))
    q_anchor = quality(anchor) + rng.uniform(0, 0.02, 15).cumsum()
    q_test = quality(test * 1.2) + rng.uniform(0, 0.02, 15).cumsum()
    curves = anchor, q_anchor, test, q_test
    common = {"method": "pchip", "require_matching_points": False, "min_overlap": 0}
    for ours, theirs in ((bd_rate, bjontegaard.bd_rate), (bd_quality, bjontegaard.bd_psnr)):
        assert ours(*curves).value == pytest.approx(theirs(*curves, **common), abs=1e-6)


def test_what_is_refused():
    q = quality(RATES)
    for arguments, message in (
        ((RATES[:7], q[:7], RATES, q), "7 points"),
        ((RATES, q, RATES, q + q[-1] - q[0]), "share no range"),
        ((RATES, q, RATES, np.where(np.arange(10) == 4, 60, q)), "not monotone"),
        ((RATES, q, RATES, np.full(10, 30.0)), "not monotone"),
    ):
        result = bd_rate(*arguments)
        assert np.isnan(result.value)
        assert message in result.reason
    few = bd_rate(RATES, q, RATES, q, interval=(q[2], q[5]))
    assert "6 points around the interval" in few.reason
    assert np.isfinite(bd_rate(RATES, q, RATES, q, interval=(q[1], q[6])).value)
    assert "less than 75%" in bd_rate(RATES, q, RATES, q, interval=(20, 80)).reason
    with pytest.raises(MetricError, match="rates but"):
        bd_rate(RATES, q[:5], RATES, q)
    for stated in ((q[0], q[5]), (q[4], q[9])):
        assert "7 points around the interval" in bd_rate(RATES, q, RATES, q, interval=stated).reason
    for stated in ((40, 30), (40, 40)):
        with pytest.raises(MetricError, match="interval"):
            bd_rate(RATES, q, RATES, q, interval=stated)
    with pytest.raises(MetricError, match="no column 'vmaf'"):
        bd_table(rows(), anchor="anchor", metric="vmaf")
    with pytest.raises(MetricError, match="jpeg3000"):
        bd_table(rows(), anchor="jpeg3000")


SCENES = (("a", "one", 0.8), ("b", "one", 0.9), ("c", "two", 0.7))


def rows(scenes=SCENES):
    curves = []
    for scene, event, factor in scenes:
        for codec, scale in (("anchor", 1.0), ("ours", factor)):
            values = quality(RATES) + (scene == "b")
            curve = pd.DataFrame({"bpp": scale * RATES, "psnr_db": values, "ssim": 1 - np.exp(-RATES)})
            curves.append(curve.assign(codec=codec, scene=scene, band="VV", acquisition=event))
    return pd.concat(curves)


def test_table_is_per_scene_then_the_mean_over_acquisitions():
    table = bd_table(rows(), anchor="anchor").set_index("codec")
    # acquisitions of −15 and −30 %: too few for more than their range
    found = table.loc["ours", ["bd_rate_percent", "bd_rate_low", "bd_rate_high", "scenes", "acquisitions"]]
    assert list(found) == pytest.approx([-22.5, -30, -15, 3, 2])
    widest = list(table.loc["ours", ["interval_low", "interval_high"]])
    assert widest == pytest.approx([quality(RATES[0]), quality(RATES[-1]) + 1])
    assert table.loc["anchor", "bd_rate_percent"] == pytest.approx(0)
    assert table.loc["ours", "reason"] == ""
    factors = np.linspace(0.7, 0.95, 6)
    row = bd_table(rows([(f"s{f}", f, f) for f in factors]), anchor="anchor").set_index("codec").loc["ours"]
    expected = interval(100 * (factors - 1), factors)
    assert [row.bd_rate_percent, row.bd_rate_low, row.bd_rate_high] == pytest.approx(expected[:3])


def test_table_of_another_metric_and_of_a_missing_curve():
    table = rows()
    table = table[~((table.codec == "anchor") & (table.scene == "c"))]
    row = bd_table(table, anchor="anchor", metric="ssim").set_index("codec").loc["ours"]
    assert row.bd_rate_percent == pytest.approx(-15)
    assert "c/VV lacks the anchor" in row.reason
    assert "one acquisition" in row.reason
    assert np.isnan(row.bd_rate_low)
