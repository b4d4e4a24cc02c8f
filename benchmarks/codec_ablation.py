"""Ablation of the codec `lapped`: one part left out or changed at a time.

    SARLAB_DATA=FOLDER python benchmarks/codec_ablation.py --out book/results      # about ten minutes on one core

The tables of every variant are fitted anew, to the same training scenes and with the same effort; a variant that differs only in how
it uses them shares those of the complete codec. Scenes of the validation are coded at the same qualities. A row is the BD-rate of a
band against the complete codec: how many percent more bytes the variant needs at equal PSNR.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sarlab.codec.block_model import CLASSES, FLAGGED, PER_OCTAVE, UNIT, Tables, initial_tables, smooth_spectrum
from sarlab.codec.entropy import join, split
from sarlab.codec.lapped import BLOCK, LappedModel
from sarlab.codec.tiles import LAST_COLUMN, LAST_ROW
from sarlab.codec.train_codec import FITTING_STATES, CodecPlan, fit_tables, gather, normalized
from sarlab.codec.trellis import OFFSETS
from sarlab.lab.results import write_table
from sarlab.metrics.rate import bd_rate
from sarlab.scenes.catalog import load_split
from sarlab.specs import SceneSpec

SOURCE, SCENES = "sentinel1-all", ("panama", "chicago")
#: Training scenes that tables are fitted to (every third), rounds of the fit, and qualities.
EVERY, ROUNDS, FITTED = 3, 3, np.arange(16.0, 49.0, 4.0)
#: Qualities of the files.
QUALITIES = np.arange(20.0, 45.0, 3.0)
COMPLETE = "complete"
ABOUT: dict[str, Any] = {"name": "ablation", "content_hash": bytes(8)}
WHOLE = (True, True, True, True)


class SmallBlocks(LappedModel):
    block, channels, stride, analysis_reach = 16, 256, 16, 8
    deviations = smooth_spectrum(16)


class MeanSpectrum(LappedModel):
    """The mean spectrum of the training scenes for all, and the level of each scene; `shape` is set below."""

    count, shape = 1, np.zeros(0, np.int64)

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.deviations = self

    @staticmethod
    def fit(power: np.ndarray) -> np.ndarray:
        return np.rint((logarithms(power) - MeanSpectrum.shape).mean(keepdims=True)).astype(np.int64)

    @staticmethod
    def parse(numbers: np.ndarray) -> np.ndarray:
        return (MeanSpectrum.shape + numbers[0]) * UNIT


class StaticProbabilities(LappedModel):
    """The size of a stream is the information of its decisions under the tables."""

    def quantize(self, y: np.ndarray, active: np.ndarray, quality: float, side: Any) -> Any:
        latent, streams = super().quantize(y, active, quality, side)[0], []
        live = latent.any((2, 3)) | (np.stack([self.classes(quality, side, b) for b in range(len(y))]) >= FLAGGED)
        for decisions in self.decisions(latent, live, active, quality, side):
            one = np.where(decisions < 0, 0.5, self.tables.probabilities[decisions >> 17] / 65536)
            streams.append(bytes(round(-np.log2(np.where(decisions >> 16 & 1, one, 1 - one)).sum() / 8)))
        return latent, join(streams)


class SeparateBands(LappedModel):
    def _fit_factors(self, first: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.zeros(self.zones.max() + 1, np.int64)


class Variant(NamedTuple):
    kind: type[LappedModel] = LappedModel
    states: int = 64
    #: True if its tables are fitted anew; changes of the tables; factor on λ.
    own: bool = False
    changes: Mapping[str, np.ndarray] = {}
    weight: float = 1.0

    def model(self, tables: Tables, most: int = 256) -> LappedModel:
        tables = dataclasses.replace(tables, **self.changes)
        model = self.kind(tables, states=min(self.states, most), **ABOUT)
        model._costs = model._costs._replace(weight=model._costs.weight * np.float32(self.weight))
        return model


VARIANTS = {
    COMPLETE: Variant(own=True),
    "no trellis": Variant(states=1, own=True),
    "trellis of 8 states": Variant(states=8),
    "trellis of 256 states": Variant(states=256),
    "blocks of 16": Variant(SmallBlocks, own=True),
    "mean spectrum": Variant(MeanSpectrum, own=True),
    # All magnitudes are far below what is expected.
    "no activity contexts": Variant(own=True, changes={"expected": np.full(CLASSES, 1 << 40)}),
    "static probabilities": Variant(StaticProbabilities),
    "no reconstruction offsets": Variant(changes={"offsets": np.zeros((CLASSES, 2, OFFSETS), np.float32)}),
    "bands apart": Variant(SeparateBands),
    "no rate in the search": Variant(own=True, weight=0.0),
}


def curve(model: LappedModel, x: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Bytes and PSNR of each band at each quality: shape (bands, qualities, 2)."""
    height, width = x.shape[1:]
    model = model.for_scene(height, width)
    y = model.analyze(np.pad(x, ((0, 0), (0, -height % model.stride), (0, -width % model.stride)), mode="edge"), WHOLE)
    active = np.ones((len(y), *y.shape[2:]), np.uint8)
    active[:, -1] |= LAST_ROW
    active[:, :, -1] |= LAST_COLUMN
    points = []
    for quality in QUALITIES:
        data = model.fit_side([(y, active)], quality)
        side = model.parse_side(data, len(x))
        latent, code = model.quantize(y, active, quality, side)
        x_hat = model.synthesize(latent, quality, side, WHOLE)[:, :height, :width]
        errors = [np.square(a - b)[v].mean(dtype=float) for a, b, v in zip(x, x_hat, valid, strict=True)]
        sizes = np.reshape([len(stream) for stream in split(code, 2 * len(x))], (2, -1)).sum(0) + len(data) / len(x)
        points.append(np.stack([sizes, -10 * np.log10(errors)], 1))
    return np.stack(points, 1)


