"""What a sweep will take: time and memory of each run, from runs that were measured before or from a short calibration.

A run takes a share that every run has (scenes, KLT, measuring) and its training: pixels × multiplications per pixel over
a rate. Both come from finished runs on the same device in the folder of runs, the nearest ones in size; where a kind of
network was never run there, a few steps of it are timed.
"""

from __future__ import annotations

import contextlib
import csv
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sarlab.errors import SarlabError
from sarlab.lab.executors import Settings, worker_count
from sarlab.lab.jobs import Job
from sarlab.lab.results import read_manifest
from sarlab.specs import RunSpec

#: Seconds that a calibration may take; kinds that are left get the rate of the others.
CALIBRATION_SECONDS = 20.0
#: Steps that are timed, after one that warms up.
TIMED_STEPS = 3
#: Seconds that a kernel takes to start and to draw the figures of its page, beyond the run itself.
KERNEL_SECONDS = 3.0


@dataclass(frozen=True)
class Measured:
    """One run, or a few steps of one, that was timed.

    Parameters
    ----------
    spec : RunSpec
    train_seconds, other_seconds : float
        Of `spec.train.steps` steps, and of everything else; NaN where unknown.
    memory_mb : float
    """

    spec: RunSpec
    train_seconds: float
    other_seconds: float
    memory_mb: float


@dataclass(frozen=True)
class Estimate:
    """Time and memory of one run.

    Parameters
    ----------
    seconds, memory_mb : float
    basis : {"past runs", "calibration", "other networks"}
    """

    seconds: float
    memory_mb: float
    basis: str


def work(spec: RunSpec) -> float:
    """Multiplications of a training, forward passes only; 0 where nothing is trained, or where nothing can be."""
    from sarlab.lab.lineage import steps_of
    from sarlab.models.complexity import macs_per_pixel

    train = spec.train
    try:
        if not trains(spec):
            return 0.0
        return steps_of(spec) * train.batch_size * train.patch_size**2 * macs_per_pixel(spec.model)
    except SarlabError:
        return 0.0


def weight(spec: RunSpec) -> float:
    """Relative duration of a run where nothing was measured: a fixed share and its training."""
    return 1.0 + work(spec) / 1e10


def trains(spec: RunSpec) -> bool:
    """Whether the run trains a network of its own, rather than taking over the weights of another run."""
    from sarlab.lab.lineage import base_of

    return spec.model.architecture != "klt" and spec.train.steps > 0 and base_of(spec) is None


def kind(spec: RunSpec) -> tuple[str, ...]:
    """Runs of one kind are timed by each other."""
    return spec.model.architecture, spec.model.init, spec.train.precision, str(spec.train.threads)


def past_runs(runs: Path, device: str) -> list[Measured]:
    """Complete runs below `runs` that were made on the device of that name."""
    found = []
    for path in sorted(runs.glob("*/rows.csv")):
        manifest = read_manifest(path.parent)
        if manifest is None or manifest.get("device") != device:
            continue
        try:
            spec = RunSpec.from_dict(manifest["spec"])
            with path.open(encoding="utf-8", newline="") as stream:
                row = next(csv.DictReader(stream))
            seconds = float(row["train_seconds"]) if trains(spec) else 0.0
            other = float(manifest["seconds"]) - seconds
            found.append(Measured(spec, seconds, max(other, 0.0), float(row["peak_memory_mb"])))
        except (SarlabError, OSError, KeyError, ValueError, StopIteration):
            continue
    return found


def calibrate(specs: Sequence[RunSpec], device: str, seconds: float = CALIBRATION_SECONDS) -> list[Measured]:
    """Time one linear run as a whole and a few steps of each network in `specs`, until `seconds` are over.

    Where another model of costs is at hand, it takes the place of this function.
    """
    from sarlab.lab import experiment
    from sarlab.lab.machine import peak_memory_mb, pick_device
    from sarlab.models.data import TrainingData
    from sarlab.models.registry import build_model
    from sarlab.models.threads import cpu_threads
    from sarlab.models.training import train
    from sarlab.scenes.catalog import load_split

    found, start, where = [], time.monotonic(), pick_device(device)
    linear = replace(specs[0], model=replace(specs[0].model, architecture="klt", init="klt"))
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="sarlab-") as folder:
        experiment.run(linear, Path(folder) / "run", device=device)
    found.append(Measured(linear, 0.0, time.perf_counter() - began, peak_memory_mb(where)))
    data = TrainingData.from_split(load_split(specs[0].scenes))
    for spec in specs:
        if time.monotonic() - start > seconds:
            break
        if not work(spec):
            continue
        few = replace(spec.train, steps=TIMED_STEPS, validate_every=10**9, curve="dedicated", first_channels=0)
        with cpu_threads(spec.train.threads):
            model = build_model(spec.model, seed=0, training=data)
            alone = TrainingData(data.training)
            train(model, alone, replace(few, steps=1), seed=0, device=where)
            history = train(model, alone, few, seed=0, device=where)
        found.append(Measured(replace(spec, train=few), history.seconds, float("nan"), peak_memory_mb(where)))
    return found


