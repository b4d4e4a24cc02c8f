"""Packs: the same split and digest on a machine without the files."""

import io
import json
import zipfile

import numpy as np
import pytest

from sarlab.errors import SceneError
from sarlab.scenes.catalog import load_split
from sarlab.scenes.embedded import embedded_split, reference_normalizers
from sarlab.scenes.packs import load_pack, pack_sources, save_pack
from sarlab.scenes.radiometry import from_db, to_db
from sarlab.scenes.scene import Georeference, Scene
from sarlab.scenes.simulate import simulated_split
from sarlab.scenes.splits import split_scenes
from sarlab.specs import SceneSpec


@pytest.fixture
def own_split():
    data = np.random.default_rng(0).integers(0, 9, (1, 60, 50)).astype(np.float32)
    data[0, 3] = np.nan
    scene = Scene(
        data,
        "amplitude",
        ("HH",),
        name="mine",
        spacing=(2.0, 3.0),
        georeference=Georeference("", (1.0, 0, 0, 0, -1.0, 9.0)),
        nodata=255.0,
        dtype="uint8",
        native_bits=8,
        tags={"a": "b"},
        credit="me",
    )
    empty = Scene(np.full((1, 4, 4), np.nan), "db", ("HH",), name="empty")
    return split_scenes([scene], reference_normalizers(), [("empty", "nodata")], [empty])


def test_everything_survives(tmp_path, own_split):
    splits = {"mine": own_split, "bigearthnet": embedded_split(), "sim": simulated_split(1.0)}
    path = tmp_path / "scenes.npz"
    save_pack(path, splits)
    assert sorted(pack_sources(path)) == sorted(splits)
    for name, split in splits.items():
        again = load_split(SceneSpec(f"{path}#{name}"))
        assert again.digest == split.digest
        assert again.note == split.note
        assert again.excluded == split.excluded
        assert dict(again.normalizers) == dict(split.normalizers)
        assert set(again.clean) == set(split.clean)
        for (role, a), (other, b) in zip(split.roles(), again.roles(), strict=True):
            assert role == other
            assert np.array_equal(a.data, b.data, equal_nan=True)
            for field in a.__dataclass_fields__:
                if field not in ("data", "valid"):
                    assert getattr(a, field) == getattr(b, field), field
    part = load_pack(path, "mine").train[0]
    assert (from_db(part).data == 0).any()


def test_one_source_needs_no_name_and_several_do(tmp_path, own_split):
    path = tmp_path / "one.npz"
    save_pack(path, {"mine": own_split})
    assert load_split(SceneSpec(str(path))).digest == own_split.digest
    save_pack(path, {"a": own_split, "b": own_split})
    with pytest.raises(SceneError, match="holds a, b; choose one"):
        load_split(SceneSpec(str(path)))
    with pytest.raises(SceneError, match="no source 'c'"):
        load_split(SceneSpec(f"{path}#c"))


def test_bad_packs_are_refused(tmp_path, own_split):
    with pytest.raises(SceneError, match="no such pack"):
        load_split(SceneSpec(str(tmp_path / "none.npz")))
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(SceneError, match="not a pack"):
        load_split(SceneSpec(str(tmp_path / "text.npz")))
    np.savez(tmp_path / "other.npz", a=np.zeros(2))
    with pytest.raises(SceneError, match="not a pack"):
        load_split(SceneSpec(str(tmp_path / "other.npz")))
    with pytest.raises(SceneError, match=r"is a \.npz file"):
        save_pack(tmp_path / "x.zip", {"a": own_split})
    with pytest.raises(SceneError, match="no source"):
        save_pack(tmp_path / "x.npz", {})


def rewritten(path, change):
    """Copy of a pack in which `change` may replace the bytes of members."""
    out = path.with_name("changed.npz")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(out, "w") as target:
        for info in source.infolist():
            target.writestr(info.filename, change(info.filename, source.read(info)))
    return out


def test_changed_samples_do_not_pass(tmp_path, own_split):
    path = tmp_path / "p.npz"
    save_pack(path, {"mine": own_split})

    def change(name, data):
        return data[:-1] + bytes([data[-1] ^ 1]) if name.startswith("scene00000") else data

    with pytest.raises(SceneError, match="do not match their digest"):
        load_split(SceneSpec(str(rewritten(path, change))))


def test_a_header_that_claims_too_much_is_not_believed(tmp_path, own_split):
    path = tmp_path / "p.npz"
    save_pack(path, {"mine": own_split})

    def change(name, data):
        if not name.startswith("scene00000"):
            return data
        lying = io.BytesIO()
        header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 20, 1 << 20, 1 << 10)}
        np.lib.format.write_array_header_1_0(lying, header)
        return lying.getvalue() + b"\0" * 64

    with pytest.raises(SceneError, match="does not fit its header"):
        load_split(SceneSpec(str(rewritten(path, change))))


def test_a_pack_with_a_missing_member_is_refused(tmp_path, own_split):
    path = tmp_path / "p.npz"
    save_pack(path, {"mine": own_split})

    def change(name, data):
        if name != "index.npy":
            return data
        out = io.BytesIO()
        index = json.loads(np.load(io.BytesIO(data)).tobytes())
        index["sources"]["mine"]["train"][0]["array"] = "scene99999"
        np.save(out, np.frombuffer(json.dumps(index).encode(), np.uint8))
        return out.getvalue()

    with pytest.raises(SceneError, match="damaged pack"):
        load_split(SceneSpec(str(rewritten(path, change))))


def test_zeros_keep_their_floor_in_a_pack(tmp_path):
    scene = to_db(Scene(np.array([[[0, 1, 4.0]] * 3]), "amplitude", ("HH",), dtype="uint8"))
    split = split_scenes([scene], {})
    save_pack(tmp_path / "p.npz", {"z": split})
    again = load_pack(tmp_path / "p.npz").test[0]
    assert np.array_equal(np.rint(from_db(again).data), [[[0, 1, 4]] * 3])
