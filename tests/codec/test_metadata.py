"""Names, numbers and metadata as bytes: every value comes back exactly, and damaged input is refused."""

import math
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from targets import rich

from sarlab.codec import metadata
from sarlab.codec.entropy import MOST_VALUES, Cursor, varint
from sarlab.codec.metadata import pack_metadata, scene_fields, scene_metadata, unpack_metadata
from sarlab.errors import BitstreamError, CodecError
from sarlab.scenes.rasters import Profile
from sarlab.scenes.scene import Georeference, Scene


def scene(**fields):
    return Scene(np.zeros((1, 2, 2), np.float32), "db", ("VV",), **fields)


@pytest.mark.parametrize("code", [4326, 32633, 3857, 3031])
def test_a_system_with_a_code_takes_few_bytes(code):
    crs = pytest.importorskip("rasterio").crs.CRS.from_epsg(code).to_wkt()
    full = scene(georeference=Georeference(crs, (10.0, 0.0, 601240.0, 0.0, -10.0, 5328760.0)))
    packed = pack_metadata(scene_metadata(full))
    assert len(packed[0]) <= 20
    assert scene_fields(unpack_metadata(*packed), full.shape)["georeference"] == full.georeference
    as_in_geotiff = Georeference(crs.replace(',AUTHORITY["EPSG","8901"]', ""), full.georeference.transform)
    assert pack_metadata(scene_metadata(scene(georeference=as_in_geotiff))) == packed
    other = scene(georeference=Georeference(crs.replace("EPSG", "epsg", 1), full.georeference.transform))
    assert scene_fields(scene_metadata(other), other.shape)["georeference"] == other.georeference


counts = st.integers(-(10**6), 10**6) | st.floats(-1e3, 1e3)
square = st.builds(
    lambda size, *place: (size, 0.0, place[0] * size, 0.0, -size, place[1] * size),
    st.sampled_from([*metadata.PIXELS, 10.0, 1 / 3]), counts, counts,
)  # fmt: skip


@given(square | st.tuples(*[st.floats() | st.sampled_from([0.0, -0.0, 10.0])] * 6))
@example((8.983152841195215e-05, 0.0, 0.0, 0.0, -8.983152841195215e-05, -0.0))
def test_any_transform_comes_back_to_the_bit(transform):
    full = scene(georeference=Georeference("", transform))
    again = scene_fields(unpack_metadata(*pack_metadata(scene_metadata(full))), full.shape)["georeference"].transform
    assert np.array(again).tobytes() == np.array(transform).tobytes() or any(map(math.isnan, transform))
    assert np.array_equal(again, transform, equal_nan=True)


@pytest.mark.parametrize("name", ["scene", "Ghana_53713_S1Hand", "S1A_IW_GRDH_1SDV_20200102T030405"])
def test_everything_else_of_a_scene_comes_back(name):
    full = replace(rich(), name=name, acquisition="", time="")
    numbered = tuple((*point[:5], str(number)) for number, point in enumerate(full.georeference.gcps, 1))
    for changes in (
        {"acquisition": "pass", "time": "2020-01-01"}, {"georeference": replace(full.georeference, gcps=numbered)},
        {"profile": Profile(), "tags": {}}, {"profile": replace(full.profile, descriptions=("", ""), mask="alpha")}, {},
    ):  # fmt: skip
        one = replace(full, **changes)
        found = scene_fields(unpack_metadata(*pack_metadata(scene_metadata(one))), full.shape)
        assert {key: getattr(replace(full, **found), key) for key in found}.items() <= vars(one).items()
    assert not {"tags", "band_tags"} & set(scene_metadata(full, tags=False))
    assert set(scene_metadata(scene(name="Ghana_53713_S1Hand", acquisition="Ghana"))) == {"name"}


@pytest.mark.parametrize(
    "values",
    [{"scales": [1.0], "offsets": [1.0, 1.0]}, {"scales": [0.0, 1.0], "offsets": [1.0, 1.0]}, {"scales": [1.0, 1.0]},
     {"scales": [math.inf, 1.0], "offsets": [1.0, 1.0]}, {"mask": "x"}, {"units": ["m"]}, {"descriptions": ["a"]},
     {"band_tags": [[3, "", {}]]}, {"band_tags": [[-1, "", {}]]}, {"gcps": [[1, 2, 3, 4]]}, {"crs": -1}, {"crs": None},
     {"gcps": [[1, 2, 3, 4, 5]], "gcps_ids": ["a", "b"]}, {"spacing": [1.0]}, {"tags": {"a": 1}}, {"name": 1},
     {"looks": "x"}, {"simulated": 1}, {"rpc": {"a": 1.0}}, {"transform": [1.0, 2.0]}, {"transform": [99, [1, 2]]}],
    ids=str,
)  # fmt: skip
def test_fields_of_a_wrong_type_are_refused(values):
    with pytest.raises(BitstreamError):
        scene_fields(values, (2, 2, 2))
    assert scene_fields({"spacing": [10, 20.5]}, (2, 2, 2))["spacing"] == (10.0, 20.5)


@given(st.floats(allow_nan=False) | st.decimals(-(10**8), 10**8, places=4).map(float))
def test_numbers_come_back_to_the_bit_in_nine_bytes_at_most(value):
    data = metadata.pack_value(value)
    again = metadata.read_value(Cursor(data))
    assert (again, math.copysign(1, again), type(again)) == (value, math.copysign(1, value), float)
    assert len(data) <= 9
    assert [len(metadata.pack_value(number)) for number in (10.0, 0.1, 1e-10)] == [2, 1, 1]
    for whole in (2**64 - 1, 1 - 2**64):
        assert metadata.read_value(Cursor(metadata.pack_value(whole))) == whole


def test_bombs_are_not_inflated():
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9)
    bomb = deflate.compress(b"\x1e\x05" + b"a" * (64 << 20)) + deflate.flush()
    assert len(bomb) < 100_000
    with pytest.raises(BitstreamError, match="wrong length"):
        unpack_metadata(bomb, True)
    deep = [[]]
    for _ in range(metadata.METADATA_DEPTH - 2):
        deep = [deep]
    assert unpack_metadata(*pack_metadata({"tags": deep[0]})) == {"tags": deep[0]}
    for tags in ({"a": "b" * (metadata.METADATA_LIMIT + 1)}, [None] * (MOST_VALUES + 1), [deep]):
        with pytest.raises(CodecError, match="remove some"):
            pack_metadata({"tags": tags})
    many = b"\x1e\x08" + varint(13 + 16 * (MOST_VALUES + 1)) + bytes([15]) * (MOST_VALUES + 1)
    with pytest.raises(BitstreamError, match="too many"):
        unpack_metadata(many, False)
    for value in (2**64, np.float32(1), b"bytes"):
        with pytest.raises(CodecError, match="metadata holds"):
            pack_metadata({"a": value})
