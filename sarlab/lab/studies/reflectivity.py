"""Fidelity to the recorded image and to the reflectivity, on simulated scenes, where both are known.

Two references are compared with the codecs: the recorded image itself, as if it were kept without loss, and a Lee filter
of it, a despeckler that does not compress.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from sarlab.lab.inputs import measurable
from sarlab.lab.studies import Context, image_row, study
from sarlab.lab.studies.codecs import evaluated
from sarlab.metrics.columns import DB_PER_NEPER
from sarlab.metrics.speckle import lee_filter
from sarlab.scenes.catalog import load_split
from sarlab.scenes.simulate import catalog_names
from sarlab.specs import SceneSpec

CODECS = ("lapped", "jpeg2000", "hevc12", "jpegls")
#: Columns that have a counterpart against the clean scene, and those shown with them.
METRICS = (
    *("psnr_db", "psnr_clean_db", "rmse_db", "rmse_clean_db", "ssim", "ssim_clean", "bias_db", "bias_clean_db"),
    *(f"rmse_k{side}_db" for side in (1, 2, 4, 8, 16, 32)),
    *(f"rmse_clean_k{side}_db" for side in (2, 4, 8, 16, 32)),
    *("epi_roa", "epi_roa_floor", "epi_roa_clean", "epi_roa_clean_floor", "epi_sattar", "epi_sattar_clean"),
    *("epi_sattar_floor", "epi_sattar_clean_floor", "enl_ratio", "targets_kept", "targets_invented", "ratio_mean"),
)


@study("reflectivity", version=2)
def reflectivity(context: Context) -> pd.DataFrame:
    """The first simulated test scene of every number of looks, with white and with correlated speckle."""
    splits = {entry: load_split(SceneSpec(entry[0])) for entry in catalog_names()}
    splits = {entry: replace(s, test=s.test[:1], independent=(), digest="") for entry, s in splits.items()}
    rows, parts = evaluated(context, "reflectivity", CODECS, list(splits.values()), metrics=METRICS), []
    for (_, looks, correlation), split in splits.items():
        others = []
        for item in measurable(split):
            reference = item.reference
            filtered = lee_filter(reference.intensity, reference.valid, float(item.scene.looks or 1))
            for name, image in (("recorded", reference.db), ("lee", DB_PER_NEPER * np.log(filtered))):
                others.append(image_row(item, name, image, METRICS))
        both = pd.concat([rows[rows["scene"] == split.test[0].name], pd.DataFrame(others)])
        parts.append(both.assign(correlation=correlation, looks=looks))
    return pd.concat(parts, ignore_index=True)
