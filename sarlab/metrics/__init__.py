"""What is measured: NumPy in, NumPy out, importable without torch.

`score` gives every column of a reconstruction; `metrics` describes each column; the functions behind them live in one
module per concept. Definitions, domains and sources are in each docstring.
"""

from sarlab.metrics import (
    accuracy,
    aggregation,
    classes,
    distribution,
    edges,
    frequency,
    looks,
    pixel,
    ratio,
    targets,
)
from sarlab.metrics.base import Undefined, UndefinedMetric
from sarlab.metrics.catalog import Metric, Scores, define, described, metrics, score
from sarlab.metrics.comparison import Comparison, Reference, Window

#: Importing a module registers its columns.
MODULES = (pixel, aggregation, classes, frequency, looks, accuracy, edges, ratio, distribution, targets)

__all__ = [
    "MODULES",
    "Comparison",
    "Metric",
    "Reference",
    "Scores",
    "Undefined",
    "UndefinedMetric",
    "Window",
    "define",
    "described",
    "metrics",
    "score",
]
