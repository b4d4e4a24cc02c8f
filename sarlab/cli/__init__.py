"""Command line: a module per family of verbs, imported only when one of them is called."""

import argparse
import importlib
import json
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sarlab._version import __version__
from sarlab.errors import SarlabError

#: Verb → (module of sarlab.cli, one line of help). The module has the functions `add_VERB(parser)`, `run_VERB(args) -> int`
#: and the examples `EXAMPLES[VERB]`.
VERBS: dict[str, tuple[str, str]] = {
    "doctor": ("available", "check the installation and list what is missing"),
    "scenes": ("available", "list the scene catalog, or show one source in detail"),
    "fetch": ("available", "download open scenes"),
    "codecs": ("available", "list the codecs and their capabilities"),
    "compress": ("codec", "compress an image of any size into a .sarl file"),
    "decompress": ("codec", "decode a .sarl file, or a window of it, into a GeoTIFF"),
    "info": ("codec", "describe a .sarl file"),
    "train": ("codec", "train a codec model from a plan"),
    "evaluate": ("evaluate", "measure codecs on scenes: bytes of real files and SAR metrics"),
    "recommend": ("evaluate", "find the highest measured compression that meets your thresholds"),
    "sweep": ("sweep", "run a plan: one experiment per architecture and compression ratio"),
    "status": ("sweep", "show the state of runs"),
    "reproduce": ("sweep", "repeat a finished run from its manifest and compare"),
    "cost": ("sweep", "estimate memory and time of a plan before it runs"),
    "report": ("sweep", "render finished runs as HTML"),
    "publish": ("sweep", "add the finished runs of a plan to the book of a checkout"),
}

EPILOG = """
examples:
  sarlab compress my.tif my.sarl --psnr 30
  sarlab evaluate --codecs lapped,jpeg2000 --scenes my.tif --quantity db --out mine.csv
  sarlab recommend --rows mine.csv --min psnr=30     the highest compression with a PSNR of 30 dB
  sarlab sweep quick --scenes my.tif --quantity db   train networks on it; then 'sarlab report' with the same options

'sarlab VERB --help' explains a verb.
"""

#: Options of several verbs, with their arguments for `argparse`.
OPTIONS: dict[str, dict[str, Any]] = {
    "--scenes": {"metavar": "NAME|PATH", "help": "catalog name, file or folder that replaces the scenes of the plan"},
    "--quantity": {
        "choices": ("auto", "complex", "amplitude", "intensity", "db"),
        "help": "quantity of file samples (default: from metadata, file name or values)",
    },
    "--runs": {"type": Path, "default": Path("runs"), "metavar": "DIR", "help": "folder of runs (default: runs)"},
    "--only": {"metavar": "PATTERN", "help": "only runs whose id contains or matches PATTERN, such as '*-c16-*'"},
    "--device": {"default": "auto", "help": "auto (the GPU if there is one), cpu, cuda, cuda:1"},
    "--workers": {"type": int, "default": 0, "metavar": "N", "help": "processes (default: one per core)"},
    "--force": {"action": "store_true", "help": "replace an existing file"},
    "--json": {"action": "store_true", "help": "print JSON"},
}


#: Goals of a compressed file.
GOALS = {
    "quality": "quality of the codec, higher is better", "bpp": "bits per pixel and band of the whole file",
    "psnr": "PSNR in dB of the dB image within its clip range", "max_error_db": "largest error of any sample in dB",
}  # fmt: skip


def build_parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """Parser with every verb listed and the arguments of the chosen one loaded."""
    layout = argparse.RawDescriptionHelpFormatter
    description = "How far can a SAR image be compressed, and what is lost?"
    parser = argparse.ArgumentParser("sarlab", description=description, epilog=EPILOG, formatter_class=layout)
    parser.add_argument("-V", "--version", action="version", version=f"sarlab {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    chosen = next((word for word in argv if not word.startswith("-")), None)
    for verb, (module, text) in VERBS.items():
        child = verbs.add_parser(verb, help=text, description=text, formatter_class=layout)
        if verb == chosen:
            loaded = importlib.import_module(f"sarlab.cli.{module}")
            getattr(loaded, f"add_{verb}")(child)
            child.epilog = f"examples:\n{loaded.EXAMPLES[verb]}"
            child.set_defaults(run=getattr(loaded, f"run_{verb}"))
    return parser


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"sarlab: warning: {printable(str(message))}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status (0 success, 1 error of the user's input, 130 interrupted)."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser(argv)
    args = parser.parse_args(argv)
    if args.verb is None:
        parser.print_help()
        return 0
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return args.run(args) or 0
    except SarlabError as error:
        files = [str(file) for name in ("source", "target") if (file := getattr(args, name, None))]
        place = f"{files[0]}: " if files and not any(file in str(error) for file in files) else ""
        print(f"sarlab: error: {printable(f'{place}{error}')}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except KeyboardInterrupt:
        print("sarlab: interrupted; finished results are kept, repeat the command to resume", file=sys.stderr)
        return 130


def add_options(parser: argparse.ArgumentParser, *names: str, **changes: Any) -> None:
    """Add some of `OPTIONS` to a parser, with changes to all of them."""
    for name in names:
        parser.add_argument(name, **{**OPTIONS[name], **changes})


def add_goals(parser: argparse.ArgumentParser, **changes: Any) -> Any:
    """Add an option per goal, of which one can be given; returns the group."""
    group = parser.add_mutually_exclusive_group()
    for name, text in GOALS.items():
        group.add_argument(f"--{name.replace('_', '-')}", help=text, **changes)
    return group


def add_plan(parser: argparse.ArgumentParser, *names: str, **changes: Any) -> None:
    """Add a plan, the scenes that replace those of the plan, and others of `OPTIONS`."""
    from sarlab.lab.runs import plan_names

    words = f"name of a plan ({', '.join(plan_names())}) or path of a .toml file"
    parser.add_argument(changes.pop("name", "plan"), **{"help": words, **changes})
    add_options(parser, "--scenes", "--quantity", *names)


def comma_separated(text: str) -> list[str]:
    """Parse a comma-separated list."""
    return [word.strip() for word in text.split(",") if word.strip()]


def show(args: argparse.Namespace, value: Any, text: str) -> int:
    """Print a result as JSON if ``--json`` was given, else its text; the exit status is 0."""
    print(printable(json.dumps(value, indent=1, ensure_ascii=False) if args.json else text))
    return 0


def printable(text: str) -> str:
    """Show control characters, which names and tags of files may hold, instead of sending them to the terminal."""
    return "".join(sign if sign.isprintable() or sign == "\n" else f"\\u{ord(sign):04x}" for sign in text)


def format_table(rows: Sequence[Mapping[str, Any]], *names: str) -> str:
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
