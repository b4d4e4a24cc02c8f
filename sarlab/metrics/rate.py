"""Rate of a file, and the three compression ratios that must not be mixed up."""

from __future__ import annotations

from sarlab.errors import MetricError


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise MetricError(f"{name} must be positive, not {value!r}")


def bits_per_pixel(byte_count: int, pixels: int, bands: int = 1) -> float:
    """Rate 8·bytes / (pixels · bands) in bit per sample, of the **whole file**: header and side information included.

    Parameters
    ----------
    byte_count : int
        Length of the file, ``len(data)``. A rate from likelihoods is no such thing; it is called ``bpp_estimated``.
    pixels : int
        height · width, nodata included.
    bands : int
    """
    _positive(byte_count=byte_count, pixels=pixels, bands=bands)
    return 8 * byte_count / (pixels * bands)


def dimension_ratio(values_in: int, values_out: int) -> float:
    """Values in over values out: 16 for 256×256 into 16×16×16; says nothing of bits.

    Parameters
    ----------
    values_in, values_out : int
    """
    _positive(values_in=values_in, values_out=values_out)
    return values_in / values_out


def nominal_cr(values_in: int, bits_in: float, values_out: int, bits_out: float) -> float:
    """Nominal compression ratio: values × bits in over values × bits out, no header, no entropy coding.

    Parameters
    ----------
    values_in, values_out : int
        Samples of the image and of the latent.
    bits_in, bits_out : float
        Bits a sample. State `bits_in`: float32 (32) flatters against a native 16-bit product.
    """
    _positive(values_in=values_in, bits_in=bits_in, values_out=values_out, bits_out=bits_out)
    return values_in * bits_in / (values_out * bits_out)


def measured_cr(byte_count: int, pixels: int, bands: int = 1, *, native_bits: int) -> float:
    """Measured compression ratio: bytes of the samples at the product's **native** depth over bytes of the file.

    Parameters
    ----------
    byte_count : int
        Length of the compressed file.
    pixels, bands : int
    native_bits : int
        Of the product as delivered: Sentinel-1 GRD 16, single-look complex 32, Umbra GEC 8; never 32 for a float copy.
    """
    _positive(native_bits=native_bits)
    return native_bits / bits_per_pixel(byte_count, pixels, bands)


def measured_cr_lossless(byte_count: int, lossless_bytes: int) -> float:
    """Measured ratio against the best lossless file of the same integer raster (JPEG-LS or reversible JPEG 2000).

    Parameters
    ----------
    byte_count, lossless_bytes : int
        Lengths of both files.
    """
    _positive(byte_count=byte_count, lossless_bytes=lossless_bytes)
    return lossless_bytes / byte_count
