"""Chapters about quantizers and entropy: sentences and figures against the rows they are computed from."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest

from sarlab.lab.results import tables
from sarlab.views import entropy, quant_networks, quant_rows, quant_totals, quantizers, shared_curves
from sarlab.views.text import number

PARTS = (
    *(quantizers.loss_over_bits, quantizers.text, quantizers.needed_bits),
    *(quant_networks.networks, quant_networks.trained_text, quant_networks.networks_table),
    *(quant_totals.guide_faults, quant_totals.total_compression, quant_totals.total_text),
    *(entropy.fixed_and_coded, entropy.text, entropy.statistics, entropy.scene_and_latent),
    *(entropy.channels, entropy.channels_text),
    *(shared_curves.figure, shared_curves.text),
)
#: A made-up law: one bit divides the loss by four; a range coder saves a quarter.
FACTOR, START = 4.0, {"tensor": 16.0, "channel": 4.0, "companded": 1.0, "trellis": 0.6, "guide": 20.0}


def made_up_study():
    rows = []
    for (reduction, channels), band in itertools.product(((16, 64), (16, 16), (16, 8)), ("VV", "VH")):
        at = reduction**2 / channels
        cases = [("float32", "channel", "minmax", 32, "f32")]
        cases += [("affine", "channel", "minmax", b, f"u{b}") for b in (2, 4, 8)]
        cases += [("affine", "tensor", "minmax", b, f"u{b}t") for b in (4, 8, 10)]
        cases += [("companded", "channel", "mse", b, f"c{b}") for b in (2, 4)]
        cases += [("trellis", "channel", "mse", b, f"trellis{b}") for b in (2, 4)]
        cases += [("guide", "tensor", "minmax", b, f"guide{b}") for b in (4, 8, 10)]
        for scheme, granularity, calibration, bits, label in cases:
            start = START.get(scheme, START[granularity])
            loss = 0.0 if scheme == "float32" else start * 16 / at * FACTOR ** -(min(bits, 8) - 2)
            stored = 8 if scheme == "guide" else bits
            rows.append(
                {
                    "spatial_reduction": reduction, "latent_channels": channels, "dimension_ratio": at, "scheme": scheme,
                    "bits": bits, "granularity": granularity, "calibration": calibration, "quantizer": label,
                    "scene": "mosaic", "band": band, "native_bits": 16, "psnr_db": 24 - loss, "loss_db": loss,
                    "values": 8000, "latent_range": 5.0, "side_bytes": 8 if scheme == "guide" else 0, "bytes": 1000 * stored,
                    "bpp": stored / at, "measured_cr": 16 * at / stored, "coded_bytes": np.nan if bits == 32 else 750 * stored,
                    "coded_bpp": np.nan if bits == 32 else 0.75 * stored / at, "ideal_bpp": 0.747 * stored / at,
                    "latent_entropy": 0.75 * bits, "level_usage": 0.5, "latent_pooled_entropy": bits,
                    "latent_spatial_entropy": 0.7 * bits,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def full(synthetic, tmp_path_factory):
    """A book with a study, and networks whose quantizers lose 0.4 dB after training and 0.3 dB in it."""
    root = tmp_path_factory.mktemp("quantized")
    rows = synthetic.write(root).assign(quantizer="f32", bits=32, quantizer_training="none", effective_rank=6.0, dead_channels=0.0)  # fmt: skip
    residual = rows[(rows["architecture"] == "residual") & (rows["init"] == "klt")]
    extra = [
        residual.assign(quantizer=label, bits=4, quantizer_training=view, psnr_db=residual["psnr_db"] - loss)
        for label, view, loss in (("c4", "none", 0.4), ("c4-noise", "noise", 0.3))
    ]
    residual = residual.assign(curve="dedicated")
    extra += [
        residual.assign(curve="nested", psnr_db=residual["psnr_db"] - 0.1, steps=450),
        residual.assign(psnr_db=residual["psnr_db"] - 0.2, steps=100),
        residual.assign(curve="progressive", psnr_db=residual["psnr_db"] - 0.05, steps=75),
    ]
    pd.concat([rows.assign(curve="dedicated"), *extra]).to_csv(root / "results" / "runs.csv", index=False)
    made_up_study().to_csv(root / "results" / "latent_bits.csv", index=False)
    entropies = [
        {"kind": "radar", "grid": "as stored", "band": band, "zeroth_bpp": 9.0, "jpegls_bpp": 8.0, "jpeg2000_bpp": 8.5}
        for band in ("VV", "VH")
    ]
    pd.DataFrame(entropies).to_csv(root / "results" / "scene_entropy.csv", index=False)
    return tables(root)


def shown(thing):
    return thing._repr_html_() if hasattr(thing, "_repr_html_") else str(thing)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: f"{part.__module__.rpartition('.')[2]}.{part.__name__}")
def test_every_part_shows_something_with_and_without_results(part, full, filled, empty):
    for source in (full, filled, empty):
        text = re.sub(r"<[^>]*>", " ", shown(part(source)))
        assert "nan" not in text.lower().split()
    assert "make book" not in shown(part(full))


def test_loss_is_interpolated_in_its_logarithm(full):
    rows = quant_rows.study(full)
    at16 = START["companded"] * FACTOR**-1
    assert quant_rows.loss_at(rows, "companded", 16.0, 3.0) == pytest.approx(at16)
    assert quant_rows.bits_for(rows, "companded", 16.0, at16) == pytest.approx(3.0)
    assert np.isnan(quant_rows.loss_at(rows, "companded", 16.0, 7.0))
    assert quant_rows.loss_at(rows, "coded", 16.0, 6.0) == pytest.approx(START["tensor"] * FACTOR**-6)


def test_figure_and_sentences_hold_the_numbers_of_the_study(full):
    figure = quantizers.loss_over_bits(full)
    assert len(figure.panels) == 3
    assert (
        f"bits allocated, companded: 1.00 dB at 2.0 bits, {number(FACTOR**-2, 3)} dB at 4.0 bits"
        in figure.panels[1].alt
    )
    text = str(quantizers.text(full))
    assert "takes 40 % off the loss of companded levels" in text
    assert f"at most {number(4 * 4 * FACTOR**-6, 3)} dB" in text
    assert f"{number(4 * 4 * FACTOR**-2, 2)} dB at 4×" in text


def test_networks_are_held_against_their_own_float_run(full):
    rows = quant_rows.paired(full.runs)
    assert rows.groupby("quantizer")["loss_db"].mean().to_dict() == pytest.approx({"c4": 0.4, "c4-noise": 0.3})
    gains = quant_networks.trained_gains(rows)
    assert gains["gain_db"].to_numpy() == pytest.approx(0.1)
    assert "takes 0.10 dB off" in quant_networks.networks(full).title
    assert "0.30 dB instead of 0.40 dB; better at 4 of 4 points" in str(quant_networks.trained_text(full))


def test_runs_without_a_float_sibling_are_left_out(full):
    runs = full.runs
    alone = runs[~((runs["quantizer"] == "f32") & (runs["architecture"] == "residual"))]
    assert quant_rows.paired(alone).empty


def test_total_ratios_are_the_guides_and_the_files(full):
    text = str(quant_totals.total_text(full))
    assert "is 64× against samples of 32 bits" in text
    assert "has 16: 32×" in text
    assert "whole file with header and range: 32×" in text
    assert f"range-coded, the file is {number(32 / 0.75, 1)}×" in text
    assert "as the guide stores it is 16×" in text


def test_the_guides_faults_are_numbers(full):
    text = str(quant_totals.guide_faults(full))
    assert "at 10 bits it loses" in text
    assert "4 bits a value are stored in 8 bits" in text
    assert "8 bytes in every file" in text
    assert "range over 5.0" in text


def test_range_coding_saves_what_the_rows_say(full):
    assert "takes 25 % off one step" in entropy.fixed_and_coded(full).title
    assert "24.9" not in entropy.fixed_and_coded(full).title
    assert "A pixel holds 8.0 bit without loss" in entropy.scene_and_latent(full).title


def test_shared_trainings_are_held_against_dedicated_ones(full):
    rows = shared_curves.compared(full.runs)
    assert rows.groupby("curve")["gap_db"].mean().to_dict() == pytest.approx(
        {"nested": -0.1, "progressive": -0.05, "short": -0.2}
    )
    assert shared_curves.budgets(rows) == pytest.approx(
        {"nested": 1.5, "progressive": 1.0, "short": 4 / 3, "dedicated": 4.0}
    )
    assert shared_curves.figure(full).title.startswith("Nested: the whole curve for 1.50 trainings; progressive")
    assert "the steps of 1.50 trainings instead of 4; at worst −0.10 dB" in str(shared_curves.text(full))


def test_shared_trainings_leave_the_main_curves_alone(full, filled):
    from sarlab.views.summary import main_line, measured

    for source in (full, filled):
        rows = main_line(measured(source.runs, band="VV", split="test"))
        assert not rows.duplicated(["architecture", "init", "dimension_ratio", "scene"]).any()


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("u8", "range per channel, 8 bits, after training"),
        ("u4t", "one range for all, 4 bits, after training"),
        ("c4-ste", "bits allocated, companded, 4 bits, rounding in training"),
        ("trellis4-noise", "trellis, bits allocated, 4 bits, noise in training"),
        ("lsq4-ste", "learned steps, 4 bits, rounding in training"),
        ("guide8", "the guide's code, 8 bits, after training"),
        ("f16", "float16, after training"),
    ],
)
def test_labels_are_spoken(label, words):
    assert quant_rows.spoken(label) == words
    assert len(quant_rows.short(label)) <= 44
