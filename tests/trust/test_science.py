"""Metrics place codecs whose quality is known, runs repeat, and no test pixel was trained on."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sarlab.cli import main
from sarlab.metrics import metrics, score

CLIP = (-25.0, 5.0)
#: Columns that describe an image and compare nothing: shares of classes, targets, looks, which smoothing alone raises.
DESCRIBING = [name for name in metrics if name.startswith(("share_", "enl", "water_")) or name == "targets"]
COMPARING = [name for name in metrics if name not in DESCRIBING or name == "enl_ratio"]
#: Columns that see one side only: nothing invents no target, and an error that is the speckle itself looks like speckle.
ONE_SIDED = ("targets_invented", "residual_spectrum_error_db")
#: Value of an equal image, by the direction in which a metric is better.
PERFECT = {"zero": 0.0, "lower": 0.0, "one": 1.0}


@pytest.fixture(scope="module")
def speckled():
    """Speckle of 4.4 looks in dB on four fields with an edge between each two and a few targets: (256, 256)."""
    rng = np.random.default_rng(5)
    level = np.kron([[-18.0, -12.0], [-9.0, -15.0]], np.ones((128, 128)))
    image = level + 10 * np.log10(rng.gamma(4.4, 1 / 4.4, level.shape))
    for row, column in ((40, 60), (90, 200), (180, 70), (200, 190)):
        image[row, column] = 12.0
    return image.astype(np.float32)


def test_an_identity_codec_is_perfect_in_every_metric(speckled):
    found = score(speckled, speckled.copy(), clip=CLIP, looks=4.4, columns=COMPARING)
    for name, value in found.items():
        better, most = metrics[name].better, metrics[name].valid_range[1]
        if not (np.isnan(value) or name.endswith(("_floor", "whiteness"))):
            wanted = PERFECT.get(better, most)
            assert value == wanted or value == pytest.approx(wanted, abs=1e-6) or (better == "higher" and value > 90), (
                name
            )


def test_a_null_codec_is_worse_than_every_other_in_every_metric_of_fidelity(speckled):
    """A constant at the mean against mild noise: no measure of fidelity may prefer nothing to something."""
    mild = speckled + np.random.default_rng(0).normal(0, 0.5, speckled.shape).astype(np.float32)
    null = np.full_like(speckled, speckled.mean())
    default = [name for name in score(speckled, mild, clip=CLIP) if name in COMPARING and name not in ONE_SIDED]
    better, worse = (score(speckled, image, clip=CLIP, columns=default) for image in (mild, null))
    defined = [name for name in default if not np.isnan([better[name], worse[name]]).any()]
    assert len(defined) > 20
    for name in defined:
        match metrics[name].better:
            case "higher":
                assert better[name] >= worse[name], name
            case "lower" | "zero":
                assert abs(better[name]) <= abs(worse[name]) + 0.05, name


@pytest.mark.slow
def test_a_run_is_reproduced_from_its_manifest(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = (Path(__file__).parent / "tiny.toml").read_text()
    (tmp_path / "tiny.toml").write_text(plan.replace('name = "a"', 'name = "a"\nseed = [0, 1]'))
    assert main(["sweep", "tiny.toml", "--engine", "inline", "--no-notebook"]) == 0
    folder = next((tmp_path / "runs").glob("plain*s0*"))
    capsys.readouterr()
    assert main(["reproduce", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["largest_db"] < 1e-3
    spread = {row["metric"]: row["spread"] for row in found["metrics"]}
    assert spread["psnr_db"] > 0, "two seeds differ"
    rows = pd.read_csv(folder / "rows.csv", dtype=str, keep_default_na=False)
    rows.assign(psnr_db="40").to_csv(folder / "rows.csv", index=False)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["rows.csv"]["bytes"] = (folder / "rows.csv").stat().st_size
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert main(["reproduce", str(folder)]) == 1
    manifest["data"]["digest"] = "0" * 64
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert main(["reproduce", str(folder)]) == 1
    assert "are not those" in capsys.readouterr().err
