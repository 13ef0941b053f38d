"""One training of θ of landscape learning, step by step.

Source: Landscape Learning for Neural Network Inversion, arXiv:2206.09027: descents in the space of
θ fill a buffer, and θ learns from random points of it to lower the loss at every step. Differs:

- Both happen at once. A step takes random points of the buffer and the gradients found there,
  and moves them on by a window of steps of descent. θ learns to lower the loss after each, through
  the map, through the steps that led there and through how the gradients change with them; the
  last ones measured are the next window's first.
- θ starts as the linear map that levels the curvature of the loss, see `curvature`, with a network
  that already jumps from a first gradient to a latent, see `landscape_jump`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ni_core.bundles.bundle import Bundle
from ni_core.images import grid
from ni_core.inversion.distance import DistanceOptions, coefficients_of, objective_of
from ni_core.landscapes import LandscapeConfig, RememberingLandscape
from ni_core.training.curvature import curved_basis
from ni_core.training.landscape_jump import first_gradients, fit_jump
from ni_core.training.landscape_secants import Measure, measured
from ni_core.training.picture_set import Pictures
from ni_core.training.precision import mixed_precision
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
        data: Where the pictures come from that are not own samples, or `samples`.
        horizon: Points over which the learning rate falls to 0.
        seed: Of all random numbers.
        dimensions: Directions of W+ that are searched.
        hidden: Width of the residual network.
        descent_rate: Learning rate of the descent, in units of 1 / curvature.
        slots: Descents in the buffer.
        batch: Points of a step.
        single: Part of the horizon in which θ learns through one step of descent at a time, which
            is cheaper.
        window: Steps of descent that it learns through then.
        rate: Learning rate of θ.
        probes: At most so many gradients are taken to level the curvature.
        fitted: Own samples whose first gradients the network is fitted to; at most `horizon`.
        features: Digest of the bundle's feature network; None if it has none.
        start: Digest of the θ it begins with; None for a fresh one.
    """

    bundle: str
    data: str
    horizon: int
    seed: int = 1
    dimensions: int = 640
    hidden: int = 704
    descent_rate: float = 0.65
    slots: int = 256
    batch: int = 16
    single: float = 0.6
    window: int = 4
    rate: float = 1e-3
    probes: int = 1536
    fitted: int = 6144
    features: str | None = None
    start: str | None = None


