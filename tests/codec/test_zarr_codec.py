"""The codec for Zarr: chunks are compressed files, read one by one through xarray and Dask."""

import numpy as np
import pytest

from sarlab.codec.api import compress, decompress
from sarlab.errors import CodecError
from sarlab.scenes.scene import Scene

zarr = pytest.importorskip("zarr")
xarray = pytest.importorskip("xarray")

from sarlab.codec.zarr_codec import SarlabCodec  # noqa: E402

CUBE = np.random.default_rng(0).normal(-12, 3, (3, 150, 140)).astype(np.float32)
CUBE[1, :20, :30] = np.nan


@pytest.fixture(autouse=True)
def registered():
    zarr.registry.register_codec("sarlab", SarlabCodec)


def create(path, cube, codec, **options):
    options = {"chunks": (1, 64, 140), "fill_value": float("nan"), "dimension_names": ("time", "y", "x"), **options}
    group = zarr.open_group(path, mode="w")
    array = group.create_array("db", shape=cube.shape, dtype=cube.dtype, serializer=codec, compressors=None, **options)
    array[:] = cube
    return array


def test_chunks_are_files_that_dask_reads(tmp_path):
    create(tmp_path / "x.zarr", CUBE, SarlabCodec(quality=34))
    opened = xarray.open_zarr(tmp_path / "x.zarr")["db"]
    assert opened.chunks == ((1, 1, 1), (64, 64, 22), (140,))
    again = opened.compute().values
    assert np.array_equal(np.isnan(again), np.isnan(CUBE))
    # A chunk is what the codec makes of it alone.
    scene = Scene(CUBE[1:2, 64:128], "db", ("band1",))
    assert np.array_equal(again[1:2, 64:128], decompress(compress(scene, quality=34, metadata=False)).data)
    size = sum(f.stat().st_size for f in (tmp_path / "x.zarr" / "db" / "c").rglob("*") if f.is_file())
    assert size < CUBE.nbytes / 5


def test_bound_on_the_error_fill_value_and_integers(tmp_path):
    cube = np.where(np.isnan(CUBE), np.float32(-9999), CUBE)
    cube[2, 3, 3] = np.nan
    array = create(tmp_path / "x.zarr", cube, SarlabCodec(max_error_db=0.5), fill_value=-9999.0, chunks=(3, 70, 70))
    again = array[:]
    assert np.array_equal(again == -9999, cube == -9999)
    assert np.array_equal(np.isnan(again), np.isnan(cube))
    assert np.nanmax(np.abs(again - cube)) <= 0.5 + 1e-5
    numbers = np.random.default_rng(1).integers(1, 400, (1, 64, 64)).astype(np.uint16)
    array = create(tmp_path / "y.zarr", numbers, SarlabCodec(quality=40, quantity="amplitude"), fill_value=0)
    assert array[:].dtype == np.uint16
    assert np.abs(20 * np.log10(array[:] / numbers)).mean() < 0.5


def test_configuration_comes_back_and_is_checked():
    codec = SarlabCodec(quality=31.5, quantity="intensity")
    assert SarlabCodec.from_dict(codec.to_dict()) == codec
    with pytest.raises(CodecError, match="unknown quantity"):
        SarlabCodec(quantity="complex")
    with pytest.raises(CodecError, match="no radar image"):
        zarr.create_array({}, shape=(9,), dtype="float32", serializer=codec, compressors=None)
