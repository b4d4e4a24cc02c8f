"""``sarlab compress``, ``sarlab decompress`` and ``sarlab info``: image files and ``.sarl`` files."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from sarlab.errors import CodecError

_COMPRESS_EPILOG = """\
examples:
  sarlab compress scene.tif scene.sarl                  at the default quality, about half a bit per pixel on Sentinel-1
  sarlab compress scene.tif scene.sarl --bpp 0.5        a file of 0.5 bits per pixel and band (within 3 %)
  sarlab compress scene.tif scene.sarl --psnr 32        a PSNR of 32 dB between dB images, within the clip range
  sarlab compress slc.tif slc.sarl --quantity complex   the intensity of a complex product
  sarlab compress scene.tif scene.sarl --radiometric    13 bytes more per band; decompress --radiometric is then exact
IN is a GeoTIFF, COG, ENVI or .npy file of any size; it is read and coded in tiles. Nodata, NaN, coordinate system,
transform, band names and tags are kept exactly. Quality is the PSNR of the quantizer alone in dB: 19 gives a small file,
28 is usual, at 40 losses are hardly visible. An existing OUT is kept unless --force is given.
"""
_DECOMPRESS_EPILOG = """\
examples:
  sarlab decompress scene.sarl scene.tif
  sarlab decompress scene.sarl part.tif --window 1000 2000 512 512   these pixels only
  sarlab decompress scene.sarl scene.tif --cog                       a cloud-optimized GeoTIFF
  sarlab decompress scene.sarl scene.tif --radiometric               unbiased mean intensity, for averages and models
  sarlab decompress scene.sarl scene.tif --despeckled                an estimate of the reflectivity, without speckle
An existing OUT is kept unless --force is given.
"""
_INFO_EPILOG = """\
examples:
  sarlab info scene.sarl
  sarlab info scene.sarl --json | jq .bpp
