"""Finished runs as one file, to carry them from one machine to another.

A pack is a ZIP file whose first member is its table of contents, and which holds nothing that is not in it::

    pack.json                     format, what made it, and bytes and SHA-256 of every other member
    runs/<run_id>/<file>          files of complete runs: manifest, rows, weights, notebook …
    studies/<name>-<hash>.csv     tables of finished studies, each with its .json

Unpacking trusts nothing: names must be of this form, sizes those of the table and below a bound, contents those of the
hashes. Each run arrives as it was written, its manifest last, under its lock.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sarlab.errors import ResultsError
from sarlab.files import replacing
from sarlab.lab import locks
from sarlab.lab.jobs import state_of
from sarlab.lab.results import MANIFEST, environment, file_digest, now, read_manifest

FORMAT = "sarlab-runs-1"
CONTENTS = "pack.json"
#: Largest size of all files of a pack, and of its table of contents, in bytes.
MOST_BYTES, MOST_CONTENTS = 8 << 30, 64 << 20
#: Files of a run that travel, besides those that its manifest names.
BESIDE = ("manifest.json", "notebook.ipynb")
_NAME = re.compile(
    r"runs/[A-Za-z0-9][A-Za-z0-9._-]{0,200}/(figures/)?[A-Za-z0-9][A-Za-z0-9_-]{0,100}\.(json|csv|safetensors|npz|ipynb|png)"
    r"|studies/[A-Za-z0-9][A-Za-z0-9_-]{0,100}-[0-9a-f]{6}\.(json|csv)"
)
_BLOCK = 1 << 20


@dataclass
class Packed:
    """What was packed or unpacked.

    Parameters
    ----------
    runs : list of str
        Ids of runs that were written.
    kept : list of str
        Runs that were there already.
    studies : list of str
        Tables of studies that were written.
    bytes : int
        Of the files, or of the pack.
    """

    runs: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    studies: list[str] = field(default_factory=list)
    bytes: int = 0


def pack(folders: Sequence[Path], out: Path, *, studies: Sequence[Path] = ()) -> Packed:
    """Write complete runs into one file.

    Parameters
    ----------
    folders : sequence of Path
        Of runs; those that are not complete are left out.
    out : Path
        The pack; an existing one is replaced.
    studies : sequence of Path
        Tables (``.csv``) of studies, with their ``.json`` beside them.

    Raises
    ------
    ResultsError
        If nothing is complete, or a file of a run does not match its manifest.
    """
    done = Packed()
    members: dict[str, Path] = {}
    for folder in folders:
        if state_of(folder) == "complete":
            members |= {f"runs/{folder.name}/{path.relative_to(folder).as_posix()}": path for path in _files(folder)}
            done.runs.append(folder.name)
    for study in studies:
        if study.with_suffix(".json").is_file():
            members |= {f"studies/{path.name}": path for path in (study, study.with_suffix(".json"))}
            done.studies.append(study.stem)
    if not members:
        raise ResultsError("there is no complete run to pack; 'sarlab status' says where they stand")
    wrong = next((name for name in members if not _NAME.fullmatch(name)), None)
    if wrong:
        raise ResultsError(f"{members[wrong]}: this name cannot travel; use letters, digits, '-', '_' and '.'")
    table = {name: {"bytes": path.stat().st_size, "sha256": file_digest(path)} for name, path in members.items()}
    about = {"format": FORMAT, "packed": now(), "by": environment(), "files": table}
    with replacing(out) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr(zipfile.ZipInfo(CONTENTS), json.dumps(about, indent=1, sort_keys=True))
            for name, path in members.items():
                # A fixed date: the same runs give the same members.
                archive.writestr(zipfile.ZipInfo(name), path.read_bytes(), zipfile.ZIP_DEFLATED, 1)
        done.bytes = temporary.stat().st_size
    return done


def _files(folder: Path) -> Iterator[Path]:
    """Files of a complete run that travel, the manifest last."""
    named = (read_manifest(folder) or {}).get("files", {})
    for name, entry in sorted(named.items()):
        if file_digest(folder / name) != entry["sha256"]:
            raise ResultsError(f"{folder / name} is not what its manifest says; delete it and run the plan again")
        yield folder / name
    yield from sorted((folder / "figures").glob("*.png"))
    yield from (folder / name for name in reversed(BESIDE) if (folder / name).is_file())


def unpack(path: Path, runs: Path, *, most_bytes: int = MOST_BYTES) -> Packed:
    """Add the runs of a pack to a folder of runs; runs that are complete there stay as they are.

    Parameters
    ----------
    path : Path
        The pack.
    runs : Path
        Folder of runs.
    most_bytes : int
        Refuse packs whose files are larger together.

    Raises
    ------
    ResultsError
        If the file is no pack, is damaged, is too large, or names what no pack may name. Nothing is written outside of
        `runs`, and no run is left half-written.
    """
    done = Packed()
    try:
        with zipfile.ZipFile(path) as archive:
            table = _contents(archive, path, most_bytes)
            groups: dict[str, list[str]] = {}
            for name in table:
                groups.setdefault(name.rpartition("/figures/")[0] or name.rpartition("/")[0], []).append(name)
            for place, names in sorted(groups.items()):
                if place == "studies":
                    # The JSON, written last, marks a table as complete.
                    for name in sorted(names, key=lambda name: name.endswith(".json")):
                        _extract(archive, name, table[name], runs / name, path)
                    done.studies = sorted({Path(name).stem for name in names})
                else:
                    _unpack_run(archive, names, table, runs / place.partition("/")[2], path, done)
                done.bytes += sum(table[name]["bytes"] for name in names)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, UnicodeDecodeError) as error:
        raise ResultsError(f"{path}: damaged, or no pack of runs ({error})") from None
    except FileNotFoundError as error:
        raise ResultsError(f"no file {error.filename or path}") from None
    except OSError as error:
        # A directory that points before the beginning of the file; whatever else fails, a full disk for one, is no damage.
        if error.errno == errno.EINVAL:
            raise ResultsError(f"{path}: damaged, or no pack of runs ({error})") from None
        raise
    return done


def _unpack_run(
    archive: zipfile.ZipFile, names: list[str], table: dict[str, Any], folder: Path, path: Path, done: Packed
) -> None:
    run_id = folder.name
    manifest_name = f"runs/{run_id}/{MANIFEST}"
    if manifest_name not in names:
        raise ResultsError(f"{path}: run {run_id} has no manifest")
    try:
        manifest = json.loads(b"".join(_read(archive, manifest_name, table[manifest_name], path)))
        digests = {name: entry["sha256"] for name, entry in manifest["files"].items()}
        wanted, owner = str(manifest["hash"]), manifest["run_id"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ResultsError(f"{path}: the manifest of run {run_id} is damaged") from None
    for name, digest in digests.items():
        if table.get(f"runs/{run_id}/{name}", {}).get("sha256") != digest:
            raise ResultsError(f"{path}: {name} of run {run_id} is not the file that its manifest names")
    if not digests or owner != run_id:
        raise ResultsError(f"{path}: the manifest of run {run_id} belongs to another run")
    with locks.hold(folder / ".lock"):
        if state_of(folder, wanted) == "complete":
            done.kept.append(run_id)
            return
        (folder / MANIFEST).unlink(missing_ok=True)
        for name in sorted(names, key=lambda name: name == manifest_name):
            _extract(archive, name, table[name], folder / name.removeprefix(f"runs/{run_id}/"), path)
    done.runs.append(run_id)


def _contents(archive: zipfile.ZipFile, path: Path, most_bytes: int) -> dict[str, dict[str, Any]]:
    """Table of contents, checked against the members."""
    infos = {info.filename: info for info in archive.infolist()}
    if CONTENTS not in infos or infos[CONTENTS].file_size > MOST_CONTENTS:
        raise ResultsError(f"{path}: no pack of runs; 'sarlab runs pack' makes one")
    with archive.open(CONTENTS) as stream:
        text = stream.read(MOST_CONTENTS + 1)
    try:
        about = json.loads(text)
        table = about["files"]
        sizes = {name: int(entry["bytes"]) for name, entry in table.items()}
        digests = [str(entry["sha256"]) for entry in table.values()]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ResultsError(f"{path}: its table of contents is damaged") from None
    if about.get("format") != FORMAT:
        raise ResultsError(f"{path}: a pack of format {about.get('format')!r}; this sarlab reads {FORMAT}")
    strange = next((name for name in table if not _NAME.fullmatch(name)), None)
    if strange is not None:
        raise ResultsError(f"{path}: names a file that no pack may hold: {strange!r}")
    if set(infos) != {*table, CONTENTS} or len(archive.infolist()) != len(infos):
        raise ResultsError(f"{path}: holds other files than its table of contents names")
    if any(size < 0 or infos[name].file_size != size for name, size in sizes.items()) or not all(digests):
        raise ResultsError(f"{path}: sizes differ from its table of contents")
    if sum(sizes.values()) > most_bytes:
        raise ResultsError(
            f"{path}: {sum(sizes.values()) / 1e9:.1f} GB of files, more than {most_bytes / 1e9:.1f}; raise --most-gb"
        )
    # ZIP keeps Unix modes in the upper bits; a link would be written as a file, but no pack has one.
    if any((info.external_attr >> 16) & 0o170000 == 0o120000 for info in infos.values()):
        raise ResultsError(f"{path}: holds a link")
    return table


def _read(archive: zipfile.ZipFile, name: str, entry: dict[str, Any], path: Path) -> Iterator[bytes]:
    """Content of a member in blocks, never more than its stated size; its hash is checked at the end."""
    digest, left = hashlib.sha256(), int(entry["bytes"])
    with archive.open(name) as stream:
        while block := stream.read(min(_BLOCK, left + 1)):
            left -= len(block)
            if left < 0:
                break
            digest.update(block)
            yield block
    if left or digest.hexdigest() != entry["sha256"]:
        raise ResultsError(f"{path}: {name} is damaged: its content has another hash than the pack states")


def _extract(archive: zipfile.ZipFile, name: str, entry: dict[str, Any], target: Path, path: Path) -> None:
    with replacing(target) as temporary, temporary.open("wb") as stream:
        for block in _read(archive, name, entry, path):
            stream.write(block)
