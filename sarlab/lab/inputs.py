"""Bands to measure: single bands of scenes in dB with their clip range, from splits, files, folders and catalog names."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sarlab.errors import SceneError
from sarlab.metrics import Reference
from sarlab.scenes.catalog import catalog_entries, embedded_scenes, load_scene, load_split, reference_normalizers
from sarlab.scenes.collection import find_scenes
from sarlab.scenes.radiometry import NO_SCENE, Normalizer, to_db
from sarlab.scenes.scene import Scene
from sarlab.scenes.splits import Split, choose_normalizers
from sarlab.specs import SceneSpec

#: A clip range in dB for all bands, or one per band.
Clip = tuple[float, float] | Mapping[str, tuple[float, float]] | None
#: A file, a folder, a name of the catalog or of an embedded scene, a scene, or a split.
Source = str | Path | Scene | Split


@dataclass(frozen=True, eq=False)
class Input:
    """One band to measure codecs and networks on; two are equal if their samples, metadata and clip range are.

    The clip range in dB comes from the ``"embedded"`` training scenes, the ``"source"`` (its own percentiles) or the
    ``"user"``. `split` is the role in a split (empty for files), `clean_db` the speckle-free scene, if known. A `reason`
    explains why nothing can be measured, a `note` that only the middle of a huge scene is used.
    """

    scene: Scene
    clip: tuple[float, float] = (np.nan, np.nan)
    clip_source: str = ""
    split: str = ""
    clean_db: np.ndarray | None = None
    reason: str = ""
    note: str = ""

    @property
    def name(self) -> str:
        """Name of the band."""
        return self.scene.bands[0]

    @cached_property
    def db(self) -> np.ndarray:
        """The recorded band in dB, shape (height, width), float32, NaN where invalid."""
        return to_db(self.scene).data[0]

    @property
    def reference(self) -> Reference:
        """The band as the reference of metrics; equal consecutive inputs share it."""
        return _reference(self)

    @property
    def columns(self) -> dict[str, Any]:
        """Columns of a row that describe the band."""
        scene = self.scene
        return {
            "scene": scene.name, "band": self.name, "split": self.split, "acquisition": scene.acquisition,
            "simulated": scene.simulated, "looks": np.nan if scene.looks is None else scene.looks,
            "seen_in_training": scene.seen_in_training, "pixels": scene.data[0].size, "native_bits": scene.native_bits,
            "clip_low": self.clip[0], "clip_high": self.clip[1],
        }  # fmt: skip

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that decides the figures of this band."""
        scene = self.scene
        about: list[Any] = [scene.name, scene.bands, scene.quantity, scene.looks, scene.native_bits, scene.shape]
        about += [self.split, scene.acquisition, scene.seen_in_training, scene.simulated, self.clip, self.reason]
        digest = hashlib.sha256("|".join(map(str, about)).encode())
        digest.update(np.ascontiguousarray(np.where(scene.valid, scene.data, 0)).tobytes())
        digest.update(np.packbits(scene.valid).tobytes())
        if self.clean_db is not None:
            digest.update(np.ascontiguousarray(self.clean_db, np.float32).tobytes())
        return digest.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Input) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


@lru_cache(maxsize=3)
def _reference(item: Input) -> Reference:
    return Reference(item.db, clip=item.clip, looks=item.scene.looks, clean_db=item.clean_db)


def load_inputs(
    sources: Sequence[Source], *, quantity: str = "auto", bands: Sequence[str] | None = None, clip: Clip = None
) -> list[Input]:
    """Load the bands of all sources; of splits and sources of the catalog, those of the test and independent scenes.

    `quantity` is that of the samples in files. The default of `clip`, in dB, is the range of the embedded training scenes
    for calibrated VV and VH, else the 0.1 and 99.9 percentiles of the source.
    """
    found = [item for source in sources for item in _of_source(source, quantity, clip)]
    if bands is not None:
        known = sorted({item.name for item in found})
        found = [item for item in found if not item.name or item.name in bands]
        if not found:
            raise SceneError(f"no scene has a band {' or '.join(bands)}; there are {', '.join(known)}")
    seen: dict[tuple[str, str], Input] = {}
    for item in found:
        key = (item.scene.name, item.name)
        if seen.setdefault(key, item) != item:
            raise SceneError(f"two different scenes are called '{key[0]}' (band {key[1]}); evaluate them one by one")
    return list(dict.fromkeys(found))


def split_inputs(split: Split, roles: Iterable[str] = ("test", "independent"), clip: Clip = None) -> list[Input]:
    """Bands of the scenes in some roles of a split; those that are excluded have a reason."""
    items = []
    for role, scene in split.roles():
        reason, clean = split.reason(scene.name), split.clean.get(scene.name)
        for item in _bands(scene, split.normalizers, clip) if role in roles else ():
            clean_db = None if clean is None else clean.band(item.name).data[0]
            items.append(replace(item, split=role, reason=item.reason or reason, clean_db=clean_db))
    return items


def measurable(split: Split, roles: Iterable[str] = ("test", "independent")) -> list[Input]:
    """Bands of the scenes in some roles of a split without those that are excluded, empty or without a clip range."""
    return [item for item in split_inputs(split, roles) if not item.reason and not np.isnan(item.clip[0])]


def _of_source(source: Source, quantity: str, clip: Clip) -> list[Input]:
    if isinstance(source, Split):
        return split_inputs(source, clip=clip)
    if isinstance(source, Scene):
        return _of_scenes([source], clip)
    if not isinstance(source, (str, Path)):
        raise SceneError(NO_SCENE.format(type(source).__name__))
    name, path = str(source), Path(source).expanduser()
    if name in embedded_scenes():
        return _of_scenes([load_scene(name)], clip)
    if name not in catalog_entries and path.exists():
        return _of_path(path, quantity, clip)
    return split_inputs(load_split(SceneSpec(name, quantity)), clip=clip)  # its error lists the catalog


def _of_path(path: Path, quantity: str, clip: Clip) -> list[Input]:
    found = find_scenes(path, quantity)
    scenes = [*found.scenes, *found.empty]
    items = _of_scenes(scenes, clip)
    for name, why in found.excluded:  # a file that cannot be read is one row with the reason
        if name not in {scene.name for scene in scenes}:
            items.append(Input(Scene(np.full((1, 1, 1), np.nan, np.float32), "db", ("",), name=name), reason=why))
    return [replace(item, note=found.note) for item in items]


def _of_scenes(scenes: Iterable[Scene], clip: Clip) -> list[Input]:
    scenes = sorted(scenes, key=lambda scene: scene.name)
    usable = [to_db(scene) for scene in scenes if scene.valid.any()]
    chosen = choose_normalizers(usable, reference_normalizers())[0] if usable else {}
    return [item for scene in scenes for item in _bands(scene, chosen, clip)]


def _bands(scene: Scene, normalizers: Mapping[str, Normalizer], clip: Clip) -> Iterator[Input]:
    """Bands of a scene with the range that the user stated, or that of the normalizers."""
    known = reference_normalizers()
    for index, name in enumerate(scene.bands):
        single = scene.band(index)
        item = Input(single, reason="" if single.valid.any() else "every sample is nodata or NaN")
        stated = clip.get(name) if isinstance(clip, Mapping) else clip
        # An empty scene has the convention of its polarization too.
        normalizer = normalizers.get(name) or known.get(name)
        source = "embedded" if normalizer == known.get(name) else "source"
        if stated is not None:
            normalizer, source = Normalizer(*map(float, stated)), "user"
        if normalizer is not None:
            item = replace(item, clip=(normalizer.low, normalizer.high), clip_source=source)
        yield item
