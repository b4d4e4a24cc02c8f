"""``sarlab scenes`` and ``sarlab fetch``: list, show and download scenes."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from sarlab.errors import SceneError
from sarlab.specs import SceneSpec

_QUANTITIES = ("auto", "complex", "amplitude", "intensity", "db")

_SCENES_EPILOG = """\
examples:
  sarlab scenes                                  list the catalog
  sarlab scenes show sentinel1                   scenes and split of a source
  sarlab scenes files sentinel1-all              files of a collection, and which are missing
  sarlab scenes show my_scene.tif --quantity db  the same for your own file or folder
"""
_FETCH_EPILOG = """\
examples:
  sarlab fetch sen1floods11      eight Sentinel-1 chips, 13 MB
  sarlab fetch all               everything that can be downloaded
Files are checked by hash and kept in the cache folder (set SARLAB_CACHE to use another).
"""


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add the arguments of either verb."""
    if verb == "fetch":
        from sarlab.scenes.catalog import downloads

        parser.epilog = _FETCH_EPILOG
        parser.add_argument("names", nargs="+", metavar="NAME", help=f"{', '.join(downloads())}, or all")
        parser.add_argument("--quiet", action="store_true", help="no progress bar")
        return
    parser.epilog = _SCENES_EPILOG
    parser.add_argument("--json", action="store_true", help="machine-readable output")
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    show = actions.add_parser("show", help="scenes, split, clip ranges and license of a source")
    show.add_argument("name", metavar="NAME", help="name in the catalog, NAME:FOLDER of a collection, file or folder")
    show.add_argument("--quantity", choices=_QUANTITIES, default="auto", help="unit of the samples of a file")
    show.add_argument(
        "--allow-missing", action="store_true", help="leave out scenes of a collection without their files"
    )
    files = actions.add_parser("files", help="files of a collection, and which are missing")
    files.add_argument("name", metavar="NAME", help="collection, NAME:FOLDER (default: SARLAB_DATA) or .toml file")
    for action in (show, files):
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="machine-readable output")


def run(args: argparse.Namespace) -> int:
    """Run either verb."""
    if args.verb == "fetch":
        return _fetch(args)
    if args.action == "show":
        report = describe(args.name, args.quantity, args.allow_missing)
        print(json.dumps(report, indent=1, ensure_ascii=False) if args.json else _show_text(report))
    elif args.action == "files":
        rows = collection_rows(args.name)
        print(json.dumps(rows, indent=1, ensure_ascii=False) if args.json else _files_text(rows))
    else:
        rows = catalog_rows()
        print(json.dumps(rows, indent=1, ensure_ascii=False) if args.json else _list_text(rows))
    return 0


def catalog_rows() -> list[dict[str, Any]]:
    """Return a row per source of the catalog; numbers are None for sources that are not available."""
    from sarlab.scenes.catalog import CollectionEntry, catalog_entries
    from sarlab.scenes.splits import ROLES, scene_duplicate_share

    rows = []
    for name in catalog_entries:
        entry = catalog_entries[name]
        row: dict[str, Any] = {
            "name": name, "kind": entry.kind, "title": entry.title, "looks": entry.looks, "license": entry.license,
            "credit": entry.credit, "at_hand": entry.available(), "scenes": None, "pixels": None, "bands": None,
            "split": None, "duplicate_share": None, "places": None, "passes": None, "files": None, "files_present": None,
        }  # fmt: skip
        if isinstance(entry, CollectionEntry):
            found = entry.collection()
            row["places"] = len({record.place for record in found.records})
            row["passes"] = len({record.acquisition for record in found.records})
            row["files"], row["files_present"] = len(found.files), len(found.files) - len(found.missing)
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
    table = [("name", "kind", "looks", "size", "train/val/test/indep.", "copies", "available")]
    for row in rows:
        split = "/".join(str(n) for n in row["split"].values()) if row["split"] else "–"
        size = f"{row['pixels'] / 1e6:.2f} Mpx {'+'.join(row['bands'])}" if row["pixels"] else "–"
        copies = f"{100 * row['duplicate_share']:.1f} %" if row["duplicate_share"] is not None else "–"
        looks = f"{row['looks']:g}" if row["looks"] else "–"
        if row["at_hand"]:
            available = "yes"
        elif row["files"]:
            available = f"{row['files_present']} of {row['files']} files (SARLAB_DATA)"
        else:
            available = f"sarlab fetch {row['name']}"
        table.append((row["name"], row["kind"], looks, size, split, copies, available))
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table]
    notes = ["", "copies: largest share of pixels that equal their left neighbor.", ""]
    for row in rows:
        if row["kind"] != "simulated":
            counted = f" {row['places']} places, {row['passes']} passes." if row["places"] else ""
            notes.append(f"{row['name']}: {row['title']}.{counted} License: {row['license']}. Credit: {row['credit']}.")
    notes.append("simulated-*: gamma speckle over a known reflectivity, drawn by this package.")
    notes.append("Your own file or folder is a source too: 'sarlab scenes show PATH'.")
    return "\n".join([*lines, *notes])


