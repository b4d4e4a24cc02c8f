"""Evaluate: rows from real files, resumable, in every format, with NaN and a reason where there is no figure."""

import json

import numpy as np
import pandas as pd
import pytest

from sarlab.cli import main
from sarlab.codec.goals import Goal
from sarlab.errors import CodecError, ResultsError
from sarlab.lab.evaluate import Journal, Search, bd_rows, evaluate, parse_targets
from sarlab.peers import codecs
from sarlab.scenes.catalog import reference_normalizers
from sarlab.scenes.scene import Scene

METRICS = ("psnr_db", "rmse_db", "peak_error_db", "bias_db")
TIMINGS = ["encode_seconds", "decode_seconds"]


def speckled(name="scene", seed=0, bands=("VV",), shape=(64, 80)):
    intensity = np.random.default_rng(seed).gamma(4.4, 1 / 4.4, (len(bands), *shape))
    db = (-12 + 10 * np.log10(intensity)).astype(np.float32)
    return Scene(db, "db", bands, name=name, acquisition=name, looks=4.4)


def rows_of(*args, **kwargs):
    return evaluate(*args, **{"workers": 1, "metrics": METRICS, **kwargs})


def test_rows_say_what_the_files_say_in_one_process_or_two(tmp_path):
    void = Scene(np.full((1, 16, 16), np.nan, np.float32), "db", ("VV",), name="nothing")
    scenes, goals = [speckled(bands=("VV", "VH")), void], [Goal("quality", 0)]
    frame = rows_of(["sperr", "lossless-zlib"], scenes, goals, save_files=tmp_path)
    assert list(frame["band"]) == ["VV", "VV", "VH", "VH", "VV", "VV"]
    for row in frame[:4].itertuples():
        data = (tmp_path / row.file).read_bytes()
        assert row.bytes == len(data)
        assert row.bpp == pytest.approx(8 * len(data) / (64 * 80))
        assert row.measured_cr == pytest.approx(64 * 80 * 2 / len(data))
        assert row.measured_cr_lossless == pytest.approx(row.lossless_bytes / len(data))
        error = codecs[row.codec].decompress(data).data[0].astype(np.float64) - scenes[0].band(row.band).data[0]
        assert row.rmse_db == pytest.approx(np.sqrt(np.square(error).mean()), rel=1e-5)
        assert row.peak_error_db == pytest.approx(np.abs(error).max(), rel=1e-5)
        normalizer = reference_normalizers()[row.band]
        assert (row.clip_low, row.clip_high, row.clip_source) == (normalizer.low, normalizer.high, "embedded")
        assert (row.seen_in_training, row.reason) == ("false", "")
        assert min(row.encode_seconds, row.decode_seconds) > 0
    assert frame["reason"][4:].str.contains("nodata").all()
    assert frame["bpp"][4:].isna().all()
    both = rows_of(["sperr", "lossless-zlib"], scenes, goals, save_files=tmp_path, workers=2)
    pd.testing.assert_frame_equal(frame.drop(columns=TIMINGS), both.drop(columns=TIMINGS))


def test_containers_count_apart_in_rows():
    names = [name for name in ("hevc12", "jpeg2000", "lapped") if codecs[name].available().ok]
    rows = rows_of(names, [speckled(shape=(128, 128))], [Goal("bpp", rate) for rate in (0.5, 2.0)], metrics=["psnr_db"])
    assert (rows["bpp_codestream"] + 8 * rows["container_bytes"] / 128**2).to_numpy() == pytest.approx(rows["bpp"])
    spread = rows.groupby("codec")["container_bytes"].agg(lambda counts: counts.max() - counts.min())
    assert (spread <= 4).all(), "a container does not grow with its codestream"
    assert (rows.loc[rows["codec"] == "jpeg2000", "container_bytes"] < 50).all()
    assert (rows.loc[rows["codec"] == "hevc12", "container_bytes"] > 200).all()


def test_what_a_codec_cannot_do_and_one_that_breaks_are_rows_with_the_reason(monkeypatch):
    frame = rows_of(["lossless-zlib", "sperr"], [speckled()], [Goal("bpp", 1.0)])
    assert "cannot reach 1 bpp" in frame["reason"][0]
    assert pd.isna(frame["bytes"][0])
    assert frame["reason"][1] == ""

    def broken(scene, *, quality):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(codecs["sperr"], "compress", broken)
    frame = rows_of(["sperr"], [speckled(shape=(32, 32))])
    assert len(frame) == len(codecs["sperr"].capabilities.quality.grid), "each codec has its own grid by default"
    assert set(frame["reason"]) == {"RuntimeError: out of luck"}


