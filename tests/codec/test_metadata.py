"""Metadata of a file: complete, small, and harmless when damaged."""

import contextlib
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarlab.codec.metadata import DICTIONARY, LIMIT, pack_metadata, scene_fields, scene_metadata, unpack_metadata
from sarlab.errors import BitstreamError, CodecError
from sarlab.scenes.scene import Georeference, Scene

WKT = (
    'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,AUTHORITY["EPSG","7030"]],'
    'AUTHORITY["EPSG","6326"]],PRIMEM["Greenwich",0,AUTHORITY["EPSG","8901"]],UNIT["degree",0.0174532925199433,'
    'AUTHORITY["EPSG","9122"]],AXIS["Latitude",NORTH],AXIS["Longitude",EAST],AUTHORITY["EPSG","4326"]]'
)


def scene(**fields):
    return Scene(np.zeros((1, 2, 2), np.float32), "db", ("VV",), **fields)


def test_everything_comes_back():
    full = scene(
        name="naïve", looks=4.4, spacing=(10.0, 9.87463101111782), acquisition="S1A", simulated=True, credit="someone",
        georeference=Georeference(WKT, (8.983152841195215e-05, 0.0, 5.795211560911857, 0.0, -8.98e-05, 9.1)),
        tags={"a": "1", "ß": '"quoted"'},
    )  # fmt: skip
    fields = scene_fields(unpack_metadata(pack_metadata(scene_metadata(full))))
    again = scene(**fields)
    for name in ("name", "looks", "spacing", "acquisition", "simulated", "credit", "georeference", "tags"):
        assert getattr(again, name) == getattr(full, name), name


def test_a_plain_scene_needs_nothing():
    assert pack_metadata(scene_metadata(scene())) == b""
    assert unpack_metadata(b"") == {}


def test_a_common_coordinate_system_costs_a_few_bytes():
    with_system = scene(georeference=Georeference(WKT, (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)))
    without = scene(georeference=Georeference("", (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)))
    sizes = [len(pack_metadata(scene_metadata(s))) for s in (with_system, without)]
    assert sizes[0] - sizes[1] < 12


def test_the_dictionary_is_frozen():
    assert (len(DICTIONARY), zlib.crc32(DICTIONARY)) == (1897, 1578799545)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=6), children, max_size=4),
    max_leaves=10,
)


@given(
    st.dictionaries(
        st.sampled_from(["name", "looks", "spacing", "tags", "transform", "crs", "simulated", "credit"]), json_values
    )
)
@settings(max_examples=150, deadline=None)
def test_values_of_wrong_types_are_refused_or_right(values):
    values = unpack_metadata(pack_metadata(values))
    try:
        fields = scene_fields(values)
    except BitstreamError:
        return
    scene(**fields)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_damaged_bytes_are_refused(data):
    with contextlib.suppress(BitstreamError):
        assert isinstance(unpack_metadata(data), dict)


def test_bombs_are_not_inflated():
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zdict=DICTIONARY)
    bomb = deflate.compress(b'{"name":"' + b"a" * (64 << 20)) + deflate.flush()
    assert len(bomb) < 100_000
    with pytest.raises(BitstreamError, match="does not end"):
        unpack_metadata(bomb)
    with pytest.raises(CodecError, match="remove some"):
        pack_metadata({"tags": {"a": "b" * (LIMIT + 1)}})
