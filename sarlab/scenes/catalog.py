"""Catalog of scenes by name: embedded, collected, simulated, downloaded, and your own.

`load_split` takes a name of the catalog, a file, a folder or a collection and returns the split that a run uses;
`load_scene` returns a single scene. A collection lists scenes in a TOML file (see `sarlab.scenes.collection`).

GeoTIFF files of seven places are shipped with the package, listed in ``assets/scenes/sentinel1.toml``. Two splits use them.
``sentinel1`` holds out whole places and passes. ``bigearthnet`` contains the BigEarthNet patches alone; its test mosaic
lies in another place than its training scenes but belongs to the same pass. Its training scenes define the clip ranges of
VV and VH for all sources.

Another kind of source is a small class and one registration::

    class Mine(Entry):
        def split(self, quantity):
            return split_scenes(...)

    catalog_entries.register("mine")(Mine("embedded", "My scenes", "CC BY 4.0", "", None))
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from pathlib import Path

import numpy as np

from sarlab.errors import SceneError
from sarlab.registry import Registry
from sarlab.scenes import simulate
from sarlab.scenes.collection import Collection, Record, read_collection
from sarlab.scenes.radiometry import Normalizer, fit_normalizers
from sarlab.scenes.rasters import first_line
from sarlab.scenes.readers import find_scenes, read_scene
from sarlab.scenes.scene import Scene
from sarlab.scenes.splits import Split, cut_tests, split_scenes
from sarlab.specs import SceneSpec

ASSETS = Path(__file__).resolve().parent.parent / "assets" / "scenes"
CREDIT = "contains modified Copernicus Sentinel data [2017]; BigEarthNet v2, CDLA-Permissive-1.0"
LICENSE = "CDLA-Permissive-1.0"

_BIGEARTHNET = {
    "train": ("26-57", "27-55", "34-71", "35-69", "38-58", "38-87"),
    "validation": ("33-69",),
    "test": ("37-88",),
    "independent": ("33UUP-70-40", "35VNJ-13-13", "35VNJ-23-24", "35VNJ-0-0"),
}

NOTE = (
    "BigEarthNet v2, Sentinel-1 IW GRD. Test: the 360×240 mosaic of tile 33UUP, columns 37–38; validation: the 240×240 block; "
    "training: the other ten patches of that product. The test mosaic shares the acquisition of the training scenes "
    "(2017-06-12), but no pixel; one training patch borders it and two border the validation block. The independent "
    "test consists of four patches of other acquisitions (2017-06-13, 2017-11-01). Packed with an error of at most 0.0098 dB."
)
_CHIPS_URL = "https://storage.googleapis.com/sen1floods11/v1.1/data/flood_events/HandLabeled/S1Hand/"
#: Name, bytes and SHA-256 of the Sen1Floods11 chips.
_CHIPS = (
    ("Ghana_53713", 1771472, "9b02324cd247cbe8212c73f958f430655972d010de8bab7e79f1c442f25a9bb6"),
    ("Ghana_83483", 1787911, "affd4371d4806abad4fa259298be31c35efdeca18e9aadac3222d7a088215ee7"),
    ("India_900498", 1668656, "83bc6bca280cb51264028515c944928ea2201386bee411d8bb5cabbcb51cc4a6"),
    ("Nigeria_812045", 1792307, "60721c48b1bc862abdb9e6b0ee93d67590fb058f4581e43f615569b22beff4e0"),
    ("Pakistan_849790", 1588159, "ff1f7b9afce78918808ced5d648d4df28a2047a05f934f649e728bad38533007"),
    ("Somalia_699062", 1776009, "c905fcba8efe764f1c91d9b1fb061da12b797c645ad33b80befb575dc00a5d38"),
    ("Spain_6860600", 1490744, "5ffd422a0375aa9113e078d7481643355aa9109dbaa459e03b659c0bde503787"),
    ("USA_905409", 1479391, "0ec326c52448475242517cfe160b63eceb5af4c549474d3b6fbfc718a3c03abf"),
)
_UMBRA_URL = (
    "https://umbra-open-data-catalog.s3.amazonaws.com/sar-data/tasks/Tanna%20Island,%20Vanuatu/"
    "9c76a918-9247-42bf-b9f6-3b4f672bc148/2023-02-12-21-33-56_UMBRA-04/2023-02-12-21-33-56_UMBRA-04_GEC.tif"
)


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
    """Return the split of the BigEarthNet scenes (see `NOTE`)."""
    records = {record.name: record for record in sentinel1().records}

    def scenes(role: str) -> tuple[Scene, ...]:
        names = [name if role == "independent" else f"33UUP-{name}" for name in _BIGEARTHNET[role]]
        found = [_load(records[f"ben-{name}"]) for name in names]
        seen = "true" if role == "train" else "false"
        return tuple(replace(s, seen_in_training=seen, acquisition=s.tags["product"]) for s in found)

    train = scenes("train")
    return Split(
        train, scenes("validation"), scenes("test"), scenes("independent"), fit_normalizers(train), NOTE,
    )  # fmt: skip


def reference_normalizers() -> dict[str, Normalizer]:
    """Return the normalizers of the BigEarthNet training scenes, which are the clip ranges of VV and VH."""
    return dict(bigearthnet_split().normalizers)


@lru_cache(maxsize=1)
def load_optical_control() -> dict[str, np.ndarray]:
    """Load Sentinel-2 red and near infrared of the mosaic ben-33UUP-37-88, to compare radar and optical compressibility.

    Returns
    -------
    dict of str to ndarray of uint16, shape (360, 240)
        ``"B04"`` and ``"B08"``: surface reflectance × 10000 at 10 m, 2017-06-13, one day after the radar image.
    """
    scene = read_scene(ASSETS / "optical_control.tif", "intensity")
    planes = {band: plane.astype(np.uint16) for band, plane in zip(scene.bands, scene.data, strict=True)}
    for plane in planes.values():
        plane.flags.writeable = False
    return planes


@dataclass(frozen=True)
class Entry:
    """A source of scenes in the catalog: its kind (embedded, collection, simulated, download), and its nominal looks."""

    kind: str
    title: str
    license: str
    credit: str
    looks: float | None

    def split(self, quantity: str) -> Split:
        """Return the split that a run uses."""
        raise NotImplementedError

    def available(self) -> bool:
        """Return True if the scenes can be loaded without a network."""
        return True


#: Sources by name; other packages add theirs through the entry point group "sarlab.scenes".
catalog_entries: Registry[Entry] = Registry("source of scenes", "sarlab.scenes", SceneError)


@dataclass(frozen=True)
class _Fixed(Entry):
    make: Callable[[], Split]

    def split(self, quantity: str) -> Split:
        _check_db(self.kind, quantity)
        return self.make()


@dataclass(frozen=True)
class CollectionEntry(Entry):
    """Scenes listed in a TOML file of the package.

    If `embedded`, the files lie beside it; otherwise in the folder that ``SARLAB_DATA`` or the source ``NAME:FOLDER`` names.
    """

    path: Path = Path()
    embedded: bool = False

    def collection(self, folder: str | Path | None = None) -> Collection:
        """Return the collection with its files in a folder, by default ``SARLAB_DATA``."""
        if self.embedded:
            return sentinel1()
        base = Path(folder or os.environ.get("SARLAB_DATA") or "$SARLAB_DATA").expanduser()
        return read_collection(self.path, base, {"sentinel1": sentinel1()})

    def available(self) -> bool:
        """Return True if no file is missing."""
        return not self.collection().missing

    def split(self, quantity: str) -> Split:
        """Return the split by place."""
        _check_db("collected", quantity)
        return self.collection().split(reference_normalizers())


def find_collection(source: str) -> Collection | None:
    """Return a collection by name, ``NAME:FOLDER`` or path of a TOML file; None if `source` is none of these."""
    name, _, folder = source.partition(":")
    entry = catalog_entries[name] if name in catalog_entries else None  # noqa: SIM401 (a registry has no get)
    if isinstance(entry, CollectionEntry):
        return entry.collection(folder)
    path = Path(source).expanduser()
    if path.suffix == ".toml" and path.is_file():
        return read_collection(path, path.parent, {"sentinel1": sentinel1()})
    return None


def _check_db(kind: str, quantity: str) -> None:
    if quantity not in ("auto", "db"):
        raise SceneError(f"the {kind} scenes are in dB; use quantity 'auto' or 'db', not '{quantity}'")


class NoNetworkError(SceneError):
    """The server of a download cannot be reached."""


@dataclass(frozen=True)
class Download:
    """A file to download; size (in bytes) and hash are 0 and empty if unknown, and then accepted as they come."""

    url: str
    size: int = 0
    sha256: str = ""

    @property
    def filename(self) -> str:
        """Name of the file in the cache."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class DownloadEntry(Entry):
    """Scenes to download into the cache once; `name` is that in the catalog, and of the folder in the cache."""

    name: str = ""
    quantity: str = "auto"
    files: tuple[Download, ...] = ()

    @property
    def folder(self) -> Path:
        """Folder of the files in the cache."""
        return cache_folder() / self.name

    @property
    def missing(self) -> list[Download]:
        """Files that are not in the cache."""
        sizes = {path.name: path.stat().st_size for path in self.folder.glob("*") if path.is_file()}
        # A file of unknown size is taken as it is.
        return [f for f in self.files if f.filename not in sizes or f.size not in (0, sizes[f.filename])]

    def available(self) -> bool:
        """Return True if all files are in the cache."""
        return not self.missing

    def split(self, quantity: str) -> Split:
        """Return the split of the files in the cache."""
        if self.missing:
            raise SceneError(
                f"'{self.name}' is not downloaded ({len(self.missing)} of {len(self.files)} files missing); "
                f"run 'sarlab fetch {self.name}'"
            )
        found = find_scenes(self.folder, self.quantity if quantity == "auto" else quantity)
        scenes = [replace(scene, credit=self.credit, looks=scene.looks or self.looks) for scene in found.scenes]
        return split_scenes(scenes, reference_normalizers(), found.excluded, found.empty, found.note)

    def fetch(self, file: Download, *, progress: bool = True) -> Path:
        """Return the path of a file in the cache; download it if it is missing or its hash is wrong.

        Raises
        ------
        NoNetworkError
            The server cannot be reached.
        SceneError
            The server refuses, the transfer breaks off, the hash is wrong, or the cache cannot be written.
        """
        import pooch
        from requests import exceptions

        if not file.url.startswith("https://"):
            raise SceneError(f"{file.url}: downloads need an https:// address")
        pooch.get_logger().setLevel("WARNING")
        name = file.filename
        cache = pooch.create(
            self.folder, "", registry={name: file.sha256 or None}, urls={name: file.url}, retry_if_failed=2
        )
        by_hand = f"download it by hand and put it at {self.folder / name}"
        try:
            return Path(cache.fetch(name, progressbar=progress))
        except exceptions.RequestException as error:
            unreachable = isinstance(error, (exceptions.ConnectionError, exceptions.Timeout))
            if unreachable and not isinstance(error, exceptions.SSLError):
                raise NoNetworkError(
                    f"{file.url}: cannot reach the server; {by_hand}, or use scenes that need no network ('bigearthnet', "
                    "'simulated-l4.4', your own files)"
                ) from None
            raise SceneError(
                f"{file.url}: the download failed ({first_line(error)}); try again, or {by_hand}"
            ) from None
        except ValueError as error:
            raise SceneError(f"{file.url}: {first_line(error)} Try again, or {by_hand}") from None
        except OSError as error:
            raise SceneError(
                f"{self.folder}: cannot be written ({error.strerror or error}); set SARLAB_CACHE to another folder"
            ) from None


