"""What the decoder's estimate of the reflectivity is worth: error against the clean scene, beside filters of the same file.

    python benchmarks/codec_despeckling.py --out book/results      # the table of the book's chapter on the codec
    python benchmarks/codec_despeckling.py                         # a look at single-look scenes, printed, not written

Scenes are simulated with other seeds than those that the estimate was learned from, so that their reflectivity is known.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sarlab.codec.api import compress, decompress
from sarlab.lab.results import write_table
from sarlab.scenes.catalog import load_split
from sarlab.scenes.embedded import reference_normalizers
from sarlab.specs import SceneSpec

LOOKS = (1.0, 4.4, 16.0)
RATES_BPP = (0.125, 0.25, 0.5, 1.0, 2.0)


def rows(looks_of: Iterable[float], rates: Iterable[float]) -> Iterator[dict[str, Any]]:
    """Error against the reflectivity of simulated scenes: decoded as recorded, filtered, and despeckled by the decoder."""
    from scipy.ndimage import uniform_filter

    normalizer = reference_normalizers()["VV"]
    for looks in looks_of:
        for kind in ("", "-correlated"):
            split = load_split(SceneSpec(f"simulated-l{looks:g}{kind}"))
            for scene in split.test:
                truth = split.clean[scene.name].data[0]
                about = {"scene": scene.name, "looks": looks, "correlated": bool(kind)}
                clip = (normalizer.low, normalizer.high)
                yield {**about, "method": "recorded", "bpp": np.nan, **_errors(truth, scene.data[0], clip)}
                for side in (3, 5, 7):
                    smooth = 10 * np.log10(uniform_filter(10 ** (scene.data[0].astype(float) / 10), side))
                    yield {
                        **about,
                        "method": f"recorded, {side}×{side} mean",
                        "bpp": np.nan,
                        **_errors(truth, smooth, clip),
                    }
                    yield {**about, "method": f"recorded, {side}×{side} Lee", "bpp": np.nan,
                           **_errors(truth, _lee(scene.data[0], side, looks), clip)}  # fmt: skip
                for rate in rates:
                    data = compress(scene, bpp=rate, metadata=False)
                    plain = decompress(data).data[0]
                    results: dict[str, np.ndarray] = {"decoded": plain}
                    linear = 10 ** (plain.astype(float) / 10)
                    for side in (3, 5, 7):
                        results[f"decoded, {side}×{side} mean"] = 10 * np.log10(uniform_filter(linear, side))
                        results[f"decoded, {side}×{side} Lee"] = _lee(plain, side, looks)
                    results["despeckled"] = decompress(data, despeckled=True).data[0]
                    for method, found in results.items():
                        bpp = 8 * len(data) / scene.data.size
                        yield {
                            **about,
                            "method": method,
                            "target_value": rate,
                            "bpp": bpp,
                            **_errors(truth, found, clip),
                        }


def _errors(truth: np.ndarray, found: np.ndarray, clip: tuple[float, float]) -> dict[str, float]:
    """RMSE in dB, and what is left after averaging 8×8 intensities."""
    truth, found = (np.clip(part.astype(float), clip[0] - 10, None) for part in (truth, found))
    h, w = (n - n % 8 for n in truth.shape)
    means = [
        10 * np.log10((10 ** (part[:h, :w] / 10)).reshape(h // 8, 8, w // 8, 8).mean((1, 3))) for part in (truth, found)
    ]
    return {
        "rmse_db": float(np.sqrt(np.mean((truth - found) ** 2))),
        "rmse_k8_db": float(np.sqrt(np.mean((means[0] - means[1]) ** 2))),
    }


def _lee(db: np.ndarray, side: int, looks: float) -> np.ndarray:
    """Lee's filter of intensity: the local mean, and of the difference to it the share that speckle does not explain."""
    from scipy.ndimage import uniform_filter

    intensity = 10 ** (db.astype(float) / 10)
    mean = uniform_filter(intensity, side)
    variance = np.maximum(uniform_filter(intensity**2, side) - mean**2, 0)
    ground = np.maximum(variance - mean**2 / looks, 0) / (1 + 1 / looks)
    return 10 * np.log10(np.maximum(mean + ground / np.maximum(variance, 1e-12) * (intensity - mean), 1e-6))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="folder of the table")
    args = parser.parse_args()
    frame = pd.DataFrame(rows(LOOKS, RATES_BPP) if args.out else rows(LOOKS[:1], RATES_BPP[2:3]))
    if not args.out:
        print(frame.to_string(float_format=lambda v: f"{v:.3f}"))
        return
    args.out.mkdir(parents=True, exist_ok=True)
    write_table(frame, args.out / "codec_despeckling.csv")
    print(f"{args.out / 'codec_despeckling.csv'}: {len(frame)} rows")


if __name__ == "__main__":
    main()
