"""The codec `hyper` in integers: exact arithmetic, networks that any machine evaluates alike, files that come back."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sarlab.codec.api import compress, decompress
from sarlab.codec.codec_plans import CodecPlan, CodecTraining, GatheredScenes, HyperSpec
from sarlab.codec.hyper import fitting
from sarlab.codec.hyper.arithmetic import (
    OCTAVE,
    Ratios,
    interpolated,
    magnitude_table,
    power,
    scale_indices,
    step_logs,
)
from sarlab.codec.hyper.context import KNOT_COUNT, features
from sarlab.codec.hyper.despeckling import Despeckling
from sarlab.codec.hyper.fitting import best_tables
from sarlab.codec.hyper.integers import Ranges, integer_context
from sarlab.codec.hyper.levelcurve import SIZE
from sarlab.codec.hyper.network import EXACT, LARGEST_ACTIVATION, IntegerContext
from sarlab.codec.hyper.storage import with_despeckling
from sarlab.codec.hyper.train_second import second_context, train_second
from sarlab.codec.model_store import load_model
from sarlab.codec.rangecoder import RangeDecoder, RangeEncoder
from sarlab.codec.tiles import encode_tile
from sarlab.errors import BitstreamError, CodecError, ModelError
from sarlab.models.data import Raster
from sarlab.models.storage import read_tensors, write_tensors
from sarlab.scenes.scene import Scene

PLAN = CodecPlan(
    "tiny-1", width=4,
    hyper=HyperSpec(groups=((4, 4, 5), (12, 2, 3), (48, 2, 3)), features=10, hidden=8, trellis=True),
    training=CodecTraining(steps=0, patch_size=64, threads=1),
)  # fmt: skip


def untrained(plan=PLAN, second=False):
    """Random networks that predict something else everywhere."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        trained = fitting.build(plan)
        for head in trained.context.heads:
            torch.nn.init.normal_(head.outer.weight, std=0.2)
        trained.network.g_s.outer.weight.data.normal_(std=0.02)
        trained.context.embed.data.normal_(std=0.2)
        trained.log_gain.data.normal_(std=0.1)
        if second:
            trained.second = second_context(trained.context)
            trained.second.cross.weight.data.normal_(std=0.03)
        trained.network.fit_linear([training().training[0].values])
    return trained.eval()


