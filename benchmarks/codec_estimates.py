"""Estimates behind the design of the codec `lapped`: what its transform alone reaches, and what was left out.

    SARLAB_DATA=FOLDER python benchmarks/codec_estimates.py --out book/results      # about ten minutes on one core

``transform``: BD-rates against JPEG 2000 of three chips of 512×512, clipped to the range of the PSNR. Rates of blocks of 8, 16 and 32
samples are the information of the decisions under probabilities that were fitted to this very band, one set for each class of
deviation over step and no other context, with scalar quantization or a trellis; a real file cannot reach them. Real files stand beside.

``switching`` and ``low``: percent of the bits that a change would save, measured by log2(1 + (y/1.2Δ)²)/2 bits for a coefficient y and
fine step Δ. Switching chooses, for each 32×32 samples, the cheapest of one block of 32, four of 16 and sixteen of 8, as if windows could
change without loss; the choice is charged with its entropy. ``low`` transforms the lowest frequency once more across 4×4 blocks. Both
are more than a codec could gain. All scenes have the role "train" or "validation".
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from codec_ablation import ABOUT, WHOLE, SmallBlocks, StaticProbabilities, curve
from scipy.fft import dctn

from sarlab.codec.block_model import CLASSES, Tables, fine_step, smooth_spectrum
from sarlab.codec.goals import Goal
from sarlab.codec.lapped import LappedModel, lapped_transform
from sarlab.codec.levels import WIDTH
from sarlab.codec.train_codec import fit_tables, normalized
from sarlab.errors import CodecError
from sarlab.lab.results import write_table
from sarlab.metrics.bounds import water_filling_curve
from sarlab.metrics.rate import bd_rate
from sarlab.peers import codecs
from sarlab.peers.search import Search
from sarlab.scenes.catalog import load_split
from sarlab.scenes.scene import Scene
from sarlab.specs import SceneSpec

SOURCE = "sentinel1-all"
CHIPS = ("ghana-83483", "somalia", "nigeria")
#: PSNR of the real files; qualities of the other estimates.
TARGETS_DB, QUALITIES = np.arange(24.0, 43.0, 2.0), (24.0, 28.0, 32.0, 36.0, 40.0)
#: BD-rate is taken between these PSNR values, in dB.
INTERVAL = (25.0, 40.0)


class Blocks16(StaticProbabilities, SmallBlocks):
    pass


class Blocks8(StaticProbabilities):
    block, channels, stride, analysis_reach = 8, 64, 8, 4
    deviations = smooth_spectrum(8)


TRANSFORMS: dict[str, tuple[type[LappedModel], int]] = {
    "blocks of 8, scalar": (Blocks8, 1),
    "blocks of 16, scalar": (Blocks16, 1),
    "blocks of 32, scalar": (StaticProbabilities, 1),
    "blocks of 16, trellis of 8 states": (Blocks16, 8),
    "blocks of 32, trellis of 8 states": (StaticProbabilities, 8),
}


def transform() -> Iterator[dict[str, Any]]:
    split = load_split(SceneSpec(SOURCE))
    roles = {scene.name: (role, scene) for role in ("train", "validation") for scene in getattr(split, role)}
    for role, scene in (roles[name] for name in CHIPS):
        for index, band in enumerate(scene.bands):
            own = scene.band(index)
            low, high = split.normalizers[band].low, split.normalizers[band].high
            own = dataclasses.replace(own, data=np.clip(own.data, low, high))
            anchor = files(own, "jpeg2000", (low, high))
            about = {"scene": scene.name, "role": role, "band": band}
            for name in ("lapped", "hevc12"):
                yield {
                    **about,
                    "variant": f"files of {name}",
                    "percent": against(anchor, files(own, name, (low, high))),
                }
            samples = np.where(own.valid[0], own.data[0], np.nan)
            ideal = water_filling_curve(samples, clip=(low, high), psnr_db=TARGETS_DB)
            points = np.stack([ideal.bpp * own.data.size / 8, ideal.psnr_db], 1)
            yield {**about, "variant": "Gaussian reference", "percent": against(anchor, points[ideal.bpp > 0])}
            x, valid = normalized(own)
            for name, (kind, states) in TRANSFORMS.items():

                def make(tables: Tables, kind: type[LappedModel] = kind, states: int = states) -> LappedModel:
                    alone = dataclasses.replace(tables, expected=np.full(CLASSES, 1 << 40))  # activity says nothing
                    return kind(alone, states=states, **ABOUT)

                tables = fit_tables(make, [x], rounds=4, qualities=np.arange(20.0, 45.0, 3.0))
                points = curve(make(tables), x, valid)[0] + (0, 20 * np.log10((high - low) / WIDTH))
                yield {**about, "variant": name, "percent": against(anchor, points)}


def files(scene: Scene, codec: str, clip: tuple[float, float]) -> np.ndarray:
    """Bytes and PSNR of real files: shape (targets, 2)."""
    search = Search(codecs[codec], scene, {scene.bands[0]: clip})
    trials = []
    for target in TARGETS_DB:
        with suppress(CodecError):  # HEVC does not reach the lowest
            trials.append(search.find(Goal("psnr", target)))
    return np.array([(len(trial.data), search.score(trial, "psnr")) for trial in trials])


def against(anchor: np.ndarray, points: np.ndarray) -> float:
    return bd_rate(*anchor.T, *points.T, interval=INTERVAL).value


def large_bands() -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Bands of at least 512×512, cut to whole blocks of 128."""
    split = load_split(SceneSpec(SOURCE))
    for role in ("train", "validation"):
        for scene in getattr(split, role):
            if min(scene.shape[1:]) >= 512 and scene.valid.mean() > 0.5:
                for band, x in zip(scene.bands, normalized(scene)[0], strict=True):
                    yield {"scene": scene.name, "role": role, "band": band}, x[: x.shape[0] & -128, : x.shape[1] & -128]


