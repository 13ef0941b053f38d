"""Coordinates in which a descent moves: W rid of its correlations.

The numbers of w have very different spreads and move together; plain descent zigzags there. In
whitened coordinates v, with w = w_avg + v @ basis, mapped latents have mean 0 and covariance 1, so
one learning rate suits every direction and every generator. Source: the P_N space of
arXiv:2012.09036. Differs: without undoing the last leaky ReLU, and only as coordinates, with no
penalty on their length.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ni_core.bundles.bundle import Bundle
from ni_core.generators import Generator, Space

_SAMPLES_PER_DIMENSION = 16
_FLOOR = 1e-4
"""Variances are raised to this part of the largest, so that no direction is out of reach."""


@dataclass(frozen=True)
class Coordinates:
    """An affine change of coordinates of the last dimension; `basis` None is none at all."""

    origin: Float[Tensor, " d"] | None = None
    basis: Float[Tensor, "d d"] | None = None
    inverse: Float[Tensor, "d d"] | None = None

    def to_latents(self, v: Tensor) -> Tensor:
        """Coordinates `[..., d]` to latents `[..., d]`; differentiable."""
        return v if self.basis is None or self.origin is None else v @ self.basis + self.origin

    def from_latents(self, latents: Tensor) -> Tensor:
        """Latents `[..., d]` to coordinates `[..., d]`."""
        if self.inverse is None or self.origin is None:
            return latents
        return (latents - self.origin) @ self.inverse


def coordinates_of(bundle: Bundle, space: Space) -> Coordinates:
    """Whitened coordinates for w and w+, computed once for each bundle; z is white already."""
    if space == "z":
        return Coordinates()
    return bundle.memo.get("whitening", lambda: _whiten(bundle.generator))


@torch.no_grad()
def _whiten(generator: Generator) -> Coordinates:
    seeded = torch.Generator().manual_seed(0)
    samples = _SAMPLES_PER_DIMENSION * generator.w_dim
    z = torch.randn(samples, generator.z_dim, generator=seeded).to(generator.device)
    offsets = (generator.map(z) - generator.w_avg).double()
    variances, directions = torch.linalg.eigh(offsets.T @ offsets / samples)
    spreads = variances.clamp_min(_FLOOR * variances.max()).sqrt()
    basis = spreads[:, None] * directions.T
    inverse = directions / spreads
    return Coordinates(generator.w_avg, basis.float(), inverse.float())
