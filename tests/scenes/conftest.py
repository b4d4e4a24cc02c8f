"""Settings and helpers of the scenes tests."""

from itertools import combinations

import numpy as np
import pytest
import raster_files


@pytest.fixture
def write_raw(tmp_path):
    """Function that writes a file into the folder of the test; returns its path."""

    def write(array, name="x.tif", **options):
        return raster_files.write(tmp_path / name, array, **options)

    return write


#: Samples of a run of pixels that is looked for in the scenes of other roles.
RUN = 12
#: Least distance between places of different roles, in degrees.
APART = 0.3


def run_hashes(scene):
    """Hashes of horizontal runs of `RUN` samples: of differences in dB, so that a shifted level changes nothing.

    Of all positions, but only every 16th hash by its value, so that a run is kept wherever it occurs.
    """
    weights = np.random.default_rng(0).integers(1, 2**62, RUN - 1, dtype=np.int64)
    data = np.nan_to_num(scene.data.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    steps = np.rint(np.diff(data, axis=2) / 0.01).astype(np.int64)
    parts = [steps[:, :, index : steps.shape[2] - RUN + 2 + index] for index in range(RUN - 1)]
    hashes = sum(weight * part for weight, part in zip(weights, parts, strict=True))
    flat = sum((part == 0).view(np.int8) for part in parts)
    return np.unique(hashes[(hashes % 16 == 0) & (flat < RUN // 2)])


def bounds(scene, record):
    """West, south, east and north of a scene in degrees, from its georeference or its stated position; None if unknown."""
    from rasterio.transform import Affine, array_bounds
    from rasterio.warp import transform_bounds

    if scene.georeference is None or not scene.georeference.crs:
        return None if record.lonlat is None else (*record.lonlat, *record.lonlat)
    inside = array_bounds(*scene.shape[1:], Affine(*scene.georeference.transform))
    return transform_bounds(scene.georeference.crs, "EPSG:4326", *inside)


@pytest.fixture
def find_leaks():
    """Function that lists what two roles of a split share: places, passes, ground closer than `APART`, runs of pixels."""

    def leaks(split, records):
        known = {record.name: record for record in records}
        scenes = [(role, scene, bounds(scene, known[scene.name])) for role, scene in split.roles()]
        found = []
        for (role, scene, box), (other_role, other, other_box) in combinations(scenes, 2):
            if role != other_role and (scene.place == other.place or scene.acquisition == other.acquisition):
                found.append(("place or pass", scene.name, other.name))
            if role != other_role and box and other_box:
                (w1, s1, e1, n1), (w2, s2, e2, n2) = box, other_box
                if max(w1 - e2, w2 - e1, s1 - n2, s2 - n1) < APART:
                    found.append(("ground", scene.name, other.name))
        pools = {
            role: np.unique(np.concatenate([run_hashes(s) for r, s, _ in scenes if r == role])) for role, *_ in scenes
        }
        for one, other in combinations(pools, 2):
            shared = np.intersect1d(pools[one], pools[other], assume_unique=True)
            if shared.size:
                found.append((f"{shared.size} runs of pixels", one, other))
        return found

    return leaks
