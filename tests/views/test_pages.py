"""What the chapters show: figures, sentences and tables, against the rows they are computed from."""

import re

import numpy as np
import pandas as pd
import pytest

from sarlab.views import curves, examples, findings, front, inventory, plots
from sarlab.views.compare import Comparison
from sarlab.views.text import number, ratio


def html_of(thing):
    return thing._repr_html_() if hasattr(thing, "_repr_html_") else thing._repr_markdown_()


def row(tables, architecture, init, ratio, band="VV", split="test"):
    runs = tables.runs
    mask = (runs["architecture"] == architecture) & (runs["init"] == init) & (runs["dimension_ratio"] == ratio)
    return runs[mask & (runs["band"] == band) & (runs["split"] == split)].iloc[0]


# --- rate and distortion ----------------------------------------------------------------------------------------------


def test_rate_distortion_has_the_panels_of_the_guide_and_the_gain(filled):
    figure = plots.rate_distortion(filled.runs)
    assert [panel.alt.partition(".")[0] for panel in figure.panels] == [
        "PSNR of the dB image (dB) over compression ratio",
        "SSIM (1 = identical) over compression ratio",
        "PSNR of the dB image (dB) over bits per pixel of the file",
        "gain over the KLT (dB) over compression ratio",
    ]
    assert [look.label for look in figure.key][:3] == ["KLT", "plain, from scratch", "plain, KLT start"]
    expected = number(row(filled, "attention", "klt", 16)["psnr_db"])
    assert re.search(rf"attention, KLT start: [^;]*{expected} at 16×", figure.panels[0].alt)
    assert "KLT:" not in figure.panels[3].alt, "the KLT is the zero line of its own gain"


def test_gain_is_shown_with_its_sign(filled):
    alt = plots.rate_distortion(filled.runs).panels[3].alt
    gain = number(row(filled, "plain", "scratch", 16)["gain_over_klt_db"], 2)
    assert gain.startswith("−")
    assert gain in alt


def test_a_user_with_one_run_and_one_band_gets_a_figure(filled):
    one = filled.runs[filled.runs["run_id"] == filled.runs["run_id"].iloc[0]].query("band == 'VH'")
    for figure in (plots.rate_distortion(one), plots.by_acquisition(one)):
        assert figure.panels
        html_of(figure)
    html_of(findings.shown(one))
    html_of(front.lead(one))
    html_of(front.numbers(one))


def test_other_acquisitions_get_panels_with_intervals(filled):
    figure = plots.by_acquisition(filled.runs)
    assert [re.match(r"PSNR in dB, (V\w), ([^.]*)", p.alt).groups() for p in figure.panels] == [
        ("VV", "test scenes"), ("VV", "other acquisitions"), ("VH", "test scenes")
    ]  # fmt: skip
    assert "Bars: range over 3 acquisitions." in figure.caption


def test_codecs_are_drawn_over_bits_of_the_same_scenes_only(filled):
    scene = filled.runs["scene"].iloc[0]
    codecs = pd.DataFrame(
        {
            "codec": ["jpeg2000"] * 3 + ["elsewhere"] * 3, "scene": [scene] * 3 + ["another"] * 3, "band": "VV",
            "quality": [1, 2, 3] * 2, "bpp": [0.5, 1.0, 2.0] * 2, "psnr_db": [24.0, 27.0, 30.0] * 2,
        }
    )  # fmt: skip
    html = html_of(plots.rate_distortion(filled.runs, codecs=codecs, panels=("bpp",)))
    assert "JPEG 2000: 24 dB at 0.5 bpp" in html
    assert "elsewhere" not in html


def test_limits_are_drawn_over_bits_and_explained(filled):
    row = filled.runs.query("band == 'VV' and split == 'test'").iloc[0]
    limits = pd.DataFrame(
        {
            "limit": ["rwf"] * 3 + ["scalar"] * 3, "scene": row["scene"], "band": "VV", "split": "test",
            "bpp": [0.5, 1.0, 2.0] * 2, "psnr_db": [26.0, 29.0, 32.0, 25.0, 28.0, 31.0], "estimate": False,
        }
    )  # fmt: skip
    figure = plots.rate_distortion(filled.runs, limits=limits, panels=("bpp",))
    assert "Gaussian limit: 26 dB at 0.5 bpp" in figure.panels[0].alt
    assert "a codec may also pass it" in figure.caption
    assert "Gaussian limit" in html_of(figure)
    # nothing of them on a plot over the ratio
    assert "Gaussian" not in plots.rate_distortion(filled.runs, limits=limits, panels=("psnr",)).caption


