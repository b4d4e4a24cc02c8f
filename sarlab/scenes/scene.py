"""Scene: bands, samples, valid mask, georeference and metadata of a SAR product or a window of it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from sarlab.errors import SceneError
from sarlab.scenes import arrays
from sarlab.scenes.rasters import FIELD_TAGS, Georeference, Profile, joined

QUANTITIES = ("complex", "amplitude", "intensity", "db")

#: Tag of a scene in dB: its quantity before.
NATIVE_TAG = "SARLAB_NATIVE_QUANTITY"

_TIME = re.compile(
    r"(?<!\d)(20\d\d|19\d\d)-?(0[1-9]|1[0-2])-?(0[1-9]|[12]\d|3[01])(?:[T_t-]?([01]\d|2[0-3])-?([0-5]\d)-?([0-5]\d))?(?!\d)"
)
_STARTS = ("acquisition_start_time", "acquisition_start_utc", "acquisition_time", "start_time", "acquisition_datetime")
_PRODUCT = re.compile(
    r"S1[A-D]_(?:IW|EW|S[1-6]|WV)_(?:GRD.|SLC_|GRD)_.*?\d{8}T\d{6}(?:_\d{8}T\d{6}_\d{6}_[0-9A-F]{6}_[0-9A-F]{4})?"
)
_CHIP = re.compile(r"^([A-Za-z-]+)_\d+_S1(?:Hand|Weak)?$")
_POLARIZATION = re.compile(r"(?<![A-Za-z])(VV|VH|HH|HV)(?![A-Za-z])", re.IGNORECASE)

#: (row, column, height, width) in pixels.
Window = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False, repr=False)
class Scene:
    """One or more co-registered bands of a SAR product.

    Parameters
    ----------
    data : ndarray, shape (bands, height, width), float32 or complex64
        Samples in the unit of `quantity`; NaN where invalid.
    quantity : {"complex", "amplitude", "intensity", "db"}
        Unit of the samples. ``"db"`` is 10·log10(intensity).
    bands : tuple of str
        Name of each band, usually its polarization: ``("VV", "VH")``.
    valid : ndarray of bool, shape (bands, height, width), optional
        False where the product has no measurement (nodata, NaN). Default: where `data` is not NaN.
        An exact zero (minus infinity in dB) is a measured value, not nodata.
    looks : float, optional
        Nominal number of looks.
    spacing : tuple of float, optional
        Pixel spacing (row, column) in meters.
    native_bits : int
        Bits per sample of the product as delivered (Sentinel-1 GRD 16, single-look complex 32, Umbra GEC 8).
    acquisition : str
        Identity of the satellite pass or event; splits keep its scenes together, and tables count it as one observation.
    place : str
        Ground that the scene shows; a split by place has each place in one role.
    mode : str
        Acquisition mode, product and grid: ``"IW GRDH, 10 m"``.
    nodata : float, optional
        Nodata value of the source file; None if it uses NaN or has none.
    nan : ndarray of bool, shape (bands, height, width), optional
        The invalid samples that are NaN in a file whose nodata value or mask marks the others.
    dtype : str
        Sample type of the source file, used when the scene is written: ``"float32"``, ``"uint8"``.
    time : str
        Start of the acquisition in ISO 8601, UTC.
    seen_in_training : {"true", "false", "unknown"}
        Whether a model of this run was trained on these pixels.
    credit : str
        Credit line to print with a picture of the scene.

    Examples
    --------
    >>> import numpy as np, sarlab
    >>> samples = np.zeros((1, 64, 128))
    >>> sarlab.Scene(samples, quantity="db", bands=("VV",), name="flat")
    Scene('flat', VV, 64×128, db)
    """

    data: np.ndarray
    quantity: str
    bands: tuple[str, ...]
    name: str = "scene"
    # None selects the default; always an array after initialization.
    valid: np.ndarray = None  # type: ignore[assignment]
    looks: float | None = None
    spacing: tuple[float, float] | None = None
    native_bits: int = 16
    acquisition: str = ""
    place: str = ""
    land_cover: str = ""
    mode: str = ""
    license: str = ""
    georeference: Georeference | None = None
    nodata: float | None = None
    nan: np.ndarray | None = None
    dtype: str = "float32"
    tags: Mapping[str, str] = field(default_factory=dict)
    profile: Profile = field(default_factory=Profile)
    time: str = ""
    simulated: bool = False
    seen_in_training: str = "unknown"
    credit: str = ""

    def __post_init__(self) -> None:
        if self.quantity not in QUANTITIES:
            raise SceneError(f"scene '{self.name}': unknown quantity '{self.quantity}'; use {', '.join(QUANTITIES)}")
        data = np.asarray(self.data)
        if data.ndim != 3 or 0 in data.shape:
            raise SceneError(f"scene '{self.name}': data must be (bands, height, width), not empty, not {data.shape}")
        if len(self.bands) != data.shape[0]:
            raise SceneError(f"scene '{self.name}': {data.shape[0]} bands but {len(self.bands)} names {self.bands}")
        data = data.astype(np.complex64 if self.quantity == "complex" else np.float32, copy=False)
        for kind, mask in (("valid mask", self.valid), ("mask of NaN", self.nan)):
            if mask is not None and np.shape(mask) != data.shape:
                raise SceneError(f"scene '{self.name}': {kind} {np.shape(mask)} does not match data {data.shape}")
        valid = ~np.isnan(data) if self.valid is None else np.asarray(self.valid, bool) & ~np.isnan(data)
        if not valid.all() and not np.isnan(data[~valid]).all():
            data = np.where(valid, data, np.nan).astype(data.dtype)
        nan = np.asarray(self.nan, bool) & ~valid if self.nan is not None and np.any(self.nan) else None
        fields = {"data": data, "valid": valid, "nan": nan, "bands": tuple(self.bands), "tags": dict(self.tags)}
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        _, height, width = self.shape
        return f"Scene('{self.name}', {'+'.join(self.bands)}, {height}×{width}, {self.quantity})"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(bands, height, width)."""
        return self.data.shape

    @property
    def integer(self) -> bool:
        """The file stores the samples as integers without scale and offset."""
        return self.dtype.removeprefix("complex_").startswith(("int", "uint")) and not self.profile.scales

    @property
    def file_dtype(self) -> str:
        """Sample type to write the scene with: its own if that holds the quantity, else float32 or complex64."""
        if self.quantity == "complex":
            return self.dtype if self.dtype.startswith("complex") else "complex64"
        # Integers hold dB only if the file had them in dB.
        converted = self.quantity == "db" != self.tags.get(NATIVE_TAG, "db")
        kept = self.dtype.startswith("float") or not (self.dtype.startswith("complex") or converted)
        return self.dtype if kept else "float32"

    @property
    def packing(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Scales and offsets to write the scene with; None without, or if its samples are in another unit than the file's."""
        same = self.dtype == self.file_dtype and self.quantity == self.tags.get(NATIVE_TAG, self.quantity)
        return (self.profile.scales, self.profile.offsets) if self.profile.scales and same else None

    @property
    def own_tags(self) -> dict[str, str]:
        """Tags for the fields that files cannot store otherwise."""
        values = {tag: getattr(self, name) for name, tag in FIELD_TAGS.items()}
        texts = {tag: "true" if value is True else str(value) for tag, value in values.items() if value}
        return texts | ({} if self.looks is None else {FIELD_TAGS["looks"]: repr(float(self.looks))})

    def with_data(self, data: np.ndarray, **changes: Any) -> Self:
        """Return a copy with other samples; the masks are kept if the shape is unchanged and none is given."""
        same = data.shape == self.data.shape and "valid" not in changes
        masks = {"valid": self.valid, "nan": self.nan} if same else {"valid": None, "nan": None}
        return replace(self, data=data, **masks | changes)

    def to_xarray(self) -> Any:
        """Return the scene as an `xarray.DataArray` with the conventions of rioxarray."""
        return arrays.to_xarray(self)

    def window(self, row: int, column: int, height: int, width: int) -> Self:
        """Return a window as views of the samples, with its own georeference."""
        moved = self.georeference.shifted(row, column) if self.georeference else None
        return self._cut(np.s_[:, row : row + height, column : column + width], georeference=moved)

    def band(self, which: int | str) -> Self:
        """Return a single band, by index or name."""
        if isinstance(which, str) and which not in self.bands:
            raise SceneError(f"scene '{self.name}' has no band '{which}'; it has {', '.join(self.bands)}")
        index = self.bands.index(which) if isinstance(which, str) else which
        return self._cut(np.s_[index : index + 1], bands=(self.bands[index],), profile=self.profile.select([index]))

    def _cut(self, index: Any, **changes: Any) -> Self:
        nan = None if self.nan is None else self.nan[index]
        return replace(self, data=self.data[index], valid=self.valid[index], nan=nan, **changes)


def join_bands(scenes: Sequence[Scene], bands: tuple[str, ...] = (), name: str = "") -> Scene:
    """Return co-registered scenes as the bands of one, with the properties of the first."""
    masks = (scene.valid & False if scene.nan is None else scene.nan for scene in scenes)
    data, valid, nan = joined((scene.data, scene.valid, mask) for scene, mask in zip(scenes, masks, strict=True))
    profile = scenes[0].profile if len(scenes) == 1 else Profile.joined([scene.profile for scene in scenes])
    bands = bands or tuple(band for scene in scenes for band in scene.bands)
    name = name or scenes[0].name
    return replace(scenes[0], data=data, valid=valid, nan=nan, bands=bands, name=name, profile=profile)


# --- fields that follow from names


def polarization(name: str) -> str:
    """Return ``"VV"``, ``"VH"``, ``"HH"`` or ``"HV"`` if a name contains exactly one of them, else ``""``."""
    found = {match.upper() for match in _POLARIZATION.findall(name.replace("_", " "))}
    return found.pop() if len(found) == 1 else ""


def polarization_order(name: str) -> int:
    """Return the place among the bands of a scene: VV, VH, HH, HV, others."""
    return ["VV", "VH", "HH", "HV", polarization(name)].index(polarization(name))


def without_polarization(name: str) -> str:
    """Remove the polarization from a name: ``night_VV`` → ``night``."""
    return re.sub(r"(?i)(^|[_\-. ]+)(vv|vh|hh|hv)(?=$|[_\-. ])", "", name).strip("_-. ")


def acquisition_of(path: str | Path) -> str:
    """Deduce the acquisition or event of a file from its path.

    The first that applies: a Sentinel-1 product identifier in the name of the file or of a folder above it; the event of
    a Sen1Floods11 chip (``Ghana_53713_S1Hand`` → ``Ghana``); the file name without its polarization.
    """
    path = Path(path)
    for part in (path.stem, *(parent.name for parent in path.parents)):
        if match := _PRODUCT.search(part):
            return match[0]
    match = _CHIP.match(path.stem)
    return match.group(1) if match else without_polarization(path.stem) or path.parent.name or path.stem


def looks_of(path: Path) -> float | None:
    """Return the nominal looks of Sentinel-1 IW GRDH and of Sen1Floods11 chips, which are cut from it; None of others."""
    detected = re.match(r"S1.*_GRD", acquisition_of(path)) or re.match(r"S1[A-D]_.*grd", path.name)
    return 4.4 if detected or _CHIP.match(path.stem) else None


def time_of(path: str | Path, tags: Mapping[str, str]) -> str:
    """Return the start of the acquisition in ISO 8601, from tags or else from the path; empty if unknown."""
    stated = {name.lower(): value for name, value in tags.items()}
    for name in _STARTS:
        if re.match(r"\d{4}-\d\d-\d\d", stated.get(name, "")):
            return stated[name]
    for part in (Path(path).name, *(parent.name for parent in Path(path).parents)):
        if match := _TIME.search(part):
            day, clock = "-".join(match.groups()[:3]), ":".join(filter(None, match.groups()[3:]))
            return f"{day}T{clock}" if clock else day
    return ""
