"""Size and cost of files: bytes by part, estimates, seconds, tiles and their seams, scenes of any size, memory.

Each sweep varies one thing::

    quality   the quality, on the test scene of the plan and on a larger simulated product, by codec
    tile      the side of a tile: cost of tiles, visibility of their borders, and cost of decoding a region
    size      the side of a whole product, from file to file in a process of its own: seconds and peak memory
"""

import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sarlab.codec.api import compress_file, decompress, decompress_file
from sarlab.codec.container import StreamReader
from sarlab.codec.goals import Goal
from sarlab.codec.metadata import pack_metadata
from sarlab.codec.model_store import model_path
from sarlab.codec.stream import Encoder, MemorySource
from sarlab.lab.experiment import process_peak_mb
from sarlab.lab.results import processor
from sarlab.lab.studies import Context, alone, study
from sarlab.models.training import cpu_threads
from sarlab.scenes.radiometry import to_db
from sarlab.scenes.scene import Scene
from sarlab.scenes.simulate import simulate
from sarlab.scenes.writers import write_geotiff

CODECS, QUALITIES = ("lapped", "factorized"), (20.0, 24.0, 28.0, 32.0, 36.0, 40.0)
#: The simulated product: land of a Sentinel-1 image, as amplitudes.
SIDE, LOOKS, CORRELATION = 1024, 4.4, 0.5
#: Quality of the sweeps over tiles and sizes: about half a bit per pixel.
TILES, SIDES, QUALITY = (128, 256, 512, 1024), (512, 2048, 4096), 28.0
#: Side of a region that is decoded alone, and width of the strips along borders of tiles whose error is compared.
REGION, SEAM = 256, 2


@study("files", version=1)
def files(context: Context) -> pd.DataFrame:
    """All sweeps."""
    product = simulated(SIDE)
    images = {"test scene": context.split.test[0], "simulated product": product}
    rows: list[dict[str, Any]] = []
    with cpu_threads(1):
        for codec in CODECS:
            for name, scene in images.items():
                rows += [{"sweep": "quality", "image": name, **coded(scene, codec, quality)} for quality in QUALITIES]
            rows += [{"sweep": "tile", "image": "simulated product", **tiled(product, codec, tile)} for tile in TILES]
    for side in SIDES:
        with tempfile.TemporaryDirectory(prefix="sarlab-") as folder:
            path, scene = Path(folder) / "in.tif", simulated(side)
            counts = np.rint(1500 * scene.data).clip(1, 65535).astype(np.float32)
            write_geotiff(scene.with_data(counts, dtype="uint16"), path)
            rows += [alone(whole, (path, codec)) for codec in CODECS]
    return pd.DataFrame(rows).assign(device=processor(), threads=1)


def simulated(side: int) -> Scene:
    """Amplitudes of simulated land; beyond `SIDE` the same land mirrored, with a level that varies by row."""
    scene, _ = simulate((SIDE, SIDE), LOOKS, CORRELATION, seed=3)
    scene = scene.with_data(np.sqrt(scene.data), quantity="amplitude")
    if side <= SIDE:
        return scene.window(0, 0, side, side)
    large = np.pad(scene.data[0], (0, side - SIDE), "symmetric") * (1 + 0.2 * np.sin(np.arange(side) / 700))[:, None]
    return Scene(large.astype(np.float32)[None], "amplitude", scene.bands, name="large")


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """Result and CPU seconds, which other work on the machine disturbs less than wall-clock time."""
    start = time.process_time()
    result = call()
    return result, time.process_time() - start


def encode(scene: Scene, codec: str, quality: float, tile: int) -> tuple[bytes, float]:
    """File of a scene, and the estimate of its bytes."""
    encoder, file = Encoder(MemorySource(scene), model_path(codec), tile=tile), io.BytesIO()
    header = encoder.write(file, Goal("quality", quality))
    return file.getvalue(), float(encoder.bytes(header.quality))


