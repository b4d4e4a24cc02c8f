"""Layers against other ways of computing the same."""

import numpy as np
import pytest
import torch
from draws import normal
from hypothesis import given, settings
from hypothesis import strategies as st

from sarlab.models.layers import WindowAttention, mirror_pad


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 2, 4, 8, 16, 32]))
@settings(max_examples=60)
def test_mirroring_is_that_of_numpy(height, width, multiple):
    x = normal(1, 1, height, width)
    padded = mirror_pad(x, multiple)
    extra = [(0, -n % multiple) for n in (height, width)]
    np.testing.assert_array_equal(padded[0, 0].numpy(), np.pad(x[0, 0].numpy(), extra, mode="symmetric"))


def attention_by_loops(layer: WindowAttention, x: torch.Tensor) -> torch.Tensor:
    """The same attention position by position."""
    _, channels, h, w = x.shape
    tokens = layer.qkv(layer.norm(x[0].permute(1, 2, 0))).permute(2, 0, 1)
    q, k, v = tokens.reshape(3, layer.heads, channels // layer.heads, h, w)
    out = torch.zeros(layer.heads, channels // layer.heads, h, w)
    side = layer.window
    for i in range(h):
        for j in range(w):
            near = [
                (a, b)
                for a in range(i - i % side, min(h, i - i % side + side))
                for b in range(j - j % side, min(w, j - j % side + side))
            ]
            for head in range(layer.heads):
                bias = torch.stack([layer.position[head, i - a + side - 1, j - b + side - 1] for a, b in near])
                dots = torch.stack([q[head, :, i, j] @ k[head, :, a, b] for a, b in near])
                share = torch.softmax(dots / q.shape[1] ** 0.5 + bias, dim=0)
                out[head, :, i, j] = sum(s * v[head, :, a, b] for s, (a, b) in zip(share, near, strict=True))
    return x + layer.project(out.reshape(channels, h, w).permute(1, 2, 0)).permute(2, 0, 1)


@pytest.mark.parametrize(("h", "w"), [(4, 4), (5, 7), (1, 3), (8, 4)])
def test_window_attention_is_attention_within_windows(h, w):
    layer = WindowAttention(8, window=4)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(normal(*parameter.shape, seed=parameter.numel()) * 0.5)
        x = normal(1, 8, h, w, seed=3)
        torch.testing.assert_close(layer(x), attention_by_loops(layer, x), atol=2e-5, rtol=1e-4)
