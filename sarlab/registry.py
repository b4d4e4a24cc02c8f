"""Named extension points: one class in one file and one registration, here or in a user's own package."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from sarlab.errors import SarlabError

T = TypeVar("T")


class Registry(Generic[T]):
    """Objects of one `kind` (``"architecture"``, for messages) by name; unknown names raise `error`.

    Packages add their own through an entry point of `group` (``"sarlab.architectures"``), whose value is a module (or
    object) that registers when it is imported.
    """

    def __init__(self, kind: str, group: str, error: type[SarlabError] = SarlabError):
        self.kind, self.group, self.error = kind, group, error
        self._items: dict[str, T] = {}
        self._plugins_loaded = False

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers its argument under `name`; a second one of that name is an error."""

        def decorate(item: T) -> T:
            if name in self._items and self._items[name] is not item:
                raise self.error(f"{self.kind} '{name}' is registered twice; choose another name for the second one")
            self._items[name] = item
            return item

        return decorate

    def __getitem__(self, name: str) -> T:
        if name not in self._items and name not in self:
            close = get_close_matches(name, self._items)
            hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(self) or 'none'}"
            raise self.error(f"unknown {self.kind} '{name}'; {hint}")
        return self._items[name]

    def __contains__(self, name: str) -> bool:
        self._load_plugins()
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        self._load_plugins()
        return iter(sorted(self._items))

    def _load_plugins(self) -> None:
        if not self._plugins_loaded:
            self._plugins_loaded = True
            for entry in entry_points(group=self.group):
                entry.load()
