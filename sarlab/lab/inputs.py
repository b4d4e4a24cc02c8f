"""What `evaluate` measures codecs on: files, folders and names of the catalog as single bands with their clip range."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
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

#: Why an all-nodata scene has no figures.
NO_SAMPLE = "every sample is nodata or NaN"


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
        Where the range comes from: ``"embedded"``, ``"source"`` (the scenes' own percentiles) or ``"user"``.
    split : str
        Role in a split: ``"test"``, ``"independent"`` …; empty for files.
    clean_db : ndarray, optional
        Speckle-free scene in dB, where it is known.
    reason : str
        Why there will be no figures; empty where there will be.
    note : str
        What a reader should know of it: that only the middle of a huge scene is used.
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
        """SHA-256 of what decides the figures of this band."""
        scene = self.scene
        about = (
            f"{scene.name}|{scene.bands}|{scene.quantity}|{scene.looks}|{scene.native_bits}|{scene.shape}|{self.split}"
        )
        about += f"|{scene.acquisition}|{scene.seen_in_training}|{scene.simulated}|{self.clip}|{self.reason}"
        digest = hashlib.sha256(about.encode())
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
    clip: tuple[float, float] | Mapping[str, tuple[float, float]] | None = None,
) -> list[Input]:
    """Bands of all sources.

    Parameters
    ----------
    sources : sequence of str, Path, Scene or Split
        Files, folders, names of the catalog (their test scenes) or of embedded scenes; of a split its test and
        independent scenes.
    quantity : str
        What the samples of files are.
    bands : sequence of str, optional
        Only these.
    clip : (low, high), or mapping of band to (low, high), optional
        In dB. Default: the range of the embedded training scenes for calibrated VV and VH, else the 0.1 and 99.9
        percentiles of the source.

    Raises
    ------
    SceneError
        A source does not exist, nothing is left, or two scenes have one name.
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


def _of_source(source: str | Path | Scene | Split, quantity: str, clip: object) -> list[Input]:
    if isinstance(source, Split):
        return _of_split(source, clip)
    if isinstance(source, Scene):
        return _with_clip([source], clip)
    name = str(source)
    path = Path(name).expanduser()
    if name in catalog_entries:
        return _of_split(load_split(SceneSpec(name, quantity)), clip)
    if name in embedded_scenes():
        return _with_clip([load_scene(name)], clip)
    if path.exists():
        return _of_path(path, quantity, clip)
    # Says what the catalog knows.
    return _of_split(load_split(SceneSpec(name, quantity)), clip)


def _of_path(path: Path, quantity: str, clip: object) -> list[Input]:
    try:
        found = find_scenes(path, quantity)
    except SceneError:
        # Nothing but nodata has rows too.
        files = image_files(path) if path.is_dir() else [path]
        scenes = [read_scene(file, quantity, allow_empty=True) for file in files]
        if not scenes or any(scene.valid.any() for scene in scenes):
            raise
        return _with_clip(scenes, clip)
    scenes = [*found.scenes, *found.empty]
    known = {scene.name for scene in scenes}
    items = [*_with_clip(scenes, clip), *(_broken(name, why) for name, why in found.excluded if name not in known)]
    return [replace(item, note=found.note) for item in items]


def _of_split(split: Split, clip: object) -> list[Input]:
    items = []
    for role, scene in split.roles():
        if role in ("test", "independent"):
            clean = split.clean.get(scene.name)
            for item in _bands(
                scene, split.normalizers, "embedded" if _is_embedded(split.normalizers) else "source", clip
            ):
                item = replace(item, split=role, reason=item.reason or split.reason(scene.name))
                if clean is not None:
                    item = replace(item, clean_db=clean.band(item.scene.bands[0]).data[0])
                items.append(item)
    return items


def _is_embedded(normalizers: Mapping[str, Normalizer]) -> bool:
    known = reference_normalizers()
    return all(known.get(band) == normalizer for band, normalizer in normalizers.items())


def _with_clip(scenes: Iterable[Scene], clip: object) -> list[Input]:
    scenes = sorted(scenes, key=lambda scene: scene.name)
    known = reference_normalizers()
    usable = [to_db(scene) for scene in scenes if scene.valid.any()]
    chosen = choose_normalizers(usable, known)[0] if usable else {}
    items = []
    for scene in scenes:
        for item in _bands(scene, chosen, "", clip):
            if not item.clip_source and not np.isnan(item.clip[0]):
                normalizer = known.get(item.scene.bands[0])
                embedded = normalizer is not None and item.clip == (normalizer.low, normalizer.high)
                item = replace(item, clip_source="embedded" if embedded else "source")
            items.append(item)
    return items


def _bands(scene: Scene, normalizers: Mapping[str, Normalizer], origin: str, clip: object) -> list[Input]:
    items = []
    for band in range(scene.shape[0]):
        single = scene.band(band)
        name = single.bands[0]
        if clip is not None and not (isinstance(clip, Mapping) and name not in clip):
            low, high = clip[name] if isinstance(clip, Mapping) else clip  # type: ignore[misc]
            limits, origin_here = (float(low), float(high)), "user"
        else:
            # An empty scene has the convention of its polarization too.
            normalizer = normalizers.get(name) or reference_normalizers().get(name)
            limits = (normalizer.low, normalizer.high) if normalizer else (np.nan, np.nan)
            origin_here = origin
        items.append(Input(single, limits, origin_here, reason="" if single.valid.any() else NO_SAMPLE))
    return items


def _broken(name: str, reason: str) -> Input:
    """A file that could not be read: one row that says why."""
    return Input(Scene(np.full((1, 1, 1), np.nan, np.float32), "db", ("",), name=name), reason=reason)
