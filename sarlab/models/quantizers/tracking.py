"""Ranges that come from data: calibrated once, or following the latents while a network is in training."""

from __future__ import annotations

import torch
from torch import Tensor

from sarlab.errors import QuantizerError
from sarlab.models.quantizers.base import Quantizer, Synthesis
from sarlab.models.quantizers.latents import Latents, gather
from sarlab.specs import QuantizerSpec

#: Every batch of the first ones is followed, later every so many-th: latents change less, and looking costs time.
FIRST, LATER = 50, 5
#: Share of a batch in the ranges that follow a training, first and later.
FIRST_SHARE, LATER_SHARE = 0.1, 0.2


class CalibratedQuantizer(Quantizer):
    """A quantizer with ranges from data; a subclass says in `follow` what they are."""

    calibrated: Tensor
    observed: Tensor

    def __init__(self, spec: QuantizerSpec, channels: int):
        super().__init__(spec, channels)
        self.register_buffer("calibrated", torch.zeros((), dtype=torch.bool))
        self.register_buffer("observed", torch.zeros((), dtype=torch.int64))

    def follow(self, values: Tensor, share: float) -> None:
        """Move the ranges towards those of values by channel, shape (C, n), by `share` of the way."""
        raise NotImplementedError

    @property
    def ready(self) -> bool:
        return bool(self.calibrated)

    def require_ready(self) -> None:
        """Raise `QuantizerError` before the first calibration."""
        if not self.ready:
            raise QuantizerError(f"quantizer '{self.spec.scheme}' has no ranges yet; calibrate it with training data")

    def calibrate(self, latents: Latents, *, synthesis: Synthesis | None = None) -> None:
        self.follow(gather(latents, self.channels), 1.0)
        self.calibrated.fill_(True)

    def observe(self, y: Tensor, progress: float) -> None:
        seen = int(self.observed)
        self.observed += 1
        if not self.ready:
            self.calibrate(y)
        elif seen < FIRST or seen % LATER == 0:
            self.follow(gather(y, self.channels), FIRST_SHARE if seen < FIRST else LATER_SHARE)
