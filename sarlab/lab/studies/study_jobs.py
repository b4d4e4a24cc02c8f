"""All studies, and the jobs that compute their tables and keep them::

    runs/studies/<name>-<hash>.csv   the table
    runs/studies/<name>-<hash>.json  what it was computed with (written last)

The hash covers the scenes and the version of the study.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sarlab.files import write_json
from sarlab.lab.results import environment, now, read_table, write_table
from sarlab.lab.studies import Context, Study, studies
from sarlab.scenes.catalog import load_split
from sarlab.specs import SceneSpec, content_hash


def find_study(name: str) -> Study:
    """Study by name, of this package or of an entry point."""
    # Each registers itself. They need torch and the codecs, which the command line does without until a study is named.
    from sarlab.lab.studies import (  # noqa: F401
        codecs,
        cost,
        equal_psnr,
        files,
        latent_bits,
        limits,
        pictures,
        reflectivity,
        scene_entropy,
        trainings,
    )

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
        """CSV file of the table."""
        return self.root / f"{self.name}-{self.hash[:6]}.csv"

    @property
    def manifest_path(self) -> Path:
        """JSON file that marks the table as complete."""
        return self.table_path.with_suffix(".json")

    @property
    def manifest(self) -> dict[str, Any]:
        """Manifest; empty if the study is not complete."""
        try:
            found = json.loads(self.manifest_path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        complete = self.table_path.is_file() and found.get("bytes") == self.table_path.stat().st_size
        return found if complete and found.get("hash") == self.hash else {}

    def table(self) -> pd.DataFrame:
        """The finished table."""
        return read_table(self.table_path)

    def run(self, workers: int) -> None:
        """Compute the table and keep it."""
        context = Context(self.scenes, load_split(self.scenes), workers, self.root)
        started = now()
        write_table(find_study(self.name).compute(context), self.table_path)
        record = {"name": self.name, "hash": self.hash, "bytes": self.table_path.stat().st_size}
        write_json(self.manifest_path, {**record, "started": started, "finished": now(), **environment()})


def study_jobs(names: Sequence[str], scenes: SceneSpec, runs: Path) -> list[StudyJob]:
    """Jobs of the named studies on `scenes`, kept below ``runs/studies``.

    Raises
    ------
    PlanError
        For unknown names, before anything has run.
    """
    if not names:
        return []
    digest, root = load_split(scenes).digest, runs.resolve() / "studies"
    return [StudyJob(name, scenes, content_hash(name, digest, find_study(name).version), root) for name in names]
