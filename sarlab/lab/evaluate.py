"""Evaluate codecs on scenes: tidy rows measured on real files, and their comparison by Bjøntegaard differences.

    Input (one band) ──Search.find(goal)──▶ file ──┬─ bytes on disk ─▶ rate columns
                                                   └─ decompress ─▶ score ─▶ metric columns

One task is one codec on one band; tasks run in parallel processes of one thread. Finished rows go to a journal, keyed by
everything that decides them: a second call computes only what is missing.
"""

import json
import multiprocessing
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from itertools import chain, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from sarlab.codec.goals import Goal
from sarlab.errors import CodecError, ResultsError, SarlabError
from sarlab.files import write_bytes
from sarlab.lab.inputs import Clip, Input, Source, load_inputs
from sarlab.lab.machine import cores, inherited_threads
from sarlab.lab.results import order_columns, read_table
from sarlab.metrics import described, score
from sarlab.metrics import metrics as known_metrics
from sarlab.metrics.rate import bd_table, bits_per_pixel, measured_cr, measured_cr_lossless
from sarlab.peers import codecs, usable
from sarlab.peers.band_codec import MAGIC, codestream_bytes
from sarlab.peers.search import Search, Trial
from sarlab.scenes.radiometry import to_db
from sarlab.scenes.scene import Scene
from sarlab.scenes.splits import Split, scene_duplicate_share
from sarlab.specs import content_hash

#: Raise by one when a change of the code changes the rows: journals and studies then compute them again.
ROWS_VERSION = 2
#: Columns before the metrics, in order, and those after.
COLUMNS = [
    *("codec", "family", "quality", "target", "target_value", "scene", "band", "split", "acquisition", "simulated"),
    *("looks", "seen_in_training", "native_bits", "bit_depth", "height", "width", "pixels", "valid_share"),
    *("duplicate_share", "bytes", "bpp", "container_bytes", "bpp_codestream", "measured_cr", "lossless_bytes"),
    *("measured_cr_lossless", "clip_low", "clip_high", "clip_source"),
]
LAST_COLUMNS = ["encode_seconds", "decode_seconds", "threads", "codec_version", "file", "reason"]
#: Columns that a row without a file lacks.
RATES = ("bytes", "bpp", "container_bytes", "bpp_codestream", "measured_cr", "lossless_bytes", "measured_cr_lossless")
#: Columns without which a table holds no rows of `evaluate`.
NEEDED = ("codec", "scene", "band", "target", "target_value", "bpp")
#: Lossless codecs; `measured_cr_lossless` is relative to the smallest of their files.
LOSSLESS = ("lossless-jpegls", "lossless-jpeg2000")
#: Suffixes of saved files: classical codecs, and those with a container of their own.
SUFFIXES = (".srlc", ".sarl")
#: Codecs that the others are compared with, and the PSNR interval of the protocol for Sentinel-1 (W about 28 to 30 dB).
ANCHORS, PSNR_INTERVAL = ("jpeg2000", "hevc12"), (25.0, 40.0)


