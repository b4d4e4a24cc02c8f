"""Codecs with a guarantee: error-bounded ones in the log domain, and lossless references.

Error-bounded: JPEG-LS near-lossless, SZ3, ZFP, SPERR and LERC. A bound of ε dB on each sample bounds the relative error
of its intensity by 10^(ε/10) − 1.

Lossless: what the native integers of a product, or its float32 dB, cost. Integers of detected amplitude or intensity
are coded as they are. Files with dB as floats have lost them, so their dB are put on a grid with as many levels as the
native bit depth of the product, and that integer raster is coded losslessly.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from sarlab.errors import BitstreamError, CodecError
from sarlab.peers.band_codec import CODED, DEFLATED, EMPTY, TOP_16, Band, BandCodec, Grid, filled, imagecodecs, narrow
from sarlab.peers.protocol import Capabilities, QualityScale, quality_bound
from sarlab.scenes.radiometry import to_db
from sarlab.scenes.scene import Scene

#: One octave of the bound.
OCTAVE = 20 * np.log10(2)
#: Default qualities, see `sarlab.peers.images.GRIDS`. The lowest rate of LERC is 0.16 bpp; ZFP, whose bound is a power
#: of two, starts at 1.4.
GRIDS: dict[str, tuple[float, ...]] = {
    "jpegls": (-20.6, -17.7, -17.4, -16.2, -14.9, -13.6, -12.1, -10, -6.1, 1.8, 8.1, 16.5),
    "sz3": (-21.1, -17.7, -16.5, -14.7, -12.1, -9.9, -6.9, -3.1, 1.4, 7.2, 15.3),
    "zfp": tuple(OCTAVE * octave for octave in range(-6, 5)),
    "sperr": (-22.1, -20.7, -19.3, -17.7, -15.7, -13.3, -10.8, -8.1, -5.2, -1.2, 4.1, 12),
    "lerc": (-25.8, -23.6, -22.7, -22.1, -21.5, -20.9, -19.6, -18.1, -16.6, -9.5, -3.6, 3.2),
}


class BoundedCodec(BandCodec):
    """A codec of floats with a guaranteed largest error in dB."""

    def __init__(
        self, name: str, family: str, coder: str, about: str, encode: Callable[..., Any], decode: Callable[..., Any],
        domain: str = "float32 dB", bits: int = 32, step: float = 0.0,
    ):  # fmt: skip
        meaning = "−20·log10 of the largest error in dB: 0 is 1 dB, 20 is 0.1 dB"
        # Bounds from 64 dB to 1/1024 dB.
        scale = QualityScale(meaning, -6 * OCTAVE, 10 * OCTAVE, GRIDS[name], step)
        super().__init__(
            name, family, coder, domain, Capabilities(scale, bits, error_bounded=True), about, encode, decode
        )

    def encode_band(self, plane: np.ndarray, quality: float) -> tuple[Grid, bytes]:
        return Grid(0.0, 1.0), self.encode(plane, quality_bound(quality))


class NearLossless(BoundedCodec):
    """JPEG-LS, whose bound is 3.5 steps of an integer grid: 3 for JPEG-LS, half of one for rounding to the grid.

    NEAR = 1 to 10 cost the same bits within 1 % at bounds up to 2 dB.
    """

    def encode_band(self, plane: np.ndarray, quality: float) -> tuple[Grid, bytes]:
        bound = quality_bound(quality)
        low, high = float(plane.min()), float(plane.max())
        for near in (3, 0):
            # Slightly below the bound, for the rounding of the stored step and of the float32 samples.
            ulp = float(np.spacing(np.float32(max(abs(low), abs(high)))))
            grid = Grid.with_step(low, max((bound - 2 * ulp) * (1 - 1e-6), 0) / (near + 0.5))
            if grid.step > 0 and (high - low) / grid.step <= TOP_16 - 1:
                return grid, self.encode(narrow(grid.codes(plane)), near)
        raise CodecError(
            f"codec 'jpegls': a bound of {bound:g} dB over a range of {high - low:.4g} dB needs more than 16 bit"
        )


def jpegls_encode(codes: np.ndarray, near: int) -> bytes:
    """Code with JPEG-LS. Full-entropy data exceeds the buffer that the library would allocate."""
    return bytes(imagecodecs().jpegls_encode(codes, near, out=2 * codes.nbytes + 4096))


class LosslessCodec(BandCodec):
    """Integers of the product's native depth, exactly."""

    def __init__(
        self, name: str, coder: str, about: str, encode: Callable[..., Any], decode: Callable[..., Any],
        domain: str = "native integers; of products in dB a grid of as many levels over the scene's own range",
        bits: int = 16,
    ):  # fmt: skip
        scale = QualityScale("no choice: always the same file", 0, 0, (0.0,))
        super().__init__(
            name, "lossless", coder, domain, Capabilities(scale, bits, lossless=True), about, encode, decode
        )

    def compress(self, scene: Scene, *, quality: float = 0.0) -> bytes:
        """Make a file; quality has one value, 0."""
        self.capabilities.quality.checked(quality, self.name)
        if native_integers(scene):
            return self.packed(scene, 0, scene.dtype)
        return self.packed(to_db(scene), 2 ** min(scene.native_bits, 16) - 1)

    def encode_band(self, plane: np.ndarray, quality: float) -> tuple[Grid, bytes]:
        """Code a band; `quality` is the number of the last level, 0 for native integers."""
        grid = Grid.spanning(plane, quality) if quality else Grid(0.0, 1.0)
        return grid, self.encode(narrow(grid.codes(plane)), None)

    def band(self, name: str, plane: np.ndarray, valid: np.ndarray, quality: float) -> Band:
        band = super().band(name, plane, valid, quality)
        if band.kind != CODED:
            return band
        # Verified, because libraries have failed on full-entropy data.
        codes = Grid(band.offset, band.step).codes(filled(plane, valid))
        try:
            exact = np.array_equal(self.decode(band.payload, plane.shape), codes)
        except Exception:
            exact = False
        return band if exact else Band(name, valid, DEFLATED, band.offset, band.step, deflate_integers(codes))

    def plane(self, band: Band) -> np.ndarray:
        if band.kind != DEFLATED:
            return super().plane(band)
        return Grid(band.offset, band.step).values(inflate_integers(band.payload, band.valid.shape))


