"""Recompute numbers of the report from its tables, with pandas and nothing of the package, and find them on built pages:

python tests/recompute.py _build/html          # prints each number with the text around it; exit status 1 if one is missing
"""

import html
import itertools
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd


def read(folder: Path, name: str) -> pd.DataFrame:
    """A published table; of scenes only those that were recorded."""
    rows = pd.read_csv(folder / f"{name}.csv", low_memory=False)
    return rows[rows["simulated"].astype(str).str.lower() != "true"].copy() if "simulated" in rows else rows


def words(page: Path) -> str:
    """Words of a page, without scripts, styles, drawings and tags."""
    source = re.sub(r"<(script|style|svg|math)\b.*?</\1>", " ", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    source = re.sub(r"</?(?:em|strong|code|span|a)\b[^>]*>", "", source)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", source)))


def shown(value: float, digits: int, sign: bool = False) -> str:
    """A number as the report prints it."""
    if not np.isfinite(value):
        return "–"
    rounded = f"{abs(value):.{digits}f}"
    return ("−" if value < 0 and float(rounded) else "+" if sign and float(rounded) else "") + rounded


def by_pass(rows: pd.DataFrame, column: str, by: list[str]) -> pd.Series:
    """Mean over passes of the mean of each pass (a name up to its day, and the half of that day); ratios as sizes."""
    if "_cr" in column:
        return 1 / by_pass(rows.assign(size=1 / rows.get(column, np.nan)), "size", by)
    start = rows["acquisition"].astype(str).str.extract(r"^(S1.)_.*?(\d{8})T(\d\d)")
    orbit = (start[0] + start[1] + (start[2].astype(float) >= 12).astype(str)).fillna(rows["acquisition"])
    rows = rows.reindex(columns=[*by, column]).assign(orbit=orbit)
    return rows.groupby([*by, "orbit"])[column].mean().groupby(by).mean()


def along(x: pd.Series, y: pd.Series, wanted: float) -> float:
    """`y` where log2 of `x` is that of `wanted`."""
    x, y = np.array(sorted(zip(np.log2(x), y, strict=True))).T
    return float(np.interp(np.log2(wanted), x, y, left=np.nan, right=np.nan))


def checks(results: Path) -> list[tuple[str, str]]:
    """(page, text that it must contain) of every number."""
    codecs, runs = read(results, "codecs"), read(results, "runs")
    codecs, runs = codecs[codecs["psnr_db"].notna()], runs[runs["psnr_db"].notna()]
    codecs = codecs[codecs["band"] == codecs["band"].iloc[0]]
    test = codecs[codecs["split"] == "test"]
    learned = test[test["family"] == "learned"].groupby("codec")["bpp"].mean()
    flagship = "lapped" if "lapped" in learned.index else learned.idxmin()
    found: list[tuple[str, str]] = []

    # the front page: the flagship at 30 dB
    ours = test[test["codec"] == flagship]
    columns = [
        "measured_cr", "measured_cr_lossless", "bpp", "rmse_db", "rmse_k8_db", "epi_roa", "epi_roa_floor", "enl_ratio", "bias_db",
    ]  # fmt: skip
    curves = {name: by_pass(ours, name, ["target_value"]) for name in columns}
    at = {name: curve[30] for name, curve in curves.items()}
    found += [("index", text) for text in (
        f"a file is {shown(at['measured_cr'], 1)} times smaller than the 16-bit samples",
        f"and {shown(at['measured_cr_lossless'], 1)} times smaller than the best lossless file",
        f"Means of 8×8 pixels are then off by {shown(at['rmse_k8_db'], 2)} dB", f"at {shown(at['bpp'], 2)} bits per pixel.",
        f"pixels are off by {shown(at['rmse_db'], 2)} dB", f"keep {shown(at['epi_roa'], 2)} of 1", f"score {shown(at['epi_roa_floor'], 2)}.",
        f"become {shown(at['enl_ratio'], 2)} times as many", f"changes by {shown(at['bias_db'], 2, True)} dB",
    )]  # fmt: skip
    for ratio in (8, 16, 32):
        values = [along(curves["measured_cr"], curves[name], ratio) for name in ("measured_cr_lossless", "bpp")]
        found.append(("index", f"{ratio}× {shown(values[0], 1)} {shown(values[1], 2)}"))

    # codecs at one bit per pixel, on the test scenes on which all of them reach it: PSNR, errors of 8×8 and 32×32 means
    names = dict(jpeg2000="JPEG 2000", hevc12="HEVC 12 bit", jpeg="JPEG", avif12="AVIF 12 bit", jpegxl="JPEG XL")
    columns, groups = ["psnr_db", "rmse_k8_db", "rmse_k32_db"], test.groupby(["codec", "scene"])
    at_one = {key: [along(rows["bpp"], rows[name], 1) for name in columns] for key, rows in groups}
    at_one = pd.DataFrame(at_one, columns).T.rename_axis(["codec", "scene"])
    reached = at_one["psnr_db"].unstack("scene").notna().all()
    at_one = at_one[at_one.index.get_level_values("scene").isin(reached.index[reached])].groupby("codec").mean()
    for codec in [name for name in names if name in at_one.index]:
        psnr, *errors = at_one.loc[codec, columns]
        found.append(
            ("chapters/codecs", " ".join([names[codec], shown(psnr, 1), *(shown(each, 2) for each in errors)]))
        )

    # what a doubling of the ratio costs
    for codec in ("jpeg2000", "hevc12"):
        rows = test[test["codec"] == codec]
        # a mean of fewer scenes is one of other scenes
        rows = rows[rows.groupby("target_value")["scene"].transform("nunique") == test["scene"].nunique()]
        ratio, psnr = by_pass(rows, "measured_cr", ["target_value"]), by_pass(rows, "psnr_db", ["target_value"])
        levels = [along(ratio, psnr, 4 * 2**k) for k in range(4)]
        costs = [shown(a - b, 2) for a, b in itertools.pairwise(levels)]
        found.append(("chapters/operating_point", f"{names[codec]} {' '.join(costs)}"))

    # image ÷ error at 24 dB, at the coarsest and the finest frequencies
    rows = ours[ours["target_value"] == 24]
    kept = [rows.assign(kept=-10 * np.log10(rows[f"lost_power_band{i}"].astype(float))) for i in (1, 8)]
    coarse, fine = (shown(by_pass(each, "kept", ["codec"]).mean(), 1) for each in kept)
    found.append(("chapters/fidelity", f"coarsest structure stands {coarse} dB above its error, the finest {fine} dB"))

    # bits of the Gaussian reference at the PSNR of the files
    limits = read(results, "limits").query("limit == 'rwf'")
    limits = limits[limits["scene"].isin(test["scene"]) & limits["band"].isin(test["band"])]
    limits = limits[limits.groupby("psnr_db")["scene"].transform("nunique") == limits["scene"].nunique()]
    rate = by_pass(limits, "bpp", ["psnr_db"])
    for codec, words_ in ((flagship, "reference is {} % of the bits of"), ("jpeg2000", "and {} % of those of")):
        bpp, psnr = (by_pass(test[test["codec"] == codec], name, ["target_value"])[30] for name in ("bpp", "psnr_db"))
        found.append(("chapters/limits", words_.format(shown(100 * np.interp(psnr, rate.index, rate) / bpp, 0))))
    return found + against_jpeg2000(runs, test) + of_networks(runs) + of_files(results)


def against_jpeg2000(runs: pd.DataFrame, codecs: pd.DataFrame) -> list[tuple[str, str]]:
    """Files of the plain network at 4 bits and 8×, and those of JPEG 2000 at the same PSNR of the same scene."""
    chosen = "architecture == 'plain' and init == 'scratch' and quantizer == 'u4' and dimension_ratio == 8 and split == 'test'"
    files, parts = runs.query(chosen).query(f"band == '{codecs['band'].iloc[0]}'"), []
    for scene, rows in files.groupby("scene"):
        curve = codecs[(codecs["codec"] == "jpeg2000") & (codecs["scene"] == scene)].sort_values("psnr_db")
        rate = np.interp(rows["psnr_db"], curve["psnr_db"], np.log2(curve["bpp"]), left=np.nan, right=np.nan)
        parts.append(rows.assign(times=rows["coded_bpp"] / 2**rate).dropna(subset=["times"]))
    if not parts:
        return []
    near = pd.concat(parts)
    mean = [by_pass(near, name, ["architecture"]).mean() for name in ("coded_bpp", "psnr_db", "times")]
    cells = f"{shown(mean[0], 2)} {shown(mean[1], 1)} {shown(mean[2], 2)} {near['scene'].nunique()}"
    return [("chapters/rate_distortion", f"plain 4 bits 8× {cells}")]


def of_networks(runs: pd.DataFrame) -> list[tuple[str, str]]:
    """Levels of networks in three domains at the guide's ratios, and what their trainings took."""
    runs = runs[runs["band"] == runs["band"].iloc[0]]
    trained = runs[(runs["architecture"] != "klt") & (runs["quantizer"] == "f32")]
    for column, usual in (("curve", "dedicated"), ("loss_name", "mse")):
        if column in trained:
            trained = trained[trained[column].fillna(usual) == usual]
    keys = ["architecture", "init"]
    for column in [name for name in ("training_scenes", "steps") if name in trained]:
        trained = trained[trained[column] == trained.groupby([*keys, "dimension_ratio"])[column].transform("max")]
    alike = [(keys, name) for name in ("stem", "width", "depth") if name in trained]
    for among, column in ((["dimension_ratio"], "spatial_reduction"), *alike):
        usual = trained.groupby(among)[column].transform(lambda v: v.mode().iloc[0] if len(v.mode()) else np.nan)
        trained = trained[usual.isna() | (trained[column] == usual)]
    found = []
    for ratio, limit in ((8, 35), (16, 30), (32, 27), (64, 24)):
        rows = trained[trained["dimension_ratio"] == ratio]
        if len(rows):
            domains = ("psnr_db", "psnr_amplitude", "psnr_intensity")
            levels = [by_pass(rows, name, ["architecture"]).max() for name in domains]
            found.append(("chapters/operating_point", f"{ratio}×, {limit} dB {' '.join(shown(v, 1) for v in levels)}"))
    return found


def of_files(results: Path) -> list[tuple[str, str]]:
    """Share of speckle in lossless bits, overhead of files, bytes of their parts, memory of training steps."""
    rows = pd.read_csv(results / "scene_entropy.csv").query("grid == '0.1 dB' and correlation == correlation")
    bits, white = rows[["jpegls_bpp", "jpeg2000_bpp"]].min(axis=1), rows["correlation"] == 0
    free = bits[rows["kind"] == "speckle-free"].groupby(white).mean()
    share = 100 * (1 - white.map(free) / bits)[rows["kind"] == "simulated"]
    found = [("chapters/scene_entropy", f"Speckle takes {share.min():.0f} to {share.max():.0f} % of the lossless bits")]
    files = read(results, "files")
    quality = files[files["sweep"] == "quality"]
    for row in quality[quality["quality"] == 28].itertuples():
        parts = f"{row.header_bytes:.0f} {row.metadata_bytes:.0f} {row.index_bytes:.0f} {row.payload_bytes:.0f} {shown(8 * row.bytes / row.pixels, 2)}"
        found.append(("chapters/real_files", parts))
    largest = files[(files["sweep"] == "size") & (files["side"] == files["side"].max()) & (files["codec"] == "lapped")]
    if len(largest):
        row = largest.iloc[0]
        found += [("chapters/whole_scenes", text) for text in (
            f"in {shown(row['encode_s'], 1)} s and decompresses them in {shown(row['decode_s'], 1)} s", f"peaks at {row['peak_mb']:.0f} MB",
        )]  # fmt: skip
    steps = read(results, "trainings").query("sweep == 'memory'").dropna(subset=["peak_mb"]).sort_values("batch_size")
    for row in steps.itertuples():
        formula = 4e-9 * (row.batch_size * row.patch_size**2 + 3 * row.parameters + 2 * row.batch_size * row.parameters)
        measured = (row.peak_mb - row.process_mb) / 1e3
        stated = {16: 4.0, 8: 2.5, 4: 1.5}[row.batch_size]
        found.append(("chapters/scale", f"{row.batch_size:.0f} {stated:.1f} {shown(formula, 2)} {shown(measured, 2)}"))
    return found


def compare(site: Path) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(every number with its page and the text around it, those that are missing on the built pages)."""
    wanted = checks(site / "results")
    texts = {page: words(site / f"{page}.html") for page in dict(wanted)}
    return wanted, [(page, text) for page, text in wanted if text not in texts[page]]


if __name__ == "__main__":
    wanted, lost = compare(Path(sys.argv[1]))
    print("\n".join(f"{'missing' if pair in lost else 'found'}  {': '.join(pair)}" for pair in wanted))
    print(f"{len(wanted)} places with numbers, {len(lost)} missing")
    sys.exit(bool(lost))
