"""Results: tables with typed columns, manifests, the tables of a book, the folders of book and notebooks."""

import contextlib
import datetime
import functools
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sarlab.errors import ResultsError, SarlabError
from sarlab.files import replacing

PACKAGE = Path(__file__).resolve().parents[1]
MANIFEST = "manifest.json"

#: Columns of a row of a run, in the order of the table; further metrics follow them.
RUN_COLUMNS = [
    "run_id", "hash", "plan", "experiment", "architecture", "init", "spatial_reduction", "latent_channels", "width",
    "depth", "stem", "layers", "quantizer", "bits", "granularity", "calibration", "quantizer_training", "steps",
    "batch_size", "patch_size", "optimizer", "loss_name", "training_scenes", "seed", "scene", "band", "split",
    "acquisition", "simulated", "looks", "seen_in_training", "dimension_ratio", "nominal_cr", "measured_cr", "bpp", "bytes", "coded_bpp", "coded_bytes",
    "coded_cr", "ideal_bpp", "native_bits", "pixels", "clip_low", "clip_high", "psnr_db", "psnr_amplitude", "rmse_db", "ssim", "ms_ssim",
    "enl_original", "enl_reconstructed", "enl_ratio", "epi_roa", "bias_db", "gain_over_klt_db", "parameters",
    "macs_per_pixel", "train_seconds", "train_pixels_per_s", "pixels_seen", "collapsed", "best_step", "converged",
    "last_quarter_gain_db", "encode_mpx_per_s", "decode_mpx_per_s", "peak_memory_mb", "threads", "device", "reason",
]  # fmt: skip
HISTORY_COLUMNS = [
    "run_id", "step", "pixels_seen", "loss", "validation_db", "gradient_norm", "learning_rate", "seconds",
]  # fmt: skip
#: Columns of text, even if all of their values are missing or look like numbers.
TEXT = [
    "run_id", "hash", "plan", "experiment", "architecture", "init", "quantizer", "granularity", "calibration",
    "quantizer_training", "curve", "stem", "optimizer", "loss_name", "scene", "band", "split", "acquisition",
    "seen_in_training", "device", "reason", "codec", "family", "target", "clip_source", "codec_version", "file", "points", "kind", "image", "picture", "scheme",
    "limit", "grid", "sweep", "patches",
]  # fmt: skip
#: Columns that are true or false, where missing values count as false, and those that are true, false or missing.
FLAGS, OPTIONAL_FLAGS = ("simulated", "estimate", "collapsed", "correlated", "region_equal"), ("converged",)
_TRUTH = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
#: Formats of a table.
SUFFIXES = (".csv", ".parquet", ".json")
#: Most columns of a table.
MOST_COLUMNS = 4096


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a table atomically as CSV with 7 significant digits, Parquet or JSON, by suffix."""
    check_table_path(path)
    with replacing(path) as temporary:
        if path.suffix.lower() == ".csv":
            texts = {name: frame[name].map(_as_text, na_action="ignore") for name in TEXT if name in frame}
            frame.assign(**texts).to_csv(temporary, index=False, float_format="%.7g", lineterminator="\n")
        elif path.suffix.lower() == ".json":
            frame.to_json(temporary, orient="records", indent=1)
        else:
            frame.to_parquet(temporary, index=False)


def _as_text(value: Any) -> Any:
    """A name that a spreadsheet would take for a formula, with an apostrophe in front; `read_table` removes it."""
    return f"'{value}" if isinstance(value, str) and value[:1] in _FORMULA else value


def _as_named(value: Any) -> Any:
    return value[1:] if isinstance(value, str) and value[:1] == "'" and value[1:2] in _FORMULA else value


def check_table_path(path: Path) -> None:
    """Refuse a path that no table can have."""
    if path.suffix.lower() not in SUFFIXES:
        raise ResultsError(f"{path} is not a table of results; their names end in {', '.join(SUFFIXES)}")
    if path.is_dir():
        raise ResultsError(f"{path} is a folder; give the name of a file")


def read_table(path: Path, columns: Iterable[str] = ()) -> pd.DataFrame:
    """Read a table; a missing file is an empty table with `columns`.

    Columns of `TEXT` are text and those of `FLAGS` boolean. Others are numbers if all of their values are.
    """
    check_table_path(path)
    if not path.is_file():
        return typed(pd.DataFrame(columns=list(columns)))
    try:
        if path.suffix.lower() == ".csv":
            with path.open("rb") as file:
                # pandas would take minutes to tell equal names apart
                if file.readline(1 << 20).count(b",") >= MOST_COLUMNS:
                    raise ValueError(f"its first line has more than {MOST_COLUMNS} fields")
            with warnings.catch_warnings():
                warnings.simplefilter("error", pd.errors.ParserWarning)  # of rows that have more fields than the header
                options = {"na_values": ["nan", "NaN"], "low_memory": False, "index_col": False}
                frame = pd.read_csv(path, dtype=dict.fromkeys(TEXT, str), **options)
            named = {name: frame[name].map(_as_named, na_action="ignore") for name in TEXT if name in frame}
            frame = frame.assign(**named)
        else:
            json_ = path.suffix.lower() == ".json"
            frame = pd.read_json(path, orient="records", dtype=False) if json_ else pd.read_parquet(path)
    except (ValueError, OSError, pd.errors.ParserWarning) as error:
        raise ResultsError(f"{path} is not a table of results ({str(error).splitlines()[0]})") from error
    return typed(frame.reindex(columns=list(dict.fromkeys([*frame.columns, *columns]))))


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Give the columns of a table their types: text, boolean, number."""
    columns = {}
    for name in frame:
        values = frame[name]
        if name in FLAGS:
            columns[name] = values.astype(str).str.lower().isin(("true", "1", "1.0"))
        elif name in OPTIONAL_FLAGS:
            columns[name] = values.astype(str).str.lower().map(_TRUTH).astype("boolean")
        elif name in TEXT and not pd.api.types.is_string_dtype(values.dtype):
            columns[name] = values.map(str, na_action="ignore").astype(object)
        elif name not in TEXT and (values.isna().all() or str(values.dtype) == "Int64"):
            columns[name] = values.astype(float)
    return frame.assign(**columns).copy()  # in one piece, a wide table takes further columns quickly


