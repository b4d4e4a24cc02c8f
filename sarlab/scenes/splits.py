"""Splits: training, validation and test scenes, by acquisition or by spatial blocks with a guard.

Scenes of a split are in dB, with exact zeros on their floor. The note of a split states whether roles share an acquisition.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sarlab.scenes.radiometry import Normalizer, fit_normalizer, pooled_bands, stored_floors, to_db
from sarlab.scenes.scene import Scene, Window

ROLES = ("train", "validation", "test", "independent")

#: Scenes with a larger share of copied pixels are used for training rather than testing, if there are others.
DUPLICATES_LIMIT = 0.03
#: Scenes of fewer acquisitions are split into blocks.
MIN_ACQUISITIONS = 3


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Scenes by role, in dB."""

    train: tuple[Scene, ...]
    validation: tuple[Scene, ...]
    test: tuple[Scene, ...]
    #: Test scenes of other acquisitions if `test` shares one with `train`.
    independent: tuple[Scene, ...] = ()
    #: By band, for network inputs; their range is also the clip range of PSNR.
    normalizers: Mapping[str, Normalizer] = field(default_factory=dict)
    #: How the split was made, for readers.
    note: str = ""
    #: SHA-256 of roles, samples and normalizers, independent of paths and names.
    digest: str = ""
    #: (name, reason) of scenes whose rows are NaN. Those that could be read are also in `test`.
    excluded: tuple[tuple[str, str], ...] = ()
    #: Speckle-free reflectivity of simulated scenes by name, in dB.
    clean: Mapping[str, Scene] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", self.digest or split_digest(self))

    def __repr__(self) -> str:
        counts = ", ".join(f"{role}={len(getattr(self, role))}" for role in ROLES if getattr(self, role))
        return f"Split({counts}, bands={'+'.join(self.normalizers)}, digest={self.digest[:12]})"

    def roles(self) -> Iterable[tuple[str, Scene]]:
        """Iterate over all scenes with their roles."""
        return ((role, scene) for role in ROLES for scene in getattr(self, role))

    def reason(self, name: str) -> str:
        """Return why the rows of a scene are NaN; empty if they are not."""
        return dict(self.excluded).get(name, "")


def split_digest(split: Split) -> str:
    """Hash the content of a split: roles, bands, shapes, looks, samples, normalizers and clean scenes."""
    digest = hashlib.sha256(b"sarlab-split-1")
    for role, scene in split.roles():
        digest.update(f"|{role}|{','.join(scene.bands)}|{scene.shape}|{scene.looks}|".encode())
        # A single bit pattern for NaN and a single byte order, so that equal values have equal digests.
        digest.update(np.where(scene.valid, scene.data, np.float32(np.nan)).astype("<f4").tobytes())
        clean = split.clean.get(scene.name)
        if clean is not None:
            digest.update(clean.data.astype("<f4").tobytes())
    for band in sorted(split.normalizers):
        digest.update(f"|{band}|{split.normalizers[band].low!r}|{split.normalizers[band].high!r}".encode())
    return digest.hexdigest()


