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
  sarlab evaluate --codecs jpeg2000,hevc12,jpegxl --scenes chips/ --bands VV --bd-rate --out rows.csv
                                   files at matched PSNR (25:40:11), and the table of BD-rates
  sarlab evaluate bd rows.csv --metric ssim --anchor jpeg2000
                                   BD-rates of an existing table
  sarlab recommend --rows rows.csv --min psnr=30 --max bias_db=0.1
                                   the highest compression of these files that meets thresholds
Values are lists (0.1,0.5,1) or first:last:how many (25:40:11). A PSNR is met within 0.02 dB, a rate within 1 %, by codecs
whose knob has steps (AVIF, WebP, ZFP) as near as a step allows; a largest error is never exceeded. Finished rows are kept
in a journal next to the output: the same command again computes only what is missing.
"""
_QUANTITIES = ("auto", "complex", "amplitude", "intensity", "db")
#: Columns of the printed summary besides codec, setting, band and number of scenes.
_SHOWN = ("bpp", "measured_cr", "psnr_db", "ssim", "epi_roa", "enl_ratio", "bias_db")


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Arguments of the verb."""
    parser.epilog = _EPILOG
    parser.add_argument("table", nargs="*", metavar="bd ROWS", help="'bd' and a table of rows: only compare its codecs")
    parser.add_argument("--codecs", help="comma-separated names ('sarlab codecs' lists them), or all")
    parser.add_argument("--scenes", nargs="+", metavar="SCENE", help="files, folders or names of the catalog")
    parser.add_argument("--quantity", choices=_QUANTITIES, default="auto", help="quantity of the samples in files")
    parser.add_argument("--out", type=Path, metavar="FILE", help="table to write: .csv, .parquet or .json")
    parser.add_argument("--bands", help="only these, comma-separated: VV")
    targets = parser.add_mutually_exclusive_group()
    targets.add_argument("--quality", metavar="VALUES", help="native qualities of the codec (higher is better)")
    targets.add_argument("--bpp", metavar="VALUES", help="bits per pixel and band of the whole file")
    targets.add_argument("--psnr", metavar="VALUES", help="PSNR in dB over the clip range")
    targets.add_argument("--max-error-db", metavar="VALUES", help="largest error of any sample in dB")
    parser.add_argument("--metrics", help="only these metric columns, comma-separated (faster)")
    parser.add_argument("--clip", metavar="LOW,HIGH", help="clip range of PSNR in dB instead of the usual one")
    parser.add_argument("--save-files", type=Path, metavar="DIR", help="keep the compressed files")
    parser.add_argument("--workers", type=int, default=0, help="processes (default: one per core)")
    parser.add_argument("--bd-rate", action="store_true", help="compare at matched PSNR and print the table")
    parser.add_argument(
        "--metric", default="psnr_db", help="metrics of the BD table, comma-separated (default psnr_db)"
    )
    parser.add_argument("--anchor", default="jpeg2000,hevc12", help="codecs that the others are compared with")
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
    if args.bd_rate:
        return _compare(rows, args, None)
    print(rows.to_json(orient="records", indent=1) if args.json else summary(rows))
    return 0


def _evaluate(args: argparse.Namespace) -> pd.DataFrame:
    from sarlab.lab.evaluate import PSNR_TARGETS, evaluate, parse_targets
    from sarlab.lab.results import check_table_path, write_table
    from sarlab.lab.sweep import check_writable
    from sarlab.peers import codecs

    names = _words(args.codecs)
    if names == ["all"]:
        names = [name for name in codecs if codecs[name].available().ok]
        for name in codecs:
            if name not in names:
                print(f"skipped: {name} ({codecs[name].available().reason})", file=sys.stderr)
    given = {kind: getattr(args, kind) for kind in ("quality", "bpp", "psnr", "max_error_db")}
    if args.bd_rate and not any(given.values()):
        given["psnr"] = PSNR_TARGETS
    targets = [target for kind, text in given.items() if text for target in parse_targets(kind, text)]
    clip = _pair(args.clip, "--clip") if args.clip else None
    if args.out:
        check_table_path(args.out)
        check_writable(args.out.parent, "--out")
    if args.save_files:
        check_writable(args.save_files, "--save-files")
    frame = evaluate(
        names,
        args.scenes,
        targets,
        quantity=args.quantity,
        bands=_words(args.bands) if args.bands else None,
        clip=clip,
        metrics=_words(args.metrics) if args.metrics else None,
        workers=args.workers,
        journal=args.out.with_name(f".{args.out.name}.journal.jsonl") if args.out else None,
        save_files=args.save_files,
        progress=_progress if sys.stderr.isatty() else None,
        notes=lambda note: print(note, file=sys.stderr),
    )
    if args.out:
        write_table(frame, args.out)
        lacking = frame[frame["bpp"].isna()]
        print(f"{args.out}: {len(frame)} rows, {len(lacking)} without figures", file=sys.stderr)
        for (scene, reason), _ in lacking.groupby(["scene", "reason"], sort=False):
            print(f"  {scene}: {reason}", file=sys.stderr)
        if len(lacking) < len(frame):
            print(f"how far to go: sarlab recommend --rows {args.out} --min psnr=30", file=sys.stderr)
    return frame


def summary(rows: pd.DataFrame) -> str:
    """Means over scenes, one line per codec, setting and band."""
    keys = ["codec", "target", "target_value", "band"]
    measured = rows.dropna(subset=["bpp"])
    if measured.empty:
        return "no figures"
    groups = measured.groupby(keys, sort=False)
    means = groups[[name for name in _SHOWN if name in rows]].mean()
    means.insert(0, "scenes", groups.size())
    return means.reset_index().to_string(
        index=False, max_rows=60, float_format=lambda value: f"{value:.4g}", na_rep="–"
    )


def _compare(rows: pd.DataFrame, args: argparse.Namespace, out: Path | None) -> int:
    """Print the BD table; pairs without a BD-rate are listed with the reason, and fail if there are no others."""
    from sarlab.lab.evaluate import bd_rows
    from sarlab.lab.results import write_table

    interval = _pair(args.interval, "--interval") if args.interval else None
    table = bd_rows(rows, metrics=_words(args.metric), anchors=_words(args.anchor), interval=interval)
    if out:
        write_table(table, out)
    known = table[table["bd_rate_percent"].notna()]
    if args.json:
        print(table.to_json(orient="records", indent=1))
    elif len(known):
        shown = ["band", "codec", "anchor", "metric", "bd_rate_percent", "bd_rate_low", "bd_rate_high", "bd_quality"]
        shown += ["scenes", "acquisitions", "reason"]
        names = {"bd_rate_percent": "BD-rate (%)", "bd_rate_low": "from", "bd_rate_high": "to", "bd_quality": "BD"}
        text = known[shown].rename(columns=names)
        print(text.to_string(index=False, float_format=lambda value: f"{value:.2f}", na_rep="–"))
    for row in table[table["bd_rate_percent"].isna()].itertuples():
        print(
            f"no BD-rate of {row.codec} against {row.anchor} ({row.band}, {row.metric}): {row.reason}", file=sys.stderr
        )
    return 0 if len(known) else 1


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
