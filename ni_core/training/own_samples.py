"""A generator's own samples with the rows of W+ they were made of, and the spread of its W."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ni_core.generators import Generator
from ni_core.generators.protocol import no_w
from ni_core.training.picture_streams import draw_z

SPREAD_SAMPLES = 8192
"""Codes of W whose mean and covariance are taken."""

FLOOR = 0.05
"""Added to every eigenvalue of the covariance, as a part of their mean: no direction of W is so
narrow that it cannot be left."""


@dataclass(frozen=True)
class Spread:
    """Mean and spread of W.

    Attributes:
        mean: `[num_layers, w_dim]`.
        basis: `[w_dim, w_dim]`: rows of variance 1 times it are as spread as W.
        inverse: `[w_dim, w_dim]`: the way back.
    """

    mean: Tensor
    basis: Tensor
    inverse: Tensor

    def standardised(self, rows: Tensor) -> Tensor:
        """Rows `[n, num_layers, w_dim]` of W+ in units of the spread of W."""
        standard: Tensor = (rows - self.mean) @ self.inverse
        return standard


@torch.no_grad()
def draw_rows(
    generator: Generator, n: int, random: torch.Generator, *, mixing: float = 0.0
) -> Float[Tensor, "n num_layers w_dim"]:
    """Draw codes of W, as rows of W+.

    Args:
        generator: Whose codes. Classes of a conditional one are drawn evenly.
        n: How many.
        random: Of all that is drawn.
        mixing: Part of the codes whose fine rows, from a random one on, are another code's.

    Raises:
        SpaceNotAvailableError: The generator has no W.
    """
    if generator.num_layers == 0:
        raise no_w(generator.family)
    z = draw_z(generator, n, random).to(generator.device)
    labels = None
    if generator.num_classes:
        labels = torch.randint(generator.num_classes, (n,), generator=random)
    rows = generator.broadcast(generator.map(z, labels))
    first = torch.randint(1, generator.num_layers, (n, 1, 1), generator=random)
    mixed = torch.rand(n, 1, 1, generator=random) < mixing
    swap = mixed & (torch.arange(generator.num_layers)[None, :, None] >= first)
    return torch.where(swap.to(rows.device), rows.roll(1, dims=0), rows)


def spread_of(generator: Generator, random: torch.Generator) -> Spread:
    """Measure the spread of W: its principal axes, each as long as the standard deviation.

    Raises:
        SpaceNotAvailableError: The generator has no W.
    """
    rows = draw_rows(generator, SPREAD_SAMPLES, random)
    mean = rows.mean(dim=0)
    offsets = (rows - mean).flatten(0, 1).double()
    covariance = offsets.T @ offsets / len(offsets)
    variances, axes = torch.linalg.eigh(covariance)
    lengths = (variances.clamp_min(0) + FLOOR * variances.mean()).sqrt()
    basis, inverse = (axes * lengths).T, axes / lengths
    return Spread(mean, basis.float().contiguous(), inverse.float().contiguous())
