"""Where the notebooks and the book lie: in the checkout, or inside an installed wheel."""

from __future__ import annotations

from pathlib import Path

from sarlab.errors import SarlabError

PACKAGE = Path(__file__).resolve().parents[1]


def shared_folder(name: str) -> Path:
    """Folder ``notebooks`` or ``book``.

    Raises
    ------
    SarlabError
        If neither a checkout nor the wheel has it.
    """
    for candidate in (PACKAGE.parent / name, PACKAGE / "_share" / name):
        if candidate.is_dir():
            return candidate
    raise SarlabError(f"the folder '{name}' is missing from this installation; install sarlab again")
