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

#: What a failed run leaves, and what a running one does (the name is that of `runfolder`, which needs torch to import).
FAILURE, PROGRESS = "failure.json", "progress.json"


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
        """State of the run; see `state_of`."""
        return state_of(self.folder, self.hash)

    @property
    def failure(self) -> dict[str, Any]:
        """Record of the last failure; empty where there is none."""
        return failure_of(self.folder)


def state_of(folder: Path, wanted_hash: str | None = None) -> str:
    """``"complete"``, ``"failed"``, ``"running"``, ``"interrupted"`` (has a checkpoint) or ``"waiting"``."""
    if is_complete(folder, wanted_hash):
        return "complete"
    if locks.is_held(folder / ".lock"):
        return "running"
    if (folder / FAILURE).is_file():
        return "failed"
    return "interrupted" if any(folder.glob("checkpoint*")) else "waiting"


def failure_of(folder: Path) -> dict[str, Any]:
    """Record of the last failure of a run; empty where there is none."""
    return _read(folder / FAILURE)


def progress_of(folder: Path) -> dict[str, Any]:
    """Progress that a run in flight has left: step, steps, loss, seconds; empty where there is none."""
    return _read(folder / PROGRESS)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


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
