"""Make the golden files of the current format version: `python tests/codec/make_golden.py` (once for every version).

Files that exist are left alone.
"""

import json
from pathlib import Path

import numpy as np

from sarlab import compress, decompress
from sarlab.codec.api import describe
from sarlab.scenes.scene import Georeference, Scene

FOLDER = Path(__file__).parent / "golden"
FIELDS = (
    "format_version",
    "model",
    "model_hash",
    "height",
    "width",
    "bands",
    "quantity",
    "quality",
    "tags",
    "transform",
)


def scene() -> Scene:
    """Two small bands of odd size: an edge, speckle, a bright target, scattered and contiguous nodata."""
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:83, :75]
    level = np.where(rows + columns > 70, -8.0, -16.0)
    data = np.stack([level, level - 6]) + 10 * np.log10(rng.gamma(4.4, 1 / 4.4, (2, 83, 75)))
    data[0, 20, 30:33] = 12
    data[:, 40:70, :20] = np.nan
    data[0, 5, 9] = np.nan
    return Scene(
        data.astype(np.float32), "db", ("VV", "VH"), "golden", looks=4.4, spacing=(10.0, 10.0), tags={"mission": "none"},
        georeference=Georeference("", (10.0, 0.0, 5e5, 0.0, -10.0, 4e6)),
    )  # fmt: skip


def swath() -> Scene:
    """Intensities with exact zeros on one side and a saturated area in one band, whole blocks of them and parts."""
    data = 10 ** (np.nan_to_num(scene().data, nan=-15.0) / 10)
    rows, columns = np.mgrid[:83, :75]
    data[0, columns + rows // 3 < 25] = 0
    data[1, 10:40, 40:] = 2
    return Scene(data.astype(np.float32), "intensity", ("VV", "VH"), "swath")


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for codec, made, suffix in (
        ("lapped", scene, ""),
        ("lapped", swath, "-flat"),
        ("factorized", scene, ""),
        ("klt8", scene, ""),
    ):
        data = compress(made(), codec=codec, quality=31.3, tile=64, radiometric=codec == "lapped")
        report = describe(data)
        path = FOLDER / f"{report['model']}{suffix}-format-{report['format_version']}.sarl"
        if path.exists():
            continue
        path.write_bytes(data)
        path.with_suffix(".json").write_text(json.dumps({key: report[key] for key in FIELDS}, indent=1) + "\n")
        np.save(path.with_suffix(".npy"), decompress(data).data)


if __name__ == "__main__":
    main()
