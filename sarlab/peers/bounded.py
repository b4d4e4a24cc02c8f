"""Error-bounded codecs in the log domain: JPEG-LS near-lossless, SZ3, ZFP, SPERR and LERC.

A bound of ε dB on every sample is a bound on the relative error of its intensity: 10^(ε/10) − 1.
"""

from __future__ import annotations

import numpy as np

from sarlab.codec.codec import Capabilities, QualityScale, codecs, quality_bound
from sarlab.errors import CodecError
from sarlab.peers.base import TOP_16, BoundedCodec, PlaneCodec, imagecodecs
from sarlab.peers.grids import GRIDS
from sarlab.peers.raster import Grid

MEANING = "−20·log10 of the largest error in dB: 0 is 1 dB, 20 is 0.1 dB"


#: One octave of the bound.
OCTAVE = 20 * np.log10(2)


def _capabilities(name: str, bits: int = 32, step: float = 0.0) -> Capabilities:
    # Bounds from 64 dB to 1/1024 dB.
    return Capabilities(
        QualityScale(MEANING, -6 * OCTAVE, 10 * OCTAVE, GRIDS[name], step), bits=bits, error_bounded=True
    )


class NearLossless(PlaneCodec):
    """JPEG-LS near-lossless on dB integers up to 16 bit: predictive, every sample within the bound.

    The bound is 3.5 steps of the integer grid: 3 that JPEG-LS may miss by, half of one for the rounding to the grid.
    (NEAR = 1 to 10 cost the same bits within 1 % at bounds up to 2 dB.)
    """

    name, family, coder = "jpegls", "predictive", "JPEGLS"
    domain = "dB as integers of up to 16 bit, grid step = bound / 3.5"
    capabilities = _capabilities("jpegls", bits=16)
    near = 3

    def encode_plane(self, plane: np.ndarray, quality: float) -> tuple[Grid, bytes]:
        bound = quality_bound(quality)
        low, high = float(plane.min()), float(plane.max())
        for near in (self.near, 0):
            # A hair below the bound, for the rounding of the stored step and of the float32 samples.
            ulp = float(np.spacing(np.float32(max(abs(low), abs(high)))))
            grid = Grid.with_step(low, max((bound - 2 * ulp) * (1 - 1e-6), 0) / (near + 0.5))
            if grid.step > 0 and (high - low) / grid.step <= TOP_16 - 1:
                break
        else:
            raise CodecError(
                f"codec 'jpegls': a bound of {bound:g} dB over a range of {high - low:.4g} dB needs more than 16 bit"
            )
        codes = grid.codes(plane)
        codes = np.ascontiguousarray(codes.astype(np.uint8 if codes.max() < 256 else np.uint16))
        return grid, jpegls_encode(codes, near)

    def decode_plane(self, payload: bytes, shape: tuple[int, int], grid: Grid) -> np.ndarray:
        return grid.values(np.asarray(imagecodecs().jpegls_decode(payload)).reshape(shape))


def jpegls_encode(codes: np.ndarray, near: int) -> bytes:
    """JPEG-LS codestream. Full-entropy data grows beyond the buffer that the library would take by itself."""
    return bytes(imagecodecs().jpegls_encode(codes, near, out=2 * codes.nbytes + 4096))


class Sz3(BoundedCodec):
    """SZ3: interpolation or Lorenzo prediction, quantization, Huffman, Zstandard."""

    name, family, coder = "sz3", "predictive", "SZ3"
    domain = "float32 dB"
    capabilities = _capabilities("sz3")

    def encode(self, plane: np.ndarray, bound: float) -> bytes:
        return imagecodecs().sz3_encode(plane, mode="abs", abs=bound)

    def decode(self, payload: bytes, shape: tuple[int, int]) -> np.ndarray:
        return imagecodecs().sz3_decode(payload, shape, np.float32)


class Zfp(BoundedCodec):
    """ZFP in fixed-accuracy mode: 4×4 blocks, near-orthogonal transform, bit planes.

    The bound is rounded down to a power of two, and the error stays well inside it.
    """

    name, family, coder = "zfp", "transform", "ZFP"
    domain = "float32 dB"
    capabilities = _capabilities("zfp", step=OCTAVE)

    def encode(self, plane: np.ndarray, bound: float) -> bytes:
        return imagecodecs().zfp_encode(plane, bound, mode="a", numthreads=1)

    def decode(self, payload: bytes, shape: tuple[int, int]) -> np.ndarray:
        return imagecodecs().zfp_decode(payload, numthreads=1)


class Sperr(BoundedCodec):
    """SPERR: CDF 9/7 wavelet, SPECK coding, and a list of the outliers beyond the bound."""

    name, family, coder = "sperr", "wavelet", "SPERR"
    domain = "float32 dB"
    capabilities = _capabilities("sperr")

    def encode(self, plane: np.ndarray, bound: float) -> bytes:
        return imagecodecs().sperr_encode(plane, bound, "pwe", numthreads=1)

    def decode(self, payload: bytes, shape: tuple[int, int]) -> np.ndarray:
        return imagecodecs().sperr_decode(payload, numthreads=1)


class Lerc(BoundedCodec):
    """LERC (limited error raster compression): bit-stuffed blocks; the bounded compression of cloud-optimized GeoTIFF."""

    name, family, coder = "lerc", "predictive", "LERC"
    domain = "float32 dB"
    capabilities = _capabilities("lerc")

    def encode(self, plane: np.ndarray, bound: float) -> bytes:
        return imagecodecs().lerc_encode(plane, bound)

    def decode(self, payload: bytes, shape: tuple[int, int]) -> np.ndarray:
        return imagecodecs().lerc_decode(payload)


for _codec in (NearLossless(), Sz3(), Zfp(), Sperr(), Lerc()):
    codecs.register(_codec.name)(_codec)
