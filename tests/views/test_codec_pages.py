"""Pages about codecs, limits and fidelity: from tables with known answers, and from none."""

import re

import numpy as np
import pandas as pd
import pytest

from sarlab.lab.results import Tables
from sarlab.views import (
    averaging,
    codec_rows,
    differences,
    elsewhere,
    fidelity,
    limit_figures,
    reflectivity,
    scene_entropy,
    speckle_limits,
    thrown_away,
)
from sarlab.views.fidelity import GROUPS

TARGETS = np.arange(20.0, 43.0, 2.0)
#: Codec → (family, rate as a share of the first one's at every PSNR).
SHARES = {
    "jpeg2000": ("wavelet", 1.0),
    "hevc12": ("video", 0.8),
    "jpegls": ("predictive", 2.0),
    "mine": ("learned", 0.7),
}


def base_rate(psnr_db):
    return 0.1 * 2 ** ((np.asarray(psnr_db) - 20) / 6.02)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A book whose codecs differ by known factors in rate, with a limit at half the rate of the anchor."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("book")
    columns = [m.column for group in GROUPS.values() for m in group] + [
        "epi_roa_floor",
        "psnr_amplitude",
        "psnr_intensity",
    ]
    columns += ["rmse_homogeneous_db", "rmse_edge_db", "rmse_texture_db", "rmse_target_db"]
    columns += ["residual_spectrum_error_db", "residual_whiteness", *thrown_away.BANDS]
    rows, limits = [], []
    for scene, split, acquisition in (("a", "test", "one"), ("b", "independent", "two"), ("c", "independent", "three")):
        for band in ("VV", "VH"):
            about = {"scene": scene, "band": band, "split": split, "acquisition": acquisition, "simulated": False}
            for codec, (family, share) in SHARES.items():
                for psnr in TARGETS:
                    rate = share * base_rate(psnr)
                    rows.append(
                        {
                            **about, "codec": codec, "family": family, "target": "psnr", "target_value": psnr, "bpp": rate,
                            "bpp_content": rate, "psnr_db": psnr, "pixels": 1e4, "encode_seconds": 0.1, "decode_seconds": 0.05,
                            "seen_in_training": False, **dict.fromkeys(columns, 0.5), "rmse_k8_db": 20 / psnr + rng.uniform(0, 0.01),
                        }
                    )  # fmt: skip
            about |= {"looks": 4.4, "clip_low": -25.0, "clip_high": 3.0, "estimate": False}
            for limit, share in (("rwf", 0.5), ("scalar", 0.6)):
                for psnr in np.arange(14.0, 57.0):
                    limits.append({**about, "limit": limit, "psnr_db": psnr, "bpp": share * float(base_rate(psnr))})
            limits.append({**about, "limit": "speckle_floor", "psnr_db": 22.0})
            limits.append({**about, "limit": "bias_limit", "bias_db": -0.51})
    results = folder / "results"
    results.mkdir()
    pd.DataFrame(rows).to_csv(results / "codecs.csv", index=False)
    pd.DataFrame(limits).to_csv(results / "limits.csv", index=False)
    return Tables(folder, pd.DataFrame(), pd.DataFrame(), pd.read_csv(results / "codecs.csv"), {})


@pytest.fixture
def empty(tmp_path):
    return Tables(tmp_path, pd.DataFrame(), pd.DataFrame(), pd.DataFrame(), {})


def html_of(shown):
    return shown._repr_html_()


def test_differences_are_those_that_were_put_in(tables):
    found = differences.differences(tables).query("band == 'VV' and scope == 'all' and anchor == 'jpeg2000'")
    rate = found.set_index("codec")["rate"]
    assert rate["hevc12"] == pytest.approx(-20, abs=1e-6)
    assert rate["jpegls"] == pytest.approx(100, abs=1e-6)
    assert rate["mine"] == pytest.approx(-30, abs=1e-6)
    assert rate["rwf"] == pytest.approx(-50, abs=1e-6)
    against = differences.differences(tables).query("band == 'VV' and scope == 'all' and anchor == 'hevc12'")
    assert against.set_index("codec")["rate"]["jpeg2000"] == pytest.approx(25, abs=1e-6)
    assert set(found["acquisitions"]) == {3}