"""


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add the arguments of a verb."""
    if verb == "info":
        parser.epilog = _INFO_EPILOG
        parser.add_argument("file", metavar="FILE", type=Path, help="a .sarl file")
        parser.add_argument("--json", action="store_true", help="machine-readable output")
        return
    parser.add_argument(
        "source", metavar="IN", type=Path, help="image to compress" if verb == "compress" else "a .sarl file"
    )
    parser.add_argument("target", metavar="OUT", type=Path, help="file to write; it appears when it is complete")
    if verb == "compress":
        parser.epilog = _COMPRESS_EPILOG
        parser.add_argument("--quantity", choices=("auto", "complex", "amplitude", "intensity", "db"), default="auto",
                            help="quantity of the samples (default: from metadata, name or values)")  # fmt: skip
        parser.add_argument(
            "--codec", default=None, metavar="CODEC", help="hyper (default), factorized, klt8, or a .safetensors file"
        )
        goals = parser.add_mutually_exclusive_group()
        goals.add_argument(
            "--quality", type=float, metavar="Q", help="quality from 0 to 96 dB; higher is better (default: 28)"
        )
        goals.add_argument("--bpp", type=float, metavar="B", help="bits per pixel and band of the whole file")
        goals.add_argument("--psnr", type=float, metavar="P", help="PSNR in dB")
        parser.add_argument(
            "--tile",
            type=int,
            default=512,
            metavar="N",
            help="side of a tile in pixels, a multiple of 64 up to 1024 (default: 512)",
        )
        parser.add_argument(
            "--radiometric",
            action="store_true",
            help="store 13 bytes per band for exact mean intensities in decompress --radiometric",
        )
    else:
        parser.epilog = _DECOMPRESS_EPILOG
        parser.add_argument(
            "--window", type=int, nargs=4, metavar=("ROW", "COL", "H", "W"), help="decode this part only, in pixels"
        )
        parser.add_argument("--cog", action="store_true", help="write a cloud-optimized GeoTIFF")
        estimates = parser.add_mutually_exclusive_group()
        estimates.add_argument(
            "--radiometric", action="store_true", help="correct the bias of mean intensity; costs a little PSNR"
        )
        estimates.add_argument(
            "--despeckled", action="store_true", help="estimate the reflectivity instead of the recorded samples"
        )
        parser.add_argument(
            "--model", type=Path, metavar="FILE", help="weights of the model, if sarlab does not have them"
        )
    parser.add_argument(
        "--workers", type=int, default=0, metavar="N", help="processes (default: all processors for a large scene)"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing OUT")
    parser.add_argument("--json", action="store_true", help="machine-readable output")


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    if args.verb == "info":
        from sarlab.codec.api import describe

        report = describe(args.file)
        print(json.dumps(report, indent=1, ensure_ascii=False) if args.json else _info_text(args.file, report))
        return 0
    started = time.perf_counter()
    if args.verb == "compress":
        report = _compress(args)
    else:
        report = _decompress(args)
    report["seconds"] = round(time.perf_counter() - started, 3)
    if args.json:
        print(json.dumps(report, indent=1, ensure_ascii=False))
    elif args.verb == "compress":
        print(
            f"{args.target}: {report['bytes']} bytes, {report['bpp']:.4g} bits per pixel and band, "
            f"{report['measured_cr']:.3g} times smaller than at {report['native_bits']} bit, quality {report['quality']:g}"
        )
    else:
        print(f"{args.target}: {report['height']}×{report['width']} pixels of {', '.join(report['bands'])}")
    return 0


def _compress(args: argparse.Namespace) -> dict[str, Any]:
    from sarlab.codec.api import DEFAULT_CODEC, compress_file, make_goal

    _different(args)
    return compress_file(
        args.source, args.target, quantity=args.quantity, codec=args.codec or DEFAULT_CODEC,
        goal=make_goal(args.quality, args.bpp, args.psnr), tile=args.tile, workers=args.workers,
        radiometric=args.radiometric, force=args.force,
    )  # fmt: skip


def _decompress(args: argparse.Namespace) -> dict[str, Any]:
    from sarlab.codec.api import decompress_file, describe

    _different(args)
    window = tuple(args.window) if args.window else None
    decompress_file(
        args.source, args.target, window=window, workers=args.workers, cog=args.cog, model=args.model,
        radiometric=args.radiometric, despeckled=args.despeckled, force=args.force,
    )  # fmt: skip
    known = describe(args.source)
    height, width = (args.window[2], args.window[3]) if args.window else (known["height"], known["width"])
    return {
        "file": str(args.target),
        "height": height,
        "width": width,
        "bands": known["bands"],
        "quantity": known["quantity"],
    }


def _different(args: argparse.Namespace) -> None:
    if args.target.exists() and args.source.exists() and args.target.samefile(args.source):
        raise CodecError(f"IN and OUT are the same file, {args.source}; give OUT another name")


def _info_text(file: Path, report: dict[str, Any]) -> str:
    reference = "none" if not report["transform"] else (report["crs"] or "no coordinate system").split(",")[0]
    ranges = report["normalizers"]
    lines = {
        "file": f"{file}, {report['bytes']} bytes (header {report['header_bytes']}, including {report['index_bytes']} for the index of tiles and "
        f"{report['side_bytes']} for side information)",
        "format": f"version {report['format_version']}, {report['written_by']}",
        "model": f"{report['model']} ({report['model_hash']}), quality {report['quality']:g}",
        "size": f"{report['height']}×{report['width']} pixels, {len(report['bands'])} band(s): {', '.join(report['bands'])}",
        "samples": f"{report['quantity']}, {report['dtype']}, nodata {report['nodata']}",
        "rate": f"{report['bpp']:.4g} bits per pixel and band, {report['measured_cr']:.3g} times smaller than at {report['native_bits']} bit",
        "range": "the model's own"
        if ranges is None
        else ", ".join(f"{low:.2f} to {high:.2f} dB" for low, high in ranges),
        "tiles": f"{report['tiles']} of {report['tile']}×{report['tile']}",
        "georeference": reference,
        "tags": ", ".join(report["tags"] or {}) or "none",
    }
    return "\n".join(f"{key:13s} {value}" for key, value in lines.items())
