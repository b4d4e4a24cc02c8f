"""Diagrams: networks layer by layer, made from the module itself, and chains of steps, such as a codec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sarlab.views.figures import Figure, Panel, panel
from sarlab.views.style import BLUE, GREEN, INK, MUTED, PAPER, VERMILION, compact

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import nn

    from sarlab.specs import ModelSpec

#: Side of the image whose shapes are stated; height of a row in inches; modules that are drawn as one box, with their color.
SIDE, STEP = 256, 0.36
BLOCKS = {"ResidualBlock": ("residual block", GREEN), "WindowAttention": ("attention", VERMILION),
          "PixelUnshuffle": ("fold pixels", MUTED), "PixelShuffle": ("unfold pixels", MUTED)}  # fmt: skip
Box = tuple[str, str, str]


def networks(specs: Sequence[ModelSpec], *, title: str = "", caption: str = "") -> Figure:
    """Draw the layers of networks for an image of 256×256 pixels: analysis downwards on the left, synthesis upwards on the right."""
    from sarlab.models.autoencoders import count_parameters, macs_per_pixel

    panels = []
    for spec in specs:
        model, down, up = layers(spec)
        rows = max(len(down), len(up)) + 1
        path = "" if model.linear is None or model.g_a is None else " + linear path"
        latent = f"latent {_shape(model.latent_shape(SIDE, SIDE))}{path}"
        name = "KLT" if spec.architecture == "klt" else f"{spec.architecture}, stem {spec.stem}"
        with panel(3.6, STEP * (rows + 1.2), name) as (drawing, ax):
            for left, boxes in ((0.0, down), (1.03, up[::-1])):
                for row, box in enumerate(boxes):
                    _draw(ax, left, row, 1.0, box)
            _draw(ax, 0.4, rows - 1, 1.23, (latent, "", INK))
            _canvas(ax, rows)
        cost = (
            f"{compact(count_parameters(model))} parameters, {compact(macs_per_pixel(spec))} multiplications per pixel"
        )
        listed = [", ".join(f"{words} to {shape}" for words, shape, _ in boxes) for boxes in (down, up)]
        panels.append(Panel(drawing, f"{name}. Analysis: {listed[0]}; {latent}; synthesis: {listed[1]}; {cost}."))
    return Figure(panels, title=title, caption=caption, narrowest=290)


def layers(spec: ModelSpec) -> tuple[Any, list[Box], list[Box]]:
    """Network of a spec, without weights, and (words, shape of the result, color) of the layers of its two sides."""
    import torch

    from sarlab.models.autoencoders import construct

    with torch.device("meta"), torch.no_grad():
        model, sides = construct(spec, 0).eval(), []
        r, latent = spec.spatial_reduction, model.latent_shape(SIDE, SIDE)
        if model.g_a is None or model.g_s is None:
            ends = ((latent, f"conv {r}×{r} ↓{r}"), ((1, SIDE, SIDE), f"conv {r}×{r} ↑{r}"))
            down, up = ([(words, _shape(shape), BLUE)] for shape, words in ends)
            return model, down, up
        for side, start in ((model.g_a, (1, SIDE, SIDE)), (model.g_s, latent)):
            x, boxes = torch.zeros(1, *start), []
            for layer in _parts(side):
                x = layer(x)
                if type(layer).__name__ != "ELU":
                    boxes.append((_words(layer)[0], _shape(x.shape[1:]), _words(layer)[1]))
            sides.append(boxes)
    return model, sides[0], sides[1]


def chain(steps: Sequence[tuple[str, str]], *, title: str = "", caption: str = "") -> Figure:
    """Draw steps one below the other: (step, what it passes on) each."""
    with panel(4.4, STEP * (len(steps) + 0.2)) as (drawing, ax):
        for row, (text, result) in enumerate(steps):
            _draw(ax, 0.0, row, 2.03, (text, result, BLUE))
        _canvas(ax, len(steps))
    words = "; ".join(f"{text}: {result}" for text, result in steps)
    return Figure([Panel(drawing, f"Steps from top to bottom. {words}.")], title=title, caption=caption)


def _parts(module: nn.Module) -> list[nn.Module]:
    """Layers of a network in their order, with blocks as wholes."""
    inner = [] if type(module).__name__ in BLOCKS else list(module.children())
    return [part for child in inner for part in _parts(child)] or [module]


def _words(layer: Any) -> tuple[str, str]:
    """Layer in words, and the color of its kind."""
    kind = type(layer).__name__
    if kind not in ("Conv2d", "ConvTranspose2d"):
        return BLOCKS.get(kind, (kind, MUTED))
    side, stride = layer.kernel_size[0], layer.stride[0]
    arrow = "" if stride == 1 else f" {'↓' if kind == 'Conv2d' else '↑'}{stride}"
    return f"conv {side}×{side}{arrow}", BLUE


def _shape(sizes: Sequence[int]) -> str:
    """Channels, height, width of a square → ``"16²×64"``: height and width, channels."""
    return f"{int(sizes[1])}²×{int(sizes[0])}"


def _draw(ax: Axes, left: float, row: float, width: float, box: Box) -> None:
    """A box with its words and the shape behind it; without a shape it is filled."""
    from matplotlib.patches import Rectangle

    words, shape, color = box
    ax.add_patch(
        Rectangle((left, row - 0.42), width, 0.84, facecolor=PAPER if shape else color, edgecolor=color, linewidth=1.2)
    )
    place, align = (left + 0.03, "left") if shape else (left + width / 2, "center")
    ax.text(place, row, words, ha=align, va="center", color=INK if shape else PAPER)
    ax.text(left + width - 0.03, row, shape, ha="right", va="center", color=MUTED)


def _canvas(ax: Axes, rows: int) -> None:
    ax.set(xlim=(-0.01, 2.04), ylim=(rows - 0.5, -0.5))
    ax.set_axis_off()
