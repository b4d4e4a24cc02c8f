"""The codec `lapped` and its peers on test scenes, by real files: the tables of the book's chapter on the codec.

    SARLAB_DATA=FOLDER python benchmarks/codec_goals.py --out book/results          # everything, about half an hour on two cores
    SARLAB_DATA=FOLDER python benchmarks/codec_goals.py speed --out book/results    # one table: rates, limits, fidelity, speed

Files of all codecs include their containers, with the size, the levels and the masks of the scene, and no names, tags and
georeference. The scenes have the role "test" in the collection ``sentinel1-all``; other sensors come from the same folder. No codec
was trained or tuned on any of them, except that a crop of the Umbra scene beside the one measured was used for tuning.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from files import watched, write_image

from sarlab.codec.api import compress, compress_file, decompress, decompress_file
from sarlab.codec.goals import Goal
from sarlab.codec.model_store import model_path
from sarlab.errors import SarlabError
from sarlab.lab.results import environment, now, write_table
from sarlab.metrics import Reference, score
from sarlab.metrics.bounds import water_filling_curve
from sarlab.metrics.columns import UndefinedMetric
from sarlab.peers import codecs
from sarlab.peers.search import Search, Trial
from sarlab.scenes.catalog import load_split
from sarlab.scenes.radiometry import fit_normalizers, to_db
from sarlab.scenes.readers import read_scene
from sarlab.scenes.scene import Scene
from sarlab.scenes.writers import write_geotiff
from sarlab.specs import SceneSpec

FOLDER = Path(os.environ.get("SARLAB_DATA", "data"))
OURS, BEST, CORRECTED = "lapped", "lapped --effort best", "lapped --radiometric"
NAMES = ("jpeg2000", "hevc12", OURS, "factorized", "klt8")
#: Targets: BD-rate is taken between 25 and 40 dB, the others reach from about 0.03 to 4 bpp.
PSNR_DB = tuple(float(value) for value in range(20, 45, 2))
RATES_BPP = (0.06, 0.09, 0.125, 0.18, 0.25, 0.35, 0.5, 0.7, 1.0, 2.0)
#: Measures besides PSNR, at equal bytes.
FIDELITY = (
    "psnr_db", "ssim", "epi_roa", "rmse_k8_db", "rmse_k32_db", "bias_db", "bias_brightness_worst_db", "enl_ratio",
)  # fmt: skip
#: Scenes from this side on give the headline figures.
LARGE = 512
#: Side of the scene whose memory is measured.
HUGE = 20_000
MOST_TRIES = 5


class Item(NamedTuple):
    """One band to be measured."""

    scene: Scene
    #: Range of the PSNR in dB.
    clip: tuple[float, float]
    #: "large" or "small" Sentinel-1 scenes, or the sensor.
    group: str

    @property
    def about(self) -> dict[str, Any]:
        scene = self.scene
        return {"scene": scene.name, "band": scene.bands[0], "group": self.group, "acquisition": scene.acquisition,
                "looks": scene.looks, "height": scene.shape[1], "width": scene.shape[2],
                "valid_share": float(scene.valid.mean())}  # fmt: skip


def sentinel1() -> Iterator[Item]:
    """Sentinel-1 test scenes, band by band; those that are mostly nodata are left out."""
    split = load_split(SceneSpec("sentinel1-all", allow_missing=True))
    for scene in split.test:
        for index, band in enumerate(scene.bands):
            if scene.valid[index].mean() > 0.5:
                low, high = split.normalizers[band].low, split.normalizers[band].high
                yield Item(scene.band(index), (low, high), "large" if min(scene.shape[1:]) >= LARGE else "small")


def others() -> Iterator[Item]:
    """Other sensors and simulated speckle; their own percentiles are the clip range."""
    files = [
        ("Umbra, X band", "umbra_mount_yasur/umbra_mount_yasur.tiff", (1400, 200)),
        *(("Capella (airborne), X band, 1 look", f"spacenet6_capella_slc/sar_{p}.tif", (0, 0)) for p in ("hh", "vv")),
    ]
    for group, file, (top, left) in files:
        if (FOLDER / file).is_file():
            scene = to_db(read_scene(FOLDER / file))
            part = scene.data[:, top : top + LARGE, left : left + LARGE]
            name = Path(file).stem
            yield _own_clip(
                Scene(part, "db", scene.bands, name=name, looks=scene.looks, native_bits=scene.native_bits), group
            )
    for name in ("simulated-l1", "simulated-l4.4"):
        yield _own_clip(load_split(SceneSpec(name)).test[0].band(0), "simulated")


def _own_clip(scene: Scene, group: str) -> Item:
    normalizer = next(iter(fit_normalizers([scene]).values()))
    return Item(scene, (normalizer.low, normalizer.high), group)


def rates() -> Iterator[dict[str, Any]]:
    """Bytes of every codec at the same PSNR values."""
    for item in (*sentinel1(), *others()):
        for name in available(NAMES):
            search, done = Search(codecs[name], item.scene, {item.scene.bands[0]: item.clip}), set()
            for target in PSNR_DB:
                row = {**item.about, "codec": name, "target_value": target, "reason": ""}
                try:
                    trial = search.find(Goal("psnr", target))
                except SarlabError as error:
                    yield {**row, "reason": str(error)}
                    continue
                if trial.quality in done:
                    continue
                done.add(trial.quality)
                measured = {"quality": trial.quality, "bytes": len(trial.data), "bpp": search.bpp(trial)}
                yield {**row, **measured, "psnr_db": search.score(trial, "psnr")}
                if name == OURS:
                    data = compress(item.scene, codec=OURS, quality=trial.quality, metadata=False, effort="best")
                    measured |= {"bytes": len(data), "bpp": 8 * len(data) / item.scene.data.size}
                    yield {
                        **row,
                        **measured,
                        "codec": BEST,
                        "psnr_db": search.score(Trial(trial.quality, data, 0.0), "psnr"),
                    }


def limits() -> Iterator[dict[str, Any]]:
    """Rates of the power spectrum of each scene: reverse water-filling, and ideal scalar quantization."""
    for item in (*sentinel1(), *others()):
        for name, scalar in (("Gaussian reference", False), ("ideal scalar quantization", True)):
            row = {**item.about, "codec": name}
            samples = np.where(item.scene.valid[0], item.scene.data[0], np.nan)
            try:
                curve = water_filling_curve(samples, clip=item.clip, psnr_db=PSNR_DB, scalar=scalar)
            except UndefinedMetric as error:
                yield {**row, "reason": str(error)}
                continue
            for target, psnr, bpp in zip(PSNR_DB, curve.psnr_db, curve.bpp, strict=True):
                yield {**row, "target_value": target, "psnr_db": psnr, "bpp": bpp, "reason": "a model's rate, no file"}


def fidelity() -> Iterator[dict[str, Any]]:
    """Measures besides PSNR at equal bytes; ours also with corrected radiometry, whose bytes are counted."""
    for item in sentinel1():
        reference = Reference(item.scene.data[0], clip=item.clip, looks=item.scene.looks)
        for name in (*available(("jpeg2000", "hevc12", OURS)), CORRECTED):
            search = None if name == CORRECTED else Search(codecs[name], item.scene)
            for rate in RATES_BPP:
                row = {**item.about, "codec": name, "target_value": rate, "reason": ""}
                try:
                    if search is None:
                        data = compress(item.scene, codec=OURS, bpp=rate, metadata=False, radiometric=True)
                        decoded = decompress(data, radiometric=True)
                    else:
                        trial = search.find(Goal("bpp", rate))
                        data, decoded = trial.data, search.decode(trial)
                    scores = score(reference, decoded.data[0], columns=FIDELITY)
                except SarlabError as error:
                    yield {**row, "reason": str(error)}
                    continue
                yield {**row, "bytes": len(data), "bpp": 8 * len(data) / item.scene.data.size, **scores}


def speed() -> Iterator[dict[str, Any]]:
    """CPU-seconds and seconds for 4096² samples near 0.5 bpp, files read and written; medians of `MOST_TRIES` in turns."""
    source = next(item.scene for item in sentinel1() if item.group == "large")
    times = -(-4096 // source.shape[1]), -(-4096 // source.shape[2])
    tiled = np.tile(np.where(source.valid, source.data, np.nanmean(source.data)), (1, *times))[:, :4096, :4096]
    scene = Scene(tiled.astype(np.float32), "db", source.bands, name="4096", native_bits=16)
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    sizes: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        image, packed, back = (Path(folder) / name for name in ("in.tif", "x.sarl", "out.tif"))
        write_geotiff(scene, image)
        quality = {name: Search(codecs[name], source).find(Goal("bpp", 0.5)).quality for name in (OURS, "jpeg2000")}

        def encode(effort: str = "default", workers: int = 0) -> None:
            goal = Goal("quality", quality[OURS])
            compress_file(image, packed, codec=OURS, goal=goal, effort=effort, workers=workers, force=True)

        def peer_encode() -> None:
            packed.write_bytes(codecs["jpeg2000"].compress(to_db(read_scene(image)), quality=quality["jpeg2000"]))

        tasks: dict[tuple[str, str], Callable[[], Any]] = {
            (f"{OURS} --effort fast", "encode"): lambda: encode("fast"),
            (f"{OURS} --workers 1", "encode"): lambda: encode(workers=1),
            (OURS, "encode"): encode,
            (OURS, "decode"): lambda: decompress_file(packed, back, workers=0, force=True),
            ("jpeg2000", "encode"): peer_encode,
            ("jpeg2000", "decode"): lambda: write_geotiff(codecs["jpeg2000"].decompress(packed.read_bytes()), back),
        }
        for attempt in range(MOST_TRIES + 1):
            for (name, direction), task in tasks.items():
                wall, cpu = time.perf_counter(), _cpu_seconds()
                task()
                taken = time.perf_counter() - wall, _cpu_seconds() - cpu
                if attempt:  # the first turn compiles and fills caches
                    found.setdefault((name, direction), []).append(taken)
                sizes[name] = 8 * packed.stat().st_size / scene.data.size
    for (name, direction), taken in found.items():
        seconds, cpu = np.median(taken, axis=0)
        yield {"codec": name, "direction": direction, "seconds": seconds, "cpu_seconds": cpu,
               "mpx_per_s": scene.data.size / 1e6 / seconds, "mpx_per_cpu_s": scene.data.size / 1e6 / cpu,
               "bpp": sizes[name], "pixels": scene.data.size, "cores": os.cpu_count(),
               "processor": environment()["processor"], "load": os.getloadavg()[0], "date": now()}  # fmt: skip


def sizes() -> Iterator[dict[str, Any]]:
    """Bytes of lossless files against JPEG 2000, of the header and of the model; seconds and memory of commands of the shell."""
    products = [
        *(FOLDER / "sentinel1_safe").glob("*/measurement/*-vh-*.tiff"),
        FOLDER / "umbra_mount_yasur/umbra_mount_yasur.tiff",
    ]
    for path in (path for path in products if path.is_file()):
        whole = read_scene(path)
        scene = dataclasses.replace(whole, data=whole.data[:, :1024, :1024], valid=whole.valid[:, :1024, :1024])
        peer = len(
            codecs["lossless-jpeg2000"].compress(scene, quality=codecs["lossless-jpeg2000"].capabilities.quality.high)
        )
        yield {
            "measure": "lossless bytes",
            "item": path.stem,
            "value": len(compress(scene, lossless=True, metadata=False)),
            "peer": peer,
        }
    yield {"measure": "model bytes", "item": OURS, "value": model_path(OURS).stat().st_size}
    with tempfile.TemporaryDirectory() as folder:
        image, packed, back = (Path(folder) / name for name in ("in.tif", "x.sarl", "out.tif"))
        command = [sys.executable, "-m", "sarlab"]
        for path in sorted((FOLDER / "sentinel1_grd_chips").glob("*.tif")):
            done = subprocess.run(
                [*command, "compress", path, packed, "--bands", "VV", "--force", "--json"], capture_output=True
            )
            if not done.returncode:  # one chip has no valid sample
                info, item = json.loads(done.stdout), f"{path.stem}, VV"
                yield {"measure": "header bytes", "item": item, "value": info["header_bytes"] - info["side_bytes"]}
                yield {"measure": "spectrum bytes", "item": item, "value": info["side_bytes"]}
                seconds = watched([*command, "compress", str(path), str(packed), "--bands", "VV", "--force"])[0]
                yield {"measure": "seconds of the command", "item": item, "value": seconds}
        write_image(image, HUGE)
        commands = {
            "compress": ["compress", str(image), str(packed), "--force", "--quality", "24"],
            "decompress": ["decompress", str(packed), str(back)],
        }
        for name, options in commands.items():
            seconds, peak = watched([*command, *options])
            about = {"item": f"{name} {HUGE}×{HUGE}", "processor": environment()["processor"], "cores": os.cpu_count()}
            yield {"measure": "peak MB", "value": peak / 1e6, **about}
            yield {"measure": "seconds", "value": seconds, **about}


def _cpu_seconds() -> float:
    return sum(resource.getrusage(resource.RUSAGE_SELF)[:2])


def available(names: tuple[str, ...]) -> list[str]:
    return [name for name in names if codecs[name].available().ok]


PARTS = {"rates": rates, "limits": limits, "fidelity": fidelity, "speed": speed, "sizes": sizes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder of the tables")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for part in args.parts or PARTS:
        frame = pd.DataFrame(PARTS[part]())
        path = args.out / f"codec_goal_{part}.csv"
        write_table(frame, path)
        print(f"{path}: {len(frame)} rows", flush=True)


if __name__ == "__main__":
    main()
