"""The format as the book describes it: a second decoder reads every file, and files made once stay readable."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import second_decoder
from make_golden import FILES, picked

from sarlab.codec.api import compress, decompress, describe
from sarlab.codec.container import BANDS, MODELS, StreamReader
from sarlab.codec.metadata import KEYS
from sarlab.codec.model_store import model_path
from sarlab.codec.stream import Decoder
from sarlab.scenes.scene import Scene

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.sarl"))


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


@pytest.fixture(scope="module")
def scenes(speckled, amplitudes):
    far = speckled.window(40, 50, 24, 40).data.copy()
    far[:, 10, 10:14] += np.array([60, -80, 150, 30], np.float32)
    gaps = np.concatenate([amplitudes.window(0, 0, 90, 75).data] * 2)
    rows, columns = np.mgrid[:90, :75]
    gaps[0, rows + columns < 60] = 0
    gaps[1] = np.maximum(gaps[1], 1 + (rows + columns) % 2)
    gaps[1, 40:70, 30:] = 255
    gaps[0, 5:20, 60:] = np.nan
    gaps[:, 64:, :64] = np.nan
    noise = np.random.default_rng(1).normal(-10, 6, (3, 64, 96)).astype(np.float32)
    return {
        "part": speckled.window(60, 0, 100, 90), "integers with zeros": replace(amplitudes.window(0, 0, 70, 60), nodata=255.0),
        "flat and missing": Scene(gaps, "amplitude", ("a", "b"), dtype="uint8", nodata=7.0),
        "far outside": Scene(far, "db", ("VV", "VH")), "one": Scene(noise[:1, :1, :1], "db", ("a",)),
        "narrow": Scene(noise[:, :33, :1], "db", ("a", "b", "c")), "low": Scene(noise[:1, :7, :40], "db", ("a",)),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "options", "stated"),
    [
        *(("part", {"codec": codec, "quality": q}, {}) for codec in ("lapped", "factorized", "klt8") for q in (18, 33.37)),
        *((name, {"codec": "lapped", "quality": 40}, {}) for name in ("one", "narrow", "low")),
        ("integers with zeros", {"codec": "klt8", "quality": 40}, {"type": 2, "depth": 8, "nodata": 255.0}),
        ("flat and missing", {"codec": "lapped", "quality": 33}, {"flats": (0, 255)}),
        ("far outside", {"codec": "lapped", "quality": 80}, {}),
        ("part", {"codec": "lapped", "quality": 22, "radiometric": True}, {}),
        ("part", {"max_error_db": 0.7}, {"native": False}),
        ("integers with zeros", {"lossless": True}, {"native": True}),
    ],
)  # fmt: skip
def test_a_second_decoder_agrees(scenes, name, options, stated):
    path = model_path(options.get("codec", "predictive"))
    header, _ = compare(compress(scenes[name], tile=64, **options), path, options.get("radiometric", False))
    assert {key: header[key] for key in stated} == stated
    if name == "part":
        assert (header["names"], header["metadata"]["tags"]) == (["VV", "VH"], {"mission": "none"})


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_files_made_once_stay_readable(path):
    expected = json.loads(path.with_suffix(".json").read_text())
    samples = expected.pop("samples")
    data = path.read_bytes()
    report = json.loads(json.dumps(describe(data)))
    assert {key: report[key] for key in expected} == expected
    _, decoded = compare(data, model_path(report["model"].removesuffix("-1")))
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
