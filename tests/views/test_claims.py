"""Verdicts on tables made by hand, where the truth is known."""

import html
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarlab.errors import ResultsError
from sarlab.lab.results import HISTORY_COLUMNS, RUN_COLUMNS, Tables
from sarlab.lab.results import tables as published
from sarlab.views import verdicts
from sarlab.views.claims import OUTCOMES, claims
from sarlab.views.claims.parts import compared, concluded, counted, settles
from sarlab.views.claims.rate import least_over_bound
from sarlab.views.claims.training import guide_memory
from sarlab.views.claims.verdict import (
    DEPENDS,
    HELD,
    OPEN,
    REFUTED,
    UNMEASURED,
    Difference,
    Verdict,
    difference,
    judged,
)

LATENTS = {4: 64, 8: 32, 16: 16, 32: 8}


def runs(psnr, *, architectures=("plain", "residual", "attention"), seeds=(0, 1, 2), **more):
    """Rows from scratch: `psnr(architecture, ratio, seed)`."""
    rows = []
    for architecture in architectures:
        for ratio, channels in LATENTS.items():
            for seed in seeds:
                rows.append({
                    "run_id": f"{architecture}-{ratio}-{seed}", "architecture": architecture, "init": "scratch",
                    "spatial_reduction": 16, "latent_channels": channels, "width": 32, "depth": 1, "quantizer": "f32", "bits": 32,
                    "quantizer_training": "none", "steps": 100, "batch_size": 8, "patch_size": 96, "seed": seed, "scene": "a",
                    "band": "VV", "split": "test", "acquisition": "one", "simulated": False, "dimension_ratio": float(ratio),
                    "nominal_cr": float(ratio), "measured_cr": ratio / 2, "bpp": 32 / ratio, "psnr_db": psnr(architecture, ratio, seed),
                    "macs_per_pixel": 1000, "parameters": 1000, "train_seconds": 1.0, "collapsed": False, "peak_memory_mb": 900.0,
                    **{f"lost_power_band{i}": i / 10 for i in range(1, 9)}, **more,
                })  # fmt: skip
    return pd.DataFrame(rows)


def tables(tmp_path, frame=None, **others):
    (tmp_path / "results").mkdir(parents=True, exist_ok=True)
    for name, rows in others.items():
        rows.to_csv(tmp_path / "results" / f"{name}.csv", index=False)
    frame = pd.DataFrame(columns=RUN_COLUMNS) if frame is None else frame
    return Tables(tmp_path, frame, pd.DataFrame(columns=HISTORY_COLUMNS), pd.DataFrame(), {})


@pytest.fixture(scope="module")
def judged_book():
    """(folder, verdicts) of the published book."""
    book = published()
    return book.root, verdicts.verdicts(book)


def test_every_claim_is_there_once():
    assert sorted(claims) == list(range(1, 23))
    assert len({claim.text for claim in claims.values()}) == 22


def test_without_measurements_nothing_is_judged(tmp_path):
    found = verdicts.verdicts(tables(tmp_path))
    assert {number for number, verdict in found.items() if verdict.outcome != UNMEASURED} == {15}, "the arithmetic one"
    assert all(verdict.figure.startswith("needs") for number, verdict in found.items() if number != 15)
    assert "can judge 1" in str(verdicts.summary(found))


def test_the_guides_own_curve_holds_and_one_12_db_lower_does_not(tmp_path):
    guide = {4: 45.0, 8: 44.0, 16: 35.0, 32: 30.0}
    good = tables(tmp_path, runs(lambda a, r, s: guide[r] + 0.01 * s))
    bad = tables(tmp_path, runs(lambda a, r, s: guide[r] - 12))
    assert (claims[17].judge(good).outcome, claims[17].judge(bad).outcome) == (HELD, REFUTED)
    assert claims[18].judge(good).outcome == HELD
    straight = tables(tmp_path, runs(lambda a, r, s: 40 - 3 * np.log2(r)))
    assert claims[18].judge(straight).outcome == REFUTED
    assert "no knee" in claims[1].judge(straight).figure
    assert claims[1].judge(bad).outcome == REFUTED


@pytest.mark.parametrize(("gain", "outcome"), [(2.2, HELD), (0.1, REFUTED), (1.5, OPEN)])
def test_a_gain_is_judged_by_its_interval_over_seeds(tmp_path, gain, outcome):
    frame = runs(lambda a, r, s: 40 - 3 * np.log2(r) + (gain + 0.1 * (s - 1) if a == "residual" else 0))
    assert claims[8].judge(tables(tmp_path, frame)).outcome == outcome