def test_table_has_both_anchors_and_bands(tables):
    listing = html_of(differences.bd_listing(tables))
    for heading in ("VV, against JPEG 2000", "VH, against HEVC 12 bit"):
        assert heading in listing
    assert all(value in listing for value in ("−20.0", "−50.0", "+25.0"))


def test_distance_from_the_limit_is_its_share(tables):
    shares = limit_figures.efficiency(tables).set_index(["codec", "target_value"])["share"]
    assert shares["jpeg2000", 30.0] == pytest.approx(0.5)
    assert shares["mine", 30.0] == pytest.approx(0.5 / 0.7)
    # on a curve of 6.02 dB a bit that doubles, one dB costs rate·ln 2/6.02
    title = limit_figures.price(tables).title
    assert title == "At 30 dB, 50 % of the bits of JPEG 2000 would do in principle"


def test_one_more_db_costs_what_the_curve_says(tables):
    from sarlab.views import limits

    bound = limits.selected(tables.table("limits"), scene="a", band="VV")
    # between grid points the curve is interpolated: at 30 dB from 29.5 to 30.5
    rates = 0.5 * base_rate([29.0, 30.0, 31.0])
    assert limit_figures.marginal(bound, 30.0) == pytest.approx((rates[2] - rates[0]) / 2)
    assert np.isnan(limit_figures.marginal(bound, 90.0))


def test_the_best_learned_codec_joins_those_that_stand_for_others(tables):
    rows = codec_rows.shown(codec_rows.evaluated(tables))
    assert codec_rows.with_learned(rows, ("hevc12", "absent")) == ["hevc12", "mine"]
    assert "mine" in [look.label for look in fidelity.group(tables, "structure").key]


@pytest.mark.parametrize("name", list(GROUPS))
def test_groups_of_fidelity_fill_their_grid_and_speak(tables, name):
    figure = fidelity.group(tables, name)
    assert len(figure.panels) == 4
    for panel in figure.panels:
        assert re.search(r"\d at \d", panel.alt)
    assert "nan" not in html_of(figure).lower().replace("nano", "")


def test_first_rate_above_a_level_is_interpolated_on_its_logarithm():
    line = pd.DataFrame({"bpp": [0.1, 0.4, 1.6], "mean": [0.2, 0.6, 0.8]})
    assert fidelity._first_rate(line, 0.4) == pytest.approx(0.2)
    assert fidelity._first_rate(line, 0.1) == 0.1
    assert np.isnan(fidelity._first_rate(line, 0.9))


def test_peak_is_the_top_of_the_parabola_and_known_to_lie_inside():
    rates = np.exp(np.linspace(-3, 1, 9))
    line = pd.DataFrame({"bpp": rates, "psnr_clean_db": 30 - (np.log(rates) + 1.3) ** 2})
    top = reflectivity.peak(line)
    assert top.inside
    assert top.bpp == pytest.approx(np.exp(-1.3))
    assert top.psnr_db == pytest.approx(30)
    assert not reflectivity.peak(line.assign(psnr_clean_db=np.log(rates))).inside


@pytest.mark.parametrize(
    "make",
    [
        differences.bd_figure, differences.bd_listing, differences.protocol,
        limit_figures.price, limit_figures.price_text, limit_figures.distance, fidelity.shown_text,
        *(lambda t, n=name: fidelity.group(t, n) for name in GROUPS), elsewhere.at_one_psnr, thrown_away.spectrum,
        thrown_away.text, reflectivity.both, reflectivity.text, reflectivity.listing, averaging.averaging, averaging.edges,
        scene_entropy.radar_and_optical, scene_entropy.with_and_without, scene_entropy.text,
        speckle_limits.sandwich,
    ],
)  # fmt: skip
def test_pages_without_tables_say_which_command_fills_them(empty, make):
    shown = make(empty)
    page = html_of(shown) if hasattr(shown, "_repr_html_") else str(shown)
    assert "sarlab sweep quick" in page.replace("&#x27;", "'")
