"""Turn a file or folder into a list of scenes: join polarizations, set empty and unreadable files aside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sarlab.errors import SceneError
from sarlab.scenes.products import ORDER, has_header, is_product
from sarlab.scenes.quantity import polarization, without_polarization
from sarlab.scenes.readers import SUFFIXES, open_scene
from sarlab.scenes.scene import Scene, join_bands

#: Of larger scenes only the central window of this side is used, so that a run fits into memory.
LARGEST_SIDE = 4096


@dataclass
class FoundScenes:
    """Scenes of a file or folder with and without a valid sample; empty and unreadable ones as (name, reason)."""

    scenes: list[Scene] = field(default_factory=list)
    empty: list[Scene] = field(default_factory=list)
    excluded: list[tuple[str, str]] = field(default_factory=list)
    note: str = ""


def find_scenes(path: str | Path, quantity: str = "auto") -> FoundScenes:
    """Read a file, or all images in a folder and its subfolders.

    Files of one folder whose names differ only in the polarization become the bands of one scene.

    Raises
    ------
    SceneError
        A single file that is unusable; a folder without a usable image.
    """
    path = Path(path)
    if not path.is_dir() or is_product(path):
        scene, note = _read(path, quantity, allow_empty=False)
        return FoundScenes([scene], note=note)
    files = image_files(path)
    if not files:
        raise SceneError(f"{path}: the folder contains no image ({', '.join(SUFFIXES)})")
    found = FoundScenes()
    notes: list[str] = []
    read: list[tuple[Path, Scene]] = []
    for file in files:
        try:
            scene, note = _read(file, quantity, allow_empty=True)
        except SceneError as error:
            found.excluded.append((_unique_name(file, files), str(error).removeprefix(f"{file}: ")))
            continue
        read.append((file, replace(scene, name=_unique_name(file, files))))
        notes += [note] if note else []
    for scene in _join_polarizations(read):
        if scene.valid.any():
            found.scenes.append(scene)
        else:
            found.empty.append(scene)
            found.excluded.append((scene.name, "every sample is nodata or NaN"))
    if not found.scenes:
        shown = "; ".join(f"{name}: {reason}" for name, reason in found.excluded[:3])
        more = f" (and {len(found.excluded) - 3} more)" if len(found.excluded) > 3 else ""
        raise SceneError(f"{path}: no usable scene in the folder: {shown}{more}")
    found.note = " ".join(notes)
    return found


def image_files(folder: Path) -> list[Path]:
    """List the images and product folders in a folder and its subfolders, without hidden ones and ``.bin`` without header."""
    found = [folder] if is_product(folder) else []
    for file in [] if found else sorted(folder.iterdir()):
        if file.name.startswith("."):
            continue
        if file.is_dir() and not is_product(file):
            found += image_files(file)
        elif file.is_dir() or (file.suffix.lower() in SUFFIXES and (file.suffix.lower() != ".bin" or has_header(file))):
            found.append(file)
    return sorted(found)


def _read(path: Path, quantity: str, allow_empty: bool) -> tuple[Scene, str]:
    with open_scene(path, quantity, allow_empty=allow_empty) as file:
        _, height, width = file.shape
        if height <= LARGEST_SIDE and width <= LARGEST_SIDE:
            return file.read(), ""
        rows, columns = min(height, LARGEST_SIDE), min(width, LARGEST_SIDE)
        window = ((height - rows) // 2, (width - columns) // 2, rows, columns)
        scene = file.read(window)
        if not scene.valid.any() and not allow_empty:
            raise SceneError(
                f"{path}: every sample of the central {rows}×{columns} pixels is nodata; cut out a part with data"
            )
        return scene, f"Only the central {rows}×{columns} of the {height}×{width} pixels of {path.name} are used."


def _unique_name(file: Path, files: Sequence[Path]) -> str:
    """Return the stem, preceded by as many folders as make it unique, and by one if it is only a polarization."""
    parts = [*file.parts[:-1], file.stem]
    others = [[*other.parts[:-1], other.stem] for other in files if other != file]
    depth = 2 if polarization(file.stem) and len(file.stem) == 2 and len(parts) > 1 else 1
    while depth < len(parts) and any(other[-depth:] == parts[-depth:] for other in others):
        depth += 1
    name = "-".join(part.strip("/\\") for part in parts[-depth:])
    # Two files that differ only in their suffix.
    clash = any(other[-depth:] == parts[-depth:] for other in others)
    return name + file.suffix.replace(".", "-") if clash else name


def _join_polarizations(read: Sequence[tuple[Path, Scene]]) -> list[Scene]:
    groups: dict[tuple[object, ...], list[tuple[Path, Scene]]] = defaultdict(list)
    for file, scene in read:
        key: tuple[object, ...] = (file,)
        if scene.shape[0] == 1 and polarization(file.stem):
            key = (file.parent, without_polarization(file.stem), scene.shape, scene.quantity, scene.dtype)
        groups[key].append((file, scene))
    joined = []
    for members in groups.values():
        scenes = [s for _, s in sorted(members, key=lambda m: ORDER.get(polarization(m[0].stem) or "", 9))]
        bands = [b for s in scenes for b in s.bands]
        if len(scenes) == 1 or len(set(bands)) < len(bands):
            joined += scenes
            continue
        joined.append(join_bands(scenes, tuple(bands), without_polarization(scenes[0].name)))
    return joined
