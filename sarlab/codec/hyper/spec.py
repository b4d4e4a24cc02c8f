"""The table ``[hyper]`` of a plan: settings of the codec `hyper`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class HyperSpec:
    """Entropy model and correction of a codec of kind `hyper`.

    Parameters
    ----------
    groups : tuple of (channels, phases, kernel)
        See `sarlab.codec.hyper.context.ContextModel`.
    features, hidden : int
        Width of the shared features and of the heads.
    depth : int
        Convolutions of the learned correction.
    turned : bool
        Whether training turns the axes.
    rate_offset : float
        Costs are divided by the rate plus this many bits per pixel.
    bias_weight : float
        Weight of the squared difference of mean intensities in dB, beside squared error.
    speckle_weight : float
        Share of the squared error that the deviance of Gamma speckle replaces; see `sarlab.codec.hyper.objective.gamma_deviance`.
    coarse_finer : float
        log₂ by which the steps of the four coarsest channels are finer, all of it from quality 26 on and nothing up to 20: means over
        areas, which hang on them, are better for it, and PSNR is the same.
    trellis : bool
        Quantize in a trellis; see `sarlab.codec.hyper.trellis`.
    last : bool
        Keep the averaged weights of the last step instead of those of the best validation.
    second_steps : int
        Steps that afterwards teach a context of its own what a second band gains from the first; 0 leaves that out.
    bias_steps : int
        Steps that afterwards teach the decoder the bias of its means; 0 leaves that out.
    despeckle_steps : int
        Steps that afterwards teach the decoder the reflectivity behind simulated speckle; 0 leaves that out.
    """

    groups: tuple[tuple[int, int, int], ...] = ((4, 4, 5), (12, 2, 3), (20, 2, 3), (28, 2, 3))
    features: int = 80
    hidden: int = 64
    depth: int = 3
    turned: bool = True
    rate_offset: float = 0.15
    bias_weight: float = 0.0
    speckle_weight: float = 0.0
    coarse_finer: float = 0.0
    trellis: bool = False
    last: bool = True
    second_steps: int = 0
    bias_steps: int = 0
    despeckle_steps: int = 0
