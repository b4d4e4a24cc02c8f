"""Plans and runs: a TOML file of grids → run specifications → the folders of runs, who holds them, and their states.

A plan has a title, scenes, and experiments. Each ``[[experiment]]`` is a grid: every key of a table ``model``,
``quantizer`` or ``train`` (and ``seed``) may be a list, and the runs are all combinations. ``latent`` is a list of tables
that set several keys together, because a shape and its channels make one point of the curve::

    title = "Two ratios by two architectures"
    studies = ["limits"]          # tables of the report that need no training
    [train]                       # defaults of every experiment
    steps = 300
    [[experiment]]
    latent = [{spatial_reduction = 16, latent_channels = 64}, {spatial_reduction = 16, latent_channels = 32}]
    model.architecture = ["plain", "residual"]
    seed = [0, 1, 2]

``train = { curve = "nested", first_channels = 64 }`` trains one network whose leading channels serve all its ratios, and
``curve = "progressive"`` starts each ratio from the one before.

Runs with the same hash have the same rows. The hash covers the specification, the content of the scenes and
`EXPERIMENT_VERSION`; device and engine do not count. Some runs take over the weights of others:

====================  ===========================================  ==========================================
run                   takes its weights from                       trains
====================  ===========================================  ==========================================
dedicated             –                                            all its steps
quantizer afterwards  its sibling in float32                       nothing
nested                the run with all channels, leading part      nothing (that run: all, with random tails)
progressive           the run with twice its channels, likewise    a quarter of the steps (the first run: all)
====================  ===========================================  ==========================================

A run is a folder. The process that carries it out holds the lock ``.lock``, which the operating system frees when the
process ends; ``.lock.owner`` names the process and the machine for people.
"""

import functools
import hashlib
import inspect
import itertools
import os
import platform
import shlex
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from sarlab.errors import PlanError, SarlabError
from sarlab.files import write_text
from sarlab.lab.results import MANIFEST, read_manifest, read_record, shared_folder
from sarlab.scenes.catalog import load_split
from sarlab.specs import QuantizerSpec, RunSpec, content_hash

#: Raise by one when a change of the code changes the results of runs: their hashes, and so their names, change with it.
EXPERIMENT_VERSION = 2
#: A progressive run takes this share of the steps of the first.
FINE_TUNING = 4
#: What a failed run leaves, and what a running one does.
FAILURE, PROGRESS = "failure.json", "progress.json"
LOCK, OWNER = ".lock", ".lock.owner"
STATES = ("complete", "running", "failed", "damaged", "interrupted", "waiting")
#: Tables of a plan and of its experiments.
_PARTS = ("scenes", "model", "quantizer", "train")


@dataclass(frozen=True)
class Plan:
    """A named list of runs without repetition, in the order of the file.

    `experiments` has the first experiment that each run is in, `studies` are those of its report, `argument` is its name on a
    command line, and `takes` its stated duration.
    """

    name: str
    title: str
    runs: tuple[RunSpec, ...]
    experiments: tuple[str, ...] = ()
    studies: tuple[str, ...] = ()
    argument: str = ""
    takes: str = ""


def plan_names() -> list[str]:
    """Names of the plans that come with sarlab."""
    return sorted(path.stem for path in (shared_folder("notebooks") / "plans").glob("*.toml"))


def load_plan(name: str | Path, *, scenes: str | None = None, quantity: str | None = None) -> Plan:
    """Read a plan by name (``quick``) or path (``my.toml``); `scenes` and `quantity` replace those of the plan."""
    path = find_plan(name)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        return replace(build_plan(path.stem, values, scenes=scenes, quantity=quantity), argument=shlex.quote(str(name)))
    except (OSError, ValueError, RecursionError, PlanError) as error:  # a ValueError is no TOML, or no UTF-8
        raise PlanError(f"plan {path.name}: {getattr(error, 'strerror', error)}") from error


