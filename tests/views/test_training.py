"""Histories and latents."""

import numpy as np
import pandas as pd

from sarlab.views.plots import histories, latent_maps, training_history

COLUMNS = ["run_id", "step", "loss", "validation_db", "gradient_norm", "learning_rate", "seconds"]


def history(levels, run_id="a"):
    steps = np.arange(len(levels)) * 50
    values = (run_id, steps, 0.1 / (1 + steps), levels, 0.5, 1e-3, steps / 10)
    return pd.DataFrame(dict(zip(COLUMNS, values, strict=True)))


def test_history_marks_the_weights_that_were_kept():
    figure = training_history(history([20.0, 24.0, 23.0]))
    assert len(figure.panels) == 3
    assert "from 20.00 to 23.00" in figure.alt
    assert "kept: 24.00 dB" in figure._repr_html_()


def test_history_without_validation_still_shows_the_loss():
    figure = training_history(history([np.nan, np.nan]))
    assert "training loss" in figure.alt
    assert "validation" not in figure.alt


def test_a_single_record_makes_no_curve():
    lone = history([20.0, 21.0]).assign(loss=[0.1, np.nan])
    assert "training loss" not in training_history(lone).alt


def test_a_transform_in_closed_form_has_no_history():
    assert "closed form" in training_history(pd.DataFrame(columns=COLUMNS)).alt


def test_histories_have_a_panel_for_each_ratio():
    runs = pd.DataFrame(
        {"run_id": ["a", "b", "c"], "architecture": "plain", "init": ["klt", "scratch", "klt"], "dimension_ratio": [4.0, 4.0, 8.0], "seed": 0}
    )  # fmt: skip
    table = pd.concat([history([20.0, 21.0], "a"), history([18.0, 19.5], "b"), history([15.0, 16.0], "c")])
    figure = histories(table, runs)
    assert len(figure.panels) == 2
    assert "b ends at 19.50" in figure.panels[0].alt
    assert len(figure.key) == 2
    assert "make book" in histories(table.iloc[:0], runs).alt


def test_latent_maps_count_what_carries_variance():
    rng = np.random.default_rng(0)
    latent = np.stack([rng.normal(0, 10, (8, 8)), rng.normal(0, 10, (8, 8)), np.zeros((8, 8))])
    figure = latent_maps(latent)
    assert "2 of 3 channels carry 99 %, 1 carry none" in figure.alt


def test_latents_of_any_shape(tmp_path):
    for shape in ((1, 1, 1), (64, 16, 16), (3, 1, 40), (256, 1, 1)):
        latent_maps(np.random.default_rng(0).normal(size=shape)).save(tmp_path / "latent.png")
    latent_maps(np.zeros((4, 5, 5))).save(tmp_path / "latent.png")
