"""Plans: a TOML file of grids → a list of run specifications.

A plan has a title, scenes, and experiments. Each ``[[experiment]]`` is a grid: every key of a table ``model``,
``quantizer`` or ``train`` (and ``seed``) may be a list, and the runs are all combinations. ``latent`` is a list of tables
that set several keys together, because a shape and its channels make one point of the curve::

    title = "Four ratios by three architectures"
    studies = ["limits"]          # tables of the report that need no training
    [train]                       # defaults of every experiment
    steps = 300
    [[experiment]]
    latent = [{spatial_reduction = 16, latent_channels = 64}, {spatial_reduction = 16, latent_channels = 32}]
    model.architecture = ["plain", "residual"]
    seed = [0, 1, 2]

``train = { curve = "nested", first_channels = 64 }`` trains one network whose leading channels serve all its ratios, and
``curve = "progressive"`` starts each ratio from the one before (`sarlab.lab.runs`). ``extends = "full"`` starts from
another plan and replaces what the file names: lists as a whole, tables key by key.
"""

import itertools
import shlex
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sarlab.errors import PlanError
from sarlab.lab.results import shared_folder
from sarlab.specs import RunSpec

#: Tables of a plan and of its experiments.
_PARTS = ("scenes", "model", "quantizer", "train")


@dataclass(frozen=True)
class Plan:
    """A named list of runs without repetition, in the order of the file.

    `labels` maps each experiment to the positions of its runs, `studies` are those of its report, `argument` is its name
    on a command line, and `takes` says how long all of it takes.
    """

    name: str
    title: str
    runs: tuple[RunSpec, ...]
    labels: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    studies: tuple[str, ...] = ()
    argument: str = ""
    takes: str = ""


def plan_names() -> list[str]:
    """Names of the plans that come with sarlab."""
    return sorted(path.stem for path in (shared_folder("notebooks") / "plans").glob("*.toml"))


def load_plan(name: str | Path, *, scenes: str | None = None, quantity: str | None = None) -> Plan:
    """Read a plan by name (``quick``) or path (``my.toml``); `scenes` and `quantity` replace those of the plan."""
    path = find_plan(name)
    values = read_plan(path)
    try:
        return replace(build_plan(path.stem, values, scenes=scenes, quantity=quantity), argument=shlex.quote(str(name)))
    except PlanError as error:
        raise PlanError(f"plan {path.name}: {error}") from error


def find_plan(name: str | Path) -> Path:
    """File of a plan by name or path; the plans that come with sarlab take precedence over those of the working directory."""
    if Path(name).suffix == ".toml":
        return Path(name)
    for path in (shared_folder("notebooks") / "plans" / f"{name}.toml", Path(f"{name}.toml")):
        if path.is_file():
            return path
    raise PlanError(f"unknown plan '{name}'; known: {', '.join(plan_names())}, or the path of a .toml file")


def read_plan(path: Path) -> dict[str, Any]:
    """Tables of a plan file, laid over those of the plan that it extends."""
    values = parse_plan(path)
    other = values.pop("extends", None)
    if other is None:
        return values
    sibling = path.with_name(f"{other}.toml")
    base = parse_plan(sibling if sibling.is_file() else find_plan(f"{other}"))
    if "extends" in base:
        raise PlanError(f"plan {path.name}: '{other}' extends a plan itself; extend that one")
    both = [part for part in _PARTS if part in base and part in values]
    return {**base, **values, **{part: {**_table(base, part), **_table(values, part)} for part in both}}


def parse_plan(path: Path) -> dict[str, Any]:
    """Tables of one TOML file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        what = "not valid TOML" if isinstance(error, tomllib.TOMLDecodeError) else "cannot be read"
        raise PlanError(f"plan {path}: {what} ({error})") from error


def build_plan(name: str, values: Mapping[str, Any], *, scenes: str | None = None, quantity: str | None = None) -> Plan:
    """Expand the tables of a plan file into runs; see the module's docstring for the format."""
    _check_keys("the plan", values, {"title", "takes", "extends", "experiment", "seed", "studies", *_PARTS})
    experiments = values.get("experiment", [{}])
    if not isinstance(experiments, list) or not experiments:
        raise PlanError("'experiment' must be a list of tables, written [[experiment]]")
    given: dict[str, Any] = {} if scenes is None else {"source": scenes, "side": 0}  # a user's scenes are not cut
    given |= {} if quantity is None else {"quantity": quantity}
    runs: dict[RunSpec, int] = {}
    labels: dict[str, dict[int, None]] = {}
    for index, experiment in enumerate(experiments, 1):
        positions = labels.setdefault(str(experiment.get("name", f"experiment-{index}")), {})
        for run in _expand(values, experiment):
            run = replace(run, scenes=replace(run.scenes, **given)) if given else run
            positions[runs.setdefault(run, len(runs))] = None
    if not runs:
        raise PlanError("no runs: a list in its grid is empty")
    studies = values.get("studies", [])
    if not isinstance(studies, list) or not all(isinstance(item, str) for item in studies):
        raise PlanError("'studies' must be a list of names")
    found = {label: tuple(positions) for label, positions in labels.items() if positions}
    title, takes = str(values.get("title", name)), str(values.get("takes", ""))
    return Plan(name, title, tuple(runs), found, tuple(studies), name, takes)


def _expand(defaults: Mapping[str, Any], experiment: Mapping[str, Any]) -> Iterable[RunSpec]:
    """All combinations of one experiment's grid."""
    _check_keys("an experiment", experiment, {"name", "latent", "seed", *_PARTS})
    axes: list[list[dict[tuple[str, str], Any]]] = []
    for part in _PARTS:
        for key, value in {**_table(defaults, part), **_table(experiment, part)}.items():
            axes.append([{(part, key): item} for item in _listed(value)])
    latents = experiment.get("latent", [{}])
    if not isinstance(latents, list) or not all(isinstance(item, Mapping) for item in latents):
        raise PlanError("'latent' must be a list of tables such as {spatial_reduction = 16, latent_channels = 8}")
    axes.append([_latent(item) for item in latents])
    seeds = _listed(experiment.get("seed", defaults.get("seed", 0)))
    for *choices, seed in itertools.product(*axes, seeds):
        values: dict[str, Any] = {part: {} for part in _PARTS}
        for choice in choices:
            for (part, key), value in choice.items():
                values[part][key] = value
        yield RunSpec.from_dict({**values, "seed": seed})


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _latent(item: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    """One point of the curve: model keys, and with dots keys of other tables (``train.steps``)."""
    choice: dict[tuple[str, str], Any] = {}
    for key, value in item.items():
        if key in _PARTS and isinstance(value, Mapping):
            choice.update({(key, inner): v for inner, v in value.items()})
        else:
            choice["model", key] = value
    return choice


def _table(values: Mapping[str, Any], part: str) -> Mapping[str, Any]:
    if isinstance(table := values.get(part, {}), Mapping):
        return table
    raise PlanError(f"'{part}' must be a table, not {table!r}")


def _check_keys(where: str, values: Mapping[str, Any], known: set[str]) -> None:
    if unknown := sorted(set(values) - known):
        raise PlanError(f"unknown key '{unknown[0]}' in {where}; known: {', '.join(sorted(known))}")