def coded(scene: Scene, codec: str, quality: float, tile: int = 512) -> dict[str, Any]:
    """Row of one file: bytes by part, and CPU seconds of both ways."""
    decompress(encode(scene, codec, quality, tile)[0])  # tables are built, and code is compiled, once in a process
    (data, estimate), encode_s = timed(lambda: encode(scene, codec, quality, tile))
    decoded, decode_s = timed(lambda: decompress(data))
    with StreamReader(data) as reader:
        header, lengths, index = reader.header, reader.lengths, reader.index_bytes
        metadata = len(pack_metadata(header.metadata)[0])
        return {
            "codec": codec, "quality": quality, "tile": tile, "tiles": len(lengths), "bands": len(scene.bands),
            "pixels": int(scene.data.size), "native_bits": header.native_bits, "bytes": len(data),
            "header_bytes": reader.header_bytes - index - metadata, "metadata_bytes": metadata, "index_bytes": index,
            "payload_bytes": sum(lengths), "estimated_bytes": estimate, "encode_s": encode_s, "decode_s": decode_s,
            "rmse_db": error(scene, decoded),
        }  # fmt: skip


def tiled(scene: Scene, codec: str, tile: int) -> dict[str, Any]:
    """Row of one tile size: that of `coded` with the error along borders of tiles and the cost of a region."""
    data, first = encode(scene, codec, QUALITY, tile)[0], (SIDE - REGION) // 2
    part, region_s = timed(lambda: decompress(data, window=(first, first, REGION, REGION)))
    decoded, near = decompress(data), seams(SIDE, tile)
    region = decoded.data[0][first : first + REGION, first : first + REGION]
    with StreamReader(data) as reader:
        touched = range(first // tile, (first + REGION - 1) // tile + 1)
        tiles = [row * -(-SIDE // tile) + column for row in touched for column in touched]
        read = reader.header_bytes + sum(reader.lengths[index] for index in tiles)
    return {
        **coded(scene, codec, QUALITY, tile), "region_s": region_s, "region_bytes": read, "region_pixels": REGION**2,
        "region_equal": bool(np.array_equal(part.data[0], region)),
        "seam_rmse_db": error(scene, decoded, near), "inner_rmse_db": error(scene, decoded, ~near),
    }  # fmt: skip


def seams(side: int, tile: int) -> np.ndarray:
    """Samples along borders between tiles; the border of the image does not count."""
    at = np.arange(side)
    near = (at % tile < SEAM) & (at >= tile) | (at % tile >= tile - SEAM) & (at < side - SEAM)
    return near[:, None] | near[None, :]


def error(scene: Scene, decoded: Scene, where: np.ndarray | None = None) -> float:
    """Root mean square difference in dB of the first band, over valid samples."""
    before, after = (to_db(s).data[0].astype(float) for s in (scene, decoded))
    known = scene.valid[0] if where is None else scene.valid[0] & where
    return float(np.sqrt(np.mean((before - after)[known] ** 2))) if known.any() else float("nan")


def whole(job: tuple[Path, str]) -> dict[str, Any]:
    """Row of one size: from file to file and back, with the peak of this process."""
    source, codec = job
    file, back = source.with_name(f"{codec}.sarl"), source.with_name(f"{codec}.tif")
    with cpu_threads(1):
        before = process_peak_mb()
        _, encode_s = timed(lambda: compress_file(source, file, codec=codec, goal=Goal("quality", QUALITY), workers=1))
        _, decode_s = timed(lambda: decompress_file(file, back, workers=1))
    with StreamReader(file) as reader:
        side = reader.header.shape[-1]
    return {
        "sweep": "size", "image": "simulated product", "codec": codec, "quality": QUALITY, "side": side, "tile": 512,
        "pixels": side * side, "bands": 1, "bytes": file.stat().st_size, "native_bits": 16, "encode_s": encode_s,
        "decode_s": decode_s, "process_mb": before, "peak_mb": process_peak_mb(),
    }  # fmt: skip
