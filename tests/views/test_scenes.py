"""Pictures of scenes: right at the edges of what can be shown, and true in what they say."""

import numpy as np
import pytest

from sarlab.views import scenes
from sarlab.views.plots import db_histograms, gallery, scene_triptych

CLIP = (-20.0, 5.0)


def image(shape=(90, 120), seed=0):
    return np.random.default_rng(seed).normal(-10, 3, shape)


def test_triptych_shows_three_pictures_and_their_error():
    original = image()
    figure = scene_triptych(original, original + 0.5, CLIP, title="a scene")
    assert len(figure.panels) == 3
    assert "median 0.50" in figure.panels[2].alt
    assert "root mean square 0.50 dB" in figure.caption
    assert "90×120 pixels" in figure.alt
    assert figure._repr_html_().count('role="img"') == 3


def test_gaps_stay_out_of_the_numbers():
    original = image()
    damaged = original + 1.0
    original[:, 40] = np.nan
    figure = scene_triptych(original, damaged, CLIP)
    assert "root mean square 1.00 dB" in figure.caption


@pytest.mark.parametrize("shape", [(1, 1), (17, 1000), (2, 3), (64, 64)])
def test_any_size(shape, tmp_path):
    original = image(shape)
    scene_triptych(original, original, CLIP).save(tmp_path / "scene.png")
    db_histograms(original, original, CLIP).save(tmp_path / "histogram.png")


@pytest.mark.parametrize("value", [np.nan, -np.inf, -10.0])
def test_constant_empty_and_all_zero_scenes(value, tmp_path):
    original = np.full((30, 30), value)
    for figure in (scene_triptych(original, original, CLIP), db_histograms(original, original, CLIP)):
        figure.save(tmp_path / "figure.png")
        assert "nan" not in figure.alt


def test_a_given_detail_is_the_one_that_is_framed():
    figure = scene_triptych(image(), image(), CLIP, zoom=(10, 20, 16))
    assert "16×16 pixels" in figure.caption


def test_detail_is_where_the_structure_is():
    picture = np.random.default_rng(0).normal(-10, 1, (256, 256))
    picture[150:170, 200:230] += 15
    row, column, side = scenes.busiest_window(picture)
    assert side == 64
    assert row <= 150 <= row + side
    assert column <= 200 <= column + side


def test_large_scenes_are_averaged_in_intensity():
    blocks = np.array([[0.0, 10.0], [0.0, 10.0]])
    assert scenes.average(blocks, 2)[0, 0] == pytest.approx(10 * np.log10(5.5))
    assert scenes.average(blocks, 2, linear=False)[0, 0] == 5
    assert scenes.average(np.full((5, 5), 1.0), 2).shape == (2, 2)
    assert scenes.average(np.full((4, 4), -np.inf), 2)[0, 0] == -np.inf


def test_histogram_says_how_much_lies_beyond_the_clip_range():
    original = np.concatenate([np.full(99, -10.0), [30.0]])
    figure = db_histograms(original, original[:99], CLIP)
    assert "1.00 % beyond the clip range" in figure.alt
    assert "0.00 % beyond." in figure.alt


def test_gallery():
    figure = gallery([("one", image(), CLIP), ("two", image(seed=1), CLIP)], title="Two")
    assert len(figure.panels) == 2