def find_plan(name: str | Path) -> Path:
    """File of a plan by name or path; the plans that come with sarlab take precedence over those of the working directory."""
    if Path(name).suffix == ".toml":
        return Path(name)
    for path in (shared_folder("notebooks") / "plans" / f"{name}.toml", Path(f"{name}.toml")):
        if path.is_file():
            return path
    raise PlanError(f"unknown plan '{name}'; known: {', '.join(plan_names())}, or the path of a .toml file")


def build_plan(name: str, values: Mapping[str, Any], *, scenes: str | None = None, quantity: str | None = None) -> Plan:
    """Expand the tables of a plan file into runs; see the module's docstring for the format."""
    _check_keys("the plan", values, {"title", "takes", "experiment", "seed", "studies", *_PARTS})
    experiments = values.get("experiment", [{}])
    if not isinstance(experiments, list) or not experiments:
        raise PlanError("'experiment' must be a list of tables, written [[experiment]]")
    given: dict[str, Any] = {} if scenes is None else {"source": scenes, "side": 0}  # a user's scenes are not cut
    given |= {} if quantity is None else {"quantity": quantity}
    runs: dict[RunSpec, str] = {}
    for index, experiment in enumerate(experiments, 1):
        for run in _expand(values, experiment):
            run = replace(run, scenes=replace(run.scenes, **given))
            runs.setdefault(run, str(experiment.get("name", f"experiment-{index}")))
    if not runs:
        raise PlanError("no runs: a list in the grid is empty")
    studies = values.get("studies", [])
    if not isinstance(studies, list) or not all(isinstance(item, str) for item in studies):
        raise PlanError("'studies' must be a list of names")
    title, takes = str(values.get("title", name)), str(values.get("takes", ""))
    return Plan(name, title, tuple(runs), tuple(runs.values()), tuple(studies), name, takes)


def _expand(defaults: Mapping[str, Any], experiment: Mapping[str, Any]) -> Iterable[RunSpec]:
    """All combinations of one experiment's grid."""
    _check_keys("an experiment", experiment, {"name", "latent", "seed", *_PARTS})
    axes: list[list[dict[str, dict[str, Any]]]] = []
    for part in _PARTS:
        for key, value in {**_table(defaults, part), **_table(experiment, part)}.items():
            axes.append([{part: {key: item}} for item in (value if isinstance(value, list) else [value])])
    latents = experiment.get("latent", [{}])
    if not isinstance(latents, list) or not all(isinstance(item, Mapping) for item in latents):
        raise PlanError("'latent' must be a list of tables such as {spatial_reduction = 16, latent_channels = 8}")
    axes.append([_latent(item) for item in latents])
    seeds = experiment.get("seed", defaults.get("seed", 0))
    for *choices, seed in itertools.product(*axes, seeds if isinstance(seeds, list) else [seeds]):
        tables = {part: {key: v for choice in choices for key, v in choice.get(part, {}).items()} for part in _PARTS}
        yield RunSpec.from_dict({**tables, "seed": seed})


