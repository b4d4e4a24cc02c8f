"""Rate and distortion: pick a codec and its quality, see what is left and what is thrown away."""

from __future__ import annotations

import time
from dataclasses import dataclass

import ipywidgets as widgets
import numpy as np

from sarlab.codec.api import DEFAULT_CODEC
from sarlab.codec.goals import Goal, Search
from sarlab.errors import SarlabError
from sarlab.metrics import Reference, score
from sarlab.peers import codecs
from sarlab.scenes.scene import Scene
from sarlab.views.explorers.base import Explorer
from sarlab.views.explorers.panes import Ahead, Picture, chart, numbers
from sarlab.views.explorers.sources import Subject, subjects
from sarlab.views.explorers.windows import Windows

#: Codecs that take longer than this, metrics and pictures included, are computed ahead, in seconds.
SLOW = 0.15
#: Columns of the report: quick ones.
TOLD = ("psnr_db", "rmse_db", "bias_db", "epi_roa", "enl_ratio", "ratio_mean", "rmse_k8_db")
#: Error shown at full color, in dB.
LIMIT = 6.0


@dataclass(frozen=True, eq=False)
class Coded:
    """What a codec made of a subject at one quality."""

    db: np.ndarray
    bpp: float
    encode_seconds: float
    decode_seconds: float
    scores: dict[str, float]


def code(subject: Subject, reference: Reference, name: str, quality: float) -> Coded:
    """Compress and decompress a subject; sizes are those of the whole file."""
    codec, scene = codecs[name], subject.scene
    start = time.perf_counter()
    data = codec.compress(scene, quality=quality)
    middle = time.perf_counter()
    decoded = codec.decompress(data).data[0]
    seconds = middle - start, time.perf_counter() - middle
    return Coded(decoded, 8 * len(data) / decoded.size, *seconds, score(reference, decoded, columns=TOLD))


def search(subject: Subject, reference: Reference, name: str, bpp: float) -> Coded:
    """What a codec makes of a subject at about `bpp` bit per pixel."""
    found = Search(codecs[name], subject.scene, {subject.scene.bands[0]: subject.clip})
    trial = found.find(Goal("bpp", bpp))
    decoded = found.decode(trial).data[0]
    seconds = trial.encode_seconds, trial.decode_seconds
    return Coded(decoded, found.bpp(trial), *seconds, score(reference, decoded, columns=TOLD))


def available(*, lossy: bool = True) -> list[str]:
    """Codecs of this machine, learned ones first."""
    names = [
        name for name in codecs if codecs[name].available().ok and not (lossy and codecs[name].capabilities.lossless)
    ]
    return sorted(names, key=lambda name: (name != DEFAULT_CODEC, codecs[name].family != "learned", name))


class RateDistortionExplorer(Explorer):
    """Scene, reconstruction, residual and ratio image of a codec; curves of what was computed; windows drawn by hand.

    Parameters
    ----------
    source, quantity : str
        Scenes, as for ``sarlab sweep``.
    subject : Subject, optional
        Instead of those of the source.
    """

    def __init__(self, source: str = "bigearthnet", quantity: str = "auto", subject: Subject | None = None):
        self.subjects = {subject.name: subject} if subject is not None else subjects(source, quantity)
        self.controls = {
            "scene": widgets.Dropdown(options=list(self.subjects), description="scene"),
            "codec": widgets.Dropdown(options=available(), description="codec"),
            "quality": widgets.SelectionSlider(options=[0.0], description="quality"),
        }
        self.pictures = {
            name: Picture(title)
            for name, title in (
                ("original", "recorded"), ("restored", "decompressed"), ("residual", f"residual, ±{LIMIT:g} dB"),
                ("ratio", "ratio image, ±3 dB"),
            )
        }  # fmt: skip
        self.report, self.curves = widgets.HTML(), widgets.HTML()
        self.points: dict[str, dict[str, dict[float, tuple[float, float]]]] = {}
        self._caches: dict[str, Ahead] = {}
        self.bar = widgets.HBox()
        self.windows = Windows(next(iter(self.subjects.values())).clip)
        self.wire(
            widgets.HBox([self.pictures["original"], self.pictures["restored"]]),
            widgets.HBox([self.pictures["residual"], self.pictures["ratio"], widgets.VBox([self.curves, self.report])]),
            self.windows.widget,
            opening=("scene", "codec"),
            beside=(self.bar,),
        )
        self.open()

    @property
    def cache(self) -> Ahead:
        """Results of the scene and codec at hand, by quality."""
        key = f"{self.controls['scene'].value}/{self.controls['codec'].value}"
        if key not in self._caches:
            subject, reference, codec = self.subject, self.reference, self.controls["codec"].value
            self._caches[key] = Ahead(lambda quality: code(subject, reference, codec, quality))
        return self._caches[key]

    def open(self) -> None:
        """Another scene or codec: its qualities, and the files of slow codecs ahead of the slider."""
        self.subject = self.subjects[self.controls["scene"].value]
        grid = [float(q) for q in codecs[self.controls["codec"].value].capabilities.quality.grid]
        with self.unobserved():
            self.controls["quality"].options = [(f"{q:g}", q) for q in grid]
            self.controls["quality"].value = grid[len(grid) // 2]
        self.reference = Reference(self.subject.db, clip=self.subject.clip, looks=self.subject.scene.looks)
        self.pictures["original"].show(self.subject.db, self.subject.clip)
        begun = time.perf_counter()
        self.update()
        slow = time.perf_counter() - begun > SLOW
        self.bar.children = (self.cache.progress,) if slow else ()
        if slow:
            near = sorted(range(len(grid)), key=lambda place: abs(place - len(grid) // 2))
            self.cache.start(grid[place] for place in near)

    def update(self) -> Coded | None:
        """Show the codec's work at the quality of the slider."""
        name, quality = self.controls["codec"].value, self.controls["quality"].value
        try:
            coded = self.cache.get(quality)
        except SarlabError as error:
            self.state: dict[str, float | str] = {"error": str(error)}
            self.report.value = numbers(self.state)
            return None
        residual = coded.db - self.subject.db
        self.pictures["restored"].show(coded.db, self.subject.clip)
        self.pictures["residual"].show_error(residual, LIMIT)
        self.pictures["ratio"].show(-residual, (-3.0, 3.0))
        scores = score(self.reference, coded.db, columns=TOLD)
        self.state = {
            "bit per pixel": coded.bpp,
            "compression ratio": self.subject.scene.native_bits / coded.bpp,
            **scores,
        }
        self.state |= {"encode in s": coded.encode_seconds, "decode in s": coded.decode_seconds}
        self.report.value = numbers(self.state)
        points = self.points.setdefault(self.subject.name, {})
        points.setdefault(name, {})[quality] = (coded.bpp, scores["psnr_db"])
        self.curves.value = chart(
            [(codec, *np.array(sorted(found.values())).T) for codec, found in points.items()],
            x="bit per pixel", y="PSNR in dB", points=True,
        )  # fmt: skip
        self.windows.show(self.subject.db, coded.db)
        return coded


def subject_of(scene: Scene, band: str = "") -> Subject:
    """Subject of a scene of any real quantity: one band in dB, its own 0.1 to 99.9 percentiles as range."""
    from sarlab.scenes.radiometry import fit_normalizers, to_db

    one = to_db(scene).band(band or scene.bands[0])
    return Subject(f"{scene.name} {one.bands[0]}", one, fit_normalizers([one])[one.bands[0]])
