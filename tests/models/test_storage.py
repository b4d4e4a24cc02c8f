"""Files of tensors: whole or not at all, and a hostile file gets a clear sentence."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from sarlab.errors import ModelError
from sarlab.models.autoencoders import construct, load_model, save_model
from sarlab.models.storage import read_tensors, write_tensors
from sarlab.specs import ModelSpec


def test_nothing_half_written_is_left(tmp_path):
    target = tmp_path / "w.safetensors"
    with pytest.raises(TypeError):
        write_tensors(target, {"a": torch.zeros(3)}, {"x": object()})
    assert list(tmp_path.iterdir()) == []
    write_tensors(target, {"a": torch.zeros(3)}, {"x": [1.5, float("nan")]})
    assert read_tensors(target)[1] == {"x": [1.5, None]}
    assert list(tmp_path.iterdir()) == [target]


def test_foreign_and_missing_files_are_named(tmp_path):
    with pytest.raises(ModelError, match="no file"):
        read_tensors(tmp_path / "none.safetensors")
    save_file({"a": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ModelError, match="not written by sarlab"):
        read_tensors(tmp_path / "foreign.safetensors")
    torch.save({"a": torch.zeros(2)}, tmp_path / "pickle.pt")
    with pytest.raises(ModelError, match="damaged or not a safetensors"):
        read_tensors(tmp_path / "pickle.pt")
    for values in ("[1, 2]", "{", "[" * 100_000):
        save_file({"a": torch.zeros(2)}, tmp_path / "odd.safetensors", metadata={"sarlab": values})
        with pytest.raises(ModelError, match="damaged"):
            read_tensors(tmp_path / "odd.safetensors")


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
