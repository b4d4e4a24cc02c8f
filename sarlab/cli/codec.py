"""``sarlab compress``, ``decompress``, ``info`` and ``train``: files of the codec, and its models."""

import argparse
import sys
import time
from pathlib import Path

from sarlab.cli import OPTIONS, add_goals, add_options, comma_separated, format_table, show
from sarlab.errors import CodecError, SarlabError
from sarlab.files import check_writable

EXAMPLES = {
    "compress": """\
  sarlab compress scene.tif scene.sarl --bpp 0.5                   half a bit per pixel and band, within 1.2 %
  sarlab compress S1A_IW_GRDH….SAFE s1.sarl --calibrate sigma0     a Sentinel-1 product, calibrated
  sarlab compress slc.tif slc.sarl --drop-phase --psnr 32          the intensity of a complex image
  sarlab compress dn.tif dn.sarl --lossless                        integers, restored exactly
  sarlab compress scene.tif scene.sarl --max-error-db 0.5          no sample is off by more than 0.5 dB

Georeference, nodata, masks, scale, band names and tags are preserved exactly; --check lists them. The quality, 0 to 96, sets
the quantization step: 19 gives a small file, 28 is the default, and at 40 losses are hardly visible. PSNR is that for a peak
of 30 dB; it is about as high as the quality near the default, and 1 to 2 dB lower at high rates.
""",
    "decompress": """\
  sarlab decompress scene.sarl scene.tif
  sarlab decompress scene.sarl part.tif --window 1000 2000 512 512 --cog
  sarlab decompress scene.sarl small.tif --preview 8               an eighth of the resolution, from a small part of the file
""",
    "info": """\
  sarlab info scene.sarl --json
""",
    "train": """\
  sarlab train plan.toml --out mine.safetensors --checkpoint mine.checkpoint --seconds 3000
                             train for 50 minutes; the same command resumes the training
  sarlab compress scene.tif scene.sarl --codec mine.safetensors
  sarlab decompress scene.sarl scene.tif --model mine.safetensors

A plan names its scenes by catalog name or path; relative paths start in the working directory. The result depends on
the plan, the data and the version of PyTorch.
""",
}


