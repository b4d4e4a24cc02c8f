"""Arguments that several verbs have, and the output of a result as JSON or text."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

#: Arguments by name, in the words of `argparse`.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "--scenes": {"metavar": "NAME|PATH", "help": "scenes of the catalog, a file or a folder"},
    "--quantity": {
        "choices": ("auto", "complex", "amplitude", "intensity", "db"),
        "help": "quantity of the samples in files (default: from metadata, name or values)",
    },
    "--runs": {"type": Path, "default": Path("runs"), "metavar": "DIR", "help": "folder of runs (default: runs)"},
    "--only": {"metavar": "PATTERN", "help": "only runs whose id contains PATTERN, or matches it: '*-c16-*'"},
    "--device": {"default": "auto", "help": "auto (the GPU if there is one), cpu, cuda, cuda:1"},
    "--workers": {"type": int, "default": 0, "metavar": "N", "help": "processes (default: one per core)"},
    "--force": {"action": "store_true", "help": "replace an existing file"},
    "--json": {"action": "store_true", "help": "print JSON, for scripts"},
}


def add(parser: argparse.ArgumentParser, *names: str, **changes: Any) -> None:
    """Add some of `ARGUMENTS` to a parser, with changes to all of them."""
    for name in names:
        parser.add_argument(name, **{**ARGUMENTS[name], **changes})


def add_plan(parser: argparse.ArgumentParser, *names: str, **changes: Any) -> None:
    """Add a plan, the scenes that replace those of the plan, and others of `ARGUMENTS`."""
    from sarlab.lab.plans import plan_names

    words = f"a plan ({', '.join(plan_names())}) or the path of a .toml file"
    parser.add_argument(changes.pop("name", "plan"), **{"help": words, **changes})
    add(parser, "--scenes", "--quantity", *names)


def names(text: str) -> list[str]:
    """Parse a comma-separated list."""
    return [word.strip() for word in text.split(",") if word.strip()]


def show(args: argparse.Namespace, value: Any, text: str) -> int:
    """Print a result as JSON if ``--json`` was given, else its text; the exit status is 0."""
    print(json.dumps(value, indent=1, ensure_ascii=False) if args.json else text)
    return 0


def table(rows: Sequence[Mapping[str, Any]], *names: str) -> str:
    """Lay out columns of `rows`, by default all, under their names; missing values are dashes."""
    columns = []
    for name in names or rows[0]:
        values = [row.get(name) for row in rows]
        cells, numbers = [name, *map(_cell, values)], any(isinstance(value, int | float) for value in values)
        width = max(map(len, cells))
        columns.append([cell.rjust(width) if numbers else cell.ljust(width) for cell in cells])
    return "\n".join("  ".join(row).rstrip() for row in zip(*columns, strict=True))


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return "/".join(map(str, value.values()))
    if isinstance(value, list | tuple):
        value = "+".join(value)
    if isinstance(value, float):
        return f"{value:.6g}" if value == value else "–"
    return "–" if value is None or value == "" else str(value)
