"""Files of tensors: whole or not at all, and a hostile file gets a clear sentence."""

import json
import struct

import pytest
import torch
from safetensors.torch import save_file

from sarlab.errors import ModelError
from sarlab.models.storage import read_tensors, write_tensors


def test_nothing_half_written_is_left(tmp_path):
    target = tmp_path / "w.safetensors"
    with pytest.raises(TypeError):
        write_tensors(target, {"a": torch.zeros(3)}, {"x": object()})
    assert list(tmp_path.iterdir()) == []
    write_tensors(target, {"a": torch.zeros(3)}, {"x": [1.5, float("nan")]})
    assert read_tensors(target)[1] == {"x": [1.5, None]}
    assert list(tmp_path.iterdir()) == [target]


def test_foreign_missing_and_hostile_files_are_named(tmp_path):
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
    # tensors and a header that no memory holds
    for shape, size in (([1 << 40], 1 << 42), ([1 << 62, 8], 4)):
        text = json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}}).encode()
        for length in (len(text), 1 << 60):
            (tmp_path / "odd.safetensors").write_bytes(struct.pack("<Q", length) + text + bytes(4))
            with pytest.raises(ModelError):
                read_tensors(tmp_path / "odd.safetensors")
