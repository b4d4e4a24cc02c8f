"""Frozen behavior: codec files, rows of sweeps and evaluations, the command line, the pages of the report.

The reference values in ``tests/frozen`` come from the code before it was rearranged. After an intended change,
``SARLAB_FREEZE=1 pytest tests/test_frozen.py`` writes them again. What may disappear is listed under ``leaving`` in
``cli.json`` and ``book.json``.
"""

import hashlib
import io
import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import sarlab
from sarlab.cli import main

FROZEN = Path(__file__).with_name("frozen")
FREEZE = "SARLAB_FREEZE" in os.environ
CODECS = sorted(path.stem.removeprefix("codec-") for path in FROZEN.glob("codec-*.json"))
SCENES = {"patch": ["ben-33UUP-70-40"], "others": ["ben-33UUP-37-88", "simulated-l4.4"]}
each_scene = pytest.mark.parametrize("scenes", ["patch", pytest.param("others", marks=pytest.mark.slow)])
#: Columns that depend on the machine or on the identity of a run.
LEFT_OUT = re.compile(r"run_id|hash|device|(\w+_)?seconds|\w+_per_s|peak_memory_mb|gradient_norm/.*")
RELATIVE = 1e-6
#: Means of errors of both signs, and changes of ratios, cancel to values near zero. With another number of threads, so
#: in another order of summation, they moved by up to 6e-8 dB (bias, errors of block means) and 4e-6 dB (targets).
ABSOLUTE = {r"bias_\w+": 1e-6, r"rmse(_clean)?_k\d+_db": 1e-6, r"target_\w+_change(_db)?": 1e-5}


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Use one thread, and do not wrap help."""
    monkeypatch.setenv("COLUMNS", "400")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def frozen(name, found):
    """Return the reference values in a file, after updating them by `found` if asked to."""
    path = FROZEN / name
    values = json.loads(path.read_text(encoding="utf-8")) | (found if FREEZE else {})
    if FREEZE:
        path.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return values


def run(*words):
    assert main([*map(str, words)]) == 0, words


def two_bands(path):
    """Write a GeoTIFF of two simulated bands in steps of 1/64 dB, with a corner of nodata."""
    rasterio = pytest.importorskip("rasterio")
    rows, columns = np.mgrid[:130, :150]
    speckle = np.random.RandomState(7).gamma(4.4, 1 / 4.4, (2, 130, 150))
    db = -12 + 4 * np.sin(rows / 17) * np.cos(columns / 23) + np.array([0, -6])[:, None, None] + 10 * np.log10(speckle)
    db = (np.rint(64 * db) / 64).astype(np.float32)
    db[:, 100:, 120:] = np.nan
    place = rasterio.Affine(10, 0, 500000, 0, -10, 5300000)
    with rasterio.open(path, "w", "GTiff", 150, 130, 2, dtype="float32", transform=place, nodata=np.nan) as target:
        target.write(db)
        target.descriptions = ("VV", "VH")
        target.update_tags(mission="none")
    return path


def facts(path):
    """Length and hash of a file; hash of its samples in steps of 1e-4 dB, their mean and standard deviation."""
    data = path.read_bytes()
    db = sarlab.decompress(data).data
    valid = np.isfinite(db)
    steps = np.where(valid, np.rint(np.where(valid, db, 0) * 1e4), -(2**31)).astype("<i4")
    return {
        "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "shape": list(db.shape),
        "samples_sha256": hashlib.sha256(steps.tobytes()).hexdigest(),
        "mean": float(db[valid].mean(dtype=float)), "std": float(db[valid].std(dtype=float)),
    }  # fmt: skip


@each_scene
@pytest.mark.parametrize("codec", CODECS)
def test_codec_files(codec, scenes, tmp_path):
    run("evaluate", "--codecs", codec, "--scenes", *SCENES[scenes], "--quality", "19,28", "--metrics", "psnr_db",
        "--workers", 1, "--save-files", tmp_path / "saved", "--out", tmp_path / "rows.csv")  # fmt: skip
    source = two_bands(tmp_path / "made.tif")
    for name, goal in {"quality-28-tile-64": ("--quality", 28, "--tile", 64), "bpp-0.8": ("--bpp", 0.8)}.items():
        target = tmp_path / "saved" / f"two-bands-{name}.sarl"
        run("compress", source, target, "--codec", codec, "--workers", 1, *goal)
    files = sorted((tmp_path / "saved").rglob("*.sarl"))
    found = {path.relative_to(tmp_path / "saved").as_posix(): facts(path) for path in files}
    assert len(found) == (6 if scenes == "patch" else 10)
    simd = torch.backends.cpu.get_cpu_capability()
    values = frozen(f"codec-{codec}.json", {"simd": simd, **found})
    for name, now in found.items():
        tolerant = {key: pytest.approx(values[name][key], rel=RELATIVE) for key in ("mean", "std")}
        if simd != values["simd"]:  # samples close to the middle between two steps are rounded the other way
            tolerant["samples_sha256"] = now["samples_sha256"]
        assert now == values[name] | tolerant, name


def check_rows(name, rows):
    """Compare a table with its reference: same columns, same text and integers, other numbers within the tolerances."""
    path = FROZEN / f"{name}.csv"
    text = rows[[column for column in rows if not LEFT_OUT.fullmatch(column)]].to_csv(index=False, lineterminator="\n")
    if FREEZE:
        path.write_text(text, encoding="utf-8")
    old, new = (pd.read_csv(source) for source in (path, io.StringIO(text)))
    assert (len(new), list(new)) == (len(old), list(old))
    wrong = {}
    for column in old:
        a, b = old[column], new[column]
        same = (a == b) | (a.isna() & b.isna())
        if pd.api.types.is_float_dtype(a) and pd.api.types.is_numeric_dtype(b):
            least = max([limit for pattern, limit in ABSOLUTE.items() if re.fullmatch(pattern, column)], default=0)
            same |= np.isclose(b, a, rtol=RELATIVE, atol=least)
        if not same.all():
            wrong[column] = [(row, a[row], b[row]) for row in np.flatnonzero(~same)[:3]]
    assert not wrong


@each_scene
def test_rows_of_evaluate(scenes, tmp_path):
    options = {"patch": ("--bpp", "0.5,2"), "others": ("--psnr", "26,32")}[scenes] + ("--workers", 1)
    rows, codecs = tmp_path / "rows.parquet", "jpeg2000,klt8,factorized,hevc12"
    run("evaluate", "--codecs", codecs, "--scenes", *SCENES[scenes], *options, "--out", rows)
    check_rows(f"evaluate-{scenes}", pd.read_parquet(rows))


@pytest.mark.slow
def test_rows_of_a_sweep(tmp_path, capsys):
    inline = next(word for word in help_words("sweep", capsys) if word.endswith(" inline")).split()[1:]
    run("sweep", "smoke", *inline, "--device", "cpu", "--workers", 1, "--runs", tmp_path)
    keys = ["architecture", "init", "spatial_reduction", "latent_channels"]
    rows = {path.parent: pd.read_csv(path) for path in sorted(tmp_path.glob("*/rows.csv"))}
    check_rows("sweep", pd.concat(rows.values()).sort_values(keys, kind="stable"))
    history = [pd.read_csv(f / "history.csv").assign(run="-".join(map(str, t.loc[0, keys]))) for f, t in rows.items()]
    check_rows("sweep-history", pd.concat(history).sort_values(["run", "step"]))


def help_words(verb, capsys):
    """Arguments and options of a verb, each also with its choices; of an empty verb, the verbs."""
    with pytest.raises(SystemExit):
        main([*verb.split(), "--help"])
    text = capsys.readouterr().out.partition("\n\nexamples:")[0]
    if not verb:
        return set(re.findall(r"^    (\w+)(?: |$)", text, re.M))
    found = set()
    for line in re.findall(r"^  ([-\w{].*)$", text, re.M):
        names, _, choices = line.split("  ")[0].partition("{")
        for name in re.findall(r"--?[a-z][\w-]*", names) if line.startswith("-") else [names.strip()]:
            found |= {f"{name} {choice}".strip() for choice in ["", *choices.partition("}")[0].split(",")]}
    return {f"{verb} {word}" for word in found if word}


def json_keys(value, path):
    """Paths of all keys of parsed JSON."""
    pairs = [(path, item) for item in value] if isinstance(value, list) else []
    pairs = [(f"{path}.{key}", item) for key, item in value.items()] if isinstance(value, dict) else pairs
    return {name for name, _ in pairs if name != path}.union(*(json_keys(item, name) for name, item in pairs))


def check_words(values, kind, found):
    """Fail if a frozen word is missing, unless it, or a phrase that it begins with, is listed as leaving."""
    print("new:", sorted(found - set(values[kind])))
    lost = sorted(set(values[kind]) - found)
    assert not [word for word in lost if not any(f"{word} ".startswith(f"{gone} ") for gone in values["leaving"])]


def test_verbs_and_options(capsys):
    verbs = help_words("", capsys)
    found = verbs.union(*(help_words(verb, capsys) for verb in (*verbs, "scenes show", "scenes pack")))
    check_words(frozen("cli.json", {"help": sorted(found)}), "help", found)


def test_json_keys(tmp_path, capsys):
    source, file, rows = two_bands(tmp_path / "in.tif"), tmp_path / "a.sarl", tmp_path / "rows.csv"
    goal = ["--psnr", "25:35:11", "--bands", "VV", "--workers", 1]
    calls = {
        "doctor": [], "scenes": [], "scenes show": ["bigearthnet"], "codecs": ["jpeg2000", "klt8"],
        "compress": [source, file, "--codec", "klt8", "--workers", 1], "info": [file],
        "decompress": [file, tmp_path / "back.tif", "--workers", 1],
        "evaluate": ["--codecs", "jpeg2000,klt8", "--scenes", *SCENES["patch"], *goal, "--out", rows],
        "evaluate bd": [rows, "--interval", "26,34"], "recommend": ["--rows", rows, "--min", "psnr=27"],
        "status": ["smoke", "--runs", tmp_path], "cost": ["smoke", "--no-time"],
    }  # fmt: skip
    found = set()
    for verb, words in calls.items():
        assert main([*verb.split(), *map(str, words), "--json"]) == 0 or verb == "doctor", verb
        found |= json_keys(json.loads(capsys.readouterr().out), verb)
    check_words(frozen("cli.json", {"json": sorted(found)}), "json", found)


def page_facts(path):
    """Numbers of figures and tables of a page, and its headings."""
    article = pytest.importorskip("bs4").BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser").find("article")
    figures = sum(figure.find(["svg", "img"]) is not None for figure in article.find_all("figure"))
    headings = [tag.get_text().removesuffix("#").strip() for tag in article.find_all(["h1", "h2"])]
    return {"figures": figures, "tables": len(article.find_all("table")), "headings": headings}


@pytest.mark.slow
def test_pages_of_the_report(tmp_path):
    """Fail if a page is missing; print what else differs. Pages of runs are named without their hash."""
    pytest.importorskip("jupyter_book")
    run("report", "--published", "--out", tmp_path)
    html = tmp_path / "html"
    paths = {re.sub(r"-[0-9a-f]{6}$", "", str(path.relative_to(html))[:-5]): path for path in html.glob("[!_]*/*.html")}
    found = {name: page_facts(path) for name, path in sorted({**paths, "index": html / "index.html"}.items())}
    values = frozen("book.json", {"pages": found})
    for page in (page for page in found if found[page] != values["pages"].get(page)):
        print(page, values["pages"].get(page), "->", found[page], sep="\n  ")
    check_words(values, "pages", set(found))
