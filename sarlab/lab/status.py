"""Where the runs of a folder, or of a plan, stand: done, running, failed, interrupted, waiting."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sarlab.lab import locks
from sarlab.lab.identity import distinctions
from sarlab.lab.jobs import Job, failure_of, progress_of, state_of
from sarlab.lab.results import read_manifest
from sarlab.specs import RunSpec


@dataclass(frozen=True)
class RunStatus:
    """One run.

    Parameters
    ----------
    run_id : str
    state : {"complete", "running", "failed", "interrupted", "waiting"}
    seconds : float, optional
        Of a complete run.
    step, steps : int, optional
        Of a run that is running or was interrupted.
    holder : str
        Who runs it.
    cell : int, optional
        Code cell of the notebook in which it failed.
    reason : str
        Why it failed.
    differs : str
        Fields in which it differs from other runs of the same label.
    """

    run_id: str
    state: str
    seconds: float | None = None
    step: int | None = None
    steps: int | None = None
    holder: str = ""
    cell: int | None = None
    reason: str = ""
    differs: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values without those that do not apply."""
        return {name: value for name, value in asdict(self).items() if value not in (None, "")}


def status(folder: Path, run_id: str | None = None, wanted_hash: str | None = None) -> RunStatus:
    """Status of the run in `folder`."""
    state = state_of(folder, wanted_hash)
    known: dict[str, Any] = {}
    if state == "complete":
        known["seconds"] = (read_manifest(folder) or {}).get("seconds")
    elif state == "failed":
        failure = failure_of(folder)
        known = {"cell": failure.get("cell"), "reason": f"{failure.get('error', '')}: {failure.get('message', '')}"}
    else:
        progress = progress_of(folder)
        known = {"step": progress.get("step"), "steps": progress.get("steps")}
        if state == "running":
            known["holder"] = locks.describe(folder / ".lock")
    return RunStatus(run_id or folder.name, state, **known)


def statuses(runs: Path, jobs: list[Job] | None = None) -> list[RunStatus]:
    """Status of every job, or without jobs of every run that has a folder below `runs`."""
    if jobs is not None:
        differing = distinctions([job.spec for job in jobs])
        return [
            replace(status(job.folder, job.run_id, job.hash), differs=text)
            for job, text in zip(jobs, differing, strict=True)
        ]
    marks = ("manifest.json", "failure.json", ".lock")
    folders = sorted({path.parent for mark in marks for path in runs.glob(f"*/{mark}")})
    found = {folder: status(folder) for folder in folders}
    specs = {folder: RunSpec.from_dict(m["spec"]) for folder in folders if "spec" in (m := read_manifest(folder) or {})}
    for folder, text in zip(specs, distinctions(list(specs.values())), strict=True):
        found[folder] = replace(found[folder], differs=text)
    return list(found.values())


def counts(found: list[RunStatus]) -> dict[str, int]:
    """How many runs are in each state."""
    order = ("complete", "running", "failed", "interrupted", "waiting")
    return {state: sum(item.state == state for item in found) for state in order}
