"""The public face: names, examples of the docstrings, and the tutorial."""

import doctest
import re
from pathlib import Path

import matplotlib.pyplot
import numpy as np
import pandas as pd
import pytest

import sarlab
from sarlab.errors import PlanError, ResultsError, SceneError
from sarlab.lab import experiment
from sarlab.models.autoencoders import load_model
from sarlab.scenes.catalog import load_split
from sarlab.scenes.radiometry import from_db
from sarlab.scenes.writers import write_geotiff
from sarlab.specs import ModelSpec, QuantizerSpec, RunSpec, SceneSpec, TrainSpec

ROOT = Path(__file__).resolve().parents[1]
FUNCTIONS = [name for name in sarlab.__all__ if name not in ("__version__", "plot")]
PLOTS = ["plot.rate_distortion", "plot.pictures"]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Examples and tutorial write files into the current folder, and draw without a screen."""
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    yield
    matplotlib.pyplot.close("all")


@pytest.fixture
def scene():
    return sarlab.scene("ben-33UUP-37-88")


@pytest.fixture(scope="module")
def klt():
    return sarlab.train("klt", latent_channels=4)


def test_a_dozen_names_are_listed_and_found():
    assert dir(sarlab) == sorted(sarlab.__all__)
    assert len(dir(sarlab)) == 12
    assert all(getattr(sarlab, name) for name in dir(sarlab))
    with pytest.raises(AttributeError, match="no attribute 'compres'"):
        sarlab.compres  # noqa: B018


@pytest.mark.parametrize("name", FUNCTIONS + PLOTS)
def test_examples_of_docstrings_hold(name):
    found = sarlab
    for part in name.split("."):
        found = getattr(found, part)
    (test,) = (test for test in doctest.DocTestFinder(recurse=False).find(found, name, globs={}) if test.examples)
    report = []
    doctest.DocTestRunner(optionflags=FLAGS).run(test, out=report.append)
    assert not report, "".join(report)


def test_the_book_documents_every_name():
    page = (ROOT / "book" / "api" / "index.md").read_text()
    assert re.findall(r"^\.\. auto\w+:: sarlab\.(\S+)$", page, re.MULTILINE) == sorted(
        FUNCTIONS + PLOTS, key=lambda name: page.index(f"sarlab.{name}\n")
    )


def test_numbers_are_those_of_an_experiment(tmp_path, scene):
    write_geotiff(scene.band("VV"), "scene.tif")
    settings = {"patch_size": 64, "batch_size": 2}
    model = ModelSpec("residual", latent_channels=4, init="klt", width=8)
    train = TrainSpec(steps=3, **settings)
    spec = RunSpec(SceneSpec("scene.tif"), model, QuantizerSpec("affine", 5), train, seed=5)
    rows = experiment.run(spec, tmp_path / "run", device="cpu").rows.set_index("scene")
    network = sarlab.train("residual", latent_channels=4, steps=3, scenes="scene.tif", seed=5, width=8, **settings)
    for block in load_split(spec.scenes).test:
        coded = sarlab.quantize(network, block, bits=5)
        scores = sarlab.score(block, coded.scene)
        theirs = rows.loc[block.name, ["bpp", "coded_bpp", "latent_entropy", *scores.index]].to_numpy(float)
        np.testing.assert_allclose([coded.bits_per_pixel, coded.coded_bpp, coded.entropy, *scores], theirs, rtol=1e-6)


def test_bands_are_averaged_and_the_quantity_comes_back(scene, klt):
    amplitude = from_db(scene.with_data(np.where(np.eye(360, 240) > 0, np.nan, scene.data)), "amplitude")
    coded = sarlab.quantize(klt, amplitude)
    assert coded.scene.quantity == "amplitude"
    assert np.array_equal(coded.scene.valid, amplitude.valid)
    single = [sarlab.quantize(klt, amplitude.band(band)) for band in scene.bands]
    assert coded.bits_per_pixel == pytest.approx(np.mean([one.bits_per_pixel for one in single]))
    scores = [sarlab.score(amplitude.band(one.scene.bands[0]), one.scene) for one in single]
    pd.testing.assert_series_equal(sarlab.score(amplitude, coded.scene), sum(scores) / 2)
    plain = sarlab.quantize(klt, scene, "float32", 32)
    assert np.isnan([plain.coded_bpp, plain.entropy]).all()


def test_a_network_is_trained_on_given_scenes_and_saved(tmp_path, scene, klt):
    network = sarlab.train("klt", latent_channels=4, scenes=[scene])
    assert len(network.latents) == 2
    network.save(tmp_path / "klt.safetensors")
    loaded = load_model(tmp_path / "klt.safetensors")
    assert all((loaded.model.state_dict()[k] == v.cpu()).all() for k, v in network.network.state_dict().items())
    assert set(loaded.normalizers) == {"VV", "VH"}
    # The KLT of the scene itself is better on it than that of others.
    own, other = (sarlab.quantize(net, scene).scene for net in (network, klt))
    assert sarlab.score(scene, own)["psnr_db"] > sarlab.score(scene, other)["psnr_db"]


def test_impossible_settings_are_refused():
    with pytest.raises(PlanError, match="unknown key 'stepz'"):
        sarlab.train(stepz=3)
    with pytest.raises(PlanError, match="nested"):
        sarlab.train(curve="nested", first_channels=32)
    with pytest.raises(SceneError, match=r"my\.tif: no such file"):
        sarlab.compress("my.tif")


def test_a_line_per_codec_scene_and_band():
    rows = pd.DataFrame({"codec": ["a", "a", "b", "b"], "bpp": [1, 0.5, 1, 0.5], "ssim": [0.9, 0.8, 0.7, 0.6]})
    both = pd.concat([rows.assign(scene="one"), rows.assign(scene="two")], ignore_index=True)
    lines = [line for line in sarlab.plot.rate_distortion(both, "ssim").lines if len(line.get_xdata())]
    assert sorted(tuple(line.get_ydata()) for line in lines) == [(0.6, 0.7)] * 2 + [(0.8, 0.9)] * 2
    with pytest.raises(ResultsError, match="psnr_db"):
        sarlab.plot.rate_distortion(rows)


def test_the_book_executes_the_tutorial(built):
    html, _ = built
    page = (html / "tutorial.html").read_text(encoding="utf-8")
    article = page[page.index("<article") : page.index("</article>")]
    assert [bool(alt) for alt in re.findall(r'<img alt="([^"]*)" src="_images/', article)] == [True, True]
    assert re.findall(r"<th>(int\d)</th>", article) == ["int8", "int6", "int5", "int4", "int3", "int2"]
    assert re.search(r"\d+ bytes, 0\.(29|30|31) bits per pixel", article)
