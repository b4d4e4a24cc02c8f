"""Studies of codecs: operating points are told apart, files have the rates that were asked for, pictures are what they decode to."""

import base64
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sarlab.lab.studies import Context
from sarlab.lab.studies import codecs as study
from sarlab.peers import codecs
from sarlab.scenes.catalog import load_split
from sarlab.specs import SceneSpec

SCENES = SceneSpec("bigearthnet")


def grays(text):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("L"))


def test_pictures_differ_from_the_original_as_their_metrics_say(tmp_path, monkeypatch):
    if not codecs["jpeg2000"].available().ok:
        pytest.skip(codecs["jpeg2000"].available().reason)
    monkeypatch.setattr(study, "PICTURE_CODECS", ("jpeg2000", "jpeg", "no such codec"))
    monkeypatch.setattr(study, "PICTURE_RATES", (0.001, 0.5, 2.0))
    table = study.pictures(Context(SCENES, load_split(SCENES), 1, tmp_path / "journal"))
    assert table["reason"].str.contains("cannot reach").sum() == table["picture"].isna().sum() == 2
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


def test_the_protocol_tells_its_operating_points_apart(tmp_path, monkeypatch):
    if not codecs[study.ANCHOR].available().ok:
        pytest.skip("no JPEG 2000 here")

    def evaluated(names, scenes, targets, **options):
        # as rows come back from a table: in another order, values as floats
        rows = pd.DataFrame({"target": t.kind, "target_value": float(t.value)} for t in reversed(targets))
        return rows.assign(codec=names[0], bytes=500, bpp=1.0, pixels=4096, height=64, width=64)

    monkeypatch.setattr(study, "evaluate", evaluated)
    rows = study.protocol(Context(SceneSpec(), None, 1, tmp_path / "journal"))
    found = {name: set(zip(part["target"], part["target_value"], strict=True)) for name, part in rows.groupby("points")}
    named = {"matched": ("psnr", "PSNR_DB"), "between": ("psnr", "BETWEEN_DB"), "rate": ("bpp", "RATES_BPP")}
    expected = {name: {(kind, v) for v in getattr(study, values)} for name, (kind, values) in named.items()}
    grid = codecs[study.ANCHOR].capabilities.quality.grid
    assert found == {**expected, "grid": {("quality", float(quality)) for quality in grid}}
    assert not expected["matched"] & expected["between"]
