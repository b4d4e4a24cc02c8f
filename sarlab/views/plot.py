"""Plots for first steps, as `sarlab.plot`: rate-distortion curves of codecs, and pictures of scenes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sarlab.errors import ResultsError
from sarlab.metrics import metrics
from sarlab.scenes.radiometry import to_db
from sarlab.scenes.scene import Scene
from sarlab.views.style import ANY_PAGE, GRAY, MARKERS, SERIES, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def rate_distortion(rows: pd.DataFrame, quality: str = "psnr_db") -> Axes:
    """Draw quality over bits per pixel: one line per codec, scene and band.

    Parameters
    ----------
    rows : DataFrame
        Of `sarlab.evaluate`, or with the columns ``codec``, ``bpp`` and `quality`.
    quality : str
        Column of a metric.

    Examples
    --------
    >>> import pandas as pd, sarlab
    >>> rows = pd.DataFrame({"codec": "mine", "bpp": [0.25, 0.5, 1], "psnr_db": [24, 27, 31]})
    >>> ax = sarlab.plot.rate_distortion(rows)
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('bits per pixel', 'PSNR (dB)')
    """
    import matplotlib.pyplot as plt
    import seaborn

    if missing := [name for name in ("codec", "bpp", quality) if name not in rows]:
        raise ResultsError(f"the rows have no column {', '.join(missing)}")
    codecs = list(dict.fromkeys(rows["codec"]))
    # Outside the style, which would undo the interactive mode that the first figure of a notebook switches on.
    figure = plt.figure(figsize=(4.6, 3.3), layout="constrained", facecolor="none")
    with style(ANY_PAGE):
        ax = figure.subplots()
        seaborn.lineplot(
            rows.dropna(subset=["bpp", quality]), x="bpp", y=quality, ax=ax,
            hue="codec", palette={name: SERIES[i % len(SERIES)] for i, name in enumerate(codecs)},
            style="codec", markers={name: MARKERS[i % len(MARKERS)] for i, name in enumerate(codecs)}, dashes=False,
            units=rows.reindex(columns=["scene", "band"]).map(str).agg("/".join, axis=1), estimator=None,
        )  # fmt: skip
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_formatter("{x:g}")
    label = f"{metrics[quality].label} ({metrics[quality].unit})" if quality in metrics else quality
    ax.set(xlabel="bits per pixel", ylabel=label.removesuffix(" (1)"))
    ax.legend(title=None, frameon=False, labelcolor=ANY_PAGE)
    return ax


def pictures(scenes: Mapping[str, Scene], low: float, high: float) -> np.ndarray:
    """Draw the first band of each scene in dB, `low` in black and `high` in white; return the axes.

    Examples
    --------
    >>> import sarlab
    >>> axes = sarlab.plot.pictures({"recorded": sarlab.scene("ben-33UUP-37-88")}, -22, 8)
    """
    import matplotlib.pyplot as plt

    columns = min(len(scenes), 2)  # text stays legible on a phone
    rows = math.ceil(len(scenes) / columns)
    height = 0.3 + 2.3 * max(scene.shape[1] / scene.shape[2] for scene in scenes.values())
    figure = plt.figure(figsize=(2.3 * columns, rows * height), layout="constrained", facecolor="none")
    with style(ANY_PAGE):
        axes = np.array([figure.add_subplot(rows, columns, place + 1) for place in range(len(scenes))])
        for ax, (title, scene) in zip(axes, scenes.items(), strict=True):
            ax.imshow(to_db(scene).data[0], cmap=GRAY, vmin=low, vmax=high)
            ax.set_title(title)
            ax.axis("off")
    return axes
