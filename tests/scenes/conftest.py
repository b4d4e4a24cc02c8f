"""Settings and helpers of the scenes tests."""

import numpy as np
import pytest
from hypothesis import settings

# Wall-clock deadlines fail on a busy machine.
settings.register_profile("sarlab", deadline=None)
settings.load_profile("sarlab")


@pytest.fixture
def write_raw(tmp_path):
    """Function that writes an array as .npy, or as GeoTIFF by rasterio without this package."""
    import rasterio

    def write(array, name="x.tif", *, tags=None, attributes=None, mask=None, **options):
        array = np.asarray(array)
        if name.endswith(".npy"):
            np.save(tmp_path / name, array)
            return tmp_path / name
        array = array[None] if array.ndim == 2 else array
        count, height, width = array.shape
        options.setdefault("dtype", array.dtype)
        with rasterio.open(tmp_path / name, "w", "GTiff", width=width, height=height, count=count, **options) as file:
            file.write(array)
            file.update_tags(**tags or {})
            for attribute, value in (attributes or {}).items():
                setattr(file, attribute, value)
            if mask is not None:
                file.write_mask(mask)
        return tmp_path / name

    return write
