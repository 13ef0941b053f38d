"""Latents that stand for all of a bundle's: the same at every call, drawn once."""

from __future__ import annotations

import torch
from torch import Tensor

from ni_core.bundles.bundle import Bundle
from ni_core.generators import Generator
from ni_core.generators.protocol import sample_z

SAMPLES = 4096
"""At least so many samples are mapped."""

SAMPLES_PER_DIMENSION = 16
"""So many for each dimension of W, if that is more: enough for its covariance."""

_SEED = 0


def sample_w(bundle: Bundle) -> Tensor:
    """Draw w by mapping random z, over all classes in turn.

    Returns:
        `[n, w_dim]`, or `[n, num_layers, w_dim]` where the mapping makes rows; float32 on the CPU.

    Raises:
        SpaceNotAvailableError: The generator has no W.
    """
    return bundle.memo.get("w samples", lambda: _mapped(bundle.generator))


def sample_latents_z(bundle: Bundle) -> Tensor:
    """Draw z by the generator's prior: `[n, z_dim]`, on the CPU; those `sample_w` maps."""
    return sample_z(bundle.generator, _count(bundle.generator), seed=_SEED)


def spread_labels(generator: Generator, n: int) -> Tensor | None:
    """Labels of n samples, each class in turn; None for a generator without classes."""
    if not generator.num_classes:
        return None
    return torch.arange(n, device=generator.device) % generator.num_classes


@torch.no_grad()
def _mapped(generator: Generator) -> Tensor:
    n = _count(generator)
    z = sample_z(generator, n, seed=_SEED).to(generator.device)
    return generator.map(z, spread_labels(generator, n)).float().cpu()


def _count(generator: Generator) -> int:
    return max(SAMPLES, SAMPLES_PER_DIMENSION * generator.w_dim)
