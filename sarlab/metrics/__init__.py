"""Metrics: NumPy arrays in, one column of a table out; importable without torch.

`score` computes every column of a reconstruction, `metrics` describes each of them. Definitions, domains and sources are
in the docstrings of the modules.
"""

from sarlab.metrics import accuracy, applications, edges, entropy, fidelity, looks, point_targets, speckle, spectra
from sarlab.metrics.columns import (
    Comparison,
    Metric,
    Reference,
    Scores,
    Undefined,
    UndefinedMetric,
    Window,
    define,
    described,
    metrics,
    score,
)

__all__ = [
    "Comparison", "Metric", "Reference", "Scores", "Undefined", "UndefinedMetric", "Window", "accuracy", "applications",
    "define", "described", "edges", "entropy", "fidelity", "looks", "metrics", "point_targets", "score", "speckle",
    "spectra",
]  # fmt: skip
