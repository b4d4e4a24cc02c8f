"""The chapters on latents, networks and files: their figures against rows made by hand."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sarlab.lab.results import HISTORY_COLUMNS, Tables
from sarlab.views import architecture_figures, latent_shapes, trainings
from sarlab.views.claims_old.verdict import networks

BANDS = [f"lost_power_band{i}" for i in range(1, 9)]
ACQUISITIONS = ("a", "b", "c", "d")


def row(**changes):
    base = {
        "architecture": "plain", "init": "scratch", "spatial_reduction": 16, "latent_channels": 16, "dimension_ratio": 16.0,
        "width": 32, "depth": 0, "quantizer": "f32", "bits": 32, "steps": 800, "batch_size": 4, "seed": 0, "band": "VV",
        "simulated": False, "psnr_db": 25.0, "epi_roa": 0.7, "rmse_edge_db": 2.0, "rmse_target_db": 4.0, "bpp": 2.0,
        "residual_spectrum_error_db": 1.0, "macs_per_pixel": 11000, "parameters": 500_000, "train_pixels_per_s": 1e6,
        "experiment": "plain from scratch", "curve": "dedicated", "collapsed": False, "effective_rank": 12.0, "looks": 4.4,
        "clip_low": -20.0, "clip_high": 10.0, **dict.fromkeys(BANDS, 0.1), "lost_power_band8": 1.01,
    }  # fmt: skip
    return {**base, **changes}


def over_scenes(run_id, **changes):
    """A run on four acquisitions, which differ in how hard they are."""
    psnr = changes.pop("psnr_db", 25.0)
    return [
        row(run_id=run_id, scene=f"scene-{place}", acquisition=name, split="test" if place == 0 else "independent",
            psnr_db=psnr + place, **changes)
        for place, name in enumerate(ACQUISITIONS)
    ]  # fmt: skip


def book(tmp_path, rows, history=None, **tables):
    (tmp_path / "results").mkdir(exist_ok=True)
    for name, frame in tables.items():
        frame.to_csv(tmp_path / "results" / f"{name}.csv", index=False)
    history = pd.DataFrame(columns=HISTORY_COLUMNS) if history is None else history
    return Tables(tmp_path, pd.DataFrame(rows), history, pd.DataFrame(), {})


def shapes_book(tmp_path):
    rows = []
    for reduction, channels, width, depth, psnr in ((8, 4, 28, 1, 24.0), (16, 16, 32, 0, 25.0), (32, 64, 29, 0, 24.5)):
        for seed in range(3):
            rows += over_scenes(
                f"r{reduction}-{seed}", spatial_reduction=reduction, latent_channels=channels, width=width, depth=depth,
                seed=seed, psnr_db=psnr, experiment="shapes",
            )  # fmt: skip
    rows += over_scenes("deep", width=17, depth=2, psnr_db=23.0, experiment="depth: 10 layers")
    rows += over_scenes("folded", width=58, psnr_db=26.0, experiment=trainings.FOLDED)
    rows += over_scenes("long", steps=5000, psnr_db=30.0)
    rows += over_scenes("wide", width=96, macs_per_pixel=96_000, psnr_db=30.0)
    return book(tmp_path, rows)


def test_shapes_leave_out_other_depths_lengths_and_sizes(tmp_path):
    rows = trainings.shapes(networks(shapes_book(tmp_path)))
    assert {name.partition("-")[0] for name in rows["run_id"]} == {"r8", "r16", "r32"}


def test_depths_count_the_layers_and_leave_out_other_shapes(tmp_path):
    rows = trainings.depths(networks(shapes_book(tmp_path)))
    found = rows.groupby("layers")["run_id"].unique()
    assert list(found.index) == [3, 4, 10]
    assert list(found[3]) == ["folded"]
    assert list(found[10]) == ["deep"]


def test_the_figure_of_shapes_says_the_best_and_the_worst(tmp_path):
    figure = latent_shapes.at_one_ratio(shapes_book(tmp_path))
    assert "16×16×16 keeps most: 26.5 dB, against 25.5 dB for the worst" in figure.title
    assert re.search(r"25\.5 \([\d.]+ to [\d.]+\) at 32×32", figure.panels[0].alt)
    assert "best in 16×16×16" in latent_shapes.text(shapes_book(tmp_path)).text


def test_gains_over_plain_are_paired_by_scene_and_seed(tmp_path):
    rows = []
    for ratio, channels in ((8.0, 32), (16.0, 16)):
        for seed in range(3):
            at = {"dimension_ratio": ratio, "latent_channels": channels, "seed": seed}
            rows += over_scenes(f"p{ratio}{seed}", **at)
            rows += over_scenes(
                f"r{ratio}{seed}", **at, architecture="residual", width=17, depth=1, psnr_db=25.5 + 0.1 * seed
            )
    figure = architecture_figures.against_plain(book(tmp_path, rows), "scratch")
    assert "residual gains +0.60 dB (+0.51 to +0.69 dB)" in figure.title
    assert "+0.60 (" in figure.panels[0].alt
    assert "11.0\u202fk" in architecture_figures.costs_table(book(tmp_path, rows)).text


def test_gradients_are_those_of_the_first_and_last_layer(tmp_path):
    history = pd.DataFrame({
        "run_id": "r16-0", "step": [0, 50, 100], "loss": 1.0, "gradient_norm/model.g_a.2": [np.nan, 5.0, 5.0],
        "gradient_norm/model.g_a.0": [np.nan, 1.0, 2.0], "gradient_norm/model.g_s.10": [np.nan, 2.0, 2.0],
        "gradient_norm/model.g_s.2": [np.nan, 9.0, 9.0],
    })  # fmt: skip
    filled = replace(shapes_book(tmp_path), history=history)
    shares = trainings.gradients(filled, filled.runs)
    assert list(shares["run_id"]) == ["r16-0"]
    assert shares["share"].iloc[0] == pytest.approx(0.75)


def test_width_and_length_of_small_trainings(tmp_path):
    rows = []
    for width, patches, seen, unseen in (
        (32, "all", 26, 25),
        (64, "all", 27, 26),
        (32, "one", 28, 23),
        (64, "one", 30, 22),
    ):
        for split, psnr in (("train", seen), ("test", unseen)):
            rows.append({
                "sweep": "width", "value": width, "width": width, "patches": patches, "seed": 0, "split": split, "scene": split,
                "acquisition": split, "band": "VV", "psnr_db": psnr, "simulated": False, "steps": 300, "dimension_ratio": 16,
                "training_pixels": 1000,
            })  # fmt: skip
    rows += [{**rows[1], "sweep": "steps", "value": n, "steps": n, "psnr_db": 20 + n / 400} for n in (400, 800)]
    tables = book(tmp_path, [], trainings=pd.DataFrame(rows))
    assert "64 channels do best with all patches, 32 with one" in architecture_figures.over_width(tables).title
    assert "+1.00 dB at 16×" in architecture_figures.over_steps(tables).title


@pytest.mark.parametrize("module", [latent_shapes, architecture_figures])
def test_without_tables_every_part_says_how_to_get_them(module, empty):
    for name in (
        "at_one_ratio",
        "one_position",
        "over_depth",
        "over_width",
        "memory_table",
        "overhead",
        "tiles",
        "sizes",
    ):
        if hasattr(module, name):
            shown = getattr(module, name)(empty)
            said = shown.caption if hasattr(shown, "caption") else shown.text
            assert "sarlab sweep report" in said