def cut_tests(split: Split, side: int) -> Split:
    """Cut test and independent scenes, and their clean versions, to the middle `side`² pixels at most."""

    def middle(scene: Scene) -> Scene:
        height, width = (min(side, length) for length in scene.shape[1:])
        return scene.window((scene.shape[1] - height) // 2, (scene.shape[2] - width) // 2, height, width)

    test, independent = (tuple(map(middle, scenes)) for scenes in (split.test, split.independent))
    names = {scene.name for scene in (*test, *independent)}
    clean = {name: middle(scene) if name in names else scene for name, scene in split.clean.items()}
    return replace(split, test=test, independent=independent, clean=clean, digest="")


def scene_duplicate_share(scene: Scene) -> float:
    """Return the share of pixels that equal their left neighbor, averaged over the bands of a scene in dB.

    Products resampled by nearest neighbor contain such copies, which favor learned codecs over JPEG 2000. Pairs with
    nodata or an exact zero are ignored; NaN if there are no others.
    """
    data = np.array(scene.data)
    floors = stored_floors(scene)
    if floors is not None:
        data[data <= floors[:, None, None]] = np.nan
    left, right = data[..., :-1], data[..., 1:]
    usable = np.isfinite(left) & np.isfinite(right) & (left != 0)
    copied = left == right
    shares = [float(copied[band][usable[band]].mean()) for band in range(len(data)) if usable[band].any()]
    return float(np.mean(shares)) if shares else float("nan")


@dataclass
class FoundScenes:
    """Scenes of a file or folder with and without a valid sample; empty and unreadable ones as (name, reason)."""

    scenes: list[Scene] = field(default_factory=list)
    empty: list[Scene] = field(default_factory=list)
    excluded: list[tuple[str, str]] = field(default_factory=list)
    note: str = ""


def split_scenes(found: FoundScenes, reference: Mapping[str, Normalizer]) -> Split:
    """Split scenes of any quantity by acquisition if there are at least three, else into blocks with a guard.

    `reference` are the normalizers of the embedded training scenes (see `choose_normalizers`). Empty scenes become test
    scenes with NaN rows.
    """
    scenes, excluded = [to_db(scene) for scene in found.scenes], found.excluded
    groups: dict[str, list[Scene]] = defaultdict(list)
    for scene in scenes:
        groups[scene.acquisition].append(scene)
    parts, how = _by_acquisition(groups) if len(groups) >= MIN_ACQUISITIONS else _by_blocks(scenes)
    normalizers, ranges = choose_normalizers(parts["train"], reference, (*parts["validation"], *parts["test"]))
    if excluded:
        listed = "; ".join(f"{name} ({reason})" for name, reason in excluded[:5])
        how += f" Left out: {listed}{f' and {len(excluded) - 5} more' if len(excluded) > 5 else ''}."
    train, validation, test = (tuple(part) for part in parts.values())
    note = " ".join(filter(None, (found.note, how, ranges)))
    return Split(train, validation, (*test, *map(to_db, found.empty)), (), normalizers, note, excluded=tuple(excluded))


def _by_acquisition(groups: Mapping[str, list[Scene]]) -> tuple[dict[str, list[Scene]], str]:
    """Assign a fifth of the acquisitions to testing, a tenth to validation (at least one each), the rest to training.

    They are ordered by a hash of their names. Acquisitions with many copied pixels come last, but if there are at least
    two without, the last of these goes to training.
    """
    keys = {}
    for name, scenes in groups.items():
        copied = max((scene_duplicate_share(s) for s in scenes if s.dtype.startswith("float")), default=0.0)
        keys[name] = copied > DUPLICATES_LIMIT, hashlib.sha256(name.encode()).hexdigest()
    order = sorted(groups, key=keys.__getitem__)
    pure = [name for name in order if not keys[name][0]]
    if len(pure) > 1:
        order.remove(pure[-1])
        order.append(pure[-1])
    tests, validations = (max(1, round(len(order) / share)) for share in (5, 10))
    ends = tests, tests + validations
    roles = {"train": order[ends[1] :], "validation": order[ends[0] : ends[1]], "test": order[: ends[0]]}
    parts: dict[str, list[Scene]] = {}
    for role, names in roles.items():
        scenes = [scene for name in sorted(names) for scene in groups[name]]
        parts[role] = [replace(scene, seen_in_training=str(role == "train").lower()) for scene in scenes]
    listed = "; ".join(f"{role} {', '.join(sorted(names))}" for role, names in roles.items())
    return parts, f"Split by acquisition: {listed}. No test scene shares an acquisition with training."


def _by_blocks(scenes: Sequence[Scene]) -> tuple[dict[str, list[Scene]], str]:
    parts: dict[str, list[Scene]] = {role: [] for role in ROLES[:3]}
    guards, small = set(), []
    for scene in scenes:
        *blocks, guard = blocks_with_guard(*scene.shape[1:])
        windows = {role: scene.window(*block) for role, block in zip(parts, blocks, strict=True)}
        separate = guard > 0 and all(part.valid.any() for part in windows.values())
        guards |= {guard} if separate else set()
        small += [] if separate else [scene.name]
        for role, part in windows.items():
            used = replace(part, name=f"{scene.name}-{role}") if separate else scene
            parts[role].append(replace(used, seen_in_training="false" if separate and role != "train" else "true"))
    texts = []
    if guards:
        shown = " or ".join(map(str, sorted(guards)))
        texts.append(
            f"Fewer than {MIN_ACQUISITIONS} acquisitions: split into contiguous blocks with a guard of {shown} pixels; "
            "test and training share the acquisition."
        )
    if small:
        texts.append(
            f"{', '.join(small)}: too small (or too empty) to split, so training, validation and test use the same pixels; "
            "the results do not apply to other scenes."
        )
    return parts, " ".join(texts)


def blocks_with_guard(height: int, width: int) -> tuple[Window, Window, Window, int]:
    """Divide a scene into contiguous training, validation and test blocks with a guard of 64 pixels between them.

    Returns the blocks and the guard, which is 0 if all three are the whole scene.

    If both sides have at least six guards, training takes 60 % of the longer one, and the rest is divided across it: 70 %
    test, 30 % validation. If only one side has, it is divided 60 : 15 : 25. If none has, the guard shrinks to a sixth of
    the shorter side (of the longer one for strips narrower than 60 pixels). Scenes below 12 pixels are not divided.
    """
    if width > height:
        *parts, guard = blocks_with_guard(width, height)
        train, validation, test = ((c, r, w, h) for r, c, h, w in parts)
        return train, validation, test, guard
    whole = (0, 0, height, width)
    if height < 12:
        return whole, whole, whole, 0
    guard = 64 if height >= 6 * 64 else width // 6 if width >= 60 else height // 6
    if width >= max(6 * guard, 60):
        cut = round(0.6 * (height - guard))
        top, rows, across = cut + guard, height - cut - guard, round(0.7 * (width - guard))
        beside = (top, across + guard, rows, width - across - guard)
        return (0, 0, cut, width), beside, (top, 0, rows, across), guard
    first, second = (max(1, round(share * (height - 2 * guard))) for share in (0.6, 0.15))
    start, end = first + guard, first + second + 2 * guard
    return (0, 0, first, width), (start, 0, second, width), (end, 0, height - end, width), guard


def choose_normalizers(
    train: Sequence[Scene], reference: Mapping[str, Normalizer], others: Iterable[Scene] = ()
) -> tuple[dict[str, Normalizer], str]:
    """Choose the clip range of each band: that of the embedded training scenes, or its own.

    Bands named VV or VH whose median lies inside the embedded range are taken as calibrated backscatter and get that
    range, so that PSNR is comparable between scenes. Other polarizations, uncalibrated samples and other sensors get the
    0.1 and 99.9 percentiles of their own training samples. So do simulated scenes, because their theoretical limits
    refer to their own distribution. Bands that only `others` have get the range of the first of these.

    Returns the normalizers by band name, and a note for readers that says which range each band got.
    """
    simulated = any(scene.simulated for scene in train)
    chosen, embedded, own = {}, [], []
    for band, samples in pooled_bands(train).items():
        known = reference.get(band)
        usual = known is not None and not simulated and samples.size and known.low <= np.median(samples) <= known.high
        if known is not None and (usual or not samples.size):
            chosen[band] = known
            embedded += [band] if usual else []
        elif samples.size:
            chosen[band] = fit_normalizer(samples)
            own.append(f"{band} {chosen[band].low:.2f} to {chosen[band].high:.2f} dB")
    note = []
    if embedded:
        note.append(f"Clip range of {', '.join(embedded)}: that of the embedded Sentinel-1 training scenes.")
    if own:
        note.append(f"Clip range from the training part of this source: {'; '.join(own)}.")
    for scene in others:
        for band in [band for band in scene.bands if band not in chosen]:
            chosen |= choose_normalizers([scene.band(band)], reference)[0]
            note.append(f"Band {band} occurs in no training scene.")
    return chosen, " ".join(note)
