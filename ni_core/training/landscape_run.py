"""One training of θ of landscape learning, step by step.

Source: Landscape Learning for Neural Network Inversion, arXiv:2206.09027: descents in the space of
θ fill a buffer, and θ learns from random points of it to lower the loss at every step. Differs:

- Both happen at once. A step takes random points of the buffer and the gradients found there,
  moves them on by one step of descent and measures the loss where they come to. θ learns through
  the map and through the step that led there; what was measured is the next step's gradient.
- θ starts as the linear map that levels the curvature of the loss, see `curvature`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ni_core.bundles.bundle import Bundle
from ni_core.images import grid
from ni_core.inversion.distance import DistanceOptions, lpips_coefficient_of
from ni_core.landscapes import Landscape, LandscapeConfig
from ni_core.objectives import Objective
from ni_core.training.curvature import curved_basis
from ni_core.training.picture_set import Pictures
from ni_core.training.runs import (
    joined,
    optimiser_tensors,
    part_of,
    random_of,
    restore_optimiser,
)
from ni_core.training.trajectories import Targets, Trajectories

SHEET_PICTURES = 8
"""Columns of the sheet."""

_RATES = (1.4, 2.0, 1.4, 3.4, 1.4, 2.0, 1.4) * 2 + (1.4, 2.0, 1.4, 1.4, 1.0, 0.7)
"""Learning rates of a descent: long steps between short ones, short ones at the end; in units of
`Recipe.descent_rate`. Plain descent is faster so than at any constant rate, see the silver step
sizes of arXiv:2309.07879."""


@dataclass(frozen=True)
class Recipe:
    """All that the result depends on.

    Attributes:
        bundle: Fingerprint of the generator.
        data: Where half of the pictures come from, or `samples`.
        horizon: Pictures over which the learning rate falls to 0.
        seed: Of all random numbers.
        dimensions: Size of the searched space.
        hidden: Width of the residual network.
        descent_rate: Learning rate of the descent, in units of 1 / curvature.
        slots: Descents in the buffer.
        batch: Points of a step.
        rate: Learning rate of θ.
        probes: At most so many gradients are taken to make the first θ.
    """

    bundle: str
    data: str
    horizon: int
    seed: int = 1
    dimensions: int = 640
    hidden: int = 768
    descent_rate: float = 0.5
    slots: int = 256
    batch: int = 16
    rate: float = 1e-3
    probes: int = 1536


class LandscapeRun:
    """A training of θ; satisfies `Run`.

    Args:
        bundle: Generator and perceptual distance.
        pictures: Where half of the targets come from; None for own samples alone.
        recipe: How.
    """

    kind = "landscape"

    def __init__(self, bundle: Bundle, pictures: Pictures | None, recipe: Recipe) -> None:
        generator = bundle.generator
        rows = (generator.num_layers, generator.w_dim)
        self.seen = 0
        self.batch = recipe.batch
        self.recipe = recipe
        size = min(recipe.dimensions, recipe.probes, rows[0] * rows[1])
        self.config = LandscapeConfig(*rows, size, recipe.hidden, len(_RATES))
        self._bundle = bundle
        self._lpips_coefficient = lpips_coefficient_of(bundle, DistanceOptions(), "w+")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.landscape = Landscape(self.config)
        self.landscape.to(generator.device).log_rates.requires_grad_(False)
        self._size = torch.ones(())
        self._targets = Targets(generator, pictures, recipe.seed)
        self._trajectories = Trajectories(recipe.slots, size, rows, len(_RATES))
        self._optimiser = _optimiser(self.landscape, self._size)

    @torch.no_grad()
    def prepare(self) -> None:
        """Make the first θ: linear, from the mean of W, levelling the loss's curvature."""
        recipe, made = self.recipe, self.landscape
        basis, scale = curved_basis(
            self._bundle,
            self._lpips_coefficient,
            dimensions=self.config.dimensions,
            probes=min(recipe.probes, 2 * made.start.numel()),
            seed=recipe.seed,
        )
        made.start.copy_(self._bundle.generator.w_avg.expand_as(made.start))
        made.basis.copy_(basis)
        made.log_scale.copy_(scale.log())
        made.log_rates.copy_((recipe.descent_rate * torch.tensor(_RATES)).log())
        for parameter in made.residual[-1].parameters():
            parameter.zero_()
        self._size = basis.square().mean().sqrt()
        self._optimiser = _optimiser(made, self._size)

    def step(self) -> dict[str, Tensor]:
        """Move random points of the buffer on, and let θ learn from where they come to."""
        if self.seen == 0:
            self.prepare()
        slots = self._trajectories.pick(self.batch, random_of(self.recipe.seed, self.seen))
        before, gradients, numbers, steps = self._trajectories.at(slots)
        points = self._moved(before, gradients, steps)
        rows = self.landscape(points)
        losses, gradients = self._measure(rows.detach(), numbers)
        shares = (rows * gradients).sum(dim=(1, 2)) / losses  # as steep as the loss's logarithm
        self._learn(shares.mean())
        self._trajectories.put(slots, points, gradients)
        self.seen += self.batch
        return {"log_loss": losses.log().mean(), "step": steps.float().mean()}

    def _moved(self, points: Tensor, gradients: Tensor, steps: Tensor) -> Tensor:
        """Descend one step, differentiably for θ; the gradient of the loss in W+ is given."""
        device = self.landscape.device
        points = points.to(device).requires_grad_()
        product = (self.landscape(points) * gradients.to(device)).sum()
        (steepest,) = torch.autograd.grad(product, points, create_graph=True)
        rates = self.landscape.log_rates.exp()[(steps - 1).clamp_min(0)]
        return points.detach() - rates[:, None] * steepest

    def _measure(self, rows: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Losses `[n]` of rows of W+ against pictures, and their gradients there."""
        rows.requires_grad_()
        targets = self._targets.take(numbers)
        with torch.autocast(rows.device.type, torch.bfloat16):
            objective = Objective.towards(
                targets,
                self._bundle.perceptual,
                mse_coefficient=1.0,
                lpips_coefficient=self._lpips_coefficient,
            )
            losses, _ = objective(self._bundle.generator.synthesize(rows))
        (gradients,) = torch.autograd.grad(losses.sum(), rows)
        return losses.detach().float(), gradients

    def _learn(self, loss: Tensor) -> None:
        left = max(0.0, 1 - self.seen / self.recipe.horizon)
        for group in self._optimiser.param_groups:
            group["lr"] = self.recipe.rate * group["gain"] * left
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()

    def tensors(self) -> dict[str, Tensor]:
        """See `Run`."""
        return joined(
            {
                "landscape": self.landscape.state_dict(),
                "basis": {"size": self._size},
                "optimiser": optimiser_tensors(self._optimiser),
                "trajectories": self._trajectories.tensors(),
            }
        )

    def resume(self, seen: int, tensors: Mapping[str, Tensor]) -> None:
        """See `Run`."""
        self.seen = seen
        self.landscape.load_state_dict(part_of(tensors, "landscape"))
        self._size = tensors["basis.size"]
        self._optimiser = _optimiser(self.landscape, self._size)
        restore_optimiser(self._optimiser, part_of(tensors, "optimiser"))
        self._trajectories.resume(part_of(tensors, "trajectories"))

    @torch.no_grad()
    def sheet(self) -> Tensor:
        """Targets of the buffer's most advanced descents, and below them where these are."""
        slots = self._trajectories.advanced(SHEET_PICTURES)
        points, _, numbers, _ = self._trajectories.at(slots)
        made = self._bundle.generator.synthesize(self.landscape(points.to(self.landscape.device)))
        return grid(torch.cat([self._targets.take(numbers), made]), len(slots))


def _optimiser(landscape: Landscape, size: Tensor) -> torch.optim.Adam:
    """Adam with rates that suit parameters of every size; numbers of the first basis have this."""
    groups = [
        {"params": list(landscape.residual.parameters()), "gain": 1.0},
        {"params": [landscape.start, landscape.basis], "gain": float(size)},
        {"params": [landscape.log_scale], "gain": 5.0},
    ]
    return torch.optim.Adam(groups, betas=(0.9, 0.99), fused=True)
