"""The chapter on the codec: goals met and missed by made-up tables, whose answers are known."""

import numpy as np
import pandas as pd
import pytest

from sarlab.lab.results import tables
from sarlab.views import codec_bands, codec_goals, codec_parts

PSNR = np.arange(20.0, 45.0, 2.0)


def curve(scene, band, group, codec, share):
    """JPEG 2000 needs 6 dB a bit from 0.05 bpp on; others so much of it."""
    bits = 0.05 * 2 ** ((PSNR - 20) / 4)
    return [
        {"scene": scene, "band": band, "group": group, "acquisition": scene, "codec": codec, "target_value": p, "bpp": b * share, "psnr_db": p}
        for p, b in zip(PSNR, bits, strict=True)
    ]  # fmt: skip


@pytest.fixture
def book(tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    rows = []
    for scene, group in (("mosaic", "test"), ("other", "ssl4eo"), ("spot", "umbra, X band")):
        for band in ("VV", "VH") if group != "umbra, X band" else ("HH",):
            for codec, share in (
                ("jpeg2000", 1.0),
                ("hevc12", 0.86),
                ("lapped", 0.78 if group != "umbra, X band" else 1.02),
            ):
                rows += curve(scene, band, group, codec, share)
    pd.DataFrame(rows).to_csv(results / "codec_goal_rates.csv", index=False)
    fidelity, bias = [], []
    for rate in (0.125, 0.5):
        for codec, gain in (("jpeg2000", 0.0), ("hevc12", 0.1), ("lapped", 0.05), ("lapped --radiometric", 0.2)):
            fidelity.append({
                "scene": "mosaic", "band": "VV", "codec": codec, "target_value": rate, "epi_roa": 0.5 + gain,
                "rmse_k8_db": 1 - gain, "rmse_k32_db": 1 + (gain if rate < 0.2 else -gain), "bias_brightness_worst_db": 1 - gain,
            })  # fmt: skip
        for mode, value in (("off", 0.5), ("learned", 0.2), ("stored", 0.05 if rate > 0.2 else 0.15)):
            bias.append({
                "scene": "mosaic", "band": "VV", "mode": mode, "target_value": rate, "psnr_db": 30 - value,
                "bias_db": -0.1 * value, "bias_brightness_worst_db": value,
            })  # fmt: skip
    pd.DataFrame(fidelity).to_csv(results / "codec_goal_fidelity.csv", index=False)
    pd.DataFrame(bias).to_csv(results / "codec_goal_radiometry.csv", index=False)
    speed = [
        {"codec": c, "direction": d, "mpx_per_s": v}
        for c, v in (("lapped", 5.0), ("jpeg2000", 3.0))
        for d in ("encode", "decode")
    ]
    pd.DataFrame(speed).to_csv(results / "codec_goal_speed.csv", index=False)
    variants = [("complete", 0.0, -15.0), ("no context", 4.0, -11.5)]
    pd.DataFrame([
        {"variant": name, "steps": 700, "seconds": 60, "rate_vv": rate, "rate_vh": rate, "over_complete": over, "bias_vv_db": -0.2, "bytes": 1}
        for name, over, rate in variants
    ]).to_csv(results / "codec_ablation.csv", index=False)  # fmt: skip
    clean = [
        {
            "scene": "s",
            "looks": 1,
            "correlated": False,
            "method": method,
            "target_value": 0.5,
            "bpp": 0.5,
            "rmse_db": error,
        }
        for method, error in (
            ("decoded", 4.0),
            ("decoded, 3×3 mean", 3.0),
            ("decoded, 5×5 Lee", 2.5),
            ("despeckled", 1.5),
        )
    ]
    pd.DataFrame(clean).to_csv(results / "codec_despeckling.csv", index=False)
    return tables(tmp_path)


def test_goals_are_met_or_missed_as_the_tables_say(book):
    found = {goal.what: goal for goal in codec_goals.goals(book)}
    bd = [goal for what, goal in found.items() if what.startswith("BD-rate")]
    assert len(found) == 13
    assert {goal.wanted for goal in codec_goals.goals(book)} >= {"≤ −20.0 %", "≤ −25.0 %"}
    assert all("−22.0 %" in goal.found for goal in bd)
    assert found["edges kept (ratio of averages), at equal bytes"].met is True
    assert found["error of 32×32 means, at equal bytes"].met is False
    assert "0.125" in found["error of 32×32 means, at equal bytes"].note
    assert "uncorrected 0 of 2" in found["edges kept (ratio of averages), at equal bytes"].note
    classes = found["bias of every brightness class, corrected"]
    assert (classes.met, classes.found) == (False, "0.150 dB")
    assert found["bias of the scene, corrected"].met is True
    assert "at 0.5" in found["PSNR that the correction costs"].found
    sensors = next(goal for what, goal in found.items() if what.startswith("other sensors"))
    assert sensors.met is False
    assert "+2.0 %" in sensors.found
    assert found["speed to encode near 0.5 bpp"].met is True
    assert found["speed on an accelerator"].met is None


def test_both_goals_of_rate_are_told(book):
    limits = [goal for goal in codec_goals.goals(book) if goal.what.startswith("BD-rate")]
    assert [goal.met for goal in limits] == [True, False]


def test_shares_are_those_of_the_curves(book):
    shares = codec_goals.shares(book)
    assert set(shares["codec"]) == {"lapped", "hevc12"}
    ours = shares[(shares["codec"] == "lapped") & (shares["group"] == "test")]
    assert ours["share"].to_numpy() == pytest.approx(0.78)


def test_what_readers_see(book):
    shown = codec_goals.goals_table(book)._repr_html_()
    assert shown.count("<tr>") == 1 + len(codec_goals.goals(book))
    assert "✗ missed" in shown
    assert "−22.0 %" in repr(codec_goals.summary(book))
    assert "100 % of the files" in codec_parts.by_scene(book).title
    assert "+4.0" in codec_parts.ablation(book)._repr_html_()
    cleaned = codec_parts.despeckling(book)._repr_html_()
    assert "2.50" in cleaned
    assert "1.50" in cleaned
    assert codec_parts.fidelity(book)._repr_html_().count("<tr>") == 1 + 12
    assert "umbra" in codec_parts.by_sensor(book)._repr_html_()


def test_without_tables_a_command_is_named(empty):
    for view in (codec_goals.goals_table, codec_goals.summary, codec_parts.by_sensor, codec_parts.fidelity):
        assert "codec_goals.py" in repr(view(empty))
    assert "codec_ablation.py" in repr(codec_parts.ablation(empty))
    assert "codec_despeckling.py" in repr(codec_parts.despeckling(empty))
    assert "codec_goals.py" in codec_parts.by_scene(empty).caption


def test_a_second_band_is_held_against_its_own_file(tmp_path):
    (tmp_path / "results").mkdir()
    rows = [
        {
            "scene": scene, "band": band, "group": group, "after": after, "quality": quality, "first_bytes": 1000,
            "second_bytes": 800, "both_bytes": 1000 + saved * 8, "bpp": rate,
        }
        for scene, group in (("mosaic", "test"), ("other", "ssl4eo"))
        for band, after in (("VH", "VV"), ("VV", "VH"))
        for quality, rate, saved in ((12, 0.02, 60), (20, 0.2, 90), (40, 2.0, 100))
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "results" / "codec_goal_pairs.csv", index=False)
    found = codec_bands.savings(tables(tmp_path))
    assert found["share"].tolist() == pytest.approx([0.6, 0.9, 1.0] * 4)
    figure = codec_bands.two_bands(tables(tmp_path))
    assert "saves 10 % of its bits on average between 0.05 and 1 bpp" in figure.title
    assert figure.panels[0].alt == "Bits of VH after VV as a share of its own file: 60 to 100 %."
