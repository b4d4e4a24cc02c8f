"""Collections and folders of scenes.

A collection lists scenes by place in a TOML file, with role, pass and license; its split is by place::

    title = "My scenes"

    [[place]]
    name = "Harbor"
    role = "test"
    land_cover = "city"
    mode = "IW GRDH, 10 m"
    quantity = "amplitude"
    calibrated = false
    scenes = [{ name = "harbor-may", file = "harbor/may.tif", pass = "S1A_20200501" }]

Every key of a place except its name and role may stand in a scene instead. A place has one role, so no ground is on two
sides of the split, and no pass may be either.

**Level.** Sigma nought lies near −12 dB, the digital numbers of an uncalibrated product 60 dB above. Such a factor must
decide neither what a network sees nor what PSNR clips. Calibrated scenes keep their level, or get the constant `offset_db`
if the factor of the product is known. Scenes with ``calibrated = false`` are shifted band by band such that their median
lies in the middle of the clip range of their polarization. So the PSNR of all scenes of a table can be compared.
"""

import json
import tomllib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from sarlab.errors import SceneError
from sarlab.scenes.radiometry import FLOOR_TAG, Normalizer, stored_floors, to_db
from sarlab.scenes.rasters import has_header, is_auxiliary, is_product
from sarlab.scenes.readers import open_scene, read_scene, scene_name
from sarlab.scenes.scene import Profile, Scene, join_bands, polarization, polarization_order, without_polarization
from sarlab.scenes.splits import ROLES, FoundScenes, Split, choose_normalizers

_ROLES = ROLES[:3]
#: Suffixes of the images in a folder.
SUFFIXES = (".tif", ".tiff", ".npy", ".bin", ".img", ".vrt", ".jp2")
#: Of larger scenes only the central window of this side is used, so that a run fits into memory.
LARGEST_SIDE = 4096


@dataclass(frozen=True)
class Record:
    """A scene of a collection that is not loaded yet: the keys of the TOML file, where `acquisition` is ``pass``.

    It has one file, or one per band; by default its name with ``.tif``. `bands` and `spacing` are those of files that do
    not state them, `lonlat` is the approximate position in degrees; see the module's docstring for the level.
    """

    name: str
    place: str
    role: str
    acquisition: str
    files: tuple[Path, ...]
    land_cover: str = ""
    mode: str = ""
    quantity: str = "auto"
    bands: tuple[str, ...] = ()
    looks: float | None = None
    spacing: tuple[float, float] | None = None
    calibrated: bool = True
    offset_db: float = 0.0
    license: str = ""
    credit: str = ""
    lonlat: tuple[float, float] | None = None
    note: str = ""

    @property
    def missing(self) -> list[Path]:
        """Files that do not exist."""
        return [file for file in self.files if not file.is_file()]

    def load(self, ranges: Mapping[str, Normalizer]) -> Scene:
        """Read the scene in dB at its level; `ranges` are the clip ranges by polarization."""
        parts = [read_scene(file, self.quantity) for file in self.files]
        if len({part.shape[1:] for part in parts}) > 1:
            raise SceneError(f"scene '{self.name}': its files have different sizes")
        scene = join_bands(parts, self.bands)
        if scene.quantity == "db":
            # Packed dB are integers with a scale; what is written from here on is floating point with NaN.
            scene = replace(scene, dtype="float32", nodata=None, nan=None, profile=Profile())
        if scene.quantity != "db" or np.isneginf(scene.data).any():
            scene = to_db(scene)
        same = ("name", "looks", "acquisition", "place", "land_cover", "mode", "license", "credit")
        return replace(
            at_level(scene, ranges, self.calibrated, self.offset_db), **{name: getattr(self, name) for name in same},
            spacing=self.spacing or scene.spacing, seen_in_training="true" if self.role == "train" else "false",
        )  # fmt: skip


