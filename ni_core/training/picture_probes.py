"""Which errors of a latent can be seen: gradients of pictures, to weigh a latent's error by.

Near a latent, the error of its picture is a quadratic form of the latent's error, the Gauss-Newton
matrix of pixels and perceptual features. A probe is a gradient of a random mix of these; the
covariance of many probes is that matrix. So the squared product of an error with the probes says
how much of it is seen, and no picture has to be rendered while something is trained.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ni_core.bundles.bundle import Bundle
from ni_core.generators import Space, to_synthesis_input
from ni_core.training.latent_pairs import draw_latents
from ni_core.training.precision import mixed_precision
from ni_core.training.runs import random_of

BATCH = 16
"""Probes made at once."""

STREAM = 8
"""Of the random numbers; no other part of a training uses it."""

LPIPS_COEFFICIENT = 0.1
"""Multiplies LPIPS in the error of a picture; the mean squared error counts 1."""


def picture_probes(
    bundle: Bundle, space: Space, basis: Float[Tensor, "d d"], *, probes: int, seed: int
) -> Float[Tensor, "probes numbers"]:
    """Take probes at random latents.

    Args:
        bundle: Generator and perceptual distance.
        space: Of the latents.
        basis: Whitened latents times it are latents.
        probes: How many.
        seed: Of the latents and the mixes.

    Returns:
        Probes `[probes, rows * d]` for errors of whitened latents, scaled so that errors of
        variance 1 in all numbers have a squared product of 1.
    """
    gradients = [
        _gradients(bundle, space, random_of(seed, batch, STREAM)).cpu()
        for batch in range(-(-probes // BATCH))
    ]
    taken = torch.cat(gradients)[:probes]
    whitened = (taken.view(len(taken), -1, taken.shape[-1]) @ basis.cpu().T).flatten(1)
    return whitened / whitened.square().sum().sqrt()


def _gradients(bundle: Bundle, space: Space, random: torch.Generator) -> Tensor:
    """Gradients `[n, ...]` of random mixes of pixels and features, at latents of a space."""
    generator = bundle.generator
    latents = draw_latents(generator, BATCH, space, random, mixing=1.0).detach().clone()
    latents.requires_grad_()
    with torch.enable_grad(), mixed_precision(latents.device):
        images = generator.synthesize(to_synthesis_input(generator, latents, space))
        features = bundle.perceptual.features(images)
    with torch.enable_grad():
        pixels = _mix(images, random) / images[0].numel() ** 0.5
        mixed = pixels + LPIPS_COEFFICIENT**0.5 * _mix(features, random)
    return torch.autograd.grad(mixed, latents)[0]


def _mix(values: Tensor, random: torch.Generator) -> Tensor:
    """A sum of all values, each times a random number of variance 1."""
    factors = torch.randn(values.shape, generator=random).to(values.device)
    return (values.float() * factors).sum()
