"""Directions of W+ by how much a picture's loss changes along them: where θ starts to learn.

Near a latent the loss is a quadratic form H, the Gauss-Newton matrix of pixels and of perceptual
features. Each probe is a gradient of a random mix of them, and the probes' covariance is H.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ni_core.bundles.bundle import Bundle
from ni_core.generators import Generator
from ni_core.objectives import Coefficients
from ni_core.training.own_samples import draw_rows, spread_of
from ni_core.training.precision import mixed_precision
from ni_core.training.runs import random_of

PROBE_BATCH = 32
"""Probes made at once."""

APART = 0.3
"""Variance of a row's own offset, as a part of the variance of the offset that all rows share;
probes are taken where rows differ by up to this part."""

DAMPING = 3e-3
"""Added to the curvature along every direction, in loss for one standard deviation."""


def curved_basis(
    bundle: Bundle, coefficients: Coefficients, *, dimensions: int, probes: int, seed: int
) -> tuple[Float[Tensor, "k rows"], Float[Tensor, " k"]]:
    """Find the directions of W+ along which the loss is most curved.

    Args:
        bundle: Generator and perceptual distance.
        coefficients: Of the terms of the loss.
        dimensions: Directions wanted; there are at most as many as probes.
        probes: Gradients to take.
        seed: Of the probes.

    Returns:
        Directions `[k, num_layers * w_dim]`, each one standard deviation of W+ long, the most
        curved first, and the scales that make the curvature along each of them about 1.

    Raises:
        SpaceNotAvailableError: The generator has no W.
    """
    generator = bundle.generator
    together = _rows_together(generator)
    axes = spread_of(generator, random_of(seed, 0, stream=_SPREAD)).basis
    gradients = [
        together @ _probe(bundle, coefficients, random_of(seed, batch, stream=_PROBES)) @ axes.T
        for batch in range(-(-probes // PROBE_BATCH))
    ]
    whitened = torch.cat(gradients).flatten(1).double()
    factors = whitened * (2 / len(whitened)) ** 0.5
    _, lengths, directions = torch.linalg.svd(factors, full_matrices=False)
    rows = directions[:dimensions].float().unflatten(1, (generator.num_layers, generator.w_dim))
    scale = (lengths[:dimensions].square() + DAMPING).rsqrt().float()
    return (together @ rows @ axes).flatten(1).contiguous(), scale


_SPREAD, _PROBES = 100, 101
"""Streams of random numbers."""


def _rows_together(generator: Generator) -> Float[Tensor, "num_layers num_layers"]:
    """Root of the rows' covariance: they move together, and a little on their own."""
    n = generator.num_layers
    covariance = torch.ones(n, n, dtype=torch.float64) + APART * torch.eye(n)
    variances, directions = torch.linalg.eigh(covariance)
    root: Tensor = (directions * variances.sqrt()) @ directions.T
    return root.float().to(generator.device)


def _probe(bundle: Bundle, coefficients: Coefficients, random: torch.Generator) -> Tensor:
    """Gradients `[n, num_layers, w_dim]` of random mixes of pixels and features."""
    rows = _points(bundle.generator, random).requires_grad_()
    with torch.enable_grad():
        with mixed_precision(rows.device):
            images = bundle.generator.synthesize(rows)
            lpips = bundle.perceptual.features(images)
            features = bundle.features.embedding(images) if bundle.features else None
        mixed = (coefficients.mse / images[0].numel()) ** 0.5 * _mix(images, random)
        mixed = mixed + coefficients.lpips**0.5 * _mix(lpips, random)
        if features is not None:
            mixed = mixed + coefficients.features**0.5 * _mix(features, random)
    return torch.autograd.grad(mixed, rows)[0]


@torch.no_grad()
def _points(generator: Generator, random: torch.Generator) -> Tensor:
    """Where probes are taken: samples, their rows mixed with those of others."""
    rows = draw_rows(generator, PROBE_BATCH, random)
    others = draw_rows(generator, PROBE_BATCH * generator.num_layers, random)
    amounts = APART * torch.rand(PROBE_BATCH, 1, 1, generator=random)
    return rows.lerp(others[:, 0].reshape(rows.shape), amounts.to(rows.device))


def _mix(values: Tensor, random: torch.Generator) -> Tensor:
    factors = torch.randn(values.shape, generator=random).to(values.device)
    return (values.float() * factors).sum()
