"""From the processor to the device, without waiting for what the device does at the moment."""

from __future__ import annotations

import torch
from torch import Tensor


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` on `device`.

    A GPU fetches from memory that stays in its place by itself; for other memory the processor may have to wait until it
    has come to it.
    """
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