def test_headline_of_a_curve_that_bends_says_how_it_begins_and_ends(filled):
    klt = filled.runs.query("architecture == 'klt' and band == 'VV' and split == 'test'").sort_values("dimension_ratio")
    bent = klt.assign(psnr_db=[32.0, 27.5, 25.0, 24.0])
    assert "costs 4.5 dB at first (4× to 8×) and 1.0 dB at last (16× to 32×)" in curves.headline(bent)
    assert "The first doubling costs 4.5 dB (4× to 8×), the last 1.0 dB" in findings.slope(bent)[0]


def test_headline_says_what_a_doubling_costs(filled):
    klt = filled.runs.query("architecture == 'klt' and band == 'VV' and split == 'test'")
    slope = np.polyfit(np.log2(klt["dimension_ratio"]), klt["psnr_db"], 1)[0]
    assert f"costs about {number(-slope)} dB" in curves.headline(klt)


# --- sentences --------------------------------------------------------------------------------------------------------


def test_findings_count_who_is_above_the_klt(filled):
    text = findings.shown(filled.runs).text
    assert "start from the KLT are above the KLT in 12 of 12 cases" in text
    assert "trained from scratch are above the KLT in 0 of 12 cases" in text
    assert "Every curve falls with the ratio throughout" in text


def test_findings_name_a_curve_that_rises(filled):
    runs = filled.runs.copy()
    runs.loc[
        (runs["architecture"] == "plain") & (runs["init"] == "klt") & (runs["dimension_ratio"] == 32), "psnr_db"
    ] = 40.0
    assert "Not monotone: plain, KLT start" in findings.shown(runs).text


def test_one_seed_is_called_one_seed(filled):
    assert "one training per configuration of 300 steps" in findings.limits_of(filled.runs).text
    assert "nothing says whether another training would keep it" in findings.shown(filled.runs).text


def test_front_page_answers_with_the_rows(filled):
    best = row(filled, "attention", "klt", 16)
    text = front.lead(filled.runs).text
    assert text.startswith(f"**16× fewer values, in a file {best['measured_cr']:.1f}× smaller")
    assert f"pixels are off by {number(best['rmse_db'])} dB" in text
    assert "(range over 3 acquisitions: " in text
    html = html_of(front.numbers(filled.runs))
    values = re.findall(r'sl-value">([^<]*)', html)
    assert len(values) == 5
    assert values[0] == f"{number(best['psnr_db'])} dB"
    assert values[2] == f"{number(best['gain_over_klt_db'], 2, sign=True)} dB"
    assert html.count("<a href=") == 5


def test_front_page_answers_with_the_codec_where_codecs_were_evaluated(filled, synthetic):
    rows = synthetic.codecs()
    mine = rows[(rows["family"] == "learned") & (rows["target_value"] == 30) & (rows["split"] == "test")]
    best = mine[mine["band"] == rows["band"].iloc[0]].sort_values("bpp").iloc[0]
    anchor = rows[(rows["codec"] == "jpeg2000") & (rows["target_value"] == 30) & (rows["scene"] == best["scene"])]
    more = 100 * (anchor[anchor["band"] == best["band"]]["bpp"].iloc[0] / best["bpp"] - 1)
    text = front.lead(filled.runs, rows).text
    assert text.startswith(
        f"**A file {ratio(best['measured_cr'])} smaller than the recorded product of 16 bits a sample"
    )
    assert f"`{best['codec']}`" in text
    assert f"JPEG 2000 needs {more:.0f} % more bytes" in text
    assert "16× fewer values" in text
    values = re.findall(r'sl-value">([^<]*)', html_of(front.numbers(filled.runs, rows)))
    assert len(values) == 5
    assert values[0] == ratio(best["measured_cr"])
    assert values[1] == f"{number(-100 * more / (100 + more), 0)} %"


def test_undefined_metrics_give_way_to_others(filled):
    runs = filled.runs.assign(epi_roa=np.nan, bias_db=np.nan)
    values = re.findall(r'sl-label">([^<]*)', html_of(front.numbers(runs)))
    assert len(values) == 5
    assert not any("edges" in v or "bias" in v for v in values)


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_slider_takes_the_best_network_of_each_ratio(filled):
    comparison = examples.by_ratio(filled)
    assert [variant.label for variant in comparison.variants] == ["4×", "8×", "16×", "32×"]
    assert comparison.variants[comparison.first].label == "16×"
    assert all(variant.name == "attention, KLT start" for variant in comparison.variants)
    assert comparison.variants[2].facts["PSNR"] == f"{number(row(filled, 'attention', 'klt', 16)['psnr_db'])} dB"


