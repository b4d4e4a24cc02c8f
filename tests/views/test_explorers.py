"""Explorers, driven by code as a hand drives them: what they say must be right."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ipywidgets", reason="ipywidgets is not installed")
pytest.importorskip("ipympl", reason="ipympl is not installed")

import ipywidgets as widgets

from sarlab.scenes.scene import Scene
from sarlab.scenes.writers import write_geotiff
from sarlab.views.explorers import latents, rate_distortion, speckle
from sarlab.views.explorers.controls import Explorer, Picture, chart, numbers, subject_of

SIDE = 160
NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@pytest.fixture(scope="module")
def subject():
    rng = np.random.default_rng(0)
    level = np.where(np.arange(SIDE)[:, None] > np.arange(SIDE), -8.0, -14.0)
    data = (level + 10 * np.log10(rng.gamma(4.4, 1 / 4.4, (SIDE, SIDE)))).astype(np.float32)
    return subject_of(Scene(data[None], "db", ("VV",), "drawn", looks=4.4))


def is_blank(picture):
    return picture.gray.shape == (1, 1)


def test_speckle_follows_the_law_that_is_drawn_beside_it():
    explorer = speckle.SpeckleExplorer(256)
    for looks in (1.0, 10.0):
        explorer.controls["looks"].value = looks
        drawn, law = (explorer.state[f"spread {of} (dB)"] for of in ("of the speckle", "by the law"))
        assert drawn == pytest.approx(law, rel=0.03)
        assert explorer.state["looks measured on the speckle"] == pytest.approx(looks, rel=0.08)
    explorer.controls["correlation"].value = 0.6
    assert explorer.state["correlation of neighbors"] == pytest.approx(0.6, abs=0.06)
    assert explorer.pictures["noisy"].image.value[:4] == b"\x89PNG"


def test_dropping_channels_costs_and_leaving_them_does_not():
    explorer = latents.LatentExplorer(runs="nowhere")
    whole = explorer.state["PSNR with all channels (dB)"]
    assert explorer.state["psnr_db"] == whole
    seen = []
    explorer.controls["network"].value = "KLT, stride 16, 64 channels"
    for kept in (64, 32, 8, 1):
        explorer.controls["kept"].value = kept
        seen.append(explorer.state["psnr_db"])
    assert seen[0] == explorer.state["PSNR with all channels (dB)"]
    assert seen[0] > seen[1] > seen[2] > seen[3]
    explorer.controls["network"].value = "KLT, stride 16, 8 channels"
    assert explorer.controls["kept"].max == explorer.controls["kept"].value == 8
    explorer.controls["scale"].value = 0.0
    assert explorer.state["psnr_db"] < explorer.state["PSNR with all channels (dB)"]


def test_bits_buy_fidelity_and_rates_are_those_of_files():
    explorer = latents.QuantizerExplorer(runs="nowhere")
    losses = []
    for bits in (3, 5, 8):
        explorer.controls["bits"].value = bits
        losses.append(explorer.state["lost to quantization (dB)"])
        values = explorer.latent.numel() / explorer.subject.db.size
        assert explorer.state["fixed length (bits per pixel)"] == pytest.approx(bits * values, rel=0.01)
        assert explorer.state["range coded (bits per pixel)"] < explorer.state["fixed length (bits per pixel)"]
    assert losses[0] > losses[1] > losses[2] >= -0.01
    for scheme in ("float16", "guide", "allocated", "trellis"):
        explorer.controls["scheme"].value = scheme
        assert "error" not in explorer.state
    explorer.controls["bits"].value = 16
    assert list(explorer.state) == ["error"]


def trained(folder, **spec):
    """A finished run, as far as explorers look at it."""
    from sarlab.files import write_json
    from sarlab.models.autoencoders import build_model, save_model
    from sarlab.scenes.radiometry import Normalizer
    from sarlab.specs import ModelSpec, RunSpec

    run = RunSpec(model=ModelSpec("plain", 16, 8, width=8), **spec)
    folder.mkdir(parents=True)
    model, normalizers = build_model(run.model, seed=0), {"VV": Normalizer(-25.0, 0.0)}
    save_model(folder / "weights.safetensors", model, normalizers=normalizers)
    write_json(folder / "manifest.json", {"run_id": folder.name, "spec": run.to_dict()})


def test_networks_of_finished_runs_are_offered_wherever_the_notebook_lies(tmp_path, monkeypatch):
    from sarlab.specs import QuantizerSpec

    own, sweep, elsewhere = (tmp_path / name / "runs" for name in ("notebooks", ".", "elsewhere"))
    trained(own / "by-hand")
    trained(sweep / "of-a-sweep")
    trained(sweep / "its-latent-quantized", quantizer=QuantizerSpec("affine", 8))
    trained(elsewhere / "named")
    (sweep / "unfinished").mkdir()
    (sweep / "unfinished" / "weights.safetensors").touch()
    monkeypatch.chdir(own.parent)
    monkeypatch.delenv("SARLAB_RUNS", raising=False)
    names = latents.networks()
    assert {"by-hand", "of-a-sweep"} <= set(names)
    assert not {"its-latent-quantized", "unfinished", "named"} & set(names), "weights of another run; not finished"
    monkeypatch.setenv("SARLAB_RUNS", str(elsewhere))
    explorer = latents.QuantizerExplorer()
    assert [name for name in explorer.networks if "KLT" not in name] == ["named"]
    explorer.controls["network"].value = "named"
    assert "psnr_db" in explorer.state
    (elsewhere / "named" / "weights.safetensors").write_bytes(b"damaged")
    explorer.controls["network"].value = "KLT, stride 16, 8 channels"
    explorer.controls["network"].value = "named"
    assert "weights.safetensors" in explorer.state["error"]


def test_a_codec_is_shown_with_its_residual_and_the_windows_drawn(subject):
    explorer = rate_distortion.RateDistortionExplorer(subject=subject)
    assert explorer.controls["codec"].value == "lapped"
    explorer.controls["codec"].value = "jpeg2000"
    assert "JPEG 2000" in explorer.pictures["restored"].title.value
    qualities = [value for _, value in explorer.controls["quality"].options]
    explorer.controls["quality"].value = qualities[2]
    coarse = dict(explorer.state)
    explorer.controls["quality"].value = qualities[-2]
    assert explorer.state["bits per pixel"] > coarse["bits per pixel"]
    assert explorer.state["psnr_db"] > coarse["psnr_db"]
    size = explorer.state["bits per pixel"] * explorer.state["compression ratio"]
    assert size == pytest.approx(subject.scene.native_bits)
    restored = explorer.coded("jpeg2000", qualities[-2])[0]
    assert subject.psnr(restored) == explorer.state["psnr_db"], "one PSNR, in explorers of latents too"
    windows = explorer.windows
    windows.add(100, 5, 30, 40)
    windows.add(150, 150, 500, 500)
    assert windows.rectangles == [(100, 5, 30, 40), (150, 150, 10, 10)]
    assert [text.get_text() for text in windows.axes.texts] == ["1", "2"], "numbered as in the table"
    before, after = map(float, windows.state["looks in window 1"].split(" → "))
    assert before == pytest.approx(4.4, rel=0.35)
    assert after == pytest.approx(before, rel=0.35)
    windows.clear()
    assert not windows.state
    explorer.cache("jpeg2000").wait(60)

    # in a notebook, nothing scrolls by itself, and two pictures fit beside the column of controls
    boxes, open_boxes = [], [explorer.widget]
    while open_boxes:
        boxes.append(open_boxes.pop())
        open_boxes += [child for child in boxes[-1].children if isinstance(child, widgets.Box)]
    assert {box.layout.overflow for box in boxes} == {"visible"}
    column = explorer.widget.children[0].layout.width
    assert 2 * int(explorer.pictures["restored"].layout.width[:-2]) + int(column[:-2]) < 848


def test_two_codecs_meet_at_one_rate_and_one_that_cannot_shows_nothing_else(subject):
    rates = rate_distortion.RATES
    explorer = rate_distortion.SideBySideExplorer(subject=subject)
    explorer.controls["left"].value = "klt8"
    explorer.controls["bpp"].value = rates[-1]
    for side in ("left", "right"):
        cache = explorer.cache(explorer.controls[side].value)
        cache.wait(120)
        assert cache.progress.value == cache.progress.max
        assert explorer.state[side]["bits per pixel"] == pytest.approx(rates[-1], rel=0.06)
        assert rates[0] in cache.done
    explorer.controls["left"].value = "lerc"
    explorer.controls["bpp"].value = rates[0]
    assert "cannot reach 0.1 bpp" in explorer.state["left"]["error"]
    assert "KLT" not in explorer.pictures["restored left"].title.value
    assert "LERC: lerc cannot reach" in explorer.pictures["restored left"].title.value
    blank = {name for name, picture in explorer.pictures.items() if is_blank(picture)}
    assert blank == {"restored left", "residual left"}
    assert explorer.state["right"]["bits per pixel"] == pytest.approx(rates[0], rel=0.06)


def test_a_scene_of_ones_own_keeps_codec_and_quality_or_is_refused_in_words(tmp_path, subject, monkeypatch):
    monkeypatch.setattr(rate_distortion, "LARGEST", 128)
    two = Scene(np.concatenate([subject.scene.data, subject.scene.data - 6]), "db", ("VV", "VH"), "drawn", looks=4.4)
    write_geotiff(two, tmp_path / "mine.tif")
    explorer = rate_distortion.OwnSceneExplorer()
    assert "Enter the path" in explorer.message.value
    said = []
    explorer.message.observe(lambda change: said.append(change["new"]), "value")
    explorer.controls["quantity"].value = "db"
    explorer.controls["path"].value = str(tmp_path / "mine.tif")
    parts = "reading", "compressing", f"mine.tif: {SIDE} × {SIDE} pixels, db"
    assert all(part in text for part, text in zip(parts, said[-3:], strict=True))
    assert (explorer.controls["band"].options, explorer.controls["band"].value) == (("VV", "VH"), "VV")
    assert (explorer.controls["top"].value, explorer.controls["top"].max) == (16, 32)
    assert explorer.windows.images[0].shape == (128, 128), "something to draw on"
    explorer.controls["codec"].value = "jpeg2000"
    explorer.controls["quality"].value = quality = explorer.controls["quality"].options[2][1]
    explorer.controls["band"].value = "VH"
    explorer.controls["top"].value = 0
    assert (explorer.controls["codec"].value, explorer.controls["quality"].value) == ("jpeg2000", quality)
    assert np.array_equal(explorer.windows.images[0], two.data[1, :128, 16:144])
    explorer.controls["path"].value = str(tmp_path / "missing.tif")
    assert "missing.tif" in explorer.state["error"]
    assert "missing.tif" in explorer.message.value
    assert not explorer.windows.images
    assert all(is_blank(picture) for picture in explorer.pictures.values() if isinstance(picture, Picture))


def test_controls_call_their_own_and_an_error_leaves_nothing_on_the_screen():
    class Counted(Explorer):
        def __init__(self):
            self.calls, controls = [], {name: widgets.IntText(0) for name in ("scene", "bits")}
            super().__init__(controls, {"map": Picture("map")}, ["scene"])

        def load(self):
            self.calls.append("load")

        def show(self):
            self.calls.append("show")
            self.pictures["map"].show(np.zeros((8, 8)), (-1.0, 1.0), f"{1 / self.controls['bits'].value:g}")
            return {"bits": self.controls["bits"].value}

    explorer = Counted()
    with explorer.unobserved():
        explorer.controls["bits"].value = 2
    assert explorer.calls == []
    explorer.controls["scene"].value = 1
    explorer.controls["bits"].value = 1
    assert explorer.calls == ["load", "show", "show"]
    assert (explorer.state, explorer.pictures["map"].title.value) == ({"bits": 1}, "<b>1</b>")
    explorer.controls["bits"].value = 0
    assert list(explorer.state) == ["error"]
    assert "ZeroDivisionError" in explorer.message.value, "errors of any kind are seen"
    assert (explorer.chart.value, explorer.report.value, explorer.pictures["map"].title.value) == ("", "", "<b>map</b>")
    assert is_blank(explorer.pictures["map"])


def test_tables_charts_and_errors_show_what_they_are_given():
    table = numbers({"left": {"psnr_db": 30.0, "bits": -1.0}, "right": {"psnr_db": float("nan"), "error": "no <file>"}})
    cells = [re.sub("<.*?>", " ", row).split() for row in table.split("</tr>")]
    assert cells[:2] == [["left", "right"], ["PSNR", "(dB)", "30", "–"]]
    assert cells[2:4] == [["bits", "−1", "–"], ["error", "–", "no", "&lt;file&gt;"]]
    assert "<thead>" not in numbers({"psnr_db": 30.0})

    drawn = chart({"lapped": ([0.45], [29.9])}, x="x", y="y")
    for anchor in ("middle", "end"):  # of the horizontal axis, of the vertical axis
        ticks = re.findall(rf"text-anchor: {anchor};[^>]*>([−\d.]+)</text>", drawn)
        assert len(set(ticks)) == len(ticks) >= 1, "one point"
    assert "nan" not in chart({"a": ([1, 2], [np.nan, 2])}, x="x", y="y").lower()

    picture = Picture("error")
    picture.show_error(np.array([[0.0, 5.0, 50.0, -5.0, np.nan]]), 5.0)
    zero, most, beyond, least, missing = picture.gray[0, :, :3].astype(int).tolist()
    assert max(zero) - min(zero) <= 5, "neutral"
    assert (most, missing) == (beyond, zero)
    assert least != most


def test_the_notebooks_run_in_a_real_kernel(tmp_path, monkeypatch):
    """All explorers one after the other in one kernel: imports are paid for once."""
    nbclient, nbformat, jupytext = (pytest.importorskip(name) for name in ("nbclient", "nbformat", "jupytext"))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    paths = sorted(NOTEBOOKS.glob("explore_*.py"))
    assert len(paths) == 6
    cells = [cell for path in paths for cell in jupytext.read(path).cells if cell.cell_type == "code"]
    shown = [index for index, cell in enumerate(cells) if cell.source.endswith("explorer.widget")]
    assert len(shown) == len(paths)
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "P"}})
    nbclient.NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    for index in shown:
        assert "application/vnd.jupyter.widget-view+json" in notebook.cells[index].outputs[-1]["data"]


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.py")), ids=lambda path: path.stem)
def test_saving_a_notebook_in_jupyterlab_does_not_change_its_text(path, tmp_path):
    jupytext = pytest.importorskip("jupytext", reason="the lab extra is not installed")
    for file in (path, NOTEBOOKS / "jupytext.toml"):
        shutil.copy(file, tmp_path)
    manager = jupytext.TextFileContentsManager(root_dir=str(tmp_path))
    model = manager.get(path.name)
    metadata = model["content"]["metadata"]  # as JupyterLab writes it
    metadata["kernelspec"] = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    metadata["language_info"] = {"name": "python", "version": "3.12.0", "file_extension": ".py"}
    for cell in model["content"]["cells"]:
        cell["metadata"] |= {"execution": {"iopub.status.busy": "now"}, "jupyter": {"source_hidden": False}}
    manager.save(model, path.name)
    assert (tmp_path / path.name).read_text() == path.read_text()
    assert (tmp_path / path.with_suffix(".ipynb").name).exists()
