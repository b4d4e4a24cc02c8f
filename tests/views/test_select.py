"""Selection and means: what a title, a table and a marker share."""

import numpy as np
import pandas as pd
import pytest

from sarlab.metrics.intervals import interval
from sarlab.views import select

FIRST, SECOND, LATER = (
    "S1B_IW_GRDH_1SDV_20171101T153951", "S1B_IW_GRDH_1SDV_20171101T154016", "S1A_IW_GRDH_1SDV_20170613T165043",
)  # fmt: skip


def rows(values, acquisitions, **columns):
    frame = pd.DataFrame({"psnr_db": values, "acquisition": acquisitions, "codec": "lapped", "band": "VV"})
    return frame.assign(**{"scene": frame.index.map("scene {}".format), **columns})


def test_two_slices_of_a_pass_are_one_observation():
    assert select.passes(pd.Series([FIRST, SECOND, LATER])).nunique() == 2
    assert select.passes(pd.Series([FIRST, FIRST.replace("S1B", "S1A")])).nunique() == 2, "two satellites, two passes"
    point = select.means(rows([10.0, 20.0, 30.0], [FIRST, SECOND, LATER]), "psnr_db", "codec").iloc[0]
    assert tuple(point[["mean", "n", "kind", "low", "high"]]) == (22.5, 2, "range", 15, 30), "(15 + 30) / 2"
    table = rows([30.0, 31.0], [FIRST, FIRST], seed=[0, 1]).assign(scene="one")
    point = select.means(table, "psnr_db", "codec").iloc[0]
    assert (point["n"], point["kind"], point["over"]) == (2, "range", "seeds"), "of one pass, the range of its seeds"
    single = select.means(table[:1], "psnr_db", "codec")
    assert (single["kind"].iloc[0], select.bars(single)) == ("", "Each value is of one pass and one seed: no interval.")


def test_five_passes_give_the_interval_of_student():
    values = np.array([30.0, 31, 29, 33, 32])
    point = select.means(rows(values, [f"pass {i}" for i in range(5)]), "psnr_db", "codec").iloc[0]
    assert tuple(point[["mean", "low", "high"]]) == pytest.approx(interval(values, range(5))[:3])
    assert select.bars(pd.DataFrame([point])) == "Bars: 95 % interval (Student) over 5 passes."


def test_means_must_be_of_the_same_scenes_if_asked_and_missing_columns_give_none():
    table = rows([30.0, 31.0, 40.0], [FIRST, LATER, FIRST], target_value=[30, 30, 40], scene=["a", "b", "a"])
    assert len(select.means(table, "psnr_db", "target_value")) == 2
    assert list(select.means(table, "psnr_db", "target_value", complete=True)["target_value"]) == [30]
    assert select.means(pd.DataFrame(), "psnr_db", "codec").empty
    assert select.means(table, "no_such_metric", "codec").empty
    assert select.measured(pd.DataFrame()).empty
    assert np.isnan(select.numbers(table, "absent")).all()


def test_curves_are_interpolated_over_the_logarithm_and_not_extrapolated():
    curve = pd.DataFrame({"bpp": [0.25, 1.0], "psnr_db": [20.0, 30.0]})
    found = select.at(curve, "bpp", [0.5, 2.0], ["psnr_db"])["psnr_db"]
    assert found[0] == pytest.approx(25)
    assert np.isnan(found[1])


def test_bd_rates_are_those_of_known_factors_over_passes(synthetic):
    codecs = select.measured(synthetic.codecs())
    found = select.bd_rates(codecs).set_index("codec")
    assert found.loc["lapped", "mean"] == pytest.approx(-25, abs=0.1)
    assert found.loc["jpeg", "mean"] == pytest.approx(30, abs=0.1)
    assert found.loc["lapped", "n"] == codecs["acquisition"].nunique()


