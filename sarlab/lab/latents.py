"""The latent of a scene as numbers of a row: how it was stored, what it would cost range coded, what it carries.

Fixed length, each value costs its bits. Range coded under one frozen table a channel, learned from training scenes, it
costs about its entropy. For the first a full histogram is good; for the second low entropy is what one trains for.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from typing import Any

import numpy as np
from torch import Tensor

from sarlab.codec.latent_coding import LatentModel, encode_latent, fit_latent_model, ideal_bits
from sarlab.metrics import entropy as statistics
from sarlab.metrics.columns import UndefinedMetric
from sarlab.metrics.rate import bits_per_pixel, measured_cr
from sarlab.models.quantizers import Quantized, Quantizer

#: Values of more bits than this are stored as they are: their low bits are noise to any table.
MOST_CODED_BITS = 16


def frequencies(quantizer: Quantizer, latents: Iterable[Tensor]) -> LatentModel | None:
    """Tables of the range coder, learned from latents of training scenes; None for 32-bit values.

    Parameters
    ----------
    quantizer : Quantizer
        Calibrated.
    latents : iterable of Tensor, shape (1, C, h, w)
    """
    if max(quantizer.widths) > MOST_CODED_BITS:
        return None
    return fit_latent_model(quantizer, latents)


def latent_columns(
    quantizer: Quantizer, quantized: Quantized, y: Tensor, tables: LatentModel | None, *, pixels: int, native_bits: int
) -> dict[str, float]:
    """Columns ``coded_*``, ``ideal_bpp``, ``latent_*`` and others of a row; NaN where they have no meaning.

    Parameters
    ----------
    quantizer : Quantizer
    quantized : Quantized
        The latent of one scene and band.
    y : Tensor, shape (1, C, h, w)
        The same before quantization.
    tables : LatentModel or None
        From `frequencies`.
    pixels : int
        Of the scene.
    native_bits : int
        Bits of a sample of the product.

    Notes
    -----
    ``coded_bytes`` needs the range coder; on a machine without it only ``ideal_bpp`` is known, which differs from
    ``coded_bpp`` by less than half a percent and a few bytes.
    """
    values = quantized.integers.numel()
    row = {
        "saturated_share": quantized.saturated / values,
        "dead_channels": float(statistics.dead_channels(y.float().cpu().numpy()).sum()),
        "effective_rank": defined(statistics.effective_rank, y.float().cpu().numpy()),
    }
    if tables is None:
        return row
    symbols = quantized.integers.cpu().numpy()
    used = [
        statistics.level_usage(symbols[:, channel : channel + 1], 1 << width).item()
        for channel, width in enumerate(quantizer.widths)
        if width
    ]
    row |= {
        "ideal_bpp": (ideal_bits(quantizer, quantized, tables) + 8 * quantizer.side_bytes) / pixels,
        "latent_entropy": float(statistics.channel_entropies(symbols).mean()),
        "latent_pooled_entropy": defined(statistics.pooled_entropy, symbols),
        "latent_joint_entropy": defined(statistics.joint_entropy, symbols) / quantizer.channels,
        "latent_spatial_entropy": defined(statistics.spatial_entropy_rate, symbols),
        "level_usage": float(np.mean(used)) if used else float("nan"),
    }
    if importlib.util.find_spec("constriction") is not None:
        size = len(encode_latent(quantizer, quantized, tables))
        row |= {
            "coded_bytes": size,
            "coded_bpp": bits_per_pixel(size, pixels),
            "coded_cr": measured_cr(size, pixels, native_bits=native_bits),
        }
    return row


def defined(statistic: Any, latent: np.ndarray) -> float:
    """Value of a statistic, NaN where it has none for this latent."""
    try:
        return float(statistic(latent))
    except UndefinedMetric:
        return float("nan")
