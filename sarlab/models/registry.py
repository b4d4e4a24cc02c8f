"""Architectures by name, and the one function that builds a network from its specification."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from sarlab.errors import ModelError
from sarlab.models.layers import channels_last
from sarlab.registry import Registry
from sarlab.specs import ModelSpec

if TYPE_CHECKING:
    from sarlab.models.base import Autoencoder
    from sarlab.models.data import TrainingData
    from sarlab.models.klt import KLTBasis

#: Subclasses of `Autoencoder` by name. A user's own: one class, ``@architectures.register("name")``, and, to be found
#: by the command line, an entry point of the group ``sarlab.architectures`` that names its module.
architectures: Registry[type[Autoencoder]] = Registry("architecture", "sarlab.architectures", ModelError)


def build_model(
    spec: ModelSpec,
    *,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    training: TrainingData | None = None,
    klt: KLTBasis | None = None,
) -> Autoencoder:
    """Build a network at its starting point.

    Parameters
    ----------
    spec : ModelSpec
        What to build.
    seed : int, optional
        Seed of the random weights; or give a `generator`.
    generator : torch.Generator, optional
        Source of the seed (on the CPU, whatever the device of the training).
    training : TrainingData, optional
        Data from which the linear path is fitted, where the spec has one.
    klt : KLTBasis, optional
        A basis fitted before, instead of `training`.

    Returns
    -------
    Autoencoder
        On the CPU, in channels_last memory.

    Raises
    ------
    ModelError
        If the architecture is unknown, the spec impossible, or neither `training` nor `klt` is given for a linear path.
    """
    if generator is None and seed is not None:
        generator = torch.Generator().manual_seed(seed)
    elif generator is None or seed is not None:
        raise ModelError("build_model needs either seed or generator")
    model = construct(spec, int(torch.randint(2**62, (), generator=generator)))
    if model.linear is not None:
        if klt is None:
            if training is None:
                raise ModelError(
                    f"'{spec.architecture}' starts from the KLT of training data; give training=… or klt=…"
                )
            klt = training.fit_klt(spec.spatial_reduction, spec.latent_channels)
        model.start_from_klt(klt)
    return model


def construct(spec: ModelSpec, seed: int) -> Autoencoder:
    """Build a network with random weights, its linear path (where it has one) still unset."""
    # The layers of PyTorch draw their weights from the global generator: it is lent to them and given back.
    if spec.latent_channels > spec.spatial_reduction**2:
        r = spec.spatial_reduction
        raise ModelError(f"latent_channels {spec.latent_channels} exceeds the {r}×{r} = {r * r} samples of a patch")
    architecture = find_architecture(spec.architecture)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return channels_last(architecture(spec))


def find_architecture(name: str) -> type[Autoencoder]:
    """Class of an architecture: of this package, of one registered by the caller, or of an entry point."""
    import sarlab.models.autoencoders
    import sarlab.models.klt  # noqa: F401  (importing registers)

    return architectures[name]
