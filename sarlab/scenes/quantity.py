"""Deduce quantity, polarization and acquisition of a file from its names and values (``quantity="auto"``)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sarlab.errors import SceneError

#: GeoTIFF tag in which this package stores the quantity.
QUANTITY_TAG = "SARLAB_QUANTITY"
#: Quantities of files whose real bands are the parts of complex samples.
PAIRS = ("iq", "amplitude-phase")
#: Order of polarizations in a scene.
ORDER = {"VV": 0, "VH": 1, "HH": 2, "HV": 3}
#: Nominal number of looks of Sentinel-1 IW GRDH.
SENTINEL1_GRD_LOOKS = 4.4

_UNITS = {
    "db": "db", "decibel": "db", "decibels": "db", "amplitude": "amplitude", "intensity": "intensity", "power": "intensity",
}  # fmt: skip
_WORDS = {
    "db": "db", "decibel": "db", "amplitude": "amplitude", "amp": "amplitude", "magnitude": "amplitude", "gec": "amplitude",
    "intensity": "intensity", "power": "intensity", "linear": "intensity",
}  # fmt: skip
#: Tags whose short values may name the quantity.
_TELLING = re.compile(r"(?i)unit|quantity|calibrat|radiometr|description|name")
_TIME = re.compile(r"(?<!\d)(20\d\d|19\d\d)-?([01]\d)-?([0-3]\d)(?:[T_t-]([0-2]\d)-?([0-5]\d)-?([0-5]\d))?(?!\d)")
_PRODUCT = re.compile(
    r"S1[A-D]_(?:IW|EW|S[1-6]|WV)_(?:GRD.|SLC_|GRD)_.*?\d{8}T\d{6}(?:_\d{8}T\d{6}_\d{6}_[0-9A-F]{6}_[0-9A-F]{4})?"
)
_CHIP = re.compile(r"^([A-Za-z-]+)_\d+_S1(?:Hand|Weak)?$")
_POLARIZATION = re.compile(r"(?<![A-Za-z])(VV|VH|HH|HV)(?![A-Za-z])", re.IGNORECASE)


def words_of(name: str) -> list[str]:
    """Split a file or band name into lower-case words at everything but letters and digits."""
    return [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]


def polarization(name: str) -> str | None:
    """Return ``"VV"``, ``"VH"``, ``"HH"`` or ``"HV"`` if a name contains exactly one of them, else None."""
    found = {match.upper() for match in _POLARIZATION.findall(name.replace("_", " "))}
    return found.pop() if len(found) == 1 else None


def acquisition_of(path: str | Path) -> str:
    """Deduce the acquisition or event of a file from its path.

    The first that applies: a Sentinel-1 product identifier in the name of the file or of a folder above it; the event of
    a Sen1Floods11 chip (``Ghana_53713_S1Hand`` → ``Ghana``); the file name without its polarization.
    """
    path = Path(path)
    for part in (path.stem, *(parent.name for parent in path.parents)):
        match = _PRODUCT.search(part)
        if match:
            return match.group(0)
    match = _CHIP.match(path.stem)
    if match:
        return match.group(1)
    return without_polarization(path.stem) or path.parent.name or path.stem


def without_polarization(name: str) -> str:
    """Remove the polarization from a name: ``night_VV`` → ``night``."""
    return re.sub(r"(?i)(^|[_\-. ]+)(vv|vh|hh|hv)(?=$|[_\-. ])", "", name).strip("_-. ")


def is_sentinel1_detected(path: str | Path) -> bool:
    """Return True if the path names a Sentinel-1 ground range detected product or a Sen1Floods11 chip."""
    acquisition = acquisition_of(path)
    return (
        ("_GRD" in acquisition and acquisition.startswith("S1"))
        or bool(_CHIP.match(Path(path).stem))
        or bool(re.match(r"S1[A-D]_.*grd", Path(path).name))
    )


def time_of(path: str | Path, tags: Mapping[str, str]) -> str:
    """Return the start of the acquisition in ISO 8601, from tags or else from the path; empty if unknown."""
    stated = {name.lower(): value for name, value in tags.items()}
    for name in ("acquisition_start_time", "acquisition_time", "start_time", "acquisition_datetime"):
        if re.match(r"\d{4}-\d\d-\d\d", stated.get(name, "")):
            return stated[name]
    for part in (Path(path).name, *(parent.name for parent in Path(path).parents)):
        match = _TIME.search(part)
        if match:
            day, clock = "-".join(match.groups()[:3]), ":".join(filter(None, match.groups()[3:]))
            return f"{day}T{clock}" if clock else day
    return ""


def decide_quantity(
    name: str, dtype: str, sample: np.ndarray, tags: Mapping[str, str], hints: tuple[str, ...], bands: tuple[str, ...] = ()
) -> str:  # fmt: skip
    """Decide the quantity of a file that is read with quantity ``"auto"``.

    The first rule that applies decides: the tag written by this package; a complex sample type; the unit of the bands;
    words in file names, band names and tags (``db``, ``amplitude``, ``gec``, ``intensity`` …) unless the values contradict
    them; integers without negative values are amplitude, as detected products are delivered; real numbers between −200
    and 100 of which at least half lie below −1 are dB. Amplitude and intensity are never guessed for real numbers, because
    their values look alike.

    `dtype` is real for integers with a scale; `sample` holds valid samples from all over the file, perhaps none; `hints` are
    units, then file name and band names.

    Raises
    ------
    SceneError
        No rule applies.
    """
    stated = tags.get(QUANTITY_TAG, "").lower()
    if stated in ("complex", "amplitude", "intensity", "db"):
        return stated
    if dtype.startswith("complex"):
        return "complex"
    integers = np.dtype(dtype).kind in "ui"
    finite = sample[np.isfinite(sample)]
    negative = bool(finite.size and finite.min() < 0) or bool(np.isneginf(sample).any())
    share = float(np.mean(finite < 0)) if finite.size else 0.0
    _refuse_pairs(name, bands, finite, integers, share)
    telling = [value for tag, value in tags.items() if _TELLING.search(tag) and len(value) < 100]
    words = {word for hint in (*hints, *telling) for word in words_of(hint)}
    # In the order of trust: units, then everything else.
    units = {_UNITS[hint.lower()] for hint in hints if hint.lower() in _UNITS}
    named = units or {_WORDS[word] for word in words if word in _WORDS}
    plausible = bool(finite.size) and finite.min() >= -200 and finite.max() <= 100
    if len(named) == 1:
        found = named.pop()
        if found == "db" and integers and not (negative and plausible):
            raise SceneError(
                f"{name}: its name or tags say dB, but the samples are integers from {finite.min(initial=0):g} to "
                f"{finite.max(initial=0):g} without a scale; store scale and offset in the file (gdal_edit.py -scale -offset), "
                "or set quantity 'amplitude' or 'intensity'"
            )
        # A few negative samples are left by noise subtraction; more contradict the name.
        if found == "db" or share < 0.5:
            return found
    if integers:
        if not negative:
            return "amplitude"
        raise SceneError(
            f"{name}: negative integers (lowest {finite.min():g}) are neither amplitude nor intensity; set quantity 'db' for "
            "whole dB, store the scale in the file for scaled dB, or set quantity 'iq' for pairs of bands I and Q"
        )
    if negative and finite.size:
        if plausible and np.mean(finite < -1) >= 0.5:
            return "db"
        raise SceneError(
            f"{name}: samples from {finite.min():.4g} to {finite.max():.4g} look neither like dB nor like amplitude or "
            "intensity; set quantity 'db', 'amplitude' or 'intensity'"
        )
    if np.isneginf(sample).any():
        return "db"
    raise SceneError(
        f"{name}: non-negative real samples may be amplitude, intensity or dB; "
        "set quantity 'amplitude', 'intensity' or 'db'"
    )


def _refuse_pairs(name: str, bands: tuple[str, ...], finite: np.ndarray, integers: bool, share: float) -> None:
    """Refuse two bands that seem to be the parts of complex samples."""
    words = [set(words_of(band)) for band in bands]
    if len(bands) % 2 or not bands:
        return
    if any("phase" in w for w in words[1::2]):
        raise SceneError(
            f"{name}: bands {bands[0]} and {bands[1]} seem to be amplitude and phase; set quantity 'amplitude-phase'"
        )
    iq = words[0] & {"i", "real", "re"} and words[1] & {"q", "imag", "imaginary", "im"}
    if iq or (integers and 0.2 < share < 0.8):
        raise SceneError(
            f"{name}: {len(bands)} bands with as many negative samples as positive seem to be I and Q; set quantity 'iq'"
        )


def check_quantity(name: str, quantity: str, dtype: str, data: np.ndarray) -> None:
    """Raise SceneError if the samples cannot be of the stated quantity.

    These are complex samples of a real quantity or the reverse, negative amplitude or intensity, and dB beyond ±400.
    """
    is_complex = np.iscomplexobj(data)
    if quantity == "complex" and not is_complex:
        raise SceneError(
            f"{name}: samples of type {dtype} are not complex; use quantity 'amplitude', 'intensity' or 'db', or for pairs of "
            "real bands 'iq' or 'amplitude-phase'"
        )
    if quantity != "complex" and is_complex:
        raise SceneError(f"{name}: complex samples are not {quantity}; use quantity 'complex' or 'auto'")
    if is_complex:
        return
    low, high = np.nanmin(data, initial=0.0), np.nanmax(data, initial=0.0)
    if quantity in ("amplitude", "intensity") and low < 0:
        share = float(np.mean(data[~np.isnan(data)] < 0))
        if share >= 0.5 and low < -1:
            raise SceneError(
                f"{name}: negative {quantity} ({low:.4g}) is impossible; the samples are probably in dB (quantity 'db')"
            )
        raise SceneError(
            f"{name}: {share:.2%} of the samples are negative (lowest {low:.4g}), which no {quantity} is; noise subtraction "
            "leaves such samples: set a floor to replace them by (--floor 0)"
        )
    finite_low = np.nanmin(np.where(np.isneginf(data), 0.0, data), initial=0.0) if np.isneginf(low) else low
    if quantity == "db" and (high > 400 or finite_low < -400):
        raise SceneError(
            f"{name}: samples from {finite_low:.4g} to {high:.4g} cannot be dB; "
            "use quantity 'amplitude' or 'intensity', or declare a nodata value"
        )