class LandscapeRun:
    """A training of θ; satisfies `Run`.

    Args:
        bundle: Generator and perceptual distance.
        pictures: Where most of the targets come from; None for own samples alone.
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
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.landscape = RememberingLandscape(self.config).to(generator.device)
        self.landscape.start.requires_grad_(False)
        self.landscape.log_rates.requires_grad_(False)
        self._size = torch.ones(())
        self._targets = Targets(generator, pictures, recipe.seed)
        self._trajectories = Trajectories(recipe.slots, self.landscape.size, rows, len(_RATES))
        self._optimiser = _optimiser(self.landscape, self._size)
        self._begun = False

    def begin_from(self, weights: Mapping[str, Tensor]) -> None:
        """Begin with a trained θ of the same shape instead of a fresh one.

        Raises:
            RuntimeError: It has another shape.
        """
        self.landscape.load_state_dict({name: value.float() for name, value in weights.items()})
        self._size = self.landscape.basis.detach().square().mean().sqrt()
        self._optimiser = _optimiser(self.landscape, self._size)
        self._begun = True

    def prepare(self) -> None:
        """Make the first θ: from the mean of W, with a network that knows first gradients."""
        self._level()
        recipe, made = self.recipe, self.landscape
        found = first_gradients(
            self._bundle,
            made.start,
            samples=min(recipe.fitted, recipe.horizon),
            seed=recipe.seed,
        )
        fit_jump(made, found, seed=recipe.seed)

    @torch.no_grad()
    def _level(self) -> None:
        """Make the linear part, which levels the loss's curvature; nothing bends it yet."""
        recipe, made = self.recipe, self.landscape
        basis, scale = curved_basis(
            self._bundle,
            coefficients_of(self._bundle, DistanceOptions(), "w+"),
            dimensions=self.config.dimensions,
            probes=min(recipe.probes, 2 * made.start.numel()),
            seed=recipe.seed,
        )
        made.start.copy_(self._bundle.generator.w_avg.expand_as(made.start))
        made.basis.copy_(basis)
        made.log_scale.copy_(scale.log())
        made.reading.copy_(scale[:, None] * basis)
        made.log_rates.copy_((recipe.descent_rate * torch.tensor(_RATES)).log())
        for parameter in made.residual[-1].parameters():
            parameter.zero_()
        self._size = basis.square().mean().sqrt()
        self._optimiser = _optimiser(made, self._size)

    def step(self) -> dict[str, Tensor]:
        """Move random descents of the buffer on, and let θ learn from where they come to."""
        if self.seen == 0 and not self._begun:
            self.prepare()
        descents, window = self._extent()
        slots = self._trajectories.pick(descents, random_of(self.recipe.seed, self.seen))
        points, gradients, numbers, steps = self._trajectories.at(slots)
        measure = self._measure_towards(numbers)
        points, gradients = points.to(self.landscape.device), gradients.to(self.landscape.device)
        losses, points, gradients = self._descended(points, gradients, steps, window, measure)
        self._learn((losses / losses.detach()).mean())  # as steep as the loss's logarithm
        self._trajectories.put(slots, points, gradients, window)
        self.seen += losses.numel()
        return {"log_loss": losses.detach().log().mean(), "step": steps.float().mean()}

    def _extent(self) -> tuple[int, int]:
        """Descents of a step, and steps of each: single ones at first, windows later."""
        if self.seen < self.recipe.single * self.recipe.horizon:
            return self.batch, 1
        return max(1, 2 * self.batch // self.recipe.window), self.recipe.window

    def _descended(
        self, points: Tensor, gradients: Tensor, steps: Tensor, window: int, measure: Measure
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Descend a window of steps, differentiably for θ.

        Args:
            points: Where to begin, `[n, size]`.
            gradients: In W+, there.
            steps: Numbers of the first steps, `[n]`.
            window: Steps to make.
            measure: Gives losses and gradients of rows.

        Returns:
            Losses `[window, n]`, and the points and gradients come to.
        """
        points = points.requires_grad_()
        rows, found = self.landscape(points), []
        for ahead in range(window):
            (steepest,) = torch.autograd.grad(rows, points, gradients, create_graph=True)
            points = points - self._rates(steps + ahead) * steepest
            before, rows = rows.detach(), self.landscape(points)
            losses, gradients = measured(measure, rows, before)
            found.append(losses)
        return torch.stack(found), points.detach(), gradients.detach()

    def _rates(self, steps: Tensor) -> Tensor:
        indices = (steps - 1).clamp(0, self.config.steps - 1)
        return self.landscape.log_rates.exp()[indices][:, None]

    def _measure_towards(self, numbers: Tensor) -> Measure:
        """Make a function of rows of W+: losses `[n]` against pictures, and their gradients."""
        targets, device = self._targets.take(numbers), self.landscape.device
        with mixed_precision(device):
            objective = objective_of(self._bundle, targets, DistanceOptions(), "w+")

        @torch.enable_grad()
        def measure(rows: Tensor) -> tuple[Tensor, Tensor]:
            rows = rows.detach().requires_grad_()
            with mixed_precision(device):
                losses, _ = objective(self._bundle.generator.synthesize(rows))
            (gradients,) = torch.autograd.grad(losses.sum(), rows)
            return losses.detach().float(), gradients

        return measure

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


def _optimiser(landscape: RememberingLandscape, size: Tensor) -> torch.optim.Adam:
    """Adam with rates that suit parameters of every size; numbers of the first basis have this."""
    groups = [
        {"params": list(landscape.residual.parameters()), "gain": 1.0},
        {"params": [landscape.basis], "gain": float(size)},
        {"params": [landscape.log_scale], "gain": 5.0},
    ]
    return torch.optim.Adam(groups, betas=(0.9, 0.99), fused=True)
