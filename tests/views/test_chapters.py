"""Chapters: the code that they show computes what the package computes, and their numbers agree with each other."""

import ast
import functools
import re
from contextlib import suppress

import numpy as np
import pandas as pd
import pytest

from sarlab.lab.results import shared_folder, tables
from sarlab.views.claims import verdicts

BOOK = shared_folder("book")
CHAPTERS = [*sorted(BOOK.glob("*.md")), *sorted(BOOK.glob("chapters/*.md"))]


def cells(path):
    """Code cells of a chapter, parsed."""
    found = re.findall(r"```\{code-cell\} python3\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    return [ast.parse(re.sub(r"^:.*\n", "", cell, flags=re.MULTILINE)) for cell in found]


@functools.cache
def functions(chapter):
    """What the cells of a chapter import, and the functions that they define; nothing is computed."""
    names = {}
    for node in [node for cell in cells(BOOK / "chapters" / f"{chapter}.md") for node in cell.body]:
        if isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef):
            with suppress(NameError):  # a default that is computed before
                exec(compile(ast.Module([node], []), chapter, "exec"), names)
    return names


def execute(path, root):
    """Names after the cells of a chapter have run on the tables of a book; fails if one of them shows NaN."""
    names = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SARLAB_BOOK", str(root))
        for cell in cells(path):
            last = cell.body.pop() if isinstance(cell.body[-1], ast.Expr) else None
            exec(compile(cell, path.name, "exec"), names)
            shown = eval(compile(ast.Expression(last.value), path.name, "eval"), names) if last else None
            text = shown._repr_html_() if hasattr(shown, "_repr_html_") else str(shown)
            assert "nan" not in re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL).split()
            assert not re.search(r">\s*NaN\s*<", text), "a number that is missing is a dash; prose may speak of NaN"
    return names


@pytest.fixture(scope="module")
def pair():
    """A field of four looks with an edge, and its blurred and noisy copy, in dB."""
    rng = np.random.default_rng(7)
    ground = np.where(np.arange(96) < 48, 1.0, 6.0) * np.ones((96, 1))
    original = 10 * np.log10(ground * rng.gamma(4, 0.25, (96, 96)))
    return original, original + rng.normal(0, 1, original.shape)


def test_code_of_fidelity_and_psnr_is_that_of_the_metrics(pair):
    from sarlab.metrics import Reference, score

    columns = ["psnr_db", "psnr_amplitude", "psnr_intensity", "rmse_k8_db"]
    known = score(Reference(pair[0], clip=(-12, 8)), pair[1], columns=columns)
    assert functions("fidelity")["rmse_of_means"](*pair, 8) == pytest.approx(known["rmse_k8_db"], rel=1e-6)
    shown = functions("psnr")
    for domain, column in {"dB": "psnr_db", "amplitude": "psnr_amplitude", "intensity": "psnr_intensity"}.items():
        assert shown["psnr"](*pair, -12, 8, domain) == pytest.approx(known[column], rel=1e-6), domain


def test_code_of_limits_and_entropy_is_that_of_the_metrics():
    from sarlab.metrics.bounds import reverse_water_filling, shannon_lower_bound
    from sarlab.metrics.entropy import zeroth_order_entropy

    shown = functions("limits")
    power = np.geomspace(0.1, 100, 64)[:, None] * np.ones(8)
    rate, error = shown["water_filling"](power, 2.0)
    assert reverse_water_filling(power, error) == pytest.approx(rate, rel=1e-9)
    for looks in (1.0, 4.4, 16.0):
        assert shown["least_rate"](0.8, looks) == pytest.approx(shannon_lower_bound(0.8, looks), rel=1e-9)
    levels = np.random.default_rng(0).integers(0, 9, 5000)
    bias = 8 / (2 * 5000 * np.log(2))  # Miller and Madow, nine levels
    corrected = functions("scene_entropy")["entropy"](levels) + bias
    assert corrected == pytest.approx(float(zeroth_order_entropy(levels)), rel=1e-9)


def test_code_of_codecs_is_that_of_bd_rates():
    from sarlab.metrics.rate import bd_rate

    psnr = np.arange(22.0, 44, 2)
    curves = [
        pd.DataFrame({"psnr_db": psnr, "bpp": scale * psnr**power}) for scale, power in ((1e-3, 2.1), (4e-4, 2.3))
    ]
    known = bd_rate(*(curve[name] for curve in curves for name in ("bpp", "psnr_db")), interval=(25, 40))
    assert functions("codecs")["bd_rate"](*curves) == pytest.approx(known.value, rel=1e-9)