def evaluate(
    names: str | Sequence[str], scenes: Source | Sequence[Source] = "bigearthnet", goals: Sequence[Goal] = (), *,
    bpp: float | Sequence[float] = (), psnr: float | Sequence[float] = (), quantity: str = "auto",
    bands: Sequence[str] | None = None, clip: Clip = None, metrics: Sequence[str] | None = None, workers: int = 1,
    journal: Path | None = None, save_files: Path | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Measure codecs on real files; one row per codec, goal, scene and band.

    NaN has its reason in ``reason``. Scenes of which only a part is measured are a warning.

    Parameters
    ----------
    names : str or sequence of str
        Codecs as ``sarlab codecs`` lists them.
    scenes : str, path, Scene, Split or sequence of these
        `quantity`, `bands` and `clip` are those of `sarlab.lab.inputs.load_inputs`.
    goals, bpp, psnr
        Goals of any kind, rates in bits per pixel, PSNR in dB. Default: each codec's own grid of qualities.
    metrics : sequence of str
        The only metric columns to compute.
    workers : int
        Processes; 0 for one per core.
    journal, save_files : path
        File that keeps finished rows for a second call, and folder that keeps the compressed files.

    Examples
    --------
    >>> import sarlab
    >>> scene = sarlab.scene("ben-33UUP-37-88").band("VV")
    >>> rows = sarlab.evaluate(["jpeg2000"], scene, bpp=[0.25, 0.5], metrics=["psnr_db"])
    >>> rows[["codec", "target", "target_value"]]
          codec target  target_value
    0  jpeg2000    bpp          0.25
    1  jpeg2000    bpp          0.50
    """
    asked = {"bpp": np.atleast_1d(bpp), "psnr": np.atleast_1d(psnr)}
    goals = [*goals, *(Goal(kind, float(value)) for kind, values in asked.items() for value in values)]
    names = [names] if isinstance(names, str) else names
    given = [scenes] if isinstance(scenes, (str, Path, Scene, Split)) else scenes
    for name in names:
        usable(name)
    chosen = None if metrics is None else tuple(known_metrics[name].name for name in metrics)
    items = load_inputs(given, quantity=quantity, bands=bands, clip=clip)
    for note in dict.fromkeys(item.note for item in items if item.note):
        warnings.warn(note, stacklevel=2)
    kept, order, tasks = Journal(journal), list[str](), list[Task]()
    for item in items:
        for name in dict.fromkeys(names):
            grid = [Goal("quality", quality) for quality in codecs[name].capabilities.quality.grid]
            # An empty scene has one row with the reason.
            wanted = grid[:1] if item.reason else goals or grid
            decides = (ROWS_VERSION, name, codecs[name].version())
            keyed = {content_hash(*decides, goal.kind, goal.value, item.digest, chosen): goal for goal in wanted}
            order += keyed
            missing = {key: goal for key, goal in keyed.items() if not _is_done(kept.rows.get(key), save_files)}
            if missing:
                tasks.append(Task(name, item, missing, chosen, save_files))
    finished = len(order) - sum(len(task.goals) for task in tasks)
    count = min(workers or cores(), len(tasks))
    # rows of this process are kept one by one
    found = chain.from_iterable(in_processes(measured if count > 1 else measure, tasks, count))
    for key, row in tqdm(found, total=len(order), initial=finished, unit="row", disable=None):
        kept.add(key, row)
    # Whole numbers that may be missing: exact in every format.
    counts = dict.fromkeys(("bytes", "container_bytes", "lossless_bytes"), "Int64")
    frame = pd.DataFrame([kept.rows[key] for key in order]).astype(counts)
    return order_columns(frame, COLUMNS, LAST_COLUMNS)


def read_rows(path: Path) -> pd.DataFrame:
    """Read a table of evaluated codecs; the `ResultsError` for another file explains what is needed."""
    try:
        if not path.is_file():
            raise ResultsError(f"{path}: no such table")
        frame = read_table(path)
        if missing := [column for column in NEEDED if column not in frame]:
            raise ResultsError(f"{path} has no column {', '.join(missing)}")
        numbers = ["target_value", "quality", "native_bits", "pixels", *RATES, *known_metrics]
        for name in frame.columns.intersection(numbers):
            if not pd.api.types.is_numeric_dtype(frame[name]):
                raise ResultsError(f"{path}: column {name} holds values that are not numbers")
            if name in ("bpp", "pixels") and (frame[name] <= 0).any():
                raise ResultsError(f"{path}: column {name} holds values that are not positive")
    except ResultsError as error:
        raise ResultsError(f"{error}; give a table that 'sarlab evaluate … --out rows.csv' wrote") from error
    return frame.assign(band=frame["band"].fillna(""))  # of files that name none


def parse_targets(kind: str, text: str) -> list[Goal]:
    """Parse ``"0.1,0.5,1"`` or ``"25:40:11"`` (first, last, count)."""
    try:
        if ":" in text:
            first, last, count = text.split(":")
            values = np.linspace(float(first), float(last), int(count)).tolist()
        else:
            values = [float(part) for part in text.split(",")]
    except ValueError:
        raise CodecError(f"'{text}' is not a list of numbers; write 0.1,0.5,1 or 25:40:11 (first:last:count)") from None
    return [Goal(kind, value) for value in values]


class Journal:
    """Finished rows of a long table by content hash, one JSON line each; without a path they are kept in memory."""

    def __init__(self, path: Path | None):
        self.path = path
        self.rows: dict[str, dict[str, Any]] = {}
        try:
            lines = path.read_text(encoding="utf-8").splitlines() if path is not None and path.exists() else []
        except (OSError, UnicodeDecodeError) as error:
            raise ResultsError(f"{path}: unreadable journal of an earlier evaluation ({error}); delete it") from error
        for line in lines:
            try:
                entry = json.loads(line)
                self.rows[entry["key"]] = entry["row"]
            except (ValueError, KeyError, TypeError):
                continue  # the line that was being written when the process was killed

    def add(self, key: str, row: dict[str, Any]) -> None:
        """Keep a row; it is on disk before this returns."""
        self.rows[key] = row
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as stream:  # after a line that may have been cut off
                stream.write("\n" + json.dumps({"key": key, "row": row}) + "\n")


class Task(NamedTuple):
    """One codec on one band: goals by the keys of their rows, metric columns (None: all), folder for files (None: none)."""

    codec: str
    item: Input
    goals: Mapping[str, Goal]
    metrics: Sequence[str] | None = None
    folder: Path | None = None


def _is_done(row: Mapping[str, Any] | None, folder: Path | None) -> bool:
    if row is None or folder is None:
        return row is not None
    path = folder / row["file"]
    return path.is_file() and path.stat().st_size == row["bytes"] if row["file"] else bool(row["reason"])


def in_processes(work: Callable[[Any], Any], jobs: Iterable[Any], count: int) -> Iterator[Any]:
    """Results of `work`, a function of a module, in the order of the jobs; several at a time in processes of one thread."""
    if count <= 1:
        yield from map(work, jobs)
        return
    spawn = multiprocessing.get_context("spawn")
    with inherited_threads(1), ProcessPoolExecutor(count, spawn) as pool:
        yield from pool.map(work, jobs)


def measure(
    task: Task, further: Callable[[np.ndarray, float], Mapping[str, Any]] | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(key, row) of every goal of a task; values are plain, so that JSON holds them.

    `further` gives more columns, from the decoded band in dB and the quality of the file.
    """
    codec, item = codecs[task.codec], task.item
    capabilities, (_, height, width) = codec.capabilities, item.scene.shape
    about = {
        **dict.fromkeys(("quality", *RATES), np.nan),
        "codec": codec.name, "family": codec.family, **item.columns, "bit_depth": capabilities.bits, "height": height,
        "width": width, "valid_share": float(item.scene.valid.mean()), "duplicate_share": scene_duplicate_share(to_db(item.scene)),
        "clip_source": item.clip_source, "encode_seconds": np.nan, "decode_seconds": np.nan, "threads": 1,
        "codec_version": codec.version(), "file": "",
    }  # fmt: skip
    about |= {} if capabilities.trained else {"seen_in_training": "false"}
    columns = task.metrics
    if columns is None and item.clean_db is None:
        columns = [metric.name for metric in described() if not (metric.needs_clean or metric.optional)]
    search = Search(codec, item.scene, None if np.isnan(item.clip[0]) else {item.name: item.clip})
    for key, goal in task.goals.items():
        row, reason = {**about, "target": goal.kind, "target_value": goal.value}, item.reason
        if not reason:
            try:
                trial = search.find(goal)
                size, lossless, content = len(trial.data), _lossless_bytes(item), codestream_bytes(trial.data)
                row |= {
                    "quality": trial.quality, "bytes": size, "bpp": bits_per_pixel(size, row["pixels"]),
                    "container_bytes": size - content, "bpp_codestream": 8 * content / row["pixels"],
                    "measured_cr": measured_cr(size, row["pixels"], native_bits=row["native_bits"]), "lossless_bytes": lossless,
                    "measured_cr_lossless": measured_cr_lossless(size, lossless) if lossless else np.nan,
                    "file": _saved(trial, task, goal),
                }  # fmt: skip
                decoded = search.decode(trial).data[0]
                scores = score(item.reference, decoded, columns=columns)
                row |= {**(further(decoded, trial.quality) if further else {}), **scores}
                row |= {"encode_seconds": trial.encode_seconds, "decode_seconds": trial.decode_seconds}
                reason = scores.reason
            except SarlabError as error:
                reason = str(error)
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
        row["reason"] = reason
        plain = {name: v.item() if isinstance(v, np.generic) else v for name, v in row.items()}
        yield key, {name: float(v) if isinstance(v, float) else v for name, v in plain.items()}


def _saved(trial: Trial, task: Task, goal: Goal) -> str:
    """Name of the saved file; empty if files are not kept."""
    if task.folder is None:
        return ""
    parts = (task.item.scene.name, task.item.name, f"{task.codec}-{goal.kind}-{goal.value:g}")
    name = "/".join(re.sub(r"[^\w.+-]+", "_", part).lstrip(".") or "_" for part in parts)
    name += SUFFIXES[not trial.data.startswith(MAGIC)]
    write_bytes(task.folder / name, trial.data)
    return name


def measured(task: Task) -> list[tuple[str, dict[str, Any]]]:
    """Rows of `measure` as a list, which can be sent to another process."""
    return list(measure(task))


@lru_cache(maxsize=3)
def _lossless_bytes(item: Input) -> int:
    """Smallest lossless file of the band's integer raster; 0 if no library for it is installed."""
    names = [name for name in LOSSLESS if codecs[name].available().ok]
    return min((len(codecs[name].compress(item.scene, quality=0)) for name in names), default=0)


def bd_rows(
    rows: pd.DataFrame, *, metrics: Sequence[str] = ("psnr_db",), anchors: Sequence[str] = ANCHORS,
    interval: tuple[float, float] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """BD-rate and BD-quality of evaluated codecs against anchors, per band; anchors that are not in the table are skipped.

    Rows at PSNR goals are used if there are any, else all rows, which the reason column notes. `metrics` are columns that
    are monotone in the rate. The default interval is 25 to 40 dB for ``psnr_db``, the range in common for others.
    """
    present = [anchor for anchor in anchors if anchor in set(rows["codec"])]
    if not present:
        raise ResultsError(f"the table has none of the anchors {', '.join(anchors)}; evaluate one on the same scenes")
    matched = rows[rows["target"] == "psnr"]
    used = (matched if len(matched) else rows).dropna(subset=["bpp"])
    if used.empty:
        raise ResultsError("the table has no row with a rate")
    tables = []
    for (band, part), anchor, metric in product(used.groupby("band", sort=False), present, metrics):
        if anchor in set(part["codec"]):
            stated = interval or (PSNR_INTERVAL if metric == "psnr_db" else None)
            table = bd_table(part, anchor=anchor, metric=metric, interval=stated)
            table.insert(0, "band", band)
            tables.append(table[table["codec"] != anchor])
    if not sum(map(len, tables)):
        raise ResultsError("the table has no codec other than the anchor")
    result = pd.concat(tables, ignore_index=True)
    if not len(matched):
        result["reason"] = [f"not at matched PSNR{f'; {reason}' if reason else ''}" for reason in result["reason"]]
    return result