def test_twice_the_ratio(tmp_path):
    same = runs(lambda a, r, s: 32 - 2 * np.log2(r))
    better = runs(lambda a, r, s: 32 - 2 * np.log2(r) + (2.0 if a == "residual" else 0))
    assert claims[21].judge(tables(tmp_path, same)).outcome == REFUTED
    assert claims[21].judge(tables(tmp_path, better)).outcome != REFUTED


def test_collapse_at_high_ratios_holds_the_claim(tmp_path):
    frame = runs(lambda a, r, s: 30 - np.log2(r) + 0.01 * s)
    assert claims[16].judge(tables(tmp_path, frame)).outcome != HELD
    frame.loc[(frame["dimension_ratio"] == 32) & (frame["seed"] == 1), "collapsed"] = True
    assert claims[16].judge(tables(tmp_path, frame)).outcome == HELD
    alone = runs(lambda a, r, s: 30.0, seeds=(0,))
    assert claims[16].judge(tables(tmp_path, alone)).outcome == UNMEASURED


def test_the_list_says_what_a_verdict_depends_on(judged_book):
    root, found = judged_book
    shown = verdicts.claims_list(found, root).html
    for verdict in found.values():
        for part in verdict.because:
            assert html.escape(part) in shown
    assert shown.count(">Evidence<") == 22


def test_memory_and_frequencies(tmp_path):
    frame = runs(lambda a, r, s: 30 - np.log2(r))
    assert claims[22].judge(tables(tmp_path, frame)).outcome == HELD
    assert claims[22].judge(tables(tmp_path, frame.assign(peak_memory_mb=9000.0))).outcome == REFUTED
    assert claims[19].judge(tables(tmp_path, frame)).outcome == HELD
    turned = frame.assign(**{f"lost_power_band{i}": (9 - i) / 10 for i in range(1, 9)})
    assert claims[19].judge(tables(tmp_path, turned)).outcome == REFUTED


def test_the_formula_is_the_guides():
    # 16 × 256² inputs, 5 M parameters at 4 bytes: 0.0042 + 0.02 + 0.64 + 0.04 GB
    assert guide_memory(16, 256 * 256, 5e6) == pytest.approx(0.704, abs=0.001)


def test_codecs_below_and_above_the_limit(tmp_path):
    limits = pd.DataFrame({
        "limit": "rwf", "scene": "a", "band": "VV", "split": "test", "psnr_db": [20.0, 25.0, 30.0], "bpp": [0.25, 0.5, 1.0],
    })  # fmt: skip
    codec = pd.DataFrame({"codec": "x", "scene": "a", "band": "VV", "psnr_db": [25.0, 30.0], "bpp": [0.6, 1.2]})
    above = replace(tables(tmp_path, limits=limits), codecs=codec)
    assert claims[5].judge(above).outcome == HELD
    assert "1.20 times" in claims[5].judge(above).figure
    below = claims[5].judge(replace(above, codecs=codec.assign(bpp=codec["bpp"] / 2)))
    assert below.outcome == DEPENDS
    assert "refuted: no codec passes the Gaussian limit" in " ".join(below.because)
    far = replace(above, codecs=codec.assign(bpp=codec["bpp"] * 2))
    assert "held: no codec passes" in " ".join(claims[5].judge(far).because), "nobody passes it, and nobody comes near"


def test_simulated_speckle_is_judged_by_its_bound_from_below(tmp_path):
    # At L = 1 and a deviation of 5.57 dB, 1 dB takes at least 2.35 bit.
    rows = pd.DataFrame({"looks": 1.0, "correlation": 0.0, "rmse_db": [1.0, 4.0], "bpp": [3.525, 9.0], "codec": "x"})
    assert least_over_bound(tables(tmp_path, reflectivity=rows)) == pytest.approx(1.5, abs=0.01)
    below = rows.assign(bpp=1.0)
    codec = pd.DataFrame({"codec": "x", "scene": "a", "band": "VV", "psnr_db": [25.0, 30.0], "bpp": [0.6, 1.2]})
    limits = pd.DataFrame(
        {"limit": "rwf", "scene": "a", "band": "VV", "split": "test", "psnr_db": [20.0, 30.0], "bpp": [0.3, 1.0]}
    )
    for table, outcome in ((rows, HELD), (below, DEPENDS)):
        book = replace(tables(tmp_path, reflectivity=table, limits=limits), codecs=codec)
        assert claims[5].judge(book).outcome == outcome
    correlated = rows.assign(correlation=0.6)
    assert np.isnan(least_over_bound(tables(tmp_path / "b", reflectivity=correlated))), (
        "no bound where it is correlated"
    )


# --- reasons ----------------------------------------------------------------------------------------------------------