def test_code_of_looks_and_edges_is_that_of_the_metrics(pair):
    from sarlab.metrics import Reference
    from sarlab.metrics.edges import laplacian, ratio_of_averages
    from sarlab.metrics.looks import enl

    shown = functions("looks_edges")
    intensity = 10 ** (pair[0] / 10)
    assert shown["enl"](intensity) == pytest.approx(float(enl(intensity, windows=[(0, 0, 96, 96)])), rel=1e-9)
    known = ratio_of_averages(Reference(pair[0]))
    for axis, of_axis in enumerate((known.rows, known.columns)):
        ours = shown["edge_strength"](intensity, axis)
        assert ours[5:-5, 5:-5] == pytest.approx(of_axis[5:-5, 5:-5], abs=1e-9)
    inside = np.corrcoef(*(laplacian(Reference(db)) for db in pair))[0, 1]
    assert shown["laplacian_correlation"](*pair) == pytest.approx(inside, abs=0.02), "the border differs"


def test_code_of_applications_finds_false_alarms_like_the_study(pair):
    from sarlab.lab.studies.applications import false_alarms, known_changes

    shown = functions("applications")
    change = known_changes(pair[0].shape)
    masks = (change != 0, change == 0)
    second = pair[1] + change
    known = false_alarms(pair[0], second, *masks)
    assert shown["false_alarms"](pair[0], second, *masks) == pytest.approx(known, abs=0.02), "the border differs"


def test_highest_ratio_is_where_the_loss_crosses_the_level():
    shown = functions("applications")
    ratio = 2.0 ** np.arange(1, 7)
    rows = pd.DataFrame({
        "codec": "mine", "scene": "a", "acquisition": "one", "target_value": 16 / ratio, "measured_cr": ratio,
        "loss": np.log2(ratio) / 10, "kept": 1 - np.log2(ratio) / 10,
    })  # fmt: skip
    assert shown["highest_ratio"](rows, "loss", 1, 0.35) == pytest.approx(2**3.5)
    assert shown["highest_ratio"](rows, "kept", -1, 0.65) == pytest.approx(2**3.5)
    assert shown["highest_ratio"](rows, "loss", 1, 0.9) == pytest.approx(64), "met everywhere: the highest measured"
    assert np.isnan(shown["highest_ratio"](rows, "loss", 1, 0.05))


def test_the_cost_of_a_doubling_follows_from_the_levels_shown():
    """The levels of claim 1, as printed, lose what it states per doubling."""
    measured = verdicts(tables(BOOK))[1].measured
    shown = {float(at): float(level) for level, at in re.findall(r"([\d.]+) at ([\d.]+)×", measured)}
    stated = float(re.search(r"([\d.]+) dB per doubling", measured)[1])
    doublings = np.log2(max(shown) / min(shown))
    assert len(shown) >= 3
    assert stated == pytest.approx((shown[min(shown)] - shown[max(shown)]) / doublings, abs=0.05 + 0.1 / doublings)


@pytest.mark.slow
def test_sizes_of_one_configuration_agree_wherever_they_are_printed():
    """16×16×16 values at 8 bits: claim 14, the chapter on real files and the chapter on quantizers."""
    claim = [float(size) for size in re.findall(r"([\d.]+)×", verdicts(tables(BOOK))[14].measured)]
    real_files, quantizers = (execute(BOOK / "chapters" / f"{name}.md", BOOK) for name in ("real_files", "quantizers"))
    files = real_files["found"].query("bits == 8 and dimension_ratio == 16").iloc[0]
    counted = quantizers["files"].query("values == 16").iloc[0]
    for shown, column in zip(claim, ("nominal_cr", "measured_cr", "coded_cr"), strict=True):
        assert shown == pytest.approx(files[column], abs=0.1), column
    assert claim[:2] == pytest.approx([counted["8 of 32 bits"], counted["file"]], abs=0.1)


@pytest.fixture(scope="module")
def without_runs(tmp_path_factory):
    """Tables as a plan without networks has them: those of codecs and studies come from the published book."""
    root = tmp_path_factory.mktemp("without-runs")
    (root / "results").mkdir()
    (root / "_toc.yml").write_text("")
    for table in (BOOK / "results").glob("*.csv"):
        if table.stem not in ("runs", "history", "examples"):
            (root / "results" / table.name).symlink_to(table)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_chapters_make_sense_without_any_run(chapter, without_runs):
    execute(chapter, without_runs)