def collection_rows(name: str) -> list[dict[str, Any]]:
    """Return a row per scene of a collection, whether its files are present or not."""
    from sarlab.scenes.catalog import CollectionEntry, catalog_entries, find_collection

    collection = find_collection(name)
    if collection is None:
        known = [other for other in catalog_entries if isinstance(catalog_entries[other], CollectionEntry)]
        raise SceneError(f"'{name}' is no collection; known: {', '.join(known)}, or the path of a .toml file")
    return [
        {
            "role": record.role, "name": record.name, "place": record.place, "pass": record.acquisition,
            "land_cover": record.land_cover, "mode": record.mode, "looks": record.looks, "license": record.license,
            "credit": record.credit, "note": record.note, "files": [str(file) for file in record.files],
            "present": not record.missing,
        }
        for record in collection.records
    ]  # fmt: skip


def _files_text(rows: list[dict[str, Any]]) -> str:
    lines = [
        f"{row['role']:<11}  {row['name']}: {row['place']}, {row['pass']}, {row['land_cover']}, {row['mode']}, "
        f"{row['license']}{', MISSING: ' + ', '.join(row['files']) if not row['present'] else ''}"
        for row in rows
    ]
    present = sum(row["present"] for row in rows)
    return "\n".join([*lines, "", f"{present} of {len(rows)} scenes are present."])


def describe(name: str, quantity: str = "auto", allow_missing: bool = False) -> dict[str, Any]:
    """Describe a source: its scenes, split, clip ranges, credits and digest."""
    from sarlab.scenes.catalog import catalog_entries, load_split
    from sarlab.scenes.splits import scene_duplicate_share

    split = load_split(SceneSpec(name, quantity, allow_missing))
    scenes = []
    for role, scene in split.roles():
        share = scene_duplicate_share(scene)
        scenes.append(
            {
                "role": role, "name": scene.name, "bands": list(scene.bands), "height": scene.shape[1],
                "width": scene.shape[2], "looks": scene.looks, "acquisition": scene.acquisition, "place": scene.place,
                "land_cover": scene.land_cover, "mode": scene.mode, "license": scene.license,
                "native_bits": scene.native_bits, "simulated": scene.simulated,
                "valid_share": round(float(scene.valid.mean()), 4), "duplicate_share": round(share, 4) if share == share else None,
                "excluded": split.reason(scene.name),
            }
        )  # fmt: skip
    credits = sorted({scene.credit for _, scene in split.roles() if scene.credit})
    return {
        "name": name, "note": split.note, "digest": split.digest, "scenes": scenes,
        "excluded": [list(pair) for pair in split.excluded],
        "clip_db": {band: [n.low, n.high] for band, n in split.normalizers.items()},
        "license": catalog_entries[name].license if name in catalog_entries else "", "credit": "; ".join(credits),
    }  # fmt: skip


def _show_text(report: dict[str, Any]) -> str:
    lines = [report["name"], "", report["note"], ""]
    for s in report["scenes"]:
        copies = f"{100 * s['duplicate_share']:.1f} % copies" if s["duplicate_share"] is not None else "copies unknown"
        looks = f"{s['looks']:g} looks" if s["looks"] else "looks unknown"
        excluded = f", NaN rows: {s['excluded']}" if s["excluded"] else ""
        placed = f"{s['place']}, {s['land_cover']}, {s['acquisition']}, " if s["place"] else ""
        lines.append(
            f"{s['role']:<11}  {s['name']}: {placed}{s['height']}×{s['width']} {'+'.join(s['bands'])}, {looks}, {copies}, "
            f"{100 * s['valid_share']:.1f} % valid{excluded}"
        )
    lines.append("")
    lines += [f"clip range {band}: {low:.2f} to {high:.2f} dB" for band, (low, high) in report["clip_db"].items()]
    lines += [f"license: {report['license']}"] if report["license"] else []
    lines += [f"credit: {report['credit']}"] if report["credit"] else []
    lines.append(f"digest: {report['digest']}")
    return "\n".join(lines)


def _fetch(args: argparse.Namespace) -> int:
    from sarlab.scenes.catalog import NoNetworkError, downloads

    known = downloads()
    names = list(known) if "all" in args.names else args.names
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SceneError(f"no download named '{unknown[0]}'; known: {', '.join(known)}, all")
    failed = 0
    for name in names:
        for file in known[name].files:
            try:
                print(known[name].fetch(file, progress=not args.quiet and sys.stderr.isatty()))
            except NoNetworkError:
                raise
            except SceneError as error:
                # The other files may still be there.
                print(f"sarlab: {error}", file=sys.stderr)
                failed += 1
    if failed:
        raise SceneError(f"{failed} of the files could not be downloaded; the others are in the cache")
    return 0
