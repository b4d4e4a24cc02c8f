"""The pass through a network as a CUDA graph: one launch instead of some hundred, where networks are small.

Off unless ``SARLAB_CUDA_GRAPHS=1`` is set. A graph is used only after its output and its gradients have agreed with those
of the plain pass; anything that goes wrong leaves the plain one.
"""

from __future__ import annotations

import os
import warnings
from typing import cast

import torch
from torch import Tensor, nn

from sarlab.models.distributed import Pass

#: Variable of the environment that turns graphs on.
SWITCH = "SARLAB_CUDA_GRAPHS"
#: Steps below which recording costs more than it saves.
LEAST_STEPS = 100
#: Largest relative difference of output and gradient norms from the plain pass; bfloat16 has 8 bits.
TOLERANCE = 0.02


def wanted(device: torch.device, steps: int) -> bool:
    """Whether to try."""
    return device.type == "cuda" and steps >= LEAST_STEPS and os.environ.get(SWITCH) == "1"


def graphed(step: Pass, x: Tensor, *, half: bool) -> nn.Module:
    """The same pass as a CUDA graph for inputs of the shape of `x`, or `step` itself where that cannot be done.

    Parameters
    ----------
    step : Pass
        Without quantizer: those draw, or change from step to step.
    x : Tensor, shape (N, 1, side, side)
        On the GPU.
    half : bool
        Record the pass in bfloat16.
    """
    step.train()
    try:
        with torch.autocast("cuda", torch.bfloat16, enabled=half, cache_enabled=False):
            plain = outcome(step, x)
            # A module in, the same module out.
            fast = cast(Pass, torch.cuda.make_graphed_callables(Pass(step.model, None).train(), (x.clone(),)))
            ours = outcome(fast, x)
    except Exception as problem:  # what a driver, an allocator or a layer may object to cannot be listed
        warnings.warn(f"no CUDA graph of this network ({problem}); going on without", RuntimeWarning, stacklevel=2)
        return step
    if not agree(plain, ours):
        warnings.warn("a CUDA graph of this network gave other results; going on without", RuntimeWarning, stacklevel=2)
        return step
    return fast


def outcome(step: nn.Module, x: Tensor) -> list[Tensor]:
    """Output and gradient norms of a pass, to compare two of them; gradients are cleared."""
    x_hat = step(x)
    (x_hat.float() - x).square().mean().backward()
    found = [x_hat.detach().float().norm(), (x_hat.detach().float() - x).norm()]
    for parameter in step.parameters():
        if parameter.grad is not None:
            found.append(parameter.grad.float().norm())
            parameter.grad = None
    return found


def agree(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    """Whether two outcomes are equal but for rounding."""
    if len(ours) != len(theirs):
        return False
    a, b = torch.stack(ours), torch.stack(theirs)
    return bool(((a - b).abs() <= TOLERANCE * a.abs() + 1e-6).all())
