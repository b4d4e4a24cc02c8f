"""Command line: one module a verb (or family of verbs), imported only when it is called."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from sarlab.errors import SarlabError

#: verb → (module of sarlab.cli, one line of help). A module offers `add_arguments(parser, verb)` and `run(args) -> int`.
VERBS: dict[str, tuple[str, str]] = {
    "doctor": ("doctor", "say what this installation can do, and how to get what is missing"),
    "scenes": ("scenes", "list the scenes of the catalog, or show one source in detail"),
    "fetch": ("scenes", "download open scenes, checked by hash"),
    "codecs": ("codecs", "list the codecs at hand and what each supports"),
    "compress": ("compress", "compress an image of any size into a .sarl file"),
    "decompress": ("compress", "turn a .sarl file, or a window of it, back into a GeoTIFF"),
    "info": ("compress", "say what a .sarl file holds"),
    "train": ("train", "train the model of a codec from its plan"),
    "evaluate": ("evaluate", "measure codecs on scenes: bytes of real files and SAR metrics, as tidy rows"),
    "sweep": ("sweep", "run a plan: one experiment per architecture and compression ratio"),
    "recommend": ("recommend", "find the highest measured compression that meets your thresholds"),
    "status": ("status", "say which runs are done, running, failed and missing"),
    "publish": ("publish", "put the finished runs of a plan into the book of a checkout"),
    "cost": ("cost", "memory and time of a plan before it runs"),
    "report": ("publish", "turn finished runs into an HTML report"),
}

EPILOG = """
first steps with an image of your own (its samples: complex, amplitude, intensity or db):
  sarlab compress my.tif my.sarl --psnr 30           a file, and back with 'sarlab decompress'
  sarlab evaluate --codecs hyper,jpeg2000 --scenes my.tif --quantity db --out mine.csv
  sarlab recommend --rows mine.csv --min psnr=30     the highest compression of these files with 30 dB
  sarlab sweep quick --scenes my.tif --quantity db   networks trained on it; then 'sarlab report'
                                                     with the same options shows everything

'sarlab VERB --help' explains a verb with examples.
"""


def build_parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """Parser with every verb listed and the arguments of the chosen one loaded."""
    parser = argparse.ArgumentParser(
        prog="sarlab",
        description="How far can a SAR image be compressed, and what is lost?",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version and stop")
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB")
    chosen = next((word for word in argv if not word.startswith("-")), None)
    for verb, (module, text) in VERBS.items():
        child = subparsers.add_parser(
            verb, help=text, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if verb == chosen:
            loaded = importlib.import_module(f"sarlab.cli.{module}")
            loaded.add_arguments(child, verb)
            child.set_defaults(run=loaded.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status (0 success, 1 error of the user's input, 130 interrupted)."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser(argv)
    args = parser.parse_args(argv)
    if args.version:
        from sarlab._version import __version__

        print(f"sarlab {__version__}")
        return 0
    if args.verb is None:
        parser.print_help()
        return 0
    try:
        return args.run(args) or 0
    except SarlabError as error:
        print(f"sarlab: error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except KeyboardInterrupt:
        print("sarlab: interrupted; finished results are kept, repeat the command to resume", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
