"""Chapters: the code that they show computes what the package computes, and their numbers agree with the tables and each other."""

import functools
import re

import numpy as np
import pandas as pd
import pytest

from sarlab.lab.results import shared_folder, tables
from sarlab.views import page
from sarlab.views.claims import verdicts

BOOK = shared_folder("book")


@functools.cache
def executed(chapter):
    """Names and glued texts after the cells of a chapter have run on the published tables."""
    text = (BOOK / "chapters" / f"{chapter}.md").read_text(encoding="utf-8")
    cells = re.findall(r"```\{code-cell\} python3\n(.*?)```", text, re.DOTALL)
    names, glued = {}, {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SARLAB_BOOK", str(BOOK))
        patch.setattr(page, "glue", lambda **values: glued.update(values))
        for cell in cells:
            exec(re.sub(r"^:.*\n", "", cell, flags=re.MULTILINE), names)
    return names, glued


def number(text):
    """Number of a glued text."""
    return float(text.replace("\u2212", "-").replace("+", ""))


@pytest.fixture(scope="module")
def pair():
    """A field of four looks with an edge, and its blurred and noisy copy, in dB."""
    rng = np.random.default_rng(7)
    ground = np.where(np.arange(96) < 48, 1.0, 6.0) * np.ones((96, 1))
    original = 10 * np.log10(ground * rng.gamma(4, 0.25, (96, 96)))
    return original, original + rng.normal(0, 1, original.shape)


def test_code_of_fidelity_averages_like_the_metric(pair):
    from sarlab.metrics import Reference, score

    shown, _ = executed("fidelity")
    known = score(Reference(pair[0], clip=(-20, 10)), pair[1], columns=["rmse_k8_db"])
    assert shown["rmse_of_means"](*pair, 8) == pytest.approx(known["rmse_k8_db"], rel=1e-6)


def test_code_of_psnr_has_the_three_domains_of_the_metrics(pair):
    from sarlab.metrics import Reference, score

    shown, _ = executed("psnr")
    known = score(Reference(pair[0], clip=(-12, 8)), pair[1], columns=["psnr_db", "psnr_amplitude", "psnr_intensity"])
    for domain, column in shown["domains"].items():
        assert shown["psnr"](*pair, -12, 8, domain) == pytest.approx(known[column], rel=1e-6), domain


def test_code_of_limits_is_that_of_the_bounds():
    from sarlab.metrics.bounds import reverse_water_filling, shannon_lower_bound

    shown, _ = executed("limits")
    rate, error = shown["water_filling"](shown["power"], 2.0)
    assert reverse_water_filling(shown["power"], error) == pytest.approx(rate, rel=1e-9)
    for looks in (1.0, 4.4, 16.0):
        assert shown["least_rate"](0.8, looks) == pytest.approx(shannon_lower_bound(0.8, looks), rel=1e-9)


def test_code_of_looks_and_edges_is_that_of_the_metrics(pair):
    from sarlab.metrics import Reference
    from sarlab.metrics.edges import laplacian, ratio_of_averages
    from sarlab.metrics.looks import enl

    shown, _ = executed("looks_edges")
    intensity = 10 ** (pair[0] / 10)
    assert shown["enl"](intensity) == pytest.approx(float(enl(intensity, windows=[(0, 0, 96, 96)])), rel=1e-9)
    known = ratio_of_averages(Reference(pair[0]))
    for axis, of_axis in enumerate((known.rows, known.columns)):
        ours = shown["edge_strength"](intensity, axis)
        assert ours[5:-5, 5:-5] == pytest.approx(of_axis[5:-5, 5:-5], abs=1e-9)
    inside = np.corrcoef(*(laplacian(Reference(db)) for db in pair))[0, 1]
    assert shown["laplacian_correlation"](*pair) == pytest.approx(inside, abs=0.02), "the border differs"


def test_code_of_applications_finds_false_alarms_like_the_study(pair):
    from sarlab.lab.studies.applications import false_alarms, known_changes

    shown, _ = executed("applications")
    change = known_changes(pair[0].shape)
    masks = (change != 0, change == 0)
    second = pair[1] + change
    assert shown["false_alarms"](pair[0], second, *masks) == pytest.approx(
        false_alarms(pair[0], second, *masks), abs=0.02
    ), "the border differs"


def test_highest_ratio_is_where_the_loss_crosses_the_level():
    shown, _ = executed("applications")
    ratio = 2.0 ** np.arange(1, 7)
    rows = pd.DataFrame({
        "codec": "mine", "scene": "a", "acquisition": "one", "target_value": 16 / ratio, "measured_cr": ratio,
        "loss": np.log2(ratio) / 10, "kept": 1 - np.log2(ratio) / 10,
    })  # fmt: skip
    assert shown["highest_ratio"](rows, "loss", 1, 0.35) == pytest.approx(2**3.5)
    assert shown["highest_ratio"](rows, "kept", -1, 0.65) == pytest.approx(2**3.5)
    assert shown["highest_ratio"](rows, "loss", 1, 0.9) == pytest.approx(64), "met everywhere: the highest measured"
    assert np.isnan(shown["highest_ratio"](rows, "loss", 1, 0.05))


def test_code_of_entropy_is_that_of_the_metric_and_one_table_has_the_shares():
    from sarlab.metrics.entropy import zeroth_order_entropy

    shown, glued = executed("scene_entropy")
    levels = np.random.default_rng(0).integers(0, 9, 5000)
    corrected = shown["entropy"](levels) + 8 / (2 * 5000 * np.log(2))  # Miller and Madow, nine levels
    assert corrected == pytest.approx(float(zeroth_order_entropy(levels)), rel=1e-9)
    rows = pd.read_csv(BOOK / "results" / "scene_entropy.csv").query("grid == '0.1 dB' and correlation == correlation")
    bits = rows[["jpegls_bpp", "jpeg2000_bpp"]].min(axis=1)
    clean = bits[rows["kind"] == "speckle-free"].groupby(rows["correlation"]).mean()
    noisy = rows["kind"] == "simulated"
    share = 100 * (1 - rows["correlation"].map(clean) / bits)[noisy]
    assert glued["range"] == f"{share.min():.0f} to {share.max():.0f}"
    assert sorted(shown["noisy"]["share"]) == pytest.approx(sorted(share))


def test_no_frequency_loses_more_than_it_has():
    """The error may be stronger than the image (noise of the codec's own): that is a negative ratio, no share above one."""
    shown, glued = executed("fidelity")
    rows = shown["one"][shown["one"]["PSNR"] == "24 dB"]
    of_band = [-10 * np.log10(rows[f"lost_power_band{i}"].astype(float)) for i in (1, 8)]
    means = [ratio.groupby(rows["acquisition"]).mean().mean() for ratio in of_band]
    assert [number(glued["coarse"]), number(glued["fine"])] == pytest.approx(means, abs=0.051)


def test_share_of_the_reference_is_that_of_the_tables():
    shown, glued = executed("limits")
    rows = shown["rows"][(shown["rows"]["codec"] == shown["shown"][0]) & (shown["rows"]["target_value"] == 30)]
    limits = pd.read_csv(BOOK / "results" / "limits.csv")
    wanted = []
    for row in rows.itertuples():
        line = limits[(limits["limit"] == "rwf") & (limits["scene"] == row.scene) & (limits["band"] == row.band)]
        wanted.append(np.interp(row.psnr_db, line["psnr_db"], line["bpp"]))
    assert number(glued["share"]) == pytest.approx(100 * np.mean(wanted) / rows["bpp"].mean(), abs=1.5)


def test_best_files_for_the_ground_are_near_the_measured_minimum():
    shown, _ = executed("reflectivity")
    rows = shown["coded"]
    least = rows[rows["correlation"] > 0].groupby(["codec", "looks"])["rmse_clean_db"].min()
    found = shown["found"].query("correlation > 0").set_index(["codec", "looks"])["rmse"]
    assert (found <= least.reindex(found.index) + 1e-9).all(), "a parabola lies below its points"
    assert (found > 0.9 * least.reindex(found.index)).all()


def test_the_cost_of_a_doubling_follows_from_the_levels_shown():
    """The levels of claim 1, as printed, lose what it says per doubling; so do the points of the curve in the chapter."""
    measured = verdicts(tables(BOOK))[1].measured
    shown = {float(at): float(level) for level, at in re.findall(r"([\d.]+) at ([\d.]+)×", measured)}
    stated = float(re.search(r"([\d.]+) dB per doubling", measured)[1])
    doublings = np.log2(max(shown) / min(shown))
    assert len(shown) >= 3
    assert stated == pytest.approx((shown[min(shown)] - shown[max(shown)]) / doublings, abs=0.05 + 0.1 / doublings)
    names, glued = executed("rate_distortion")
    low, high = (number(end) for end in glued["slope"].split(" to "))
    for _, line in names["points"].groupby("network"):
        slope = np.cov(np.log2(line["dimension_ratio"]), line["mean"])[0, 1] / np.var(
            np.log2(line["dimension_ratio"]), ddof=1
        )
        assert low - 0.005 <= slope <= high + 0.005


def test_sizes_of_one_configuration_agree_wherever_they_are_printed():
    """16×16×16 values at 8 bits: claim 14, the chapter on real files and the chapter on quantizers."""
    claim = [float(size) for size in re.findall(r"([\d.]+)×", verdicts(tables(BOOK))[14].measured)]
    files = executed("real_files")[0]["found"].query("bits == 8 and dimension_ratio == 16").iloc[0]
    counted = executed("quantizers")[0]["files"].query("values == 16").iloc[0]
    for shown, column in zip(claim, ("nominal_cr", "measured_cr", "coded_cr"), strict=True):
        assert shown == pytest.approx(files[column], abs=0.1), column
    assert claim[:2] == pytest.approx([counted["8 of 32 bits"], counted["file"]], abs=0.1)


def test_tables_about_the_tables_cover_metrics_and_files():
    shown, _ = executed("reproduce")
    columns = "".join(shown["parts"])
    assert all(f"<code>{name}</code>" in columns for name in ("psnr_db", "ssim", "epi_roa", "bias_db"))
    assert "nan" not in columns
    assert {path.name for path in shown["files"]} == {path.name for path in (BOOK / "results").glob("*.csv")}
