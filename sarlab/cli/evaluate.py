"""``sarlab evaluate``: codecs on scenes as tidy rows, and Bjøntegaard differences of such rows."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sarlab.errors import CodecError

if TYPE_CHECKING:
    import pandas as pd

_EPILOG = """\
examples:
  sarlab evaluate --codecs jpeg2000,hevc12 --scenes chips/ --quantity db --out rows.csv
                                   every codec's own grid of qualities, 0.05 to 4 bpp
  sarlab evaluate --codecs jpegxl --scenes bigearthnet --bpp 0.25,0.5,1 --out rows.parquet --save-files files/
                                   real files of these rates, kept
  sarlab evaluate --codecs jpegls,sz3,sperr --scenes scene.tif --max-error-db 0.5,1,2 --out rows.csv
  sarlab evaluate --codecs jpeg2000,hevc12,dct --scenes chips/ --bands VV --bd-rate --out rows.csv
                                   files at matched PSNR (25:40:11), and the table of BD-rates
  sarlab evaluate bd rows.csv --metric ssim --anchor jpeg2000
                                   the table of rows that are there already
  sarlab recommend --rows rows.csv --min psnr=30 --max bias_db=0.1
                                   the furthest of these files that keeps what you need
Values are lists (0.1,0.5,1) or first:last:how many (25:40:11). A PSNR is met within 0.02 dB, a rate within 1 %, by codecs
whose knob has steps (AVIF, WebP, ZFP) as near as a step allows; a largest error is never exceeded. What is finished is
kept in a journal beside the output: the same command again computes only what is missing.
"""
_QUANTITIES = ("auto", "complex", "amplitude", "intensity", "db")


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Arguments of the verb."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "table", nargs="*", metavar="bd ROWS", help="'bd' and a table of rows: only compare what is there"
    )
    parser.add_argument("--codecs", help="comma-separated names ('sarlab codecs' lists them), or all")
    parser.add_argument("--scenes", nargs="+", metavar="SCENE", help="files, folders or names of the catalog")
    parser.add_argument("--quantity", choices=_QUANTITIES, default="auto", help="what the samples of files are")
    parser.add_argument("--out", type=Path, metavar="FILE", help="table to write: .csv, .parquet or .json")
    parser.add_argument("--bands", help="only these, comma-separated: VV")
    targets = parser.add_mutually_exclusive_group()
    targets.add_argument("--quality", metavar="VALUES", help="native qualities of the codec (higher is better)")
    targets.add_argument("--bpp", metavar="VALUES", help="bit per pixel and band of the whole file")
    targets.add_argument("--psnr", metavar="VALUES", help="PSNR in dB over the clip range")
    targets.add_argument("--max-error-db", metavar="VALUES", help="largest error of any sample in dB")
    parser.add_argument("--metrics", help="only these metric columns, comma-separated (faster)")
    parser.add_argument(
        "--clip", metavar="LOW,HIGH", help="clip range of PSNR in dB, instead of the recorded convention"
    )
    parser.add_argument("--save-files", type=Path, metavar="DIR", help="keep the compressed files")
    parser.add_argument("--workers", type=int, default=0, help="processes (default: one a core)")
    parser.add_argument("--bd-rate", action="store_true", help="compare at matched PSNR and print the table")
    parser.add_argument(
        "--metric", default="psnr_db", help="metrics of the BD table, comma-separated (default psnr_db)"
    )
    parser.add_argument("--anchor", default="jpeg2000,hevc12", help="codecs the others are held against")
    parser.add_argument("--interval", metavar="LOW,HIGH", help="range of the metric (default 25,40 for psnr_db)")
    parser.add_argument("--json", action="store_true", help="print the rows (or the BD table) as JSON")


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    if args.table:
        if args.table[0] != "bd" or len(args.table) != 2:
            raise CodecError(f"'{' '.join(args.table)}' is not understood; write 'sarlab evaluate bd rows.csv'")
        from sarlab.lab.evaluate import read_rows

        return _compare(read_rows(Path(args.table[1])), args, args.out)
    if not args.codecs or not args.scenes:
        raise CodecError("evaluate needs --codecs and --scenes; 'sarlab evaluate --help' shows examples")
    if not args.out and not args.json:
        raise CodecError("evaluate needs --out FILE (.csv, .parquet or .json), or --json to print the rows")
    rows = _evaluate(args)
    return _compare(rows, args, None) if args.bd_rate else 0


def _evaluate(args: argparse.Namespace) -> pd.DataFrame:
    from sarlab.codec.codec import codecs
    from sarlab.lab.codec_tables import PSNR_TARGETS
    from sarlab.lab.evaluate import check_output, evaluate, parse_targets, write_rows

    if args.out:
        check_output(args.out)
    names = _words(args.codecs)
    if names == ["all"]:
        names = [name for name in codecs if codecs[name].available().ok]
        for name in codecs:
            if name not in names:
                print(f"left out: {name} ({codecs[name].available().reason})", file=sys.stderr)
    given = {kind: getattr(args, kind) for kind in ("quality", "bpp", "psnr", "max_error_db")}
    if args.bd_rate and not any(given.values()):
        given["psnr"] = PSNR_TARGETS
    targets = [target for kind, text in given.items() if text for target in parse_targets(kind, text)]
    frame = evaluate(
        names,
        args.scenes,
        targets,
        quantity=args.quantity,
        bands=_words(args.bands) if args.bands else None,
        clip=_pair(args.clip, "--clip") if args.clip else None,
        metrics=_words(args.metrics) if args.metrics else None,
        workers=args.workers,
        journal=args.out.with_name(f".{args.out.name}.journal.jsonl") if args.out else None,
        save_files=args.save_files,
        progress=_progress if sys.stderr.isatty() else None,
        notes=lambda note: print(note, file=sys.stderr),
    )
    if args.out:
        write_rows(frame, args.out)
        lacking = frame[frame["bpp"].isna()]
        print(f"{args.out}: {len(frame)} rows, {len(lacking)} without figures", file=sys.stderr)
        for (scene, reason), _ in lacking.groupby(["scene", "reason"], sort=False):
            print(f"  {scene}: {reason}", file=sys.stderr)
        if len(lacking) < len(frame):
            print(f"how far to go: sarlab recommend --rows {args.out} --min psnr=30", file=sys.stderr)
    if args.json and not args.bd_rate:
        print(frame.to_json(orient="records", indent=1))
    return frame


def _compare(rows: pd.DataFrame, args: argparse.Namespace, out: Path | None) -> int:
    from sarlab.lab.codec_tables import bd_rows
    from sarlab.lab.evaluate import write_rows

    interval = _pair(args.interval, "--interval") if args.interval else None
    table = bd_rows(rows, metrics=_words(args.metric), anchors=_words(args.anchor), interval=interval)
    if out:
        write_rows(table, out)
    if args.json:
        print(table.to_json(orient="records", indent=1))
        return 0
    print(
        f"{'band':5s} {'codec':18s} {'anchor':10s} {'metric':16s} {'BD-rate':>9s} {'95 % interval':>20s} {'BD':>9s}  scenes"
    )
    for row in table.itertuples():
        span = f"{row.bd_rate_low:.1f} … {row.bd_rate_high:.1f}"
        print(
            f"{row.band:5s} {row.codec:18s} {row.anchor:10s} {row.metric:16s} {row.bd_rate_percent:8.2f}% {span:>20s} "
            f"{row.bd_quality:9.4g}  {row.scenes} ({row.acquisitions} acquisitions){'  ' + row.reason if row.reason else ''}"
        )
    return 0


def _progress(done: int, total: int) -> None:
    print(f"\r{done} of {total} rows", end="\n" if done == total else "", file=sys.stderr, flush=True)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _pair(text: str, option: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise CodecError(f"{option} needs two numbers, LOW,HIGH, not '{text}'") from None
    if not low < high:
        raise CodecError(f"{option}: {low:g} is not below {high:g}")
    return low, high
