"""Two codecs at one rate, side by side."""

from __future__ import annotations

import ipywidgets as widgets

from sarlab.errors import SarlabError
from sarlab.metrics import Reference
from sarlab.views.explorers.base import Explorer
from sarlab.views.explorers.panes import Ahead, Picture, numbers
from sarlab.views.explorers.rate_distortion import LIMIT, available, search
from sarlab.views.explorers.sources import Subject, subjects

RATES = (0.1, 0.15, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0, 1.5, 2.0)


class SideBySideExplorer(Explorer):
    """Reconstruction and residual of two codecs at equal bytes, with what metrics say of each.

    Files are searched for ahead, rate by rate, because a search compresses several times.

    Parameters
    ----------
    source, quantity : str
        Scenes, as for ``sarlab sweep``.
    subject : Subject, optional
        Instead of those of the source.
    """

    def __init__(self, source: str = "bigearthnet", quantity: str = "auto", subject: Subject | None = None):
        self.subjects = {subject.name: subject} if subject is not None else subjects(source, quantity)
        names = available()
        other = "jpeg2000" if "jpeg2000" in names else names[-1]
        self.controls = {
            "scene": widgets.Dropdown(options=list(self.subjects), description="scene"),
            "left": widgets.Dropdown(options=names, description="left"),
            "right": widgets.Dropdown(options=names, value=other, description="right"),
            "bpp": widgets.SelectionSlider(options=RATES, value=0.45, description="bit per pixel"),
        }
        self.sides = {
            side: {"restored": Picture(side), "residual": Picture(f"residual, ±{LIMIT:g} dB"), "report": widgets.HTML()}
            for side in ("left", "right")
        }
        self._caches: dict[str, Ahead] = {}
        self.bars = widgets.HBox()
        columns = [widgets.VBox(list(parts.values())) for parts in self.sides.values()]
        self.wire(widgets.HBox(columns), opening=("scene", "left", "right"), beside=(self.bars,))
        self.open()

    def cache(self, side: str) -> Ahead:
        """Results of one side, by rate."""
        subject, reference, codec = self.subject, self.reference, self.controls[side].value
        key = f"{subject.name}/{codec}"
        if key not in self._caches:
            self._caches[key] = Ahead(lambda bpp: search(subject, reference, codec, bpp))
        return self._caches[key]

    def open(self) -> None:
        """Another scene or codec: its files at the other rates are searched for ahead."""
        self.subject = self.subjects[self.controls["scene"].value]
        self.reference = Reference(self.subject.db, clip=self.subject.clip, looks=self.subject.scene.looks)
        self.update()
        self.bars.children = tuple(self.cache(side).progress for side in self.sides)
        wanted = self.controls["bpp"].value
        for side in self.sides:
            self.cache(side).start(sorted(RATES, key=lambda rate: abs(rate - wanted)))

    def update(self) -> None:
        """Show both codecs at the rate of the slider."""
        self.state: dict[str, dict[str, float | str]] = {}
        for side, parts in self.sides.items():
            parts["restored"].title.value = f"<b>{self.controls[side].value}</b>"
            try:
                coded = self.cache(side).get(self.controls["bpp"].value)
            except SarlabError as error:
                self.state[side] = {"error": str(error)}
            else:
                parts["restored"].show(coded.db, self.subject.clip)
                parts["residual"].show_error(coded.db - self.subject.db, LIMIT)
                self.state[side] = {"bit per pixel": coded.bpp, **coded.scores}
            parts["report"].value = numbers(self.state[side])
