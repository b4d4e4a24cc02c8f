"""The catalog: scenes by name, and the split that a run trains and tests on.

`load_split` takes a name of the catalog, a file, a folder, or a pack made by ``sarlab scenes pack``; `load_scene` gives one
scene to look at. A user's own source is one class of few lines and one registration::

    @catalog_entries.register("mine")
    class Mine(Entry):
        ...
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from pathlib import Path

from sarlab.errors import SceneError
from sarlab.registry import Registry
from sarlab.scenes import downloads, embedded, simulate, sources
from sarlab.scenes.embedded import load_optical_control, reference_normalizers
from sarlab.scenes.packs import load_pack
from sarlab.scenes.readers import read_scene
from sarlab.scenes.scene import Scene
from sarlab.scenes.splits import Split, split_scenes
from sarlab.specs import SceneSpec

__all__ = ["Entry", "catalog_entries", "load_optical_control", "load_scene", "load_split"]


@dataclass(frozen=True)
class Entry:
    """A source of scenes known by name.

    Parameters
    ----------
    kind : {"embedded", "simulated", "download"}
    title : str
        One line.
    license, credit : str
    looks : float or None
    """

    kind: str
    title: str
    license: str
    credit: str
    looks: float | None

    def split(self, quantity: str) -> Split:
        """The split that a run uses."""
        raise NotImplementedError

    def at_hand(self) -> bool:
        """Whether the scenes can be loaded now, without a network."""
        return True


#: Sources by name; a package adds its own through the entry point group "sarlab.scenes".
catalog_entries: Registry[Entry] = Registry("source of scenes", "sarlab.scenes", SceneError)


class _Embedded(Entry):
    def split(self, quantity: str) -> Split:
        if quantity not in ("auto", "db"):
            raise SceneError(f"the embedded scenes are in dB; use quantity 'auto' or 'db', not '{quantity}'")
        return embedded.embedded_split()


catalog_entries.register("bigearthnet")(
    _Embedded(
        "embedded", "Sentinel-1 IW GRD, VV and VH, 10 m, Austria and Finland", embedded.LICENSE, embedded.CREDIT, 4.4
    )
)


@dataclass(frozen=True)
class _Simulated(Entry):
    correlation: float = 0.0

    def split(self, quantity: str) -> Split:
        if quantity not in ("auto", "db"):
            raise SceneError(f"the simulated scenes are in dB; use quantity 'auto' or 'db', not '{quantity}'")
        assert self.looks is not None
        return simulate.simulated_split(self.looks, self.correlation)


for _name, _looks, _correlation in simulate.catalog_names():
    _kind = f"speckle correlated by {_correlation:g}" if _correlation else "white speckle"
    _title = f"{_kind} of {_looks:g} looks over a known reflectivity"
    catalog_entries.register(_name)(_Simulated("simulated", _title, "MIT", "", _looks, _correlation))


@dataclass(frozen=True)
class _Downloaded(Entry):
    name: str = ""

    def split(self, quantity: str) -> Split:
        source = downloads.SOURCES[self.name]
        missing = source.missing
        if missing:
            count = f"{len(missing)} of {len(source.files)} files" if len(source.files) > 1 else "its file"
            raise SceneError(
                f"'{self.name}' is not at hand ({count} missing); fetch it once with 'sarlab fetch {self.name}'"
            )
        found = sources.read_source(source.folder, source.quantity if quantity == "auto" else quantity)
        scenes = [replace(scene, credit=self.credit, looks=scene.looks or self.looks) for scene in found.scenes]
        return split_scenes(scenes, reference_normalizers(), found.excluded, found.empty, found.note)

    def at_hand(self) -> bool:
        return not downloads.SOURCES[self.name].missing


for _source in downloads.SOURCES.values():
    catalog_entries.register(_source.name)(
        _Downloaded("download", _source.title, _source.license, _source.credit, _source.looks, _source.name)
    )


def load_split(spec: SceneSpec) -> Split:
    """Scenes by role for a run.

    Parameters
    ----------
    spec : SceneSpec
        `source` is a name of the catalog, the path of a file or folder, or a pack (``scenes.npz``, or
        ``scenes.npz#name`` where it holds several sources).

    Returns
    -------
    Split

    Raises
    ------
    SceneError
        Unknown name, missing file, nothing usable in it.
    """
    if spec.source in catalog_entries:
        return catalog_entries[spec.source].split(spec.quantity)
    path = Path(spec.source).expanduser()
    pack, _, name = spec.source.partition("#")
    if pack.lower().endswith(".npz") and not (name and path.exists()):
        return load_pack(Path(pack).expanduser(), name)
    if not path.exists():
        raise _unknown(spec.source)
    found = sources.read_source(path, spec.quantity)
    return split_scenes(found.scenes, reference_normalizers(), found.excluded, found.empty, found.note)


def load_scene(name: str, quantity: str = "auto") -> Scene:
    """One scene: by its own name, the first test scene of a source, or a file as it is.

    Returns
    -------
    Scene
        In dB where it comes out of a split; a file in the quantity it has.
    """
    scenes = embedded.embedded_scenes()
    if name in scenes:
        return scenes[name]
    path = Path(name).expanduser()
    if name not in catalog_entries and path.is_file() and path.suffix.lower() != ".npz":
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
