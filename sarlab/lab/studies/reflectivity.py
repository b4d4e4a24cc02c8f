"""Fidelity to the recorded image and to the reflectivity, on simulated scenes, where both are known.

Two references are compared with the codecs: the recorded image itself, as if it were kept without loss, and a Lee filter
of it, a despeckler that does not compress.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from sarlab.errors import ResultsError
from sarlab.lab.evaluate import evaluate
from sarlab.lab.studies import Context, study
from sarlab.metrics import Reference, score
from sarlab.metrics.columns import DB_PER_NEPER
from sarlab.metrics.speckle import lee_filter
from sarlab.peers import codecs
from sarlab.scenes.catalog import load_split
from sarlab.scenes.simulate import catalog_names
from sarlab.scenes.splits import Split
from sarlab.specs import SceneSpec

CODECS = ("jpeg2000", "hevc12", "jpegls")
#: Columns that have a counterpart against the clean scene, and those shown with them.
METRICS = (
    *("psnr_db", "psnr_clean_db", "rmse_db", "rmse_clean_db", "ssim", "ssim_clean", "bias_db", "bias_clean_db"),
    *(f"rmse_k{side}_db" for side in (1, 2, 4, 8, 16, 32)),
    *(f"rmse_clean_k{side}_db" for side in (2, 4, 8, 16, 32)),
    *("epi_roa", "epi_roa_floor", "epi_roa_clean", "epi_roa_clean_floor", "epi_sattar", "epi_sattar_clean"),
    *("epi_sattar_floor", "epi_sattar_clean_floor", "enl_ratio", "targets_kept", "targets_invented", "ratio_mean"),
)
#: Names of the references in the column ``codec``.
RECORDED, DESPECKLED = "recorded", "lee"


@study("reflectivity", version=1)
def reflectivity(context: Context) -> pd.DataFrame:
    """The first simulated test scene of every number of looks, with white and with correlated speckle."""
    names = [name for name in CODECS if codecs[name].available().ok]
    if not names:
        raise ResultsError(f"none of the codecs {', '.join(CODECS)} is available; 'sarlab codecs' says why")
    path = context.folder / "reflectivity.journal"
    splits = {entry: first_test_scene(load_split(SceneSpec(entry[0]))) for entry in catalog_names()}
    rows = evaluate(names, list(splits.values()), metrics=METRICS, workers=context.workers, journal=path)
    parts = []
    for (_, looks, correlation), split in splits.items():
        of_scene = rows[rows["scene"].isin([scene.name for scene in split.test])]
        both = pd.concat([of_scene, pd.DataFrame(list(references(split)))])
        parts.append(both.assign(correlation=correlation, looks=looks))
    path.unlink(missing_ok=True)
    return pd.concat(parts, ignore_index=True)


def first_test_scene(split: Split) -> Split:
    """The split with its first test scene alone."""
    return replace(split, test=split.test[:1], independent=(), digest="")


def references(split: Split) -> Iterator[dict[str, Any]]:
    """Rows of the recorded image itself and of its Lee filter, on every test band with a clean scene."""
    for scene in split.test:
        for index, name in enumerate(scene.bands):
            clip = (split.normalizers[name].low, split.normalizers[name].high)
            clean = split.clean[scene.name].band(name).data[0]
            reference = Reference(scene.data[index], clip=clip, looks=scene.looks, clean_db=clean)
            filtered = lee_filter(reference.intensity, reference.valid, float(scene.looks or 1))
            for codec, image in ((RECORDED, reference.db), (DESPECKLED, DB_PER_NEPER * np.log(filtered))):
                scores = score(reference, image, columns=METRICS)
                yield {
                    "codec": codec, "family": "reference", "scene": scene.name, "band": name, "split": "test",
                    "acquisition": scene.acquisition, "simulated": True, "clip_low": clip[0], "clip_high": clip[1],
                    **scores, "reason": scores.reason,
                }  # fmt: skip
