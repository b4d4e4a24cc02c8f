"""What is fuzzed: seeds, mutations that know the structure of the input and put its checksums right, and the parsers."""

from __future__ import annotations

import copy
import functools
import json
import math
import re
import struct
import tempfile
import warnings
import zlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import rasterio
from forged import assembled, with_checksum
from harness import Target

from sarlab.codec import container
from sarlab.codec.metadata import pack_value
from sarlab.errors import BitstreamError, SarlabError
from sarlab.scenes.scene import Georeference, Profile, Scene

ROOT = Path(container.__file__).parents[2]
CORPUS = Path(__file__).parent / "corpus"
#: Scenes that declare more samples are decoded in part.
DECODED = 1 << 20
NUMBERS = (
    0, 1, -1, 2, 7, 63, 64, 127, 128, 255, 256, 32767, 65535, 65536, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 53, (1 << 64) - 1,
    -(1 << 63), 0.0, -0.0, 0.5, 1e-300, 1e300, -1.8e308, math.inf, -math.inf, math.nan,
)  # fmt: skip
WORDS = (
    "", "a", "VV", "db", "\0", "\x1b[2J", "=1+1", "ä" * 300, "../../x", "1e999", "nan", "ns", "bidx", "EPSG:4326", "</script>", "\ud7ff",
)  # fmt: skip
#: What packing values says that no file can hold.
IMPOSSIBLE = (SarlabError, ValueError, OverflowError, struct.error, AttributeError, TypeError, IndexError)


def kept(name: str) -> list[bytes]:
    """Inputs that once failed."""
    return [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]


# --- mutations of bytes and of trees ----------------------------------------------------------------------------------


def bytes_mutated(rng, data: bytes) -> bytes:
    """Change, insert, remove, repeat or cut some bytes."""
    data, at = bytearray(data), rng.randrange(len(data) + 1)
    length = min(rng.choice((1, 1, 1, 2, 4, 8, 64)), max(1, len(data) - at))
    match rng.randrange(7):
        case 0 if at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        case 1:
            data[at : at + length] = rng.randbytes(length)
        case 2:
            data[at : at + length] = bytes([rng.choice((0, 1, 127, 128, 255))]) * length
        case 3:
            data[at:at] = rng.randbytes(length)
        case 4:
            del data[at : at + length]
        case 5:
            data[at:at] = data[at : at + length] * rng.choice((1, 2, 100))
        case _:
            del data[at:]
    return bytes(data)


def value_of(rng, depth: int = 0):
    """Any value of a tree."""
    match rng.randrange(6 if depth < 2 else 4):
        case 0 | 1:
            return rng.choice(NUMBERS)
        case 2:
            return rng.choice(WORDS)
        case 3:
            return rng.choice((None, True, False))
        case 4:
            return [value_of(rng, depth + 1) for _ in range(rng.choice((0, 1, 2, 6, 40)))]
    return {rng.choice(WORDS): value_of(rng, depth + 1) for _ in range(rng.choice((0, 1, 3)))}


def tree_mutated(rng, tree):
    """Replace, remove, repeat or rename one node of a tree of maps and lists."""

    def parents(nodes):
        return [node for node in nodes if node and isinstance(node, (dict, list))]

    tree = copy.deepcopy(tree)
    node, inner = tree, parents([tree])
    if not inner:
        return value_of(rng)
    while inner and rng.random() < 0.7:
        node = rng.choice(inner)
        inner = parents(node.values() if isinstance(node, dict) else node)
    place = rng.choice([*node] if isinstance(node, dict) else range(len(node)))
    match rng.randrange(5):
        case 0:
            del node[place]
        case 1 if isinstance(node, list):
            node[place:place] = [node[place]] * rng.choice((1, 2, 1000))
        case 1:
            node[rng.choice(WORDS)] = node.pop(place)
        case 2 if isinstance(node[place], str):
            node[place] = text_mutated(rng, node[place])
        case _:
            node[place] = value_of(rng)
    return tree