def test_a_verdict_without_a_reason_is_refused():
    assert Verdict(HELD, "1 dB").because == ()
    for outcome in (DEPENDS, OPEN):
        with pytest.raises(ResultsError, match="depends on or what would settle"):
            Verdict(outcome, "1 dB")


def test_readings_are_told_by_what_became_of_them():
    found = concluded(
        [counted("a", [True]), counted("b", [False, False]), counted("c", [True, False])], "1 dB", "0 to 2 dB"
    )
    assert (found.outcome, found.because) == (DEPENDS, ("held: a", "refuted: b (0 of 2)", "in part: c (1 of 2)"))
    assert concluded([counted("a", [True])], "1 dB").because == (), "nothing to explain"


@pytest.mark.parametrize(("half", "mean", "times"), [(1.0, 0.5, 4), (0.3, -0.1, 9), (0.2, 0.19, 2)])
def test_more_measurements_settle_what_their_interval_leaves_open(half, mean, times):
    found = Difference(mean, mean - half, mean + half, 5)
    part = compared("it", found)
    assert part.outcome == OPEN
    assert f"about {times} times" in part.settle
    # with the interval that so many measurements give, it is open no longer
    narrower = half / np.sqrt(times) * (1 - 1e-9)
    assert judged(Difference(mean, mean - narrower, mean + narrower, 5), 0) != OPEN


def test_what_would_settle_a_difference_says_what_is_missing():
    assert settles(Difference(1, 0.5, 1.5, 5, trainings=1)) == "2 more trainings from other seeds"
    assert "three acquisitions" in settles(Difference(1, float("nan"), float("nan"), 5))
    assert "next to nothing" in settles(Difference(0.0, -1, 1, 5))


def test_verdicts_of_the_published_tables_have_figure_interval_and_reason(judged_book):
    found = judged_book[1]
    assert len(found) == 22
    for number, verdict in found.items():
        assert verdict.figure, number
        assert verdict.interval, number
        assert bool(verdict.because) == (verdict.outcome in (DEPENDS, OPEN)), number


def test_pairs_take_scenes_out_of_a_difference():
    rows = pd.DataFrame({
        "kind": ["a", "b"] * 3, "scene": [0, 0, 1, 1, 2, 2], "seed": 0, "acquisition": ["x", "x", "y", "y", "z", "z"],
        "psnr_db": [20.0, 19, 30, 29, 40, 39],
    })  # fmt: skip
    found = difference(rows, "kind", "a", "b", "psnr_db", pair=("scene", "seed"))
    assert (found.mean, found.low, found.high, found.pairs) == (1, 1, 1, 3)
    assert difference(rows, "kind", "a", "nobody", "psnr_db", pair=("scene",)).pairs == 0


@given(
    mean=st.floats(-5, 5), half=st.one_of(st.just(float("nan")), st.floats(0.001, 3)), limit=st.floats(-2, 2)
)  # fmt: skip
def test_a_verdict_and_its_opposite_agree(mean, half, limit):
    found = Difference(mean, mean - half, mean + half, 5)
    turned = Difference(-mean, -(mean + half), -(mean - half), 5)
    opposite = {HELD: REFUTED, REFUTED: HELD, OPEN: OPEN}
    assert judged(turned, -limit) == opposite[judged(found, limit)]
    assert judged(found, limit, more=False) == opposite[judged(found, limit)]


def test_the_list_names_every_outcome_in_words(tmp_path):
    found = verdicts.verdicts(tables(tmp_path, runs(lambda a, r, s: 30 - np.log2(r))))
    shown, overview = verdicts.claims_list(found, tmp_path).html, verdicts.overview(found).html
    entries = re.findall(r'<li id="(claim-\d+)">', shown)
    assert entries == [f"claim-{number}" for number in range(1, 23)]
    assert sorted(re.findall(r'href="#(claim-\d+)"', overview)) == sorted(entries)
    assert any(outcome in shown for outcome in OUTCOMES)
    assert "nan" not in shown.lower().split()


@pytest.mark.parametrize("ratio", LATENTS)
def test_every_claim_is_judged_whatever_ratio_was_not_learned_or_not_run(tmp_path, ratio):
    rows = runs(lambda architecture, at, seed: 30 - 5 * np.log2(at / 4) + seed / 10)
    behind = rows.assign(gain_over_klt_db=np.where(rows["dimension_ratio"] == ratio, -5.0, 0.1))
    for frame in (behind, rows[rows["dimension_ratio"] != ratio], rows[rows["dimension_ratio"] == ratio]):
        found = verdicts.verdicts(tables(tmp_path, frame))
        assert {item.outcome for item in found.values()} <= set(OUTCOMES)
