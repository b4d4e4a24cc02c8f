"""What happened in training, and what the latent holds."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sarlab.views import style
from sarlab.views.figure import Figure, Panel
from sarlab.views.style import BLUE, GRAY, INK, MUTED, VERMILION, look_of
from sarlab.views.text import number, ratio

_HISTORY = (
    ("validation_db", "validation PSNR (dB)", "linear", 2),
    ("loss", "training loss", "log", 4),
    ("gradient_norm", "gradient norm", "log", 3),
)


def training_history(history: pd.DataFrame) -> Figure:
    """Validation, loss and gradient norm over steps; the kept weights are marked.

    Parameters
    ----------
    history : DataFrame
        Columns step, loss, validation_db, gradient_norm; an empty one belongs to a run without training.
    """
    if history.empty:
        return Figure([], caption="Nothing was trained: this transform follows from the data in closed form.")
    panels = []
    kept = None
    if history["validation_db"].notna().any():
        kept = history.loc[history["validation_db"].astype(float).idxmax()]
    with style.style():
        for column, title, scale, digits in _HISTORY:
            line = history.dropna(subset=[column]) if column in history else history.iloc[:0]
            if len(line) < 2:
                continue
            drawing, ax = style.axes(3.4, 2.5)
            values = line[column].astype(float)
            ax.plot(line["step"], values, color=BLUE, marker="o", markersize=2.5)
            if scale == "log" and (values > 0).all() and values.max() > 3 * values.min():
                ax.set_yscale("log")
            if kept is not None:
                ax.axvline(kept["step"], color=VERMILION, linewidth=0.9, linestyle=(0, (2, 2)))
                if column == "validation_db":
                    late = kept["step"] > 0.6 * float(line["step"].max())
                    ax.annotate(
                        f"kept: {number(kept[column], 2)} dB", (kept["step"], values.min()), (-4 if late else 4, 2),
                        textcoords="offset points", ha="right" if late else "left", color=VERMILION,
                    )  # fmt: skip
            ax.set_title(title)
            ax.set_xlabel("step")
            alt = f"{title} over {int(line['step'].max())} steps: from {number(values.iloc[0], digits)} to {number(values.iloc[-1], digits)}."
            panels.append(Panel(drawing, alt))
    return Figure(
        panels, narrowest=210, caption="The dashed line marks the step whose weights were kept: the best on validation."
    )


def histories(history: pd.DataFrame, runs: pd.DataFrame) -> Figure:
    """Validation PSNR over steps of every run, one panel per ratio.

    Parameters
    ----------
    history : DataFrame
        ``tables().history``.
    runs : DataFrame
        ``tables().runs``: tells architecture, initialization and ratio of each run.
    """
    described = runs.drop_duplicates("run_id").set_index("run_id")
    known = history[history["run_id"].isin(described.index)].dropna(subset=["validation_db"])
    if known.empty:
        return Figure.nothing("training histories")
    line = known.join(described[["architecture", "init", "dimension_ratio", "seed"]], on="run_id")
    names = list(line["architecture"].unique())
    looks = {}
    panels = []
    with style.style():
        for value, group in line.groupby("dimension_ratio"):
            drawing, ax = style.axes(3.4, 2.4)
            words = []
            for (run_id, architecture, init), one in group.groupby(["run_id", "architecture", "init"]):
                look = look_of(architecture, init, names)
                looks[architecture, init] = look
                ax.plot(
                    one["step"],
                    one["validation_db"].astype(float),
                    color=look.color,
                    linestyle=look.line["linestyle"],
                    linewidth=1.4,
                )
                words.append(f"{run_id} ends at {number(float(one.sort_values('step')['validation_db'].iloc[-1]), 2)}")
            ax.set_title(f"{ratio(value)}: validation PSNR (dB)")
            ax.set_xlabel("step")
            panels.append(Panel(drawing, f"Validation PSNR in dB over steps at {ratio(value)}: {'; '.join(words)}."))
    key = [
        looks[pair]
        for pair in sorted(looks, key=lambda p: (style.architecture_order(names).index(p[0]), p[1] != "scratch"))
    ]
    return Figure(panels, key=key, narrowest=230, title="How every network got where it is")


def latent_maps(y: np.ndarray) -> Figure:
    """Channels of a latent as images, and how much of the variance each of them carries.

    Parameters
    ----------
    y : ndarray, shape (channels, height, width)
        Latent of one scene.
    """
    y = np.asarray(y, float)
    variance = y.reshape(len(y), -1).var(axis=1)
    order = np.argsort(-variance, kind="stable")
    shown = order[:16]
    share = variance[order] / variance.sum() if variance.sum() > 0 else np.zeros(len(y))
    needed = int(np.searchsorted(np.cumsum(share), 0.99) + 1) if share.sum() > 0 else 0
    dead = int((variance <= 1e-6 * max(variance.max(), 1e-30)).sum())
    from matplotlib.figure import Figure as Drawing

    columns = 4 if len(shown) > 3 else len(shown)
    rows = -(-len(shown) // columns)
    aspect = float(np.clip(y.shape[1] / y.shape[2], 0.3, 2.0))
    with style.style():
        # Fixed positions in inches: laying so many axes out takes longer than drawing them.
        high, title = 4.2 / columns * aspect, 0.18
        drawing = Drawing(figsize=(4.2, rows * (high + title)))
        spaces = {"left": 0, "right": 1, "bottom": 0, "wspace": 0.05, "hspace": title / high}
        grid = drawing.subplots(
            rows, columns, squeeze=False, gridspec_kw={**spaces, "top": 1 - title / (rows * (high + title))}
        )
        for ax in grid.flat:
            ax.set_axis_off()
        for ax, channel in zip(grid.flat, shown, strict=False):
            low, high = np.quantile(y[channel], (0.01, 0.99))
            ax.imshow(y[channel], cmap=GRAY, vmin=low, vmax=high if high > low else low + 1)
            ax.set_title(f"channel {channel}", fontsize=7.5, fontweight="normal", pad=2, y=1)
        bars, ax = style.axes(4.2, 3.0)
        ax.bar(
            np.arange(1, len(y) + 1),
            100 * share,
            color=[BLUE if i < needed else MUTED for i in range(len(y))],
            width=0.85,
        )
        ax.set_title("share of the latent's variance (%)")
        ax.set_xlabel("channel, by falling variance")
        ax.grid(axis="x", visible=False)
        ax.annotate(
            f"{needed} of {len(y)} channels carry 99 %", (0.98, 0.9), xycoords="axes fraction", ha="right", color=INK
        )  # fmt: skip
    maps = f"The {len(shown)} channels with the largest variance, of {len(y)}, each {y.shape[1]}×{y.shape[2]} values."
    alt = f"Share of variance by channel: {needed} of {len(y)} channels carry 99 %, {dead} carry none, the first carries {number(100 * float(share[0]))} %."
    return Figure(
        [Panel(drawing, maps), Panel(bars, alt)],
        caption=f"Left: {maps[0].lower()}{maps[1:]} Gray runs from the 1st to the 99th percentile of each channel. {dead} channels are dead.",
    )
