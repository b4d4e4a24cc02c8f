"""Tables and pictures for a small book: made up by formulas, in the schema of the laboratory, for tests only."""

from __future__ import annotations

import json
from functools import reduce
from pathlib import Path

import numpy as np
import pandas as pd

from sarlab.lab.publish import owned
from sarlab.lab.results import HISTORY_COLUMNS, RUN_COLUMNS
from sarlab.metrics import metrics

SCENES = pd.DataFrame(
    [("mosaic-test", "VV", "test", "2017-06-12-A"), ("mosaic-test", "VH", "test", "2017-06-12-A"),
     ("patch-1", "VV", "independent", "2017-07-01-B"), ("patch-2", "VV", "independent", "2017-08-13-C"),
     ("patch-3", "VV", "independent", "2017-09-20-D")],
    columns=["scene", "band", "split", "acquisition"],
)  # fmt: skip
LATENTS = ((16, 64), (16, 32), (16, 16), (16, 8))
#: Columns that all tables of measurements share.
ABOUT = {
    "simulated": False, "looks": 4.4, "seen_in_training": "false", "native_bits": 16, "pixels": 86400, "clip_low": -22.0,
    "clip_high": 8.0, "threads": 1, "reason": "",
}  # fmt: skip
#: Architecture, start and gain over the KLT.
SERIES = (
    ("klt", "klt", 0.0), ("plain", "scratch", -0.9), ("plain", "klt", 0.3), ("residual", "scratch", -0.4), ("residual", "klt", 0.55),
    ("attention", "scratch", -0.2), ("attention", "klt", 0.65),
)  # fmt: skip


def crossed(*tables: pd.DataFrame) -> pd.DataFrame:
    """All combinations of the rows of tables, those of the last fastest."""
    return reduce(lambda left, right: left.merge(right, how="cross"), tables)


def with_metrics(table: pd.DataFrame) -> pd.DataFrame:
    """Add a column for every metric, one half everywhere."""
    return pd.concat([table, pd.DataFrame(0.5, table.index, list(metrics))], axis=1)


def runs(latents=LATENTS) -> pd.DataFrame:
    """Rows of KLT and three architectures, from scratch and from the KLT, at each latent shape."""
    networks = crossed(
        pd.DataFrame(latents, columns=["spatial_reduction", "latent_channels"]),
        pd.DataFrame(SERIES, columns=["architecture", "init", "gain"]),
    )
    names = networks["architecture"] + networks["init"].map({"scratch": "", "klt": "-klt"})
    shape = "-r" + networks["spatial_reduction"].astype(str) + "-c" + networks["latent_channels"].astype(str)
    networks["run_id"] = names + shape + "-f32-s0-" + networks.index.map("{:06x}".format)
    table = crossed(networks, SCENES)
    value = table["spatial_reduction"] ** 2 / table["latent_channels"]
    levels = np.log2(value)
    noise = np.where(table["split"] == "independent", np.random.default_rng(3).normal(0, 0.8, len(table)), 0.0)
    base = 31.1 - 3.55 * (levels - 2) + 0.12 * (levels - 2) ** 2 + table["band"].map({"VV": 0.0, "VH": -0.7}) + noise
    over = table.pop("gain") * (0.6 + 0.1 * levels)
    psnr, trained = base + over, table["architecture"] != "klt"
    table = with_metrics(table).assign(
        hash=table["run_id"], plan="quick", experiment="architectures", width=32, depth=1, quantizer="f16", bits=16,
        steps=300 * trained, batch_size=8, patch_size=128, seed=0, dimension_ratio=value, nominal_cr=2 * value,
        measured_cr=0.97 * value, bpp=16.4 / value, bytes=(86400 * 2.05 / value).astype(int), psnr_db=psnr, psnr_amplitude=psnr - 4,
        rmse_db=30 * 10 ** (-psnr / 20), ssim=1 / (1 + np.exp(-(psnr - 24) / 3)), ms_ssim=0.9, enl_reference=4.6,
        enl=4.6 * (1 + levels / 2), enl_ratio=1 + levels / 2, epi_roa=1 - 0.07 * levels, bias_db=-0.08 * levels,
        gain_over_klt_db=over, parameters=420_000 * trained, macs_per_pixel=9_000 + 400 * table["latent_channels"],
        train_seconds=41.0 * trained, train_pixels_per_s=1.2e6, encode_mpx_per_s=8.0, decode_mpx_per_s=6.0, peak_memory_mb=900,
        device="test device", converged=True, last_quarter_gain_db=0.01, pixels_seen=300 * 8 * 128**2, **ABOUT,
    )  # fmt: skip
    return table.reindex(columns=[*RUN_COLUMNS, *[name for name in table if name not in RUN_COLUMNS]])


