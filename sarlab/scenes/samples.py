"""Samples as files store them, to and from values: scale and offset, nodata, masks, NaN, and the ranges of types."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sarlab.errors import SceneError
from sarlab.scenes.profile import Profile


def decode_samples(
    raw: np.ndarray, mask: np.ndarray, profile: Profile, marked: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Convert stored samples to values: float32 or complex64, which of them are valid, and which are NaN though not masked.

    Values beyond float32 become its largest number. The last mask is None where `marked` is False: no value marks nodata.
    """
    nan = np.isnan(raw)
    data = raw
    if profile.scales:
        shape = (-1, 1, 1)
        data = raw * np.reshape(profile.scales, shape) + np.reshape(profile.offsets, shape)
    if np.iscomplexobj(data):
        data = data.astype(np.complex64, copy=False)
    elif data.dtype.kind == "f" and data.dtype.itemsize > 4:
        top = np.finfo(np.float32).max
        data = np.where(np.isfinite(data), np.clip(data, -top, top), data).astype(np.float32)
    else:
        data = data.astype(np.float32, copy=False)
    return data, mask & ~nan, mask & nan if marked and nan.any() else None


def encode_samples(
    data: np.ndarray, valid: np.ndarray, dtype: str, nodata: float | None, name: str, *, nan: np.ndarray | None = None,
    masked: bool = False, packing: tuple[Sequence[float], Sequence[float]] | None = None,
) -> np.ndarray:  # fmt: skip
    """Convert samples to the type of the file.

    Integers are rounded and clipped to their range. Invalid samples become nodata, NaN where `nan`, and any value where the
    file has a mask (`masked`). A measured sample that would be read as nodata moves to the next value.

    Parameters
    ----------
    data, valid, nan : ndarray, shape (bands, rows, columns)
    dtype, nodata
        Of the file.
    name : str
        File name for error messages.
    masked : bool
        A mask states which samples are valid; the nodata value has no effect then.
    packing : (scales, offsets), optional
        One of each per band: stored = (value − offset) / scale.
    """
    if dtype == "complex_int16":
        parts = np.stack([data.real, data.imag], -1)
        parts = np.clip(np.rint(np.where(valid[..., None], parts, 0)), -32768, 32767)
        if not valid.all() and not masked:
            raise SceneError(f"{name}: complex integers cannot mark nodata; write complex64")
        return (parts[..., 0] + 1j * parts[..., 1]).astype(np.complex64)
    if packing:
        scales, offsets = (np.reshape(values, (-1, 1, 1)) for values in packing)
        data = (np.where(valid, data, 0).astype(np.float64) - offsets) / scales
    if np.dtype(dtype).kind not in "iu":
        with np.errstate(over="ignore"):
            values, filler = data.astype(dtype), np.array(np.nan if nodata is None else nodata).astype(dtype)
        if nodata is not None and not np.isnan(nodata) and not masked:
            # GDAL compares floats with a tolerance.
            with np.errstate(over="ignore", invalid="ignore"):
                near = valid & (np.abs(values - filler) <= 1e-6 * np.abs(filler))
            if near.any():
                values = np.where(near, filler * (1 - 4e-6) if nodata else np.finfo(np.float32).tiny, values).astype(
                    dtype
                )
        values = values if valid.all() else np.where(valid, values, filler)
        return values if nan is None else np.where(nan, np.array(np.nan, dtype), values)
    limits = np.iinfo(dtype)
    if not valid.all() and nodata is None and not masked:
        raise SceneError(f"{name}: {dtype} cannot mark nodata; give the scene a nodata value or write float32")
    # The largest 64-bit integers are no float64.
    top = np.nextafter(float(limits.max), 0) if limits.bits == 64 else limits.max
    with np.errstate(invalid="ignore"):
        values = np.clip(np.rint(np.where(valid, data, 0).astype(np.float64)), limits.min, top)
    if nodata is not None and limits.min <= nodata <= limits.max:
        if not masked:
            # A measured value that rounds to the nodata value moves by one, or it would be lost.
            values = np.where(valid & (values == nodata), nodata + 1 if nodata < limits.max else nodata - 1, values)
        values = np.where(valid, values, nodata)
    return values.astype(dtype)
