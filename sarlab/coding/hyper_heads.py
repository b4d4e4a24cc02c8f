"""Training what corrects decoded latents, when everything else is done: one loop for all such networks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

#: Learning rate of the first step.
RATE = 2e-3


def fit_head(
    head: nn.Module, loss: Callable[[], Tensor], *, steps: int, clip_norm: float, schedule: Callable[[float], float]
) -> None:
    """Train `head` in place; it ends as the mean of its weights over the second half of the steps.

    Parameters
    ----------
    head : Module
    loss : callable
        Draws a batch, and returns what is to become small: a scalar.
    steps : int
    clip_norm : float
        Largest norm of a gradient.
    schedule : callable
        Share of the steps that is done → share of the learning rate.
    """
    average = [p.detach().clone() for p in head.parameters()]
    optimizer = torch.optim.Adam(head.parameters(), lr=RATE)
    for step in range(steps):
        value = loss()
        for group in optimizer.param_groups:
            group["lr"] = RATE * schedule(step / steps)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), clip_norm)
        optimizer.step()
        with torch.no_grad():
            for kept, parameter in zip(average, head.parameters(), strict=True):
                kept.lerp_(parameter, 1.0 if step < steps // 2 else 1 / (step - steps // 2 + 1))
    with torch.no_grad():
        for kept, parameter in zip(average, head.parameters(), strict=True):
            parameter.copy_(kept)