def history(rows: pd.DataFrame) -> pd.DataFrame:
    """Training histories that end at the PSNR of the first row of each trained run."""
    first = rows[rows["architecture"] != "klt"].drop_duplicates("run_id")[["run_id", "psnr_db"]]
    table = first.merge(pd.DataFrame({"step": np.arange(0, 301, 50)}), how="cross")
    step = table["step"]
    return table.assign(
        loss=0.02 * np.exp(-step / 90) + 0.003, validation_db=table["psnr_db"] - 3 * np.exp(-step / 70),
        gradient_norm=0.5 * np.exp(-step / 150), learning_rate=2e-3, seconds=step / 8, pixels_seen=step * 8 * 128**2,
    )[HISTORY_COLUMNS]  # fmt: skip


def scene(seed: int = 0) -> np.ndarray:
    """A scene in dB: fields, a bright building, speckle of 4.4 looks, (120, 160)."""
    rows, columns = np.mgrid[:120, :160]
    clean = -12.0 + 3 * ((rows // 30 + columns // 40) % 2) + 2 * np.sin(columns / 17)
    clean[50:60, 70:84] = 2.0
    return clean + 10 * np.log10(np.random.default_rng(seed).gamma(4.4, 1 / 4.4, clean.shape))


def pictures(root: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """8-bit example pictures of the test scenes and their index."""
    from PIL import Image
    from scipy.ndimage import gaussian_filter

    folder = root / "results" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for (name, band), group in rows[rows["split"] == "test"].groupby(["scene", "band"], sort=False):
        recorded = scene(seed=len(band) + ord(band[1]))
        for row in group.itertuples():
            restored = gaussian_filter(recorded, 0.3 * np.sqrt(row.dimension_ratio))
            for kind, image in (("original", recorded), ("reconstruction", restored)):
                file = f"{name}-{band}.png" if kind == "original" else f"{row.run_id}-{name}-{band}.png"
                gray = np.clip((image - row.clip_low) / (row.clip_high - row.clip_low), 0, 1)
                Image.fromarray(np.round(255 * gray).astype(np.uint8)).save(folder / file)
                entries.append((row.run_id, name, band, kind, file, row.clip_low, row.clip_high))
    return pd.DataFrame(entries, columns=["run_id", "scene", "band", "kind", "file", "clip_low", "clip_high"])


#: Codec → (family, its bits as a share of those of the first).
CODECS = {
    "jpeg2000": ("wavelet", 1.0),
    "hevc12": ("video", 0.85),
    "jpeg": ("transform", 1.3),
    "lapped": ("learned", 0.75),
}


def codecs(targets=tuple(range(20, 43, 2))) -> pd.DataFrame:
    """Rows of codecs at matched PSNR whose bits differ by known factors; every other metric is one half."""
    kinds = pd.DataFrame([(name, *about) for name, about in CODECS.items()], columns=["codec", "family", "share"])
    table = crossed(SCENES, kinds, pd.DataFrame({"target_value": targets}))
    target, share = table["target_value"], table.pop("share")
    bpp = share * 0.06 * 2 ** ((target - 20) / 4)
    return with_metrics(table).assign(
        quality=1.0, target="psnr", height=360, width=240, bytes=(bpp * 10800).astype(int), fixed_bytes=40, bpp=bpp,
        bpp_content=bpp - 0.004, measured_cr=16 / bpp, psnr_db=target.astype(float), ssim=target / 50, epi_roa=target / 45,
        bias_db=(target - 44) / 60, rmse_k8_db=12 / target, encode_seconds=0.02 * share, decode_seconds=0.01, codec_version="1", **ABOUT,
    )  # fmt: skip


def limits(rates=(0.03, 0.06, 0.12, 0.25, 0.5, 1.0, 2.0, 4.0)) -> pd.DataFrame:
    """Limits at three quarters of the bits of the best codec."""
    kinds = pd.DataFrame({"limit": ["rwf", "scalar"], "share": [0.56, 0.65]})
    table = crossed(SCENES, kinds, pd.DataFrame({"bpp": rates}))
    return table.assign(psnr_db=20 + 4 * np.log2(table["bpp"] / table.pop("share") / 0.06), **ABOUT)


def codec_pictures(rates=(0.25, 0.5, 1.0)) -> pd.DataFrame:
    """A detail as two codecs leave it at equal bytes: one darker by 3 dB, one brighter; one misses the lowest rate."""
    from sarlab.lab.studies.codecs import picture

    clip = (-22.0, 8.0)
    recorded = scene()[:96, :96]
    about = {
        "scene": "mosaic-test", "band": "VV", "simulated": False, "native_bits": 16, "height": 120, "width": 160,
        "top": 0, "left": 0, "clip_low": clip[0], "clip_high": clip[1],
    }  # fmt: skip
    rows = [{**about, "codec": "original", "picture": picture(recorded, clip)}]
    for codec, offset in (("jpeg2000", -3.0), ("lapped", 3.0)):
        for rate in rates:
            row = {**about, "codec": codec, "target_value": rate, "bpp": 1.01 * rate, "measured_cr": 16 / rate / 1.01}
            values = dict.fromkeys(("ssim", "epi_roa", "enl_ratio", "bias_db", "rmse_k8_db", "peak_error_db"), 0.5)
            missed = codec == "jpeg2000" and rate == rates[0]
            made = {} if missed else {**values, "psnr_db": 20.0, "picture": picture(recorded + offset, clip)}
            rows.append({**row, **made, "reason": "out of reach" if missed else ""})
    return pd.DataFrame(rows)


def write(root: Path, *, latents=LATENTS, codecs: bool = False) -> pd.DataFrame:
    """Fill ``results/`` of the book at `root`, on request with codecs too; returns the runs."""
    results = root / "results"
    results.mkdir(parents=True, exist_ok=True)
    for name in owned(root):  # tables and pages of the published report, if `root` is a copy of the book
        (root / name).unlink(missing_ok=True)
    frame = runs(latents)
    frame.to_csv(results / "runs.csv", index=False)
    history(frame).to_csv(results / "history.csv", index=False)
    pictures(root, frame).to_csv(results / "examples.csv", index=False)
    if codecs:
        for name in ("codecs", "limits", "codec_pictures"):
            globals()[name]().to_csv(results / f"{name.removeprefix('codec_')}.csv", index=False)
    machine = {"device": "test device", "versions": {"python": "3.11", "torch": "2.13"}, "commit": "0123456789ab"}
    manifest = {
        "plan": "quick", "published": "2026-01-02T03:04:05Z", "runs": frame["run_id"].nunique(), "environments": [machine],
        "data": [{"note": "Scenes made up by formulas.", "credits": ["Credit: nobody."]}],
    }  # fmt: skip
    (results / "manifest.json").write_text(json.dumps(manifest))
    return frame
