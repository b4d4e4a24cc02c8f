"""``sarlab scenes``, ``fetch``, ``codecs`` and ``doctor``: scenes, codecs and libraries on this machine."""

import argparse
import sys
from typing import Any

from sarlab._version import __version__
from sarlab.cli import add_options, format_table, show
from sarlab.errors import SceneError
from sarlab.specs import SceneSpec

EXAMPLES = {
    "scenes": """\
  sarlab scenes show bigearthnet
  sarlab scenes show my_scene.tif --quantity db
  sarlab scenes files sentinel1-all
""",
    "fetch": """\
  sarlab fetch sen1floods11

Files are verified by hash and kept in the cache folder (set SARLAB_CACHE to change it).
""",
    "codecs": """\
  sarlab codecs hevc12

Higher quality means a better image. Error-bounded codecs keep the error of every sample within 10^(-quality/20) dB.
""",
    "doctor": """\
  sarlab doctor

Exit status 1 means that a required part is missing.
""",
}


def add_scenes(parser: argparse.ArgumentParser) -> None:
    add_options(parser, "--json")
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    show = actions.add_parser("show", help="show scenes, split, clip ranges and license of a source")
    show.add_argument("name", metavar="NAME", help="catalog name, NAME:FOLDER of a collection, file or folder")
    add_options(show, "--quantity", default="auto")
    show.add_argument("--allow-missing", action="store_true", help="skip scenes whose files are missing")
    files = actions.add_parser("files", help="list the files of a collection and mark missing ones")
    files.add_argument("name", metavar="NAME", help="collection, NAME:FOLDER (default: SARLAB_DATA) or .toml file")
    for action in (show, files):
        add_options(action, "--json", default=argparse.SUPPRESS)


def run_scenes(args: argparse.Namespace) -> int:
    if args.action == "show":
        report = describe(args.name, args.quantity, args.allow_missing)
        rows = [{**scene, "size": f"{scene['height']}×{scene['width']}"} for scene in report["scenes"]]
        shown = ["role", "name", "place", "size", "bands", "looks", "duplicate_share", "valid_share", "excluded"]
        lines = [report["name"], "", report["note"], "", format_table(rows, *shown), ""]
        lines += [f"clip range {band}: {low:.2f} to {high:.2f} dB" for band, (low, high) in report["clip_db"].items()]
        lines += [f"{name}: {report[name]}" for name in ("license", "credit", "digest") if report[name]]
        return show(args, report, "\n".join(lines))
    if args.action == "files":
        rows = collection_rows(args.name)
        shown = ["role", "name", "place", "pass", "land_cover", "mode", "license", "missing"]
        total = f"{sum(row['present'] for row in rows)} of {len(rows)} scenes are present."
        return show(args, rows, f"{format_table(rows, *shown)}\n\n{total}")
    rows = catalog_rows()
    shown = ["name", "kind", "looks", "pixels", "bands", "split", "duplicate_share", "available"]
    lines = [format_table(rows, *shown), "", "split: scenes for training/validation/test/independent test"]
    lines += ["duplicate_share: largest share of pixels that equal their left neighbor", ""]
    for row in (row for row in rows if row["kind"] != "simulated"):
        counted = f" {row['places']} places, {row['passes']} passes." if row["places"] else ""
        lines.append(f"{row['name']}: {row['title']}.{counted} License: {row['license']}. Credit: {row['credit']}.")
    lines.append("simulated-*: gamma speckle over a known reflectivity, drawn by this package.")
    lines.append("Your own file or folder is a source too: 'sarlab scenes show PATH'.")
    return show(args, rows, "\n".join(lines))


def _fields(item: Any, *names: str) -> dict[str, Any]:
    return {name: getattr(item, name) for name in names}


def catalog_rows() -> list[dict[str, Any]]:
    """Return a row per source of the catalog; numbers are None for sources that are not available."""
    from sarlab.scenes.catalog import available, catalog_entries, find_collection, load_split
    from sarlab.scenes.splits import ROLES, scene_duplicate_share

    rows = []
    for name in catalog_entries:
        entry = catalog_entries[name]
        row = {"name": name, **_fields(entry, "kind", "title", "looks", "license", "credit")}
        row["at_hand"] = available(name)
        row |= dict.fromkeys(("scenes", "pixels", "bands", "split", "duplicate_share", "places", "passes", "files"))
        row |= {"files_present": None, "available": "yes" if row["at_hand"] else f"sarlab fetch {name}"}
        if found := find_collection(name):
            row["places"] = len({record.place for record in found.records})
            row["passes"] = len({record.acquisition for record in found.records})
            row["files"], row["files_present"] = len(found.files), len(found.files) - len(found.missing)
            if found.missing:
                row["available"] = f"{row['files_present']} of {row['files']} files (SARLAB_DATA)"
        if row["at_hand"]:
            split = load_split(SceneSpec(name))
            scenes = [scene for _, scene in split.roles() if scene.valid.any()]
            row["scenes"] = len(scenes)
            row["pixels"] = sum(scene.shape[1] * scene.shape[2] for scene in scenes)
            row["bands"] = sorted({band for scene in scenes for band in scene.bands}, reverse=True)
            row["split"] = {role: len(getattr(split, role)) for role in ROLES}
            row["duplicate_share"] = round(max(map(scene_duplicate_share, scenes)), 4)
        rows.append(row)
    return rows


