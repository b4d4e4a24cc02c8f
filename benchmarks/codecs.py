"""Codecs on real files: default grids, reference points, speed.

    python benchmarks/codecs.py calibrate PATH…    # qualities at twelve rates → GRIDS in sarlab/peers.py
    python benchmarks/codecs.py reference PATH…    # rate at PSNR of pooled MSE, BD-rate against JPEG 2000
    python benchmarks/codecs.py speed PATH…        # encode and decode time at 0.5 bpp, one thread

PATH is a scene or a folder of scenes; their first band is used, scenes without a valid sample are left out.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from sarlab.codec.goals import Goal
from sarlab.errors import CodecError
from sarlab.peers import codecs
from sarlab.peers.search import Search
from sarlab.scenes.catalog import reference_normalizers
from sarlab.scenes.collection import image_files
from sarlab.scenes.readers import read_scene
from sarlab.scenes.scene import Scene

RATES = np.geomspace(0.05, 4, 12)
#: PSNR targets of the BD-rate protocol for Sentinel-1 VV.
LEVELS = np.linspace(25, 40, 11)


def scenes_of(paths: list[str]) -> list[Scene]:
    """First bands of all scenes with a valid sample."""
    files = [file for path in paths for file in (image_files(Path(path)) if Path(path).is_dir() else [Path(path)])]
    scenes = [read_scene(file, allow_empty=True).band(0) for file in files]
    return [scene for scene in scenes if scene.valid.any()]


def lossy(names: list[str] | None) -> list[str]:
    """Codecs with a choice of quality that work here."""
    chosen = names or list(codecs)
    return [n for n in chosen if codecs[n].available().ok and len(codecs[n].capabilities.quality.grid) > 1]


def calibrate(scenes: list[Scene], names: list[str]) -> None:
    """Print the qualities whose median rates are spread geometrically over 0.05 to 4 bpp."""
    for name in names:
        scale = codecs[name].capabilities.quality
        searches = [Search(codecs[name], scene) for scene in scenes]
        lowest = float(np.median([search.bpp(search.trial(scale.low)) for search in searches]))
        highest = float(np.median([search.bpp(search.trial(scale.high)) for search in searches]))
        rates = np.geomspace(max(0.05, lowest * 1.02), min(4.0, highest), 12)
        grid = []
        for rate in rates:
            found = []
            for search in searches:
                try:
                    found.append(search.find(Goal("bpp", float(rate))).quality)
                except CodecError:
                    found.append(scale.low)
            quality = float(np.median(found))
            if scale.step:
                quality = scale.low + scale.step * round((quality - scale.low) / scale.step)
            grid.append(round(quality, 4 if scale.step and scale.step != 1 else 2 if quality < 4 else 1))
        grid = sorted(set(grid))
        print(f'    "{name}": ({", ".join(f"{q:g}" for q in grid)}),  # {rates[0]:.3f} bpp', flush=True)


def reference(scenes: list[Scene], names: list[str]) -> None:
    """Print bpp at PSNR of the MSE pooled over scenes, and BD-rate per scene at matched PSNR."""
    from sarlab.metrics.rate import bd_rate

    normalizers = reference_normalizers()
    curves: dict[str, dict[str, np.ndarray]] = {}
    for name in ["jpeg2000", *(n for n in names if n != "jpeg2000")]:
        curves[name] = {}
        for scene in scenes:
            clip = {band: (normalizers[band].low, normalizers[band].high) for band in scene.bands}
            search = Search(codecs[name], scene, clip)
            trials = [search.find(Goal("psnr", float(level))) for level in LEVELS]
            curves[name][scene.name] = np.array([(search.bpp(t), search.score(t, "psnr")) for t in trials])
        rates = []
        for scene in scenes:
            ours, theirs = curves[name][scene.name], curves["jpeg2000"][scene.name]
            rates.append(float(bd_rate(theirs[:, 0], theirs[:, 1], ours[:, 0], ours[:, 1]).value))
        mean = np.mean([curves[name][scene.name] for scene in scenes], axis=0)
        print(f"{name:10s} BD-rate {np.mean(rates):7.2f} %  per scene {' '.join(f'{r:.1f}' for r in rates)}")
        print("          " + "  ".join(f"{psnr:.1f} dB {bpp:.3f}" for bpp, psnr in mean), flush=True)


def speed(scenes: list[Scene], names: list[str]) -> None:
    """Print times at 0.5 bpp (or the lowest rate above it), the best of three."""
    for name in names:
        search = Search(codecs[name], scenes[0])
        try:
            quality = search.find(Goal("bpp", 0.5)).quality
        except CodecError:
            quality = codecs[name].capabilities.quality.grid[0]
        encode, decode = [], []
        for _ in range(3):
            start = time.perf_counter()
            data = codecs[name].compress(scenes[0], quality=quality)
            middle = time.perf_counter()
            codecs[name].decompress(data)
            encode.append(middle - start)
            decode.append(time.perf_counter() - middle)
        print(
            f"{name:10s} {1e3 * min(encode):7.0f} ms  {1e3 * min(decode):7.0f} ms  {search.bpp(search.trial(quality)):.3f} bpp"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["calibrate", "reference", "speed"])
    parser.add_argument("paths", nargs="+", metavar="PATH")
    parser.add_argument("--codecs", help="comma-separated; default all")
    args = parser.parse_args()
    task = {"calibrate": calibrate, "reference": reference, "speed": speed}[args.what]
    task(scenes_of(args.paths), lossy(args.codecs.split(",") if args.codecs else None))


if __name__ == "__main__":
    main()