def mean_spectrum(scenes: list[np.ndarray]) -> np.ndarray:
    """Mean of the logarithms of the spectra of all bands, each less its own mean."""
    model = LappedModel(initial_tables(), **ABOUT)
    whole = (x[:, : x.shape[1] & -BLOCK, : x.shape[2] & -BLOCK] for x in scenes)
    logs = np.concatenate([logarithms(np.square(model.analyze(x, WHOLE)).mean((2, 3))) for x in whole])
    return np.rint((logs - logs.mean(1, keepdims=True)).mean(0)).astype(np.int64)


def logarithms(power: np.ndarray) -> np.ndarray:
    """Deviations of channels in classes."""
    return 0.5 * PER_OCTAVE * np.log2(np.maximum(power, 1e-14))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("."), help="folder of the table")
    args = parser.parse_args()
    training = [x for x, _ in gather(CodecPlan("ablation", source=SOURCE)).training[::EVERY]]
    validation = [scene for scene in load_split(SceneSpec(SOURCE)).validation if scene.name in SCENES]
    MeanSpectrum.shape = mean_spectrum(training)
    curve(LappedModel(initial_tables(), **ABOUT), *normalized(validation[0]))  # compiles
    rows, anchors, common = [], {}, None
    for name, variant in VARIANTS.items():
        make = partial(variant.model, most=FITTING_STATES)
        tables = fit_tables(make, training, rounds=ROUNDS, qualities=FITTED) if variant.own else common
        common = common or tables
        for scene in validation:
            began = time.process_time()
            found = curve(variant.model(tables), *normalized(scene))
            seconds = time.process_time() - began
            anchor = anchors.setdefault(scene.name, found)
            for band, complete, test in zip(scene.bands, anchor, found, strict=True):
                rows.append((name, scene.name, band, variant.states, bd_rate(*complete.T, *test.T).value, seconds))
                print(*rows[-1], flush=True)
    columns = ["variant", "scene", "band", "states", "bd_rate_percent", "seconds"]
    write_table(pd.DataFrame(rows, columns=columns), args.out / "codec_ablation.csv")


if __name__ == "__main__":
    main()
