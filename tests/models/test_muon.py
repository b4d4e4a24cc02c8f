"""Muon: against torch.optim.Muon, AdamW and singular values."""

import pytest
import torch

from sarlab.models.training import Muon, is_matrix, orthogonalized


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(8, 72), (72, 8), (24, 24)])
def test_singular_values_become_about_one_and_singular_vectors_stay(shape):
    u, _, v = torch.linalg.svd(noise(*shape), full_matrices=False)
    found = orthogonalized(u @ torch.diag(torch.logspace(0, -1.5, min(shape))) @ v)
    values = torch.diag(u.T @ found @ v.T)
    assert values.min() > 0.6
    assert values.max() < 1.25
    torch.testing.assert_close(found, u @ torch.diag(values) @ v, rtol=0, atol=1e-4)
    torch.testing.assert_close(orthogonalized(1e-3 * noise(*shape)), orthogonalized(noise(*shape)), rtol=0, atol=1e-3)


def test_matrices_are_updated_as_by_pytorch_and_vectors_as_by_adamw():
    ours = [torch.nn.Parameter(noise(6, 20)), torch.nn.Parameter(noise(6))]
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in ours]
    optimizers = [
        Muon(ours, lr=0.02, betas=(0.9, 0.95), weight_decay=0.1),
        torch.optim.Muon(theirs[:1], lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(theirs[1:], lr=0.02, betas=(0.9, 0.95), weight_decay=0.1),
    ]
    for step in range(5):
        for parameters in (ours, theirs):
            for parameter in parameters:
                parameter.grad = noise(*parameter.shape, seed=step)
        for optimizer in optimizers:
            optimizer.step()
    # PyTorch multiplies in bfloat16: its updates of 0.02 · 0.2 · √20 · 0.5 per entry have 2 to 3 digits.
    torch.testing.assert_close(ours[0], theirs[0], rtol=0, atol=5e-4)
    assert torch.equal(ours[1], theirs[1])


def test_a_kernel_is_updated_as_the_flattened_matrix():
    kernel = torch.nn.Parameter(noise(4, 3, 5, 5).contiguous(memory_format=torch.channels_last))
    matrix = torch.nn.Parameter(kernel.detach().flatten(1).clone())
    kernel.grad, matrix.grad = noise(4, 3, 5, 5, seed=1), noise(4, 3, 5, 5, seed=1).flatten(1)
    for parameter in (kernel, matrix):
        Muon([parameter], lr=0.1).step()
    torch.testing.assert_close(kernel.detach().flatten(1), matrix.detach(), rtol=0, atol=1e-6)


def test_vectors_and_positions_are_no_matrices():
    shapes = {(5, 7): True, (5, 7, 3, 3): True, (7,): False, (): False, (1, 7, 1, 1): False, (4, 15, 15): False}
    assert {shape: is_matrix(torch.zeros(shape)) for shape in shapes} == shapes