def add_compress(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("source", metavar="IN", help="image, product folder, subdataset or address")
    add("target", metavar="OUT", type=Path, nargs="?", help="file to write")
    choices = (*OPTIONS["--quantity"]["choices"], "iq", "amplitude-phase")
    add_options(parser, "--quantity", default="auto", choices=choices)
    add("--check", action="store_true", help="list which properties of IN are preserved, and write nothing")
    add("--bands", type=comma_separated, default=(), metavar="A,B", help="names or numbers of the bands to keep")
    text = "replace amplitudes or intensities below F with F; exact zeros stay (default: refuse negative ones)"
    add("--floor", type=float, metavar="F", help=text)
    add("--calibrate", choices=("sigma0", "gamma0", "beta0"), default="", help="calibrate a Sentinel-1 SAFE product")
    add("--denoise", action="store_true", help="subtract the noise of the product; needs --calibrate")
    add("--drop-phase", action="store_true", help="keep only the intensity of complex samples")
    add("--no-tags", dest="tags", action="store_false", help="omit the tags of the file and its bands")
    add("--allow-remote", action="store_true", help="allow reading from remote addresses")
    add("--allow-external", action="store_true", help="allow a VRT to reference files outside its folder")
    add("--codec", metavar="CODEC", help="lapped (default), factorized, klt8, or a .safetensors file")
    add("--effort", choices=("fast", "default", "best"), default="default",
        help="a trellis of 8, 64 or 256 states; each step takes longer and saves about 1 %%")  # fmt: skip
    goals = add_goals(parser, type=float, metavar="X")
    goals.add_argument("--lossless", action="store_true", help="restore integer samples exactly")
    text = "tile side in pixels: a multiple of 64 up to 1024 (default: 512)"
    add("--tile", type=int, default=512, metavar="N", help=text)
    add("--radiometric", action="store_true", help="store 13 bytes per band so that decompress --radiometric is exact")
    add_options(parser, "--workers", help="threads (default: one per core for a large scene)")
    add_options(parser, "--force", "--json")


def run_compress(args: argparse.Namespace) -> int:
    from sarlab.codec.api import PHASE, compress_file, make_goal

    names = ("bands", "floor", "calibrate", "denoise", "allow_remote", "allow_external")
    reading = {name: getattr(args, name) for name in names}
    if args.check:
        from sarlab.scenes.preservation import check

        report = check(args.source, args.quantity, **reading)
        if not args.drop_phase and any(row["kept"] == "refused" for row in report["properties"]):
            report["refused"] = report["refused"] or f"{args.source}: {PHASE}"
        rows = format_table(report["properties"], "property", "value", "kept", "how") if report["properties"] else ""
        counts = [f"{count} {kind} samples" for kind, count in report["counts"].items()]
        refused = f"refused: {report['refused']}" if report["refused"] else ""
        show(args, report, "\n".join(filter(None, [rows, *counts, refused])))
        return int(bool(refused))
    if args.target is None:
        raise CodecError("give the output file OUT, or --check")
    _check_different(args)
    start = time.perf_counter()
    report = compress_file(
        args.source, args.target, quantity=args.quantity, codec=args.codec or "", effort=args.effort,
        goal=make_goal(args.quality, args.bpp, args.psnr, args.max_error_db, args.lossless), tile=args.tile,
        workers=args.workers, radiometric=args.radiometric, force=args.force, reading=reading, tags=args.tags,
        drop_phase=args.drop_phase,
    )  # fmt: skip
    report["seconds"] = round(time.perf_counter() - start, 3)
    rate = "{bytes} bytes, {bpp:.4g} bits per pixel and band, {measured_cr:.3g} times smaller than at {native_bits} bit"
    return show(args, report, f"{args.target}: {rate.format(**report)}, quality {report['quality']:g}")


def add_decompress(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("source", metavar="IN", type=Path, help="a .sarl file")
    add("target", metavar="OUT", type=Path, help="file to write: .tif, .zarr, or .npy for samples only")
    add("--window", type=int, nargs=4, metavar=("ROW", "COL", "H", "W"), help="decode only this window, in pixels")
    add("--cog", action="store_true", help="write a cloud-optimized GeoTIFF")
    text = "decode an eighth of the resolution, from a small part of the file"
    add("--preview", type=int, choices=(8,), metavar="8", help=text)
    add("--radiometric", action="store_true", help="correct the mean intensity, at a small cost in PSNR")
    add("--model", type=Path, metavar="FILE", help="model weights, if they do not come with sarlab")
    add("--any-size", action="store_true", help="also decode a file that declares far more samples than fit into it")
    add_options(parser, "--workers", help="threads (default: one per core for a large scene)")
    add_options(parser, "--force", "--json")


def run_decompress(args: argparse.Namespace) -> int:
    from sarlab.codec.api import decompress_file, describe

    _check_different(args)
    start = time.perf_counter()
    lost = decompress_file(
        args.source, args.target, window=tuple(args.window) if args.window else None, workers=args.workers,
        cog=args.cog, model=args.model, radiometric=args.radiometric, preview=args.preview or 1,
        force=args.force, any_size=args.any_size,
    )  # fmt: skip
    known = describe(args.source)
    height, width = args.window[2:] if args.window else (known["height"], known["width"])
    height, width = (-(-length // (args.preview or 1)) for length in (height, width))
    report = {"file": str(args.target), "height": height, "width": width, "not_kept": lost}
    report |= {"bands": known["bands"], "quantity": known["quantity"], "seconds": round(time.perf_counter() - start, 3)}
    return show(args, report, f"{args.target}: {height}×{width} pixels of {', '.join(known['bands'])}")


def _check_different(args: argparse.Namespace) -> None:
    if args.target.exists() and Path(args.source).exists() and args.target.samefile(args.source):
        raise CodecError(f"IN and OUT are the same file, {args.source}; give OUT another name")


def add_info(parser: argparse.ArgumentParser) -> None:
    add_options(parser, "--json")
    parser.add_argument("file", metavar="FILE", type=Path, help="a .sarl file")


def run_info(args: argparse.Namespace) -> int:
    from sarlab.codec.api import describe

    report = describe(args.file)
    known = {**report, "count": len(report["bands"]), "names": ", ".join(report["bands"])}
    place = [(report["crs"] or "no coordinate system").split(",")[0] if report["transform"] else ""]
    place += [f"{report['control_points']} control points"] if report["control_points"] else []
    place += ["RPC"] if report["rpc"] else []
    lines = {
        "file": "{bytes} bytes (header {header_bytes}, of which tile index {index_bytes}, side information {side_bytes})",
        "format": "version {format_version}",
        "model": "{model} ({model_hash}), quality {quality:g}",
        "size": "{height}×{width} pixels, {count} band(s): {names}",
        "samples": "{quantity}, {dtype}, nodata {nodata}",
        "rate": "{bpp:.4g} bits per pixel and band, {measured_cr:.3g} times smaller than at {native_bits} bit",
        "tiles": "{tiles} of {tile}×{tile}",
    }
    lines = {name: text.format(**known) for name, text in lines.items()}
    lines["centers"] = ", ".join(f"{center:.2f} dB" for center in report["centers_db"])
    lines["georeference"] = ", ".join(filter(None, place)) or "none"
    lines["tags"] = ", ".join(report["tags"] or {}) or "none"
    return show(args, report, "\n".join([str(args.file), *(f"  {k:13s} {v}" for k, v in lines.items())]))


def add_train(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("plan", type=Path, metavar="PLAN", help="TOML file, such as those in notebooks/plans/codecs")
    add("--out", type=Path, metavar="FILE", help="model file (default: NAME.safetensors, in this folder)")
    add("--allow-missing", action="store_true", help="train without the missing scenes")
    add("--checkpoint", type=Path, metavar="FILE", help="file that an interrupted training resumes from")
    add("--seconds", type=float, help="stop after this many seconds; needs --checkpoint")
    add_options(parser, "--force")
    add("--quiet", action="store_true", help="do not show progress")


def run_train(args: argparse.Namespace) -> int:
    """Train; returns 0 when finished, 3 if the time was up first."""
    from sarlab.codec.api import refuse_existing
    from sarlab.codec.train_codec import load_codec_plan

    plan = load_codec_plan(args.plan)
    target = args.out or Path(f"{plan.name}.safetensors")
    if target.suffix != ".safetensors":
        raise SarlabError(f"{target}: the name of a model file ends in .safetensors")
    if args.seconds is not None and args.checkpoint is None:
        raise SarlabError("--seconds needs --checkpoint; otherwise the training would be lost")
    refuse_existing(target, args.force)
    check_writable(target.parent, "--out")
    if args.checkpoint is not None:
        check_writable(args.checkpoint.parent, "--checkpoint")

    from tqdm import tqdm

    from sarlab.codec.train_codec import train_codec
    from sarlab.models.storage import History

    steps = plan.steps
    with tqdm(total=steps, unit="step", disable=args.quiet or not steps, mininterval=1.0) as bar:

        def report(history: History, steps: int) -> None:
            last = history.validations[-1]
            bar.set_postfix_str(f"loss {last.loss:.4f}", refresh=False)
            bar.update(last.step - bar.n)
            bar.write(f"step {last.step}: validation cost {last.loss:.4f}, best {history.best_step}", file=sys.stderr)

        history = train_codec(
            plan, target, allow_missing=args.allow_missing, checkpoint=args.checkpoint, time_budget=args.seconds,
            progress=None if args.quiet else report,
            say=lambda text: None if args.quiet else bar.write(text, file=sys.stderr),
        )  # fmt: skip
    if history.stopped != "finished":
        print(f"stopped after {history.steps_done} of {steps} steps ({history.stopped}); the same command resumes")
        return 3
    print(target)
    return 0
