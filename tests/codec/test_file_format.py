"""The format as the book describes it: a second decoder reads every file, and files made once stay readable."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import second_decoder
from make_golden import FILES, picked

from sarlab.codec.api import compress, decompress, describe
from sarlab.codec.container import BANDS, MODELS, StreamReader
from sarlab.codec.metadata import KEYS
from sarlab.codec.model_store import model_path
from sarlab.codec.stream import Decoder
from sarlab.scenes.scene import Scene

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.sarl"))
CODECS = ["lapped", "factorized", "klt8"]


def off_db(quantity, one, other):
    """Differences in dB of samples of two decoders, where both are finite and positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = {"db": 1, "amplitude": 20, "intensity": 10}[quantity]
        one, other = (part if quantity == "db" else scale * np.log10(part.astype(float)) for part in (one, other))
    assert (np.isneginf(one) == np.isneginf(other)).all()
    finite = np.isfinite(one) & np.isfinite(other)
    return np.abs(one[finite] - other[finite]).max(initial=0)


def compare(data, path, radiometric=False):
    """Both decoders: masks and integers are the same, samples nearly."""
    header, latent, samples = second_decoder.decode(data, path, KEYS, radiometric)
    with StreamReader(data) as reader:
        decoder = Decoder(reader, model=path)
        stride = decoder.model.stride
        for row in range(header["rows"]):
            for column in range(header["columns"]):
                number = row * header["columns"] + column
                part, _ = decoder._tile((row, column), reader.payload(number))
                top, left = (place * header["tile"] // stride for place in (row, column))
                own = latent[:, :, top : top + part.shape[2], left : left + part.shape[3]]
                assert (own == part).all()
    decoded = decompress(data, model=path, radiometric=radiometric)
    assert (np.isnan(samples) == np.isnan(decoded.data)).all()
    assert off_db(decoded.quantity, samples, decoded.data) < 1e-3
    return header, decoded


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("quality", [18.0, 33.37])
def test_a_second_decoder_agrees(speckled, codec, quality):
    data = compress(speckled.window(60, 0, 100, 90), codec=codec, quality=quality, tile=64)
    header, decoded = compare(data, model_path(codec))
    assert header["names"] == ["VV", "VH"]
    assert header["metadata"]["tags"] == {"mission": "none"}
    assert header["metadata"]["transform"] == [decoded.georeference.transform[i] for i in (0, 2, 5)]


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 7, 40), (3, 33, 1), (1, 64, 96)])
def test_a_second_decoder_agrees_on_any_size(shape):
    scene = Scene(np.random.default_rng(1).normal(-10, 6, shape).astype(np.float32), "db", tuple("abc")[: shape[0]])
    compare(compress(scene, codec="lapped", quality=40, tile=64), model_path("lapped"))


def test_a_second_decoder_agrees_on_integers_with_zeros(amplitudes):
    scene = replace(amplitudes.window(0, 0, 70, 60), nodata=255.0)
    header, decoded = compare(compress(scene, codec="klt8", quality=40, tile=64), model_path("klt8"))
    assert (header["type"], header["depth"], header["nodata"]) == (2, 8, 255.0)
    assert (decoded.data == 0).mean() > 0.3


def test_a_second_decoder_agrees_on_flat_blocks_and_missing_tiles(amplitudes):
    data = np.concatenate([amplitudes.window(0, 0, 90, 75).data] * 2)
    rows, columns = np.mgrid[:90, :75]
    data[0, rows + columns < 60] = 0
    data[1] = np.maximum(data[1], 1 + (rows + columns) % 2)
    data[1, 40:70, 30:] = 255
    data[0, 5:20, 60:] = np.nan
    data[:, 64:, :64] = np.nan
    scene = Scene(data, "amplitude", ("a", "b"), dtype="uint8", nodata=7.0)
    header, decoded = compare(compress(scene, codec="lapped", quality=33, tile=64), model_path("lapped"))
    assert header["flats"] == (0, 255)
    assert (decoded.data[1, 40:64, 32:] == 255).all()


def test_a_second_decoder_agrees_on_values_far_outside(speckled):
    data = speckled.window(40, 50, 24, 40).data.copy()
    data[:, 10, 10:14] += np.array([60, -80, 150, 30], np.float32)
    compare(compress(Scene(data, "db", ("VV", "VH")), codec="lapped", quality=80), model_path("lapped"))


def test_a_second_decoder_agrees_on_corrected_means(speckled):
    data = compress(speckled.window(20, 10, 90, 110), codec="lapped", quality=22, tile=64, radiometric=True)
    compare(data, model_path("lapped"), radiometric=True)


def test_a_second_decoder_agrees_on_exact_files(speckled, amplitudes):
    data = compress(speckled.window(80, 10, 60, 50), max_error_db=0.7, tile=64)
    header, decoded = compare(data, model_path("predictive"))
    worst = np.abs(decoded.data - speckled.window(80, 10, 60, 50).data)
    assert 0.6 < np.nanmax(worst) <= 0.7
    header, decoded = compare(
        compress(amplitudes.window(20, 20, 70, 60), lossless=True, tile=64), model_path("predictive")
    )
    assert header["native"]
    assert (decoded.data == amplitudes.window(20, 20, 70, 60).data).all()


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_files_made_once_stay_readable(path):
    expected = json.loads(path.with_suffix(".json").read_text())
    samples = expected.pop("samples")
    data = path.read_bytes()
    report = json.loads(json.dumps(describe(data)))
    assert {key: report[key] for key in expected} == expected
    _, decoded = compare(data, model_path(report["model"]))
    found = picked(decoded.data)
    assert found[-1] == samples[-1]
    found, samples = (np.array(part[:-1], float) for part in (found, samples))
    assert (np.isnan(found) == np.isnan(samples)).all()
    assert off_db(decoded.quantity, samples, found) < 1e-3


def test_there_is_a_golden_file_of_every_model():
    assert {path.stem for path in GOLDEN} == set(FILES)
    assert {describe(path)["model"] for path in GOLDEN} == set(MODELS)
    assert sum(path.stat().st_size for path in GOLDEN) < 40_000


def test_the_page_lists_the_names_that_have_a_number():
    page = (Path(__file__).parents[2] / "book" / "chapters" / "file_format.md").read_text(encoding="utf-8")
    listed = re.findall(r"`(\w+)`", page[page.index("Names of a map") : page.index("All names are optional")])
    assert tuple(listed) == KEYS
    assert second_decoder.MODELS == MODELS
    assert second_decoder.BANDS == BANDS
