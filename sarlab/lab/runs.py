"""Runs of a plan: their folders, who holds them, and their state.

A run is a folder. Whoever carries it out holds the lock ``.lock``, which the operating system frees when the process
ends, however it ends; ``.lock.owner`` names the process and the machine for people.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sarlab.errors import SarlabError
from sarlab.files import write_text
from sarlab.lab.identity import distinctions, run_hash
from sarlab.lab.plans import Plan
from sarlab.lab.results import MANIFEST, is_complete, read_manifest
from sarlab.scenes.catalog import load_split
from sarlab.specs import RunSpec

#: What a failed run leaves, and what a running one does.
FAILURE, PROGRESS = "failure.json", "progress.json"
LOCK, OWNER = ".lock", ".lock.owner"
#: Seconds to wait for a lock: `is_held` takes it for a moment, which must not look like another run.
LOCK_SECONDS = 0.2
STATES = ("complete", "running", "failed", "damaged", "interrupted", "waiting")


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


# --- locks ------------------------------------------------------------------------------------------------------------


class Busy(SarlabError):
    """Another process holds the lock."""


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Hold the lock of a run, or raise `Busy`.

    On a shared file system it holds between machines if the file system passes locks on, as NFS 4 does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=LOCK_SECONDS, poll_interval=0.02)
    try:
        lock.acquire()
    except Timeout:
        raise Busy(f"{folder} is in use by {describe_owner(folder)}") from None
    try:
        write_text(folder / OWNER, f"{os.getpid()} {platform.node()}\n")
        yield
    finally:
        lock.release()


def is_held(folder: Path) -> bool:
    """Return True while some process holds the lock of a run."""
    if not (folder / LOCK).is_file():
        return False
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return True
    except OSError:  # not ours to write
        return False
    lock.release()
    return False


def owner_of(folder: Path) -> tuple[int, str] | None:
    """Process id and machine of the last holder; None if there was none."""
    try:
        process, _, machine = (folder / OWNER).read_text(encoding="utf-8").strip().partition(" ")
        return int(process), machine
    except (OSError, ValueError):
        return None


def describe_owner(folder: Path) -> str:
    """The last holder for people: ``process 123``, ``process 123 on node7``."""
    owner = owner_of(folder)
    if owner is None:
        return "an unknown process"
    return f"process {owner[0]}" + ("" if owner[1] == platform.node() else f" on {owner[1]}")


# --- states -----------------------------------------------------------------------------------------------------------


def state_of(folder: Path, wanted_hash: str | None = None) -> str:
    """State of a run, one of `STATES`.

    ``"running"``: a process holds its lock. ``"interrupted"``: it continues from its checkpoint. ``"damaged"``: its
    results are there, but a file is missing, cut off or unreadable; the next sweep computes them again.
    """
    if is_complete(folder, wanted_hash):
        return "complete"
    if is_held(folder):
        return "running"
    if (folder / FAILURE).is_file():
        return "failed"
    if any(folder.glob("checkpoint*")):
        return "interrupted"
    manifest = read_manifest(folder)
    if manifest and wanted_hash not in (None, manifest.get("hash")):
        return "waiting"  # results of something else
    return "damaged" if damage_of(folder) else "waiting"


def damage_of(folder: Path) -> str:
    """Say which file of a run's results is missing or unreadable; empty if there are no results."""
    manifest = read_manifest(folder)
    if manifest is None:
        results = [name for name in (MANIFEST, "rows.csv") if (folder / name).is_file()]
        return f"{MANIFEST} is {'unreadable' if MANIFEST in results else 'missing'}" if results else ""
    files = manifest.get("files")
    for name, entry in files.items() if isinstance(files, dict) else ():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if not isinstance(entry, dict) or path.stat().st_size != entry.get("bytes"):
            return f"{name} is cut off or was changed"
    return f"{MANIFEST} is unreadable"


def read_record(path: Path) -> dict[str, Any]:
    """Content of a JSON file such as `FAILURE` or `PROGRESS` in the folder of a run; empty if there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def status(folder: Path, run_id: str = "", wanted_hash: str | None = None) -> dict[str, Any]:
    """State of the run in `folder`, and what is known about it.

    Returns
    -------
    dict
        run_id, state; seconds (complete); step, steps (running, interrupted), holder (running); cell (of the notebook),
        reason (failed, damaged). Keys that do not apply are missing.
    """
    state = state_of(folder, wanted_hash)
    known: dict[str, Any] = {}
    if state == "complete":
        known["seconds"] = (read_manifest(folder) or {}).get("seconds")
    elif state == "damaged":
        known["reason"] = damage_of(folder)
    elif state == "failed":
        failure = read_record(folder / FAILURE)
        known = {"cell": failure.get("cell"), "reason": f"{failure.get('error', '')}: {failure.get('message', '')}"}
    else:
        progress = read_record(folder / PROGRESS)
        known = {"step": progress.get("step"), "steps": progress.get("steps")}
        known["holder"] = describe_owner(folder) if state == "running" else None
    known = {name: value for name, value in known.items() if value is not None}
    return {"run_id": run_id or folder.name, "state": state, **known}


def statuses(runs: Path, jobs: Sequence[Job] | None = None) -> list[dict[str, Any]]:
    """Status of every job, or without jobs of every run that has a folder below `runs`.

    Runs of one label also have the fields in which they differ (``differs``).
    """
    if jobs is not None:
        found = [status(job.folder, job.run_id, job.hash) for job in jobs]
        specs = dict(enumerate(job.spec for job in jobs))
    else:
        folders = sorted({path.parent for mark in (MANIFEST, FAILURE, LOCK) for path in runs.glob(f"*/{mark}")})
        found, specs = [status(folder) for folder in folders], {}
        for index, folder in enumerate(folders):
            with suppress(
                SarlabError, KeyError, TypeError
            ):  # manifests that are missing, damaged or of another version
                specs[index] = RunSpec.from_dict((read_manifest(folder) or {})["spec"])
    for index, text in zip(specs, distinctions(list(specs.values())), strict=True):
        found[index] |= {"differs": text} if text else {}
    return found
