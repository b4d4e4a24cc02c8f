"""Training the decoder's own networks, when what is coded is settled: one loop for all, on latents as files hold them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from sarlab.codec.hyper.model import HyperModel

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


@torch.no_grad()
def coded_latents(model: HyperModel, x: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
    """Latents of patches as a file would hold them, and the steps that the networks know.

    Parameters
    ----------
    model : HyperModel
    x : Tensor, shape (N, 1, H, W)
    quality : Tensor, shape (N,)

    Returns
    -------
    latents : Tensor, shape (N, C, H/8, W/8)
        In normalized units.
    steps : Tensor, shape (N, C, 1, 1)
    """
    y = model.network.analysis(x).numpy()
    active = np.ones((1, *y.shape[2:]), bool)
    latents, steps = [], []
    for each, wanted in zip(y, quality.tolist(), strict=True):
        latents.append(model.values(model.quantize(each[None], active, wanted, None).latent, wanted)[0])
        steps.append(torch.from_numpy(model.at(wanted).nominal)[:, None, None])
    return torch.stack(latents), torch.stack(steps)
