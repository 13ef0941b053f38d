"""What θ can know after one step: its network fitted to the first gradients of own samples.

The gradient at the origin does not change while θ learns, and of an own sample the latent is known:
so the network that jumps from the first to the second is fitted without a descent.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from ni_core.bundles.bundle import Bundle
from ni_core.inversion.distance import DistanceOptions, objective_of
from ni_core.landscapes import RememberingLandscape
from ni_core.training.own_samples import draw_rows
from ni_core.training.precision import mixed_precision
from ni_core.training.runs import random_of

BATCH = 32
"""Gradients taken at once."""

FIT_BATCH, FIT_EPOCHS, FIT_RATE = 128, 12.5, 1e-3
"""Samples of a step of the fit, times it sees each, and the learning rate, which falls to 0."""

ELSEWHERE = 0.3
"""Part of another sample's step in the place at which a sample's shift is fitted."""

_SAMPLES, _FIT = 103, 104
"""Streams of random numbers."""


@dataclass(frozen=True)
class FirstGradients:
    """Own samples and what a descent towards each of them sees first.

    Attributes:
        gradients: In W+, at the start.
        offsets: Of the samples from the start.
    """

    gradients: Float[Tensor, "n rows"]
    offsets: Float[Tensor, "n rows"]


def first_gradients(
    bundle: Bundle,
    start: Float[Tensor, "num_layers w_dim"],
    *,
    samples: int,
    seed: int,
) -> FirstGradients:
    """Take the gradients of the loss at one latent, towards own samples.

    Args:
        bundle: Generator and perceptual distance.
        start: Where.
        samples: How many, at least.
        seed: Of the samples.
    """
    randoms = [random_of(seed, batch, stream=_SAMPLES) for batch in range(-(-samples // BATCH))]
    rows = [draw_rows(bundle.generator, BATCH, random) for random in randoms]
    gradients = [_gradients(bundle, start, one) for one in rows]
    offsets = torch.cat(rows) - start
    return FirstGradients(torch.cat(gradients).flatten(1), offsets.flatten(1))


def fit_jump(landscape: RememberingLandscape, found: FirstGradients, *, seed: int) -> None:
    """Fit the network's shift to bring the second point of a descent to where the sample is.

    Errors count by the curvature of the loss: `scale` levels it, so they are divided by it. The
    shift is to come from what is remembered and not from where the descent is, or it would bend
    the steps that follow: so it is fitted at random places.

    Args:
        landscape: A linear one; its network is changed in place.
        found: Gradients at its start.
        seed: Of the order of the samples.
    """
    remembered, v, wanted, scale = _second_points(landscape, found)
    optimiser = torch.optim.Adam(landscape.residual.parameters(), fused=True)
    steps = round(FIT_EPOCHS * len(v) / FIT_BATCH)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = FIT_RATE * (1 - step / steps)
        random = random_of(seed, step, stream=_FIT)
        chosen, others = torch.randint(len(v), (2, FIT_BATCH), generator=random).to(v.device)
        part = 2 * torch.rand(FIT_BATCH, 1, generator=random).to(v.device)
        places = part * v[chosen] + ELSEWHERE * v[others]
        shift, _ = landscape.read(remembered[chosen], places)
        loss = ((shift - wanted[chosen]) / scale).square().sum(dim=1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


@torch.no_grad()
def _second_points(
    landscape: RememberingLandscape, found: FirstGradients
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """After the first step: what is remembered, where v is, the shift it lacks, and the scale."""
    scale = landscape.log_scale.exp()
    v = -landscape.rate(1) * (found.gradients @ landscape.basis.T) * scale.square()
    inverse = torch.linalg.pinv(landscape.basis.double()).float()
    remembered = -normalize(found.gradients @ landscape.reading.T, dim=1)
    return remembered, v, found.offsets @ inverse - v, scale


def _gradients(bundle: Bundle, start: Tensor, rows: Tensor) -> Tensor:
    points = start.detach().repeat(len(rows), 1, 1).requires_grad_()
    with mixed_precision(rows.device):
        with torch.no_grad():
            targets = bundle.generator.synthesize(rows).float().clamp(-1, 1)
        objective = objective_of(bundle, targets, DistanceOptions(), "w+")
        losses, _ = objective(bundle.generator.synthesize(points))
    return torch.autograd.grad(losses.sum(), points)[0]
