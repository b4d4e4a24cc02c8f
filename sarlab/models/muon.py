"""Muon: gradient descent with orthogonalized momentum for matrices and kernels, AdamW for all other parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

#: Coefficients of the quintic Newton–Schulz iteration, and its number of iterations.
QUINTIC, ITERATIONS = (3.4445, -4.7750, 2.0315), 5
#: Decay of the momentum.
MOMENTUM = 0.95
#: Root mean square of an update relative to the learning rate, about that of AdamW.
UPDATE_RMS = 0.2


class Muon(torch.optim.AdamW):
    """Replace the momentum of each matrix by its nearest orthogonal matrix; update other parameters by AdamW.

    All directions of a layer learn at the same speed, however the gradient weights them. Convolution kernels are
    flattened to first axis × rest. `torch.optim.Muon` accepts matrices only, and multiplies in bfloat16, which most
    processors emulate.

    References: Jordan et al. 2024, *Muon: an optimizer for hidden layers in neural networks*; for the size of the
    updates, Liu et al. 2025, *Muon is scalable for LLM training*.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None or not is_matrix(parameter):
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                gradient, momentum = parameter.grad, state["momentum"]
                momentum.lerp_(gradient, 1 - MOMENTUM)
                update = orthogonalized(gradient.lerp(momentum, MOMENTUM).flatten(1))
                scale = UPDATE_RMS * math.sqrt(max(update.shape))
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update.view(parameter.shape), alpha=-group["lr"] * scale)
                parameter.grad = None  # AdamW skips it
        super().step()
        return loss


def is_matrix(parameter: Tensor) -> bool:
    """Return whether Muon updates a parameter: matrices and convolution kernels, but no vectors among them."""
    return parameter.ndim in (2, 4) and parameter.numel() > max(parameter.shape)


def orthogonalized(matrix: Tensor) -> Tensor:
    """Bring the singular values of a matrix close to 1, to about 0.7 to 1.2, by Newton–Schulz iterations.

    They run on the Gram matrix G: x ← (a + b·G + c·G²)·x multiplies G by the square of the polynomial. Only the first
    and the last product then involve the longer side, a third of the time for wide matrices.
    """
    a, b, c = QUINTIC
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (x.norm() + 1e-7)
    gram, total = x @ x.T, torch.eye(len(x), dtype=x.dtype, device=x.device)
    for _ in range(ITERATIONS):
        factor = torch.addmm(b * gram, gram, gram, alpha=c)
        factor.diagonal().add_(a)
        total, gram = factor @ total, factor @ gram @ factor
    x = total @ x
    return (x.T if matrix.shape[0] > matrix.shape[1] else x).contiguous()


#: Optimizers by name.
OPTIMIZERS: dict[str, type[torch.optim.AdamW]] = {"muon": Muon, "adam": torch.optim.AdamW}
