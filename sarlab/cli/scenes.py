"""``sarlab scenes`` and ``sarlab fetch``: what there is to compress, and how to get more."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from sarlab.errors import SceneError
from sarlab.specs import SceneSpec

_QUANTITIES = ("auto", "complex", "amplitude", "intensity", "db")

_SCENES_EPILOG = """\
examples:
  sarlab scenes                                  list the catalog
  sarlab scenes show bigearthnet                 what a source holds, and how it is split
  sarlab scenes show my_scene.tif --quantity db  the same for a file or folder of yours
  sarlab scenes pack scenes.npz bigearthnet simulated-l4.4
                                                 carry splits to a machine without GeoTIFF libraries; there the source
                                                 is called scenes.npz#bigearthnet (scenes.npz where it holds just one)
"""
_FETCH_EPILOG = """\
examples:
  sarlab fetch sen1floods11      eight Sentinel-1 chips, 13 MB
  sarlab fetch all               everything that can be fetched
Files are kept in the cache folder (SARLAB_CACHE sets another), checked by hash, and resumed where a transfer broke off.
"""


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Arguments of either verb."""
    if verb == "fetch":
        from sarlab.scenes.downloads import SOURCES

        parser.epilog = _FETCH_EPILOG
        parser.add_argument("names", nargs="+", metavar="NAME", help=f"{', '.join(SOURCES)}, or all")
        parser.add_argument("--quiet", action="store_true", help="no progress bar")
        return
    parser.epilog = _SCENES_EPILOG
    parser.add_argument("--json", action="store_true", help="machine-readable output")
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    show = actions.add_parser("show", help="scenes, split, clip ranges and licence of one source")
    show.add_argument("name", metavar="NAME", help="name of the catalog, file, folder or pack")
    pack = actions.add_parser("pack", help="write splits into one file for another machine")
    pack.add_argument("out", metavar="OUT.npz", type=Path)
    pack.add_argument("sources", metavar="SOURCE", nargs="+", help="name of the catalog, file, folder or pack")
    for child in (show, pack):
        child.add_argument("--quantity", choices=_QUANTITIES, default="auto", help="what the samples of a file are")
        child.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="machine-readable output")


def run(args: argparse.Namespace) -> int:
    """Run either verb."""
    if args.verb == "fetch":
        return _fetch(args)
    if args.action == "show":
        report = describe(args.name, args.quantity)
        print(json.dumps(report, indent=1, ensure_ascii=False) if args.json else _show_text(report))
    elif args.action == "pack":
        _pack(args)
    else:
        rows = catalog_rows()
        print(json.dumps(rows, indent=1, ensure_ascii=False) if args.json else _list_text(rows))
    return 0


def catalog_rows() -> list[dict[str, Any]]:
    """One row a source of the catalog; numbers are None where a source is not at hand."""
    from sarlab.scenes.catalog import catalog_entries
    from sarlab.scenes.splits import ROLES, scene_duplicate_share

    rows = []
    for name in catalog_entries:
        entry = catalog_entries[name]
        row: dict[str, Any] = {
            "name": name, "kind": entry.kind, "title": entry.title, "looks": entry.looks, "license": entry.license,
            "credit": entry.credit, "at_hand": entry.at_hand(), "scenes": None, "pixels": None, "bands": None,
            "split": None, "duplicate_share": None,
        }  # fmt: skip
        if row["at_hand"]:
            split = entry.split("auto")
            scenes = [scene for _, scene in split.roles() if scene.valid.any()]
            row["scenes"] = len(scenes)
            row["pixels"] = sum(scene.shape[1] * scene.shape[2] for scene in scenes)
            row["bands"] = sorted({band for scene in scenes for band in scene.bands}, reverse=True)
            row["split"] = {role: len(getattr(split, role)) for role in ROLES}
            row["duplicate_share"] = round(max(scene_duplicate_share(scene) for scene in scenes), 4)
        rows.append(row)
    return rows


def _list_text(rows: list[dict[str, Any]]) -> str:
    table = [("name", "kind", "looks", "size", "train/val/test/indep.", "copies", "at hand")]
    for row in rows:
        split = "/".join(str(n) for n in row["split"].values()) if row["split"] else "–"
        size = f"{row['pixels'] / 1e6:.2f} Mpx {'+'.join(row['bands'])}" if row["pixels"] else "–"
        copies = f"{100 * row['duplicate_share']:.1f} %" if row["duplicate_share"] is not None else "–"
        looks = f"{row['looks']:g}" if row["looks"] else "–"
        hand = "yes" if row["at_hand"] else f"sarlab fetch {row['name']}"
        table.append((row["name"], row["kind"], looks, size, split, copies, hand))
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table]
    notes = ["", "copies: largest share of pixels that equal their left neighbor.", ""]
    for row in rows:
        if row["kind"] != "simulated":
            notes.append(f"{row['name']}: {row['title']}. {row['license']}. Credit: {row['credit']}.")
    notes.append("simulated-*: gamma speckle over a known reflectivity, made by this package.")
    notes.append("Any file or folder of yours is a source too: 'sarlab scenes show PATH'.")
    return "\n".join([*lines, *notes])


