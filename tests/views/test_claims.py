"""Verdicts on tables made by hand, where the truth is known."""

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest

from sarlab.errors import ResultsError
from sarlab.lab.results import HISTORY_COLUMNS, RUN_COLUMNS, Tables
from sarlab.lab.results import tables as published
from sarlab.views import claims

LATENTS = {4: 64, 8: 32, 16: 16, 32: 8, 64: 4}


def runs(psnr, *, architectures=("plain", "residual", "attention"), seeds=(0, 1, 2)):
    """Converged rows from scratch on three passes: `psnr(architecture, ratio, seed)`."""
    keys = [*product(architectures, LATENTS, seeds, "abc")]
    rows = pd.DataFrame(keys, columns=["architecture", "dimension_ratio", "seed", "scene"])
    ratio = rows["dimension_ratio"].astype(float)
    return rows.assign(
        run_id=[f"{name}-{ratio}-{seed}" for name, ratio, seed, _ in keys], psnr_db=[psnr(*key[:3]) for key in keys],
        acquisition="pass " + rows["scene"], latent_channels=rows["dimension_ratio"].map(LATENTS), dimension_ratio=ratio,
        nominal_cr=ratio, measured_cr=ratio / 2, init="scratch", spatial_reduction=16, width=32, depth=1, quantizer="f32", bits=32,
        quantizer_training="none", steps=100, batch_size=8, band="VV", split="test", simulated=False, pixels=65536,
        macs_per_pixel=1000, collapsed=False, converged=True, peak_memory_mb=900.0, device="CPU",
    )  # fmt: skip


def tables(tmp_path, frame=None, **others):
    (tmp_path / "results").mkdir(parents=True, exist_ok=True)
    for name, rows in others.items():
        rows.to_csv(tmp_path / "results" / f"{name}.csv", index=False)
    columns = RUN_COLUMNS if frame is None else [*dict.fromkeys([*RUN_COLUMNS, *frame])]
    frame = pd.DataFrame(frame, columns=columns)
    return Tables(tmp_path, frame, pd.DataFrame(columns=HISTORY_COLUMNS), pd.DataFrame(), {})


#: A curve with the guide's levels at most ratios, and its knee.
KNEE = {4: 45.0, 8: 44.0, 16: 35.0, 32: 30.0, 64: 25.0}


@pytest.mark.parametrize(
    ("number", "psnr", "changed", "outcome"),
    [
        (17, lambda a, r, s: 20.0, {"psnr_amplitude": 20.0, "psnr_intensity": 45.0}, claims.DEPENDS),  # on the domain
        (17, lambda a, r, s: 20.0, {"psnr_amplitude": 20.0, "psnr_intensity": 20.0}, claims.REFUTED),
        (17, lambda a, r, s: 45.0, {"psnr_amplitude": 45.0, "psnr_intensity": 45.0}, claims.HELD),
        (18, lambda a, r, s: KNEE[r], {}, claims.HELD),
        (18, lambda a, r, s: 40 - 3 * np.log2(r) + 0.1 * s, {}, claims.REFUTED),
        (1, lambda a, r, s: 55 - 5 * np.log2(r), {}, claims.DEPENDS),  # its levels, without a knee
        (1, lambda a, r, s: KNEE[r] - 12, {}, claims.REFUTED),  # the knee of another curve saves nothing
        (21, lambda a, r, s: 32 - 2 * np.log2(r), {}, claims.REFUTED),
        (21, lambda a, r, s: 32 - 2 * np.log2(r) + 2.0 * (a == "residual"), {}, claims.DEPENDS),
        (16, lambda a, r, s: 30 - np.log2(r) + 0.01 * s, {}, claims.REFUTED),
        (16, lambda a, r, s: 30 - np.log2(r) + 0.01 * s, {"collapsed": lambda rows: rows["run_id"] == "plain-32-1"}, claims.HELD),
        (16, lambda a, r, s: 30.0, {"seed": 0}, claims.UNMEASURED),
        (22, lambda a, r, s: 30.0, {}, claims.HELD), (22, lambda a, r, s: 30.0, {"peak_memory_mb": 9000.0}, claims.REFUTED),
    ],
)  # fmt: skip
def test_verdicts_where_the_truth_is_known(tmp_path, number, psnr, changed, outcome):
    assert claims.claims[number].judge(tables(tmp_path, runs(psnr).assign(**changed))).outcome == outcome


