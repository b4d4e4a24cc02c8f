"""Explorers, driven by code as a hand drives them: what they say must be right."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ipywidgets", reason="ipywidgets is not installed")

from sarlab.scenes.scene import Scene
from sarlab.scenes.writers import write_geotiff
from sarlab.views.explorers.panes import Ahead, chart, signed
from sarlab.views.explorers.rate_distortion import subject_of

SIDE = 160


@pytest.fixture(scope="module")
def subject():
    rng = np.random.default_rng(0)
    level = np.where(np.arange(SIDE)[:, None] > np.arange(SIDE), -8.0, -14.0)
    data = (level + 10 * np.log10(rng.gamma(4.4, 1 / 4.4, (SIDE, SIDE)))).astype(np.float32)
    return subject_of(Scene(data[None], "db", ("VV",), "drawn", looks=4.4))


def test_speckle_follows_the_law_that_is_drawn_beside_it():
    from sarlab.views.explorers.speckle import SpeckleExplorer

    explorer = SpeckleExplorer(256)
    for looks in (1.0, 10.0):
        explorer.controls["looks"].value = looks
        assert explorer.state["spread of speckle in dB"] == pytest.approx(explorer.state["by the law"], rel=0.03)
        assert explorer.state["looks measured on the speckle"] == pytest.approx(looks, rel=0.08)
    explorer.controls["correlation"].value = 0.6
    assert explorer.state["correlation of neighbors"] == pytest.approx(0.6, abs=0.06)
    assert explorer.noisy.image.value[:4] == b"\x89PNG"


def test_dropping_channels_costs_and_leaving_them_does_not():
    from sarlab.views.explorers.latents import LatentExplorer

    explorer = LatentExplorer(runs="nowhere")
    whole = explorer.state["with all channels as they are"]
    assert explorer.state["PSNR in dB"] == whole
    seen = []
    for kept in (32, 8, 1):
        explorer.controls["kept"].value = kept
        seen.append(explorer.state["PSNR in dB"])
    assert whole > seen[0] > seen[1] > seen[2]
    explorer.controls["network"].value = "KLT, stride 16, 8 channels"
    assert explorer.controls["kept"].max == 8
    explorer.controls["scale"].value = 0.0
    assert explorer.state["PSNR in dB"] < explorer.state["with all channels as they are"]


def test_bits_buy_fidelity_and_rates_are_those_of_files():
    from sarlab.views.explorers.quantizers import QuantizerExplorer

    explorer = QuantizerExplorer(runs="nowhere")
    losses = []
    for bits in (3, 5, 8):
        explorer.controls["bits"].value = bits
        losses.append(explorer.state["lost to quantization in dB"])
        values = explorer.latent.numel() / explorer.subject.db.size
        assert explorer.state["fixed length, bit per pixel"] == pytest.approx(bits * values, rel=0.01)
        assert explorer.state["range coded, bit per pixel"] < explorer.state["fixed length, bit per pixel"]
    assert losses[0] > losses[1] > losses[2] >= -0.01
    for scheme in ("float16", "guide", "allocated"):
        explorer.controls["scheme"].value = scheme
        assert "error" not in explorer.state
    explorer.controls["scheme"].value = "fsq"
    explorer.controls["bits"].value = 16
    assert explorer.state


def test_a_codec_is_shown_with_its_residual_and_the_windows_drawn(subject):
    from sarlab.views.explorers.rate_distortion import RateDistortionExplorer

    explorer = RateDistortionExplorer(subject=subject)
    explorer.controls["codec"].value = "jpeg2000"
    qualities = [value for _, value in explorer.controls["quality"].options]
    explorer.controls["quality"].value = qualities[2]
    coarse = dict(explorer.state)
    explorer.controls["quality"].value = qualities[-2]
    assert explorer.state["bit per pixel"] > coarse["bit per pixel"]
    assert explorer.state["psnr_db"] > coarse["psnr_db"]
    assert len(explorer.points[subject.name]["jpeg2000"]) >= 2
    explorer.windows.add(100, 5, 30, 40)
    explorer.windows.add(150, 150, 500, 500)
    assert explorer.windows.rectangles == [(100, 5, 30, 40), (150, 150, 10, 10)]
    before, after = map(float, next(iter(explorer.windows.state.values())).split(" → "))
    assert before == pytest.approx(4.4, rel=0.35)
    assert after == pytest.approx(before, rel=0.35)
    explorer.windows.clear()
    assert not explorer.windows.state
    explorer.cache.wait(60)


def test_two_codecs_meet_at_one_rate(subject):
    from sarlab.views.explorers.side_by_side import RATES, SideBySideExplorer

    explorer = SideBySideExplorer(subject=subject)
    explorer.controls["left"].value = "klt8"
    explorer.controls["bpp"].value = RATES[-1]
    for side in ("left", "right"):
        explorer.cache(side).wait(120)
        assert explorer.state[side]["bit per pixel"] == pytest.approx(RATES[-1], rel=0.06)
        assert RATES[0] in explorer.cache(side)


def test_a_scene_of_ones_own_is_opened_or_refused_in_words(tmp_path, subject):
    from sarlab.views.explorers.own_scene import OwnSceneExplorer

    write_geotiff(subject.scene, tmp_path / "mine.tif")
    explorer = OwnSceneExplorer(str(tmp_path / "mine.tif"), "db")
    assert explorer.explorer is not None
    assert f"{SIDE} × {SIDE}" in explorer.state["scene"]
    explorer.explorer.cache.wait(60)
    explorer.controls["path"].value = str(tmp_path / "missing.tif")
    assert "missing.tif" in explorer.state["error"]


def test_the_psnr_of_an_explorer_is_that_of_every_table(subject):
    from sarlab.metrics import score

    other = subject.db + np.float32(1.5)
    low, high = subject.clip
    assert subject.psnr(other) == score(subject.db, other, clip=(low, high), columns=("psnr_db",))["psnr_db"]
    assert subject.psnr(other) == pytest.approx(20 * np.log10((high - low) / 1.5), abs=0.05)


def test_controls_that_move_unobserved_call_nothing_and_others_call_their_own():
    import ipywidgets as widgets

    from sarlab.views.explorers.base import Explorer

    class Counted(Explorer):
        def __init__(self):
            self.calls = []
            self.controls = {"scene": widgets.IntText(0), "bits": widgets.IntText(0)}
            self.wire(widgets.HTML(), opening=("scene",))

        def open(self):
            self.calls.append("open")

        def update(self):
            self.calls.append("update")

    explorer = Counted()
    explorer.controls["scene"].value = 1
    explorer.controls["bits"].value = 1
    assert explorer.calls == ["open", "update"]
    with explorer.unobserved():
        explorer.controls["scene"].value = explorer.controls["bits"].value = 2
    assert explorer.calls == ["open", "update"]
    explorer.controls["bits"].value = 3
    assert explorer.calls == ["open", "update", "update"]


def test_results_are_computed_once_and_ahead():
    calls = []
    ahead = Ahead(lambda key: calls.append(key) or key * key)
    assert ahead.get(3) == 9
    ahead.start([1, 2, 3])
    ahead.wait(10)
    assert [ahead.get(key) for key in (1, 2, 3)] == [1, 4, 9]
    assert calls == [3, 1, 2]
    assert ahead.progress.value == 2


def test_signed_errors_are_white_at_zero_and_saturate():
    colors = signed(np.array([[0.0, 5.0, 50.0, -5.0, np.nan]]), 5.0)
    assert (colors[0, 0] == 247).all()
    assert (colors[0, 1] == colors[0, 2]).all()
    assert (colors[0, 3] != colors[0, 1]).any()
    assert (colors[0, 4] == 247).all()


def test_charts_of_nothing_and_of_one_point_are_charts():
    assert "nothing" in chart([("a", [], [])], x="x", y="y")
    assert "<circle" in chart([("a", [1.0], [2.0])], x="x", y="y", points=True)
    assert "NaN" not in chart([("a", [1, 2], [np.nan, 2])], x="x", y="y").replace("nan", "NaN")


def test_the_notebooks_run_in_a_real_kernel(tmp_path, monkeypatch):
    """All explorers one after the other in one kernel: imports are paid for once."""
    nbclient, nbformat, jupytext = (pytest.importorskip(name) for name in ("nbclient", "nbformat", "jupytext"))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    paths = sorted((Path(__file__).parents[2] / "notebooks").glob("explore_*.py"))
    assert len(paths) == 6
    cells = [cell for path in paths for cell in jupytext.read(path).cells if cell.cell_type == "code"]
    shown = [index for index, cell in enumerate(cells) if cell.source.endswith("explorer.widget")]
    assert len(shown) == len(paths)
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "P"}})
    nbclient.NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    for index in shown:
        assert "application/vnd.jupyter.widget-view+json" in notebook.cells[index].outputs[-1]["data"]
