"""What the chapters show: figures, sentences and tables, against the rows they are computed from."""

import re

import numpy as np
import pandas as pd
import pytest

from sarlab.views import examples, inventory, plots
from sarlab.views.compare import Comparison
from sarlab.views.text import number


def html_of(thing):
    return thing._repr_html_() if hasattr(thing, "_repr_html_") else thing._repr_markdown_()


def row(tables, architecture, init, ratio, band="VV", split="test"):
    runs = tables.runs
    mask = (runs["architecture"] == architecture) & (runs["init"] == init) & (runs["dimension_ratio"] == ratio)
    return runs[mask & (runs["band"] == band) & (runs["split"] == split)].iloc[0]


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
    html_of(inventory.scenes_table(tables))


@pytest.mark.parametrize(
    "show",
    [
        lambda t: plots.histories(t.history, t.runs),
        examples.by_ratio, examples.networks, inventory.runs_table, inventory.scenes_table, inventory.test_scenes,
        inventory.downloads, inventory.environment_table,
    ],
)  # fmt: skip
def test_without_results_every_figure_says_which_command_makes_them(empty, show):
    thing = show(empty)
    assert not isinstance(thing, Comparison)
    assert "make book" in html_of(thing)
