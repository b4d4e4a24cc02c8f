"""Quicker starts of Jupyter's parts."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

#: A grammar of addresses that takes longer to compile than everything else takes to import. It belongs to a check of
#: JSON that neither notebooks nor pages have, and which its library leaves out where the grammar is missing.
NEEDLESS = "rfc3987_syntax"


@contextlib.contextmanager
def quick_imports() -> Iterator[None]:
    """Import Jupyter's parts without what they take longest to import and nobody needs."""
    loaded = NEEDLESS in sys.modules
    if not loaded:
        sys.modules[NEEDLESS] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if not loaded:
            sys.modules.pop(NEEDLESS, None)


def build_book() -> None:
    """Run the builder of the book with the arguments of this process."""
    with quick_imports():
        from jupyter_book.cli.main import main

        main()