def cache_folder() -> Path:
    """Return the folder of the downloads: ``SARLAB_CACHE``, or the cache folder of the platform."""
    given = os.environ.get("SARLAB_CACHE")
    if given:
        return Path(given).expanduser()
    import pooch

    return Path(pooch.os_cache("sarlab"))


def downloads() -> dict[str, DownloadEntry]:
    """Return the sources that can be downloaded, by name."""
    entries = {name: catalog_entries[name] for name in catalog_entries}
    return {name: entry for name, entry in entries.items() if isinstance(entry, DownloadEntry)}


catalog_entries.register("sentinel1")(CollectionEntry(
    "embedded", "Sentinel-1, 33 passes over seven places, split by place",
    "MIT, Apache-2.0 and CDLA-Permissive-1.0, by scene", "contains modified Copernicus Sentinel data [2014–2024]", None,
    ASSETS / "sentinel1.toml", embedded=True,
))  # fmt: skip
catalog_entries.register("sentinel1-all")(CollectionEntry(
    "collection", "the scenes of sentinel1 and 22 more passes, whose files are not part of the package", "by scene",
    "contains modified Copernicus Sentinel data [2014–2024]", None, ASSETS.parent / "collections" / "sentinel1-all.toml",
))  # fmt: skip
catalog_entries.register("bigearthnet")(_Fixed(
    "embedded", "Sentinel-1 IW GRD, VV and VH, 10 m, Austria and Finland", LICENSE, CREDIT, 4.4,
    bigearthnet_split,
))  # fmt: skip
for _name, _looks, _correlation in simulate.catalog_names():
    _kind = f"speckle correlated by {_correlation:g}" if _correlation else "white speckle"
    catalog_entries.register(_name)(_Fixed(
        "simulated", f"{_kind} of {_looks:g} looks over a known reflectivity", "MIT", "", _looks,
        partial(simulate.simulated_split, _looks, _correlation),
    ))  # fmt: skip
