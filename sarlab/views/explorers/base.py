"""What all explorers share: controls in a row, each of which changes what is shown below."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import ipywidgets as widgets


class Explorer:
    """Controls above what they drive.

    A subclass makes its `controls` and panes, calls `wire`, and has an `update` that shows what the controls say. Where
    some controls choose what is looked at, it has an `open` too, which takes that in and calls `update` itself.
    """

    controls: dict[str, Any]
    _quiet = False

    def wire(
        self, *rows: widgets.Widget, opening: Collection[str] = (), beside: Collection[widgets.Widget] = ()
    ) -> None:
        """Let the controls call `update`, and stack them and `rows` into `widget`.

        Parameters
        ----------
        *rows : Widget
            Below the controls.
        opening : collection of str
            Names of the controls that call `open` instead.
        beside : collection of Widget
            In the row of the controls, after them.
        """
        for name, control in self.controls.items():
            control.observe(self._opened if name in opening else self._moved, "value")
        row = widgets.HBox([*self.controls.values(), *beside], layout=widgets.Layout(flex_flow="row wrap"))
        self.widget = widgets.VBox([row, *rows])

    def open(self) -> None:
        """Take in what the controls choose, and show it."""
        self.update()

    def update(self) -> Any:
        """Show what the controls say."""
        raise NotImplementedError

    @contextmanager
    def unobserved(self) -> Iterator[None]:
        """Within the block controls can be changed without a call for each."""
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False

    def _opened(self, change: object) -> None:
        if not self._quiet:
            self.open()

    def _moved(self, change: object) -> None:
        if not self._quiet:
            self.update()