def native_integers(scene: Scene) -> bool:
    """Check if the samples are the native integers, of at most 16 bits, of a detected product."""
    if scene.quantity not in ("amplitude", "intensity"):
        return False
    samples = scene.data[scene.valid]
    return bool(samples.size) and bool(((samples >= 0) & (samples <= 65535) & (samples == np.rint(samples))).all())


def deflate_integers(codes: np.ndarray) -> bytes:
    """Deflated low and high bytes of codes below 2^16, as two planes of row differences."""
    differences: np.ndarray = np.diff(codes.astype(np.uint16), axis=1, prepend=np.uint16(0))
    return zlib.compress(
        (differences & 255).astype(np.uint8).tobytes() + (differences >> 8).astype(np.uint8).tobytes(), 9
    )


def inflate_integers(payload: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Inverse of `deflate_integers`."""
    size = shape[0] * shape[1]
    raw = np.frombuffer(inflate(payload, 2 * size), np.uint8).astype(np.uint16)
    return np.cumsum((raw[:size] + 256 * raw[size:]).reshape(shape), axis=1, dtype=np.uint16)


def inflate(data: bytes, size: int) -> bytes:
    """Inflate exactly `size` bytes; a longer or shorter stream raises `BitstreamError`."""
    try:
        out = zlib.decompressobj().decompress(data, size + 1)
    except zlib.error as error:
        raise BitstreamError(f"deflated data is damaged: {error}") from error
    if len(out) != size:
        raise BitstreamError(f"deflated data holds {len(out)} bytes instead of {size}")
    return out


class LosslessZlib(LosslessCodec):
    """Deflate of the standard library."""

    package = "zlib"

    def version(self) -> str:
        return f"zlib {zlib.ZLIB_RUNTIME_VERSION}"


class LosslessFloat(LosslessCodec):
    """The float32 samples of a file in its own quantity (complex scenes: dB of intensity), bit for bit."""

    def compress(self, scene: Scene, *, quality: float = 0.0) -> bytes:
        self.capabilities.quality.checked(quality, self.name)
        return self.packed(to_db(scene) if scene.quantity == "complex" else scene, 0, scene.dtype)

    def band(self, name: str, plane: np.ndarray, valid: np.ndarray, quality: float) -> Band:
        if not valid.any():
            return Band(name, valid, EMPTY)
        return Band(name, valid, CODED, payload=self.encode(np.where(valid, plane, plane[valid][0]), None))

    def plane(self, band: Band) -> np.ndarray:
        return super().plane(band) if band.kind != CODED else self.decode(band.payload, band.valid.shape)


CODECS = (
    NearLossless(
        "jpegls", "predictive", "JPEGLS",
        "JPEG-LS near-lossless on dB integers up to 16 bit: predictive, every sample within the bound.",
        lambda lib, codes, near: jpegls_encode(codes, near), lambda lib, payload, shape: lib.jpegls_decode(payload),
        "dB as integers of up to 16 bit, grid step = bound / 3.5", 16,
    ),
    BoundedCodec(
        "sz3", "predictive", "SZ3", "SZ3: interpolation or Lorenzo prediction, quantization, Huffman, Zstandard.",
        lambda lib, plane, bound: lib.sz3_encode(plane, mode="abs", abs=bound),
        lambda lib, payload, shape: lib.sz3_decode(payload, shape, np.float32),
    ),
    # The bound is rounded down to a power of two, and the error stays well inside it.
    BoundedCodec(
        "zfp", "transform", "ZFP", "ZFP in fixed-accuracy mode: 4×4 blocks, near-orthogonal transform, bit planes.",
        lambda lib, plane, bound: lib.zfp_encode(plane, bound, mode="a", numthreads=1),
        lambda lib, payload, shape: lib.zfp_decode(payload, numthreads=1), step=OCTAVE,
    ),
    BoundedCodec(
        "sperr", "wavelet", "SPERR", "SPERR: CDF 9/7 wavelet, SPECK coding, and a list of the outliers beyond the bound.",
        lambda lib, plane, bound: lib.sperr_encode(plane, bound, "pwe", numthreads=1),
        lambda lib, payload, shape: lib.sperr_decode(payload, numthreads=1),
    ),
    BoundedCodec(
        "lerc", "predictive", "LERC",
        "LERC (limited error raster compression): bit-stuffed blocks; bounded compression of cloud-optimized GeoTIFF.",
        lambda lib, plane, bound: lib.lerc_encode(plane, bound), lambda lib, payload, shape: lib.lerc_decode(payload),
    ),
    LosslessCodec(
        "lossless-jpegls", "JPEGLS", "JPEG-LS (LOCO-I), lossless.",
        lambda lib, codes, _: jpegls_encode(codes, 0), lambda lib, payload, shape: lib.jpegls_decode(payload),
    ),
    LosslessCodec(
        "lossless-jpeg2000", "JPEG2K", "JPEG 2000, reversible 5/3 wavelet.",
        lambda lib, codes, _: lib.jpeg2k_encode(codes, codecformat="J2K", reversible=True, numthreads=1),
        lambda lib, payload, shape: lib.jpeg2k_decode(payload, numthreads=1),
    ),
    LosslessCodec(
        "lossless-jpegxl", "JPEGXL", "JPEG XL, modular, lossless, effort 7.",
        lambda lib, codes, _: lib.jpegxl_encode(codes, lossless=True, effort=7, numthreads=1),
        lambda lib, payload, shape: lib.jpegxl_decode(payload, numthreads=1),
    ),
    LosslessCodec(
        "lossless-png", "PNG", "PNG: byte prediction and deflate.",
        lambda lib, codes, _: lib.png_encode(codes, 9), lambda lib, payload, shape: lib.png_decode(payload),
    ),
    LosslessZlib(
        "lossless-zlib", "", "Deflate of row differences, from the standard library, as in a GeoTIFF with a predictor.",
        lambda lib, codes, _: deflate_integers(codes), lambda lib, payload, shape: inflate_integers(payload, shape),
    ),
    LosslessFloat(
        "lossless-float32", "PCODEC",
        "The float32 samples of a file, bit for bit (pcodec): mostly the cost of insignificant digits.",
        lambda lib, plane, _: lib.pcodec_encode(plane),
        lambda lib, payload, shape: lib.pcodec_decode(payload, shape=shape, dtype=np.float32),
        "float32 samples as they are", 32,
    ),
)  # fmt: skip