def describe(name: str, quantity: str = "auto") -> dict[str, Any]:
    """A source in detail: its scenes, split, clip ranges, credits and digest."""
    from sarlab.scenes.catalog import catalog_entries, load_split
    from sarlab.scenes.splits import scene_duplicate_share

    split = load_split(SceneSpec(name, quantity))
    scenes = []
    for role, scene in split.roles():
        share = scene_duplicate_share(scene)
        scenes.append(
            {
                "role": role, "name": scene.name, "bands": list(scene.bands), "height": scene.shape[1],
                "width": scene.shape[2], "looks": scene.looks, "acquisition": scene.acquisition,
                "native_bits": scene.native_bits, "simulated": scene.simulated,
                "valid_share": round(float(scene.valid.mean()), 4), "duplicate_share": round(share, 4) if share == share else None,
                "excluded": split.reason(scene.name),
            }
        )  # fmt: skip
    license_name = ""
    if name in catalog_entries:
        license_name = catalog_entries[name].license
    credits = sorted({scene.credit for _, scene in split.roles() if scene.credit})
    return {
        "name": name, "note": split.note, "digest": split.digest, "scenes": scenes,
        "excluded": [list(pair) for pair in split.excluded],
        "clip_db": {band: [n.low, n.high] for band, n in split.normalizers.items()},
        "license": license_name, "credit": "; ".join(credits),
    }  # fmt: skip


def _show_text(report: dict[str, Any]) -> str:
    lines = [report["name"], "", report["note"], ""]
    for s in report["scenes"]:
        copies = (
            f"{100 * s['duplicate_share']:.1f} % copies" if s["duplicate_share"] is not None else "no copies counted"
        )
        looks = f"{s['looks']:g} looks" if s["looks"] else "looks unknown"
        excluded = f", NaN rows: {s['excluded']}" if s["excluded"] else ""
        lines.append(
            f"{s['role']:<11}  {s['name']}: {s['height']}×{s['width']} {'+'.join(s['bands'])}, {looks}, {copies}, "
            f"{100 * s['valid_share']:.1f} % valid{excluded}"
        )
    lines.append("")
    lines += [f"clip range {band}: {low:.2f} to {high:.2f} dB" for band, (low, high) in report["clip_db"].items()]
    lines += [f"license: {report['license']}"] if report["license"] else []
    lines += [f"credit: {report['credit']}"] if report["credit"] else []
    lines.append(f"digest: {report['digest']}")
    return "\n".join(lines)


def _pack(args: argparse.Namespace) -> None:
    from sarlab.scenes.catalog import load_split
    from sarlab.scenes.packs import save_pack

    splits: dict[str, Any] = {}
    for source in args.sources:
        inside = source.partition("#")[2]
        name = inside or (
            Path(source).name.rpartition(".")[0] or Path(source).name if Path(source).exists() else source
        )
        if name in splits:
            raise SceneError(f"two sources would be called '{name}' in {args.out}; pack them into two files")
        splits[name] = load_split(SceneSpec(source, args.quantity))
    save_pack(args.out, splits)
    names = [f"{args.out}#{name}" if len(splits) > 1 else str(args.out) for name in splits]
    if args.json:
        digests = {name: split.digest for name, split in splits.items()}
        print(json.dumps({"path": str(args.out), "bytes": args.out.stat().st_size, "digests": digests}, indent=1))
    else:
        print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB; use it as {', '.join(names)}")


def _fetch(args: argparse.Namespace) -> int:
    from sarlab.scenes.downloads import SOURCES
    from sarlab.scenes.fetch import fetch

    names = list(SOURCES) if "all" in args.names else args.names
    unknown = [name for name in names if name not in SOURCES]
    if unknown:
        raise SceneError(f"nothing to fetch by the name '{unknown[0]}'; known: {', '.join(SOURCES)}, all")
    failed: list[SceneError] = []
    for name in names:
        source = SOURCES[name]
        for file in source.files:
            try:
                path = fetch(file, source.folder, progress=not args.quiet)
            except SceneError as error:
                # One file that has moved must not keep the others away; a network that is not there does.
                failed.append(error)
                if str(error).startswith("cannot reach"):
                    raise
                print(f"sarlab: {error}", file=sys.stderr)
                continue
            print(path)
    if failed:
        raise SceneError(f"{len(failed)} of the files could not be fetched; the others are kept")
    return 0
