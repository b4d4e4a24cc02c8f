"""What is measured: NumPy in, NumPy out, importable without torch.

`score` gives every column of a reconstruction; `metrics` describes each column; the functions behind them live in one
module per concept. Definitions, domains and sources are in each docstring.
"""

from sarlab.metrics.base import Undefined, UndefinedMetric
from sarlab.metrics.catalog import Comparison, Metric, Reference, Scores, Window, define, described, metrics, score

# importing a module registers its columns
from sarlab.metrics import edges, pixel, sar  # isort: skip
from sarlab.metrics.edges import epi_roa
from sarlab.metrics.pixel import (
    max_relative_error,
    ms_ssim,
    peak_error,
    psnr,
    psnr_amplitude,
    psnr_intensity,
    rmse,
    ssim,
)
from sarlab.metrics.sar import bias, enl, enl_log_cumulant, enl_mode, enl_ratio, homogeneous_windows

__all__ = [
    "Comparison",
    "Metric",
    "Reference",
    "Scores",
    "Undefined",
    "UndefinedMetric",
    "Window",
    "bias",
    "define",
    "described",
    "edges",
    "enl",
    "enl_log_cumulant",
    "enl_mode",
    "enl_ratio",
    "epi_roa",
    "homogeneous_windows",
    "max_relative_error",
    "metrics",
    "ms_ssim",
    "peak_error",
    "pixel",
    "psnr",
    "psnr_amplitude",
    "psnr_intensity",
    "rmse",
    "sar",
    "score",
    "ssim",
]
