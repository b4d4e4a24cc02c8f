"""Latents as quantizers take them: checked, and gathered by channel."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from sarlab.errors import QuantizerError

Latents = Tensor | Iterable[Tensor]


def checked(y: Tensor, channels: int) -> Tensor:
    """`y` as float32, detached, if it is a finite latent of `channels` channels."""
    if not isinstance(y, Tensor) or y.ndim != 4 or 0 in y.shape or not y.is_floating_point():
        found = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
        raise QuantizerError(f"a latent is a floating-point tensor (N, C, h, w) that is not empty, not {found}")
    if y.shape[1] != channels:
        raise QuantizerError(f"this quantizer was built for {channels} channels; the latent has {y.shape[1]}")
    y = y.detach().float()
    bad = int((~torch.isfinite(y)).sum())
    if bad:
        raise QuantizerError(
            f"the latent has {bad} NaN or infinite values of {y.numel()}; look at its network or input"
        )
    return y


def gather(latents: Latents, channels: int) -> Tensor:
    """All values of the latents by channel, shape (C, values), float32, on the CPU."""
    batches = [latents] if isinstance(latents, Tensor) else list(latents)
    batches = [b for b in batches if not (isinstance(b, Tensor) and b.numel() == 0)]
    if not batches:
        raise QuantizerError("no latents to calibrate with; give at least one batch of training data")
    return torch.cat([checked(b, channels).cpu().movedim(1, 0).reshape(channels, -1) for b in batches], dim=1)