@dataclass(frozen=True)
class Collection:
    """Scenes by place (see the module's docstring); the files of collections that it extends lie in their own folders."""

    name: str
    folder: Path
    records: tuple[Record, ...]

    @property
    def files(self) -> list[Path]:
        """All files in the folder."""
        files = [file for record in self.records for file in record.files]
        return [file for file in files if file.is_relative_to(self.folder)]

    @property
    def missing(self) -> list[Path]:
        """Files that do not exist, relative to the folder."""
        return [file.relative_to(self.folder) for file in self.files if not file.is_file()]

    def split(self, ranges: Mapping[str, Normalizer], allow_missing: bool = False) -> Split:
        """Load the scenes by role, with clip ranges by polarization; `allow_missing` leaves out those without files."""
        missing = self.missing
        if missing and not allow_missing:
            raise SceneError(
                f"'{self.name}': {len(missing)} of {len(self.files)} files are missing in {self.folder}: "
                f"{', '.join(map(str, missing))}; set SARLAB_DATA to their folder or write '{self.name}:FOLDER', or set "
                "allow_missing = true to go on without them"
            )
        usable = [record for record in self.records if not record.missing]
        parts = {role: [record.load(ranges) for record in usable if record.role == role] for role in _ROLES}
        empty = [role for role in _ROLES if not parts[role]]
        if empty:
            raise SceneError(f"'{self.name}' has no scene with the role {' and '.join(empty)}")
        train, validation, test = parts.values()
        normalizers, origin = choose_normalizers(train, ranges, (*validation, *test))
        listed = []
        for role, scenes in parts.items():
            passes, places = {scene.acquisition for scene in scenes}, dict.fromkeys(scene.place for scene in scenes)
            listed.append(f"{role} {', '.join(places)} ({len(passes)} pass{'es' * (len(passes) != 1)})")
        notes = [f"Split by place: {'; '.join(listed)}. No place and no pass is in two roles."]
        shifted = [record.name for record in usable if not record.calibrated]
        if shifted:
            notes.append(f"Level unknown, median set to the middle of the clip range: {', '.join(shifted)}.")
        if missing:
            left = ", ".join(record.name for record in self.records if record.missing)
            notes.append(f"Left out because their files are missing: {left}.")
        note = " ".join(filter(None, (*notes, origin)))
        return Split(tuple(train), tuple(validation), tuple(test), (), normalizers, note)


def at_level(scene: Scene, ranges: Mapping[str, Normalizer], calibrated: bool, offset_db: float = 0.0) -> Scene:
    """Add a constant to each band of a scene in dB (see the module's docstring); its floors for exact zeros move along."""
    offsets = np.full(len(scene.bands), offset_db)
    for index, band in enumerate(scene.bands):
        if not calibrated and band in ranges:
            middle = (ranges[band].low + ranges[band].high) / 2
            offsets[index] = round(middle - float(np.nanmedian(scene.data[index])), 2)
    if not offsets.any():
        return scene
    tags, floors = dict(scene.tags), stored_floors(scene)
    if floors is not None:
        moved = _shifted(floors, offsets)
        tags[FLOOR_TAG] = json.dumps({b: float(f) for b, f in zip(scene.bands, moved, strict=True) if np.isfinite(f)})
    # No longer the integers of the file.
    return scene.with_data(_shifted(scene.data, offsets[:, None, None]), tags=tags, dtype="float32")


def _shifted(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Samples and floors alike are rounded to float32 before and after, so that they stay equal."""
    return (values.astype(np.float32).astype(np.float64) + offsets).astype(np.float32)


#: Keys of a scene, or of a place for all its scenes, that are fields of a record.
_KEYS = [field.name for field in fields(Record) if field.name not in ("place", "acquisition", "files")]


def read_collection(path: Path, folder: Path, extends: Mapping[str, Collection] | None = None) -> Collection:
    """Read a collection from a TOML file, whose stem is its name; files are relative to `folder`.

    `extends` are collections that the file may name under ``extends`` to include their scenes. Unknown and missing keys,
    names given twice, and places or passes in two roles are refused.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        base = [(extends or {})[name] for name in values.pop("extends", [])]
        values.pop("title", None)  # for readers of the file
        records = [record for other in base for record in other.records]
        for place in values.pop("place", []):
            records += [_record(place, scene, folder) for scene in place["scenes"]]
        if values or not records:
            raise ValueError("it needs places with scenes, and has no keys but title, extends, place")
        _check(records)
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = f"there is no {error}" if isinstance(error, KeyError) else error
        raise SceneError(f"{path}: not a usable collection ({reason})") from None
    return Collection(path.stem, folder, tuple(records))


def _record(place: Mapping[str, Any], scene: Mapping[str, Any], folder: Path) -> Record:
    given = {**{key: value for key, value in place.items() if key not in ("name", "scenes")}, **scene}
    files = tuple(folder / file for file in given.pop("files", None) or [given.pop("file", f"{given['name']}.tif")])
    given |= {key: tuple(given[key]) for key in ("bands", "spacing", "lonlat") if key in given}
    if unknown := set(given) - {*_KEYS, "pass"}:
        known = ("name", "file", "files", "pass", *_KEYS[2:])
        raise ValueError(f"place '{place['name']}': unknown key '{min(unknown)}'; known: {', '.join(known)}")
    if given["role"] not in _ROLES:
        raise ValueError(f"place '{place['name']}': unknown role '{given['role']}'; use {', '.join(_ROLES)}")
    return Record(place=place["name"], acquisition=given.pop("pass"), files=files, **given)


def _check(records: Sequence[Record]) -> None:
    names = [record.name for record in records]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"two scenes are named '{twice[0]}'")
    for word, key in (("place", "place"), ("pass", "acquisition")):
        roles: dict[str, str] = {}
        for record in records:
            name = getattr(record, key)
            if roles.setdefault(name, record.role) != record.role:
                raise ValueError(f"{word} '{name}' has the roles {roles[name]} and {record.role}; give it one")


