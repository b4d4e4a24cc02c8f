"""Inputs of `evaluate`: files, folders and names of the catalog as single bands with their clip range."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from sarlab.errors import SceneError
from sarlab.scenes.catalog import catalog_entries, load_scene, load_split
from sarlab.scenes.embedded import embedded_scenes, reference_normalizers
from sarlab.scenes.folders import find_scenes, image_files
from sarlab.scenes.radiometry import Normalizer, to_db
from sarlab.scenes.readers import read_scene
from sarlab.scenes.scene import Scene
from sarlab.scenes.splits import Split, choose_normalizers, scene_duplicate_share
from sarlab.specs import SceneSpec

#: Reason of an all-nodata scene.
NO_SAMPLE = "every sample is nodata or NaN"
#: A clip range in dB for all bands, or one per band.
Clip = tuple[float, float] | Mapping[str, tuple[float, float]] | None


@dataclass(frozen=True, eq=False)
class Input:
    """One band to measure codecs on.

    Parameters
    ----------
    scene : Scene
        Single band, in the quantity it was read in.
    clip : (float, float)
        In dB, of PSNR and of everything else that clips.
    clip_source : str
        Origin of the range: ``"embedded"``, ``"source"`` (the scenes' own percentiles) or ``"user"``.
    split : str
        Role in a split: ``"test"``, ``"independent"`` …; empty for files.
    clean_db : ndarray, optional
        Speckle-free scene in dB, if known.
    reason : str
        Why there will be no figures; empty if there will be.
    note : str
        Remark for people, such as that only the middle of a huge scene is used.
    """

    scene: Scene
    clip: tuple[float, float] = (np.nan, np.nan)
    clip_source: str = ""
    split: str = ""
    clean_db: np.ndarray | None = None
    reason: str = ""
    note: str = ""

    @cached_property
    def db(self) -> np.ndarray:
        """The recorded band in dB, shape (height, width), float32, NaN where invalid."""
        return to_db(self.scene).data[0]

    @cached_property
    def duplicate_share(self) -> float:
        """Share of samples that equal their left neighbor."""
        return scene_duplicate_share(to_db(self.scene))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that decides the figures of this band."""
        scene = self.scene
        about: list[object] = [
            scene.name,
            scene.bands,
            scene.quantity,
            scene.looks,
            scene.native_bits,
            scene.shape,
            self.split,
        ]
        about += [scene.acquisition, scene.seen_in_training, scene.simulated, self.clip, self.reason]
        digest = hashlib.sha256("|".join(map(str, about)).encode())
        digest.update(np.ascontiguousarray(np.where(scene.valid, scene.data, 0)).tobytes())
        digest.update(np.packbits(scene.valid).tobytes())
        if self.clean_db is not None:
            digest.update(np.ascontiguousarray(self.clean_db, np.float32).tobytes())
        return digest.hexdigest()


def load_inputs(
    sources: Sequence[str | Path | Scene | Split],
    *,
    quantity: str = "auto",
    bands: Sequence[str] | None = None,
    clip: Clip = None,
) -> list[Input]:
    """Load the bands of all sources.

    Parameters
    ----------
    sources : sequence of str, Path, Scene or Split
        Files, folders, names of the catalog (their test scenes) or of embedded scenes; of a split its test and
        independent scenes.
    quantity : str
        Quantity of the samples in files.
    bands : sequence of str, optional
        Only these.
    clip : (low, high), or mapping of band to (low, high), optional
        In dB. Default: the range of the embedded training scenes for calibrated VV and VH, else the 0.1 and 99.9
        percentiles of the source.
    """
    found = [item for source in sources for item in _of_source(source, quantity, clip)]
    if bands is not None:
        kept = [item for item in found if not item.scene.bands[0] or item.scene.bands[0] in bands]
        if not kept:
            known = sorted({item.scene.bands[0] for item in found})
            raise SceneError(f"no scene has a band {' or '.join(bands)}; there are {', '.join(known)}")
        found = kept
    seen: dict[tuple[str, str], str] = {}
    for item in found:
        key = (item.scene.name, item.scene.bands[0])
        if seen.setdefault(key, item.digest) != item.digest:
            raise SceneError(f"two different scenes are called '{key[0]}' (band {key[1]}); evaluate them one by one")
    return list({item.digest: item for item in found}.values())


def _of_source(source: str | Path | Scene | Split, quantity: str, clip: Clip) -> list[Input]:
    if isinstance(source, Split):
        return _of_split(source, clip)
    if isinstance(source, Scene):
        return _of_scenes([source], clip)
    name, path = str(source), Path(source).expanduser()
    if name not in catalog_entries:
        if name in embedded_scenes():
            return _of_scenes([load_scene(name)], clip)
        if path.exists():
            return _of_path(path, quantity, clip)
    return _of_split(load_split(SceneSpec(name, quantity)), clip)  # says what the catalog knows


def _of_path(path: Path, quantity: str, clip: Clip) -> list[Input]:
    try:
        found = find_scenes(path, quantity)
    except SceneError:
        # Nothing but nodata has rows too.
        files = image_files(path) if path.is_dir() else [path]
        scenes = [read_scene(file, quantity, allow_empty=True) for file in files]
        if not scenes or any(scene.valid.any() for scene in scenes):
            raise
        return _of_scenes(scenes, clip)
    scenes = [*found.scenes, *found.empty]
    known = {scene.name for scene in scenes}
    items = _of_scenes(scenes, clip)
    for name, why in found.excluded:  # a file that could not be read is one row that says why
        if name not in known:
            items.append(Input(Scene(np.full((1, 1, 1), np.nan, np.float32), "db", ("",), name=name), reason=why))
    return [replace(item, note=found.note) for item in items]


def _of_split(split: Split, clip: Clip) -> list[Input]:
    known = reference_normalizers()
    embedded = all(known.get(band) == normalizer for band, normalizer in split.normalizers.items())
    items = []
    for role, scene in split.roles():
        if role not in ("test", "independent"):
            continue
        clean = split.clean.get(scene.name)
        for item in _bands(scene, split.normalizers, clip):
            clean_db = None if clean is None else clean.band(item.scene.bands[0]).data[0]
            source = item.clip_source or ("embedded" if embedded else "source")
            reason = item.reason or split.reason(scene.name)
            items.append(replace(item, split=role, clip_source=source, reason=reason, clean_db=clean_db))
    return items


def _of_scenes(scenes: Iterable[Scene], clip: Clip) -> list[Input]:
    scenes = sorted(scenes, key=lambda scene: scene.name)
    known = reference_normalizers()
    usable = [to_db(scene) for scene in scenes if scene.valid.any()]
    chosen = choose_normalizers(usable, known)[0] if usable else {}
    items = []
    for item in (item for scene in scenes for item in _bands(scene, chosen, clip)):
        if not item.clip_source and not np.isnan(item.clip[0]):
            normalizer = known.get(item.scene.bands[0])
            embedded = normalizer is not None and item.clip == (normalizer.low, normalizer.high)
            item = replace(item, clip_source="embedded" if embedded else "source")
        items.append(item)
    return items


def _bands(scene: Scene, normalizers: Mapping[str, Normalizer], clip: Clip) -> Iterator[Input]:
    """Bands of a scene with the range that the user stated, or that of the normalizers."""
    for index, name in enumerate(scene.bands):
        single = scene.band(index)
        reason = "" if single.valid.any() else NO_SAMPLE
        stated = clip.get(name) if isinstance(clip, Mapping) else clip
        if stated is not None:
            yield Input(single, (float(stated[0]), float(stated[1])), "user", reason=reason)
            continue
        # An empty scene has the convention of its polarization too.
        normalizer = normalizers.get(name) or reference_normalizers().get(name)
        limits = (normalizer.low, normalizer.high) if normalizer else (np.nan, np.nan)
        yield Input(single, limits, reason=reason)
