"""``sarlab recommend``: from thresholds to an operating point."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import pandas as pd

from sarlab.errors import ResultsError
from sarlab.lab.evaluate import read_rows
from sarlab.lab.operating_points import (
    USE_CASES,
    Point,
    Recommendation,
    operating_points,
    parse_threshold,
    recommend,
    use_case,
    whole,
)
from sarlab.lab.results import tables

EPILOG = """
examples:
  sarlab recommend --min psnr=30                              highest compression with 30 dB, of all that was measured
  sarlab recommend --min psnr=30 --min epi_roa=0.9 --max bias_db=0.1 --max rmse_8x8_db=0.3
  sarlab recommend --use-case archive --json                  the thresholds of a use case, for a script
  sarlab evaluate --codecs hyper,jpeg2000 --scenes my.tif --quantity db --out mine.csv
  sarlab recommend --rows mine.csv --min psnr=32              the same on a scene of your own

Prints the point, what it keeps and loses on average, what it keeps with confidence, the command that uses it, and the
next steps on its curve. Any column of the tables can have a threshold; where 0 is perfect, --max limits the magnitude. A
threshold is met if the unfavorable end of the 95 % interval over acquisitions meets it on every band; with fewer than
five acquisitions, if every scene does; a PSNR within 0.02 dB, the precision of files made for one. Without --rows, the
tables of the last report (_build/book) are read, or else the published ones. The exit status is 2 if nothing meets the
thresholds.
"""


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Arguments of ``sarlab recommend``."""
    parser.epilog = EPILOG
    parser.add_argument("--min", action="append", default=[], metavar="METRIC=VALUE", help="at least; repeatable")
    parser.add_argument("--max", action="append", default=[], metavar="METRIC=VALUE", help="at most; repeatable")
    parser.add_argument("--use-case", choices=sorted(USE_CASES), help="the guide's threshold of PSNR for it")
    parser.add_argument("--rows", type=Path, metavar="FILE", help="rows of 'sarlab evaluate' (CSV, Parquet or JSON)")
    parser.add_argument("--book", type=Path, metavar="DIR", help="folder of a book with its results/")
    parser.add_argument("--only", choices=("codecs", "networks"), help="only points of this kind")
    parser.add_argument("--simulated", action="store_true", help="judge simulated scenes instead of recorded ones")
    parser.add_argument("--json", action="store_true", help="machine-readable output")


def run(args: argparse.Namespace) -> int:
    """Print the recommendation; return 2 if nothing meets the thresholds."""
    runs, codecs = _tables(args)
    columns = {*runs.columns, *codecs.columns}
    thresholds = [
        *(use_case(args.use_case) if args.use_case else ()),
        *(parse_threshold(text, "min", columns) for text in args.min),
        *(parse_threshold(text, "max", columns) for text in args.max),
    ]
    if not thresholds:
        raise ResultsError("no thresholds; give --min, --max or --use-case, such as --min psnr=30")
    measured = operating_points(runs, codecs, simulated=args.simulated)
    measured = [point for point in measured if not args.only or f"{point.kind}s" == args.only]
    points = whole(measured)
    if skipped := [point.name for point in measured if point not in points]:
        print(f"skipped, not measured on some of the scenes: {', '.join(skipped)}", file=sys.stderr)
    found = recommend(points, thresholds)
    print(json.dumps(found.to_dict(), indent=2) if args.json else text(found, len(points)))
    return 0 if found.chosen is not None else 2


def _tables(args: argparse.Namespace) -> tuple[pd.DataFrame, pd.DataFrame]:
    if args.rows is not None:
        return pd.DataFrame(), read_rows(args.rows)
    staged = Path("_build/book")
    found = tables(args.book or (staged if (staged / "results").is_dir() else None))
    everything = found.table("codecs_all")
    return found.runs, everything if len(everything) else found.codecs


def text(found: Recommendation, count: int) -> str:
    """The recommendation for people."""
    wanted = ", ".join(threshold.text for threshold in found.thresholds)
    chosen = found.chosen
    if chosen is None:
        lines = [f"None of {count} measured points meets {wanted} with confidence."]
        lines += [f"Closest: {_line(found.closest)}; it misses {_missed(found.closest, found)}."]
        return "\n".join([*lines, *_kept(found.closest, found)])
    lines = [f"{_line(chosen)} is the highest compression of {count} measured points that meets {wanted}."]
    lines += [*_kept(chosen, found), f"  use it:   {chosen.command}"]
    for name, point in (("further", found.further), ("gentler", found.gentler)):
        if point is not None:
            missed = _missed(point, found)
            lines.append(f"  {name}:  {_line(point)}" + (f", misses {missed}" if missed else ", meets all"))
    if found.between:
        lines.append(f"  between:  {found.between}")
    return "\n".join([*lines, f"  measured: on {chosen.certain}"])


def _line(point: Point) -> str:
    return f"{point.name}: {point.cr:.1f}× ({point.bpp:.3g} bit per pixel)"


def _missed(point: Point, found: Recommendation) -> str:
    return ", ".join(threshold.text for threshold in point.missed(found.thresholds))


def _kept(point: Point, found: Recommendation) -> list[str]:
    values = ", ".join(f"{name} {value:.3g}" for name, value in found.measured(point).items())
    known = {limit: value for limit in found.thresholds if (value := point.sure(limit)) == value}
    sure = ", ".join(f"{limit.metric} {value:.3g} (asked for {limit.text})" for limit, value in known.items())
    parts = {name: name.rstrip(")").partition(" (") for name in point.lost()}
    lost = ", ".join(f"{parts[name][0]} {value:.3g} {parts[name][2]}" for name, value in point.lost().items())
    return [f"  {label:<9} {text}" for label, text in (("keeps:", values), ("surely:", sure), ("loses:", lost)) if text]
