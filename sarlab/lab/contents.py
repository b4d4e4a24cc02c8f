"""The table of contents of the book: where the pages of the runs are listed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sarlab.errors import ResultsError
from sarlab.files import write_text

#: Entry of ``_toc.yml`` below which the run pages are listed.
RUNS_CHAPTER = "chapters/runs"


def list_pages(toc: Path, pages: Sequence[str]) -> None:
    """List the run pages below the chapter of runs in ``_toc.yml``.

    Raises
    ------
    ResultsError
        If the table of contents has no such chapter.
    """
    import yaml

    text = toc.read_text(encoding="utf-8")
    contents = yaml.safe_load(text)
    chapter = find(contents, RUNS_CHAPTER)
    if chapter is None:
        raise ResultsError(f"{toc.name}: no entry '{RUNS_CHAPTER}'; the run pages are listed below it")
    chapter.pop("sections", None)
    if pages:
        chapter["sections"] = [{"file": f"runs/{name}"} for name in pages]
    remarks = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))

    class Indented(yaml.SafeDumper):
        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
            super().increase_indent(flow, False)

    write_text(toc, remarks + yaml.dump(contents, Dumper=Indented, sort_keys=False, allow_unicode=True, width=120))


def find(node: Any, file: str) -> dict[str, Any] | None:
    """Entry of a file in a table of contents, however deep."""
    if isinstance(node, dict):
        if node.get("file") == file:
            return node
        return next((found for value in node.values() if (found := find(value, file))), None)
    if isinstance(node, list):
        return next((found for value in node if (found := find(value, file))), None)
    return None