catalog_entries.register("sen1floods11")(DownloadEntry(
    "download", "Sentinel-1 IW GRD, VV and VH, 10 m, eight chips of 512×512 from seven flood events",
    "Copernicus Sentinel data: free use with credit; chips by Bonafilia et al., CVPR Workshops 2020",
    "contains modified Copernicus Sentinel data [2016–2019]; Sen1Floods11 (Bonafilia et al., 2020)", 4.4,
    "sen1floods11", "db", tuple(Download(f"{_CHIPS_URL}{name}_S1Hand.tif", size, sha256) for name, size, sha256 in _CHIPS),
))  # fmt: skip
catalog_entries.register("umbra-tanna")(DownloadEntry(
    "download", "Umbra X-band spotlight GEC, 8-bit amplitude, 0.6 m, Tanna (Vanuatu), 2023-02-12", "CC BY 4.0",
    "Umbra Space Open Data, CC BY 4.0", None, "umbra-tanna", "amplitude", (Download(_UMBRA_URL),),
))  # fmt: skip


def load_split(spec: SceneSpec) -> Split:
    """Load the scenes of a run by role.

    Parameters
    ----------
    spec : SceneSpec
        `source` is a name of the catalog, ``NAME:FOLDER`` for a collection with its files in that folder, or the path of a
        file, a folder or your own collection (``.toml``, with files relative to it).

    Raises
    ------
    SceneError
        Unknown name, missing file, or nothing usable in it.
    """
    split = _load_split(spec)
    return cut_tests(split, spec.side) if spec.side > 0 else split