def collection_rows(name: str) -> list[dict[str, Any]]:
    """Return a row per scene of a collection, whether its files are present or not."""
    from sarlab.scenes.catalog import catalog_entries, find_collection

    collection = find_collection(name)
    if collection is None:
        known = filter(find_collection, catalog_entries)
        raise SceneError(f"'{name}' is not a collection; known: {', '.join(known)}, or the path of a .toml file")
    rows = []
    for record in collection.records:
        row = _fields(record, "role", "name", "place", "land_cover", "mode", "looks", "license", "credit", "note")
        row |= {"pass": record.acquisition, "files": list(map(str, record.files)), "present": not record.missing}
        rows.append({**row, "missing": list(map(str, record.missing))})
    return rows


def describe(name: str, quantity: str = "auto", allow_missing: bool = False) -> dict[str, Any]:
    """Describe a source: its scenes, split, clip ranges, credits and digest."""
    from sarlab.scenes.catalog import catalog_entries, load_split
    from sarlab.scenes.splits import scene_duplicate_share

    split = load_split(SceneSpec(name, quantity, allow_missing))
    about = ("name", "bands", "looks", "acquisition", "place", "land_cover", "mode", "license", "simulated")
    scenes = []
    for role, scene in split.roles():
        share = scene_duplicate_share(scene)
        row = {"role": role, **_fields(scene, *about), "height": scene.shape[1], "width": scene.shape[2]}
        row |= {"native_bits": scene.native_bits, "valid_share": round(float(scene.valid.mean()), 4)}
        row |= {"duplicate_share": round(share, 4) if share == share else None, "excluded": split.reason(scene.name)}
        scenes.append(row)
    return {
        "name": name, "note": split.note, "digest": split.digest, "scenes": scenes,
        "excluded": [list(pair) for pair in split.excluded],
        "clip_db": {band: [n.low, n.high] for band, n in split.normalizers.items()},
        "license": catalog_entries[name].license if name in catalog_entries else "",
        "credit": "; ".join(sorted({scene.credit for _, scene in split.roles() if scene.credit})),
    }  # fmt: skip


def add_fetch(parser: argparse.ArgumentParser) -> None:
    from sarlab.scenes.catalog import DOWNLOADS

    parser.add_argument("names", nargs="+", metavar="NAME", help=f"{', '.join(DOWNLOADS)}, or all")


def run_fetch(args: argparse.Namespace) -> int:
    from sarlab.scenes.catalog import DOWNLOADS

    names = list(DOWNLOADS) if "all" in args.names else args.names
    if unknown := [name for name in names if name not in DOWNLOADS]:
        raise SceneError(f"no download named '{unknown[0]}'; known: {', '.join(DOWNLOADS)}, all")
    for entry, file in [(DOWNLOADS[name], file) for name in names for file in DOWNLOADS[name].files]:
        print(entry.fetch(file, progress=sys.stderr.isatty()))
    return 0


def add_codecs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="CODEC", help="codecs to show in full (default: a summary of all)")
    add_options(parser, "--json")


def run_codecs(args: argparse.Namespace) -> int:
    from sarlab.peers import codec_table

    rows = codec_table(args.names)
    if args.names:
        text = "\n\n".join("\n".join(f"{key:14s} {value}" for key, value in row.items()) for row in rows)
    else:
        text = format_table(rows, "name", "family", "bits", "kind", "quality_low", "quality_high", "version", "reason")
    return show(args, rows, text)


def add_doctor(parser: argparse.ArgumentParser) -> None:
    add_options(parser, "--json")


def run_doctor(args: argparse.Namespace) -> int:
    from sarlab.lab.machine import diagnose

    rows = [finding._asdict() for finding in diagnose()]
    wrong = [row["name"] for row in rows if not row["ok"]]
    lines = [f"sarlab {__version__}", "", format_table(rows, "topic", "name", "state", "advice"), ""]
    lines.append(f"problems: {', '.join(wrong)}" if wrong else "no problems found")
    show(args, {"sarlab": __version__, "findings": rows}, "\n".join(lines))
    return int(bool(wrong))
