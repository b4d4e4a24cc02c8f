"""Studies: measurements that train no network of a plan, one file per table of the book.

A study is a function of a `Context` and one registration, here or in a package that names its module under the entry
point group ``sarlab.studies``::

    @study("limits", version=1)
    def limits(context: Context) -> pd.DataFrame: ...

A plan names its studies (``studies = ["codecs", "limits"]``). A `StudyJob` computes a table and keeps it::

    runs/studies/<name>-<hash>.csv   the table
    runs/studies/<name>-<hash>.json  what it was computed with (written last)

The hash covers the scenes and the versions of study and rows.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from sarlab import peers
from sarlab.errors import PlanError
from sarlab.files import write_json
from sarlab.lab.evaluate import ROWS_VERSION, Journal, in_processes
from sarlab.lab.inputs import Input
from sarlab.lab.results import environment, now, read_record, write_table
from sarlab.metrics import score
from sarlab.metrics.columns import DB_PER_NEPER
from sarlab.metrics.speckle import lee_filter
from sarlab.registry import Registry
from sarlab.scenes.catalog import load_split
from sarlab.scenes.simulate import CATALOG
from sarlab.scenes.splits import Split
from sarlab.specs import SceneSpec, content_hash


@dataclass(frozen=True)
class Context:
    """Input of a study: scenes, processes that it may use, and a file for finished rows, with which a long study resumes."""

    scenes: SceneSpec
    split: Split
    workers: int
    journal: Path


Compute = Callable[[Context], pd.DataFrame]


@dataclass(frozen=True)
class Study:
    """A registered study; `version` is raised when a change of the code changes the table."""

    compute: Compute
    version: int


#: Studies by the name of their table.
studies: Registry[Study] = Registry("study", "sarlab.studies", PlanError)


def study(name: str, *, version: int) -> Callable[[Compute], Compute]:
    """Return a decorator that registers a function as the study `name`."""
    return lambda compute: studies.register(name)(Study(compute, version)).compute


def find_study(name: str) -> Study:
    """Study by name, of this package or of an entry point."""
    # Each module registers its own. They need torch, which the command line does without until a study is named.
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return studies[name]


@dataclass(frozen=True)
class StudyJob:
    """A study of a plan, with the files of its table."""

    name: str
    scenes: SceneSpec
    hash: str
    root: Path

    @property
    def table_path(self) -> Path:
        """CSV file of the table; a JSON file with its name marks it as complete."""
        return self.root / f"{self.name}-{self.hash[:6]}.csv"

    @property
    def manifest(self) -> dict[str, Any]:
        """Manifest; empty if the study is not complete."""
        found, path = read_record(self.table_path.with_suffix(".json")), self.table_path
        complete = path.is_file() and found.get("bytes") == path.stat().st_size and found.get("hash") == self.hash
        return found if complete else {}

    def run(self, workers: int) -> None:
        """Compute the table and keep it."""
        started, journal = now(), self.table_path.with_suffix(".journal")
        context = Context(self.scenes, load_split(self.scenes), workers, journal)
        write_table(find_study(self.name).compute(context), self.table_path)
        journal.unlink(missing_ok=True)
        record = {"name": self.name, "hash": self.hash, "bytes": self.table_path.stat().st_size, "started": started}
        write_json(self.table_path.with_suffix(".json"), {**record, "finished": now(), **environment()})


def study_jobs(names: Sequence[str], scenes: SceneSpec, runs: Path) -> list[StudyJob]:
    """Jobs of the named studies on `scenes`, kept below ``runs/studies``; unknown names are a `PlanError`."""
    digest, root = load_split(scenes).digest, runs.resolve() / "studies"
    hashes = {name: content_hash(name, digest, find_study(name).version, ROWS_VERSION) for name in names}
    return [StudyJob(name, scenes, digest, root) for name, digest in hashes.items()]


def resumed(context: Context, jobs: Iterable[Any], work: Callable[[Any], list[Any]]) -> pd.DataFrame:
    """Rows of all jobs, computed in processes; those in the journal of the study are finished."""
    journal, keyed = Journal(context.journal), {repr(job): job for job in jobs}
    missing = {key: job for key, job in keyed.items() if key not in journal.rows}
    found = in_processes(work, missing.values(), min(context.workers, len(missing)))
    for key, rows in zip(missing, tqdm(found, context.journal.stem, len(missing), disable=None), strict=True):
        journal.add(key, {"rows": rows})
    return pd.DataFrame([row for key in keyed for row in journal.rows[key]["rows"]])


def available(names: Sequence[str]) -> list[str]:
    """Codecs among `names` that this machine has."""
    return [name for name in names if name in peers.codecs and peers.codecs[name].available().ok]


def simulated_splits() -> list[tuple[float, float, Split]]:
    """Looks, correlation and split of every simulated source of the catalog."""
    return [(looks, correlation, load_split(SceneSpec(name))) for name, (looks, correlation) in CATALOG.items()]


def correlation_of(item: Input) -> float:
    """Correlation of the simulated speckle of neighbors; NaN for recorded scenes."""
    return float(item.scene.tags.get("correlation", "nan") if item.scene.simulated else "nan")


def despeckled(item: Input) -> np.ndarray:
    """The band after a Lee filter, in dB."""
    reference = item.reference
    return DB_PER_NEPER * np.log(lee_filter(reference.intensity, reference.valid, float(item.scene.looks or 1)))


def image_row(item: Input, name: str, image: np.ndarray, columns: Sequence[str], **further: Any) -> dict[str, Any]:
    """Row of an image in dB that no codec made; the column of codecs has its `name`."""
    (height, width), scores = image.shape, score(item.reference, image, columns=columns)
    about = {**item.columns, "codec": name, "family": "reference", "height": height, "width": width}
    return {**about, **scores, **further, "reason": scores.reason}


def alone(work: Callable[[Any], Any], job: Any) -> Any:
    """Result of `work` in a process of its own, whose peak memory is that of this job."""
    return next(in_processes(work, [job], 2))
