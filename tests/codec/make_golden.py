"""Make the golden files of the current format version: `python tests/codec/make_golden.py` (once for every version).

Files that exist are left alone. Beside each, a JSON file states what it must decode to.
"""

import json
from pathlib import Path

import numpy as np

from sarlab import compress, decompress
from sarlab.codec.api import describe
from sarlab.scenes.scene import Georeference, Scene

FOLDER = Path(__file__).parent / "golden"
FIELDS = (
    "format_version", "model", "model_hash", "height", "width", "bands", "quantity", "quality", "tags", "transform",
)  # fmt: skip
#: Samples that are compared with stored ones.
PICKED = 97


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


def counts() -> Scene:
    """Whole numbers of 8 bits in one band."""
    data = np.rint(60 * np.sqrt(swath().data[1:, :50, 20:]))
    return Scene(data.astype(np.float32), "amplitude", ("HH",), "counts", dtype="uint8", native_bits=8)


FILES = {
    "lapped": (scene, {"codec": "lapped", "quality": 31.3, "radiometric": True}),
    "lapped-flat": (swath, {"codec": "lapped", "quality": 31.3, "effort": "fast"}),
    "lapped-zeros": (swath, {"codec": "lapped", "quality": 24}),
    "factorized": (scene, {"codec": "factorized", "quality": 31.3}),
    "klt8": (scene, {"codec": "klt8", "quality": 31.3}),
    "predictive": (scene, {"max_error_db": 2.0}),
    "predictive-lossless": (counts, {"lossless": True}),
}


def picked(data: np.ndarray) -> list[str]:
    """Samples at even distances, and the number of those that are missing."""
    return [f"{value:.7g}" for value in data.ravel()[:: data.size // PICKED]] + [str(int(np.isnan(data).sum()))]


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, (made, options) in FILES.items():
        path = FOLDER / f"{name}.sarl"
        if not path.exists():
            path.write_bytes(compress(made(), tile=64, **options))
            report = describe(path)
            values = {key: report[key] for key in FIELDS} | {"samples": picked(decompress(path).data)}
            path.with_suffix(".json").write_text(json.dumps(values) + "\n")


if __name__ == "__main__":
    main()
