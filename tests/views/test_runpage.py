"""Page of a run: pictures with gaps, histories, latents of any shape."""

import numpy as np
import pandas as pd

from sarlab.views import runpage


def history(levels):
    steps = np.arange(len(levels)) * 50
    return pd.DataFrame({"step": steps, "loss": 0.1 / (1 + steps), "validation_db": levels, "gradient_norm": 0.5})


def test_histories_state_what_they_have():
    drawn = runpage.history(history([20.0, 24.0, 23.0]))
    assert len(drawn.panels) == 3
    assert "20.00 at 0" in drawn.panels[0].alt
    assert "23.00 at 100" in drawn.panels[0].alt
    assert drawn.caption == "Best on validation: step 50, 24.00 dB."
    without = runpage.history(history([np.nan, np.nan]))
    assert "training loss" in without.alt
    assert "validation" not in without.alt
    assert "closed form" in runpage.history(history([])).caption


def test_a_latent_of_any_shape_counts_the_channels_that_have_variance():
    y = np.random.default_rng(0).normal(0, 10, (3, 8, 8)) * np.array([1, 1, 0])[:, None, None]
    for shape in ((1, 1, 1), (64, 16, 16), (3, 1, 40), (256, 1, 1)):
        assert "nan" not in runpage.latent(np.zeros(shape))._repr_html_().lower().split()
    assert runpage.latent(y).caption.startswith("2 of 3 channels have 99 % of the variance; 1 are dead.")


def test_gaps_stay_out_of_the_error():
    original = np.zeros((90, 120))
    original[:10] = np.nan
    drawn = runpage.pictures(original, original + 2, (-20, 0), title="scene")
    assert len(drawn.panels) == 6
    assert "root mean square 2.00 dB" in drawn.caption
    assert "nan" not in drawn._repr_html_().lower().split()