# --- files and folders as lists of scenes


def find_scenes(path: str | Path, quantity: str = "auto") -> FoundScenes:
    """Read a file, or all images in a folder and its subfolders.

    Files of a folder whose names differ only in the polarization become the bands of one scene. One must be usable.
    """
    path = Path(path)
    if not path.is_dir() or is_product(path):
        scene, note = _read(path, quantity, allow_empty=False)
        return FoundScenes([scene], note=note)
    files = image_files(path)
    if not files:
        raise SceneError(f"{path}: the folder contains no image ({', '.join(SUFFIXES)})")
    found, read = FoundScenes(), []
    for file, name in zip(files, _names(path, files), strict=True):
        try:
            if is_auxiliary(file.stem):
                raise SceneError("no radar image by its name")
            scene, note = _read(file, quantity, allow_empty=True)
            read.append((file, replace(scene, name=name)))
            found.note = f"{found.note} {note}".strip()
        except SceneError as error:
            found.excluded.append((name, str(error).removeprefix(f"{file}: ")))
    for scene in _join_polarizations(read):
        if scene.valid.any():
            found.scenes.append(scene)
        else:
            found.empty.append(scene)
            found.excluded.append((scene.name, "every sample is nodata or NaN"))
    if not found.scenes:
        shown = "; ".join(f"{name}: {reason}" for name, reason in found.excluded[:3])
        raise SceneError(f"{path}: none of {len(found.excluded)} images in the folder is usable: {shown}")
    return found


def image_files(folder: Path) -> list[Path]:
    """List the images and product folders in a folder and its subfolders, without hidden ones and ``.bin`` without header."""
    found: list[Path] = []
    for file in folder.glob("[!.]*"):
        if file.is_dir() and not is_product(file):
            found += image_files(file)
        elif file.is_dir() or (file.suffix.lower() in SUFFIXES and (file.suffix.lower() != ".bin" or has_header(file))):
            found.append(file)
    return sorted(found)


def _read(path: Path, quantity: str, allow_empty: bool) -> tuple[Scene, str]:
    with open_scene(path, quantity, allow_empty=allow_empty) as file:
        _, height, width = file.shape
        rows, columns = min(height, LARGEST_SIDE), min(width, LARGEST_SIDE)
        if (rows, columns) == (height, width):
            return file.read(), ""
        scene = file.read(((height - rows) // 2, (width - columns) // 2, rows, columns))
        if not scene.valid.any() and not allow_empty:
            raise SceneError(f"{path}: every sample of the central {rows}×{columns} pixels is nodata; cut another part")
        return scene, f"Only the central {rows}×{columns} of the {height}×{width} pixels of {path.name} are used."


def _names(folder: Path, files: Sequence[Path]) -> list[str]:
    """Name scenes by their files: the first that is unique of `scene_name` and the path in the folder, without or with suffix."""
    inner = [file.relative_to(folder) for file in files]
    shorter = ["-".join(path.with_suffix("").parts) for path in inner]
    columns = [scene_name(file) for file in files], shorter, ["-".join(path.parts) for path in inner]
    return [
        next((n for n, column in zip(row, columns, strict=True) if column.count(n) == 1), str(path))
        for path, *row in zip(files, *columns, strict=True)
    ]


def _join_polarizations(read: Sequence[tuple[Path, Scene]]) -> list[Scene]:
    groups: dict[tuple[object, ...], list[tuple[Path, Scene]]] = defaultdict(list)
    for file, scene in read:
        key: tuple[object, ...] = (file,)
        if scene.shape[0] == 1 and polarization(file.stem):
            key = (file.parent, without_polarization(file.stem), scene.shape, scene.quantity, scene.dtype)
        groups[key].append((file, scene))
    joined = []
    for members in groups.values():
        scenes = [s for _, s in sorted(members, key=lambda m: polarization_order(m[0].stem))]
        bands = tuple(b for s in scenes for b in s.bands)
        one = len(scenes) > 1 and len(set(bands)) == len(bands)
        joined += [join_bands(scenes, bands, without_polarization(scenes[0].name))] if one else scenes
    return joined
