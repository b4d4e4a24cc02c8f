"""Journal: finished pieces of a long table, one JSON line each, so that a second call computes only what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sarlab.errors import ResultsError


class Journal:
    """Rows by content hash, in a file beside the output.

    Parameters
    ----------
    path : Path or None
        None keeps nothing.
    """

    def __init__(self, path: Path | None):
        self.path = path
        self.rows: dict[str, dict[str, Any]] = {}
        if path is not None and path.exists():
            self._read(path)

    def _read(self, path: Path) -> None:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ResultsError(
                f"{path}: the journal of an earlier evaluation cannot be read ({error}); delete it"
            ) from error
        for line in text.splitlines():
            try:
                entry = json.loads(line)
                self.rows[entry["key"]] = entry["row"]
            except (ValueError, KeyError, TypeError):
                # The line that was being written when the process was killed.
                continue

    def add(self, key: str, row: dict[str, Any]) -> None:
        """Keep a row; on disk before this returns."""
        self.rows[key] = row
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        whole = not self.path.exists() or self.path.stat().st_size == 0 or self.path.read_bytes()[-1:] == b"\n"
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(("" if whole else "\n") + json.dumps({"key": key, "row": row}) + "\n")