def training():
    generator = torch.Generator().manual_seed(8)
    noise = torch.randn(2, 1, 98, 98, generator=generator)
    values = 0.5 + 0.25 * torch.nn.functional.avg_pool2d(noise, 3, 1)[:, 0]
    rasters = tuple(Raster(v) for v in values)
    return GatheredScenes(rasters, (), "", "", (rasters,))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Path of a model with random networks that sees the first of two bands."""
    path = tmp_path_factory.mktemp("hyper") / "tiny-1.safetensors"
    fitting.finish(PLAN, path, untrained(second=True), training(), {})
    return path


@pytest.fixture(scope="module")
def scalar(tmp_path_factory):
    """Path of a model that quantizes values one by one."""
    plan = replace(PLAN, hyper=replace(PLAN.hyper, groups=((64, 1, 3),), trellis=False))
    path = tmp_path_factory.mktemp("hyper") / "plain.safetensors"
    fitting.finish(plan, path, untrained(plan), training(), {})
    return path


# --- numbers ----------------------------------------------------------------------------------------------------------


@given(st.integers(-30 * OCTAVE, 30 * OCTAVE))
def test_powers_of_two(log):
    mantissa, exponent = power(log)
    assert 1 << 15 <= mantissa <= 1 << 16
    assert mantissa * 2.0**exponent == pytest.approx(2 ** (log / OCTAVE), rel=2**-16)


@given(st.lists(st.integers(-14 * OCTAVE, 20 * OCTAVE), min_size=3, max_size=3), st.integers(-(1 << 20), 1 << 20))
def test_ratios_multiply_to_the_nearest(logs, value):
    ratios = Ratios(np.array(logs), -4)
    found = ratios.of(np.array([[value] * 3]), 0, 3)[0]
    expected = [value * 2 ** (log / OCTAVE - 4) for log in logs]
    assert (np.abs(found - expected) <= 0.5 + 2**-15 * np.abs(expected) + 1e-9).all()


def test_steps_follow_the_quality():
    gains = np.random.default_rng(0).integers(-500, 500, (KNOT_COUNT, 64))
    for stored in (0, 2048, 5000, 7424, 14336, 24576):
        logs = step_logs(gains, stored) - interpolated(gains, stored)
        assert len(set(logs.tolist())) == 1
        assert logs[0] / OCTAVE == pytest.approx(math.log2(math.sqrt(12)) - stored / 256 / 20 * math.log2(10), abs=2e-4)
    assert (interpolated(gains, 2048 + 3 * 1536) == gains[3]).all()
    assert (interpolated(gains, 0) == gains[0]).all()
    assert (interpolated(gains, 60000) == gains[-1]).all()


def test_scale_indices_round_logarithms():
    results = np.arange(-3000, 3000, 7)[:, None]
    relative = np.array([-5000, 0, 1234])
    index = scale_indices(results, relative)
    exact = 32 + 8 * (results / 256 - relative / OCTAVE)
    assert index.dtype == np.uint8
    assert np.abs(index - np.clip(exact, 0, 151)).max() <= 0.5 + 1e-9


def test_magnitudes_as_the_float_networks_see_them():
    x = torch.arange(256).view(1, 1, -1) / 32
    assert np.abs(magnitude_table() - 32 * features(x)[0, 1].numpy()).max() <= 0.5 + 1e-4


# --- networks ---------------------------------------------------------------------------------------------------------


def integer_networks(second=False):
    trained = untrained(second=second)
    context = trained.second or trained.context
    ranges = Ranges(context)
    with ranges.watching(), torch.no_grad():
        for raster in training().training:
            for quality in (15.0, 30.0, 45.0):
                x, level = raster.values[None, None], torch.tensor([quality])
                trained.costs(x, None, level, None, trained.decoded(x.flip(2), level) if second else None)
        tensors = integer_context(context, ranges)
    return trained, tensors, IntegerContext(tensors, PLAN.hyper.groups, 64)


def test_no_sum_can_leave_the_exact_integers():
    _, tensors, _ = integer_networks(second=True)
    assert "cross" in tensors
    layers = {name.removesuffix(".bias") for name in tensors if name.endswith(".bias")}
    assert len(layers) == 2 * 8
    for name in layers:
        weight, bias = tensors[f"{name}.weight"].double(), tensors[f"{name}.bias"].double()
        sums = weight.abs().sum((1, 2, 3)) * LARGEST_ACTIVATION + bias.abs()
        assert sums.max() < EXACT
        assert sums.max() > EXACT / 8  # and the room is used
    assert {t.dtype for t in tensors.values()} <= {torch.int16, torch.int32}


def evaluated(context, seed, dtype, threads):
    """Results of all steps and the largest feature of a random walk; `dtype` is what the networks' integers are carried in."""
    generator = np.random.default_rng(seed)
    active = generator.random((9, 13)) < 0.9
    rows = np.flatnonzero(active)
    before, out = torch.get_num_threads(), []
    torch.set_num_threads(threads)
    try:
        total = context.begin(30 * 256, active)
        largest = float(total.abs().max())
        for number, step in enumerate(context.steps):
            at = torch.from_numpy(rows[step.mask(9, 13).numpy().ravel()[rows]])
            out.append(context.results(number, total, at))
            context.add(number, total, at, generator.integers(-255, 256, (len(at), step.last - step.first)))
            largest = max(largest, float(total.abs().max()))
    finally:
        torch.set_num_threads(before)
    return out, largest