def _load_split(spec: SceneSpec) -> Split:
    collection = find_collection(spec.source)
    if collection is not None:
        _check_db("collected", spec.quantity)
        return collection.split(reference_normalizers(), spec.allow_missing)
    if spec.source in catalog_entries:
        return catalog_entries[spec.source].split(spec.quantity)
    path = Path(spec.source).expanduser()
    if not path.exists():
        raise _unknown(spec.source)
    found = find_scenes(path, spec.quantity)
    return split_scenes(found.scenes, reference_normalizers(), found.excluded, found.empty, found.note)


def load_scene(name: str, quantity: str = "auto") -> Scene:
    """Load a single scene: an embedded scene, the first test scene of a source, or a file.

    Returns
    -------
    Scene
        In dB, except for a file, which keeps its quantity.

    Examples
    --------
    >>> import sarlab
    >>> sarlab.scene("ben-33UUP-37-88")
    Scene('ben-33UUP-37-88', VV+VH, 360×240, db)
    """
    scenes = embedded_scenes()
    if name in scenes:
        return scenes[name]
    path = Path(name).expanduser()
    if name not in catalog_entries and path.is_file():
        return read_scene(path, quantity)
    split = load_split(SceneSpec(name, quantity))
    reasons = dict(split.excluded)
    return next((scene for scene in split.test if scene.name not in reasons), split.test[0])


def _unknown(source: str) -> SceneError:
    if "/" in source or "." in source:
        return SceneError(f"{source}: no such file or folder; 'sarlab scenes' lists the scenes known by name")
    known = list(catalog_entries)
    close = difflib.get_close_matches(source, known, 1)
    hint = f"; did you mean '{close[0]}'?" if close else ""
    return SceneError(f"no scenes named '{source}' and no such file; known: {', '.join(known)}{hint}")
