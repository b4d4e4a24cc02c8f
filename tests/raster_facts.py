"""What GDAL says of a raster file, other than its samples: two files with equal facts differ in nothing else."""

import warnings

import rasterio

#: Of overviews and of how a file is laid out, which is not kept.
LEFT_OUT = ("OVR_RESAMPLING_ALG", "IMAGE_STRUCTURE", "DERIVED_SUBDATASETS")


def facts(path):
    with warnings.catch_warnings(action="ignore"), rasterio.open(path) as file:
        return {
            "dtypes": file.dtypes, "nodata": str(file.nodata), "crs": file.crs, "transform": file.transform,
            "gcps": [p.asdict() for p in file.gcps[0]], "gcps_crs": file.gcps[1], "rpcs": file.tags(ns="RPC"),
            "scales": file.scales, "offsets": file.offsets, "descriptions": file.descriptions, "units": file.units,
            "colors": file.colorinterp, "flags": file.mask_flag_enums, "masks": file.read_masks().tolist(),
            "tags": {k: v for k, v in file.tags().items() if k not in LEFT_OUT and not k.startswith("SARLAB_")},
            "band_tags": [file.tags(i) for i in file.indexes],
            "spaces": {n: file.tags(ns=n) for n in file.tag_namespaces() if n not in LEFT_OUT},
        }  # fmt: skip