def test_integers_do_not_depend_on_threads_or_precision(monkeypatch):
    _, tensors, context = integer_networks()
    plain, largest = evaluated(context, 0, torch.float32, 1)
    assert largest < EXACT
    for threads in (2, 3):
        other, _ = evaluated(context, 0, torch.float32, threads)
        assert all((a == b).all() for a, b in zip(plain, other, strict=True))
    # The same networks carried in float64, which holds integers up to 2^53.
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    wide = IntegerContext({k: t.double() for k, t in tensors.items()}, PLAN.hyper.groups, 64)
    begin, zeros = wide.begin, torch.zeros
    monkeypatch.setattr("sarlab.codec.hyper.network.np.float32", np.float64)
    monkeypatch.setattr(torch, "zeros", lambda *a, **k: zeros(*a, **{"dtype": torch.float64, **k}))
    wide.magnitude = wide.magnitude.double()
    assert begin(0, np.ones((4, 4), bool)).dtype == torch.float64
    other, _ = evaluated(wide, 0, torch.float64, 1)
    assert all((a == b).all() for a, b in zip(plain, other, strict=True))


@torch.no_grad()
def test_integer_networks_follow_the_float_ones():
    trained, _, context = integer_networks()
    generator = torch.Generator().manual_seed(9)
    values = (32 * torch.randn(1, 64, 8, 12, generator=generator)).round().clamp(-255, 255)
    walk = trained.context.walk(trained.context.begin(torch.tensor([27.0]), (8, 12)))
    total = context.begin(27 * 256, np.ones((8, 12), bool))
    decoded, errors, spread = None, [], []
    for number in range(len(context.steps)):
        step, mean, log_scale = walk.send(decoded)
        place = step.mask(8, 12)
        rows = torch.from_numpy(np.flatnonzero(place.numpy()))
        found = context.results(number, total, rows) / 256
        wanted = torch.cat([mean, log_scale], 1)[0].flatten(1).T[rows].numpy()
        errors.append(found - wanted)
        spread.append(wanted)
        part = values[:, step.first : step.last] * place
        decoded = part / 32
        context.add(number, total, rows, part[0].flatten(1).T[rows].numpy().astype(np.int64))
    error, size = (np.concatenate([e.ravel() for e in parts]) for parts in (errors, spread))
    assert np.sqrt(np.mean(error**2)) < 0.03 * size.std()


# --- tables -----------------------------------------------------------------------------------------------------------


def test_best_tables_find_family_and_scale():
    rng = np.random.default_rng(1)
    counts = np.zeros((152, 64))
    for index in (32, 40, 48):  # logistic values half an octave wider than predicted
        scale = 2 ** ((index + 4 - 32) / 8)
        values = np.rint(rng.logistic(0, scale * np.sqrt(3) / np.pi, 40_000)).astype(int)
        np.add.at(counts[index], np.abs(values[np.abs(values) < 64]), 1)
    families, tables = best_tables(counts)
    assert (families == 1).all()
    assert np.abs(tables[[32, 40, 48]] - np.array([36, 44, 52])).max() <= 1
    assert np.abs(tables[20] - 24) <= 1  # not seen: moved like the nearest that was
    assert (tables[:20] <= tables[1:21]).all()


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quality", [10.0, 30.0, 61.7, 96.0])
def test_a_scene_comes_back(tiny, speckled, quality):
    data = compress(speckled, codec=str(tiny), quality=quality, tile=64)
    decoded = decompress(data, model=tiny)
    assert (np.isnan(decoded.data) == np.isnan(speckled.data)).all()
    error = np.nanmean(np.square(decoded.data - speckled.data)) ** 0.5
    # The steps are those of quality and gains; the correction of random networks adds some steps.
    assert error < 12 * 28 * 10 ** (-quality / 20) + 1e-3


