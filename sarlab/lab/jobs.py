"""What a sweep has to do: each run of a plan with its folder and what is known of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sarlab.lab import locks
from sarlab.lab.identity import run_hash
from sarlab.lab.plans import Plan
from sarlab.lab.results import is_complete
from sarlab.scenes.catalog import load_split
from sarlab.specs import RunSpec

FAILURE = "failure.json"


@dataclass(frozen=True)
class Job:
    """One run of a plan.

    Parameters
    ----------
    spec : RunSpec
    run_id, hash : str
    folder : Path
    """

    spec: RunSpec
    run_id: str
    hash: str
    folder: Path

    @property
    def state(self) -> str:
        """``"complete"``, ``"failed"``, ``"running"``, ``"interrupted"`` (has a checkpoint) or ``"waiting"``."""
        if is_complete(self.folder, self.hash):
            return "complete"
        if (self.folder / ".lock").exists() and locks.is_held(self.folder / ".lock"):
            return "running"
        if (self.folder / FAILURE).is_file():
            return "failed"
        return "interrupted" if any(self.folder.glob("checkpoint*")) else "waiting"

    @property
    def failure(self) -> dict[str, Any]:
        """Record of the last failure; empty where there is none."""
        try:
            return json.loads((self.folder / FAILURE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}


def jobs_of(plan: Plan, runs: Path) -> list[Job]:
    """Jobs of a plan below the folder `runs`; the scenes are read once for each source.

    Raises
    ------
    SarlabError
        If scenes cannot be read or an architecture is unknown: before anything has run.
    """
    digests: dict[Any, str] = {}
    jobs = []
    for spec in plan.runs:
        if spec.scenes not in digests:
            digests[spec.scenes] = load_split(spec.scenes).digest
        digest = run_hash(spec, digests[spec.scenes])
        name = f"{spec.label}-{digest[:6]}"
        jobs.append(Job(spec, name, digest, runs.resolve() / name))
    return jobs
