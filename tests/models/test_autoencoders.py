"""Networks: shapes, sizes, starting points, seeds, a user's own architecture, and files that are not trusted."""

import sys
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest
import torch
from draws import normal, uniform
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from sarlab.errors import ModelError, PlanError
from sarlab.models import autoencoders
from sarlab.models.autoencoders import architectures, build_model, construct, load_model, macs_per_pixel, save_model
from sarlab.models.data import TrainingData
from sarlab.models.storage import read_tensors, write_tensors
from sarlab.models.training import train
from sarlab.specs import ModelSpec, TrainSpec

NETWORKS = ("plain", "residual", "attention")


@pytest.fixture(scope="module")
def data() -> TrainingData:
    smooth = nn.functional.avg_pool2d(normal(1, 1, 160, 160), 9, 1)[0, 0]
    return TrainingData.from_arrays([(0.5 + smooth).numpy()])


@given(
    st.integers(1, 70), st.integers(1, 70), st.sampled_from(NETWORKS), st.sampled_from(["fold", "pyramid"]),
    st.sampled_from([2, 4, 16, 256]), st.sampled_from(["klt", "scratch"]),
)  # fmt: skip
@example(17, 1000, "attention", "fold", 16, "klt")
@example(1, 1, "attention", "pyramid", 16, "scratch")
@settings(max_examples=40)
def test_any_size_has_a_latent_of_the_size_that_the_spec_says_and_comes_back(
    height, width, architecture, stem, reduction, init
):
    model = construct(ModelSpec(architecture, reduction, 3, init, width=4, stem=stem), seed=0).eval()
    x = uniform(2, 1, height, width)
    with torch.no_grad():
        out = model(x)
    assert model.latent_shape(height, width) == (3, -(-height // reduction), -(-width // reduction))
    assert tuple(out.y.shape) == (2, *model.latent_shape(height, width))
    assert out.x_hat.shape == x.shape
    assert out.y_hat is out.y
    with torch.no_grad():
        hooked = model(x, torch.neg)
        torch.testing.assert_close(hooked.y_hat, -out.y)
        torch.testing.assert_close(hooked.x_hat, model.synthesis(-out.y, (height, width)))


@pytest.mark.parametrize("architecture", NETWORKS)
@pytest.mark.parametrize("reduction", [4, 16])
@pytest.mark.parametrize("stem", ["fold", "pyramid"])
def test_a_klt_start_is_the_klt(architecture, reduction, stem, data):
    spec = ModelSpec(architecture, reduction, 5, "klt", width=8, stem=stem)
    model = build_model(spec, seed=1, klt=data.fit_klt).eval()
    klt = build_model(ModelSpec("klt", reduction, 5), seed=0, klt=data.fit_klt)
    x = uniform(1, 1, 50, 67, seed=2)
    with torch.no_grad():
        ours, theirs = model(x), klt(x)
    torch.testing.assert_close(ours.x_hat, theirs.x_hat, rtol=0, atol=0)
    torch.testing.assert_close(ours.y, theirs.y, rtol=0, atol=0)
    # it can be left in both directions
    out = model.train()(x)
    (out.x_hat.square().mean() + out.y.square().mean()).backward()
    assert float(model.g_a[-1].weight.grad.abs().max()) > 0
    last = [m for m in model.g_s.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)][-1]
    assert float(last.weight.grad.abs().max()) > 0


def test_one_seed_one_network_and_the_global_generator_is_left_alone(data):
    torch.default_generator.manual_seed(5)
    state = torch.get_rng_state()
    spec = ModelSpec("residual", 8, 4, width=4)
    a, b, c = (build_model(spec, seed=s, klt=data.fit_klt) for s in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    weights = [torch.cat([p.flatten() for p in m.parameters()]) for m in (a, b, c)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_wrong_inputs_and_specs_are_named():
    model = construct(ModelSpec("plain", 8, 4, width=4), seed=0)
    for shape in ((1, 2, 16, 16), (1, 1, 0, 16)):
        with pytest.raises(ModelError, match="single bands"):
            model(torch.zeros(shape))
    with pytest.raises(ModelError, match=r"\(N, 4, h, w\)"):
        model.synthesis(torch.zeros(1, 3, 2, 2))
    for spec, message in (
        (ModelSpec("plian"), "unknown architecture 'plian'; did you mean plain"),
        (ModelSpec("residual", depth=0), "needs depth"),
        (ModelSpec("plain", init="klt"), r"klt=data\.fit_klt"),
        (ModelSpec("klt"), r"klt=data\.fit_klt"),
    ):
        with pytest.raises(ModelError, match=message):
            build_model(spec, seed=0)
    with pytest.raises(PlanError, match="unknown stem 'stump'"):
        ModelSpec("plain", stem="stump")


OWN = '''
"""An architecture of one's own, in one file."""
from torch import nn

from sarlab.models.autoencoders import Autoencoder, architectures


@architectures.register("test-own")
class Perceptron(Autoencoder):
    """Each patch by itself through one hidden layer."""

    def __init__(self, spec):
        super().__init__(spec)
        r, c, hidden = spec.spatial_reduction, spec.latent_channels, 8 * spec.width
        self.g_a = nn.Sequential(nn.PixelUnshuffle(r), nn.Conv2d(r * r, hidden, 1), nn.ELU(), nn.Conv2d(hidden, c, 1))
        self.g_s = nn.Sequential(nn.Conv2d(c, hidden, 1), nn.ELU(), nn.Conv2d(hidden, r * r, 1), nn.PixelShuffle(r))
'''


def test_a_users_own_architecture_is_one_file_behind_an_entry_point(data, tmp_path, monkeypatch):
    (tmp_path / "own_network.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    entry = EntryPoint("own", "own_network", architectures.group)
    monkeypatch.setattr("sarlab.registry.entry_points", lambda group: [entry] if group == architectures.group else [])
    monkeypatch.setattr(architectures, "_plugins_loaded", False)
    try:
        klt = build_model(ModelSpec("klt", 8, 4), seed=0, klt=data.fit_klt)
        x = uniform(1, 1, 24, 24)
        model = build_model(ModelSpec("test-own", 8, 4, "klt", width=4), seed=0, klt=data.fit_klt)
        torch.testing.assert_close(model(x).x_hat, klt(x).x_hat, rtol=0, atol=0)
        assert train(model, data, TrainSpec(steps=3, batch_size=2, patch_size=32), seed=0).stopped == "finished"
        assert macs_per_pixel(model.spec) == (2 * 32 * (64 + 4)) / 64 + 8
    finally:
        architectures._items.pop("test-own", None)
        sys.modules.pop("own_network", None)


SAVED = ModelSpec("attention", 8, 4, "klt", width=4, stem="pyramid")


@pytest.fixture
def path(tmp_path):
    ranges = {"VV": SimpleNamespace(low=-25.0, high=3.0), "VH": SimpleNamespace(low=-31.0, high=-3.5)}
    notes = {"run": "attention-r8", "psnr": float("nan")}
    save_model(tmp_path / "w.safetensors", construct(SAVED, 3), normalizers=ranges, provenance=notes)
    return tmp_path / "w.safetensors"


def test_what_goes_in_comes_out(path):
    loaded = load_model(path)
    assert loaded.model.spec == SAVED
    assert loaded.normalizers == {"VV": (-25.0, 3.0), "VH": (-31.0, -3.5)}
    assert loaded.provenance == {"run": "attention-r8", "psnr": None}
    x = uniform(1, 1, 20, 30)
    model = construct(SAVED, 3).eval()
    with torch.no_grad():
        assert torch.equal(loaded.model(x).x_hat, model(x).x_hat)
    assert not loaded.model.training
    tensors, values = read_tensors(path)
    tensors["linear.mean"].fill_(torch.inf)
    write_tensors(path, tensors, values)
    with pytest.raises(ModelError, match="NaN or infinite"):
        load_model(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.update(format=99), "format 99"),
        (lambda v: v.pop("model"), "cannot be read"),
        (lambda v: v.update(normalizers={"VV": [3, "high"]}), "cannot be read"),
        (lambda v: v.update(provenance=7), "cannot be read"),
        (lambda v: v["model"].update(color="red"), "unknown key 'color'"),
        (lambda v: v["model"].update(latent_channels=-1), "latent_channels"),
        (lambda v: v["model"].update(spatial_reduction=12), "power of two"),
        (lambda v: v["model"].update(architecture="os.system"), "unknown architecture"),
        (lambda v: v["model"].update(width=10**9), "too large"),
        (lambda v: v["model"].update(width=4096, spatial_reduction=256), "too large"),
        (lambda v: v["model"].update(depth=10**6), "too large"),
        (lambda v: v["model"].update(width=5), "the model needs"),
        (lambda v: v["model"].update(init="scratch"), "which the model does not have"),
        (lambda v: v["model"].update(depth=2), "lacks"),
        (lambda v: v["model"].update(stem="stump"), "unknown stem .stump."),
    ],
)
def test_descriptions_are_not_trusted(path, change, message):
    tensors, values = read_tensors(path)
    change(values)
    write_tensors(path, tensors, values)
    with pytest.raises(ModelError, match=message):
        load_model(path)


# --- size and cost, counted by hand -----------------------------------------------------------------------------------


def test_networks_counted_by_hand():
    # The KLT takes one product per component and direction.
    assert macs_per_pixel(ModelSpec("klt", 16, 24)) == 48
    # Pyramid: 5×5 convolutions at 1/4, 1/16, 1/64, 1/256 of the pixels, and no unstrided layers. A transposed 4×4
    # convolution of stride 2 takes 16 products per input sample and pair of channels.
    w, c = 8, 6
    layers = [(1, w, 4), (w, 2 * w, 16), (2 * w, 4 * w, 64), (4 * w, c, 256)]
    spec = ModelSpec("plain", 16, c, width=w, depth=0, stem="pyramid")
    assert macs_per_pixel(spec) == pytest.approx(sum((25 + 16) * a * b / share for a, b, share in layers))
    assert autoencoders.count_parameters(construct(spec, 0)) == sum(41 * a * b + a + b for a, b, _ in layers)
    # Fold: a 3×3 convolution of 64 folded pixels at 1/64 of the pixels on both sides, and 5×5 or 4×4 to the latent.
    spec = ModelSpec("plain", 16, c, width=w, depth=0)
    assert macs_per_pixel(spec) == pytest.approx(2 * 9 * 64 * 4 * w / 64 + (25 + 16) * 4 * w * c / 256)
    # Attention, on both sides at 1/64 of the pixels: four products of all channels, two of each pair of tokens in a window.
    channels, tokens = 4 * w, 64
    attention, residual = (ModelSpec(name, 16, 8, width=w) for name in ("attention", "residual"))
    extra = macs_per_pixel(attention) - macs_per_pixel(residual)
    assert extra == pytest.approx(2 * (4 * channels**2 + 2 * tokens * channels) / 64)
