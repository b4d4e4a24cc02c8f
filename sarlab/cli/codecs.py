"""``sarlab codecs``: the codecs, whether they work here, and what each supports."""

from __future__ import annotations

import argparse
import json

_EPILOG = """\
examples:
  sarlab codecs              one line per codec; those that do not work here with the reason
  sarlab codecs hevc12       all about one codec
  sarlab codecs --json       the same for scripts
Higher quality is always better. Error-bounded codecs guarantee a largest error of 10^(-quality/20) dB on every sample.
"""


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add the arguments of the verb."""
    parser.epilog = _EPILOG
    parser.add_argument("names", nargs="*", metavar="CODEC", help="codecs to show in full (default: all, in short)")
    parser.add_argument("--json", action="store_true", help="machine-readable output")


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    from sarlab.lab.evaluate import codec_table
    from sarlab.peers import codecs

    for name in args.names:
        codecs[name]
    rows = [row for row in codec_table() if not args.names or row["name"] in args.names]
    if args.json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    elif args.names:
        print("\n\n".join("\n".join(f"{key:14s} {value}" for key, value in row.items()) for row in rows))
    else:
        print(_lines(rows))
    return 0


def _lines(rows: list[dict]) -> str:
    lines = [f"{'codec':18s} {'family':13s} {'bits':>4s} {'kind':13s} {'quality':>14s}  about"]
    for row in rows:
        kind = "lossless" if row["lossless"] else "error-bounded" if row["error_bounded"] else "lossy"
        span = "-" if row["quality_low"] == row["quality_high"] else f"{row['quality_low']:g} … {row['quality_high']:g}"
        about = row["version"] if row["available"] else f"not available: {row['reason']}"
        lines.append(f"{row['name']:18s} {row['family']:13s} {row['bits']:4d} {kind:13s} {span:>14s}  {about}")
    return "\n".join(lines)
