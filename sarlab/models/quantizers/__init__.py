"""Latent quantizers by name, behind one contract."""

from sarlab.models.quantizers import grids, trained_grids, trellis  # noqa: F401  (they register)
from sarlab.models.quantizers.quantizer import TRAINING_VIEWS, Quantized, Quantizer, build_quantizer, quantizers

__all__ = ["TRAINING_VIEWS", "Quantized", "Quantizer", "build_quantizer", "quantizers"]
