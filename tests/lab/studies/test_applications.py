"""The study of applications: change detection in closed form, second dates, and the rows of small scenes."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import f

from sarlab.lab.inputs import Input
from sarlab.lab.studies import Context
from sarlab.lab.studies import applications as study
from sarlab.peers import codecs
from sarlab.scenes.catalog import load_split
from sarlab.scenes.scene import Scene
from sarlab.specs import SceneSpec

CLIP = (-25.0, 5.0)


def test_false_alarms_of_pure_speckle_follow_the_f_distribution():
    """The ratio of two L-look intensities has the distribution F(2L, 2L), a change shifts its logarithm."""
    looks, rng = 16, np.random.default_rng(0)
    first, second = (10 * np.log10(rng.gamma(looks, 1 / looks, (600, 600))) for _ in range(2))
    change = study.known_changes(first.shape)
    ratio = f(2 * looks, 2 * looks)

    def beyond(threshold, shift):
        high, low = 10 ** ((threshold - shift) / 10), 10 ** ((-threshold - shift) / 10)
        return ratio.sf(high) + ratio.cdf(low)

    threshold = brentq(lambda t: beyond(t, study.CHANGE_DB) - study.DETECTED, 0.01, 10)
    found = study.false_alarms(first, second + change, change != 0, change == 0, side=1)
    assert found == pytest.approx(beyond(threshold, 0), rel=0.02)


def test_squares_are_changed_both_ways_and_equal_dates_give_no_false_alarm():
    change = study.known_changes((256, 256))
    assert sorted(np.unique(change)) == [-study.CHANGE_DB, 0, study.CHANGE_DB]
    assert (change != 0).mean() == pytest.approx((study.SQUARE / study.SPACING) ** 2)
    assert change.sum() == 0
    image = np.random.default_rng(1).normal(-10, 3, (256, 256))
    dates = study.Dates.of(item("a", image), item("b", image))
    found = dates.columns(image, dates.second.data[0])
    assert found == {"change_false_alarms": 0, "change_false_alarms_added": 0, "change_pair": "second date"}
    # constant images know nothing: at any threshold that finds the changes, all the rest is found too
    constant = np.full(image.shape, -10.0)
    assert dates.columns(constant, constant)["change_false_alarms"] == 1


def item(acquisition, db, place="here", band="VV"):
    data = np.asarray(db, np.float32)[None]
    scene = Scene(data, "db", (band,), name=acquisition, acquisition=acquisition, place=place, looks=4.4)
    return Input(scene, CLIP)


def test_second_dates_are_other_acquisitions_of_the_same_ground():
    rng = np.random.default_rng(2)
    ground = np.repeat(np.repeat(rng.normal(-12, 4, (6, 6)), 16, axis=0), 16, axis=1)
    a, b, c = (item(name, ground + rng.normal(0, 2, ground.shape)) for name in "abc")
    alone = [item("d", ground, "there"), item("e", ground, band="VH"), item("f", ground[:50]), item("g", ground, "")]
    assert study.second_dates([a, b, c, *alone]) == {a: b, b: c, c: a}
    elsewhere = item("b", np.rot90(ground))
    assert study.second_dates([a, elsewhere]) == {}
    assert study.likeness(a.db, b.db) > 0.8 > 0.3 > study.likeness(a.db, elsewhere.db)
    assert study.likeness(a.db, 3 - 2 * a.db) == pytest.approx(-1)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    if not codecs["jpeg2000"].available().ok:
        pytest.skip(codecs["jpeg2000"].available().reason)
    split = load_split(SceneSpec("simulated-l4.4"))
    first = split.test[0].window(0, 0, 160, 192)
    scenes = [replace(split.test[i].window(0, 0, 160, 192), place="here") for i in range(2)]
    scenes[1] = replace(scenes[1], data=first.data + np.float32(0.5))
    few = replace(split, train=split.train[:1], test=tuple(scenes), clean={}, digest="")
    patch, measured = pytest.MonkeyPatch(), []
    patch.setattr(study, "CODECS", ("jpeg2000",))
    patch.setattr(study, "RATES_BPP", (0.5, 4.0))
    rows_of = study.job_rows

    def interrupted(job):
        measured.append(job)
        if len(measured) == 3:
            raise KeyboardInterrupt
        return rows_of(job)

    patch.setattr(study, "job_rows", interrupted)
    context = Context(SceneSpec("simulated-l4.4"), few, 1, tmp_path_factory.mktemp("runs") / "journal")
    with pytest.raises(KeyboardInterrupt):
        study.applications(context)
    found = study.applications(context)
    patch.undo()
    assert len(measured) == 5, "four jobs, of which the third is done again"
    return found


def test_more_bits_bring_every_application_nearer_to_the_original(table):
    assert set(table.loc[table["bytes"].isna(), "codec"]) == {"original", "redraw", "second date"}
    assert set(table["change_pair"].dropna()) == {"second date"}
    low, high = (table[table["target_value"] == rate].set_index("scene") for rate in (0.5, 4.0))
    original = table[table["codec"] == "original"].set_index("scene")
    for name in (name for name in study.METRICS if name.startswith(("iou", "cfar_kept", "texture", "field"))):
        perfect = original[name]
        assert perfect.to_numpy() == pytest.approx(float(name.startswith(("iou", "cfar"))), abs=1e-12)
        assert ((high[name] - perfect).abs() <= (low[name] - perfect).abs() + 1e-9).all(), name
    assert (original["change_false_alarms_added"] == 0).all()


def test_a_second_date_without_speckle_changes_is_natural_down_to_its_gain(table):
    """The dates differ by 0.5 dB everywhere and in nothing else."""
    second = table[table["codec"] == "second date"]
    assert second["field_mean_error_db"].to_numpy() == pytest.approx(0.5, abs=1e-4)
    assert second["field_variance_error"].to_numpy() == pytest.approx(0, abs=1e-4)
    redraw = table[table["codec"] == "redraw"]
    assert (redraw["iou_water"] < 1).all()
    assert (redraw["psnr_db"] < 25).all()
