"""What happens to a latent value between analysis and synthesis when nothing is coded: float32 or float16."""

from __future__ import annotations

import torch
from torch import Tensor

from sarlab.errors import ModelError
from sarlab.models.base import LatentHook
from sarlab.specs import QuantizerSpec


def float32(y: Tensor) -> Tensor:
    """The latent as it is."""
    return y


def float16(y: Tensor) -> Tensor:
    """Round to half precision, saturating beyond ±65504; the gradient passes straight through."""
    return y + (y.detach().clamp(-65504.0, 65504.0).to(torch.float16).to(y.dtype) - y.detach())


#: Schemes that need neither calibration nor side information.
HOOKS: dict[str, LatentHook] = {"float32": float32, "float16": float16}


def latent_hook(spec: QuantizerSpec) -> LatentHook:
    """Hook of a quantizer specification, to be handed to `Autoencoder.forward`."""
    if spec.scheme not in HOOKS:
        raise ModelError(f"unknown latent scheme '{spec.scheme}'; known: {', '.join(HOOKS)}")
    return HOOKS[spec.scheme]