def forecast(
    jobs: Sequence[Job], settings: Settings, *, calibration: Callable[..., list[Measured]] = calibrate
) -> list[Estimate]:
    """Estimates of `jobs`, in their order.

    Parameters
    ----------
    jobs : sequence of Job
    settings : Settings
        Whose device counts.
    calibration : callable
        Called as `calibrate` with one specification of each kind that was never run.
    """
    if not jobs:
        return []
    from sarlab.lab.machine import device_name, pick_device

    known = past_runs(jobs[0].folder.parent, device_name(pick_device(settings.device)))
    kinds = {kind(item.spec) for item in known}
    new = {kind(job.spec): job.spec for job in jobs if trains(job.spec) and kind(job.spec) not in kinds}
    timed = []
    if new or not known:
        timed = calibration(list(new.values()) or [jobs[0].spec], settings.device)
    found = [estimate(job.spec, known, timed) for job in jobs]
    return worked_out(jobs, found, settings.device)


def worked_out(jobs: Sequence[Job], found: Sequence[Estimate], device: str) -> list[Estimate]:
    """`found` with memory worked out from shapes, where no run like it was measured before."""
    from sarlab.lab.cost import run_mb
    from sarlab.lab.machine import pick_device
    from sarlab.scenes.catalog import load_split

    wanted = {job.spec.scenes for job, item in zip(jobs, found, strict=True) if item.basis != "past runs"}
    splits = {scenes: load_split(scenes) for scenes in wanted}
    better = []
    for job, item in zip(jobs, found, strict=True):
        if item.basis != "past runs":
            with contextlib.suppress(SarlabError):  # an impossible network: the run itself says why
                item = replace(item, memory_mb=run_mb(job.spec, splits[job.spec.scenes], pick_device(device)))
        better.append(item)
    return better


def estimate(spec: RunSpec, known: Sequence[Measured], timed: Sequence[Measured]) -> Estimate:
    """Estimate of one run from what was measured: runs before, and a calibration."""
    everything = [*known, *timed]
    same_scenes = [item for item in everything if item.spec.scenes == spec.scenes and item.other_seconds >= 0]
    other = _median(item.other_seconds for item in same_scenes or [i for i in everything if i.other_seconds >= 0])
    if not trains(spec):
        memory = max((item.memory_mb for item in everything if not trains(item.spec)), default=0.0)
        return Estimate(
            other, memory or _median(i.memory_mb for i in everything), "past runs" if known else "calibration"
        )
    for basis, measured in (("past runs", known), ("calibration", timed), ("other networks", everything)):
        same = [item for item in measured if item.train_seconds > 0]
        if basis != "other networks":
            same = [item for item in same if kind(item.spec) == kind(spec)]
        if same:
            break
    if not same:
        return Estimate(float("nan"), float("nan"), "nothing measured")
    near = sorted(same, key=lambda item: abs(_log(work(item.spec) / item.spec.train.steps) - _log(_step(spec))))[:3]
    rate = _median(work(item.spec) / item.train_seconds for item in near)
    return Estimate(other + work(spec) / rate, max(item.memory_mb for item in near), basis)


def _step(spec: RunSpec) -> float:
    return work(spec) / spec.train.steps


def _log(value: float) -> float:
    import math

    return math.log(max(value, 1e-9))


def _median(values: Iterable[float]) -> float:
    values = [value for value in values if value == value]
    return statistics.median(values) if values else float("nan")


def together(jobs: Sequence[Job], estimates: Sequence[Estimate], executor: str, settings: Settings) -> Estimate:
    """Wall time of all jobs and the memory of those that run at once."""
    count = 1 if executor == "inline" else worker_count(jobs, settings)
    extra = KERNEL_SECONDS if executor == "papermill" or settings.notebooks else 0.0
    free = [0.0] * max(1, min(count, len(jobs)))
    for item in estimates:
        first = free.index(min(free))
        free[first] += item.seconds + extra
    memory = sum(sorted((item.memory_mb for item in estimates), reverse=True)[: len(free)])
    basis = ", ".join(dict.fromkeys(item.basis for item in estimates))
    return Estimate(max(free), memory, basis)
