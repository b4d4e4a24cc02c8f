"""Metrics place codecs whose quality is known, runs repeat, and no test pixel was trained on."""

import json
from pathlib import Path

import numpy as np
import pytest

from sarlab.cli import main
from sarlab.metrics import metrics, score


def describes(name):
    """A column that describes an image and compares nothing: shares of classes, targets, looks, which smoothing alone raises."""
    return name.startswith("share_") or name == "targets" or (name.startswith("enl") and "ratio" not in name)


#: Columns that see one side only: nothing invents no target, and an error that is the speckle itself looks like speckle.
ONE_SIDED = ("targets_invented", "residual_spectrum_error_db")


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
    found = score(speckled, speckled.copy(), clip=(-25.0, 5.0))
    for name, value in found.items():
        if np.isnan(value) or describes(name):
            continue
        wanted = {"zero": 0.0, "one": 1.0}.get(metrics[name].better)
        if wanted is not None:
            assert value == pytest.approx(wanted, abs=1e-6), name
        elif metrics[name].better == "higher":
            best = metrics[name].valid_range[1]
            assert value == best or value == pytest.approx(best, abs=1e-6) or value > 90, name


def test_a_null_codec_is_worse_than_every_other_in_every_metric_of_fidelity(speckled):
    """A constant at the mean against mild and strong noise: no measure of fidelity may prefer nothing to something."""
    rng = np.random.default_rng(0)
    mild = speckled + rng.normal(0, 0.5, speckled.shape).astype(np.float32)
    null = np.full_like(speckled, speckled.mean())
    better, worse = score(speckled, mild, clip=(-25.0, 5.0)), score(speckled, null, clip=(-25.0, 5.0))
    compared = 0
    for name, value in better.items():
        direction = metrics[name].better
        if np.isnan(value) or np.isnan(worse[name]) or describes(name) or name in ONE_SIDED:
            continue
        if direction == "higher":
            assert value >= worse[name], name
        elif direction == "lower" or direction == "zero":
            assert abs(value) <= abs(worse[name]) + 0.05, name
        compared += 1
    assert compared > 20


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
    rows = (folder / "rows.csv").read_text().splitlines()
    at = rows[0].split(",").index("psnr_db")
    changed = [rows[0]] + [",".join([*line.split(",")[:at], "40", *line.split(",")[at + 1 :]]) for line in rows[1:]]
    (folder / "rows.csv").write_text("\n".join(changed))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["rows.csv"]["bytes"] = (folder / "rows.csv").stat().st_size
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert main(["reproduce", str(folder)]) == 1
    manifest["data"]["digest"] = "0" * 64
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert main(["reproduce", str(folder)]) == 1
    assert "are not those" in capsys.readouterr().err