def text_mutated(rng, text: str) -> str:
    """Replace a number or a word of a text, or repeat, swap or remove a line or a character."""
    found = [*re.finditer(r"-?\d[\d.eE+-]*|\w+", text)]
    match rng.randrange(5):
        case 0 | 1 if found:
            one = rng.choice(found)
            new = rng.choice((str(rng.choice(NUMBERS)), rng.choice(WORDS), rng.choice(found).group()))
            return text[: one.start()] + new + text[one.end() :]
        case 2:
            lines = text.splitlines(keepends=True) or [""]
            at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
            lines[at] = rng.choice((lines[other], lines[at] * rng.choice((0, 2, 50))))
            return "".join(lines)
        case 3:
            at = rng.randrange(len(text) + 1)
            return text[:at] + rng.choice(["", *"[]{}\"',\n<&=:\0€"]) + text[at + rng.randrange(3) :]
    return bytes_mutated(rng, text.encode("utf-8", "ignore")).decode("utf-8", "ignore")


# --- compressed scenes ------------------------------------------------------------------------------------------------


def example(quantity: str = "db", bands: tuple[str, ...] = ("VV", "VH"), shape=(40, 27), **fields) -> Scene:
    """A small scene of speckle with an edge, a target and missing samples."""
    rng = np.random.default_rng(0)
    level = np.where(np.add(*np.mgrid[: shape[0], : shape[1]]) > shape[0], -8.0, -16.0)
    data = level + 10 * np.log10(rng.gamma(4.4, 1 / 4.4, (len(bands), *shape)))
    data[0, 5, 6:8], data[:, -9:, :8] = 14, np.nan
    data = data if quantity == "db" else 10 ** (data / (20 if quantity == "amplitude" else 10))
    return Scene(data.astype(np.float32), quantity, bands, "example", **fields)


def rich() -> Scene:
    """An example with all metadata that a file can hold."""
    from rasterio.crs import CRS

    grid = [(float(row), float(column)) for row in (0, 20, 40) for column in (0, 20)]
    points = tuple((r, c, 10.0 + c / 100, 50.0 + r / 100, 0.0, f"p{r:.0f}") for r, c in grid)
    own = ((1, "", {"gain": "2"}), (0, "ns", {"a": "b"}))
    profile = Profile((1.0, 1.0), (0.0, 0.0), ("co", "cross"), ("dB", "dB"), ("gray", "undefined"), own)
    return example(
        looks=4.4, spacing=(10.0, 10.0), tags={"mission": "none", "AREA_OR_POINT": "Area"}, profile=profile, credit="nobody",
        georeference=Georeference("", gcps=points, gcps_crs=CRS.from_epsg(4326).to_wkt(), rpc={"LINE_OFF": "1"}), simulated=True,
    )  # fmt: skip


def streams() -> list[bytes]:
    import sarlab

    flat = example("intensity", ("HH",), (64, 64))
    flat.data[:, :16], flat.data[:, :, 40:] = 0, 3.5
    counts = np.random.default_rng(1).poisson(40, (1, 24, 33)).astype(np.float32)
    whole = Scene(counts, "amplitude", ("VV",), dtype="uint16")
    mixed = example(bands=("VV", "VH", "odd"), nodata=-9999.0)
    mixed = replace(mixed, nan=np.isnan(mixed.data) & (np.arange(27) < 4))
    return [
        sarlab.compress(rich(), quality=30, radiometric=True), sarlab.compress(example(shape=(130, 70)), quality=20, tile=64),
        sarlab.compress(flat, quality=24), sarlab.compress(mixed, quality=12), sarlab.compress(whole, lossless=True),
        sarlab.compress(rich(), max_error_db=1.0), sarlab.compress(example(), codec="klt8", quality=24),
    ]  # fmt: skip


def stream_mutated(rng, data: bytes) -> bytes:
    """Mutate one part of a container, and put its checksums right."""
    try:
        reader = container.StreamReader(data)
    except SarlabError:
        return with_checksum(bytes_mutated(rng, data))
    header, ends = reader.header, reader.header_bytes + np.cumsum(reader.lengths)
    payloads = [data[end - length : end] for length, end in zip(reader.lengths, ends, strict=True)]
    match rng.randrange(6):
        case 0 | 1:
            tile = rng.randrange(len(payloads))
            payloads[tile] = rng.choice((bytes_mutated(rng, payloads[tile]), *payloads[:3]))
            return assembled(header.pack(), payloads)
        case 2:
            with suppress(*IMPOSSIBLE):
                packed = pack_value(tree_mutated(rng, dict(header.metadata)))
                short = rng.random() < 0.3
                packed = zlib.compress(packed, 9, wbits=-15) if short else packed
                with mock.patch.object(container, "pack_metadata", return_value=(packed or b"\0", short)):
                    return assembled(header.pack(), payloads)
        case 3:
            part = rng.choice(("side", "radiometry"))
            return assembled(replace(header, **{part: bytes_mutated(rng, getattr(header, part))}).pack(), payloads)
        case 4:
            with suppress(*IMPOSSIBLE):
                return assembled(header_mutated(rng, header).pack(), payloads)
        case _:
            return assembled(bytes_mutated(rng, header.pack()), payloads)
    return with_checksum(bytes_mutated(rng, data))