def _latent(item: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """One point of the curve: model keys, and with dots keys of other tables (``train.steps``)."""
    tables = {part: dict(_table(item, part)) for part in _PARTS}
    tables["model"] |= {key: value for key, value in item.items() if key not in _PARTS}
    return tables


def _table(values: Mapping[str, Any], part: str) -> Mapping[str, Any]:
    if isinstance(table := values.get(part, {}), Mapping):
        return table
    raise PlanError(f"'{part}' must be a table, not {table!r}")


def _check_keys(where: str, values: Mapping[str, Any], known: set[str]) -> None:
    if unknown := sorted(set(values) - known):
        raise PlanError(f"unknown key '{unknown[0]}' in {where}; known: {', '.join(sorted(known))}")


def run_hash(spec: RunSpec, data_digest: str) -> str:
    """Content hash of a run; `data_digest` is that of the scenes (`Split.digest`), whose path does not count."""
    described = {**spec.to_dict(), "scenes": data_digest}
    return content_hash(described, EXPERIMENT_VERSION, _plugin_digest(spec.model.architecture))


def run_id(spec: RunSpec, data_digest: str) -> str:
    """Name of a run: ``residual-r16-c16-f32-s0-1f3a9c``."""
    return f"{spec.label}-{run_hash(spec, data_digest)[:6]}"


@functools.cache
def _plugin_digest(architecture: str) -> str:
    """Digest of the source file of an architecture outside this package, or its qualified name if it has none."""
    from sarlab.models.autoencoders import architectures

    item = architectures[architecture]
    if item.__module__.partition(".")[0] == "sarlab":
        return ""
    with suppress(OSError, TypeError):  # defined in a notebook
        return hashlib.sha256(inspect.getsource(inspect.getmodule(item) or item).encode()).hexdigest()
    return f"{item.__module__}.{item.__qualname__}"


def distinctions(specs: Sequence[RunSpec]) -> list[str]:
    """Fields in which each run differs from others of its label: ``"steps=400 learning_rate=0.001"``; often empty."""
    texts = [""] * len(specs)
    fields = pd.json_normalize([spec.to_dict() for spec in specs]).map(str)
    for _, twins in fields.groupby([spec.label for spec in specs]) if specs else ():
        for index, values in twins.loc[:, twins.nunique() > 1].iterrows():
            texts[index] = " ".join(f"{name.rpartition('.')[2]}={value}" for name, value in values.items())
    return texts


def base_of(spec: RunSpec) -> RunSpec | None:
    """The run whose weights a run takes over without training; None for runs that train their own."""
    if spec.model.architecture == "klt":
        return None
    if spec.quantizer.training == "none" and spec.quantizer != QuantizerSpec():
        return replace(spec, quantizer=QuantizerSpec())
    if spec.train.curve == "nested" and spec.model.latent_channels < spec.train.first_channels:
        return replace(spec, model=replace(spec.model, latent_channels=spec.train.first_channels))
    return None


def start_of(spec: RunSpec) -> RunSpec | None:
    """The run from whose weights a run's own training starts; None for runs that start from their seed."""
    if spec.model.architecture == "klt" or spec.train.curve != "progressive":
        return None
    if spec.model.latent_channels >= spec.train.first_channels:
        return None
    wider = replace(spec.model, latent_channels=2 * spec.model.latent_channels)
    return replace(spec, model=wider, quantizer=QuantizerSpec())


def steps_of(spec: RunSpec) -> int:
    """Optimizer steps that a run takes by itself, or that the run took whose weights it has."""
    if spec.model.architecture == "klt":
        return 0
    return max(1, spec.train.steps // FINE_TUNING) if start_of(spec) is not None else spec.train.steps


def trains(spec: RunSpec) -> bool:
    """Return True if a run trains its own weights by gradient steps."""
    return base_of(spec) is None and steps_of(spec) > 0


@dataclass(frozen=True)
class Job:
    """One run of a plan."""

    spec: RunSpec
    run_id: str
    hash: str
    folder: Path

    @property
    def state(self) -> str:
        """State of the run; see `status`."""
        return status(self.folder, self.hash)["state"]


def jobs_of(plan: Plan, runs: Path) -> list[Job]:
    """Jobs of a plan below the folder `runs`; errors of its scenes and architectures come before anything has run."""
    digests = {scenes: load_split(scenes).digest for scenes in dict.fromkeys(spec.scenes for spec in plan.runs)}
    named = [(spec, run_id(spec, digests[spec.scenes]), run_hash(spec, digests[spec.scenes])) for spec in plan.runs]
    return [Job(spec, name, digest, runs.resolve() / name) for spec, name, digest in named]


class Busy(SarlabError):
    """Another process holds the lock."""


@contextmanager
def hold(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock of a run, or raise `Busy`; between machines, if the file system passes locks on, as NFS 4 does."""
    folder.mkdir(parents=True, exist_ok=True)
    # `is_held` takes it for a moment, which must not look like another run
    lock = FileLock(folder / LOCK, timeout=-1 if wait else 0.2, poll_interval=0.02)
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
    with suppress(OSError):  # not ours to write
        try:
            with FileLock(folder / LOCK, timeout=0) if (folder / LOCK).is_file() else nullcontext():
                return False
        except Timeout:
            return True
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
    process, machine = owner_of(folder) or (None, platform.node())
    where = "" if machine == platform.node() else f" on {machine}"
    return f"process {process}{where}" if process else "an unknown process"


def damage_of(folder: Path) -> str:
    """Describe the first missing or unreadable file of a run's results; empty if all are sound, or if there are none."""
    manifest = read_manifest(folder)
    files = manifest.get("files", {})
    if not manifest or not isinstance(files, dict):
        if (folder / MANIFEST).is_file():
            return f"{MANIFEST} is unreadable"
        return f"{MANIFEST} is missing" if (folder / "rows.csv").is_file() else ""
    for name, entry in files.items():
        path = folder / name
        if not os.path.isfile(path):  # whatever the name
            return f"{name} is missing"
        if not isinstance(entry, dict) or path.stat().st_size != entry.get("bytes"):
            return f"{name} is cut off or was changed"
    return ""


def is_complete(folder: Path, wanted_hash: str | None = None) -> bool:
    """True if the run in `folder` has finished with the wanted hash and all its files have their size."""
    manifest = read_manifest(folder)
    return bool(manifest) and wanted_hash in (None, manifest.get("hash")) and not damage_of(folder)


def status(folder: Path, wanted_hash: str | None = None) -> dict[str, Any]:
    """State of the run in `folder`, one of `STATES`, with what is known: seconds, steps, holder, cell or reason.

    While a process holds its lock it is running, with a checkpoint interrupted. It is damaged if a file of its results is
    missing, cut off or unreadable; the next sweep computes them again.
    """
    manifest, failure, progress = (read_record(folder / name) for name in (MANIFEST, FAILURE, PROGRESS))
    steps = {name: progress.get(name) for name in ("step", "steps")}
    foreign = wanted_hash not in (None, manifest.get("hash", wanted_hash))
    if is_complete(folder, wanted_hash):
        known = {"state": "complete", "seconds": manifest.get("seconds")}
    elif is_held(folder):
        known = {"state": "running", **steps, "holder": describe_owner(folder)}
    elif (folder / FAILURE).is_file():
        reason = f"{failure.get('error', '')}: {failure.get('message', '')}"
        known = {"state": "failed", "cell": failure.get("cell"), "reason": reason}
    elif any(folder.glob("checkpoint*")):
        known = {"state": "interrupted", **steps}
    elif (damage := damage_of(folder)) and not foreign:
        known = {"state": "damaged", "reason": damage}
    else:
        known = {"state": "waiting", **steps}
    return {"run_id": folder.name, **{name: value for name, value in known.items() if value is not None}}


def spec_of(folder: Path) -> RunSpec | None:
    """Specification in the manifest of a run; None if the manifest is missing, damaged or of another version."""
    with suppress(SarlabError, KeyError, TypeError):
        return RunSpec.from_dict(read_manifest(folder)["spec"])
    return None


def statuses(runs: Path, jobs: Sequence[Job] | None = None) -> list[dict[str, Any]]:
    """Status of every job, or of every folder of a run below `runs`; ``differs`` distinguishes runs of one label."""
    found: list[tuple[dict[str, Any], RunSpec | None]]
    if jobs is not None:
        found = [(status(job.folder, job.hash), job.spec) for job in jobs]
    else:
        folders = sorted({path.parent for mark in (MANIFEST, FAILURE, LOCK) for path in runs.glob(f"*/{mark}")})
        found = [(status(folder), spec_of(folder)) for folder in folders]
    known = [(item, spec) for item, spec in found if spec is not None]
    for (item, _), text in zip(known, distinctions([spec for _, spec in known]), strict=True):
        item |= {"differs": text} if text else {}
    return [item for item, _ in found]
