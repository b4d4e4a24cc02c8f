"""Packs: splits carried to another machine in one ``.npz``, readable with NumPy alone and without pickled objects.

A pack holds the splits themselves (float32 dB, masks as NaN), not their files, so that the same split and the same digest
come out where neither the files nor a GeoTIFF library exist. ``scenes.npz`` names the only source of a pack,
``scenes.npz#NAME`` one of several.
"""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sarlab.errors import SceneError
from sarlab.files import replacing
from sarlab.scenes.radiometry import Normalizer
from sarlab.scenes.scene import Georeference, Scene
from sarlab.scenes.splits import ROLES, Split, split_digest

FORMAT = "sarlab-pack-1"

_FIELDS = (
    "quantity", "name", "looks", "native_bits", "acquisition", "nodata", "dtype", "simulated", "seen_in_training", "credit",
)  # fmt: skip


def save_pack(path: str | Path, splits: Mapping[str, Split]) -> None:
    """Write splits by source name; the file appears in one step.

    Raises
    ------
    SceneError
        No split; a name that cannot be told apart in ``pack.npz#name``.
    """
    path = Path(path)
    if path.suffix.lower() != ".npz":
        raise SceneError(f"{path}: a pack is a .npz file; choose a name that ends so")
    if not splits:
        raise SceneError(f"{path}: no source to pack")
    arrays: dict[str, np.ndarray] = {}
    index: dict[str, Any] = {"format": FORMAT, "sources": {}}
    for source, split in splits.items():
        entry: dict[str, Any] = {
            "note": split.note,
            "digest": split.digest,
            "excluded": [list(pair) for pair in split.excluded],
            "normalizers": {band: n.to_dict() for band, n in split.normalizers.items()},
            "clean": {name: _store(scene, arrays) for name, scene in split.clean.items()},
        }
        for role in ROLES:
            entry[role] = [_store(scene, arrays) for scene in getattr(split, role)]
        index["sources"][source] = entry
    text = np.frombuffer(json.dumps(index, sort_keys=True).encode(), np.uint8)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **{"index": text, **arrays})  # type: ignore[arg-type]


def _store(scene: Scene, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    key = f"scene{len(arrays):05d}"
    arrays[key] = np.where(scene.valid, scene.data, np.float32(np.nan)).astype("<f4")
    reference = scene.georeference
    return {
        "array": key,
        "bands": list(scene.bands),
        "spacing": list(scene.spacing) if scene.spacing else None,
        "georeference": {"crs": reference.crs, "transform": list(reference.transform)} if reference else None,
        "tags": dict(scene.tags),
        **{name: getattr(scene, name) for name in _FIELDS},
    }


def pack_sources(path: str | Path) -> list[str]:
    """Names of the sources in a pack."""
    with _Archive(Path(path)) as file:
        return list(_index(Path(path), file)["sources"])


def load_pack(path: str | Path, name: str = "") -> Split:
    """Split of a source in a pack.

    Raises
    ------
    SceneError
        Missing or foreign file; several sources and no name; contents that do not match their digest.
    """
    path = Path(path)
    with _Archive(path) as file:
        sources = _index(path, file)["sources"]
        if not name and len(sources) != 1:
            raise SceneError(f"{path} holds {', '.join(sources)}; choose one as {path}#{next(iter(sources), 'NAME')}")
        if name and name not in sources:
            raise SceneError(f"{path} holds no source '{name}'; it holds {', '.join(sources)}")
        entry = sources[name or next(iter(sources))]
        try:
            roles: dict[str, Any] = {role: tuple(_restore(values, file) for values in entry[role]) for role in ROLES}
            split = Split(
                **roles,
                normalizers={band: Normalizer.from_dict(v) for band, v in entry["normalizers"].items()},
                note=entry["note"],
                excluded=tuple((str(n), str(r)) for n, r in entry["excluded"]),
                clean={key: _restore(values, file) for key, values in entry["clean"].items()},
            )
        except (KeyError, TypeError, ValueError, EOFError, zlib.error, zipfile.BadZipFile, OSError) as error:
            raise SceneError(f"{path}: damaged pack ({error}); pack the scenes again") from None
    if split_digest(split) != entry["digest"]:
        raise SceneError(f"{path}: the scenes of '{name}' do not match their digest; pack them again")
    return split


def _restore(values: Mapping[str, Any], file: _Archive) -> Scene:
    reference = values["georeference"]
    return Scene(
        file[values["array"]],
        bands=tuple(values["bands"]),
        spacing=tuple(values["spacing"]) if values["spacing"] else None,
        georeference=Georeference(reference["crs"], tuple(reference["transform"])) if reference else None,
        tags=values["tags"],
        **{name: values[name] for name in _FIELDS},
    )


class _Archive:
    """Arrays of a ``.npz``; none is allocated before its header agrees with the size of its member."""

    def __init__(self, path: Path):
        if not path.is_file():
            raise SceneError(f"{path}: no such pack; make it with 'sarlab scenes pack {path} SOURCE…'")
        try:
            self._file = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise SceneError(f"{path}: not a pack of scenes ({error})") from None

    def __enter__(self) -> _Archive:
        return self

    def __exit__(self, *details: object) -> None:
        self._file.close()

    def __getitem__(self, key: str) -> np.ndarray:
        info = self._file.getinfo(f"{key}.npy")
        with self._file.open(info) as member:
            version = np.lib.format.read_magic(member)
            if version != (1, 0):
                raise ValueError(f"array format {version}")
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(member)
            size = math.prod(shape) * dtype.itemsize
            if fortran or dtype.hasobject or size + member.tell() != info.file_size:
                raise ValueError(f"array '{key}' does not fit its header")
            return np.frombuffer(member.read(size), dtype).reshape(shape)


def _index(path: Path, file: _Archive) -> dict[str, Any]:
    try:
        index = json.loads(file["index"].tobytes())
        if index["format"] != FORMAT:
            raise ValueError(f"format {index['format']}")
        return index
    except (KeyError, ValueError, TypeError, EOFError, zlib.error, zipfile.BadZipFile, OSError) as error:
        raise SceneError(f"{path}: not a pack of scenes ({error}); make it with 'sarlab scenes pack'") from None
