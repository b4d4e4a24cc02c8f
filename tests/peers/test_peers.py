"""Classical codecs: what goes in comes back, within what each promises, whatever the scene looks like."""

import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sarlab.errors import BitstreamError, CodecError
from sarlab.peers import codec_table, codecs, usable
from sarlab.peers.protocol import Codec, bound_quality, quality_bound
from sarlab.scenes.scene import Scene

ALL = [name for name in codecs if codecs[name].family != "learned"]
HERE = [name for name in ALL if codecs[name].available().ok]
LOSSY = [name for name in HERE if not codecs[name].capabilities.lossless]
BOUNDED = [name for name in HERE if codecs[name].capabilities.error_bounded]
LOSSLESS = [name for name in HERE if codecs[name].capabilities.lossless]
INTEGER_LOSSLESS = [name for name in LOSSLESS if codecs[name].capabilities.bits == 16]
SHAPES = [(1, 1), (1, 17), (19, 1), (7, 5), (33, 70), (17, 1000)]


def speckled(shape, seed=0, looks=4.4, mean=-10.0):
    """Gamma speckle over a ramp and a step, in dB."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    field = mean + 0.02 * rows + 6.0 * (columns > shape[1] // 2)
    return (field + 10 * np.log10(generator.gamma(looks, 1 / looks, shape))).astype(np.float32)


def scene_of(plane, quantity="db", **fields):
    plane = np.asarray(plane, np.float32)
    return Scene(plane[None] if plane.ndim == 2 else plane, quantity, fields.pop("bands", ("VV",)), **fields)


def middle(name):
    grid = codecs[name].capabilities.quality.grid
    return grid[len(grid) // 2]


def test_all_that_were_asked_for_are_listed_with_long_grids_within_their_scales():
    wanted = {
        *("jpeg2000", "htj2k", "jpegxl", "hevc12", "vvc10", "avif", "avif10", "avif12", "webp", "jpeg", "jpeg12"),
        *("jpegls", "sz3", "zfp", "sperr", "lerc"),
        *("lossless-jpegls", "lossless-jpeg2000", "lossless-png", "lossless-zlib", "lossless-float32"),
    }
    assert wanted <= set(ALL)
    for codec in map(codecs.__getitem__, ALL):
        scale = codec.capabilities.quality
        assert isinstance(codec, Codec)
        assert scale.low <= scale.grid[0] <= scale.grid[-1] <= scale.high
        assert (np.diff(scale.grid) > 0).all()
        assert len(scale.grid) >= 10 or codec.capabilities.lossless


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_any_size_comes_back_with_its_mask(name, shape):
    """A band with gaps, a constant one and an empty one."""
    planes = np.stack([speckled(shape), np.full(shape, -7.25), np.full(shape, np.nan)])
    planes[0, 0, 0] = np.nan
    planes[0, shape[0] // 2, shape[1] // 3 :: 5] = np.nan
    scene = scene_of(planes, bands=("VV", "VH", "HH"))
    data = codecs[name].compress(scene, quality=middle(name))
    assert codecs[name].compress(scene, quality=middle(name)) == data
    decoded = codecs[name].decompress(data)
    assert (decoded.shape, decoded.bands, decoded.data.dtype) == (scene.shape, scene.bands, np.float32)
    assert np.array_equal(decoded.valid, scene.valid)
    assert (np.isfinite(decoded.data) == decoded.valid).all()
    assert (decoded.data[1] == np.float32(-7.25)).all()


@pytest.mark.parametrize("name", LOSSY)
def test_more_quality_is_more_bytes_and_less_error(name):
    # A low grid entry may cost more than the next on a picture this small; over the whole grid it must rise.
    shape = (96, 96) if name in ("vvc10", "avif", "avif10") else (160, 160)
    scene = scene_of(speckled(shape))
    codec = codecs[name]
    sizes, errors = [], []
    for quality in codec.capabilities.quality.grid[1::3]:
        data = codec.compress(scene, quality=quality)
        sizes.append(len(data))
        errors.append(float(np.sqrt(np.square(codec.decompress(data).data - scene.data).mean())))
    assert np.all(np.diff(sizes) > 0), sizes
    assert np.all(np.diff(errors) < 0), errors
    assert sizes[-1] > 2 * sizes[0]


@pytest.mark.parametrize("name", BOUNDED)
@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.02, 8), st.integers(0, 2**31), st.integers(0, 4))
@settings(max_examples=25)
def test_bounds_hold(name, rows, columns, bound, seed, outliers):
    generator = np.random.default_rng(seed)
    plane = speckled((rows, columns), seed)
    plane.flat[generator.integers(0, plane.size, outliers)] += generator.normal(0, 30, outliers).astype(np.float32)
    plane[generator.random(plane.shape) < 0.05] = np.nan
    scene = scene_of(plane)
    decoded = codecs[name].decompress(codecs[name].compress(scene, quality=bound_quality(bound)))
    error = np.abs(decoded.data.astype(np.float64) - scene.data)[scene.valid]
    assert error.max(initial=0) <= bound + np.spacing(np.float32(100))


@pytest.mark.parametrize("name", INTEGER_LOSSLESS)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 8, 16]), st.integers(0, 2**31))
@settings(max_examples=20)
@example(rows=200, columns=1000, bits=16, seed=1)
def test_lossless_integers_are_exact(name, rows, columns, bits, seed):
    # Full-entropy noise: the hardest case, on which libraries have failed.
    samples = np.random.default_rng(seed).integers(0, 2**bits, (rows, columns)).astype(np.float32)
    scene = scene_of(samples, "amplitude", native_bits=bits)
    decoded = codecs[name].decompress(codecs[name].compress(scene, quality=0))
    assert decoded.quantity == "amplitude"
    assert np.array_equal(decoded.data, scene.data)


@pytest.mark.parametrize("name", INTEGER_LOSSLESS)
def test_lossless_db_is_exact_on_its_grid(name):
    scene = scene_of(speckled((60, 80)))
    decoded = codecs[name].decompress(codecs[name].compress(scene, quality=0))
    span = float(scene.data.max() - scene.data.min())
    assert np.abs(decoded.data - scene.data).max() <= 0.5001 * span / 65535 + 1e-6
    again = codecs[name].decompress(codecs[name].compress(decoded, quality=0))
    assert np.abs(again.data - decoded.data).max() <= 2e-6


def test_floats_come_back_bit_for_bit():
    plane = speckled((30, 31))
    plane[3, 4] = np.nan
    plane[5, 6] = -np.inf
    scene = scene_of(plane)
    codec = usable("lossless-float32")
    decoded = codec.decompress(codec.compress(scene, quality=0))
    assert np.array_equal(decoded.data.view(np.uint32)[scene.valid], scene.data.view(np.uint32)[scene.valid])
    assert np.array_equal(decoded.valid, scene.valid)


@pytest.mark.parametrize("name", ["jpeg2000", "jpegls", "sperr", "lossless-zlib", "lossless-float32"])
def test_damage_is_told(name):
    codec = usable(name)
    data = codec.compress(scene_of(speckled((32, 32))), quality=middle(name))
    generator = np.random.default_rng(0)
    for length in (0, 3, 11, len(data) // 2, len(data) - 1):
        with pytest.raises(BitstreamError):
            codec.decompress(data[:length])
    for _ in range(100):
        broken = bytearray(data)
        broken[generator.integers(len(data))] ^= 1 << generator.integers(8)
        with pytest.raises(BitstreamError):
            codec.decompress(bytes(broken))


def test_what_cannot_be_coded_or_decoded_is_refused():
    with pytest.raises(CodecError, match="outside"):
        codecs["jpeg2000"].compress(scene_of(speckled((8, 8))), quality=500)
    with pytest.raises(CodecError, match="unknown codec"):
        codecs["jpeg3000"]
    data = usable("lossless-zlib").compress(scene_of(speckled((8, 8))), quality=0)
    with pytest.raises(BitstreamError, match="lossless-zlib"):
        usable("lossless-png").decompress(data)
    for value, message in ((np.inf, "infinite"), (300, "16 bit")):
        plane = speckled((8, 8))
        plane[1, 1] = value
        with pytest.raises(CodecError, match=message):
            usable("jpegls").compress(scene_of(plane), quality=bound_quality(0.001))
    assert quality_bound(bound_quality(0.37)) == pytest.approx(0.37)


@pytest.mark.parametrize("name", ["jpeg2000", "avif", "hevc12", "vvc10"])
def test_a_missing_library_is_the_reason(name, monkeypatch):
    monkeypatch.setitem(sys.modules, codecs[name].package, None)
    (row,) = codec_table([name])
    assert not row["available"]
    assert f"pip install {codecs[name].distribution}" in row["reason"]
    with pytest.raises(CodecError, match=name):
        usable(name)