def test_decoding_does_not_depend_on_threads(tiny, speckled):
    data = compress(speckled, codec=str(tiny), quality=33, tile=128)
    before = torch.get_num_threads()
    decoded = []
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        try:
            decoded.append(decompress(data, model=tiny).data)
        finally:
            torch.set_num_threads(before)
    for other in decoded[1:]:
        assert np.nanmax(np.abs(decoded[0] - other)) < 1e-3


def test_encoders_with_other_thread_counts_agree_on_the_same_latent(tiny):
    model = load_model(tiny)
    y = np.random.default_rng(2).normal(0, 0.1, (2, 64, 16, 16)).astype(np.float32)
    active = np.ones((2, 16, 16), bool)
    quantized = model.quantize(y, active, 28.0, None)
    payload, _ = encode_tile(model, quantized, np.ones((2, 128, 128), bool), None, 0, 28.0, None)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        decoder = RangeDecoder(payload)
        decoder.decode_uniform(1, 3)  # the masks' mode
        assert (model.decode(decoder, active, 28.0, None) == quantized.latent).all()
    finally:
        torch.set_num_threads(before)


def test_estimated_bits_are_those_of_the_code(tiny):
    model = load_model(tiny)
    y = np.random.default_rng(3).normal(0, 0.1, (1, 64, 40, 40)).astype(np.float32)
    active = np.ones((1, 40, 40), bool)
    for quality in (20.0, 35.0, 50.0):
        quantized = model.quantize(y, active, quality, None)
        encoder = RangeEncoder()
        model.encode(encoder, quantized, active, quality, None)
        assert 8 * len(encoder.finish()) == pytest.approx(quantized.bits, rel=2e-2, abs=64)


def test_a_band_without_samples_costs_nothing(tiny, speckled):
    empty = speckled.with_data(np.stack([speckled.data[0], np.full_like(speckled.data[0], np.nan)]), valid=None)
    data = compress(empty, codec=str(tiny), quality=30)
    alone = compress(speckled.band(0), codec=str(tiny), quality=30)
    assert len(data) < len(alone) + 40
    assert np.isnan(decompress(data, model=tiny).data[1]).all()


@pytest.mark.parametrize("follows", [True, False])
def test_a_band_follows_the_first_or_not(tiny, monkeypatch, follows):
    """Predictions from other first bands differ where it follows, and are those of a first band where it does not."""
    model = load_model(tiny)
    monkeypatch.setattr(model, "_follows", lambda *args: follows and args[-2] > 0)
    rng = np.random.default_rng(4)
    one, other, second = rng.normal(0, 0.1, (3, 64, 12, 12)).astype(np.float32)
    active = np.ones((2, 12, 12), bool)
    coded = [model.quantize(np.stack([first, second]), active, 30.0, None) for first in (one, other)]
    indices = [np.concatenate([step.indices for step in quantized.code[1].steps]).tobytes() for quantized in coded]
    alone = model.quantize(second[None], active[:1], 30.0, None)
    assert (indices[0] == indices[1]) is not follows
    assert (np.concatenate([step.indices for step in alone.code[0].steps]).tobytes() in indices) is not follows
    for quantized in coded:
        encoder = RangeEncoder()
        model.encode(encoder, quantized, active, 30.0, None)
        assert (model.decode(RangeDecoder(encoder.finish()), active, 30.0, None) == quantized.latent).all()


def test_two_bands_cost_less_together_where_they_are_alike():
    rng = np.random.default_rng(6)
    rows, columns = np.mgrid[:256, :256]
    ground = -14 + 3 * np.sin(rows / 23) + 3 * np.sin((rows + 2 * columns) / 31) - 4 * (columns > 140)
    speckle = 10 * np.log10(rng.gamma(4.4, 1 / 4.4, (2, 256, 256)))
    for second, most in ((ground, 0.97), (ground[::-1], 1.002)):
        bands = (np.stack([ground, second - 7]) + speckle).astype(np.float32)
        sizes = [
            len(compress(Scene(data, "db", names), quality=20))
            for data, names in ((bands, ("VV", "VH")), (bands[:1], ("VV",)), (bands[1:], ("VH",)))
        ]
        assert sizes[0] < most * (sizes[1] + sizes[2])


