"""Evaluate: codecs × scenes × targets → tidy rows, from real files.

    Input (one band) ──Search.find(target)──▶ file ──┬─ bytes on disk ─▶ rate columns
                                                     └─ decompress ─▶ score ─▶ metric columns

One task is one codec on one band, so tasks run in parallel processes; encoders keep to one thread. Every finished row
goes to a journal beside the output, keyed by all that decides it: a second call computes only what is missing.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sarlab.codec.codec import Codec, codecs, usable
from sarlab.codec.targets import KINDS, Target
from sarlab.errors import CodecError, ResultsError
from sarlab.files import replacing
from sarlab.lab.codec_rows import Task, measure, row_key
from sarlab.lab.inputs import Input, load_inputs
from sarlab.lab.journal import Journal
from sarlab.lab.machine import inherited, thread_environment
from sarlab.lab.results import write_table
from sarlab.scenes.scene import Scene
from sarlab.scenes.splits import Split

#: Columns before the metrics, in order.
COLUMNS = [
    *("codec", "family", "quality", "target", "target_value", "scene", "band", "split", "acquisition", "simulated"),
    *(
        "looks",
        "seen_in_training",
        "native_bits",
        "bit_depth",
        "height",
        "width",
        "pixels",
        "valid_share",
        "duplicate_share",
    ),
    *("bytes", "bpp", "measured_cr", "lossless_bytes", "measured_cr_lossless", "clip_low", "clip_high", "clip_source"),
]
#: Formats of a table.
SUFFIXES = (".csv", ".parquet", ".json")
#: Columns after the metrics.
LAST_COLUMNS = ["encode_seconds", "decode_seconds", "threads", "codec_version", "file", "reason"]


def evaluate(
    names: Sequence[str],
    scenes: Sequence[str | Path | Scene | Split],
    targets: Sequence[Target] = (),
    *,
    quantity: str = "auto",
    bands: Sequence[str] | None = None,
    clip: tuple[float, float] | Mapping[str, tuple[float, float]] | None = None,
    metrics: Sequence[str] | None = None,
    workers: int = 0,
    journal: Path | None = None,
    save_files: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    notes: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Measure codecs on scenes.

    Parameters
    ----------
    names : sequence of str
        Codecs.
    scenes : sequence of str, Path, Scene or Split
        Files, folders or names of the catalog; of a split its test and independent scenes.
    targets : sequence of Target
        What each file shall have; default each codec's own grid of qualities.
    quantity : str
        What the samples of files are.
    bands : sequence of str, optional
        Only these.
    clip : (low, high) or mapping of band to it, optional
        In dB; see `load_inputs`.
    metrics : sequence of str, optional
        Only these metric columns.
    workers : int
        Processes; 0 for one a core, 1 for none but this one.
    journal : Path, optional
        File of finished rows.
    save_files : Path, optional
        Folder for the compressed files.
    progress : callable, optional
        Called with (finished rows, all rows).
    notes : callable, optional
        Called with what a reader should know of the scenes, such as that only the middle of a huge one is used.

    Returns
    -------
    DataFrame
        One row per codec, target, scene and band. A figure without a value is NaN, with the reason in ``reason``.

    Raises
    ------
    SarlabError
        Unknown or unavailable codec, missing scene, unknown metric.
    """
    for name in names:
        usable(name)
    if metrics is not None:
        from sarlab.metrics import metrics as known

        for name in metrics:
            known[name]
    items = load_inputs(scenes, quantity=quantity, bands=bands, clip=clip)
    if notes is not None:
        for note in dict.fromkeys(item.note for item in items if item.note):
            notes(note)
    chosen = None if metrics is None else tuple(metrics)
    kept, order, tasks = Journal(journal), [], []
    for item in items:
        for name in dict.fromkeys(names):
            keyed = [(row_key(name, item, t, chosen), t) for t in _targets_of(codecs[name], item, targets)]
            order += [key for key, _ in keyed]
            missing = [
                pair for pair in keyed if pair[0] not in kept.rows or not _is_saved(kept.rows[pair[0]], save_files)
            ]
            if missing:
                tasks.append(Task(name, item, tuple(missing), chosen, save_files))
    total = len(order)
    finished = total - sum(len(task.targets) for task in tasks)
    for key, row in _carry_out(tasks, workers):
        kept.add(key, row)
        finished += 1
        if progress is not None:
            progress(finished, total)
    return table_of([kept.rows[key] for key in order])


