"""The factorized codecs: densities, objective, transform."""

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from sarlab.codec.block_model import fine_step, initial_tables
from sarlab.codec.factorized import FRONTS, LAMBDA, FactorizedModel, FactorizedNetwork, FactorizedPrior, basis_functions
from sarlab.codec.model_store import load_model, model_path
from sarlab.errors import ModelError

WHOLE = (True, True, True, True)


def correlated(count, side, seed=0):
    noise = torch.randn(count, 1, side + 2, side + 2, generator=torch.Generator().manual_seed(seed))
    return 0.3 * torch.nn.functional.avg_pool2d(noise, 3, 1)


def fitted(front="lapped"):
    network = FactorizedNetwork(front, 0)
    network.fit_linear(list(correlated(4, 64)[:, 0]))
    return network


@pytest.mark.parametrize("spread", [1.0, 2.0])
def test_probabilities_of_the_mixture_sum_to_one(spread):
    prior = FactorizedPrior(2)
    with torch.no_grad():
        prior.logits.normal_(generator=torch.Generator().manual_seed(0))
        prior.log_deviation += torch.tensor([0.4, 3.0]).log()[:, None]
    k = torch.arange(-90, 91, dtype=torch.float32).expand(1, 2, 1, -1)
    p = 2.0 ** -prior.bits(k, 1.0, spread)
    assert p.sum(-1).flatten().tolist() == pytest.approx([1, 1], abs=1e-4)
    assert torch.allclose(prior.bits(3 * k, 3 * 0.7, 3.0 * spread), prior.bits(k, 0.7, spread), atol=1e-3)


def test_costs_weigh_bits_against_error():
    """λ makes the step that belongs to a quality the best one: finer or coarser costs more."""
    network, x, quality = fitted(), correlated(4, 64, 1), torch.full((4,), 36.0)
    step = 2 * fine_step(quality)
    with torch.no_grad():
        cost, rate, distortion = network.costs(x, quality, None)
        assert torch.allclose(cost, distortion / (LAMBDA * step**2) + rate, rtol=1e-4)
        others = [network.costs(x, quality + shift, None) for shift in (-6, 6)]
    assert all((other[2] / (LAMBDA * step**2) + other[1] > cost).all() for other in others)


@pytest.mark.parametrize("front", FRONTS)
def test_the_analysis_of_the_training_is_that_of_the_model_and_its_axes_are_principal(front):
    """A convolution with basis functions that are orthonormal, also to those of neighboring blocks."""
    network, x, margin = fitted(front), correlated(1, 64, 2), int(front == "lapped")
    values, mixing = {"front": front, "width": 0}, network.mixing().detach().numpy()
    model = FactorizedModel.of({"mixing": mixing}, values, initial_tables(), name="test-1", content_hash=bytes(8))
    y, at = model.transform(x[0, 0].numpy(), WHOLE), slice(4 * margin, 64 - 4 * margin)
    inner = network.analysis(x[..., at, at])[0].detach()
    assert np.abs(y[:, margin : 8 - margin, margin : 8 - margin] - inner.numpy()).max() < 1e-5
    assert np.square(y).sum() == pytest.approx(float(x.square().sum()), rel=1e-5)
    assert np.abs(model.inverse(y, 90.0, WHOLE) - x[0, 0].numpy()).max() < 1e-5
    basis = basis_functions(front)[:, 0]
    assert np.abs(np.tensordot(basis, basis, ((1, 2), (1, 2))) - np.eye(64)).max() < 1e-5
    # The axes are the principal ones of the images that they were fitted to.
    y = network.analysis(correlated(4, 64)).detach().movedim(1, 0).flatten(1).double().numpy()
    moments = y @ y.T / y.shape[1]
    assert np.abs(moments - np.diag(np.diag(moments))).max() < 1e-4 * moments.max()
    assert (np.diff(np.diag(moments)) <= 1e-9).all()
    assert network.deviation.numpy() == pytest.approx(np.sqrt(np.diag(moments)), rel=1e-3)


@pytest.mark.parametrize(
    ("name", "change"),
    [("mixing", lambda a: a * np.float16(np.nan)), ("mixing", lambda a: a[:5]), ("outer.weight", lambda a: a * np.float16(np.inf)),
     ("inner.weight", lambda a: a[:5]), ("probabilities", lambda a: a * 0), ("offsets", lambda a: a[:5])],
)  # fmt: skip
def test_damaged_weights_are_refused(tmp_path, name, change):
    with safe_open(model_path("factorized"), "numpy") as file:
        arrays, about = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
    arrays[name] = np.ascontiguousarray(change(arrays[name]))
    save_file(arrays, tmp_path / "a.safetensors", about)
    with pytest.raises(ModelError, match=r"a\.safetensors"):
        load_model(tmp_path / "a.safetensors")