def header_mutated(rng, header: container.Header) -> container.Header:
    """Another value in one field of a header."""
    bands, height, width = header.shape
    number = rng.choice(NUMBERS)
    new = {
        "model": rng.choice(container.MODELS), "quality": rng.choice((0.0, 1 / 256, 12.5, 96.0, 200.0, 255.99)),
        "shape": rng.choice(((bands, height, width + 1), (bands, 1, 1), (bands, 1 << rng.randrange(24), width), (bands, height, 1 << rng.randrange(24)), (bands, width, height))),
        "bands": tuple(rng.choice(WORDS) for _ in range(bands)), "centers": tuple(rng.choice((-512.0, 0.0, 511.0)) for _ in range(bands)),
        "quantity": rng.choice(container.QUANTITIES), "dtype": rng.choice(container.DTYPES), "tile": 64 * rng.randrange(1, 17),
        "native_bits": rng.randrange(1, 129), "floors": (float(number),) * bands, "flats": (float(number),) * bands, "nodata": float(number),
        "native": not header.native,
    }  # fmt: skip
    name = rng.choice([*new])
    return replace(header, **{name: new[name]})


def stream_run(data: bytes, folder: Path) -> int:
    """Describe and decode a stream as a whole, in part, to a file and as a preview."""
    from sarlab.codec.api import decompress, decompress_file, describe

    samples = 0
    try:
        described = describe(data)
        json.dumps(described)
        samples = len(described["bands"]) * described["height"] * described["width"]
        # what lies behind the checksums of latents is reached
        with mock.patch.object(container.StreamReader, "check", return_value=mock.ANY):
            if samples > DECODED:
                decompress(data, window=(0, 0, min(64, described["height"]), min(64, described["width"])))
                samples = 0
            elif data[-1] & 3:
                assert decompress(data).data.size == samples
            else:
                (folder / "x.sarl").write_bytes(data)
                decompress_file(folder / "x.sarl", folder / "x.tif", workers=1)
            if data[-1] & 4 and samples:
                with suppress(BitstreamError):
                    decompress(data, preview=8)
    except SarlabError as error:
        error.samples = samples
        raise
    return samples


# --- weights ----------------------------------------------------------------------------------------------------------


def files(pattern: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted(ROOT.glob(pattern))]


def weights_mutated(rng, data: bytes) -> bytes:
    """Mutate the table of tensors, the JSON text beside it, or the content of a tensor."""
    size = int.from_bytes(data[:8], "little")
    try:
        table = json.loads(data[8 : 8 + size])
        values = json.loads(table["__metadata__"]["sarlab"])
    except (ValueError, KeyError, TypeError):
        return bytes_mutated(rng, data)
    body = data[8 + size :]
    match rng.randrange(4):
        case 0:
            table = tree_mutated(rng, table)
        case 1:
            table["__metadata__"]["sarlab"] = json.dumps(tree_mutated(rng, values))
        case 2 if (named := [one for one in table if one != "__metadata__"]) and body:
            with suppress(TypeError, KeyError, ValueError):
                start, end = table[rng.choice(named)]["data_offsets"]
                flat = bytes([rng.choice((0, 127, 128, 255))]) * (end - start)
                part = rng.choice((bytes_mutated(rng, body[start:end]), flat))
                body = body[:start] + part[: end - start].ljust(end - start, b"\0") + body[end:]
        case _:
            return bytes_mutated(rng, data)
    text = json.dumps(table).encode()
    return len(text).to_bytes(8, "little") + text + body


