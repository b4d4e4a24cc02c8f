"""Random tensors, and quantizers that are fitted to them, for the tests of the models."""

import torch

from sarlab.models.quantizers import build_quantizer
from sarlab.specs import QuantizerSpec


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=seeded(seed))


def uniform(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=seeded(seed))


def ready(scheme: str, bits: int, y: torch.Tensor, **options: str):
    """A quantizer that is calibrated on a latent."""
    quantizer = build_quantizer(QuantizerSpec(scheme, bits, **options), y.shape[1])
    quantizer.calibrate(y)
    return quantizer
