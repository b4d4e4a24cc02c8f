"""Links at the end of every chapter to the tables behind it: the CSV files that lie beside the pages.

Which tables a chapter reads is told by the source of the view modules that it imports, so that no chapter lists them.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

#: Expressions of view modules → tables of the folder ``results``.
READS = {
    r"\.table\(\s*[\"'](\w+)[\"']": None,
    r"\.runs\b": ("runs",),
    r"\.history\b": ("history",),
    r"\.codecs\b|\bevaluated\(": ("codecs", "codecs_all"),
}
IMPORTS = re.compile(r"^from (sarlab\.views(?:\.\w+)*) import ([\w, ]+)$", re.MULTILINE)


def tables_of(text: str) -> list[str]:
    """Names of the tables that a chapter may read, from its text and that of the view modules it names.

    Parameters
    ----------
    text : str
        Source of the chapter.
    """
    found = dict.fromkeys(tables_named(text))
    for package, names in IMPORTS.findall(text):
        for name in names.split(","):
            for path in sources(f"{package}.{name.strip()}"):
                found |= dict.fromkeys(tables_named(path.read_text(encoding="utf-8")))
    return sorted(found)


def tables_named(source: str) -> list[str]:
    """Tables that a piece of source code reads."""
    found: list[str] = []
    for pattern, names in READS.items():
        matches = re.findall(pattern, source)
        found += matches if names is None else list(names) if matches else []
    return found


def sources(module: str) -> list[Path]:
    """Files of a module, or of all modules of a package; none where there is no such module."""
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return []
    if spec is None or spec.origin is None:
        return []
    path = Path(spec.origin)
    return sorted(path.parent.glob("*.py")) if path.name == "__init__.py" else [path]


def add_links(app: Sphinx, page: str, source: list[str]) -> None:
    """Append the links to a chapter that reads tables, unless it lists all of them itself."""
    text = source[0]
    if not page.startswith("chapters/") or "tables()" not in text or "downloads(" in text:
        return
    folder = Path(app.srcdir) / "results"
    files = [path for name in tables_of(text) if (path := folder / f"{name}.csv").is_file()]
    if files:
        up = "../" * page.count("/")
        links = ", ".join(
            f'<a href="{up}results/{path.name}" download>{path.name}</a> ({path.stat().st_size / 1000:.0f} kB)'
            for path in files
        )
        source[0] = f'{text}\n\n<p class="sl-data">Tables of this chapter: {links}</p>\n'


def setup(app: Sphinx) -> dict[str, Any]:
    """Register it."""
    app.connect("source-read", add_links)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
