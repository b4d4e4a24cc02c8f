"""Results: the schema of tidy rows, the manifest of a run, and `tables()`, the only source of the book's chapters."""

from __future__ import annotations

import datetime
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sarlab.errors import ResultsError
from sarlab.files import replacing

MANIFEST = "manifest.json"

#: Columns that describe a row of a laboratory run, in the order of the table. Metrics follow them.
RUN_COLUMNS = [
    *("run_id", "hash", "plan", "experiment", "architecture", "init", "spatial_reduction", "latent_channels"),
    *("width", "depth", "quantizer", "bits", "granularity", "calibration", "quantizer_training"),
    *("steps", "batch_size", "patch_size", "seed", "scene", "band", "split"),
    *("acquisition", "simulated", "looks", "seen_in_training", "dimension_ratio", "nominal_cr", "measured_cr"),
    *(
        "bpp",
        "bytes",
        "coded_bpp",
        "coded_bytes",
        "coded_cr",
        "ideal_bpp",
        "native_bits",
        "pixels",
        "clip_low",
        "clip_high",
    ),
    *("psnr_db", "psnr_amplitude", "rmse_db", "ssim", "ms_ssim", "enl_original", "enl_reconstructed"),
    *("enl_ratio", "epi_roa", "bias_db", "gain_over_klt_db"),
    *("parameters", "macs_per_pixel", "train_seconds", "train_pixels_per_s", "encode_mpx_per_s"),
    *("decode_mpx_per_s", "peak_memory_mb", "threads", "device", "reason"),
]
HISTORY_COLUMNS = ["run_id", "step", "loss", "validation_db", "gradient_norm", "learning_rate", "seconds"]
#: Columns whose values depend on the machine, not on the spec.
TIMING_COLUMNS = [
    *("train_seconds", "train_pixels_per_s", "encode_mpx_per_s", "decode_mpx_per_s", "peak_memory_mb", "device"),
]


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV with 7 significant digits, in one step."""
    with replacing(path) as temporary:
        frame.to_csv(temporary, index=False, float_format="%.7g", lineterminator="\n")


def read_table(path: Path, columns: Iterable[str] = ()) -> pd.DataFrame:
    """Read a table; a missing file is an empty table with `columns`.

    Raises
    ------
    ResultsError
        If the file is there but is no table.
    """
    if not path.is_file():
        return pd.DataFrame(columns=list(columns))
    try:
        frame = pd.read_csv(path, keep_default_na=True, na_values=["nan", "NaN"])
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ResultsError(f"{path}: not a table of results ({error}); delete it and run again") from error
    frame = frame.copy()  # a wide table is read column by column; in one piece it takes further columns quickly
    missing = [column for column in columns if column not in frame]
    return pd.concat([frame, pd.DataFrame(np.nan, index=frame.index, columns=missing)], axis=1) if missing else frame


def order_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Known columns first, in the order of the schema, then the rest as they came."""
    known = [column for column in RUN_COLUMNS if column in frame]
    return frame[known + [column for column in frame if column not in RUN_COLUMNS]]


# --- the manifest of a run --------------------------------------------------------------------------------------------


def file_digest(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def environment() -> dict[str, Any]:
    """What a result was made with: versions, processor, commit. No names of people, machines or folders."""
    versions = {"python": platform.python_version()}
    for package in ("sarlab", "torch", "numpy", "scipy", "pandas", "scikit-image"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "versions": versions,
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": os.cpu_count(),
        "commit": commit(),
    }


@functools.cache
def processor() -> str:
    """Name of the processor, as the operating system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@functools.cache
def commit() -> str | None:
    """Commit of the checkout, with ``+`` appended when tracked files differ from it; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=20)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        head = git("rev-parse", "--short=12", "HEAD")
        return (head + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")) or None
    except (OSError, subprocess.TimeoutExpired):
        return None


def now() -> str:
    """Date and time in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Manifest of a finished run; None where there is none or it cannot be read."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) else None


def is_complete(folder: Path, wanted_hash: str | None = None) -> bool:
    """True if the run in `folder` finished, its hash is the wanted one, and all its files have their size."""
    manifest = read_manifest(folder)
    if not manifest or (wanted_hash is not None and manifest.get("hash") != wanted_hash):
        return False
    files = manifest.get("files", {})
    try:
        return all((folder / name).stat().st_size == entry["bytes"] for name, entry in files.items())
    except (OSError, KeyError, TypeError):
        return False


# --- the tables of a book ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tables:
    """Everything that chapters may read.

    Parameters
    ----------
    root : Path
        Folder of the book (the one with ``_toc.yml``).
    runs : DataFrame
        Tidy rows, one per run, scene and band.
    history : DataFrame
        Training histories, one row per run and validation.
    codecs : DataFrame
        Rows of ``sarlab evaluate``.
    manifest : dict
        Plan, hardware, versions, date.
    """

    root: Path
    runs: pd.DataFrame
    history: pd.DataFrame
    codecs: pd.DataFrame
    manifest: dict[str, Any]

    def table(self, name: str, columns: Iterable[str] = ()) -> pd.DataFrame:
        """Any other table ``results/<name>.csv``; empty with `columns` where it is missing."""
        return read_table(self.root / "results" / f"{name}.csv", columns)

    def image(self, name: str) -> Path:
        """Path of ``results/images/<name>``."""
        return self.root / "results" / "images" / name


def book_root() -> Path:
    """Folder of the book that is being built: SARLAB_BOOK, or the first folder upwards with a ``_toc.yml``."""
    if "SARLAB_BOOK" in os.environ:
        return Path(os.environ["SARLAB_BOOK"])
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        if (folder / "_toc.yml").is_file():
            return folder
        if (folder / "book" / "_toc.yml").is_file():
            return folder / "book"
    raise ResultsError("no book here: go to a checkout or the folder of a book, or set SARLAB_BOOK to that folder")


def tables(root: str | Path | None = None) -> Tables:
    """Read the tables of a book.

    Parameters
    ----------
    root : path, optional
        Folder of the book; found from the working directory by default.
    """
    root = Path(root) if root is not None else book_root()
    results = root / "results"
    manifest = {}
    if (results / MANIFEST).is_file():
        manifest = json.loads((results / MANIFEST).read_text(encoding="utf-8"))
    return Tables(
        root=root,
        runs=read_table(results / "runs.csv", RUN_COLUMNS),
        history=read_table(results / "history.csv", HISTORY_COLUMNS),
        codecs=read_table(results / "codecs.csv"),
        manifest=manifest,
    )
