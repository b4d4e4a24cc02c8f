"""History: what a training leaves behind besides weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: Spread of the output relative to that of the input below which a network has collapsed to a constant.
COLLAPSED_BELOW = 0.02


@dataclass(frozen=True)
class Validation:
    """One look at the validation scenes, with the averaged weights.

    Parameters
    ----------
    step : int
    loss : float
        Mean over scenes of the training loss.
    psnr_db : float
        Mean over scenes of the PSNR, clipped to the normalized range.
    spread : float
        Standard deviation of the reconstruction over that of the scene, mean over scenes.
    gradient_norms : dict of str to float
        Of each layer, at the step before.
    """

    step: int
    loss: float
    psnr_db: float
    spread: float
    gradient_norms: Mapping[str, float] = field(default_factory=dict)


@dataclass
class History:
    """Course of a training.

    Parameters
    ----------
    steps, losses, learning_rates, gradient_norms : list
        One entry for each recorded step: its number, loss, learning rate, and gradient norm before clipping.
    validations : list of Validation
    steps_done : int
    best_step : int
        Step whose averaged weights were kept.
    seconds : float
        Wall time of the steps, validation excluded, over all sessions.
    pixels : int
        Pixels seen.
    stopped : {"", "finished", "time budget", "interrupted", "diverged"}
    """

    steps: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    learning_rates: list[float] = field(default_factory=list)
    gradient_norms: list[float] = field(default_factory=list)
    validations: list[Validation] = field(default_factory=list)
    steps_done: int = 0
    best_step: int = 0
    seconds: float = 0.0
    pixels: int = 0
    stopped: str = ""

    @property
    def complete(self) -> bool:
        """Whether no step is left to be done."""
        return self.stopped in ("finished", "diverged")

    @property
    def pixels_per_second(self) -> float:
        """Training throughput; 0 before the first step."""
        return self.pixels / self.seconds if self.seconds > 0 else 0.0

    @property
    def collapsed(self) -> bool:
        """Whether the kept weights return a constant."""
        kept = [v.spread for v in self.validations if v.step == self.best_step]
        return bool(kept) and kept[-1] < COLLAPSED_BELOW

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as in JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> History:
        """Inverse of `to_dict`."""
        values = dict(values)
        values["validations"] = [Validation(**v) for v in values["validations"]]
        return cls(**values)
