"""Catalog of scenes by name: embedded, collected, simulated, downloaded, and your own.

GeoTIFF files of seven places are shipped with the package (``assets/scenes``). The split ``sentinel1`` holds out whole
places and passes. ``bigearthnet`` contains the BigEarthNet patches alone; its test mosaic lies in another place than its
training scenes but belongs to the same pass. Its training scenes define the clip ranges of VV and VH for all sources.
"""

import difflib
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache, partial
from pathlib import Path

import numpy as np

from sarlab.errors import SceneError
from sarlab.scenes.collection import Collection, Record, find_scenes, read_collection
from sarlab.scenes.radiometry import Normalizer, fit_normalizers
from sarlab.scenes.rasters import first_line
from sarlab.scenes.readers import read_scene
from sarlab.scenes.scene import Scene
from sarlab.scenes.simulate import CATALOG, simulated_split
from sarlab.scenes.splits import ROLES, FoundScenes, Split, cut_tests, split_scenes
from sarlab.specs import SceneSpec

ASSETS = Path(__file__).resolve().parent.parent / "assets" / "scenes"
#: Names of the BigEarthNet scenes by role, and the note of their split.
_BIGEARTHNET = tomllib.loads((ASSETS / "bigearthnet.toml").read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def sentinel1() -> Collection:
    """Return the collection of the embedded scenes."""
    return read_collection(ASSETS / "sentinel1.toml", ASSETS)


@cache
def _load(record: Record) -> Scene:
    scene = record.load({} if record.calibrated else reference_normalizers())
    scene.data.flags.writeable = False
    return scene


def embedded_scenes() -> dict[str, Scene]:
    """Return all embedded radar scenes by name, in dB; their arrays are shared and read-only."""
    scenes = {record.name: _load(record) for record in sentinel1().records}
    return scenes | {scene.name: scene for _, scene in bigearthnet_split().roles()}


@lru_cache(maxsize=1)
def bigearthnet_split() -> Split:
    """Return the split of the BigEarthNet scenes that the catalog states."""
    records = {record.name: record for record in sentinel1().records}

    def scenes(role: str) -> tuple[Scene, ...]:
        found = [_load(records[f"ben-{name}"]) for name in _BIGEARTHNET[role]]
        seen = str(role == "train").lower()
        return tuple(replace(s, seen_in_training=seen, acquisition=s.tags["product"]) for s in found)

    train, validation, test, independent = map(scenes, ROLES)
    return Split(train, validation, test, independent, fit_normalizers(train), _BIGEARTHNET["note"])


def reference_normalizers() -> dict[str, Normalizer]:
    """Return the normalizers of the BigEarthNet training scenes, which are the clip ranges of VV and VH."""
    return dict(bigearthnet_split().normalizers)


def load_optical_control() -> dict[str, np.ndarray]:
    """Load Sentinel-2 red (B04) and near infrared (B08) of the mosaic ben-33UUP-37-88, one day after the radar image.

    Surface reflectance × 10000, uint16 (360, 240), to compare the compressibility of radar and optical images.
    """
    scene = read_scene(ASSETS / "optical_control.tif", "intensity")
    return {band: plane.astype(np.uint16) for band, plane in zip(scene.bands, scene.data, strict=True)}


@dataclass(frozen=True)
class Entry:
    """A source of scenes in the catalog: its kind (embedded, collection, simulated, download) and nominal looks.

    Files to download go once into a folder of the cache; their addresses are `url` and the name of the file.
    """

    name: str
    kind: str
    title: str
    license: str
    credit: str = ""
    looks: float | None = None
    #: Makes the split of scenes that are neither a collection nor downloaded.
    make: Callable[[], Split] | None = None
    quantity: str = "auto"
    url: str = ""
    #: SHA-256 by name; a file whose hash is empty is accepted as it comes.
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def missing(self) -> list[str]:
        """Files that are not in the cache."""
        return [name for name in self.files if not (cache_folder() / self.name / name).is_file()]

    def find(self, quantity: str) -> FoundScenes:
        """Read the scenes in the cache."""
        if self.missing:
            count = f"{len(self.missing)} of {len(self.files)} files missing"
            raise SceneError(f"'{self.name}' is not downloaded ({count}); run 'sarlab fetch {self.name}'")
        found = find_scenes(cache_folder() / self.name, self.quantity if quantity == "auto" else quantity)
        found.scenes = [replace(scene, credit=self.credit, looks=scene.looks or self.looks) for scene in found.scenes]
        return found

    def fetch(self, name: str, *, progress: bool = True) -> Path:
        """Return the path of a file in the cache; download it if it is missing or its hash is wrong."""
        import pooch
        from requests.exceptions import RequestException

        folder = cache_folder() / self.name
        pooch.get_logger().setLevel("WARNING")
        try:
            cache = pooch.create(folder, self.url, registry={name: self.files[name] or None}, retry_if_failed=2)
            return Path(cache.fetch(name, progressbar=progress))
        except (RequestException, ValueError) as error:
            raise SceneError(
                f"{self.url}{name}: the download failed ({first_line(error)}); try again, download it by hand and put it at "
                f"{folder / name}, or use scenes that need no network ('bigearthnet', 'simulated-l4.4', your own files)"
            ) from None
        except OSError as error:
            reason = error.strerror or error
            raise SceneError(f"{folder}: cannot be written ({reason}); set SARLAB_CACHE to another folder") from None


def find_collection(source: str) -> Collection | None:
    """Return a collection by name, ``NAME:FOLDER`` or path of a TOML file; None if `source` is none of these.

    The files of a collection of the package lie in that folder, by default ``SARLAB_DATA``, unless they are embedded.
    """
    name, _, folder = source.partition(":")
    path, entry = Path(source).expanduser(), catalog_entries.get(name)
    if name == "sentinel1":
        return sentinel1()
    if entry and entry.kind == "collection":
        path = ASSETS.parent / "collections" / f"{name}.toml"
        base = Path(folder or os.environ.get("SARLAB_DATA") or "$SARLAB_DATA").expanduser()
    elif path.suffix == ".toml" and path.is_file():
        base = path.parent
    else:
        return None
    return read_collection(path, base, {"sentinel1": sentinel1()})


def cache_folder() -> Path:
    """Return the folder of the downloads: ``SARLAB_CACHE``, or the cache folder of the platform."""
    import pooch

    return Path(os.environ.get("SARLAB_CACHE") or pooch.os_cache("sarlab")).expanduser()


def _entries() -> Iterator[tuple[str, Entry]]:
    for name, stated in tomllib.loads((ASSETS / "catalog.toml").read_text(encoding="utf-8")).items():
        yield name, Entry(name, **stated, make=bigearthnet_split if name == "bigearthnet" else None)
    for name, (looks, correlation) in CATALOG.items():
        kind = f"speckle correlated by {correlation:g}" if correlation else "white speckle"
        title = f"{kind} of {looks:g} looks over a known reflectivity"
        yield name, Entry(name, "simulated", title, "MIT", looks=looks, make=partial(simulated_split, *CATALOG[name]))


#: Sources of scenes by name.
catalog_entries: dict[str, Entry] = dict(sorted(_entries()))
#: Those of them to download.
DOWNLOADS = {name: entry for name, entry in catalog_entries.items() if entry.kind == "download"}


def available(name: str) -> bool:
    """Return True if the scenes of a source of the catalog can be loaded without a network."""
    found = DOWNLOADS.get(name) or find_collection(name)
    return not (found and found.missing)


def load_split(spec: SceneSpec) -> Split:
    """Load the scenes of a run by role.

    Its source is a name of the catalog, ``NAME:FOLDER`` for a collection with its files in that folder, or the path of a
    file, a folder or your own collection (``.toml``, with files relative to it).
    """
    collection, path = find_collection(spec.source), Path(spec.source).expanduser()
    entry = catalog_entries.get(spec.source)
    kind, make = (entry.kind, entry.make) if entry else ("", None)
    if collection:
        kind, make = "collected", partial(collection.split, reference_normalizers(), spec.allow_missing)
    if make:
        if spec.quantity not in ("auto", "db"):
            raise SceneError(f"the {kind} scenes are in dB; use quantity 'auto' or 'db', not '{spec.quantity}'")
        split = make()
    elif entry or path.exists():
        found = entry.find(spec.quantity) if entry else find_scenes(path, spec.quantity)
        split = split_scenes(found, reference_normalizers())
    else:
        close = difflib.get_close_matches(spec.source, [*catalog_entries, *embedded_scenes()], 1)
        hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(catalog_entries)}"
        raise SceneError(f"no scenes named '{spec.source}' and no such file or folder; {hint}")
    return cut_tests(split, spec.side) if spec.side > 0 else split


def load_scene(name: str, quantity: str = "auto") -> Scene:
    """Load an embedded scene or the first test scene of a source, in dB, or a file, which keeps its quantity.

    Examples
    --------
    >>> import sarlab
    >>> sarlab.scene("ben-33UUP-37-88")
    Scene('ben-33UUP-37-88', VV+VH, 360×240, db)
    """
    if scene := embedded_scenes().get(name):
        return scene
    path = Path(name).expanduser()
    if name not in catalog_entries and path.is_file():
        return read_scene(path, quantity)
    split = load_split(SceneSpec(name, quantity))
    return next((scene for scene in split.test if not split.reason(scene.name)), split.test[0])
