"""A codec for Zarr version 3: each chunk of an array is a ``.sarl`` file, decoded when it is read.

    import zarr
    from sarlab.codec.zarr_codec import SarlabCodec

    group = zarr.create_group("cube.zarr")
    group.create_array("db", shape=cube.shape, chunks=(1, 1024, 1024), dtype="float32", fill_value=float("nan"),
                       serializer=SarlabCodec(quality=30), compressors=None)

`xarray.open_zarr` finds the codec by its entry point. The last two axes of a chunk are rows and columns, all others bands.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

import numpy as np
from zarr.abc.codec import ArrayBytesCodec
from zarr.core.common import parse_named_configuration

from sarlab.codec.api import compress, decompress
from sarlab.errors import CodecError
from sarlab.scenes.rasters import encode_samples
from sarlab.scenes.scene import Scene


@dataclass(frozen=True)
class SarlabCodec(ArrayBytesCodec):
    """Lossy compression of radar images, from array to bytes.

    Parameters
    ----------
    quality : float
        See `sarlab.codec.api.compress`.
    quantity : {"db", "amplitude", "intensity"}
        Unit of the samples.
    max_error_db : float, optional
        Bound on the error of every sample in dB, in place of `quality`.

    Notes
    -----
    Samples are NaN where they are missing. A fill value other than 0 marks missing samples too, and comes back.
    """

    is_fixed_size = False

    quality: float = 28.0
    quantity: str = "db"
    max_error_db: float | None = None

    def __post_init__(self) -> None:
        if self.quantity not in ("db", "amplitude", "intensity"):
            raise CodecError(f"codec sarlab: unknown quantity '{self.quantity}'; use db, amplitude or intensity")

    @classmethod
    def from_dict(cls, data: Any) -> SarlabCodec:
        """Make the codec from the metadata of an array."""
        options: Any = parse_named_configuration(data, "sarlab", require_configuration=False)[1]
        return cls(**(options or {}))

    def to_dict(self) -> dict[str, Any]:
        """Return the metadata that an array stores."""
        return {"name": "sarlab", "configuration": {k: v for k, v in asdict(self).items() if v is not None}}

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Refuse arrays that are no images."""
        if len(shape) < 2 or dtype.to_native_dtype().kind not in "iuf":
            raise CodecError(f"codec sarlab: an array of {len(shape)} axes and type {dtype} is no radar image")

    def compute_encoded_size(self, input_byte_length: int, _chunk_spec: Any) -> int:
        """Fail, because the size of a chunk depends on its content."""
        raise NotImplementedError

    async def _encode_single(self, chunk_array: Any, chunk_spec: Any) -> Any:
        data = await asyncio.to_thread(self._encode, chunk_array.as_numpy_array(), chunk_spec.fill_value)
        return chunk_spec.prototype.buffer.from_bytes(data)

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        dtype = chunk_spec.dtype.to_native_dtype()
        data = await asyncio.to_thread(self._decode, chunk_bytes.to_bytes(), chunk_spec.shape, dtype)
        return chunk_spec.prototype.nd_buffer.from_numpy_array(data)

    def _encode(self, samples: np.ndarray, fill: Any) -> bytes:
        planes = samples.reshape(-1, *samples.shape[-2:])
        nodata = None if fill is None or fill == 0 or np.isnan(fill) else float(fill)
        nan = np.isnan(planes)
        valid = ~nan if nodata is None else ~nan & (planes != nodata)
        scene = Scene(
            planes, self.quantity, tuple(f"band{i + 1}" for i in range(len(planes))), valid=valid, nodata=nodata,
            nan=nan if nodata is not None and nan.any() else None, dtype=samples.dtype.newbyteorder("=").name,
        )  # fmt: skip
        exact = self.max_error_db is not None
        return compress(scene, quality=None if exact else self.quality, max_error_db=self.max_error_db, metadata=False)

    def _decode(self, data: bytes, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        scene = decompress(data)
        if scene.data.size != prod(shape) or scene.shape[1:] != tuple(shape[-2:]):
            raise CodecError(f"codec sarlab: a chunk of {scene.shape} samples does not fill a chunk of {shape}")
        name = dtype.newbyteorder("=").name
        encoded = encode_samples(scene.data, scene.valid, name, scene.nodata, "a chunk", nan=scene.nan)
        return encoded.reshape(shape).astype(dtype, copy=False)
