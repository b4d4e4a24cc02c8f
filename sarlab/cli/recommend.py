"""``sarlab recommend``: from thresholds to an operating point."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import pandas as pd

from sarlab.errors import ResultsError
from sarlab.lab.operating_points import TOLD, Point, operating_points, whole
from sarlab.lab.recommendation import USE_CASES, Recommendation, recommend, use_case
from sarlab.lab.results import read_table, tables
from sarlab.lab.thresholds import parse_threshold

EPILOG = """
examples:
  sarlab recommend --min psnr=30                              the furthest that keeps 30 dB, of all that was measured
  sarlab recommend --min psnr=30 --min epi_roa=0.9 --max bias_db=0.1 --max rmse_8x8_db=0.3
  sarlab recommend --use-case archive --json                  the thresholds of a use case, for a script
  sarlab evaluate --codecs hyper,jpeg2000 --scenes my.tif --quantity db --out mine.csv
  sarlab recommend --rows mine.csv --min psnr=32              the same on a scene of your own

Told are the point, what it keeps and loses on average, what it keeps surely, the command that uses it, and the next
steps on its curve. Any column of the tables can have a threshold; where 0 is perfect, --max speaks of the magnitude. A
threshold is met if the unfavorable end of the 95 % interval over acquisitions meets it on every band; with fewer than
three acquisitions, if every scene does; a PSNR within 0.02 dB, as near as files are made to meet one. Without --rows, the tables of the last report (_build/book) are read, or else the published ones.
"""


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Arguments of ``sarlab recommend``."""
    parser.epilog = EPILOG
    parser.add_argument("--min", action="append", default=[], metavar="METRIC=VALUE", help="at least; repeatable")
    parser.add_argument("--max", action="append", default=[], metavar="METRIC=VALUE", help="at most; repeatable")
    parser.add_argument("--use-case", choices=sorted(USE_CASES), help="the guide's threshold of PSNR for it")
    parser.add_argument("--rows", type=Path, metavar="FILE", help="rows of 'sarlab evaluate' (CSV, Parquet or JSON)")
    parser.add_argument("--book", type=Path, metavar="DIR", help="folder of a book with its results/")
    parser.add_argument("--only", choices=("codecs", "networks"), help="leave the others out")
    parser.add_argument("--simulated", action="store_true", help="judge simulated scenes instead of recorded ones")
    parser.add_argument("--json", action="store_true", help="machine-readable output")


def run(args: argparse.Namespace) -> int:
    """Print the recommendation; the exit status is 2 where nothing meets the thresholds."""
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
    points = whole([point for point in measured if not args.only or f"{point.kind}s" == args.only])
    if left_out := [
        point.name for point in measured if point not in points and (not args.only or f"{point.kind}s" == args.only)
    ]:
        print(f"left out, without figures on some of the scenes: {', '.join(left_out)}", file=sys.stderr)
    found = recommend(points, thresholds)
    print(json.dumps(found.to_dict(), indent=2) if args.json else text(found, len(points)))
    return 0 if found.chosen is not None else 2


def _tables(args: argparse.Namespace) -> tuple[pd.DataFrame, pd.DataFrame]:
    if args.rows is not None:
        return pd.DataFrame(), _rows(args.rows)
    staged = Path("_build/book")
    root = args.book or (staged if (staged / "results").is_dir() else None)
    found = tables(root)
    everything = found.table("codecs_all")
    return found.runs, everything if len(everything) else found.codecs


def _rows(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise ResultsError(f"{path}: no such file; 'sarlab evaluate --out {path}' writes one")
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        return pd.read_json(path) if path.suffix == ".json" else read_table(path)
    except (ValueError, OSError) as error:
        raise ResultsError(f"{path}: not rows of 'sarlab evaluate' ({error})") from error


def text(found: Recommendation, count: int) -> str:
    """The recommendation for people."""
    wanted = ", ".join(threshold.text for threshold in found.thresholds)
    if found.chosen is None:
        lines = [f"None of {count} measured points meets {wanted} with confidence."]
        if found.closest is not None:
            missed = ", ".join(threshold.text for threshold in found.closest.missed(found.thresholds))
            lines += [f"Closest: {_line(found.closest)}; it misses {missed}.", *_kept(found.closest, found)]
        return "\n".join(lines)
    chosen = found.chosen
    lines = [f"{_line(chosen)} is the furthest of {count} measured points that meets {wanted}.", *_kept(chosen, found)]
    lines.append(f"  use it:   {chosen.command}")
    for name, point in (("further", found.further), ("gentler", found.gentler)):
        if point is not None:
            missed = ", ".join(threshold.text for threshold in point.missed(found.thresholds))
            lines.append(f"  {name}:  {_line(point)}" + (f", misses {missed}" if missed else ", meets all"))
    if found.between:
        lines.append(f"  between:  {found.between}")
    lines.append(f"  measured: on {chosen.certain}")
    return "\n".join(lines)


def _line(point: Point) -> str:
    return f"{point.name}: {point.cr:.1f}× ({point.bpp:.3g} bit per pixel)"


def _kept(point: Point, found: Recommendation) -> list[str]:
    names = dict.fromkeys([*(threshold.metric for threshold in found.thresholds), *TOLD])
    values = {name: point.mean(name) for name in names}
    sure = ", ".join(
        f"{threshold.metric} {value:.3g} (asked for {threshold.text})"
        for threshold in found.thresholds
        if (value := point.sure(threshold)) == value
    )
    lost = ", ".join(
        f"{name.partition(' (')[0]} {value:.3g} {name[name.rfind('(') + 1 : -1]}"
        for name, value in point.lost().items()
    )
    return [
        "  keeps:    " + ", ".join(f"{name} {value:.3g}" for name, value in values.items() if value == value),
        *([f"  surely:   {sure}"] if sure else []),
        *([f"  loses:    {lost}"] if lost else []),
    ]
