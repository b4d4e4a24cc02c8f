"""Autoencoder: the contract every architecture keeps, and what all of them share (any size, the linear path)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor, nn

from sarlab.errors import ModelError
from sarlab.models.layers import LinearShortcut, mirror_pad, zero_last_layer
from sarlab.specs import ModelSpec

if TYPE_CHECKING:
    from sarlab.models.klt import KLTBasis

#: What happens to a latent between analysis and synthesis: y → ŷ, differentiable where it is trained through.
LatentHook = Callable[[Tensor], Tensor]


class Output(NamedTuple):
    """What a network returns.

    Attributes
    ----------
    x_hat : Tensor, shape (N, 1, H, W)
        Reconstruction, normalized.
    y : Tensor, shape (N, C, h, w)
        Latent as the analysis made it.
    y_hat : Tensor, shape (N, C, h, w)
        Latent as the synthesis saw it; `y` itself where nothing is quantized.
    """

    x_hat: Tensor
    y: Tensor
    y_hat: Tensor


class Autoencoder(nn.Module):
    """A fixed-latent network: analysis g_a to C channels at 1/r of the size, synthesis g_s back.

    A subclass sets `g_a`, (N, 1, H, W) → (N, C, H/r, W/r), and `g_s` back, both for sizes that are multiples of r; the
    rest is here. With ``init="klt"`` a linear path runs beside both::

             ┌────── B ──────┐                      ┌────── Bᵀ ─────┐
        x ───┤               (+)── y ──[Q]── ŷ ─────┤               (+)── x̂
             └── g_a ── ·σ ──┘                      └── /σ ── g_s ──┘

    B is the KLT basis of the training patches and σ the standard deviation of each of its coefficients, so that g_a
    and g_s work with unit variances. The last layers of g_a and of g_s start at zero: before the first step the
    network *is* the KLT.

    Parameters
    ----------
    spec : ModelSpec
        What to build.
    """

    g_a: nn.Module | None
    g_s: nn.Module | None
    #: Factor on the learning rate of the linear path: its weights are small and start at an optimum.
    linear_rate = 0.1

    def __init__(self, spec: ModelSpec):
        super().__init__()
        self.spec = spec
        self.g_a = self.g_s = None
        self.linear = LinearShortcut(spec.spatial_reduction, spec.latent_channels) if self.needs_klt(spec) else None

    @classmethod
    def needs_klt(cls, spec: ModelSpec) -> bool:
        """Whether a model of this spec has a linear path, set from training data."""
        return spec.init == "klt"

    def start_from_klt(self, basis: KLTBasis) -> None:
        """Set the linear path to `basis` and the last layers of g_a and g_s to zero."""
        if self.linear is None:
            raise ModelError(f"'{self.spec.architecture}' was built without a linear path; use init = 'klt'")
        self.linear.load_basis(basis.vectors, basis.mean, basis.variances)
        for branch in (self.g_a, self.g_s):
            if branch is not None:
                zero_last_layer(branch)

    def analysis(self, x: Tensor) -> Tensor:
        """Latent of `x`.

        Parameters
        ----------
        x : Tensor, shape (N, 1, H, W)
            Normalized raster (about [0, 1]), without NaN. Any H and W: it is mirrored up to multiples of r.

        Returns
        -------
        Tensor, shape (N, C, ceil(H/r), ceil(W/r))
        """
        if x.ndim != 4 or x.shape[1] != 1 or 0 in x.shape:
            raise ModelError(f"a network takes single bands (N, 1, H, W), not {tuple(x.shape)}; give bands one by one")
        x = mirror_pad(x, self.spec.spatial_reduction)
        if self.linear is None:
            assert self.g_a is not None
            return self.g_a(x - 0.5)
        y = self.linear.analysis(x)
        return y if self.g_a is None else y + self.linear.scale * self.g_a(x - 0.5)

    def synthesis(self, y_hat: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Raster of a latent.

        Parameters
        ----------
        y_hat : Tensor, shape (N, C, h, w)
        size : (H, W), optional
            Size before padding. Default: (h·r, w·r).

        Returns
        -------
        Tensor, shape (N, 1, H, W)
        """
        if y_hat.ndim != 4 or y_hat.shape[1] != self.spec.latent_channels:
            raise ModelError(f"a latent here is (N, {self.spec.latent_channels}, h, w), not {tuple(y_hat.shape)}")
        if self.linear is None:
            assert self.g_s is not None
            x_hat = self.g_s(y_hat) + 0.5
        else:
            x_hat = self.linear.synthesis(y_hat)
            if self.g_s is not None:
                x_hat = x_hat + self.g_s(y_hat / self.linear.scale)
        return x_hat if size is None else x_hat[..., : size[0], : size[1]]

    def forward(self, x: Tensor, quantizer: LatentHook | None = None) -> Output:
        """Analysis, `quantizer` (default: none) and synthesis."""
        y = self.analysis(x)
        y_hat = y if quantizer is None else quantizer(y)
        return Output(self.synthesis(y_hat, (x.shape[-2], x.shape[-1])), y, y_hat)

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """(C, h, w) of the latent of a `height` × `width` raster."""
        r = self.spec.spatial_reduction
        return self.spec.latent_channels, -(-height // r), -(-width // r)

    def parameter_groups(self) -> Iterator[dict[str, Any]]:
        """Groups for an optimizer: ``params``, and ``rate``, a factor on the learning rate."""
        linear = [] if self.linear is None else list(self.linear.parameters())
        known = {id(p) for p in linear}
        network = [p for p in self.parameters() if id(p) not in known]
        if network:
            yield {"params": network, "rate": 1.0}
        if linear:
            yield {"params": linear, "rate": self.linear_rate}
