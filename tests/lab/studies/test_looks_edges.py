"""ENL and EPI on scenes whose looks are known: every variant against the gamma law, its windows on a map."""

import numpy as np
import pandas as pd
import pytest

from sarlab.lab.inputs import Input
from sarlab.lab.studies import looks_edges as study
from sarlab.scenes.scene import Scene

CLIP, LOOKS = (-25.0, 5.0), 4.4
AUTOMATIC = ["automatic", *(f"automatic {side}" for side in study.SIDES)]


@pytest.fixture(scope="module")
def item():
    """Two halves of 9 dB contrast with speckle of 4.4 looks."""
    clean = np.where(np.arange(288) < 144, -15.0, -6.0) * np.ones((256, 1))
    recorded = clean + 10 * np.log10(np.random.default_rng(0).gamma(LOOKS, 1 / LOOKS, clean.shape))
    scene = Scene(recorded[None].astype(np.float32), "db", ("VV",), name="halves", looks=LOOKS, simulated=True)
    return Input(scene, CLIP, clean_db=clean.astype(np.float32))


@pytest.fixture(scope="module")
def table(item):
    patch = pytest.MonkeyPatch()
    patch.setattr(study, "CODECS", ("jpeg2000",))
    rows = pd.DataFrame(study.band_rows(item)).set_index(["state", "measure", "variant"])
    patch.undo()
    return rows


def test_every_variant_of_enl_finds_the_looks_of_gamma_speckle(table):
    looks = table.loc["recorded", "enl"]
    assert (looks["truth"] == LOOKS).all()
    for name in ["known", "by hand", *AUTOMATIC[:4], "own windows", "mode", "log-cumulants"]:
        assert looks.loc[name, "value"] == pytest.approx(LOOKS, rel=0.06), name
        assert looks.loc[name, "low"] <= looks.loc[name, "value"] <= looks.loc[name, "high"]
    # blocks of 81 samples: the ratio of the moments is skewed, and its mode lies below
    assert looks.loc["local statistics", "value"] == pytest.approx(LOOKS, rel=0.12)
    assert looks.loc["by hand", "side"] == 96


def test_a_scene_without_speckle_has_infinite_looks(table):
    looks = table.loc["clean", "enl"]
    assert np.isinf(looks["truth"]).all()
    assert looks.loc["known", "reason"].endswith("infinite")
    assert looks.loc[["known", "by hand", "automatic"], "value"].isna().all()


def test_edges_of_a_scene_compared_with_itself_are_perfect(table):
    for state, against in (("recorded", ""), ("clean", "_clean")):
        rows = table.loc[state, "epi"]
        exact = rows[rows["truth"] == 1]
        assert {name.endswith("_clean") for name in exact.index} == {against == "_clean"}
        assert exact["value"].to_numpy() == pytest.approx(1)
        assert (exact["floor"] < 1).all()


def test_despeckling_raises_looks_and_loses_the_waveform(table):
    enl, epi = (table.xs(measure, level="measure")["value"] for measure in ("enl", "epi"))
    for state in ("lee", "jpeg2000"):
        assert enl[state, "known"] > 1.5 * LOOKS
        assert 0 < epi[state, "epi_sattar"] < 1
        assert epi[state, "epi_gradient_ratio"] < 1
