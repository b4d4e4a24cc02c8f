"""``sarlab evaluate`` and ``recommend``: codecs on scenes as tidy rows, and the operating point for given thresholds."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sarlab.cli import GOALS, add_goals, add_options, comma_separated, show
from sarlab.errors import CodecError, ResultsError
from sarlab.files import check_writable
from sarlab.lab import operating_points as points
from sarlab.lab.evaluate import bd_rows, evaluate, parse_targets, read_rows
from sarlab.lab.results import check_table_path, tables, write_table
from sarlab.peers import codecs

EXAMPLES = {
    "evaluate": """\
  sarlab evaluate --codecs jpeg2000,hevc12 --scenes chips/ --quantity db --psnr 25:40:11 --out rows.csv
  sarlab evaluate bd rows.csv --metric ssim --anchor jpeg2000    BD-rates of an existing table

Values are lists (0.1,0.5,1) or first:last:count (25:40:11). The default is each codec's own grid of qualities, from 0.05
to 4 bpp. A PSNR is met within 0.02 dB and a rate within 1 % where the codec's quality scale is fine enough; a largest error
is never exceeded. Application metrics (iou_water, cfar_kept, ...) are computed only if --metrics names them. Finished rows
are kept in a journal next to the output: repeat the command to compute the missing ones.
""",
    "recommend": """\
  sarlab recommend --rows rows.csv --min psnr=30 --min epi_roa=0.9 --max bias_db=0.1 --max rmse_8x8_db=0.3
  sarlab recommend --min iou_water=0.95 --max field_mean_error_db=0.2    thresholds on applications

