"""Training: better than its start, the same bits after an interruption, blind to nodata; nested latents, losses, Muon."""

import itertools
import json
import math
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from draws import normal, uniform
from torch import nn

from sarlab.errors import ModelError, TrainingError
from sarlab.models import training
from sarlab.models.autoencoders import Autoencoder, build_model
from sarlab.models.data import Batch, TrainingData
from sarlab.models.quantizers import build_quantizer
from sarlab.models.storage import History, Validation
from sarlab.models.training import Muon, NestedChannels, leading_weights, losses, schedule, ssim, train
from sarlab.specs import ModelSpec, QuantizerSpec, TrainSpec

SPEC = TrainSpec(steps=24, batch_size=4, patch_size=32, warmup_steps=4, validate_every=8)
MODEL = ModelSpec("residual", 8, 4, "klt", width=8)


def stripes(seed: int, side: int = 64) -> np.ndarray:
    """Waves of a random direction: much better predicted across patches than by any linear code of one patch."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side]
    angle, length = rng.uniform(0, np.pi), rng.uniform(6, 12)
    phase = 2 * np.pi * (np.cos(angle) * rows + np.sin(angle) * columns) / length
    return (0.5 + 0.3 * np.sin(phase) + 0.02 * rng.standard_normal((side, side))).astype(np.float32)


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return TrainingData.from_arrays([stripes(s) for s in range(12)], [stripes(s) for s in (100, 101)])


def build(data: TrainingData, spec: ModelSpec = MODEL) -> Autoencoder:
    return build_model(spec, seed=0, klt=data.fit_klt)


def weights(model: nn.Module) -> dict[str, list]:
    return {name: t.tolist() for name, t in model.state_dict().items()}


@pytest.mark.parametrize("init", ["klt", "scratch"])
def test_training_improves_on_its_start_and_records_its_course(init, data):
    model, state = build(data, replace(MODEL, init=init)), torch.get_rng_state()
    seen = []
    spec = replace(SPEC, steps=60, validate_every=20)
    history = train(model, data, spec, seed=0, progress=lambda h, n: seen.append((h.steps_done, n)))
    assert torch.equal(torch.get_rng_state(), state)
    first, best = history.validations[0], min(history.validations, key=lambda v: v.loss)
    assert history.stopped == "finished"
    assert best.psnr_db > first.psnr_db + 0.3
    assert history.best_step == best.step
    assert not history.collapsed
    assert not model.training
    # what claims need
    assert history.steps == [0, 10, 20, 30, 40, 50]
    assert len(history.losses) == len(history.gradient_norms) == len(history.learning_rates) == 6
    assert [v.step for v in history.validations] == [0, 20, 40, 45, 60]
    assert seen == [(step, 60) for step in (0, 20, 40, 45, 60)]
    assert history.pixels == 60 * 4 * 32 * 32
    assert history.pixels_per_second == pytest.approx(history.pixels / history.seconds)
    layers = history.validations[-1].gradient_norms
    assert set(layers) == {f"model.{name.rpartition('.')[0]}" for name, _ in model.named_parameters()}
    assert all(norm > 0 for norm in layers.values())
    assert History.from_dict(json.loads(json.dumps(history.to_dict()))) == history


def test_what_is_kept_is_the_best_on_validation(data, tmp_path):
    # Rates that destroy the network: the start must come back, to the bit.
    model, path = build(data), tmp_path / "checkpoint.safetensors"
    start, wild = weights(model), replace(SPEC, learning_rate=3.0, clip_norm=0.0, warmup_steps=0)
    assert train(model, data, wild, seed=0).best_step == 0
    assert weights(model) == start
    wild = replace(wild, learning_rate=1e30, validate_every=100)
    assert train(model, data, wild, seed=0, checkpoint=path).stopped == "diverged"
    assert not path.exists()
    assert weights(model) == start


@pytest.mark.parametrize(("looks", "scheme"), [(8, "lsq"), (31, "trellis")])
def test_continued_training_ends_with_the_same_bits(looks, scheme, data, tmp_path, monkeypatch):
    def quantizer():
        """A quantizer that learns, draws and follows the course of a training."""
        return build_quantizer(QuantizerSpec(scheme, 4, training="mixed"), MODEL.latent_channels, seed=9)

    whole, hook = build(data), quantizer()
    expected = train(whole, data, SPEC, seed=3, quantizer=hook)
    path = tmp_path / "checkpoint.safetensors"
    model, other = build(data), quantizer()
    with monkeypatch.context() as patched:
        # A clock that lets the time run out after a given number of readings.
        clock = itertools.chain([0.0] * (looks - 1), itertools.repeat(1e9))
        patched.setattr(training, "perf_counter", clock.__next__)
        history = train(model, data, SPEC, seed=3, quantizer=other, checkpoint=path, time_budget=1e6)
    assert history.stopped == "time budget"
    assert 0 < history.steps_done < SPEC.steps
    # Nothing of the first session but the file.
    model, other = build(data), quantizer()
    history = train(model, data, SPEC, seed=3, quantizer=other, checkpoint=path)
    assert history.stopped == "finished"
    assert weights(model) == weights(whole)
    assert weights(other) == weights(hook)
    for name in ("steps", "losses", "gradient_norms", "validations", "best_step", "steps_done", "pixels"):
        assert getattr(history, name) == getattr(expected, name), name
    assert hook.progress == other.progress == (SPEC.steps - 1) / SPEC.steps
    assert train(build(data), data, SPEC, seed=4).losses != history.losses
    # A third call finds it finished.
    again = train(build(data), data, SPEC, seed=3, quantizer=quantizer(), checkpoint=path)
    assert again.to_dict() == history.to_dict()


def test_ctrl_c_leaves_a_checkpoint_of_this_training_and_no_other(data, tmp_path):
    path, model = tmp_path / "checkpoint.safetensors", build(data)

    def interrupt(history: History, steps: int) -> None:
        if history.steps_done == 16:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(model, data, SPEC, seed=3, checkpoint=path, progress=interrupt)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    for spec, seed in ((SPEC, 4), (replace(SPEC, steps=25), 3)):
        with pytest.raises(TrainingError, match="another training"):
            train(model, data, spec, seed=seed, checkpoint=path)
    assert train(build(data), data, SPEC, seed=3, checkpoint=path).steps_done == SPEC.steps
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(TrainingError, match="damaged"):
        train(model, data, SPEC, seed=3, checkpoint=path)


class Offset(Autoencoder):
    """A network whose output does not depend on its input, so that only the loss sees the data."""

    def __init__(self, spec: ModelSpec):
        super().__init__(spec)
        self.level = nn.Parameter(torch.zeros(()))

    def analysis(self, x):
        return x.new_zeros(len(x), self.spec.latent_channels, 1, 1)

    def synthesis(self, y_hat, size=None):
        return self.level.expand(len(y_hat), 1, *size)


def test_nodata_counts_nowhere_and_collapse_is_detected():
    damaged = np.stack([stripes(s) for s in range(3)])
    damaged[:, 10:30, 10:40] = np.nan
    histories = []
    for fill in (0.0, 1e6):
        data = TrainingData.from_arrays(damaged, damaged[:1])
        for raster in (*data.training, *data.validation):
            raster.values[~raster.mask] = fill
        model = Offset(ModelSpec("plain", 8, 4))
        histories.append(train(model, data, SPEC, seed=0))
        assert model.level.item() > 0.01
    assert histories[0].losses == histories[1].losses
    assert histories[0].validations == histories[1].validations
    assert histories[0].collapsed
    assert [v.spread for v in histories[0].validations] == pytest.approx([0.0] * 5, abs=1e-6)
    assert histories[0].converged is False, "it gains nothing because it has collapsed"


def test_without_validation_the_last_average_is_kept(data):
    alone = TrainingData(data.training)
    history = train(build(alone), alone, SPEC, seed=0)
    assert history.best_step == SPEC.steps
    assert all(np.isnan(v.loss) for v in history.validations)
    assert not history.collapsed
    assert np.isnan(history.last_quarter_gain_db)
    assert history.converged is None


@pytest.mark.parametrize(("last", "expected"), [(25.04, True), (25.06, False), (24.0, True), (np.nan, None)])
def test_a_training_has_converged_if_its_last_quarter_gains_little(last, expected):
    looks = [Validation(step, 1.0, psnr, 1.0) for step, psnr in ((50, 24.0), (75, 25.0), (100, last))]
    history = History(validations=looks, steps_done=100, best_step=75, stopped="finished")
    assert history.converged is expected
    assert history.last_quarter_gain_db == pytest.approx(last - 25, nan_ok=True)
    assert replace(history, stopped="time budget").converged is None
    short = [replace(look, step=look.step // 2) for look in looks]
    assert replace(history, validations=short, steps_done=50).converged is None


def test_layer_norms_add_up_to_the_norm_before_clipping_and_threads_are_given_back(data):
    before, seen = torch.get_num_threads(), []
    spec = replace(SPEC, steps=1, validate_every=1, clip_norm=1e-3, threads=3)
    history = train(build(data), data, spec, seed=0, progress=lambda *_: seen.append(torch.get_num_threads()))
    layers = history.validations[-1].gradient_norms
    assert np.sqrt(sum(n**2 for n in layers.values())) == pytest.approx(history.gradient_norms[0], rel=1e-4)
    assert history.gradient_norms[0] > 1e-3
    assert set(seen) == {3}
    assert torch.get_num_threads() == before


def test_the_schedule_warms_up_and_ends_at_zero():
    spec = replace(SPEC, steps=100, warmup_steps=10)
    factors = [schedule(step, spec) for step in range(101)]
    assert factors[:10] == pytest.approx([0.1 * k for k in range(1, 11)])
    assert factors[10] == 1
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0)
    assert schedule(0, replace(SPEC, warmup_steps=0)) == 1


def test_bfloat16_learns_the_same_and_is_not_emulated(data, monkeypatch):
    half, full = replace(SPEC, precision="bfloat16"), SPEC
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    histories = [train(build(data), data, spec, seed=0) for spec in (full, half)]
    assert histories[0].losses != histories[1].losses
    assert histories[0].validations[-1].psnr_db == pytest.approx(histories[1].validations[-1].psnr_db, abs=0.1)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False, raising=False)
    without = train(build(data), data, half, seed=0)
    assert without.losses == histories[0].losses


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_gpu_learns_the_same(data, precision, tmp_path):
    spec = replace(SPEC, precision=precision)
    cpu, gpu = (build(data) for _ in range(2))
    ours = train(cpu, data, SPEC, seed=0)
    theirs = train(gpu, data, spec, seed=0, device="cuda", checkpoint=tmp_path / "c.safetensors")
    assert theirs.validations[-1].psnr_db == pytest.approx(ours.validations[-1].psnr_db, abs=0.1)
    assert next(gpu.parameters()).is_cuda


# --- nested latents ---------------------------------------------------------------------------------------------------


def test_each_patch_keeps_leading_channels_only_and_evaluation_looks_at_every_count():
    hook = NestedChannels(16, seed=0).train()
    kept = (hook(torch.ones(4000, 16, 2, 2)) != 0).all(dim=(2, 3))
    lengths = kept.sum(dim=1)
    assert torch.equal(kept, torch.arange(16) < lengths[:, None]), "no gap before the tail"
    shares = torch.stack([(lengths == count).double().mean() for count in hook.counts])
    expected = torch.tensor(hook.counts).double()
    assert torch.allclose(shares, expected / expected.sum(), atol=0.03)
    hook = NestedChannels(8, seed=0).eval()
    assert hook(torch.ones(2, 8, 3, 12))[0, :, 0].sum(dim=0).tolist() == [8, 8, 8, 4, 4, 4, 2, 2, 2, 1, 1, 1]
    assert hook(torch.ones(1, 8, 1, 1)).sum() == 8


@pytest.mark.parametrize(("architecture", "init"), [("plain", "scratch"), ("residual", "klt"), ("attention", "klt"), ("klt", "klt")])  # fmt: skip
@pytest.mark.parametrize("channels", [1, 4])
def test_a_slice_computes_what_zeros_compute(architecture, init, channels, data):
    spec = ModelSpec(architecture, 16, 8, init, width=8, depth=1)
    whole = build(data, spec).eval()
    part = build(data, replace(spec, latent_channels=channels)).eval()
    for tensor in whole.parameters():  # the last layers of a KLT start are zero, which would prove nothing
        tensor.data.add_(0.02 * normal(*tensor.shape, seed=tensor.numel()))
    part.load_state_dict(leading_weights(whole.state_dict(), part))
    x = uniform(2, 1, 40, 64, seed=3)
    with torch.no_grad():
        y = whole.analysis(x)
        assert torch.allclose(part.analysis(x), y[:, :channels], atol=1e-5)
        y[:, channels:] = 0
        assert torch.allclose(part.synthesis(y[:, :channels], (40, 64)), whole.synthesis(y, (40, 64)), atol=1e-5)


def test_other_networks_lend_nothing():
    spec = ModelSpec("plain", 16, 8, width=8, depth=0)
    whole = build_model(spec, seed=0)
    for other in (replace(spec, latent_channels=16), replace(spec, width=16), replace(spec, depth=1)):
        with pytest.raises(ModelError):
            leading_weights(whole.state_dict(), build_model(other, seed=0))
    with pytest.raises(ModelError, match="16 channels"):
        NestedChannels(16, seed=0)(torch.ones(1, 8, 2, 2))


# --- losses, against closed forms -------------------------------------------------------------------------------------

SPAN = 25.0


def batch_of(x: torch.Tensor, mask: torch.Tensor | None = None) -> Batch:
    return Batch(x, mask, torch.full((len(x), 1, 1, 1), SPAN))


@pytest.mark.parametrize("name", list(losses))
def test_equal_images_lose_nothing_and_invalid_samples_carry_no_gradient(name):
    x, mask = uniform(2, 1, 16, 16), uniform(2, 1, 16, 16, seed=1) > 0.3
    assert float(losses[name](x.clone(), batch_of(x))) == pytest.approx(0.0, abs=1e-6)
    x_hat = uniform(2, 1, 16, 16, seed=2).requires_grad_()
    (gradient,) = torch.autograd.grad(losses[name](x_hat, batch_of(x, mask)), x_hat)
    assert torch.isfinite(gradient).all()
    assert float(gradient[~mask].abs().max()) == 0
    assert float(gradient[mask].abs().min()) > 0
    loss = losses[name](x_hat, batch_of(x, torch.zeros_like(mask)))
    (gradient,) = torch.autograd.grad(loss, x_hat)
    assert float(loss.detach()) == pytest.approx(0.0, abs=1e-6)
    assert torch.isfinite(gradient).all()


def test_squared_error_is_in_square_decibels_and_bias_that_of_the_mean_intensity():
    x = uniform(1, 1, 16, 16)
    mask = torch.arange(16) < 4
    other = torch.where(mask, x + 0.2, 99.0)
    assert float(losses["mse"](other, batch_of(x, mask.expand(x.shape)))) == pytest.approx((0.2 * SPAN) ** 2, rel=1e-5)
    constant = torch.full_like(x, float(x.mean()))
    mean_db = 10 * np.log10(np.mean(10 ** (SPAN * (x.double().numpy() - 0.5) / 10)))
    bias = (float(x.mean()) - 0.5) * SPAN - mean_db
    extra = float(losses["mse+bias"](constant, batch_of(x)) - losses["mse"](constant, batch_of(x)))
    assert bias < -1
    assert extra == pytest.approx(training.BIAS_WEIGHT * bias**2, rel=1e-4)


def test_gamma_loss_is_the_likelihood_of_speckle_and_finite_far_below_the_target():
    x, x_hat = uniform(1, 1, 8, 8), uniform(1, 1, 8, 8, seed=1)
    intensity, mean = (10 ** (SPAN * v.double() / 10) for v in (x, x_hat))
    expected = (torch.log(mean) + intensity / mean - torch.log(intensity) - 1).mean()
    assert float(losses["gamma"](x_hat, batch_of(x))) == pytest.approx(float(expected), rel=1e-5)
    assert torch.isfinite(losses["gamma"](x_hat - 40, batch_of(x)))
    # One slope from d = −8 on, and no jump there.
    samples = [torch.tensor(d / (SPAN * math.log(10) / 10)).view(1, 1, 1, 1) for d in (-7.999, -8.001)]
    ends = [losses["gamma"](sample, batch_of(torch.zeros(1, 1, 1, 1))) for sample in samples]
    assert float(ends[1]) / float(ends[0]) == pytest.approx(1.0, abs=0.003)


def test_ssim_is_that_of_the_metrics():
    from sarlab.metrics.columns import Comparison
    from sarlab.metrics.fidelity import ssim as metric

    x, y = uniform(1, 1, 48, 37), uniform(1, 1, 48, 37, seed=1)
    y = 0.7 * x + 0.3 * y
    case = Comparison(*(SPAN * v[0, 0].double().numpy() for v in (x, y)), clip=(0.0, SPAN))
    assert float(ssim(x, y)) == pytest.approx(metric(case), abs=1e-6)
    batch = batch_of(x)
    extra = float(losses["mse+ssim"](y, batch) - losses["mse"](y, batch))
    assert extra == pytest.approx(training.SSIM_WEIGHT * (1 - metric(case)), rel=1e-4)


def test_errors_at_an_edge_weigh_more():
    x = torch.zeros(1, 1, 40, 40)
    x[..., 20:] = 1.0
    batch, weights = batch_of(x), []
    for column in (5, 18, 20):
        x_hat = x.clone()
        x_hat[..., column] += 0.1
        weights.append(float(losses["mse-edge"](x_hat, batch) / losses["mse"](x_hat, batch)))
    # Between windows of 5 samples a step reads, from 5 columns before it on, 1, 2, 3, 4, 5, 5, … 1 fifths: 6 in all.
    strength = [0.0, 4 / 5, 1.0]
    assert weights == pytest.approx([0.5 + 0.5 * s / (6 / 40) for s in strength], rel=1e-4)
    everywhere = losses["mse-edge"](x + 0.1, batch)
    assert float(everywhere) == pytest.approx(float(losses["mse"](x + 0.1, batch)), rel=1e-4)


# --- Muon, against torch.optim.Muon, AdamW and singular values --------------------------------------------------------


@pytest.mark.parametrize("shape", [(8, 72), (72, 8), (24, 24)])
def test_singular_values_become_about_one_and_singular_vectors_stay(shape):
    u, _, v = torch.linalg.svd(normal(*shape), full_matrices=False)
    found = training.orthogonalized(u @ torch.diag(torch.logspace(0, -1.5, min(shape))) @ v)
    values = torch.diag(u.T @ found @ v.T)
    assert values.min() > 0.6
    assert values.max() < 1.25
    torch.testing.assert_close(found, u @ torch.diag(values) @ v, rtol=0, atol=1e-4)


def test_matrices_are_updated_as_by_pytorch_and_vectors_as_by_adamw():
    ours = [torch.nn.Parameter(normal(6, 20)), torch.nn.Parameter(normal(6))]
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in ours]
    optimizers = [
        Muon(ours, lr=0.02, betas=(0.9, 0.95), weight_decay=0.1),
        torch.optim.Muon(theirs[:1], lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(theirs[1:], lr=0.02, betas=(0.9, 0.95), weight_decay=0.1),
    ]
    for step in range(5):
        for parameters in (ours, theirs):
            for parameter in parameters:
                parameter.grad = normal(*parameter.shape, seed=step)
        for optimizer in optimizers:
            optimizer.step()
    # PyTorch multiplies in bfloat16: its updates of 0.02 · 0.2 · √20 · 0.5 per entry have 2 to 3 digits.
    torch.testing.assert_close(ours[0], theirs[0], rtol=0, atol=5e-4)
    assert torch.equal(ours[1], theirs[1])
    # a kernel is updated as the flattened matrix; vectors and positions are no matrices
    kernel = torch.nn.Parameter(normal(4, 3, 5, 5).contiguous(memory_format=torch.channels_last))
    matrix = torch.nn.Parameter(kernel.detach().flatten(1).clone())
    kernel.grad, matrix.grad = normal(4, 3, 5, 5, seed=1), normal(4, 3, 5, 5, seed=1).flatten(1)
    for parameter in (kernel, matrix):
        Muon([parameter], lr=0.1).step()
    torch.testing.assert_close(kernel.detach().flatten(1), matrix.detach(), rtol=0, atol=1e-6)
    shapes = {(5, 7): True, (5, 7, 3, 3): True, (7,): False, (): False, (1, 7, 1, 1): False, (4, 15, 15): False}
    assert {shape: training.is_matrix(torch.zeros(shape)) for shape in shapes} == shapes
