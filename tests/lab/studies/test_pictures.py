"""The study of pictures: files have the rates that were asked for, pictures are what they decode to."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from sarlab.lab.studies import Context
from sarlab.lab.studies import pictures as study
from sarlab.peers import codecs
from sarlab.scenes.catalog import load_split
from sarlab.specs import SceneSpec

SCENES = SceneSpec("bigearthnet")


def grays(text):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("L"))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    if not codecs["jpeg2000"].available().ok:
        pytest.skip(codecs["jpeg2000"].available().reason)
    patch = pytest.MonkeyPatch()
    patch.setattr(study, "CODECS", ("jpeg2000", "jpeg", "no such codec"))
    patch.setattr(study, "RATES_BPP", (0.001, 0.5, 2.0))
    found = study.pictures(Context(SCENES, load_split(SCENES), 1, tmp_path_factory.mktemp("runs")))
    patch.undo()
    return found


def test_files_have_the_rates_that_were_asked_for(table):
    made = table.dropna(subset=["bytes"])
    assert set(made["codec"]) == {"jpeg2000", "jpeg"}
    assert made["bpp"].to_numpy() == pytest.approx(made["target_value"].to_numpy(), rel=0.02)
    assert (8 * made["bytes"] / (made["height"] * made["width"])).to_numpy() == pytest.approx(made["bpp"].to_numpy())
    assert (made["measured_cr"] * made["bpp"]).to_numpy() == pytest.approx(made["native_bits"].to_numpy())


def test_a_rate_out_of_reach_is_a_row_with_the_reason(table):
    missed = table[table["target_value"] == 0.001]
    assert len(missed) == 2
    assert missed["reason"].str.contains("cannot reach").all()
    assert missed["picture"].isna().all()


def test_pictures_differ_from_the_original_as_their_metrics_say(table):
    scene = load_split(SCENES).test[0].band(0)
    original = table[table["codec"] == "original"].iloc[0]
    clip = (original["clip_low"], original["clip_high"])
    rows, columns = (slice(start, start + study.DETAIL) for start in (original["top"], original["left"]))
    recorded = np.clip(scene.data[0][rows, columns], *clip)
    step = (clip[1] - clip[0]) / 255
    shown = clip[0] + step * grays(original["picture"])
    assert np.abs(shown - recorded).max() <= step / 2 + 1e-5
    errors = []
    for row in table.dropna(subset=["bytes"]).itertuples():
        error = step * (grays(row.picture).astype(float) - grays(original["picture"]))
        errors.append((row.psnr_db, 20 * np.log10((clip[1] - clip[0]) / np.sqrt((error**2).mean()))))
    measured, seen = np.array(errors).T
    assert np.abs(measured - seen).max() < 1.5, "a detail of the scene is about as good as all of it"


def test_nodata_is_black():
    assert grays(study.picture(np.array([[np.nan, -5.0, 9.0]]), (-10.0, 0.0))).tolist() == [[0, 128, 255]]