Any metric column can have a threshold. For metrics whose ideal is 0, --max limits the magnitude. A threshold is met if the
unfavorable end of the 95 % interval over acquisitions meets it in every band, or, with fewer than five acquisitions, if
every scene does (a PSNR within 0.02 dB). Without --rows, the tables of the last report (_build/book) are read, or else the
published ones. Exit status 2 means that nothing meets the thresholds.
""",
}
#: Columns of the printed summary after codec, setting, band and number of scenes.
SUMMARY = ("bpp", "measured_cr", "psnr_db", "ssim", "epi_roa", "enl_ratio", "bias_db")
#: Headings of columns of the printed comparison.
HEADINGS = {"bd_rate_percent": "BD-rate (%)", "bd_rate_low": "from", "bd_rate_high": "to", "bd_quality": "BD"}


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("table", nargs="*", metavar="bd ROWS", help="'bd' and a table: only compare the codecs in it")
    add("--codecs", type=comma_separated, help="comma-separated names ('sarlab codecs' lists them), or all")
    add_options(parser, "--scenes", nargs="+", metavar="SCENE", help="files, folders or names of the catalog")
    add_options(parser, "--quantity", default="auto")
    add("--out", type=Path, metavar="FILE", help="table to write: .csv, .parquet or .json")
    add("--bands", type=comma_separated, help="comma-separated bands to measure, such as VV (default: all)")
    add_goals(parser, metavar="VALUES")
    add("--metrics", type=comma_separated, help="comma-separated metric columns to compute (default: all)")
    ends: dict[str, Any] = {"type": float, "nargs": 2, "metavar": ("LOW", "HIGH")}
    add("--clip", **ends, help="clip range of PSNR in dB (default: that of the band)")
    add("--save-files", type=Path, metavar="DIR", help="keep the compressed files")
    add_options(parser, "--workers")
    add("--metric", type=comma_separated, default="psnr_db", help="metrics of the BD table (default: psnr_db)")
    add("--anchor", type=comma_separated, default="jpeg2000,hevc12", help="reference codecs (default: jpeg2000,hevc12)")
    add("--interval", **ends, help="range of the metric that is compared (default: 25 40 for psnr_db)")
    add_options(parser, "--json")


def run_evaluate(args: argparse.Namespace) -> int:
    if args.table:
        if args.table[0] != "bd" or len(args.table) != 2:
            raise CodecError(f"'{' '.join(args.table)}' is not understood; write 'sarlab evaluate bd rows.csv'")
        return compare(read_rows(Path(args.table[1])), args)
    if not args.codecs or not args.scenes:
        raise CodecError("evaluate needs --codecs and --scenes; 'sarlab evaluate --help' shows examples")
    if not args.out and not args.json:
        raise CodecError("evaluate needs --out FILE (.csv, .parquet or .json), or --json to print the rows")
    if args.codecs == ["all"]:
        args.codecs = [name for name in codecs if codecs[name].available().ok]
        for name in sorted(set(codecs) - set(args.codecs)):
            print(f"skipped: {name} ({codecs[name].available().reason})", file=sys.stderr)
    goals = [goal for kind in GOALS if getattr(args, kind) for goal in parse_targets(kind, getattr(args, kind))]
    if args.out:
        check_table_path(args.out)
        check_writable(args.out.parent, "--out")
    if args.save_files:
        check_writable(args.save_files, "--save-files")
    rows = evaluate(
        args.codecs, args.scenes, goals, quantity=args.quantity, bands=args.bands, clip=args.clip,
        metrics=args.metrics, workers=args.workers, save_files=args.save_files,
        journal=args.out and args.out.with_name(f".{args.out.name}.journal.jsonl"),
    )  # fmt: skip
    if args.out:
        write_table(rows, args.out)
        lacking = rows[rows["bpp"].isna()]
        print(f"{args.out}: {len(rows)} rows, {len(lacking)} without measurements", file=sys.stderr)
        for scene, reason in lacking[["scene", "reason"]].drop_duplicates().itertuples(index=False):
            print(f"  {scene}: {reason}", file=sys.stderr)
        if len(lacking) < len(rows):
            print(f"choose an operating point: sarlab recommend --rows {args.out} --min psnr=30", file=sys.stderr)
    print(rows.to_json(orient="records", indent=1) if args.json else summary(rows, args.metrics or ()))
    return int(rows["bpp"].isna().all())


def summary(rows: pd.DataFrame, named: Sequence[str] = ()) -> str:
    """Means over scenes, one line per codec, setting and band: of the usual metrics, and of those that are `named`."""
    groups = rows.dropna(subset=["bpp"]).groupby(["codec", "target", "target_value", "band"], sort=False)
    if not len(groups):
        return "no measurements"
    means = groups[[name for name in dict.fromkeys([*SUMMARY, *named]) if name in rows]].mean()
    means.insert(0, "scenes", groups.size())
    return means.reset_index().to_string(index=False, max_rows=60, float_format="{:.4g}".format, na_rep="–")


def compare(rows: pd.DataFrame, args: argparse.Namespace) -> int:
    """Print the BD table; pairs without a BD-rate are listed with the reason, and fail if there are no others."""
    table = bd_rows(rows, metrics=args.metric, anchors=args.anchor, interval=args.interval)
    if args.out:
        write_table(table, args.out)
    known = table[table["bd_rate_percent"].notna()]
    if args.json:
        print(table.to_json(orient="records", indent=1))
    elif len(known):
        shown = ["band", "codec", "anchor", "metric", *HEADINGS, "scenes", "acquisitions", "reason"]
        print(known[shown].rename(columns=HEADINGS).to_string(index=False, float_format="{:.2f}".format, na_rep="–"))
    for row in table[table["bd_rate_percent"].isna()].itertuples():
        pairing = f"{row.codec} against {row.anchor} ({row.band}, {row.metric})"
        print(f"no BD-rate of {pairing}: {row.reason}", file=sys.stderr)
    return 0 if len(known) else 1


def add_recommend(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--min", action="append", default=[], metavar="METRIC=VALUE", help="lower limit of a metric; repeatable")
    add("--max", action="append", default=[], metavar="METRIC=VALUE", help="upper limit of a metric; repeatable")
    add("--use-case", choices=sorted(points.USE_CASES), help="the guide's PSNR threshold for a use case")
    add("--rows", type=Path, metavar="FILE", help="table from 'sarlab evaluate' (CSV, Parquet or JSON)")
    add("--book", type=Path, metavar="DIR", help="book whose results/ are read")
    add("--only", choices=("codecs", "networks"), help="consider only points of this kind")
    add("--simulated", action="store_true", help="use simulated scenes instead of recorded ones")
    add_options(parser, "--json")


def run_recommend(args: argparse.Namespace) -> int:
    """Print the recommendation; return 2 if nothing meets the thresholds."""
    if args.rows is not None:
        runs, rows, applied = pd.DataFrame(), read_rows(args.rows), pd.DataFrame()
    else:
        staged = Path("_build/book")
        book = tables(args.book or (staged if (staged / "results").is_dir() else None))
        runs, rows, applied = book.runs, book.codecs, book.table("applications")
    columns = {*runs.columns, *rows.columns, *applied.columns}
    thresholds = [*points.use_case(args.use_case)] if args.use_case else []
    for side in ("min", "max"):
        thresholds += [points.parse_threshold(text, side, columns) for text in getattr(args, side)]
    if not thresholds:
        raise ResultsError("no thresholds; give --min, --max or --use-case, such as --min psnr=30")
    if any(threshold.metric not in rows and threshold.metric in applied for threshold in thresholds):
        rows = applied
    measured = points.operating_points(runs, rows, simulated=args.simulated)
    measured = [point for point in measured if not args.only or f"{point.kind}s" == args.only]
    compared = points.whole(measured)
    if skipped := [point.name for point in measured if point not in compared]:
        print(f"skipped because some scenes were not measured: {', '.join(skipped)}", file=sys.stderr)
    found = points.recommend(compared, thresholds)
    show(args, found.to_dict(), recommendation(found, len(compared)))
    return 0 if found.chosen is not None else 2


def recommendation(found: points.Recommendation, count: int) -> str:
    """Describe a recommendation among `count` points."""

    def line(point: Mapping[str, Any]) -> str:
        return f"{point['name']} ({point['compression_ratio']:.1f}×, {point['bpp']:.3g} bits per pixel)"

    report = found.to_dict()
    point, wanted = report["recommended"] or report["closest"], ", ".join(report["thresholds"])
    if found.chosen is None:
        lines = [f"None of {count} measured points meets {wanted} with confidence."]
        lines += [f"Closest: {line(point)}; it misses {', '.join(point['misses'])}."]
    else:
        lines = [f"{line(point)} has the highest compression of the points that meet {wanted} ({count} compared)."]
    for name, key in (("keeps", "measured"), ("with confidence", "with_confidence"), ("loses", "lost")):
        lines += [f"  {name}: {', '.join(f'{k} {value:.3g}' for k, value in point[key].items())}"] if point[key] else []
    if found.chosen is not None:
        lines.append(f"  command: {point['command']}")
        for name, key in (("more compression", "further"), ("less compression", "gentler")):
            if step := report[f"one_step_{key}"]:
                missed = f"misses {', '.join(step['misses'])}" if step["misses"] else "meets all"
                lines.append(f"  {name}: {line(step)}, {missed}")
        lines += [f"  to measure between them: {found.between}"] if found.between else []
        lines.append(f"  measured on {found.chosen.certain}")
    return "\n".join(lines)
