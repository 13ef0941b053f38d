"""How far a direction may be followed before the latent leaves what the generator knows."""

from __future__ import annotations

import torch
from torch import Tensor

from ni_core.bundles import Bundle

SAMPLES = 4096
"""Mapped samples from which the spread of W is taken."""

DEVIATIONS = 3.0
"""The safe range ends at so many standard deviations of W along the direction."""

_SEED = 0


def sample_w(bundle: Bundle) -> Tensor:
    """W of random z, `[SAMPLES, w_dim]`, the same at every call, on the CPU."""

    def compute() -> Tensor:
        generator = bundle.generator
        noise = torch.Generator().manual_seed(_SEED)
        z = torch.randn(SAMPLES, generator.z_dim, generator=noise)
        with torch.no_grad():
            return generator.map(z.to(generator.device)).cpu()

    return bundle.memo.get("w samples", compute)


def safe_range(bundle: Bundle, vectors: Tensor) -> list[tuple[float, float]]:
    """Range of weights of each direction.

    Args:
        bundle: Whose W it is.
        vectors: `[k, w_dim]` unit vectors.

    Returns:
        `(low, high)` of each: plus and minus `DEVIATIONS` standard deviations of W along it.
    """
    w = sample_w(bundle)
    spread = ((w - w.mean(dim=0)) @ vectors.T).std(dim=0) * DEVIATIONS
    return [(-value, value) for value in spread.tolist()]
