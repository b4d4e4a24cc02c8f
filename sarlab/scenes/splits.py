"""Split: which scenes a network sees, which choose among its weights, and which judge it.

A split never cuts through an acquisition without saying so. Scenes in a split are in dB, exact zeros on their floor.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sarlab.errors import SceneError
from sarlab.scenes.radiometry import Normalizer, fit_normalizer, stored_floors, to_db
from sarlab.scenes.scene import Scene
from sarlab.scenes.tiles import Blocks, blocks_with_guard, duplicate_share

ROLES = ("train", "validation", "test", "independent")

#: Above this share of copied pixels a scene trains, but gives no headline figure while there are others.
DUPLICATES_LIMIT = 0.03
#: Fewer acquisitions than this are cut into blocks.
MIN_ACQUISITIONS = 3


@dataclass(frozen=True, eq=False)
class Split:
    """Scenes by role.

    Attributes
    ----------
    train, validation, test, independent : tuple of Scene
        In dB. `independent` holds tests of other acquisitions where `test` shares the one of the training.
    normalizers : mapping of band name to Normalizer
        Of network inputs, and the clip range of PSNR.
    note : str
        How the split was made, in words for a page.
    digest : str
        SHA-256 over roles, samples and normalizers: the same data give the same digest wherever they lie.
    excluded : tuple of (name, reason)
        Scenes whose rows are NaN, with the reason. Those that could be read are in `test` too.
    clean : mapping of scene name to Scene
        Speckle-free reflectivity in dB of simulated scenes.
    """

    train: tuple[Scene, ...]
    validation: tuple[Scene, ...]
    test: tuple[Scene, ...]
    independent: tuple[Scene, ...] = ()
    normalizers: Mapping[str, Normalizer] = field(default_factory=dict)
    note: str = ""
    digest: str = ""
    excluded: tuple[tuple[str, str], ...] = ()
    clean: Mapping[str, Scene] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for role in ROLES:
            object.__setattr__(self, role, tuple(getattr(self, role)))
        if not self.digest:
            object.__setattr__(self, "digest", split_digest(self))

    def roles(self) -> Iterable[tuple[str, Scene]]:
        """Every scene with its role."""
        for role in ROLES:
            for scene in getattr(self, role):
                yield role, scene

    def reason(self, name: str) -> str:
        """Why the rows of a scene are NaN; empty where they are not."""
        return dict(self.excluded).get(name, "")


def split_digest(split: Split) -> str:
    """Content hash of a split: roles, bands, shapes, samples, masks, normalizers, clean scenes; no names, no paths."""
    digest = hashlib.sha256(b"sarlab-split-1")
    for role, scene in split.roles():
        digest.update(f"|{role}|{','.join(scene.bands)}|{scene.shape}|{scene.looks}|".encode())
        # One bit pattern for NaN, one byte order: the digest is of values.
        digest.update(np.where(scene.valid, scene.data, np.float32(np.nan)).astype("<f4").tobytes())
        clean = split.clean.get(scene.name)
        if clean is not None:
            digest.update(clean.data.astype("<f4").tobytes())
    for band in sorted(split.normalizers):
        digest.update(f"|{band}|{split.normalizers[band].low!r}|{split.normalizers[band].high!r}".encode())
    return digest.hexdigest()


def scene_duplicate_share(scene: Scene) -> float:
    """Mean over bands of the share of pixels that equal their left neighbor; exact zeros are left out."""
    data = np.array(scene.data)
    floors = stored_floors(scene)
    if floors is not None:
        data[data <= floors[:, None, None]] = np.nan
    shares = [duplicate_share(band) for band in data]
    known = [s for s in shares if np.isfinite(s)]
    return float(np.mean(known)) if known else float("nan")


def split_scenes(
    scenes: Sequence[Scene],
    reference: Mapping[str, Normalizer],
    excluded: Sequence[tuple[str, str]] = (),
    empty: Sequence[Scene] = (),
    note: str = "",
) -> Split:
    """Split a user's scenes: by acquisition where there are at least three, else into blocks with a guard.

    Parameters
    ----------
    scenes : sequence of Scene
        Any real or complex quantity; each with at least one valid sample.
    reference : mapping of band name to Normalizer
        Of the embedded training split; used for bands that look like Sentinel-1 (see `choose_normalizers`).
    excluded : sequence of (name, reason)
    empty : sequence of Scene
        All-nodata scenes: they become test scenes of NaN rows.
    note : str
        What is already known about the source.
    """
    if not scenes:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in excluded)
        raise SceneError(f"no usable scene{': ' + reasons if reasons else ''}")
    scenes = [to_db(scene) for scene in scenes]
    groups: dict[str, list[Scene]] = defaultdict(list)
    for scene in scenes:
        groups[scene.acquisition].append(scene)
    if len(groups) >= MIN_ACQUISITIONS:
        parts, how = _by_acquisition(groups)
    else:
        parts, how = _by_blocks(scenes)
    normalizers, ranges = choose_normalizers(parts["train"], reference)
    for scene in (s for role in ROLES for s in parts[role]):
        for band in scene.bands:
            if band not in normalizers:
                normalizers |= choose_normalizers([scene.band(band)], reference)[0]
                how += f" Band {band} occurs in no training scene."
    test = [*parts["test"], *(s if s.quantity == "db" else to_db(s) for s in empty)]
    if excluded:
        listed = "; ".join(f"{name} ({reason})" for name, reason in excluded[:5])
        how += f" Left out: {listed}{f' and {len(excluded) - 5} more' if len(excluded) > 5 else ''}."
    return Split(
        tuple(parts["train"]), tuple(parts["validation"]), tuple(test), (), normalizers,
        " ".join(text for text in (note, how, ranges) if text), excluded=tuple(excluded),
    )  # fmt: skip


def _by_acquisition(groups: Mapping[str, list[Scene]]) -> tuple[dict[str, list[Scene]], str]:
    """A fifth of the acquisitions test (at least one), a tenth validate (at least one), the rest train.

    The order is that of a hash of the names: stable, and nobody's choice. Acquisitions whose pixels are largely copies
    come last, but one without copies always stays in training.
    """

    def key(name: str) -> tuple[bool, str]:
        copied = max((scene_duplicate_share(s) for s in groups[name] if s.dtype.startswith("float")), default=0.0)
        return bool(copied > DUPLICATES_LIMIT), hashlib.sha256(name.encode()).hexdigest()

    keys = {name: key(name) for name in groups}
    order = sorted(groups, key=lambda name: keys[name])
    pure = [name for name in order if not keys[name][0]]
    tests = max(1, round(len(order) / 5))
    validations = max(1, round(len(order) / 10))
    if len(pure) > 1:
        order.remove(pure[-1])
        order.append(pure[-1])
    roles = {
        "test": order[:tests],
        "validation": order[tests : tests + validations],
        "train": order[tests + validations :],
    }
    parts: dict[str, list[Scene]] = {role: [] for role in ROLES}
    for role, names in roles.items():
        for name in sorted(names):
            seen = "true" if role == "train" else "false"
            parts[role] += [replace(scene, seen_in_training=seen) for scene in groups[name]]
    listed = "; ".join(f"{role} {', '.join(sorted(roles[role]))}" for role in ("train", "validation", "test"))
    return parts, f"Split by acquisition: {listed}. No test scene shares an acquisition with training."


def _by_blocks(scenes: Sequence[Scene]) -> tuple[dict[str, list[Scene]], str]:
    parts: dict[str, list[Scene]] = {role: [] for role in ROLES}
    guards, small = set(), []
    for scene in scenes:
        blocks = _usable_blocks(scene)
        if not blocks.separate:
            small.append(scene.name)
            whole = replace(scene, seen_in_training="true")
            for role in ("train", "validation", "test"):
                parts[role].append(whole)
            continue
        guards.add(blocks.guard)
        for role in ("train", "validation", "test"):
            part = scene.window(*getattr(blocks, role))
            seen = "true" if role == "train" else "false"
            parts[role].append(replace(part, name=f"{scene.name}-{role}", seen_in_training=seen))
    texts = []
    if guards:
        shown = " or ".join(str(g) for g in sorted(guards))
        texts.append(
            f"Fewer than {MIN_ACQUISITIONS} acquisitions: split into contiguous blocks with a guard of {shown} pixels; "
            "test and training share the acquisition."
        )
    if small:
        texts.append(
            f"{', '.join(small)}: too small (or too empty) to be cut, so training, validation and test are the same pixels "
            "and the figures say nothing about other scenes."
        )
    return parts, " ".join(texts)


def _usable_blocks(scene: Scene) -> Blocks:
    """Blocks that each hold a valid sample, or the whole scene three times."""
    _, height, width = scene.shape
    blocks = blocks_with_guard(height, width)
    for row, column, rows, columns in (blocks.train, blocks.validation, blocks.test):
        if not scene.valid[:, row : row + rows, column : column + columns].any():
            whole = (0, 0, height, width)
            return Blocks(whole, whole, whole, 0)
    return blocks


def choose_normalizers(
    train: Sequence[Scene], reference: Mapping[str, Normalizer]
) -> tuple[dict[str, Normalizer], str]:
    """Clip range of each band: that of the embedded training split, or the source's own.

    A band takes the embedded range, so that PSNR is comparable between scenes, where it is named VV or VH and the median
    of its training samples lies inside that range: calibrated backscatter. Other polarizations, uncalibrated numbers and
    other sensors take the 0.1 and 99.9 percentiles of their own training part. Simulated scenes do too: their limits
    hold for the range of their own distribution.

    Returns
    -------
    normalizers : dict
    note : str
        Which range was taken, in words.
    """
    pooled: dict[str, list[np.ndarray]] = {}
    simulated = any(scene.simulated for scene in train)
    for scene in train:
        for index, band in enumerate(scene.bands):
            pooled.setdefault(band, []).append(scene.data[index][scene.valid[index]])
    chosen, embedded, own = {}, [], []
    for band, parts in pooled.items():
        samples = np.concatenate(parts)
        known = reference.get(band)
        if samples.size == 0:
            if known is None:
                continue
            chosen[band] = known
        elif known is not None and not simulated and known.low <= np.median(samples) <= known.high:
            chosen[band] = known
            embedded.append(band)
        else:
            chosen[band] = fit_normalizer(samples)
            own.append(f"{band} {chosen[band].low:.2f} to {chosen[band].high:.2f} dB")
    texts = []
    if embedded:
        texts.append(f"Clip range of {', '.join(embedded)}: that of the embedded Sentinel-1 training scenes.")
    if own:
        texts.append(f"Clip range from this source's own training part: {'; '.join(own)}.")
    return chosen, " ".join(texts)