def test_every_claim_is_judged_whatever_is_missing(tmp_path):
    rows = runs(lambda architecture, at, seed: 30 - 5 * np.log2(at / 4) + seed / 10)
    several = [rows[rows["dimension_ratio"] != ratio] for ratio in LATENTS]
    for frame in (*several, *(rows[rows["dimension_ratio"] == ratio] for ratio in LATENTS)):
        assert {found.outcome for found in claims.verdicts(tables(tmp_path, frame)).values()} <= set(claims.OUTCOMES)
    unmeasured = {n for n, found in claims.verdicts(tables(tmp_path)).items() if found.outcome == claims.UNMEASURED}
    assert unmeasured == set(claims.claims) - {15}, "15 is arithmetic"
    from_klt = claims.verdicts(tables(tmp_path, rows.assign(init="klt", quantizer="f16", bits=16)))
    scratch = (1, 3, 6, 7, 8, 9, 16, 17, 18, 19, 21)
    assert {from_klt[number].outcome for number in scratch} == {claims.UNMEASURED}


def test_closed_forms():
    # 16 × 256² inputs, 5 M parameters at 4 bytes: 0.0042 + 0.02 + 0.64 + 0.04 GB
    assert claims.guide_memory(16, 256 * 256, 5e6) == pytest.approx(0.704, abs=0.001)
    assert claims.even(1_000_000) == (1, pytest.approx(8, abs=0.001)), "all levels and all bits"
    assert claims.even(256)[0] == pytest.approx(1 - (1 - 1 / 256) ** 256, abs=0.05)


@pytest.mark.parametrize("evidence", [claims.Evidence(), claims.Evidence(3, 3, 100, converged=False)])
@pytest.mark.parametrize("outcome", [claims.HELD, claims.REFUTED, claims.DEPENDS])
def test_no_verdict_is_published_without_passes_or_on_networks_that_have_not_converged(evidence, outcome):
    with pytest.raises(ResultsError, match="verdict"):
        claims.Verdict(outcome, "1 dB", evidence=evidence)


def test_networks_that_have_not_converged_leave_every_claim_about_them_open(tmp_path):
    frame = runs(lambda a, r, s: 40 - 3 * np.log2(r) + 0.01 * s)
    frame.loc[frame["run_id"] == "residual-16-1", "converged"] = False
    for number in (1, 8, 9, 16, 17, 18, 21):
        found = claims.claims[number].judge(tables(tmp_path, frame))
        assert found.outcome == claims.OPEN, number
        assert "200 steps" in found.settle, "twice those of the trainings"


@pytest.mark.parametrize(
    ("gain", "seeds", "outcome"),
    [(2.2, 3, claims.HELD), (0.1, 3, claims.REFUTED), (1.5, 3, claims.OPEN), (2.2, 2, claims.OPEN)],
)
def test_a_gain_is_judged_by_its_interval_over_three_seeds(tmp_path, gain, seeds, outcome):
    frame = runs(lambda a, r, s: 40 - 3 * np.log2(r) + (a == "residual") * (gain + 0.1 * (s - 1)), seeds=range(seeds))
    assert claims.claims[8].judge(tables(tmp_path, frame)).readings[0].outcome == outcome


