"""Which runs share a training: quantizers after training, nested latents, and progressive chains.

====================  ===========================================  ==========================================
run                   takes its weights from                       trains
====================  ===========================================  ==========================================
dedicated             nobody                                       all its steps
quantizer afterwards  its sibling in float32                       nothing
nested                the run with all channels, leading part      nothing (that run: all, with random tails)
progressive           the run with twice its channels, likewise    a quarter of the steps (the first run: all)
====================  ===========================================  ==========================================
"""

from __future__ import annotations

from dataclasses import replace

from sarlab.specs import QuantizerSpec, RunSpec

#: A progressive run takes this share of the steps of the first.
FINE_TUNING = 4


def base_of(spec: RunSpec) -> RunSpec | None:
    """The run whose weights a run takes over without training; None for runs that train their own."""
    if spec.model.architecture == "klt":
        return None
    if spec.quantizer.training == "none" and spec.quantizer != QuantizerSpec():
        return replace(spec, quantizer=QuantizerSpec())
    if spec.train.curve == "nested" and spec.model.latent_channels < spec.train.first_channels:
        return replace(spec, model=replace(spec.model, latent_channels=spec.train.first_channels))
    return None


def start_of(spec: RunSpec) -> RunSpec | None:
    """The run from whose weights a run's own training starts; None for runs that start from their seed."""
    if spec.model.architecture == "klt" or spec.train.curve != "progressive":
        return None
    if spec.model.latent_channels >= spec.train.first_channels:
        return None
    wider = replace(spec.model, latent_channels=2 * spec.model.latent_channels)
    return replace(spec, model=wider, quantizer=QuantizerSpec())


def steps_of(spec: RunSpec) -> int:
    """Optimizer steps that a run takes by itself, or that the run took whose weights it has."""
    if spec.model.architecture == "klt":
        return 0
    return max(1, spec.train.steps // FINE_TUNING) if start_of(spec) is not None else spec.train.steps