def settling_steps(steps: float) -> int:
    """Optimizer steps that would settle whether a training converges: by rule, twice those that it took."""
    return 2 * int(steps)


def order_columns(frame: pd.DataFrame, first: Sequence[str], last: Sequence[str] = ()) -> pd.DataFrame:
    """Known columns first, or last, in the order of their lists; the others as they came."""
    others = [name for name in frame if name not in [*first, *last]]
    return frame[[name for name in [*first, *others, *last] if name in frame]]


def read_record(path: Path) -> dict[str, Any]:
    """Content of a JSON file; empty if it is missing, unreadable or no object."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def read_manifest(folder: Path) -> dict[str, Any]:
    """Manifest of a finished run or of a published book; empty if there is none."""
    return read_record(folder / MANIFEST)


def environment() -> dict[str, Any]:
    """Provenance of a result: versions, processor, commit. No names of people, machines or folders."""
    versions = {"python": platform.python_version()}
    for package in ("sarlab", "torch", "numpy", "scipy", "pandas", "scikit-image"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    about = {"platform": f"{platform.system()} {platform.machine()}", "processor": processor(), "cores": os.cpu_count()}
    return {"versions": versions, **about, "commit": commit()}


@functools.cache
def processor() -> str:
    """Name of the processor."""
    with contextlib.suppress(OSError):  # Python has it on other systems only
        if found := re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE):
            return found[1].strip()
    return platform.processor() or platform.machine()


@functools.cache
def commit() -> str | None:
    """Commit of the checkout, with ``+`` appended if tracked files differ from it; None outside a checkout."""
    if not (PACKAGE.parent / ".git").exists():
        return None
    command = ["git", "-C", str(PACKAGE.parent), "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=+"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def now() -> str:
    """Date and time in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Tables:
    """Tables of the book at `root`: rows of runs, training histories, rows of ``sarlab evaluate``; and the manifest."""

    root: Path
    runs: pd.DataFrame
    history: pd.DataFrame
    codecs: pd.DataFrame
    manifest: dict[str, Any]

    def table(self, name: str, columns: Iterable[str] = ()) -> pd.DataFrame:
        """Any other table ``results/<name>.csv``; empty with `columns` if it is missing."""
        return read_table(self.root / "results" / f"{name}.csv", columns)

    def image(self, name: str) -> Path:
        """Path of ``results/images/<name>``."""
        return self.root / "results" / "images" / name


def shared_folder(name: str) -> Path:
    """Folder ``notebooks`` or ``book``: in the checkout, or inside an installed wheel."""
    for candidate in (PACKAGE.parent / name, PACKAGE / "_share" / name):
        if candidate.is_dir():
            return candidate
    raise SarlabError(f"the folder '{name}' is missing from this installation; install sarlab again")


def book_root() -> Path:
    """Folder of the book that is being built: SARLAB_BOOK, or the first folder upwards with a ``_toc.yml``."""
    if "SARLAB_BOOK" in os.environ:
        return Path(os.environ["SARLAB_BOOK"])
    here = Path.cwd().resolve()
    for folder in (place for parent in (here, *here.parents) for place in (parent, parent / "book")):
        if (folder / "_toc.yml").is_file():
            return folder
    raise ResultsError("no book in this folder or above; change to a checkout, or set SARLAB_BOOK to a book's folder")


def tables(root: str | Path | None = None) -> Tables:
    """Read the tables of the book at `root`, by default that of `book_root`."""
    root = Path(root) if root is not None else book_root()
    results = root / "results"
    runs, history = read_table(results / "runs.csv", RUN_COLUMNS), read_table(results / "history.csv", HISTORY_COLUMNS)
    return Tables(root, runs, history, read_table(results / "codecs.csv"), read_manifest(results))
