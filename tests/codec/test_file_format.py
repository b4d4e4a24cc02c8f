"""The format as the book describes it: a second decoder reads every file, and files made once stay readable."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mpmath")
sys.path.insert(0, str(Path(__file__).parent))
import second_decoder

from sarlab.codec.api import compress, decompress, describe
from sarlab.codec.container import DICTIONARY
from sarlab.codec.model_store import model_path
from sarlab.scenes.scene import Scene

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.sarl"))


def compare(data, path):
    header, metadata, samples = second_decoder.decode(data, path, DICTIONARY)
    decoded = decompress(data, model=path)
    assert (np.isnan(samples) == np.isnan(decoded.data)).all()
    with np.errstate(divide="ignore", invalid="ignore"):
        dbs = [a if header["quantity"] == 0 else 10 * np.log10(a) for a in (samples, decoded.data.astype(float))]
        scale = 2 if header["quantity"] == 1 else 1
        off = np.abs(dbs[0] - dbs[1])[np.isfinite(dbs[0]) & np.isfinite(dbs[1])] * scale
    assert off.max(initial=0) < 1e-3
    assert (np.isneginf(dbs[0]) == np.isneginf(dbs[1])).all()
    return header, metadata, decoded


@pytest.mark.parametrize("codec", ["factorized", "klt8", "hyper"])
@pytest.mark.parametrize("quality", [18.0, 33.37])
def test_a_second_decoder_agrees(speckled, codec, quality):
    scene = speckled.window(60, 0, 100, 90)
    data = compress(scene, codec=codec, quality=quality, tile=64)
    header, metadata, decoded = compare(data, model_path(codec))
    assert header["names"] == ["VV", "VH"]
    assert metadata["tags"] == {"mission": "none"}
    assert tuple(metadata["transform"]) == decoded.georeference.transform


def test_a_second_decoder_agrees_on_integers_with_zeros(amplitudes):
    scene = replace(amplitudes.window(0, 0, 70, 60), nodata=255.0)
    data = compress(scene, codec="klt8", quality=40, tile=64)
    header, _, decoded = compare(data, model_path("klt8"))
    assert (header["type"], header["depth"], header["nodata"]) == (2, 8, 255.0)
    assert (decoded.data == 0).mean() > 0.3


@pytest.mark.parametrize("codec", ["factorized", "hyper"])
def test_a_second_decoder_agrees_on_flat_blocks(amplitudes, codec):
    data = np.concatenate([amplitudes.window(0, 0, 90, 75).data] * 2)
    rows, columns = np.mgrid[:90, :75]
    data[0, rows + columns < 60] = 0
    data[1] = np.maximum(data[1], 1 + (rows + columns) % 2)
    data[1, 40:70, 30:] = 255
    data[0, 5:20, 60:] = np.nan
    scene = Scene(data, "amplitude", ("a", "b"), dtype="uint8", nodata=7.0)
    header, _, decoded = compare(compress(scene, codec=codec, quality=33, tile=64), model_path(codec))
    assert header["flats"] == [0, 255]
    assert (decoded.data[1, 40:64, 32:] == 255).all()


def test_a_second_decoder_agrees_on_values_far_outside(speckled):
    data = speckled.window(40, 50, 24, 40).data.copy()
    data[:, 10, 10:14] += np.array([60, -80, 150, 30], np.float32)
    compare(compress(Scene(data, "db", ("VV", "VH")), codec="klt8", quality=80), model_path("klt8"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_files_made_once_stay_readable(path):
    expected = json.loads(path.with_suffix(".json").read_text())
    data = path.read_bytes()
    report = describe(data)
    assert {key: report[key] for key in expected["info"]} == expected["info"]
    samples = np.load(path.with_suffix(".npy"), allow_pickle=False)
    decoded = decompress(data)
    assert (np.isnan(decoded.data) == np.isnan(samples)).all()
    finite = np.isfinite(samples)
    if decoded.quantity == "db":
        assert np.abs(decoded.data - samples)[finite].max() < 1e-3
    else:
        assert np.abs(decoded.data / samples - 1)[finite & (samples > 0)].max() < 3e-4
    assert (decoded.data[finite & (samples == 0)] == 0).all()


def test_there_is_a_golden_file_of_every_version_and_model():
    seen = {(describe(path)["format_version"], describe(path)["model"]) for path in GOLDEN}
    assert seen >= {(1, "factorized-1"), (1, "klt8-1"), (1, "hyper-3")}
