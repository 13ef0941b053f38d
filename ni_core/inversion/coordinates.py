"""Coordinates in which a descent moves: W rid of its correlations, z kept within its limits.

The numbers of w have very different spreads and move together; plain descent zigzags there. In
whitened coordinates v, with w = w_avg + v @ basis, mapped latents have mean 0 and covariance 1, so
one learning rate suits every direction and every generator. Source: the P_N space of
arXiv:2012.09036. Differs: without undoing the last leaky ReLU, and only as coordinates, with no
penalty on their length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ni_core.bundles.bundle import Bundle
from ni_core.bundles.samples import sample_w
from ni_core.generators import Space

_FLOOR = 1e-4
"""Variances are raised to this part of the largest, so that no direction is out of reach."""


class Coordinates:
    """A change of coordinates of the last dimension; this one changes nothing.

    Attributes:
        keeps_rows: Whether the rows of W+ still are dimension 1.
    """

    keeps_rows: ClassVar[bool] = True

    def rate(self, step: int) -> float:
        """Factor of the learning rate at a step, from 1."""
        return 1.0

    def to_latents(self, v: Tensor) -> Tensor:
        """Coordinates `[..., d]` to latents `[..., d]`; differentiable."""
        return v

    def from_latents(self, latents: Tensor) -> Tensor:
        """Latents `[..., d]` to coordinates `[..., d]`."""
        return latents


@dataclass(frozen=True)
class Whitened(Coordinates):
    """Coordinates of W in which mapped latents have covariance 1."""

    origin: Float[Tensor, " d"]
    basis: Float[Tensor, "d d"]
    inverse: Float[Tensor, "d d"]

    def to_latents(self, v: Tensor) -> Tensor:
        """Coordinates `[..., d]` to latents `[..., d]`; differentiable."""
        return v @ self.basis + self.origin

    def from_latents(self, latents: Tensor) -> Tensor:
        """Latents `[..., d]` to coordinates `[..., d]`."""
        return (latents - self.origin) @ self.inverse


class Bounded(Coordinates):
    """Coordinates of a z that never leaves -1 to 1: what goes beyond is thrown back.

    The slope is 1 or -1 everywhere, so no number of z gets stuck at its limits.
    """

    def to_latents(self, v: Tensor) -> Tensor:
        """Coordinates `[..., d]` to latents `[..., d]`; differentiable."""
        return 1 - ((v + 1).remainder(4) - 2).abs()

    def from_latents(self, latents: Tensor) -> Tensor:
        """Latents `[..., d]` to coordinates `[..., d]`."""
        return latents.clamp(-1, 1)


def coordinates_of(bundle: Bundle, space: Space) -> Coordinates:
    """Whitened coordinates for w and w+, computed once for each bundle; z is white already."""
    if space == "z":
        return Bounded() if bundle.generator.prior == "uniform" else Coordinates()
    return bundle.memo.get("whitening", lambda: _whiten(bundle))


@torch.no_grad()
def _whiten(bundle: Bundle) -> Whitened:
    generator = bundle.generator
    rows = sample_w(bundle).flatten(0, -2).to(generator.device)
    offsets = (rows - generator.w_avg).double()
    variances, directions = torch.linalg.eigh(offsets.T @ offsets / len(offsets))
    spreads = variances.clamp_min(_FLOOR * variances.max()).sqrt()
    basis = spreads[:, None] * directions.T
    inverse = directions / spreads
    return Whitened(generator.w_avg, basis.float(), inverse.float())
