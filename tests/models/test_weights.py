"""Weights on disk: what goes in comes out, and a hostile file gets a clear sentence."""

import json
import os
import struct
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from sarlab.errors import ModelError
from sarlab.models.autoencoders import construct, load_model, save_model
from sarlab.models.storage import read_tensors, write_tensors
from sarlab.specs import ModelSpec

SPEC = ModelSpec("attention", 8, 4, "klt", width=4, options=(("stem", "fold"),))


@pytest.fixture
def path(tmp_path):
    model = construct(SPEC, 3)
    save_model(
        tmp_path / "w.safetensors",
        model,
        normalizers={"VV": SimpleNamespace(low=-25.0, high=3.0), "VH": (-31.0, -3.5)},
        provenance={"run": "attention-r8", "psnr": float("nan")},
    )
    return tmp_path / "w.safetensors"


def rewrite(path, change) -> None:
    """Change the JSON entry of a file."""
    tensors, values = read_tensors(path)
    change(values)
    write_tensors(path, tensors, values)


def test_what_goes_in_comes_out(path):
    loaded = load_model(path)
    assert loaded.model.spec == SPEC
    assert loaded.normalizers == {"VV": (-25.0, 3.0), "VH": (-31.0, -3.5)}
    assert loaded.provenance == {"run": "attention-r8", "psnr": None}
    x = torch.rand(1, 1, 20, 30, generator=torch.Generator().manual_seed(0))
    model = construct(SPEC, 3).eval()
    with torch.no_grad():
        assert torch.equal(loaded.model(x).x_hat, model(x).x_hat)
    assert not loaded.model.training


def test_nothing_half_written_is_left(tmp_path):
    target = tmp_path / "w.safetensors"
    with pytest.raises(TypeError):
        write_tensors(target, {"a": torch.zeros(3)}, {"x": object()})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.update(format=99), "format 99"),
        (lambda v: v.pop("model"), "cannot be read"),
        (lambda v: v.update(model=[1]), "cannot be read"),
        (lambda v: v.update(normalizers={"VV": 3}), "cannot be read"),
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
        (lambda v: v["model"].update(options=[["stem", "x"]]), "stem"),
    ],
)
def test_descriptions_are_not_trusted(path, change, message):
    rewrite(path, change)
    with pytest.raises(ModelError, match=message):
        load_model(path)


def test_weights_that_are_not_numbers_are_refused(path):
    tensors, values = read_tensors(path)
    next(iter(tensors.values())).flatten()[0] = float("nan")
    write_tensors(path, tensors, values)
    with pytest.raises(ModelError, match="NaN"):
        load_model(path)


def test_foreign_and_missing_files_are_named(tmp_path):
    with pytest.raises(ModelError, match="no file"):
        load_model(tmp_path / "none.safetensors")
    save_file({"a": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ModelError, match="not written by sarlab"):
        load_model(tmp_path / "foreign.safetensors")
    torch.save({"a": torch.zeros(2)}, tmp_path / "pickle.pt")
    with pytest.raises(ModelError, match="damaged or not a safetensors"):
        load_model(tmp_path / "pickle.pt")
    for values in ("[1, 2]", "{", "[" * 100_000):
        save_file({"a": torch.zeros(2)}, tmp_path / "odd.safetensors", metadata={"sarlab": values})
        with pytest.raises(ModelError, match="damaged"):
            load_model(tmp_path / "odd.safetensors")


def test_a_header_that_promises_too_much_is_refused(tmp_path):
    for length, header in [
        (2**62, b"{}"),
        (200, json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode().ljust(200)),
    ]:
        file = tmp_path / "bomb.safetensors"
        file.write_bytes(struct.pack("<Q", length) + header)
        with pytest.raises(ModelError, match="damaged"):
            load_model(file)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_damage_anywhere_is_an_error_or_harmless(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damage")
    file = folder / "w.safetensors"
    save_model(file, construct(ModelSpec("klt", 2, 2), 0))
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        loaded = load_model(file)
    except ModelError:
        return
    assert all(torch.isfinite(p).all() for p in loaded.model.parameters())


def test_the_writer_leaves_other_files_alone(path):
    before = sorted(os.listdir(path.parent))
    save_model(path, construct(SPEC, 4))
    assert sorted(os.listdir(path.parent)) == before
