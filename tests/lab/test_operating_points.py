"""Thresholds → operating point: on tables made by hand, where the answer is known."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarlab.cli import main
from sarlab.errors import ResultsError
from sarlab.lab.operating_points import TOLERANCE, Threshold, operating_points, parse_threshold, recommend, whole
from sarlab.peers import search


def codec_rows(acquisitions=1, bands=("VV",), spread=0.0):
    """Two codecs, four rates: PSNR = 20 + 6·bpp, and 1 dB more for the second; bias −0.1/bpp."""
    rows = []
    for codec, better, family in (("old", 0.0, "wavelet"), ("new", 1.0, "learned")):
        for bpp in (0.5, 1.0, 2.0, 4.0):
            for number in range(acquisitions):
                for band in bands:
                    rows.append({
                        "codec": codec, "family": family, "target": "quality", "target_value": bpp, "scene": f"s{number}",
                        "band": band, "split": "test", "acquisition": f"a{number}", "simulated": False, "pixels": 1000,
                        "native_bits": 16, "bpp": bpp, "bytes": 125 * bpp, "bias_db": -0.1 / bpp,
                        "psnr_db": 20 + 6 * bpp + better + spread * number,
                    })  # fmt: skip
    return pd.DataFrame(rows)


def found(thresholds, **kinds):
    points = operating_points(pd.DataFrame(), codec_rows(**kinds))
    parsed = [Threshold(*threshold) for threshold in thresholds]
    return recommend(points, parsed)


def test_the_furthest_point_that_meets_all_is_chosen_with_its_neighbors():
    one = found([("psnr_db", "min", 26.5)])
    assert (one.chosen.series, one.chosen.bpp, one.chosen.cr) == ("new", 1.0, 16.0)
    assert (one.further.bpp, one.gentler.bpp) == (0.5, 2.0)
    assert one.between == "sarlab evaluate --scenes IN.tif --codecs new --quality 0.5:1:6 --out finer.csv"
    # Where 0 is perfect, max speaks of the magnitude: |−0.1/bpp| ≤ 0.06 needs 2 bpp.
    two = found([("psnr_db", "min", 26.5), ("bias_db", "max", 0.06)])
    assert two.chosen.bpp == 2.0
    assert two.chosen.command == "sarlab compress IN.tif OUT.sarl --codec new --quality 2" or two.chosen.series == "old"


def test_nothing_that_meets_them_gives_the_closest():
    one = found([("psnr_db", "min", 60)])
    assert one.chosen is one.further is one.gentler is None
    assert [threshold.text for threshold in one.closest.missed(one.thresholds)] == ["psnr_db ≥ 60"]
    assert (one.closest.series, one.closest.bpp) == ("new", 4.0), "the one that comes nearest"


def test_every_band_has_to_meet_a_threshold():
    rows = codec_rows(bands=("VV", "VH"))
    rows.loc[rows["band"] == "VH", "psnr_db"] -= 3
    points = operating_points(pd.DataFrame(), rows.assign(epi_roa=np.nan))
    assert recommend(points, [Threshold("psnr_db", "min", 26.5)]).chosen.bpp == 2.0
    assert recommend(points, [Threshold("epi_roa", "min", 0.1)]).chosen is None, "no point has that metric"


def test_few_acquisitions_are_judged_by_the_worst_scene_and_many_by_the_interval():
    few = operating_points(pd.DataFrame(), codec_rows(acquisitions=2, spread=2.0))
    many = operating_points(pd.DataFrame(), codec_rows(acquisitions=9, spread=2.0))
    limit = Threshold("psnr_db", "min", 0.0)
    assert few[0].margin(limit) == pytest.approx(few[0].rows["psnr_db"].min())
    mean, worst = many[0].rows["psnr_db"].mean(), many[0].rows["psnr_db"].min()
    assert worst < many[0].margin(limit) < mean


def test_a_file_made_to_meet_a_threshold_meets_it():
    assert TOLERANCE["psnr_db"] == search.TOLERANCE["psnr"], "no file is made more exactly than that"
    chosen = found([("psnr_db", "min", 27.0 + 0.9 * TOLERANCE["psnr_db"])]).chosen
    assert (chosen.series, chosen.bpp) == ("new", 1.0)
    assert found([("psnr_db", "min", 27.0 + 1.1 * TOLERANCE["psnr_db"])]).chosen.bpp == 2.0
    assert found([("bias_db", "max", 0.0999)]).chosen.bpp == 2.0, "other metrics are met exactly"


def test_what_is_lost_is_told_in_shares_of_all_targets():
    rows = codec_rows(acquisitions=2).assign(epi_roa=0.9, lost_power_band8=1.02, rmse_db=1.5)
    rows["targets"] = np.where(rows["scene"] == "s0", 9, 1)
    rows["targets_kept"] = np.where(rows["scene"] == "s0", 1.0, 0.0)
    lost = operating_points(pd.DataFrame(), rows)[0].lost()
    assert lost == pytest.approx(
        {"error of a pixel (dB)": 1.5, "edges (%)": 10, "point targets (%)": 10, "finest detail (%)": 100}
    )
    assert operating_points(pd.DataFrame(), codec_rows())[0].lost() == {}


def test_points_that_lack_a_scene_are_not_compared():
    rows = codec_rows(acquisitions=3, spread=4.0)
    # Without its worst scene the file of 1 bpp would keep 26.5 dB.
    easier = rows[~((rows["codec"] == "new") & (rows["bpp"] == 1.0) & (rows["scene"] == "s0"))]
    points = operating_points(pd.DataFrame(), easier)
    assert [point.bpp for point in points if point not in whole(points)] == [1.0]
    limit = Threshold("psnr_db", "min", 27.5)
    assert not next(point for point in points if point.bpp == 1.0 and point.series == "new").missed([limit])
    assert recommend(points, [limit]).chosen.bpp == 2.0


def test_networks_and_codecs_compete_by_coded_bytes():
    network = {
        "run_id": "x", "architecture": "plain", "init": "klt", "spatial_reduction": 16, "latent_channels": 8, "width": 8,
        "depth": 1, "quantizer": "u8", "scene": "s0", "band": "VV", "acquisition": "a0", "simulated": False, "pixels": 1000,
        "native_bits": 16, "bpp": 1.0, "psnr_db": 40.0,
    }  # fmt: skip
    rows = pd.DataFrame([network])
    assert operating_points(rows, codec_rows())[0].kind == "codec"
    assert operating_points(rows.assign(coded_bpp=0.25), codec_rows())[0].cr == 64


@settings(max_examples=60)
@given(limit=st.floats(15, 50), step=st.floats(0, 10), bias=st.floats(0.01, 0.3))
def test_stricter_thresholds_never_compress_further(limit, step, bias):
    points = operating_points(pd.DataFrame(), codec_rows(acquisitions=3, spread=0.3))
    mild = recommend(points, [Threshold("psnr_db", "min", limit)]).chosen
    strict = recommend(points, [Threshold("psnr_db", "min", limit + step), Threshold("bias_db", "max", bias)]).chosen
    assert strict is None or (mild is not None and strict.cr <= mild.cr)
    if strict is not None:
        assert strict.rows["psnr_db"].mean() >= limit + step - TOLERANCE["psnr_db"] - 1e-9


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("psnr=30", ("psnr_db", 30)), ("rmse_8x8_db=0.3", ("rmse_k8_db", 0.3)), ("epi_roa=.9", ("epi_roa", 0.9)),
        ("api_roa=0.9", "did you mean epi_roa"), ("xyz=1", "known: epi_roa, psnr_db, rmse_k8_db$"), ("nothing=3", "no column"),
        ("psnr", "not a threshold"), ("psnr=", "not a threshold"), ("psnr=high", "not a threshold"), ("psnr=nan", "not a threshold"),
    ],
)  # fmt: skip
def test_thresholds_have_short_names_and_wrong_ones_are_answered(text, found):
    columns = ["psnr_db", "rmse_k8_db", "epi_roa", "scene"]
    if isinstance(found, tuple):
        assert parse_threshold(text, "min", columns) == Threshold(found[0], "min", found[1])
        return
    with pytest.raises(ResultsError, match=found):
        parse_threshold(text, "min", columns)


def test_the_command_prints_what_to_do_and_takes_applications_as_thresholds(tmp_path, capsys):
    """Applications have a table of their own in the book; its rows without a file are no operating points."""
    (tmp_path / "results").mkdir()
    rows = pd.concat([codec_rows(), codec_rows().assign(simulated=True, psnr_db=99.0)])
    rows.to_csv(tmp_path / "rows.csv", index=False)
    assert main(["recommend", "--rows", str(tmp_path / "rows.csv"), "--min", "psnr=26.5"]) == 0
    assert "sarlab compress IN.tif OUT.sarl --codec new --quality 1" in capsys.readouterr().out
    assert main(["recommend", "--rows", str(tmp_path / "rows.csv"), "--min", "psnr=90", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["recommended"] is None
    assert main(["recommend", "--rows", str(tmp_path / "rows.csv"), "--min", "psnr=90", "--simulated"]) == 0
    capsys.readouterr()
    rows = codec_rows()
    rows.to_csv(tmp_path / "results" / "codecs.csv", index=False)
    applied = rows.assign(target="bpp", iou_water=1 - 0.2 / rows["bpp"])
    natural = applied.iloc[:1].assign(codec="redraw", target=None, target_value=None, bpp=None, iou_water=1.0)
    pd.concat([applied, natural]).to_csv(tmp_path / "results" / "applications.csv", index=False)
    book = ["recommend", "--book", str(tmp_path), "--json", "--min"]
    assert main([*book, "iou_water=0.85"]) == 0
    found = json.loads(capsys.readouterr().out)["recommended"]
    assert (found["bpp"], found["measured"]["iou_water"]) == (2.0, 0.9)
    assert main([*book, "iou_water=0.99"]) == 2
    capsys.readouterr()
    assert main([*book, "psnr=26.5"]) == 0
    assert json.loads(capsys.readouterr().out)["recommended"]["bpp"] == 1.0
    applied.drop(columns="psnr_db").to_csv(tmp_path / "mine.csv", index=False)
    assert main(["recommend", "--rows", str(tmp_path / "mine.csv"), "--min", "iou_water=0.85", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["recommended"]["bpp"] == 2.0
