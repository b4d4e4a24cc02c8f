"""What the codec `lapped` is to reach, measured against its peers on real files: the tables of the book's chapter on it.

    python benchmarks/codec_goals.py --out book/results            # everything; half an hour on one core
    python benchmarks/codec_goals.py rates --out book/results      # one part: rates, fidelity, radiometry, pairs, speed
    python benchmarks/codec_goals.py                               # a look at the embedded test scene, printed, not written

Scenes of ../shared/data are measured where they are at hand; the tables say which were. None of them was trained on. Every
part is written as soon as it is measured; `speed` means something on a quiet machine only.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sarlab.codec.api import compress, decompress
from sarlab.codec.goals import Goal, Search
from sarlab.errors import SarlabError
from sarlab.lab.results import environment, now, write_table
from sarlab.metrics import Reference, score
from sarlab.peers import codecs
from sarlab.scenes.catalog import load_split
from sarlab.scenes.embedded import reference_normalizers
from sarlab.scenes.radiometry import fit_normalizers, to_db
from sarlab.scenes.readers import read_scene
from sarlab.scenes.scene import Scene
from sarlab.specs import SceneSpec

SHARED = Path(os.environ.get("SARLAB_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "data"
PEERS = ("jpeg2000", "hevc12")
OURS, CORRECTED = "lapped", "lapped --radiometric"
#: PSNR targets: BD-rate is taken between 25 and 40 dB, the others reach from about 0.03 to 3 bpp.
PSNR_DB = tuple(float(value) for value in range(20, 45, 2))
RATES_BPP = (0.08, 0.125, 0.25, 0.5, 1.0, 2.0)
#: Of files of one and of two bands.
QUALITIES = (12.0, 16.0, 20.0, 24.0, 28.0, 34.0, 40.0)
#: What PSNR does not see, at equal bytes.
FIDELITY = (
    "psnr_db",
    "ssim",
    "epi_roa",
    "rmse_k8_db",
    "rmse_k32_db",
    "bias_db",
    "bias_brightness_worst_db",
    "enl_ratio",
)
BIASES = ("psnr_db", "bias_db", *(f"bias_brightness{i}_db" for i in (1, 2, 3, 4)), "bias_brightness_worst_db")
#: Side of the part of a large scene of another sensor that is measured.
PART = 512


class Item(NamedTuple):
    """One band to be measured."""

    scene: Scene
    clip: tuple[float, float]
    #: "test", "independent" or the sensor.
    group: str

    @property
    def about(self) -> dict[str, Any]:
        scene = self.scene
        return {"scene": scene.name, "band": scene.bands[0], "group": self.group, "acquisition": scene.acquisition,
                "looks": scene.looks, "height": scene.shape[1], "width": scene.shape[2]}  # fmt: skip


def sentinel1(whole: bool = True) -> Iterator[Item]:
    """Sentinel-1 scenes that no training has seen: the embedded ones, and two acquisitions from elsewhere."""
    normalizers = reference_normalizers()
    split = load_split(SceneSpec("bigearthnet"))
    scenes = [("test", scene) for scene in split.test]
    if whole:
        scenes += [("independent", scene) for scene in split.independent]
        for number, folder in enumerate(sorted((SHARED / "ssl4eo_s1").glob("S1*"))):
            for file in sorted(folder.glob("V?.tif"), reverse=True):
                scenes.append(("ssl4eo", replace(to_db(read_scene(file)), name=f"ssl4eo-{number + 1}")))
    for group, scene in scenes:
        for index, band in enumerate(scene.bands):
            yield Item(scene.band(index), (normalizers[band].low, normalizers[band].high), group)


def elsewhere() -> Iterator[Item]:
    """Other sensors and single look: their own percentiles are the clip range, as the codec's own normalizers are."""
    files = [
        *(("spacenet6, X band, 1 look", SHARED / f"spacenet6_capella_slc/sar_{p}.tif") for p in ("hh", "hv", "vv")),
        ("umbra, X band", SHARED / "umbra_mount_yasur/umbra_mount_yasur.tiff"),
        ("sentinel-1, 20 m", next(iter(sorted((SHARED / "pyrosar_s1").glob("*.tif"))), SHARED / "none")),
    ]
    for group, file in files:
        if file.is_file():
            scene = to_db(read_scene(file))
            height, width = (max(0, (n - PART) // 2) for n in scene.shape[1:])
            scene = Scene(
                scene.data[:, height : height + PART, width : width + PART], "db", scene.bands, name=file.stem[:24],
                looks=scene.looks, native_bits=scene.native_bits, acquisition=scene.acquisition,
            )  # fmt: skip
            yield _own_clip(scene, group)
    for looks, correlation in ((1.0, 0.0), (1.0, 0.6), (4.4, 0.6)):
        name = f"simulated-l{looks:g}{'-correlated' if correlation else ''}"
        scene = load_split(SceneSpec(name)).test[0]
        yield _own_clip(
            scene.band(0), f"simulated, {looks:g} look{'s' if looks > 1 else ''}{', correlated' if correlation else ''}"
        )


def _own_clip(scene: Scene, group: str) -> Item:
    normalizer = next(iter(fit_normalizers([scene]).values()))
    return Item(scene, (normalizer.low, normalizer.high), group)


# --- parts ------------------------------------------------------------------------------------------------------------


def rates(items: list[Item], names: list[str]) -> Iterator[dict[str, Any]]:
    """Bytes of every codec at the same PSNR values."""
    for item in items:
        for name in names:
            search = Search(codecs[name], item.scene, {item.scene.bands[0]: item.clip})
            done = set()
            for target in PSNR_DB:
                try:
                    trial = search.find(Goal("psnr", target))
                except SarlabError as error:
                    yield {**item.about, "codec": name, "target_value": target, "reason": str(error)}
                    continue
                if trial.quality not in done:
                    done.add(trial.quality)
                    yield {**item.about, "codec": name, "target_value": target, "quality": trial.quality, "bytes": len(trial.data),
                           "bpp": search.bpp(trial), "psnr_db": search.score(trial, "psnr"), "reason": ""}  # fmt: skip


def fidelity(items: list[Item], names: list[str]) -> Iterator[dict[str, Any]]:
    """What PSNR does not see, at equal bytes."""
    for item in items:
        reference = Reference(item.scene.data[0], clip=item.clip, looks=item.scene.looks)
        for name in names:
            search = Search(codecs[name], item.scene)
            for rate in RATES_BPP:
                try:
                    trial = search.find(Goal("bpp", rate))
                    scores = score(reference, search.decode(trial).data[0], columns=FIDELITY)
                except SarlabError as error:
                    yield {**item.about, "codec": name, "target_value": rate, "reason": str(error)}
                    continue
                yield {**item.about, "codec": name, "target_value": rate, "bytes": len(trial.data),
                       "bpp": search.bpp(trial), **scores, "reason": ""}  # fmt: skip
    if OURS in names:
        yield from corrected(items)


def corrected(items: list[Item]) -> Iterator[dict[str, Any]]:
    """The same of our codec with `--radiometric` on both sides: what it stores for that is in the bytes."""
    for item in items:
        reference = Reference(item.scene.data[0], clip=item.clip, looks=item.scene.looks)
        for rate in RATES_BPP:
            row = {**item.about, "codec": CORRECTED, "target_value": rate}
            try:
                data = compress(item.scene, codec=OURS, bpp=rate, metadata=False, radiometric=True)
            except SarlabError as error:
                yield {**row, "reason": str(error)}
                continue
            scores = score(reference, decompress(data, radiometric=True).data[0], columns=FIDELITY)
            yield {**row, "bytes": len(data), "bpp": 8 * len(data) / item.scene.data.size, **scores, "reason": ""}


def radiometry(items: list[Item], names: list[str]) -> Iterator[dict[str, Any]]:
    """Bias by brightness, uncorrected, with the learned correction, and with what the file says about itself."""
    if OURS not in names:
        return
    for item in items:
        reference = Reference(item.scene.data[0], clip=item.clip, looks=item.scene.looks)
        for rate in RATES_BPP:
            for mode, stored, corrected in (("off", False, False), ("learned", False, True), ("stored", True, True)):
                try:
                    data = compress(item.scene, codec=OURS, bpp=rate, metadata=False, radiometric=stored)
                except SarlabError as error:
                    yield {**item.about, "codec": OURS, "mode": mode, "target_value": rate, "reason": str(error)}
                    continue
                scores = score(reference, decompress(data, radiometric=corrected).data[0], columns=BIASES)
                yield {**item.about, "codec": OURS, "mode": mode, "target_value": rate, "bytes": len(data),
                       "bpp": 8 * len(data) / item.scene.data.size, **scores, "reason": ""}  # fmt: skip


def pairs(items: list[Item], names: list[str]) -> Iterator[dict[str, Any]]:
    """Bytes of two bands in one file, beside those of a file for each at the same quality, in both orders."""
    if OURS not in names:
        return
    by_scene: dict[str, list[Item]] = {}
    for item in items:
        by_scene.setdefault(item.scene.name, []).append(item)
    for bands in by_scene.values():
        if len(bands) != 2:
            continue
        for first, second in (bands, bands[::-1]):
            together = replace(
                first.scene, data=np.concatenate([first.scene.data, second.scene.data]), valid=None,
                bands=(*first.scene.bands, *second.scene.bands),
            )  # fmt: skip
            for quality in QUALITIES:
                sizes = [len(compress(scene, codec=OURS, quality=quality, metadata=False))
                         for scene in (first.scene, second.scene, together)]  # fmt: skip
                yield {**second.about, "after": first.scene.bands[0], "quality": quality, "first_bytes": sizes[0],
                       "second_bytes": sizes[1], "both_bytes": sizes[2], "bpp": 8 * sizes[1] / second.scene.data.size}  # fmt: skip


def speed(items: list[Item], names: list[str]) -> Iterator[dict[str, Any]]:
    """Seconds for a file of 4096² samples near 0.5 bpp, read and written, with as many processes as there are cores; the best of three in turns."""
    import tempfile

    from sarlab.codec.api import compress_file, decompress_file
    from sarlab.codec.goals import Goal
    from sarlab.scenes.writers import write_geotiff

    source, names = items[0].scene, [name for name in names if name != "hevc12"]
    tiled = np.pad(source.data, ((0, 0), (0, 4096 - source.shape[1]), (0, 4096 - source.shape[2])), mode="symmetric")
    scene = Scene(tiled, "db", source.bands, name="4096", native_bits=16)
    os.environ["OMP_NUM_THREADS"] = "1"
    found: dict[tuple[str, str], list[float]] = {}
    sizes: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        image, packed, back = (Path(folder) / name for name in ("in.tif", "x.sarl", "out.tif"))
        write_geotiff(scene, image)
        quality = {name: Search(codecs[name], source).find(Goal("bpp", 0.5)).quality for name in names}
        for _ in range(3):
            for name in names:
                start = time.perf_counter()
                if codecs[name].capabilities.trained:
                    compress_file(image, packed, codec=name, goal=Goal("quality", quality[name]), workers=0, force=True)
                    size = packed.stat().st_size
                else:
                    data = codecs[name].compress(to_db(read_scene(image)), quality=quality[name])
                    (Path(folder) / "x").write_bytes(data)
                    size = len(data)
                middle = time.perf_counter()
                if codecs[name].capabilities.trained:
                    decompress_file(packed, back, workers=0, force=True)
                else:
                    write_geotiff(codecs[name].decompress((Path(folder) / "x").read_bytes()), back)
                found.setdefault((name, "encode"), []).append(middle - start)
                found.setdefault((name, "decode"), []).append(time.perf_counter() - middle)
                sizes[name] = 8 * size / scene.data.size
    for (name, direction), seconds in found.items():
        yield {"codec": name, "direction": direction, "seconds": min(seconds), "mpx_per_s": scene.data.size / 1e6 / min(seconds),
               "bpp": sizes[name], "pixels": scene.data.size, "cores": os.cpu_count(), "device": "cpu",
               "processor": environment()["processor"], "load": os.getloadavg()[0], "date": now()}  # fmt: skip


# --- all of it --------------------------------------------------------------------------------------------------------

PARTS: dict[str, tuple[str, Callable[[list[Item], list[str]], Iterator[dict[str, Any]]], bool]] = {
    "rates": ("codec_goal_rates", rates, True),
    "fidelity": ("codec_goal_fidelity", fidelity, False),
    "radiometry": ("codec_goal_radiometry", radiometry, False),
    "pairs": ("codec_goal_pairs", pairs, False),
    "speed": ("codec_goal_speed", speed, False),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=f"of {', '.join(PARTS)}; default: all"
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="folder of the tables")
    parser.add_argument("--only", metavar="CODECS", help="measure these again, and keep the rows of the others")
    args = parser.parse_args()
    whole = args.out is not None
    names = args.only.split(",") if args.only else [*PEERS, OURS]
    names = [name for name in names if codecs[name].available().ok]
    for part in args.parts or (PARTS if whole else ["rates", "radiometry"]):
        table, measure, others = PARTS[part]
        items = [*sentinel1(whole), *(elsewhere() if others and whole else [])]
        frame = pd.DataFrame(measure(items, names))
        if not whole:
            print(frame.to_string(float_format=lambda v: f"{v:.3f}"))
            continue
        path = args.out / f"{table}.csv"
        if args.only and path.is_file() and "codec" in frame:
            kept = pd.read_csv(path)
            frame = pd.concat([kept[~kept["codec"].isin(set(frame["codec"]))], frame], ignore_index=True)
        args.out.mkdir(parents=True, exist_ok=True)
        write_table(frame, path)
        print(f"{path}: {len(frame)} rows", flush=True)


if __name__ == "__main__":
    main()