def weights_run(data: bytes, folder: Path) -> int:
    """Load weights, and compress and decompress with them."""
    from sarlab.codec.api import compress, decompress

    path, scene = folder / "w.safetensors", example(bands=("VV",))
    path.write_bytes(data)
    exact = b"predictive" in data[:4096]
    decompress(compress(scene, codec=str(path), **({"max_error_db": 1.0} if exact else {"quality": 20.0})), model=path)
    return 0


# --- scenes -----------------------------------------------------------------------------------------------------------


VRT = (
    '<VRTDataset rasterXSize="20" rasterYSize="16"><VRTRasterBand dataType="Float32" band="1"><SimpleSource><SourceFilename '
    'relativeToVRT="1">c.tif</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>'
)


def write(path: Path, array: np.ndarray, driver: str = "GTiff", **options) -> None:
    """Write an array of 16×20 pixels with rasterio alone."""
    import rasterio

    with rasterio.open(path, "w", driver, width=20, height=16, count=len(array), dtype=array.dtype, **options) as file:
        file.write(array)
        if len(array) > 1:
            file.scales, file.offsets = (0.01, 0.01), (-30.0, -30.0)
            file.update_tags(SARLAB_LOOKS="4", SARLAB_NATIVE_BITS="16", SARLAB_QUANTITY="db")


def rasters() -> list[bytes]:
    """Files behind the suffix that they have: ``tif:…``."""
    from sarlab.scenes.writers import write_geotiff

    with tempfile.TemporaryDirectory() as name:
        folder, tiled = Path(name), {"compress": "deflate", "tiled": True, "blockxsize": 16, "blockysize": 16}
        write_geotiff(rich(), folder / "a.tif")
        np.save(folder / "b.npy", example("intensity", ("VV",), (20, 20)).data)
        write(folder / "c.tif", np.full((1, 16, 20), 1 + 2j, np.complex64))
        write(folder / "d.tif", np.arange(640, dtype=np.uint16).reshape(2, 16, 20), nodata=0, **tiled)
        write(folder / "e.img", np.ones((1, 16, 20), np.float32), "ENVI")
        names = ("a.tif", "b.npy", "c.tif", "d.tif", "e.hdr")
        found = [file[2:].encode() + b":" + (folder / file).read_bytes() for file in names]
    return [*found, b"vrt:" + VRT.encode()]


def raster_mutated(rng, data: bytes) -> bytes:
    """Mutate the entries of a TIFF directory, the header of an array, the words of a text, or any bytes."""
    suffix, _, body = data.partition(b":")
    if suffix in (b"hdr", b"vrt"):
        return table_mutated(rng, data)
    if suffix == b"tif" and body[:4] == b"II*\0" and rng.random() < 0.7:
        start = int.from_bytes(body[4:8], "little")
        count = int.from_bytes(body[start : start + 2], "little")
        if count and start + 2 + 12 * count <= len(body):
            at = start + 2 + 12 * rng.randrange(count)
            offset, length = rng.choice(((0, 2), (2, 2), (4, 4), (8, 4), (8, 2)))
            number = int(rng.choice(NUMBERS[:19])) & (1 << 8 * length) - 1
            new = rng.choice((rng.randbytes(length), number.to_bytes(length, "little")))
            return suffix + b":" + body[: at + offset] + new + body[at + offset + length :]
    if suffix == b"npy" and rng.random() < 0.6:
        size = int.from_bytes(body[8:10], "little")
        text = text_mutated(rng, body[10 : 10 + size].decode("latin1")).encode("latin1", "ignore")
        return suffix + b":" + body[:8] + (len(text) & 0xFFFF).to_bytes(2, "little") + text + body[10 + size :]
    return suffix + b":" + bytes_mutated(rng, body)


