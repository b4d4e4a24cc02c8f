"""Fixed transforms from pixels to 64 channels at an eighth of the size: CDF 9/7 wavelets and plain 8×8 blocks.

Three levels of the separable wavelet, with the details of the finer levels moved into channels, give exactly as many
values as there are pixels, with filters that overlap (no blocks), perfect reconstruction and nearly equal norms:

    level 3   LL HL LH HH            1 + 3  channels
    level 2   HL LH HH, 2×2 each     12
    level 1   HL LH HH, 4×4 each     48

At the borders the signal is extended by whole-sample symmetry, within the lifting steps.

References
----------
A. Cohen, I. Daubechies, J.-C. Feauveau, "Biorthogonal bases of compactly supported wavelets", Comm. Pure Appl. Math. 45,
1992. I. Daubechies, W. Sweldens, "Factoring wavelet transforms into lifting steps", J. Fourier Anal. Appl. 4, 1998.
"""

from __future__ import annotations

from torch import Tensor, cat
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from sarlab.errors import ModelError

STRIDE, CHANNELS, LEVELS = 8, 64, 3
#: Samples on each side that an output depends on: (9 − 1)/2 taps on each of three levels, 4 + 8 + 16.
REACH = 28

_LIFTING = (-1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971)
_SCALE = 1.230174104914001 / 2**0.5


def wavelet_analysis(x: Tensor) -> Tensor:
    """Three wavelet levels as channels.

    Parameters
    ----------
    x : Tensor, shape (N, 1, H, W)
        H and W are multiples of 8.

    Returns
    -------
    Tensor, shape (N, 64, H/8, W/8)
        White noise of unit variance comes out with variances between 0.9 and 1.3.
    """
    if x.ndim != 4 or x.shape[1] != 1 or x.shape[2] % STRIDE or x.shape[3] % STRIDE or 0 in x.shape:
        raise ModelError(
            f"the wavelet takes (N, 1, H, W) with sides that are multiples of {STRIDE}, not {tuple(x.shape)}"
        )
    channels: list[Tensor] = []
    for level in range(LEVELS):
        low, high = _split(x, -1)
        x, *details = *_split(low, -2), *_split(high, -2)
        factor = 1 << (LEVELS - 1 - level)
        # x holds LL; details are LH (from the low columns), HL and HH (from the high ones).
        lh, hl, hh = details
        channels = [pixel_unshuffle(band, factor) for band in (hl, lh, hh)] + channels
    return cat([x, *channels], 1)


def wavelet_synthesis(y: Tensor) -> Tensor:
    """Inverse of `wavelet_analysis`: (N, 64, h, w) → (N, 1, 8h, 8w)."""
    x, start = y[:, :1], 1
    for level in range(LEVELS):
        factor = 1 << level
        count = factor * factor
        hl, lh, hh = (pixel_shuffle(y[:, start + i * count : start + (i + 1) * count], factor) for i in range(LEVELS))
        start += 3 * count
        x = _merge(_merge(x, lh, -2), _merge(hl, hh, -2), -1)
    return x


def block_analysis(x: Tensor) -> Tensor:
    """Pixels of every 8×8 block as channels."""
    return pixel_unshuffle(x, STRIDE)


def block_synthesis(y: Tensor) -> Tensor:
    """Inverse of `block_analysis`."""
    return pixel_shuffle(y, STRIDE)


def _split(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """One level along one axis: (low, high), each of half the length."""
    x = x.transpose(axis, -1)
    low, high = x[..., 0::2], x[..., 1::2]
    for i, factor in enumerate(_LIFTING):
        if i % 2 == 0:
            high = high + factor * (low + _next(low))
        else:
            low = low + factor * (high + _previous(high))
    return (low / _SCALE).transpose(axis, -1), (high * _SCALE).transpose(axis, -1)


def _merge(low: Tensor, high: Tensor, axis: int) -> Tensor:
    """Inverse of `_split`."""
    low, high = low.transpose(axis, -1) * _SCALE, high.transpose(axis, -1) / _SCALE
    for i, factor in reversed(list(enumerate(_LIFTING))):
        if i % 2 == 0:
            high = high - factor * (low + _next(low))
        else:
            low = low - factor * (high + _previous(high))
    out = low.new_empty((*low.shape[:-1], 2 * low.shape[-1]))
    out[..., 0::2], out[..., 1::2] = low, high
    return out.transpose(axis, -1)


def _next(low: Tensor) -> Tensor:
    return cat([low[..., 1:], low[..., -1:]], -1)


def _previous(high: Tensor) -> Tensor:
    return cat([high[..., :1], high[..., :-1]], -1)