def runs(**columns):
    """Runs of one training in float32, at 4 bits with a range per channel and per tensor, and trained with the quantizer."""
    frame = pd.DataFrame({
        "run_id": ["f", "c", "t", "s"], "quantizer": ["f32", "u4", "u4t", "u4-ste"], "bits": [32, 4, 4, 4],
        "granularity": ["channel", "channel", "tensor", "channel"], "quantizer_training": ["none", "none", "none", "ste"],
        "psnr_db": [30.0, 29.0, 27.0, 29.25], "converged": [True, True, True, False],
    })  # fmt: skip
    about = {
        "architecture": "plain", "init": "scratch", "latent_channels": 16, "steps": 800, "seed": 0, "scene": "a", "band": "VV",
    }  # fmt: skip
    return frame.assign(**about | columns)


def test_runs_that_quantize_a_latent_are_not_trainings_of_their_own():
    assert list(select.trainings(runs())["run_id"]) == ["f", "s"]
    nested = pd.concat([runs(latent_channels=c, run_id=f"nested {c}", curve="nested")[:1] for c in (16, 8)])
    assert len(select.trainings(nested)) == 1
    assert len(select.trainings(nested.assign(curve="dedicated"))) == 2
    assert select.convergence(runs()) == {"trainings": 2, "converged": 1, "settled_by": [1600]}
    parts = (runs(), runs()[:3], runs()[:3].drop(columns="converged"))
    assert [select.converged(part) for part in parts] == [False, True, False]


def test_what_a_quantizer_in_training_brings_is_measured_against_the_same_quantizer_after_it():
    rows = runs().assign(scheme=["f32", "u4", "u4t", "u4"])
    alike = (*select.TRAINING, "scheme", "bits", "granularity")
    found = select.against(rows[3:], rows[:3], ["psnr_db"], alike)
    assert list(found["psnr_db_gain"]) == [0.25], "not against the mean of ranges per channel and per tensor"
    with pytest.raises(ValueError, match="several references"):
        select.against(rows[3:], rows[:3], ["psnr_db"], select.TRAINING)


def test_a_line_along_one_column_has_runs_that_are_otherwise_those_of_the_main_line():
    about = {"spatial_reduction": 16, "dimension_ratio": 16, "depth": 0, "stem": "fold", "curve": "dedicated"}
    cases = [
        (2000, 44, "mse", 32), (2000, 44, "mse", 32), (500, 44, "mse", 32), (2000, 44, "gamma", 32), (2000, 44, "mse", 4),
        (500, 16, "mse", 32),
    ]  # fmt: skip
    table = pd.concat([
        runs(run_id=f"{index}", steps=steps, width=width, loss_name=loss, training_scenes=scenes, seed=index, **about)[:1]
        for index, (steps, width, loss, scenes) in enumerate(cases)
    ])  # fmt: skip
    coarse = runs(steps=2000, width=32, loss_name="mse", training_scenes=44, seed=9, **about)[1:2]
    assert list(select.main_line(pd.concat([table, coarse]))["run_id"]) == ["0", "1"], "unquantized, for squared error"
    assert list(select.along(table, "steps")["run_id"]) == ["0", "1", "2"]
    assert list(select.along(table, "loss_name")["run_id"]) == ["0", "1", "3"]
    assert list(select.along(table, "training_scenes")["run_id"]) == ["0", "1", "4"]
    assert select.along(table[:2], "steps").empty


def test_ratios_are_averaged_as_sizes():
    rows = pd.DataFrame({
        "codec": "a", "scene": list("abcdef"), "acquisition": list("abcdef"), "measured_cr": [8.0, 32.0] * 3, "bpp": [2.0, 0.5] * 3,
    })  # fmt: skip
    found = select.means(rows, "measured_cr", "codec", x=["bpp"]).iloc[0]
    assert found["mean"] == pytest.approx(12.8) == 16 / found["bpp"]
    assert found["low"] < 12.8 < found["high"]
    assert select.means(rows, "bpp", "codec", x=["measured_cr"])["measured_cr"].item() == pytest.approx(12.8)
