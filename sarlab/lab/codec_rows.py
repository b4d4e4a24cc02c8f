"""Rows of one codec on one band: files made for targets, their bytes, what they decode to and its metrics."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sarlab.codec.codec import Codec, codecs
from sarlab.codec.targets import Search, Target, Trial
from sarlab.errors import SarlabError
from sarlab.files import write_bytes
from sarlab.lab.inputs import Input
from sarlab.metrics.rate import bits_per_pixel, measured_cr, measured_cr_lossless
from sarlab.peers.container import MAGIC
from sarlab.specs import content_hash

#: Raise by one when a change of the code changes the rows of `measure`: journals and studies then compute them again.
ROWS_VERSION = 1
#: Lossless codecs whose smaller file is the size that `measured_cr_lossless` is held against.
LOSSLESS = ("lossless-jpegls", "lossless-jpeg2000")
#: Suffixes of saved files: classical codecs, and those with a container of their own.
SUFFIXES = (".srlc", ".sarl")


@dataclass(frozen=True, eq=False)
class Task:
    """One codec on one band.

    Parameters
    ----------
    codec : str
    item : Input
    targets : tuple of (str, Target)
        Each with the key of its row, which the asking process made: workers never decide what a row is called.
    metrics : tuple of str or None
        Columns to compute; None for all.
    folder : Path or None
        Where files are saved.
    """

    codec: str
    item: Input
    targets: tuple[tuple[str, Target], ...]
    metrics: tuple[str, ...] | None = None
    folder: Path | None = None


def row_key(name: str, item: Input, target: Target, metrics: tuple[str, ...] | None) -> str:
    """Content hash of all that decides a row: versions of rows and codec, target, samples, metrics."""
    return content_hash(ROWS_VERSION, name, codecs[name].version(), target.kind, target.value, item.digest, metrics)


def measure(task: Task) -> Iterator[tuple[str, dict[str, Any]]]:
    """(key, row) of every target of a task."""
    codec, item = codecs[task.codec], task.item
    clip = None if np.isnan(item.clip[0]) else {item.scene.bands[0]: item.clip}
    search = Search(codec, item.scene, clip)
    for key, target in task.targets:
        row, reason = _described(codec, item, target), item.reason
        if not reason:
            try:
                trial = search.find(target)
                row |= _rates(trial, item) | _saved(trial, task, target)
                scores = _scores(item, search.decode(trial).data[0], task.metrics)
                row |= {**scores, "encode_seconds": trial.encode_seconds, "decode_seconds": trial.decode_seconds}
                reason = scores.reason
            except SarlabError as error:
                reason = str(error)
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
        row["reason"] = reason
        yield key, {name: _plain(value) for name, value in row.items()}


def _described(codec: Codec, item: Input, target: Target) -> dict[str, Any]:
    scene, capabilities = item.scene, codec.capabilities
    empty = dict.fromkeys(("quality", "bytes", "bpp", "measured_cr", "lossless_bytes", "measured_cr_lossless"), np.nan)
    return {
        **empty,
        "codec": codec.name, "family": codec.family, "target": target.kind, "target_value": target.value,
        "scene": scene.name, "band": scene.bands[0], "split": item.split, "acquisition": scene.acquisition,
        "simulated": scene.simulated, "looks": np.nan if scene.looks is None else scene.looks,
        "seen_in_training": scene.seen_in_training if capabilities.trained else "false",
        "native_bits": scene.native_bits, "bit_depth": capabilities.bits,
        "height": scene.shape[1], "width": scene.shape[2], "pixels": scene.shape[1] * scene.shape[2],
        "valid_share": float(scene.valid.mean()), "duplicate_share": item.duplicate_share,
        "clip_low": item.clip[0], "clip_high": item.clip[1], "clip_source": item.clip_source,
        "encode_seconds": np.nan, "decode_seconds": np.nan, "threads": 1, "codec_version": codec.version(), "file": "",
    }  # fmt: skip


def _rates(trial: Trial, item: Input) -> dict[str, Any]:
    size, pixels, lossless = len(trial.data), item.scene.data[0].size, _lossless_bytes(item)
    return {
        "quality": trial.quality,
        "bytes": size,
        "bpp": bits_per_pixel(size, pixels),
        "measured_cr": measured_cr(size, pixels, native_bits=item.scene.native_bits),
        "lossless_bytes": lossless,
        "measured_cr_lossless": measured_cr_lossless(size, lossless) if lossless else np.nan,
    }


def _saved(trial: Trial, task: Task, target: Target) -> dict[str, Any]:
    if task.folder is None:
        return {}
    parts = (task.item.scene.name, task.item.scene.bands[0], f"{task.codec}-{target.kind}-{target.value:g}")
    name = "/".join(re.sub(r"[^\w.+-]+", "_", part).lstrip(".") or "_" for part in parts)
    name += SUFFIXES[not trial.data.startswith(MAGIC)]
    write_bytes(task.folder / name, trial.data)
    return {"file": name, "bytes": (task.folder / name).stat().st_size}


def _scores(item: Input, decoded_db: np.ndarray, columns: tuple[str, ...] | None) -> Any:
    from sarlab.metrics import described, score

    if columns is None and item.clean_db is None:
        columns = tuple(metric.name for metric in described() if not metric.needs_clean)
    return score(_reference(item), decoded_db, columns=columns)


def _reference(item: Input) -> Any:
    """What depends on the band alone, for all codecs that this process measures on it."""
    from sarlab.metrics import Reference

    def make() -> Any:
        return Reference(item.db, clip=item.clip, looks=item.scene.looks, clean_db=item.clean_db)

    return _once(("reference", item.digest), make)


def _lossless_bytes(item: Input) -> int:
    """Smallest lossless file of the band's integer raster; 0 where no library is at hand."""

    def make() -> int:
        return min(
            (len(codecs[n].compress(item.scene, quality=0)) for n in LOSSLESS if codecs[n].available().ok), default=0
        )

    return _once(("lossless", item.digest), make)


_made: OrderedDict[tuple[str, str], Any] = OrderedDict()


def _once(key: tuple[str, str], make: Callable[[], Any]) -> Any:
    """What was made for the last few bands; tasks of one band come one after the other."""
    if key not in _made:
        _made[key] = make()
        while len(_made) > 6:
            _made.popitem(last=False)
    return _made[key]


def _plain(value: Any) -> Any:
    """A value that JSON holds."""
    if isinstance(value, np.generic):
        value = value.item()
    return float(value) if isinstance(value, float) else value
