"""Learned steps against PyTorch's learnable quantizer, and FSQ against its formulas."""

import numpy as np
import pytest
import torch
from draws import normal, ready
from hypothesis import given, settings
from hypothesis import strategies as st

from sarlab.models.quantizers.trained_grids import RATE


@given(st.integers(0, 100), st.sampled_from([2, 3, 4, 8]), st.floats(-2, 2), st.floats(-2, 2))
@settings(max_examples=20)
def test_learned_step_and_its_gradients_are_those_of_pytorchs_learnable_quantizer(seed, bits, log_step, shift):
    y = normal(1, 1, 8, 8, seed=seed)
    quantizer = ready("lsq", bits, y * 0.6, training="ste")
    with torch.no_grad():
        quantizer.log_step.fill_(log_step)
        quantizer.shift.fill_(shift)
    quantizer._values = 64
    # The same grid out of its step and center; theirs begins at zero.
    top, low, high = 2**bits - 1, float(quantizer.low), float(quantizer.high)
    step = torch.tensor([float((high - low) / top * np.exp(RATE * log_step))], requires_grad=True)
    center = torch.tensor([(low + high) / 2 + RATE * shift * (high - low) / 2], requires_grad=True)
    start = center - step * top / 2
    # Left out: half a step beyond the outer levels, inside for them, outside in the paper; and where the last bit of a
    # quotient decides between two levels.
    position = ((y - start) / step).detach()
    beyond = ((position > -0.51) & (position < 0)) | ((position > top) & (position < top + 0.51))
    clear = ~beyond & ((position - position.floor() - 0.5).abs() > 1e-3)
    weights = torch.where(clear, normal(1, 1, 8, 8, seed=seed + 1), 0.0)
    seen = quantizer.straight_through(y)
    ours = torch.autograd.grad((seen * weights).sum(), [quantizer.log_step, quantizer.shift])
    theirs = torch._fake_quantize_learnable_per_tensor_affine(y - start, step, torch.zeros(1), 0, top, 1.0) + start
    by_step, by_center = (float(g) for g in torch.autograd.grad((theirs * weights).sum(), [step, center]))
    assert torch.allclose(seen[clear], theirs[clear], atol=1e-5)
    scale = RATE * (64 * top) ** -0.5
    assert float(ours[0]) == pytest.approx(scale * float(step.detach()) * by_step, rel=1e-3, abs=1e-5)
    assert float(ours[1]) == pytest.approx(scale * (high - low) / 2 * by_center, rel=1e-3, abs=1e-5)


def test_calibration_sets_the_range_and_keeps_what_was_learned():
    y = normal(2, 2, 8, 8)
    quantizer = ready("lsq", 4, y, training="ste")
    plain = ready("affine", 4, y * 50)
    with torch.no_grad():
        quantizer.log_step.fill_(np.log(1.5) / RATE)
    quantizer.calibrate(y * 50)
    assert torch.allclose(quantizer.grid()[1], 1.5 * plain.grid()[1])
    center = [q.grid()[0] + q.grid()[1] * 7.5 for q in (quantizer, plain)]
    assert torch.allclose(*center, atol=1e-4)


@given(bits=st.integers(2, 10), seed=st.integers(0, 100), calibration=st.sampled_from(["minmax", "percentile", "mse"]))
@settings(max_examples=30)
def test_fsq_rounds_the_tanh_to_equidistant_levels(bits, seed, calibration):
    y = normal(1, 2, 8, 8, seed=seed) * torch.tensor([0.3, 9.0]).view(1, 2, 1, 1) + 2
    quantizer = ready("fsq", bits, y, calibration=calibration)
    quantized = quantizer.quantize(y)
    center, scale = (t.double().numpy().reshape(1, 2, 1, 1) for t in (quantizer.center, quantizer.scale))
    bounded = np.tanh((y.double().numpy() - center) / scale)
    level = 2 * quantized.integers.numpy() / (2**bits - 1) - 1
    assert np.abs(level - bounded).max() <= 1 / (2**bits - 1) + 1e-5
    assert np.abs(quantizer.dequantize(quantized).numpy() - (center + scale * level)).max() < 1e-4
    assert quantized.saturated == 0
    assert quantizer.quantize(y * 3).saturated > 0
    if calibration == "mse" and bits < 7:
        error = (quantizer.dequantize(quantized) - y).square().mean((0, 2, 3))
        for factor in (1.12**3, 1.12**-6):  # scales that the search tries
            quantizer.scale *= factor
            assert (error <= (quantizer.rounded(y) - y).square().mean((0, 2, 3)) * 1.001).all()


def test_fsq_gradient_is_that_of_the_tanh():
    y = normal(1, 1, 4, 4).requires_grad_()
    quantizer = ready("fsq", 4, y.detach(), calibration="mse", training="ste")
    bounded = torch.tanh((y.detach() - quantizer.center) / quantizer.scale)
    noisy = quantizer.noisy(y, torch.Generator().manual_seed(0))
    for view in (quantizer.straight_through(y), noisy):
        (gradient,) = torch.autograd.grad(view.sum(), y)
        assert torch.allclose(gradient, 1 - bounded**2, atol=1e-5)
    noise = noisy.detach() - (quantizer.center + quantizer.scale * bounded)
    assert float(noise.abs().max()) <= float(quantizer.scale) / 15 + 1e-5
