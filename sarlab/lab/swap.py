"""Rewrite parts of a folder as a whole: work on a copy of them, which takes their place only when all went well."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path


@contextlib.contextmanager
def rewritten(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Copy files and folders of `folder`, let the block change the copies, and exchange them for the originals.

    An error in the block leaves the originals untouched; one while they are exchanged brings them back. The exchange
    itself is a handful of renamings; should the process be killed between two of them, the next one brings the originals
    back before it begins.

    Parameters
    ----------
    folder : Path
        Exists, or is made if all goes well.
    names : sequence of str
        Files and folders in it; those that are missing may be made by the block.

    Yields
    ------
    Path
        A folder with the copies, on the same file system.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    _recover(folder, names)
    try:
        with (
            tempfile.TemporaryDirectory(prefix=f".new-{os.getpid()}-", dir=folder) as new,
            tempfile.TemporaryDirectory(prefix=f".old-{os.getpid()}-", dir=folder) as old,
        ):
            for name in names:
                source = folder / name
                if source.is_dir():
                    shutil.copytree(source, Path(new) / name, symlinks=True)
                elif source.exists():
                    shutil.copy2(source, Path(new) / name)
            yield Path(new)
            _exchange(folder, Path(new), Path(old), names)
    except BaseException:
        for path in made:
            with contextlib.suppress(OSError):  # somebody else put something there
                path.rmdir()
        raise


def _exchange(folder: Path, new: Path, old: Path, names: Sequence[str]) -> None:
    moved: list[tuple[Path, Path]] = []
    try:
        for name in names:
            for source, target in ((folder / name, old / name), (new / name, folder / name)):
                if source.exists():
                    source.rename(target)
                    moved.append((source, target))
    except BaseException:
        for source, target in reversed(moved):
            target.rename(source)
        raise


def _recover(folder: Path, names: Sequence[str]) -> None:
    """Bring back what a process that was killed had moved away, and remove its copies."""
    for left in sorted(folder.glob(".old-*")) + sorted(folder.glob(".new-*")):
        process = left.name.split("-")[1]
        if not process.isdigit() or _lives(int(process)):
            continue
        for name in names if left.name.startswith(".old-") else ():
            if (left / name).exists() and not (folder / name).exists():
                (left / name).rename(folder / name)
        shutil.rmtree(left, ignore_errors=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