def test_training_with_the_quantizer_is_compared_with_the_same_quantizer_only(tmp_path):
    plain = runs(lambda a, r, s: 30.0, architectures=("plain",))
    after = plain.assign(quantizer="u4", bits=4, psnr_db=29.0)
    tensor = plain.assign(quantizer="u4t", bits=4, psnr_db=20.0)
    seen = plain.assign(quantizer="u4-noise", bits=4, quantizer_training="noise", psnr_db=29.6)
    found = claims.claims[20].judge(tables(tmp_path, pd.concat([plain, after, tensor, seen])))
    assert found.outcome == claims.HELD
    assert "+0.600\xa0dB" in found.measured
    assert "of 1.000 dB" in found.measured, "per-tensor ranges lose more and are not averaged in"


@pytest.mark.parametrize(("factor", "outcome"), [(1.2, claims.HELD), (2.0, claims.DEPENDS)])
def test_codecs_near_and_far_from_the_limit(tmp_path, factor, outcome):
    limits = {"limit": "rwf", "scene": "a", "band": "VV", "psnr_db": [20.0, 25.0, 30.0], "bpp": [0.25, 0.5, 1.0]}
    # at one look, reproducing white speckle to 1 dB takes at least 2.35 bits per pixel
    white = pd.DataFrame({"correlation": 0.0, "looks": 1.0, "rmse_db": 1.0, "bpp": 3.5, "scene": "s"}, index=[0])
    codec = pd.DataFrame({"codec": "x", "family": "learned", "scene": "a", "band": "VV", "psnr_db": [25.0, 30.0]})
    codec = codec.assign(bpp=factor * np.array([0.5, 1.0]), acquisition="pass a")
    book = replace(tables(tmp_path, limits=pd.DataFrame(limits), reflectivity=white), codecs=codec)
    found = claims.claims[5].judge(book)
    assert found.outcome == outcome
    assert f"{factor:.2f}" in found.measured
    assert "1.49 times the Shannon bound" in found.readings[1].text


def test_pairs_take_scenes_out_of_a_difference_and_slices_of_a_pass_are_one():
    passes = [f"S1A_IW_GRDH_1SDV_20200101T05{minute}00_{n}" for minute, n in (("00", 1), ("05", 2), ("59", 3))]
    rows = pd.DataFrame({
        "kind": ["a", "b"] * 9, "scene": np.repeat(range(9), 2), "seed": np.repeat([0, 1, 2], 6),
        "acquisition": np.repeat(passes * 3, 2), "psnr_db": 10.0 * np.repeat(range(9), 2) + [1, 0] * 9,
    })  # fmt: skip
    found = claims.compared("PSNR", rows, "kind", "a", "b")
    assert found.outcome == claims.HELD
    assert "+1.00\xa0dB (+1.00 to +1.00, range of 2 passes)" in found.text
    assert claims.compared("PSNR", rows, "kind", "a", "nobody").outcome == claims.UNMEASURED
    for gaps, outcome in (
        ([0.02], claims.REFUTED),
        ([0.02, -0.02, 0.01], claims.REFUTED),
        ([0.2, -0.2, 0.1], claims.OPEN),
    ):
        rows["psnr_db"] = [value for gap in gaps * (9 // len(gaps)) for value in (gap, 0.0)]
        assert claims.compared("PSNR", rows, "kind", "a", "b").outcome == outcome, gaps


def test_readings_together():
    readings = [claims.shares(held, "text") for held in ([True], [False, False], [True, False])]
    assert [reading.outcome for reading in readings] == [claims.HELD, claims.REFUTED, claims.DEPENDS]
    assert claims.conclude(readings, claims.Evidence(3)).outcome == claims.DEPENDS


def test_published_verdicts_state_their_evidence():
    found = claims.verdicts(published())
    assert list(found) == list(range(1, 23))
    for number, verdict in found.items():
        assert verdict.outcome == claims.UNMEASURED or (verdict.measured and str(verdict.evidence)), number
        assert verdict.outcome != claims.OPEN or verdict.settle, number
    shown = claims.overview(found).data
    assert all(f'id="claim-{number}"' in shown for number in range(1, 23))
    assert "nan" not in shown.lower().split()