def test_slider_over_networks_begins_with_the_klt(filled):
    comparison = examples.networks(filled)
    assert comparison.series[:3] == ["KLT", "plain, from scratch", "plain, KLT start"]
    assert comparison.steps == ["4×", "8×", "16×", "32×"]
    assert len(comparison.variants) == len(comparison.series) * len(comparison.steps)
    first = comparison.variants[comparison.first]
    assert (first.series, first.label) == ("attention, KLT start", "16×")
    assert "over the KLT" not in comparison.variants[0].facts
    assert max(comparison.original.shape) <= examples.DETAIL


def test_a_detail_is_the_middle_of_the_picture(filled, monkeypatch):
    monkeypatch.setattr(examples, "DETAIL", 40)
    small, whole = examples.networks(filled).original, examples.by_ratio(filled).original
    top, left = ((length - 40) // 2 for length in whole.shape)
    assert np.array_equal(small, whole[top : top + 40, left : left + 40])
    monkeypatch.setattr(examples, "MOST", 7)
    assert examples.networks(filled).original.shape == (20, 20), "four times as many pictures as fit, each a quarter"


def test_pictures_are_those_of_their_runs(filled):
    from PIL import Image

    variant = examples.by_ratio(filled).variants[0]
    file = filled.table("examples")
    run = row(filled, "attention", "klt", 4)["run_id"]
    name = file[(file["run_id"] == run) & (file["band"] == "VV") & (file["kind"] == "reconstruction")]["file"].iloc[0]
    assert np.array_equal(variant.gray, np.asarray(Image.open(filled.image(name))))


def test_originals_come_back_in_decibels(filled, synthetic):
    pictures = examples.originals(filled)
    recorded, _ = synthetic.scene(seed=2 + ord("V"))
    name, image, clip = pictures[0]
    assert name == "mosaic-test, VV"
    assert np.abs(image - np.clip(recorded, *clip)).max() <= 30 / 255 / 2 + 1e-6


# --- tables -----------------------------------------------------------------------------------------------------------


def test_runs_table_links_only_to_pages_that_exist(filled):
    folder = filled.root / "runs"
    folder.mkdir(exist_ok=True)
    run = filled.runs["run_id"].iloc[0]
    (folder / f"{run}.ipynb").write_text("{}")
    html = html_of(inventory.runs_table(filled))
    assert html.count("<tr>") == 1 + filled.runs["run_id"].nunique()
    assert re.findall(r'href="([^"]*)"', html) == [f"../runs/{run}.html"]
    assert html_of(inventory.costs_table(filled)).count("<tr>") == html.count("<tr>")


def test_pictures_carry_the_credit_of_their_scenes(filled):
    assert "Credit: nobody." in html_of(inventory.test_scenes(filled))


def test_the_first_band_of_the_runs_is_shown_first(filled, tmp_path, synthetic):
    from sarlab.lab.results import tables

    synthetic.write(tmp_path)
    index = tmp_path / "results" / "examples.csv"
    lines = index.read_text().splitlines()
    index.write_text("\n".join([lines[0], *sorted(lines[1:], key=lambda line: "VH" not in line)]) + "\n")
    assert examples.scenes_shown(tables(tmp_path)) == [("mosaic-test", "VV"), ("mosaic-test", "VH")]


def test_scenes_table_states_the_speckle_floor(filled):
    assert "22.7" in html_of(inventory.scenes_table(filled)), "20 log10(30 / 2.19) for 4.4 looks"


def test_column_table_covers_the_metrics_of_the_rows(filled):
    html = html_of(inventory.columns_table(filled))
    for name in ("psnr_db", "ssim", "epi_roa", "bias_db"):
        assert f"<code>{name}</code>" in html


def test_left_out_scenes_are_named_with_their_reason(filled):
    tables = type(filled)(
        root=filled.root, history=filled.history, codecs=filled.codecs, manifest=filled.manifest,
        runs=pd.concat([filled.runs, pd.DataFrame([{"scene": "empty", "reason": "no valid sample"}])]),
    )  # fmt: skip
    assert "*empty* was left out: no valid sample" in inventory.split_note(tables).text
    html_of(plots.rate_distortion(tables.runs))
    html_of(inventory.scenes_table(tables))


@pytest.mark.parametrize(
    "show",
    [
        lambda t: plots.rate_distortion(t.runs, codecs=t.codecs), lambda t: plots.by_acquisition(t.runs),
        lambda t: plots.histories(t.history, t.runs), lambda t: findings.shown(t.runs), lambda t: front.lead(t.runs),
        examples.by_ratio, examples.networks, inventory.runs_table, inventory.scenes_table, inventory.test_scenes,
        inventory.downloads, inventory.environment_table,
    ],
)  # fmt: skip
def test_without_results_every_figure_says_which_command_makes_them(empty, show):
    thing = show(empty)
    assert not isinstance(thing, Comparison)
    assert "make book" in html_of(thing)
