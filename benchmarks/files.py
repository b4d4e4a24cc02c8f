"""Files of any size: time, memory and rate accuracy of `sarlab compress` and `decompress`.

    python benchmarks/files.py scale [--sides 1000 2000 4000 20000] [--codec lapped] [--workers 0]
    python benchmarks/files.py rates PATH… [--codec lapped]

``scale`` writes a 16-bit amplitude GeoTIFF of each size and runs the command line on it: seconds, Mpixel/s and the peak
memory of all its processes together (PSS: shared pages count once). ``rates`` says how near files come to a wanted rate.
Goals: 1 GB at 20 000², cost linear in pixels, 1.2 % of the rate.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np


def write_image(path: Path, side: int) -> None:
    """Amplitude of simulated land, 16 bit, tiled GeoTIFF of side×side pixels, written by rows of tiles."""
    import rasterio

    from sarlab.scenes.simulate import simulate

    scene, _ = simulate((1024, 1024), 4.4, 0.5, seed=3)
    pattern = np.rint(1500 * np.sqrt(scene.data[0])).clip(0, 65535).astype(np.uint16)
    pattern = np.block([[pattern, pattern[:, ::-1]], [pattern[::-1], pattern[::-1, ::-1]]])
    profile = {
        "driver": "GTiff", "width": side, "height": side, "count": 1, "dtype": "uint16", "tiled": True, "blockxsize": 512,
        "blockysize": 512, "compress": "deflate", "zlevel": 1, "bigtiff": "if_safer",
    }  # fmt: skip
    with rasterio.Env(GDAL_CACHEMAX=64), rasterio.open(path, "w", **profile) as file:
        for row in range(0, side, 512):
            rows = min(512, side - row)
            strip = np.tile(pattern[np.arange(row, row + rows) % 2048], (1, -(-side // 2048)))[:, :side]
            # Every strip a level of its own, so that no two tiles of a large image are the same.
            strip = np.minimum(strip * (1 + 0.2 * np.sin(row / 700)), 65535).astype(np.uint16)
            file.write(strip, 1, window=rasterio.windows.Window(0, row, side, rows))


def watched(arguments: list[str]) -> tuple[float, int]:
    """Seconds and peak PSS in bytes of a command and all its children."""
    import psutil

    start, peak = time.perf_counter(), 0
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    parent = psutil.Process(process.pid)
    while process.poll() is None:
        total = 0
        try:
            for one in [parent, *parent.children(recursive=True)]:
                total += one.memory_full_info().pss
        except (psutil.Error, AttributeError):
            pass
        peak = max(peak, total)
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed")
    return time.perf_counter() - start, peak


def scale(sides: list[int], codec: str, workers: int) -> list[dict[str, Any]]:
    """Time and memory against size."""
    rows = []
    for side in sides:
        with tempfile.TemporaryDirectory() as folder:
            image, coded, decoded = (Path(folder) / name for name in ("in.tif", "a.sarl", "out.tif"))
            write_image(image, side)
            command = [sys.executable, "-m", "sarlab"]
            options = ["--workers", str(workers)]
            encode = watched(
                [*command, "compress", str(image), str(coded), "--codec", codec, "--quality", "24", *options]
            )
            decode = watched([*command, "decompress", str(coded), str(decoded), *options])
            row = {
                "side": side, "codec": codec, "bpp": 8 * coded.stat().st_size / side**2,
                "encode_s": encode[0], "encode_mpx_s": side**2 / encode[0] / 1e6, "encode_peak_mb": encode[1] / 1e6,
                "decode_s": decode[0], "decode_mpx_s": side**2 / decode[0] / 1e6, "decode_peak_mb": decode[1] / 1e6,
            }  # fmt: skip
            rows.append(row)
            print({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}, flush=True)
    return rows


def rates(paths: list[str], codec: str) -> list[dict[str, Any]]:
    """Wanted against real rates."""
    from sarlab.codec.goals import Goal
    from sarlab.codec.model_store import model_path
    from sarlab.codec.stream import Encoder, MemorySource
    from sarlab.scenes.readers import read_scene

    rows = []
    for path in paths:
        scene = read_scene(path)
        encoder = Encoder(MemorySource(scene), model_path(codec))
        for bpp in (0.1, 0.25, 0.5, 1.0, 2.0):
            file = io.BytesIO()
            encoder.write(file, Goal("bpp", bpp))
            size = len(file.getvalue())
            rows.append({
                "scene": scene.name, "codec": codec, "wanted_bpp": bpp, "bpp": 8 * size / scene.data.size,
                "off": 8 * size / scene.data.size / bpp - 1,
            })  # fmt: skip
            print({k: round(v, 4) if isinstance(v, float) else v for k, v in rows[-1].items()}, flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("scale", "rates"))
    parser.add_argument("paths", nargs="*")
    parser.add_argument("--sides", type=int, nargs="+", default=[1000, 2000, 4000])
    parser.add_argument("--codec", default="lapped")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    arguments = parser.parse_args()
    if arguments.what == "scale":
        rows = scale(arguments.sides, arguments.codec, arguments.workers)
    else:
        rows = rates(arguments.paths, arguments.codec)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
