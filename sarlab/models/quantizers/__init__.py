"""Quantizers: what becomes of a latent value when it has to be stored, by name, behind one contract."""

from sarlab.models.quantizers import companded, floats, fsq, guide, learned, trellis, uniform  # noqa: F401  (they register their schemes)
from sarlab.models.quantizers.base import (
    TRAINING_VIEWS,
    Quantized,
    Quantizer,
    build_quantizer,
    quantizer_from_config,
    quantizers,
)

__all__ = ["TRAINING_VIEWS", "Quantized", "Quantizer", "build_quantizer", "quantizer_from_config", "quantizers"]