def test_coarse_channels_get_finer_steps_where_the_plan_says_so(tmp_path):
    plan = replace(PLAN, hyper=replace(PLAN.hyper, groups=((64, 1, 3),), trellis=False, coarse_finer=0.5))
    gains = []
    for finer in (0.0, 0.5):
        of = replace(plan, hyper=replace(plan.hyper, coarse_finer=finer))
        fitting.finish(of, tmp_path / "m.safetensors", untrained(of), training(), {})
        gains.append(read_tensors(tmp_path / "m.safetensors")[0]["tables.gains"].int())
    difference = (gains[1] - gains[0]).numpy()
    assert (difference[:, 4:] == 0).all()
    assert np.abs(difference[:, :4] / OCTAVE + 0.5 * np.array([0, 0, 0, 1, 1, 1, 1, 1, 1])[:, None]).max() < 1e-3


def test_the_context_of_second_bands_starts_as_that_of_first_ones():
    trained = untrained()
    x, quality = training().training[0].values[None, None], torch.tensor([28.0])
    alone = trained.costs(x, None, quality, None)
    trained.second = second_context(trained.context)
    other = trained.costs(x, None, quality, None, trained.decoded(x.flip(3), quality))
    assert float(other.cost) == pytest.approx(float(alone.cost), rel=1e-5)


def test_training_the_second_band_learns_what_bands_share():
    plan = replace(
        PLAN, hyper=replace(PLAN.hyper, second_steps=40), training=CodecTraining(batch_size=2, patch_size=64)
    )
    trained, data = untrained(), training()
    before = {name: p.clone() for name, p in trained.context.named_parameters()}
    same = tuple((raster, raster) for raster in data.training)
    assert train_second(plan, trained, same) < 0.99
    assert all((before[name] == p).all() for name, p in trained.context.named_parameters())


def test_damaged_payloads_are_refused_or_decoded_to_something(tiny):
    model = load_model(tiny)
    active = np.ones((1, 8, 8), bool)
    y = np.random.default_rng(5).normal(0, 0.1, (1, 64, 8, 8)).astype(np.float32)
    encoder = RangeEncoder()
    model.encode(encoder, model.quantize(y, active, 30.0, None), active, 30.0, None)
    payload = encoder.finish()
    rng = np.random.default_rng(6)
    for _ in range(60):
        damaged = bytearray(payload)
        damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
        try:
            latent = model.decode(RangeDecoder(bytes(damaged)), active, 30.0, None)
        except BitstreamError:
            continue
        assert latent.shape == (1, 64, 8, 8)
        assert np.abs(latent).max() < 1 << 25


def test_side_information_of_another_size_is_refused(tiny):
    with pytest.raises(BitstreamError, match="1 bytes of side information"):
        load_model(tiny).parse_side(b"x", 1)


def test_a_scene_says_what_its_means_lack(tiny, speckled):
    """Random networks decode a biased scene; what the file says of it makes the mean of each band right, in any window."""
    data = compress(speckled, codec=str(tiny), quality=16, radiometric=True)
    assert len(data) == len(compress(speckled, codec=str(tiny), quality=16)) + 2 * SIZE + 1
    plain, exact = (decompress(data, model=tiny, radiometric=r).data for r in (False, True))

    def biases(decoded):
        mean = [np.nanmean(10 ** (part / 10), axis=(1, 2)) for part in (decoded, speckled.data)]
        return 10 * np.log10(mean[0] / mean[1])

    assert np.abs(biases(plain)).min() > 0.1
    assert np.abs(biases(exact)).max() < 0.02
    window = decompress(data, model=tiny, radiometric=True, window=(20, 30, 40, 50)).data
    assert np.nanmax(np.abs(window - exact[:, 20:60, 30:80])) < 1e-3