def table_of(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as a table with the columns in their order."""
    frame = pd.DataFrame(list(rows))
    for column in ("bytes", "lossless_bytes"):
        # Whole numbers that may be missing: exact in every format.
        frame[column] = frame[column].astype("Int64")
    metric_columns = [column for column in frame if column not in COLUMNS and column not in LAST_COLUMNS]
    return frame[[c for c in COLUMNS if c in frame] + metric_columns + [c for c in LAST_COLUMNS if c in frame]]


def check_output(path: Path) -> None:
    """Refuse a table that could not be written in the end, before the work begins."""
    if path.suffix.lower() not in SUFFIXES:
        raise ResultsError(f"{path}: a table of rows ends in {', '.join(SUFFIXES)}")
    if path.is_dir():
        raise ResultsError(f"{path} is a folder; give the name of a file")


def write_rows(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, Parquet or JSON (by suffix) in one step.

    Raises
    ------
    ResultsError
        Another suffix.
    """
    check_output(path)
    suffix = path.suffix.lower()
    if suffix == ".csv":
        write_table(frame, path)
    elif suffix == ".parquet":
        with replacing(path) as temporary:
            frame.to_parquet(temporary, index=False)
    else:
        with replacing(path) as temporary:
            frame.to_json(temporary, orient="records", indent=1)


def read_rows(path: Path) -> pd.DataFrame:
    """Read a table that `write_rows` wrote."""
    if not path.is_file():
        raise ResultsError(f"{path}: no such table; make it with 'sarlab evaluate … --out {path}'")
    check_output(path)
    try:
        frame = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".json": pd.read_json}[path.suffix.lower()](path)
    except Exception as error:
        raise ResultsError(f"{path}: not a table of rows ({error})") from error
    missing = [column for column in ("codec", "scene", "band", "target", "bpp") if column not in frame]
    if missing:
        raise ResultsError(f"{path}: no table of evaluated codecs, it has no column {', '.join(missing)}")
    return frame


# --- tasks ------------------------------------------------------------------------------------------------------------


def _targets_of(codec: Codec, item: Input, targets: Sequence[Target]) -> tuple[Target, ...]:
    grid = codec.capabilities.quality.grid
    if item.reason:
        # Nothing to measure: one row that says why.
        return (Target("quality", grid[0]),)
    return tuple(targets) or tuple(Target("quality", quality) for quality in grid)


def _is_saved(row: Mapping[str, Any], folder: Path | None) -> bool:
    if folder is None or not row["file"]:
        return folder is None or bool(row["reason"])
    path = folder / row["file"]
    return path.is_file() and path.stat().st_size == row["bytes"]


def _carry_out(tasks: list[Task], workers: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """(key, row) of every target, as tasks finish."""
    workers = min(workers or os.cpu_count() or 1, len(tasks))
    if workers <= 1:
        for task in tasks:
            yield from measure(task)
        return
    with (
        inherited(thread_environment(1)),
        ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool,
    ):
        futures = [pool.submit(_measured, task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield from future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _measured(task: Task) -> list[tuple[str, dict[str, Any]]]:
    return list(measure(task))


def parse_targets(kind: str, text: str) -> list[Target]:
    """Targets from ``"0.1,0.5,1"`` or ``"25:40:11"`` (first, last, how many).

    Raises
    ------
    CodecError
        The text is no list of numbers.
    """
    if kind not in KINDS:
        raise CodecError(f"unknown target '{kind}'; use one of {', '.join(KINDS)}")
    try:
        if ":" in text:
            first, last, count = text.split(":")
            values = np.linspace(float(first), float(last), int(count)).tolist()
        else:
            values = [float(part) for part in text.split(",")]
    except ValueError:
        raise CodecError(f"'{text}' is no list of numbers; write 0.1,0.5,1 or 25:40:11 (first:last:how many)") from None
    return [Target(kind, value) for value in values]
