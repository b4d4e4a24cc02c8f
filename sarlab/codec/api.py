"""Compress and decompress: scenes in memory, and files of any size."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from sarlab.codec.block_model import EFFORTS
from sarlab.codec.container import VERSION, StreamReader, writing
from sarlab.codec.goals import Goal
from sarlab.codec.metadata import scene_fields
from sarlab.codec.model_store import model_path
from sarlab.codec.predictive import exact_quality
from sarlab.codec.stream import DEFAULT_TILE, Decoder, Encoder, FileSource, MemorySource, Source, cache_limit
from sarlab.codec.tiles import NOT_A_NUMBER, Window
from sarlab.errors import CodecError, SarlabError
from sarlab.scenes.scene import Scene, polarization

DEFAULT_CODEC = "lapped"
#: Codec of lossless files, and of those with a bound on the error.
EXACT_CODEC = "predictive"
PHASE = (
    "a .sarl file keeps the intensity and drops the phase; set drop_phase (--drop-phase) to go on, or keep the phase with "
    "block-adaptive quantization (BAQ, FDBAQ) or a lossless complex GeoTIFF"
)
ZEROS = "single zeros are coded within the error, because their places would take more than half of the file"
#: About half a bit per pixel on Sentinel-1.
DEFAULT_QUALITY = 28.0


def make_goal(
    quality: float | None = None, bpp: float | None = None, psnr: float | None = None, max_error_db: float | None = None,
    lossless: bool = False,
) -> Goal:  # fmt: skip
    """Make the one goal that is given, or the default quality."""
    wanted = {"quality": quality, "bpp": bpp, "psnr": psnr, "max_error_db": max_error_db, "lossless": lossless or None}
    given = [(kind, float(value)) for kind, value in wanted.items() if value is not None]
    if len(given) > 1:
        raise CodecError(f"give one of {', '.join(wanted)}, not {' and '.join(kind for kind, _ in given)}")
    return Goal(*given[0]) if given else Goal("quality", DEFAULT_QUALITY)


def compress(
    scene: Any, *, codec: str = "", quality: float | None = None, bpp: float | None = None, psnr: float | None = None,
    max_error_db: float | None = None, lossless: bool = False, tile: int = DEFAULT_TILE, workers: int = 1,
    metadata: bool = True, tags: bool = True, radiometric: bool = False, effort: str = "default", drop_phase: bool = False,
) -> bytes:  # fmt: skip
    """Compress a scene to the bytes of a ``.sarl`` file.

    Parameters
    ----------
    scene : Scene, path, dataset of rasterio, or xarray.DataArray
        Of any quantity; of a complex scene only the intensity is kept. Everything but a `Scene` is read as by `sarlab.read`.
    codec : str
        ``"lapped"`` (the default), ``"factorized"``, ``"klt8"``, or the path of a model file. With `max_error_db` or
        `lossless` it is ``"predictive"``.
    quality, bpp, psnr, max_error_db, lossless : optional
        At most one goal; the default is ``quality=28``, about half a bit per pixel on Sentinel-1. `quality`, 0 to 96, sets
        the quantization step; the PSNR is about as high near the default, and 1 to 2 dB lower at high rates. `bpp` is the
        rate of the whole file in bits per pixel and band, met within 1.2 % or 8 bytes. `psnr` is that of samples in dB with
        a peak of 30 dB: the root mean square error is 30·10^(−psnr/20) dB. `max_error_db` bounds the error of every valid
        sample. `lossless` restores integer samples exactly. A goal that cannot be reached raises `CodecError`.
    tile : int
        Side of a tile in samples: a multiple of 64 up to 1024. Windows are decoded by tiles.
    workers : int
        Threads for a large scene; 0 for all processors.
    metadata, tags : bool
        Keep names, tags and georeference; keep the tags of the file and its bands.
    radiometric : bool
        Store 13 bytes per band that correct the mean intensity of decoded samples for this scene.
    effort : {"fast", "default", "best"}
        A trellis of 8, 64 or 256 states: each step takes longer and saves about 1 %.
    drop_phase : bool
        Accept a complex scene, whose phase is lost.

    Examples
    --------
    >>> import sarlab
    >>> data = sarlab.compress(sarlab.scene("ben-33UUP-37-88"), bpp=0.5)
    >>> sarlab.decompress(data)
    Scene('ben-33UUP-37-88', VV+VH, 360×240, db)
    """
    file = io.BytesIO()
    _encode(
        _source(scene), codec, make_goal(quality, bpp, psnr, max_error_db, lossless), file, tile=tile, workers=workers,
        metadata=metadata, tags=tags, radiometric=radiometric, effort=effort, drop_phase=drop_phase,
    )  # fmt: skip
    return file.getvalue()


def _encode(
    source: Source, codec: str, goal: Goal, file: BinaryIO, *, drop_phase: bool = False, **options: Any
) -> list[str]:  # fmt: skip
    """Encode a source with the codec that the goal needs, and close it; returns what does not come back as it is."""
    exact = goal.kind in ("max_error_db", "lossless")
    if options.get("effort", "default") not in EFFORTS:
        raise CodecError(f"unknown effort '{options['effort']}'; use {', '.join(EFFORTS)}")
    with closing(source):
        first = source.read(Window(0, 0, 1, 1))
        if first.quantity == "complex" and not drop_phase:
            raise CodecError(f"{source.name}: the samples are complex ({first.dtype}); {PHASE}")
        if exact and (codec not in ("", EXACT_CODEC) or options.get("radiometric")):
            raise CodecError(f"{goal.text()} is a goal of codec '{EXACT_CODEC}' only, without --radiometric")
        if codec == EXACT_CODEC and goal == make_goal():
            raise CodecError(f"codec '{codec}' has no default quality; give --max-error-db or --lossless")
        path = model_path(codec or (EXACT_CODEC if exact else DEFAULT_CODEC))
        stated = {"max_error_db": "bound", "bpp": "rate"}.get(goal.kind)
        options |= {stated: goal.value} if stated else {}
        encoder = Encoder(source, path, lossless=goal.kind == "lossless", **options)
        encoder.write(file, exact_quality(goal) if exact else goal)
        changed = source.changed() + ([ZEROS] if encoder.levels.floors else [])
        if goal.kind == "max_error_db" and first.dtype.startswith(("int", "uint", "float16")):
            changed.append(f"samples of type {first.dtype} become float32")
        if changed:
            warnings.warn(f"{source.name}: {'; '.join(changed)}", stacklevel=3)
    return changed


def _source(scene: Any) -> Source:
    return MemorySource(scene) if isinstance(scene, Scene) else FileSource(scene)


def decompress(
    data: bytes | str | Path, *, window: Sequence[int] | None = None, workers: int = 1, model: str | Path | None = None,
    radiometric: bool = False, preview: int = 1, any_size: bool = False,
) -> Scene:  # fmt: skip
    """Decompress a ``.sarl`` file.

    Parameters
    ----------
    data : bytes or path
        Damaged, truncated, foreign or unknown input raises `BitstreamError`.
    window : (row, column, height, width), optional
        Decode only this part, in pixels; only the tiles that it needs are read.
    workers : int
        Threads; 0 for all processors.
    model : path, optional
        Model weights, if they do not come with sarlab.
    radiometric : bool
        Correct the bias of mean intensity that decoding in dB leaves; costs a little PSNR.
    preview : {1, 8}
        8: decode an eighth of the resolution from a small part of the file; excludes `window` and `radiometric`.
    any_size : bool
        Also decode a file that declares more than 2³⁰ samples with less than one byte per 1024 of them: a nearly empty
        scene, or a file made to exhaust the machine.

    Returns
    -------
    Scene
        float32 samples in the quantity of the original (intensity of a complex one), NaN where it had no measurement.

    Examples
    --------
    >>> import sarlab
    >>> data = sarlab.compress(sarlab.scene("ben-33UUP-37-88"), quality=24)
    >>> sarlab.decompress(data, window=(100, 0, 64, 128))
    Scene('ben-33UUP-37-88', VV+VH, 64×128, db)
    """
    options: dict[str, Any] = {"model": model, "radiometric": radiometric, "preview": preview, "any_size": any_size}
    with StreamReader(data) as reader:
        return Decoder(reader, workers=workers, **options).scene(window)


def compress_file(
    source: str | Path, target: str | Path, *, quantity: str = "auto", codec: str = "", goal: Goal | None = None,
    workers: int = 0, force: bool = False, reading: Mapping[str, Any] | None = None, **options: Any,
) -> dict[str, Any]:  # fmt: skip
    """Compress an image file of any size in bounded memory, and describe the result (see `describe`).

    The ``.sarl`` file appears in one step when it is complete; `force` replaces an existing one. For `quantity` and the
    options `reading` see `sarlab.scenes.readers.open_scene`, for other options `compress`. The description has a list
    ``"changed"`` of what does not come back as it is.
    """
    refuse_existing(target, force)
    opened = FileSource(source, quantity, **(reading or {}))
    with closing(opened), writing(target) as file:
        changed = _encode(opened, codec, goal or make_goal(), file, workers=workers, **options)
    return describe(target) | {"changed": changed}


def decompress_file(
    source: str | Path, target: str | Path, *, window: Sequence[int] | None = None, workers: int = 0, cog: bool = False,
    force: bool = False, **options: Any,
) -> list[str]:  # fmt: skip
    """Decompress a ``.sarl`` file of any size in bounded memory, to the format that the name of `target` ends in.

    ``.tif`` is a GeoTIFF that holds everything, ``.npy`` and ``.zarr`` hold less: returns the properties of the scene that
    the format cannot hold. `cog` writes a cloud-optimized layout, `force` replaces an existing file. For the other
    options see `decompress`.
    """
    from sarlab.scenes.preservation import losses
    from sarlab.scenes.writers import open_writer

    refuse_existing(target, force)
    masks = Path(target).suffix.lower() in (".tif", ".tiff")
    with StreamReader(source) as reader, cache_limit():
        decoder = Decoder(reader, workers=workers, **options)
        part = decoder.window(window)
        like, whole = decoder.like(part), part.blocks(decoder.scale)
        like = replace(like, name=Path(target).stem) if like.name == "scene" else like
        written = _markable(like, decoder.may_be_invalid, masks)
        shape = (len(like.bands), whole.height, whole.width)
        with open_writer(target, written, shape=shape, georeference=like.georeference, cog=cog) as writer:
            for place, data, kinds in decoder.strips(part):
                nan = kinds == NOT_A_NUMBER
                writer.write(data, place.row - whole.row, place.column - whole.column, nan=nan if nan.any() else None)
    lost = losses(like, target, written)
    if lost:
        warnings.warn(f"{target}: {Path(target).suffix} cannot hold the {', '.join(lost)}", stacklevel=2)
    return lost


def _markable(like: Scene, invalid: bool, masks: bool = True) -> Scene:
    """Let integers be floats if they have neither nodata value nor mask to mark invalid samples."""
    marked = not invalid or like.nodata is not None or (masks and like.profile.mask)
    return like if marked or not like.file_dtype.startswith(("int", "uint")) else replace(like, dtype="float32")


def describe(source: str | Path | bytes) -> dict[str, Any]:
    """Describe a ``.sarl`` file in plain values: version, model, quality, shape, sizes, rates, georeference and tags."""
    with StreamReader(source) as reader:
        header, metadata = reader.header, scene_fields(reader.header.metadata, reader.header.shape)
    samples, place, profile = math.prod(header.shape), metadata["georeference"], metadata["profile"]
    return {
        "format_version": VERSION, "model": header.model, "model_hash": header.model_hash.hex(), "quality": header.quality,
        "bands": list(header.bands), "height": header.shape[1], "width": header.shape[2], "quantity": header.quantity,
        "dtype": header.dtype, "nodata": header.nodata, "native_bits": header.native_bits, "tile": header.tile,
        "centers_db": list(header.centers), "radiometric": bool(header.radiometry), "tiles": len(reader.lengths),
        "bytes": reader.size, "header_bytes": reader.header_bytes, "index_bytes": reader.index_bytes,
        "side_bytes": len(header.side), "bpp": 8 * reader.size / samples,
        "measured_cr": header.native_bits * samples / (8 * reader.size),
        **{key: metadata.get(key) for key in ("name", "looks", "spacing", "time", "tags")},
        "polarizations": [polarization(band) or None for band in header.bands], "scales": list(profile.scales),
        "offsets": list(profile.offsets), "mask": profile.mask, "crs": place and (place.crs or place.gcps_crs),
        "transform": (place and place.has_transform and place.transform) or None,
        "control_points": len(place.gcps) if place else 0, "rpc": bool(place and place.rpc),
    }  # fmt: skip


def refuse_existing(target: str | Path, force: bool) -> None:
    """Refuse to replace a file unless `force`."""
    if Path(target).exists() and not force:
        raise SarlabError(f"{target} exists already; choose another name, or replace it with --force")
