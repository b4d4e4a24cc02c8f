"""Raster files of tests, written and read by rasterio without the package."""

import warnings
from pathlib import Path

import numpy as np
import rasterio

#: Tags and namespaces of overviews and of how a file is laid out, which is not kept.
LAYOUT = ("OVR_RESAMPLING_ALG", "IMAGE_STRUCTURE", "DERIVED_SUBDATASETS")


def write(path, array, *, driver="GTiff", attributes=None, tags=None, band_tags=None, rpc=None, mask=None, **options):
    """Write an array (H, W) or (bands, H, W) as .npy or as an image; `band_tags` are of the first band. Returns the path."""
    path, array = Path(path), np.asarray(array)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
        return path
    array = array[None] if array.ndim == 2 else array
    count, height, width = array.shape
    options.setdefault("dtype", array.dtype)
    path.with_name(f"{path.name}.msk").unlink(missing_ok=True)
    with rasterio.open(path, "w", driver, width=width, height=height, count=count, **options) as file:
        file.write(array)
        file.update_tags(**tags or {})
        file.update_tags(1, **band_tags or {})
        if rpc:
            file.update_tags(ns="RPC", **rpc)
        for attribute, value in (attributes or {}).items():
            setattr(file, attribute, value)
        if mask is not None:
            file.write_mask(mask)
    return path


def facts(path):
    """What GDAL says of a file, other than its samples: two files with equal facts differ in nothing else."""
    with warnings.catch_warnings(action="ignore"), rasterio.open(path) as file:
        return {
            "dtypes": file.dtypes, "nodata": str(file.nodata), "crs": file.crs, "transform": file.transform,
            "gcps": [p.asdict() for p in file.gcps[0]], "gcps_crs": file.gcps[1], "rpcs": file.tags(ns="RPC"),
            "scales": file.scales, "offsets": file.offsets, "descriptions": file.descriptions, "units": file.units,
            "colors": file.colorinterp, "flags": file.mask_flag_enums, "masks": file.read_masks().tolist(),
            "tags": {k: v for k, v in file.tags().items() if k not in LAYOUT and not k.startswith("SARLAB_")},
            "band_tags": [file.tags(i) for i in file.indexes],
            "spaces": {n: file.tags(ns=n) for n in file.tag_namespaces() if n not in LAYOUT},
        }  # fmt: skip