def test_a_second_call_computes_only_what_is_missing(tmp_path, monkeypatch):
    measured = []
    real = Search.find
    monkeypatch.setattr(Search, "find", lambda search, goal: measured.append(goal) or real(search, goal))

    def rows(*qualities, codecs=("sperr",), seed=0, folder=None):
        goals, journal = [Goal("quality", quality) for quality in qualities], tmp_path / "journal.jsonl"
        return rows_of(codecs, [speckled(seed=seed)], goals, journal=journal, save_files=folder), len(measured)

    (first, _), (again, count) = rows(0, 5), rows(0, 5)
    assert count == 2
    pd.testing.assert_frame_equal(first, again)
    more, count = rows(0, 10, codecs=("sperr", "lossless-zlib"))
    assert (len(more), count) == (4, 5), "sperr at 10, and zlib at 0 and 10 (outside its scale)"
    assert rows(0, seed=1)[1] == 6
    # Saved files that are gone are made again.
    assert [rows(0, folder=tmp_path / "files")[1] for _ in range(2)] == [7, 7]
    next((tmp_path / "files").rglob("*.srlc")).unlink()
    assert rows(0, folder=tmp_path / "files")[1] == 8


def test_a_journal_survives_being_cut_off(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.add("a", {"x": 1.5, "y": float("nan")})
    journal.add("b", {"x": 2})
    path.write_text(path.read_text()[:-7])
    journal = Journal(path)
    assert journal.rows["a"]["x"] == 1.5
    assert np.isnan(journal.rows["a"]["y"])
    journal.add("c", {"x": 3})
    assert set(Journal(path).rows) == {"a", "c"}


def test_huge_scenes_are_represented_by_their_middle_and_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("sarlab.scenes.collection.LARGEST_SIDE", 50)
    np.save(tmp_path / "large_VV.npy", speckled().data[0])
    with pytest.warns(UserWarning, match="central"):
        frame = rows_of(["sperr"], [tmp_path / "large_VV.npy"], [Goal("quality", 0)], quantity="db")
    assert (frame["height"][0], frame["width"][0]) == (50, 50)


def test_targets_are_lists_or_ranges():
    assert [t.value for t in parse_targets("bpp", "0.1, 0.5,1")] == [0.1, 0.5, 1.0]
    assert [t.value for t in parse_targets("psnr", "25:40:4")] == [25.0, 30.0, 35.0, 40.0]
    for text in ("a", "1:2", "", "0"):
        with pytest.raises(CodecError):
            parse_targets("bpp", text)


def test_bd_rows_of_curves_in_closed_form():
    levels, parts = np.linspace(25.0, 40.0, 11), []
    for codec, factor in (("jpeg2000", 1.0), ("better", 0.8)):
        for scene, shift in (("s1", 0.0), ("s2", 0.4)):
            curve = {"psnr_db": levels, "ssim": levels / 50, "bpp": factor * 10 ** (0.05 * (levels - 30) + shift)}
            parts.append(pd.DataFrame({**curve, "codec": codec, "scene": scene, "acquisition": scene}))
    frame = pd.concat(parts, ignore_index=True).assign(band="VV", target="psnr")
    table = bd_rows(frame, metrics=("psnr_db", "ssim"))
    assert table["codec"].tolist() == ["better", "better"]
    assert table["bd_rate_percent"].to_numpy() == pytest.approx(-20.0)
    assert table["bd_quality"][0] == pytest.approx(-np.log10(0.8) / 0.05)
    assert table["scenes"].tolist() == [2, 2]
    frame["target"] = "quality"
    assert "not at matched PSNR" in bd_rows(frame)["reason"][0]
    with pytest.raises(ResultsError, match="anchors"):
        bd_rows(frame, anchors=("hevc12",))


def test_the_command_line_writes_and_compares(tmp_path, capsys):
    chips = tmp_path / "chips"
    chips.mkdir()
    np.save(chips / "first_VV.npy", speckled(shape=(128, 128)).data[0])
    np.save(chips / "void_VV.npy", np.full((16, 16), np.nan, np.float32))
    (chips / "bad.tif").write_bytes(b"not an image")
    out = tmp_path / "rows.json"
    command = (
        f"evaluate --codecs jpeg2000,sperr --scenes {chips} --quantity db --metrics psnr_db --workers 1 --out {out}"
    )
    command = command.split()
    assert main([*command, "--psnr", "30"]) == 0
    printed = capsys.readouterr()
    assert "6 rows, 4 without measurements" in printed.err
    summary = [line.split() for line in printed.out.splitlines()]
    assert summary[0] == ["codec", "target", "target_value", "band", "scenes", "bpp", "measured_cr", "psnr_db"]
    assert [line[0] for line in summary[1:]] == ["jpeg2000", "sperr"]
    before = out.read_text()
    assert main([*command, "--psnr", "30"]) == 0
    assert out.read_text() == before
    capsys.readouterr()
    assert main([*command, "--psnr", "25:40:11"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "bd", str(out), "--json"]) == 0
    (table,) = json.loads(capsys.readouterr().out)
    assert (table["codec"], table["anchor"]) == ("sperr", "jpeg2000")
    assert np.isfinite(table["bd_rate_percent"])
    assert main(["evaluate", "bd", str(out), "--anchor", "jpeg2000"]) == 0
    assert f" {table['bd_rate_percent']:.2f} " in capsys.readouterr().out
    assert main([*command, "--psnr", "28,30,32"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "bd", str(out)]) == 1, "three points are too few"
    printed = capsys.readouterr()
    assert "nan" not in printed.out.lower()
    assert "no BD-rate of sperr against jpeg2000 (VV, psnr_db): " in printed.err
    assert "at least 8 are needed" in printed.err