def raster_run(data: bytes, folder: Path) -> int:
    """Describe a raster, and read it if it is small, or a window of it."""
    from sarlab.codec.api import compress
    from sarlab.scenes.readers import open_scene

    suffix, _, body = data.partition(b":")
    path = folder / f"x.{suffix.decode()}"
    path.write_bytes(body)
    if suffix == b"hdr":
        path = path.with_suffix(".img")
        path.write_bytes(bytes(4 * 16 * 20))
    if suffix == b"vrt":
        write(folder / "c.tif", np.ones((1, 16, 20), np.float32))
    samples = 0
    with suppress(Exception), warnings.catch_warnings(action="ignore"), rasterio.open(path) as file:
        samples = file.count * file.height * file.width
    try:
        with open_scene(path, allow_empty=True) as file:
            samples = math.prod(file.shape)
            small = samples <= DECODED
            scene = file.read(None if small else (0, 0, min(64, file.shape[1]), min(64, file.shape[2])))
        if scene.data.size <= DECODED:
            compress(scene, quality=20, drop_phase=True)
    except SarlabError as error:
        error.samples = samples
        raise
    return samples


# --- plans, tables, folders of runs -----------------------------------------------------------------------------------


def text_bytes_mutated(rng, data: bytes) -> bytes:
    return text_mutated(rng, data.decode("utf-8", "ignore")).encode("utf-8", "ignore")


def plan_run(data: bytes, folder: Path) -> int:
    """Read a plan and expand it into runs."""
    from sarlab.lab.runs import load_plan

    (folder / "mine.toml").write_bytes(data)
    load_plan(folder / "mine.toml")
    return 0


def tables() -> list[bytes]:
    names = ("book/results/runs.csv", "book/results/codecs.csv")
    found = [b"csv:" + b"\n".join(table.splitlines()[:12]) for name in names for table in files(name)]
    return [*found, b'json:[{"codec":"x","bpp":1.0,"psnr_db":30.0}]']


def table_mutated(rng, data: bytes) -> bytes:
    suffix, _, body = data.partition(b":")
    return suffix + b":" + text_bytes_mutated(rng, body)


def table_run(data: bytes, folder: Path) -> int:
    """Read a table, and recommend a ratio from it."""
    from sarlab.lab.evaluate import read_rows
    from sarlab.lab.operating_points import operating_points, parse_threshold, recommend
    from sarlab.lab.results import read_table

    suffix, _, body = data.partition(b":")
    path = folder / f"rows.{suffix.decode()}"
    path.write_bytes(body)
    frame = read_table(path)
    rows = read_rows(path)
    points = operating_points(frame.iloc[:0], rows)
    recommend(points, [parse_threshold("psnr_db=30", "least", {"psnr_db"})])
    return 0


def records() -> list[bytes]:
    values = {
        "run_id": "klt-r8-c4-f32-s0-aaaaaa", "hash": "a" * 64, "spec": {"model": {"architecture": "klt"}}, "seconds": 1.5, "cell": 3,
        "files": {"rows.csv": {"bytes": 20, "sha256": "0" * 64}}, "error": "x", "message": "y", "step": 3, "steps": 10,
    }  # fmt: skip
    return [json.dumps(values).encode()]


def json_mutated(rng, data: bytes) -> bytes:
    try:
        return json.dumps(tree_mutated(rng, json.loads(data))).encode()
    except ValueError:
        return bytes_mutated(rng, data)


def run_run(data: bytes, folder: Path) -> int:
    """Look at a folder of a run whose records hold anything."""
    from sarlab.lab.runs import is_complete, statuses

    run = folder / "klt-r8-c4-f32-s0-aaaaaa"
    run.mkdir()
    for name in ("manifest.json", "failure.json", "progress.json", "history.json"):
        (run / name).write_bytes(data)
    (run / "rows.csv").write_bytes(b"run_id,psnr_db\na,1\n")
    is_complete(run, "a" * 64)
    json.dumps(statuses(folder))
    return 0


#: Seeds, mutation and parser of each target.
PARTS = {
    "stream": (streams, stream_mutated, stream_run),
    "weights": (lambda: files("sarlab/assets/weights/*.safetensors"), weights_mutated, weights_run),
    "scene": (rasters, raster_mutated, raster_run),
    "plan": (lambda: files("notebooks/plans/**/*.toml"), text_bytes_mutated, plan_run),
    "table": (tables, table_mutated, table_run),
    "run": (records, json_mutated, run_run),
}


@functools.cache
def seeds(name: str) -> list[bytes]:
    """Inputs to mutate: valid ones, and those that once failed."""
    return PARTS[name][0]() + kept(name)


TARGETS = {name: Target(name, functools.partial(seeds, name), *parts[1:]) for name, parts in PARTS.items()}