def test_the_size_of_the_radiometry_counts(tiny, speckled):
    data = compress(speckled, codec=str(tiny), bpp=1.5, radiometric=True)
    assert 8 * len(data) / speckled.data.size == pytest.approx(1.5, rel=0.03)


def test_models_without_an_estimate_of_the_reflectivity_say_so(tiny, speckled):
    data = compress(speckled, codec=str(tiny), quality=20)
    with pytest.raises(CodecError, match="without --despeckled"):
        decompress(data, model=tiny, despeckled=True)
    with pytest.raises(CodecError, match="without --radiometric"):
        decompress(data, model=tiny, radiometric=True)
    with pytest.raises(CodecError, match="either radiometric or despeckled"):
        decompress(data, model=tiny, radiometric=True, despeckled=True)


def test_models_without_radiometry_say_so(speckled):
    with pytest.raises(CodecError, match="compress without --radiometric"):
        compress(speckled, codec="factorized", radiometric=True)


def test_a_model_with_an_estimate_of_the_reflectivity(tiny, tmp_path, speckled):
    """Before training nearly everything is kept; a window decodes to the same as the whole."""
    path = Path(tmp_path) / "clean.safetensors"
    with_despeckling(tiny, path, Despeckling(), {})
    data = compress(speckled, codec=str(path), quality=40, tile=64)
    clean = decompress(data, model=path, despeckled=True).data
    assert (np.isnan(clean) == np.isnan(speckled.data)).all()
    kept = 1 / (1 + math.exp(-3))
    error = np.nanmean(np.square(clean - speckled.data)) ** 0.5
    assert error < 2 * (1 - kept) * np.nanstd(speckled.data) + 1
    window = decompress(data, model=path, despeckled=True, window=(20, 30, 40, 50)).data
    assert np.nanmax(np.abs(window - clean[:, 20:60, 30:80])) < 1e-3


@pytest.mark.parametrize("change", ["entropy", "float", "groups", "maps", "half a trellis", "trellis"])
def test_a_damaged_model_is_refused(tiny, tmp_path, change):
    tensors, values = read_tensors(tiny)
    if change == "entropy":
        del tensors["entropy.gather.1"]
    elif change == "float":
        tensors["entropy.embed"] = tensors["entropy.embed"].float()
    elif change == "groups":
        values["groups"] = [[64, 3, 3]]
    elif change == "half a trellis":
        del tensors["trellis.odd"]
    elif change == "trellis":
        tensors["trellis.odd"] = torch.zeros_like(tensors["trellis.odd"])
    else:
        tensors["tables.maps"] = tensors["tables.maps"][:, :7].contiguous()
    path = tmp_path / "damaged.safetensors"
    write_tensors(path, tensors, values)
    with pytest.raises(ModelError):
        load_model(path)


def test_a_model_without_a_trellis(scalar, speckled):
    scene = Scene(speckled.data[:, :70, :60], "db", ("VV", "VH"))
    decoded = decompress(compress(scene, codec=str(scalar), quality=40), model=scalar)
    assert np.nanmean(np.square(decoded.data - scene.data)) < 1


def test_a_finished_model_gets_an_estimate_of_the_reflectivity(tiny, tmp_path, speckled):
    """Its latents and samples stay what they were; its hash does not, because files decode to more with it."""
    path = Path(tmp_path) / "tiny-1.safetensors"
    with_despeckling(tiny, path, Despeckling(), {"stages": "then the estimate"})
    before, after = load_model(tiny), load_model(path)
    assert before.hash != after.hash
    _, values = read_tensors(path)
    assert values["provenance"] == {**read_tensors(tiny)[1]["provenance"], "stages": "then the estimate"}
    data = compress(speckled, codec=str(path), quality=25)
    plain = decompress(compress(speckled, codec=str(tiny), quality=25), model=tiny).data
    assert np.nanmax(np.abs(decompress(data, model=path).data - plain)) < 1e-5
    assert np.isfinite(decompress(data, model=path, despeckled=True).data).any()
