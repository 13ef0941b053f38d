"""The loop that methods share: images descend together, each to its own result.

Losses are summed over the batch, so no image's gradient sees another's, and every decision (the
best latent, when to stop) is made for each image alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ni_core.errors import InversionDivergedError
from ni_core.generators import Generator, Noise, Space, to_synthesis_input
from ni_core.inversion.clock import Clock
from ni_core.inversion.coordinates import Coordinates
from ni_core.inversion.options import DescentOptions
from ni_core.inversion.report import Found, OnStep, StepReport, Stopped
from ni_core.inversion.updates import Updates
from ni_core.objectives import Objective, noise_regularity

_LEARNING_RATES: dict[Space, float] = {"z": 0.1, "w": 0.2, "w+": 0.2}
"""Learning rates by space, where none is given."""

_ROWS_PRIOR = 0.004
"""Coefficient of the prior where rows of W+ are moved and none is given, else 0: W+ holds far more
than mapped latents, and a descent finds what fits there but cannot be edited."""

_TRIAL_PART = 0.1
"""Part of the run in which all starting points of an image are tried."""

_PROGRESS = 1e-3
"""A loss must fall by this part to count as progress against `patience`."""


@dataclass(frozen=True)
class Problem:
    """What is descended: latents of a space, rendered and compared with the targets."""

    generator: Generator
    space: Space
    objective: Objective
    coordinates: Coordinates = field(default_factory=Coordinates)

    @property
    def moves_rows(self) -> bool:
        """Whether rows of W+ are moved, each on its own or together."""
        return self.space == "w+" and self.coordinates.keeps_rows

    def render(self, latents: Tensor, noise: Noise = "const") -> Tensor:
        """Latents `[n, ...]` to images `[n, 3, r, r]`."""
        latents = to_synthesis_input(self.generator, latents, self.space)
        return self.generator.synthesize(latents, noise)


def descend(
    problem: Problem,
    start: Tensor,
    options: DescentOptions,
    *,
    starts: int = 1,
    on_step: OnStep | None = None,
    first_step: int = 0,
) -> Found:
    """Minimise the loss of each image over its latent.

    With several starts, all of them descend for the first tenth of the steps, then the best of
    each image goes on alone.

    Args:
        problem: What to minimise, with n targets.
        start: Latents to start from, `[n * starts, ...]`, those of an image in a row; not changed.
        options: Steps, stops and optimiser.
        starts: Starting points of each image.
        on_step: Called after each step.
        first_step: Steps already done: the run continues at this place of the ramp.

    Raises:
        InversionDivergedError: A loss or gradient is not finite.
    """
    descent = _Descent.of(problem, start, options, starts, first_step)
    clock = Clock(options, first_step)
    trial_steps = max(1, round(options.steps * _TRIAL_PART))
    stopped: Stopped = "steps"
    highest_rate = _LEARNING_RATES[problem.space]
    if options.learning_rate is not None:
        highest_rate = options.learning_rate
    for step in range(first_step + 1, options.steps + 1):
        descent.step(step, highest_rate * problem.coordinates.rate(step) * clock.fall(step))
        clock.done = step
        if on_step is not None:
            on_step(descent.report(clock))
        if not descent.running:
            stopped = descent.last_stop
            break
        if clock.is_up():
            stopped = "budget"
            break
        if descent.starts > 1 and step >= first_step + trial_steps:
            descent = descent.narrowed(step)
    descent = descent.narrowed(clock.done)
    latents = problem.coordinates.to_latents(descent.best[0])
    return Found(latents, descent.history, clock.done, stopped)


class _Descent:
    """The latents on their way, in the problem's coordinates, and the best seen of each.

    Rows are latents; `starts` rows in a row belong to one image.
    """

    def __init__(
        self,
        problem: Problem,
        parameters: list[Tensor],
        options: DescentOptions,
        starts: int,
        history: list[list[float]],
        done: int,
    ) -> None:
        self.starts = starts
        self.history = history
        self.best = [parameter.detach().clone() for parameter in parameters]
        self.best_losses = parameters[0].new_full((len(parameters[0]),), math.inf)
        self.running = set(range(len(history)))
        self.last_stop: Stopped = "steps"
        self._problem = problem
        self._objective = problem.objective.repeated(starts)
        self._options = options
        self._parameters = [parameter.clone().requires_grad_() for parameter in self.best]
        self._stalls = [_Stall() for _ in history]
        self._losses = [math.inf for _ in history]
        shared_part = options.shared_part if problem.moves_rows else 1.0
        self.shared_steps = round(shared_part * options.steps)
        self._updates = self._begin(done)
        self._best_rows = _best_rows(self.best_losses, starts)

    @classmethod
    def of(
        cls, problem: Problem, start: Tensor, options: DescentOptions, starts: int, done: int
    ) -> _Descent:
        """Begin from latents `[n * starts, ...]`, after so many steps."""
        v = problem.coordinates.from_latents(start)
        parameters = [v, *_noise_maps(problem.generator, options, len(start))]
        history: list[list[float]] = [[] for _ in range(len(start) // starts)]
        descent = cls(problem, parameters, options, starts, history, done)
        if done:
            descent._updates.go_on_from_another_run()
        return descent

    def narrowed(self, done: int) -> _Descent:
        """Go on from the best of each image after so many steps; the last update is measured."""
        with torch.no_grad():
            self._remember(*self._measure())
        if self.starts == 1:
            return self
        rows = _best_rows(self.best_losses, self.starts)
        parameters = [best[rows] for best in self.best]
        narrow = _Descent(self._problem, parameters, self._options, 1, self.history, done)
        narrow.best_losses = self.best_losses[rows]
        return narrow

    def step(self, step: int, learning_rate: float) -> None:
        """Measure, then update the latents of the running images."""
        view = (step - 1) % self._objective.view_count
        losses, lpips = self._measure(view)
        gradients = torch.autograd.grad(self._regularised(losses).sum(), self._parameters)
        if self._problem.moves_rows:
            gradients = self._share(gradients, step)
        losses = losses.detach()
        self._best_rows = _best_rows(losses, self.starts)
        self._remember(losses, lpips, comparable=view == 0)
        self._stop_images(self._read(step, losses, lpips, gradients))
        self._update(gradients, step, learning_rate)

    def _regularised(self, losses: Tensor) -> Tensor:
        v, *noise = self._parameters
        prior = self._options.prior_coefficient
        if prior is None:
            prior = _ROWS_PRIOR if self._problem.moves_rows else 0.0
        if prior:
            losses = losses + prior * v.square().flatten(1).mean(dim=1)
        if noise:
            losses = losses + self._options.noise_coefficient * noise_regularity(noise)
        return losses

    def _begin(self, done: int) -> Updates:
        """Begin with a new optimiser after so many steps; while a latent is one row, not SOAP."""
        one_row = not self._problem.moves_rows or done < self.shared_steps
        name = "adam" if one_row and self._options.optimizer == "soap" else self._options.optimizer
        return Updates(self._parameters, name, self._options, done)

    def _share(self, gradients: tuple[Tensor, ...], step: int) -> tuple[Tensor, ...]:
        """In the shared part of the run give all rows of W+ the same gradient."""
        rows, *others = gradients
        if step <= self.shared_steps:
            rows = rows.mean(dim=1, keepdim=True).expand_as(rows)
        elif step == self.shared_steps + 1 and self._updates.begun_at < self.shared_steps:
            self._updates = self._begin(self.shared_steps)
        return (rows, *others)

    def report(self, clock: Clock) -> StepReport:
        """Report the latents after the update, of each image those of its best start."""
        v = self._parameters[0].detach()[self._best_rows]
        latents = self._problem.coordinates.to_latents(v)

        def images() -> Tensor:
            with torch.no_grad():
                return self._problem.render(latents)

        return StepReport(
            step=clock.done,
            steps=clock.steps,
            loss=sum(self._losses) / len(self._losses),
            losses=list(self._losses),
            latents=latents,
            eta_s=clock.eta_s(),
            images=images,
        )

    def _measure(self, view: int = 0) -> tuple[Tensor, Tensor | None]:
        v, *noise = self._parameters
        latents = self._problem.coordinates.to_latents(v)
        return self._objective(self._problem.render(latents, noise or "const"), view)

    def _remember(self, losses: Tensor, lpips: Tensor | None, *, comparable: bool = True) -> None:
        better = (losses < self.best_losses) & comparable
        if lpips is not None and self._options.target_lpips is not None:
            better |= lpips <= self._options.target_lpips
        self.best_losses = torch.where(better, losses, self.best_losses)
        for index, parameter in enumerate(self._parameters):
            self.best[index] = _where(better, parameter.detach(), self.best[index])

    def _update(self, gradients: tuple[Tensor, ...], step: int, learning_rate: float) -> None:
        all_running = len(self.running) == len(self.history)
        before = [] if all_running else [p.detach().clone() for p in self._parameters]
        self._updates.step(gradients, step, learning_rate)
        if before:
            running = torch.tensor([i in self.running for i in range(len(self.history))])
            rows = running.repeat_interleave(self.starts).to(before[0].device)
            for parameter, old in zip(self._parameters, before, strict=True):
                parameter.data = _where(rows, parameter.data, old)

    def _read(
        self, step: int, losses: Tensor, lpips: Tensor | None, gradients: tuple[Tensor, ...]
    ) -> list[tuple[float, float]]:
        """Bring the numbers to the CPU in one transfer and check them: loss and LPIPS by row."""
        sizes = torch.stack([gradient.flatten(1).abs().amax(dim=1) for gradient in gradients])
        numbers = [losses, losses if lpips is None else lpips, sizes.sum(dim=0)]
        rows = torch.stack(numbers, dim=1).tolist()
        for row, (loss, _, size) in enumerate(rows):
            if not (math.isfinite(loss) and math.isfinite(size)):
                what = "gradient" if math.isfinite(loss) else "loss"
                raise InversionDivergedError(
                    f"the {what} of image {row // self.starts} is not finite at step {step}; "
                    "try a lower learning_rate",
                    step=step,
                    image=row // self.starts,
                )
        return [(loss, lpips) for loss, lpips, _ in rows]

    def _stop_images(self, rows: list[tuple[float, float]]) -> None:
        target, patience = self._options.target_lpips, self._options.patience
        best = [min(rows[i : i + self.starts]) for i in range(0, len(rows), self.starts)]
        self._losses = [loss for loss, _ in best]
        for image in sorted(self.running):
            loss, lpips = best[image]
            self.history[image].append(loss)
            if self.starts > 1:
                continue  # no image stops while its starting points are tried
            stalled_for = self._stalls[image].see(loss)
            if target is not None and lpips <= target:
                self.last_stop = "target"
                self.running.discard(image)
            elif patience and stalled_for >= patience:
                self.last_stop = "plateau"
                self.running.discard(image)


class _Stall:
    """Counts steps without progress of one image."""

    def __init__(self) -> None:
        self._level = math.inf
        self._steps = 0

    def see(self, loss: float) -> int:
        if loss < self._level * (1 - _PROGRESS):
            self._level, self._steps = loss, 0
        else:
            self._steps += 1
        return self._steps


def _noise_maps(generator: Generator, options: DescentOptions, n: int) -> list[Tensor]:
    """Noise to optimise, or none; all rows start alike, whatever their place in the batch."""
    if not options.noise_coefficient:
        return []
    seeded = torch.Generator().manual_seed(0)
    maps = [torch.randn(1, 1, *shape, generator=seeded) for shape in generator.noise_shapes]
    return [noise.to(generator.device).expand(n, -1, -1, -1) for noise in maps]


def _best_rows(losses: Tensor, starts: int) -> Tensor:
    """Of each image the row with the lowest loss."""
    best = losses.reshape(-1, starts).argmin(dim=1)
    return torch.arange(len(best), device=best.device) * starts + best


def _where(mask: Tensor, tensor: Tensor, other: Tensor) -> Tensor:
    """Take each image's part from `tensor` where its `[n]` mask is set, else from `other`."""
    return torch.where(mask.reshape(-1, *[1] * (tensor.dim() - 1)), tensor, other)