def bits(y: np.ndarray, quality: float) -> np.ndarray:
    return 0.5 * np.log2(1 + np.square(y / (1.2 * fine_step(quality))))


def switching() -> Iterator[dict[str, Any]]:
    for about, x in large_bands():
        blocks = {}
        for size in (32, 16, 8):
            y, n = lapped_transform(size, size, size).forward(x, WHOLE), 32 // size
            blocks[size] = y.reshape(len(y), y.shape[1] // n, n, y.shape[2] // n, n)
        for quality in QUALITIES:
            cost = np.stack([bits(y, quality).sum((0, 2, 4)) for y in blocks.values()])
            share = np.bincount(cost.argmin(0).ravel(), minlength=len(cost)) / cost[0].size
            flags = -(share[share > 0] * np.log2(share[share > 0])).sum() * cost[0].size
            saved = (cost.min(0).sum() + flags) / cost[0].sum() - 1
            yield {**about, "variant": "block switching", "quality": quality, "percent": 100 * saved}


def low() -> Iterator[dict[str, Any]]:
    for about, x in large_bands():
        y = lapped_transform(32, 32, 32).forward(x, WHOLE)
        groups = y[0].reshape(y.shape[1] // 4, 4, y.shape[2] // 4, 4)
        again = dctn(groups, axes=(1, 3), norm="ortho")
        for quality in QUALITIES:
            saved = (bits(again, quality).sum() - bits(groups, quality).sum()) / bits(y, quality).sum()
            yield {**about, "variant": "lowest frequency once more", "quality": quality, "percent": 100 * saved}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("."), help="folder of the table")
    args = parser.parse_args()
    rows = []
    for part in (transform, switching, low):
        for row in part():
            rows.append({"part": part.__name__, **row})
            print(*rows[-1].values(), flush=True)
    columns = ["part", "variant", "scene", "role", "band", "quality", "percent"]
    write_table(pd.DataFrame(rows)[columns], args.out / "codec_estimates.csv")


if __name__ == "__main__":
    main()
